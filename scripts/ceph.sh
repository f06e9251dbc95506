#!/usr/bin/env bash
# Ceph's S3 gateway for the tests (scripts/s3-server.sh), from Debian's packages: unpacked into the cache, not installed. One monitor, one OSD in memory
# and the gateway, on 127.0.0.1.
#
#   ceph.sh install                               prints the directory that it is in; exit 3 where it cannot be had
#   ceph.sh run ROOT DIRECTORY PORT PORT PORT     runs what install printed in the foreground: the gateway on the first port, the monitor on the others
set -euo pipefail

cache=${ICEPACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icepack}/ceph
root=$cache/root
wanted=(ceph-mon ceph-osd radosgw)
# Debian's, for which the packages' modules are built.
python=/usr/bin/python3

cannot() {
  echo "ceph.sh: $*" >&2
  exit 3
}

environment() {
  local libraries
  libraries=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  lib=$root/usr/lib/$libraries
  export LD_LIBRARY_PATH=$root/lib/$libraries:$lib:$lib/ceph PYTHONPATH=$root/usr/lib/python3/dist-packages PATH=$root/usr/bin:$PATH
}

install_it() {
  [ ! -e "$cache/.complete" ] || return 0
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    cannot "no apt-get here, to fetch it with"
  fi
  local download package
  download=$(mktemp -d)
  # shellcheck disable=SC2064 # This directory.
  trap "rm -rf '$download'" EXIT
  # The list is apt's own of what an installation would add; nothing is installed.
  missing() { apt-get install --simulate --no-install-recommends "${wanted[@]}" | awk '$1 == "Inst" { print $2 }'; }
  fetch() {
    local packages
    packages=$(missing) && [ -n "$packages" ] || return 1
    (cd "$download" && echo "$packages" | timeout 120 xargs apt-get download)
  }
  # The lists of packages may be missing, or older than the packages.
  if ! fetch >"$download/log" 2>&1 && ! { timeout 60 apt-get update && fetch; } >>"$download/log" 2>&1; then
    tail -n 3 "$download/log" >&2
    cannot "apt-get could not fetch ${wanted[*]}"
  fi
  rm -rf "$cache"
  mkdir -p "$root"
  for package in "$download"/*.deb; do
    dpkg -x "$package" "$root"
  done
  if ! (environment && "$python" -c 'import rados' && radosgw --version) >&2; then
    cannot "what was fetched does not run here"
  fi
  touch "$cache/.complete"
}

configuration() {
  local directory=$1 monitor=$2
  cat <<INI
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = $monitor
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $directory/keyring
run dir = $directory/run
admin socket =
pid file =
setuser match path =
mon data = $directory/mon
osd data = $directory/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
rgw rados pool pg num min = 1
erasure code dir = $lib/ceph/erasure-code
plugin dir = $lib/ceph
osd class dir = $lib/rados-classes
INI
}

# Whoever kills this process's session ends all three.
run() {
  local directory=$1 gateway=$2 monitor="[v2:127.0.0.1:$3,v1:127.0.0.1:$4]" conf osd
  environment
  mkdir -p "$directory"/{mon,osd,run}
  conf=$directory/ceph.conf
  configuration "$directory" "$monitor" >"$conf"
  ceph-authtool --create-keyring "$directory/keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$directory/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool "$directory/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  monmaptool --create --addv a "$monitor" --fsid "$(ceph-conf -c "$conf" fsid)" "$directory/monmap"
  ceph-mon -c "$conf" -i a --mkfs --monmap "$directory/monmap" --keyring "$directory/keyring"
  ceph-mon -c "$conf" -i a -f &
  osd=$(cat /proc/sys/kernel/random/uuid)
  timeout 60 "$python" "$root/usr/bin/ceph" -c "$conf" osd new "$osd"
  ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd"
  ceph-osd -c "$conf" -i 0 -f &
  timeout 60 radosgw-admin -c "$conf" user create --uid test --display-name test --access-key test --secret-key testtest
  radosgw -c "$conf" -n client.admin -f --rgw-frontends "beast endpoint=127.0.0.1:$gateway"
}

case ${1:-} in
  install)
    install_it
    echo "$root"
    ;;
  run)
    root=$2
    run "${@:3}"
    ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
