#!/usr/bin/env bash
# Makes an archive of the binary that packaging/build.sh compiled, with its licence, man pages and completions.
#
#   packaging/tarball.sh BINARY TARGET OUT        prints the path of the archive; TARGET is the Rust target that is in its name
#
# SOURCE_DATE_EPOCH the time of the files in it, in seconds; unset: 0
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2; exit 2; }
binary=$(realpath "$1") target=$2
mkdir -p "$3"
out=$(realpath "$3")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=icepack-$("$binary" --version | cut -d' ' -f2)-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/$name
umask 022
mkdir -p "$tree/completions"
install -m 755 "$binary" "$tree/icepack"
install -m 644 LICENSE README.md CHANGELOG.md "$tree"
"$binary" man --out "$tree/man" >/dev/null
for shell in bash zsh fish; do
  "$binary" completions "$shell" >"$tree/completions/icepack.$shell"
done
# GNU tar, which macOS calls gtar: the same files, the same bytes.
tar=$(command -v gtar || command -v tar)
"$tar" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" -C "$work" -cf - "$name" | gzip -n >"$out/$name.tar.gz"
echo "$out/$name.tar.gz"
