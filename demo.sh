#!/usr/bin/env bash
# Builds icepack, writes realistic raw events into a directory, and compacts them: plan, run, status, and a second run that has nothing to do.
#   ./demo.sh [DIRECTORY]      default: ./demo-data; it must not exist yet. Arguments for `icepack demo` may follow, e.g. --files 40
#   ICEPACK_BIN=icepack ./demo.sh      with an icepack that is there already
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${1:-demo-data}
shift || true
if [ -e "$data" ]; then
  echo "demo.sh: $data exists already; remove it, or name another directory: ./demo.sh OTHER" >&2
  exit 2
fi

if [ -z "${ICEPACK_BIN:-}" ]; then
  # The quick build. That of the release profile, which installs use, takes three times as long.
  cargo build --profile demo --locked --manifest-path "$here/Cargo.toml"
  ICEPACK_BIN=${CARGO_TARGET_DIR:-$here/target}/demo/icepack
fi
icepack() {
  echo
  echo "\$ icepack $*"
  "$ICEPACK_BIN" --store "$data/events" --archive "$data/archive" "$@"
}
[ $# -gt 0 ] || set -- --rows 1000
icepack demo "$@"
icepack plan
icepack run
icepack status
icepack run
echo
echo "The events are in $data/events, the expired ones in $data/archive. Remove $data when you are done."
