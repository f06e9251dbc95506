#!/usr/bin/env bash
# A root file system with what gcr.io/distroless/cc-debian12 has: glibc, CA certificates, time zones and user 65532, no shell. For the tests of the
# image and of the Debian package. It is made of this machine's packages and kept in the cache.
#
#   debian-base.sh      prints the path of a tar archive of it; exit 3 where the packages cannot be had
set -euo pipefail

here=${BASH_SOURCE[0]}
cache=${ICEPACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icepack}
packages=(base-files ca-certificates libc6 libgcc-s1 netbase tzdata)

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  echo "debian-base.sh: no apt-get here, whose packages it is made of" >&2
  exit 3
fi
# Another system, another script: another file.
key=$({ cat "$here" /etc/os-release; dpkg --print-architecture; } | sha256sum | cut -c1-16)
base=$cache/debian-base-$key.tar

if [ ! -e "$base" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/packages" "$work/root"
  fetch() { (cd "$work/packages" && apt-get download "${packages[@]}"); }
  # The lists of packages may be missing, or older than the packages.
  if ! fetch >"$work/log" 2>&1 && ! { apt-get update && fetch; } >>"$work/log" 2>&1; then
    echo "debian-base.sh: apt-get could not fetch ${packages[*]}:" >&2
    tail -n 3 "$work/log" >&2
    exit 3
  fi
  for package in "$work"/packages/*.deb; do
    dpkg -x "$package" "$work/root"
  done
  # What the packages' scripts would do, as distroless does it.
  mkdir -p "$work/root/etc/ssl/certs" "$work/root/home/nonroot" "$work/root/tmp"
  chmod 1777 "$work/root/tmp"
  cat "$work"/root/usr/share/ca-certificates/mozilla/*.crt >"$work/root/etc/ssl/certs/ca-certificates.crt"
  printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$work/root/etc/passwd"
  printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$work/root/etc/group"
  rm -rf "$work"/root/usr/share/{doc,man,locale,lintian}
  # Whoever else makes it writes the same: each a file of its own, and the last one in place wins.
  draft=$base.$$
  tar --owner=0 --group=0 -C "$work/root" -cf "$draft" .
  mv "$draft" "$base"
fi
echo "$base"
