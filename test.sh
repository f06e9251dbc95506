#!/usr/bin/env bash
# Runs every test, from a fresh clone too: needs Rust, Python 3.11 or newer and curl, and makes the rest. Arguments go to cargo test.
#
# It starts a LocalStack of its own on a free port and stops it at the end. Instead:
#   ICEPACK_TEST_S3=http://127.0.0.1:4566 ./test.sh   tests against that S3 server, with the AWS_* variables as they are
#   ICEPACK_SKIP_S3=1 ./test.sh                       leaves out the tests that need one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=$(scripts/pinned-venv.sh tests tests/python/requirements.txt)
export ICEPACK_TEST_PYTHON=$venv/bin/python

if [ -n "${ICEPACK_TEST_S3:-}" ]; then
  echo "test.sh: the S3 tests use $ICEPACK_TEST_S3" >&2
elif [ "${ICEPACK_SKIP_S3:-}" = 1 ]; then
  echo "test.sh: ICEPACK_SKIP_S3=1: THE S3 TESTS ARE LEFT OUT" >&2
else
  if ! ICEPACK_TEST_S3=$(localstack/localstack.sh start --port 0); then
    echo "test.sh: LocalStack did not start (see above); without it, run ICEPACK_SKIP_S3=1 ./test.sh, or name a server in ICEPACK_TEST_S3" >&2
    exit 1
  fi
  trap 'localstack/localstack.sh stop --port "${ICEPACK_TEST_S3##*:}"' EXIT
  export ICEPACK_TEST_S3
  # Nothing here may reach a real account, whatever the shell it is run from is logged in to.
  for variable in "${!AWS_@}"; do unset "$variable"; done
  export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
fi

"$ICEPACK_TEST_PYTHON" -m unittest discover --start-directory tests/python
cargo test --locked "$@"
