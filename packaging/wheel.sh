#!/usr/bin/env bash
# Makes a Python wheel of the binary that packaging/build.sh compiled, so that `pip install icepack-cli` and `uvx --from icepack-cli icepack` have it.
#
#   packaging/wheel.sh BINARY OUT        prints the path of the wheel
#
# PLATFORM          the wheel's platform tag; unset, for Linux: read from the binary, as its glibc and processor allow
# SOURCE_DATE_EPOCH the time of the files in it, in seconds; unset: 1980
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2; exit 2; }
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What the binary asks of a machine, as a tag: PEP 600 and PEP 656. What no such tag may ask for is refused.
platform() {
  local machine libraries glibc
  machine=$(LC_ALL=C readelf -h "$binary" | sed -n 's/^ *Machine: *//p')
  case $machine in
    *X86-64) machine=x86_64 ;;
    AArch64) machine=aarch64 ;;
    *) echo "wheel.sh: no tag for the processor $machine; name one in PLATFORM" >&2; return 1 ;;
  esac
  libraries=$(LC_ALL=C readelf -d "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  if [ -z "$libraries" ]; then
    # Static: it runs anywhere. Where glibc is, pip takes the other wheel first.
    echo "musllinux_1_1_$machine"
    return
  fi
  if grep -vE '^(lib(c|m|dl|rt|pthread|util)\.so\.[0-9]+|libgcc_s\.so\.1|ld-linux-.*)$' <<<"$libraries" >&2; then
    echo "wheel.sh: not every machine has these libraries" >&2
    return 1
  fi
  glibc=$(LC_ALL=C readelf -V "$binary" | grep -oE 'GLIBC_2\.[0-9]+' | cut -d. -f2 | sort -n | tail -n 1)
  echo "manylinux_2_${glibc}_$machine"
}

tag=py3-none-${PLATFORM:-$(platform)}
version=$("$binary" --version | cut -d' ' -f2)
summary=$(sed -n 's/^description = "\(.*\)"$/\1/p' Cargo.toml)
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-315532800}"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
install -D -m 755 "$binary" "$tree/icepack_cli-$version.data/scripts/icepack"
info=$tree/icepack_cli-$version.dist-info
install -D -m 644 LICENSE "$info/licenses/LICENSE"
cat >"$info/WHEEL" <<TEXT
Wheel-Version: 1.0
Generator: icepack
Root-Is-Purelib: false
Tag: $tag
TEXT
cat - README.md >"$info/METADATA" <<TEXT
Metadata-Version: 2.4
Name: icepack-cli
Version: $version
Summary: $summary
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.8
Description-Content-Type: text/markdown

TEXT
"$(scripts/pinned-venv.sh wheel packaging/wheel.txt)/bin/python" -m wheel pack --dest-dir "$out" "$tree" >&2
echo "$out/icepack_cli-$version-$tag.whl"
