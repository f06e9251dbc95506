#!/usr/bin/env bash
# Runs every test, from a fresh clone too: needs Rust, Python 3.11 or newer and curl, and makes the rest. Arguments go to cargo test.
#
# It starts servers of its own on free ports of 127.0.0.1 and stops them at the end: LocalStack, SeaweedFS, Ceph's gateway, Azurite, and the JuiceFS
# gateway, which icepack must refuse. Instead:
#   ICEPACK_TEST_S3=http://127.0.0.1:4566 ./test.sh   tests against that S3 server, which must take the key `test` and the secret `testtest`
#   ICEPACK_TEST_SEAWEED=…, …_JUICEFS=…, …_CEPH=…, …_AZURITE=…
#                                                     likewise, started by scripts/s3-server.sh; `unavailable` leaves out the tests that need one
#   ICEPACK_SKIP_S3=1 ./test.sh                       leaves out the tests that need any of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# From nothing, what is installed below waits for the network and what is built for the processor: so both at once. All features that change
# behaviour are in one build, and the dependencies are built once. `.ci/run` also lints the default features.
localstack="" servers="" building="" simulation="" log=""
clean_up() {
  [ -z "$building" ] || kill "$building" 2>/dev/null || true
  [ -z "$simulation" ] || kill "$simulation" 2>/dev/null || true
  [ -z "$log" ] || rm -f "$log"
  stop_servers
}
trap clean_up EXIT
cargo test --locked --workspace --features delta,otel,azure,gcp --no-run "$@" &
building=$!

venv=$(scripts/pinned-venv.sh tests tests/python/requirements.txt)
export ICEPACK_TEST_PYTHON=$venv/bin/python

if [ -z "${ICEPACK_TEST_PROMETHEUS:-}" ]; then
  if ! ICEPACK_TEST_PROMETHEUS=$(scripts/prometheus.sh); then
    {
      echo "******************************************************************************************"
      echo "** NOT TESTED: metrics against promtool and a Pushgateway. They could not be had (see above)."
      echo "******************************************************************************************"
    } >&2
    ICEPACK_TEST_PROMETHEUS=unavailable
  fi
fi
export ICEPACK_TEST_PROMETHEUS

# The report is looked at with Debian's Chromium, driven from Python.
if [ -z "${ICEPACK_TEST_BROWSER:-}" ]; then
  if chromium=$(scripts/chromium.sh) && driver=$(scripts/pinned-venv.sh browser tests/python/requirements-browser.txt); then
    ICEPACK_TEST_BROWSER="$driver/bin/python|$chromium"
  else
    {
      echo "******************************************************************************************"
      echo "** NOT TESTED: the report in a browser. Chromium or its driver could not be had (see above)."
      echo "******************************************************************************************"
    } >&2
    ICEPACK_TEST_BROWSER=unavailable
  fi
fi
export ICEPACK_TEST_BROWSER

stop_servers() {
  local server
  if [ -n "$servers" ]; then
    for server in "$servers"/*/; do
      [ ! -d "$server" ] || scripts/s3-server.sh stop "${server%/}"
    done
    rm -rf "$servers"
  fi
  [ -z "$localstack" ] || localstack/localstack.sh stop --port "${localstack##*:}"
}

# Prints where a server of the tests is. One that cannot be installed is left out, loudly; one that is installed and does not start is a failure.
other_server() {
  local name=$1 given=$2 status=0
  if [ -n "$given" ]; then
    echo "test.sh: $name: $given" >&2
    echo "$given"
    return
  fi
  scripts/s3-server.sh install "$name" || status=$?
  case $status in
    0) scripts/s3-server.sh start "$name" "$servers/$name" ;;
    3)
      {
        echo "******************************************************************************************"
        echo "** NOT TESTED: $name. It could not be installed (see above); its tests are left out."
        echo "******************************************************************************************"
      } >&2
      echo unavailable
      ;;
    *) return "$status" ;;
  esac
}

if [ "${ICEPACK_SKIP_S3:-}" = 1 ] && [ -z "${ICEPACK_TEST_S3:-}" ]; then
  echo "test.sh: ICEPACK_SKIP_S3=1: THE S3 TESTS ARE LEFT OUT" >&2
else
  servers=$(mktemp -d)
  if [ -n "${ICEPACK_TEST_S3:-}" ]; then
    echo "test.sh: the S3 tests use $ICEPACK_TEST_S3" >&2
  elif ! localstack=$(localstack/localstack.sh start --full --port 0); then
    localstack=""
    echo "test.sh: LocalStack did not start (see above); without it, run ICEPACK_SKIP_S3=1 ./test.sh, or name a server in ICEPACK_TEST_S3" >&2
    exit 1
  else
    ICEPACK_TEST_S3=$localstack
  fi
  ICEPACK_TEST_SEAWEED=$(other_server seaweedfs "${ICEPACK_TEST_SEAWEED:-}")
  ICEPACK_TEST_JUICEFS=$(other_server juicefs "${ICEPACK_TEST_JUICEFS:-}")
  ICEPACK_TEST_CEPH=$(other_server ceph "${ICEPACK_TEST_CEPH:-}")
  ICEPACK_TEST_AZURITE=$(other_server azurite "${ICEPACK_TEST_AZURITE:-}")
  export ICEPACK_TEST_S3 ICEPACK_TEST_SEAWEED ICEPACK_TEST_JUICEFS ICEPACK_TEST_CEPH ICEPACK_TEST_AZURITE
  # Where object_store looks for an emulator of Azure.
  export AZURITE_BLOB_STORAGE_URL=$ICEPACK_TEST_AZURITE
  # Nothing here may reach a real account, whatever the shell it is run from is logged in to.
  for variable in "${!AWS_@}" "${!AZURE_@}" "${!GOOGLE_@}"; do unset "$variable"; done
  export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
fi

"$ICEPACK_TEST_PYTHON" -m unittest discover --start-directory tests/python
wait "$building"
building=""

tests=(cargo test --locked --workspace --features "delta,otel,azure,gcp")
if [ $# -gt 0 ]; then
  "${tests[@]}" "$@"
else
  # The simulation keeps both processors busy for minutes, and most other tests wait for servers and processes: so both at once.
  log=$(mktemp)
  "${tests[@]}" --test simulation >"$log" 2>&1 &
  simulation=$!
  others=(--lib --bins)
  for test in tests/*.rs tests/*/main.rs; do
    name=${test#tests/} name=${name%/main.rs} name=${name%.rs}
    [ "$name" = simulation ] || others+=(--test "$name")
  done
  status=0
  "${tests[@]}" --no-fail-fast "${others[@]}" || status=$?
  "${tests[@]}" --doc || status=$?
  wait "$simulation" || status=$?
  simulation=""
  cat "$log"
  exit "$status"
fi
