#!/usr/bin/env bash
# Makes a Debian package of the binary that packaging/build.sh compiled, with man pages, completions and a systemd timer as an example.
# Needs dpkg-dev, and runs where the binary runs.
#
#   packaging/deb.sh BINARY OUT        prints the path of the package
#
# MAINTAINER        Name <address>, as the package says it
# SOURCE_DATE_EPOCH the time of the files in it, in seconds; unset: that of the last commit
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2; exit 2; }
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

maintainer=${MAINTAINER:-The icepack authors <icepack@users.noreply.github.com>}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
version=$("$binary" --version | cut -d' ' -f2)-1
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree doc=$work/tree/usr/share/doc/icepack
umask 022

install -D -m 755 "$binary" "$tree/usr/bin/icepack"
"$binary" man --out "$tree/usr/share/man/man1" >/dev/null
mkdir -p "$tree/usr/share/bash-completion/completions" "$tree/usr/share/zsh/vendor-completions" "$tree/usr/share/fish/vendor_completions.d"
"$binary" completions bash >"$tree/usr/share/bash-completion/completions/icepack"
"$binary" completions zsh >"$tree/usr/share/zsh/vendor-completions/_icepack"
"$binary" completions fish >"$tree/usr/share/fish/vendor_completions.d/icepack.fish"
install -D -m 644 -t "$doc/examples" packaging/systemd/icepack.service packaging/systemd/icepack.timer
install -D -m 644 CHANGELOG.md "$doc/changelog"
cat >"$doc/changelog.Debian" <<TEXT
icepack ($version) unstable; urgency=medium

  * Version ${version%-*}: what is new is in changelog.gz.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$tree"/usr/share/man/man1/*.1
cat >"$doc/copyright" <<'TEXT'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: icepack

Files: *
Copyright: 2026 the icepack authors
License: Apache-2.0

License: Apache-2.0
 On Debian systems, the text of the licence is in
 /usr/share/common-licenses/Apache-2.0.
TEXT

# The libraries that the binary asks for, with the oldest versions that will do. A static binary asks for none.
mkdir -p "$work/debian" "$tree/DEBIAN"
printf 'Source: icepack\n\nPackage: icepack\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O -e tree/usr/bin/icepack 2>"$work/log" | sed -n 's/^shlibs:Depends=/Depends: /p') || { cat "$work/log" >&2; exit 1; }
{
  cat <<TEXT
Package: icepack
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k --apparent-size -s "$tree" | cut -f1)
Section: utils
Priority: optional
${depends:+$depends
}Recommends: ca-certificates
Description: compact small Parquet files and archive their expired rows
TEXT
  # Of the long form, one paragraph.
  fold -s -w 76 <<'TEXT' | sed 's/ *$//;s/^/ /'
It merges the small Parquet files that a stream leaves on S3, other object storage or a disk into larger sorted ones, archives rows that are past their time before it deletes them, and may run any number of times at once without losing or doubling a row.
TEXT
} >"$tree/DEBIAN/control"
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
package=$out/icepack_${version}_$architecture.deb
DPKG_DEB_COMPRESSOR_TYPE=${DPKG_DEB_COMPRESSOR_TYPE:-xz} dpkg-deb --root-owner-group --build "$tree" "$package" >&2
echo "$package"
