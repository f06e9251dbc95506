#!/bin/sh
# Builds the release binary as it goes into the image: OUT/icepack, and OUT/spill, an empty directory. The Dockerfile runs this; so can a test.
#
#   infra/docker/build.sh OUT        from the root of the repository; FEATURES and SOURCE_DATE_EPOCH as in the Dockerfile
set -eu
[ $# -eq 1 ] || { echo "usage: infra/docker/build.sh OUT" >&2; exit 2; }
[ -f Cargo.lock ] || { echo "build.sh: no Cargo.lock in $(pwd); run it from the root of the repository" >&2; exit 2; }

# The same source and compiler, the same bytes: no path of this machine, no time, no leftovers of another build.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"
export CARGO_INCREMENTAL=0
export CARGO_PROFILE_RELEASE_STRIP=symbols
here=$(pwd) cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="--remap-path-prefix=$here=/build --remap-path-prefix=$cargo_home=/cargo"
# For the C that ring and zstd bring.
export CFLAGS="-ffile-prefix-map=$here=/build -ffile-prefix-map=$cargo_home=/cargo"

cargo build --release --locked --bin icepack --features "${FEATURES:-}"

mkdir -p "$1/spill"
cp "${CARGO_TARGET_DIR:-target}/release/icepack" "$1/icepack"
# What cannot start is not worth an image.
"$1/icepack" --version
