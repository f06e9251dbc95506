#!/usr/bin/env bash
# Runs icepack beside Polars, DuckDB, delta-rs and PyArrow, in a directory and on a bucket, and renews docs/performance.md: needs Rust, Python 3.11 or newer, 12 GB of disk and some minutes of a
# quiet machine.
#
#   benches/compare.sh                            all of it
#   benches/compare.sh --parts sorted --scales 1  a part; see benches/compare/compare.py --help
#   benches/compare.sh --parts bucket             from and to SeaweedFS, which scripts/s3-server.sh installs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$(scripts/pinned-venv.sh compare benches/compare/requirements.txt)
cargo build --release --locked
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d "${TMPDIR:-/tmp}/icepack-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$venv/bin/python" benches/compare/compare.py --icepack "$(realpath "$target/release/icepack")" --work "$work" --results "$target/compare.json" \
  --docs docs "$@"
