#!/usr/bin/env bash
# Puts buildah and podman with runc onto this machine, by apt-get, for the test of the image. Needs root.
#
#   containers.sh      exit 3 where they cannot be had
set -euo pipefail

# catatonit is what podman's pods wait in.
programs=(buildah catatonit conmon podman runc)

missing() {
  local program
  for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || echo "$program"
  done
}

# Files of other users, mounts and limits of memory are root's.
if [ "$(id -u)" != 0 ]; then
  echo "containers.sh: the test of the image needs root" >&2
  exit 3
fi
absent=$(missing)
[ -n "$absent" ] || exit 0
if ! command -v apt-get >/dev/null; then
  echo "containers.sh: no ${absent//$'\n'/, } here, and no apt-get to install them" >&2
  exit 3
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  echo "$absent" | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends
}
echo "containers.sh: installing ${absent//$'\n'/, }, once" >&2
# The lists of packages may be missing, or older than the packages.
if ! install >"$log" 2>&1 && ! { apt-get update && install; } >>"$log" 2>&1 || [ -n "$(missing)" ]; then
  echo "containers.sh: apt-get could not install ${absent//$'\n'/, }:" >&2
  tail -n 3 "$log" >&2
  exit 3
fi
