#!/usr/bin/env bash
# Chromium for the tests of the report, from Debian's packages: unpacked into the cache, not installed.
#
#   chromium.sh      prints a program that runs it; exit 3 where it cannot be had
set -euo pipefail

cache=${ICEPACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icepack}/chromium
wanted=(chromium fonts-dejavu-core)

# One that is installed already will do.
for program in chromium chromium-browser google-chrome; do
  if command -v "$program"; then
    exit
  fi
done

# What the packages need that this machine does not have is unpacked beside them; the loader and fontconfig are told where.
write_launcher() {
  local libraries
  libraries=$cache/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  cat >"$cache/fonts.conf" <<XML
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>$cache/root/usr/share/fonts</dir><cachedir>$cache/fontconfig</cachedir></fontconfig>
XML
  cat >"$cache/run.tmp" <<SH
#!/bin/sh
export LD_LIBRARY_PATH="$libraries:$libraries/pulseaudio\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" FONTCONFIG_FILE="$cache/fonts.conf"
exec "$cache/root/usr/lib/chromium/chromium" "\$@"
SH
  chmod +x "$cache/run.tmp"
  "$cache/run.tmp" --headless --no-sandbox --version >&2
  mv "$cache/run.tmp" "$cache/run"
}

if [ ! -x "$cache/run" ]; then
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "chromium.sh: no chromium here, and no apt-get to fetch it: install it and put it on the PATH" >&2
    exit 3
  fi
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT
  # The list is apt's own of what an installation would add; nothing is installed.
  missing() { apt-get install --simulate --no-install-recommends "${wanted[@]}" | awk '$1 == "Inst" { print $2 }'; }
  fetch() {
    local packages
    packages=$(missing) && [ -n "$packages" ] || return 1
    # A font that is installed is in no list of what is missing.
    (cd "$download" && echo "$packages" | xargs apt-get download)
  }
  # The lists of packages may be missing, or older than the packages.
  if ! fetch >"$download/log" 2>&1 && ! { apt-get update && fetch; } >>"$download/log" 2>&1; then
    echo "chromium.sh: apt-get could not fetch chromium:" >&2
    tail -n 3 "$download/log" >&2
    exit 3
  fi
  rm -rf "$cache"
  mkdir -p "$cache/root"
  for package in "$download"/*.deb; do
    dpkg -x "$package" "$cache/root"
  done
  if ! write_launcher; then
    echo "chromium.sh: the chromium that was fetched does not run here" >&2
    exit 3
  fi
fi
echo "$cache/run"
