#!/usr/bin/env bash
# Merges Parquet files that somebody else wrote, each with a copy of itself, and compares by DuckDB, pyarrow and Polars what they read before and after.
#
#   scripts/try-files.sh [--icepack PROGRAM] [--limit MIB] [--timeout SECONDS] [--parallel N] [--every N] [--json FILE] FOLDER...
#
# Nothing in the folders is written to. A file is `merged` and reads as before, `left` alone as it is with icepack's reason, or CHANGED; with one of the
# last this exits 1. Files above the limit (4 MiB) are passed over. The program is the one that is given, else target/debug/icepack.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$("$root/scripts/pinned-venv.sh" tests "$root/tests/python/requirements.txt")
target=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")
# What is given stands last, and wins.
exec "$venv/bin/python" "$root/tests/python/try_files.py" --icepack "$target/debug/icepack" "$@"
