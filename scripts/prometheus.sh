#!/usr/bin/env bash
# promtool and the Pushgateway for the tests, from Debian's packages: unpacked into the cache, not installed.
#
#   prometheus.sh      prints the directory that holds the programs; exit 3 where they cannot be had
set -euo pipefail

cache=${ICEPACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icepack}/prometheus
programs=(promtool prometheus-pushgateway)

missing() {
  local program
  for program in "${programs[@]}"; do
    [ -x "$1/$program" ] || return 0
  done
  return 1
}

# Those that are installed already will do.
if found=$(dirname "$(command -v promtool)" 2>/dev/null) && ! missing "$found"; then
  echo "$found"
  exit
fi

if missing "$cache/usr/bin"; then
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "prometheus.sh: no promtool and prometheus-pushgateway here, and no apt-get to fetch them: install them and put them on the PATH" >&2
    exit 3
  fi
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT
  fetch() { (cd "$download" && apt-get download prometheus prometheus-pushgateway) >"$download/log" 2>&1; }
  # The lists of packages may be missing, or older than the packages.
  if ! fetch && ! { apt-get update && fetch; } >>"$download/log" 2>&1; then
    echo "prometheus.sh: apt-get could not fetch prometheus and prometheus-pushgateway:" >&2
    tail -n 3 "$download/log" >&2
    exit 3
  fi
  rm -rf "$cache"
  mkdir -p "$cache"
  for package in "$download"/*.deb; do
    dpkg -x "$package" "$cache"
  done
fi
echo "$cache/usr/bin"
