#!/usr/bin/env bash
# Builds icepack, writes realistic raw events into a directory, and compacts them: plan, run, status, and a second run that has nothing to do.
#   ./demo.sh [DIRECTORY]      default: ./demo-data; it must not exist yet. Arguments for `icepack demo` may follow, e.g. --files 40
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${1:-demo-data}
shift || true
if [ -e "$data" ]; then
  echo "demo.sh: $data exists already; remove it, or name another directory: ./demo.sh OTHER" >&2
  exit 2
fi

cargo build --release --locked --manifest-path "$here/Cargo.toml"
icepack() {
  echo
  echo "\$ icepack $*"
  "${CARGO_TARGET_DIR:-$here/target}/release/icepack" --store "$data/events" --archive "$data/archive" "$@"
}
icepack demo "$@"
icepack plan
icepack run
icepack status
icepack run
echo
echo "The events are in $data/events, the expired ones in $data/archive. Remove $data when you are done."
