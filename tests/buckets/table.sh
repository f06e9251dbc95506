#!/usr/bin/env bash
# Prints what a pass makes of each bucket, as a table in Markdown. It fails as the test does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
ICEPACK_SKIP_S3=1 ./test.sh --test cli buckets:: -- --nocapture >"$out" 2>&1 || status=$?
grep '^|' "$out" || cat "$out" >&2
exit "$status"
