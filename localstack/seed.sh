#!/usr/bin/env bash
# Makes the buckets icepack-hot and icepack-cold on a LocalStack and writes demo events to s3://icepack-hot/events.
#
#   seed.sh [--port N] [arguments of icepack demo]
#
# ICEPACK_BIN is the icepack to use, else the one on the PATH; without either, cargo builds and runs this one. Buckets that are there already stay as they are.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

port=${ICEPACK_LOCALSTACK_PORT:-4566}
if [ "${1:-}" = --port ]; then
  [ $# -ge 2 ] || { echo "seed: --port wants a number" >&2; exit 2; }
  port=$2
  shift 2
fi

variables=$("$here/localstack.sh" env --port "$port")
eval "$variables"
if ! curl -fsS --noproxy '*' --max-time 10 -o /dev/null "$AWS_ENDPOINT_URL/_localstack/health"; then
  echo "seed: no LocalStack answers at $AWS_ENDPOINT_URL; start it with: localstack/localstack.sh start --port $port" >&2
  exit 1
fi

# LocalStack takes requests without a signature; a bucket that is there already is not an error in us-east-1.
for bucket in icepack-hot icepack-cold; do
  curl -fsS --noproxy '*' --max-time 30 -o /dev/null -X PUT "$AWS_ENDPOINT_URL/$bucket"
  echo "seed: s3://$bucket" >&2
done

if [ -n "${ICEPACK_BIN:-}" ]; then
  icepack=("$ICEPACK_BIN")
elif command -v icepack >/dev/null; then
  icepack=(icepack)
else
  icepack=(cargo run --release --manifest-path "$here/../Cargo.toml" --)
fi
"${icepack[@]}" demo --store s3://icepack-hot/events "$@"
