#!/bin/sh
# Compiles the binary of a release: OUT/icepack, and OUT/spill, an empty directory that the image has. Everything in packaging/ and the Dockerfile
# take their binary from here.
#
#   packaging/build.sh OUT        from the root of the repository
#
# TARGET            a Rust target such as x86_64-unknown-linux-musl; with the oldest glibc that it is to run on behind a dot, such as
#                   x86_64-unknown-linux-gnu.2.28. Both are linked by zig, which is fetched once. Unset: this machine, with its own linker
# FEATURES          cargo features besides the default ones; unset: full
# SOURCE_DATE_EPOCH the time of the commit, in seconds, that a reproducible build claims; unset: 0
set -eu
[ $# -eq 1 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2; }
[ -f Cargo.lock ] || { echo "build.sh: no Cargo.lock in $(pwd); run it from the root of the repository" >&2; exit 2; }

# The same source and compiler, the same bytes: no path of this machine, no time, no leftovers of another build.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"
export CARGO_INCREMENTAL=0
export CARGO_PROFILE_RELEASE_STRIP=symbols
here=$(pwd) cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }--remap-path-prefix=$here=/build --remap-path-prefix=$cargo_home=/cargo"
# For the C that ring and zstd bring.
export CFLAGS="-ffile-prefix-map=$here=/build -ffile-prefix-map=$cargo_home=/cargo"

out=$1 built=${CARGO_TARGET_DIR:-target}
set -- --release --locked --bin icepack --features "${FEATURES-full}"
if [ -z "${TARGET:-}" ]; then
  cargo build "$@"
else
  triple=${TARGET%%.*} built=$built/${TARGET%%.*}
  [ -d "$(rustc --print sysroot)/lib/rustlib/$triple" ] || rustup target add "$triple"
  zig=$(scripts/pinned-venv.sh zig packaging/zig.txt)
  # With the environment's programs ahead: it finds zig there.
  PATH=$zig/bin:$PATH cargo zigbuild --target "$TARGET" "$@"
fi

mkdir -p "$out/spill"
cp "$built/release/icepack" "$out/icepack"
# What cannot start is not worth a package.
"$out/icepack" --version
