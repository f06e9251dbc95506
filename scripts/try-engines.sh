#!/usr/bin/env bash
# Runs every Python example of docs/reading.md, those of Spark and ClickHouse too, on a store with folders, while passes go on. And reads the symlink manifests by
# Hive's own input format.
#
#   try-engines.sh [--icepack PROGRAM]
#
# It installs their packages (tests/python/requirements-engines.txt, 1 GB) into the cache, and needs Java 17 for Spark. `icepack` needs the feature `delta`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

icepack=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug/icepack
while [ $# -gt 0 ]; do
  case $1 in
    --icepack) icepack=$(realpath "$2") && shift 2 ;;
    *) echo "try-engines: what is $1?" >&2 && exit 2 ;;
  esac
done
[ -x "$icepack" ] || { echo "try-engines: there is no $icepack: build it, or name one with --icepack" >&2; exit 2; }
java -version 2>/dev/null || { echo "try-engines: Spark needs Java 17: apt-get install default-jre-headless" >&2; exit 2; }

python=$(scripts/pinned-venv.sh engines tests/python/requirements-engines.txt)/bin/python
room=$(mktemp -d)
passes=""
cleanup() {
  [ -z "$passes" ] || kill "$passes" 2>/dev/null || true
  rm -rf "$room"
}
trap cleanup EXIT
mkdir -p "$room/bin" "$room/store/acme"
ln -s "$icepack" "$room/bin/icepack"
export PATH="$room/bin:$PATH" ICEPACK_STORE="$room/store" ICEPACK_PUBLISH_DELTA=true ICEPACK_PUBLISH_SYMLINK=true SPARK_LOCAL_IP=127.0.0.1
# Nobody reads the live view for longer than that here.
export ICEPACK_SWEEP_DELETE_DELAY=10m

# An hour of events a file: the last 20 are of November.
arrive() {
  "$python" - "$ICEPACK_STORE/acme" "$@" <<'PY'
import datetime, pathlib, sys
import pyarrow as pa, pyarrow.parquet as pq
root, since = pathlib.Path(sys.argv[1]), datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)
for n in map(int, sys.argv[2:]):
    at = since + datetime.timedelta(hours=n - 10)
    folder = root / f"dt={at.date()}"
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"event_id": [f"id-{n}"], "timestamp": pa.array([at], pa.timestamp("us", tz="UTC"))}), folder / f"e{n:02}.parquet")
PY
}

arrive $(seq 0 29)
icepack run >/dev/null 2>&1
# Old rows come and are merged all the time; those of November stay 20.
(
  n=-1
  while sleep 1; do
    # A sweep may take an empty folder away just then.
    { arrive "$n" "$((n - 1))" && icepack run; } >/dev/null 2>&1 || true
    n=$((n - 2))
  done
) &
passes=$!
"$python" tests/python/run_recipes.py docs/reading.md "$ICEPACK_STORE" | tee "$room/found"
"$python" - "$room/found" <<'PY'
import json, sys
found = json.load(open(sys.argv[1]))
wrong = {name: n for name, n in found.items() if n != 20}
sys.exit(f"try-engines: these do not find 20 rows: {wrong}" if wrong or len(found) < 9 else 0)
PY
"$python" tests/python/hive_lists.py "$ICEPACK_STORE/acme/_symlink_format_manifest" 20 20
echo "try-engines: $("$python" -c 'import glob, os; print(len(glob.glob(os.environ["ICEPACK_STORE"] + "/_icepack/acme/manifest/*")))') commits meanwhile"
