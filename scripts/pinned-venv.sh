#!/usr/bin/env bash
# Prints the directory of a Python virtual environment that holds what a file of pins names; makes it first, if need be.
#
#   scripts/pinned-venv.sh NAME PINS [NEWEST]
#
# NEWEST is the newest Python that the pins are known to work with, such as 3.13; the oldest is 3.11.
# $PYTHON, if set, is the interpreter to use. Environments live in the cache, outside the clone, one for each content
# of PINS. Any number of these may run at once: one makes the environment, the others wait for it.
set -euo pipefail

die() {
  echo "pinned-venv: $*" >&2
  exit 1
}

# Says whether one interpreter will do: "ok PATH", or why not. A pyenv shim may be on the PATH and still not run: it says nothing.
probe() {
  "$1" - "$1" "$2" 2>/dev/null <<'PY' || true
import sys
name, newest = sys.argv[1], tuple(int(part) for part in sys.argv[2].split("."))
if not (3, 11) <= sys.version_info[:2] <= newest:
    print(f"{name} is {sys.version_info[0]}.{sys.version_info[1]}")
else:
    try:
        import ensurepip, venv
        print("ok", sys.executable)
    except ImportError:
        print(f"{name} lacks the venv module (Debian, Ubuntu: apt-get install python3-venv)")
PY
}

find_python() {
  local candidate answer seen=""
  local candidates=(python3.11 python3.12 python3.13 python3)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    answer=$(probe "$candidate" "$newest")
    case $answer in
      "ok "*)
        echo "${answer#ok }"
        return
        ;;
      ?*) seen="${seen:+$seen; }$answer" ;;
    esac
  done
  local wanted="Python 3.11 to $newest"
  [ "$newest" != "$any" ] || wanted="Python 3.11 or newer"
  die "$name needs $wanted, but ${seen:-there is no ${candidates[*]}}; install one, or name one in PYTHON"
}

# The same content of pins, the same environment.
digest() {
  "$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:16])' "$1"
}

complete() {
  [ -e "$venv/.complete" ] && "$venv/bin/python" -c '' 2>/dev/null
}

any=3.999
[ $# -ge 2 ] || die "usage: pinned-venv.sh NAME PINS [NEWEST]"
name=$1 pins=$2 newest=${3:-$any}
[ -r "$pins" ] || die "cannot read $pins"

cache=${ICEPACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icepack}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
python=$(find_python)
venv=$cache/$name-$(digest "$pins")

if ! complete; then
  # The lock stays with the open file 9 after the python that took it has gone. flock(1) is not everywhere; python is.
  exec 9>"$venv.lock"
  "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
  if ! complete; then
    echo "pinned-venv: installing $name into $venv" >&2
    # An environment cannot be moved once made, so it is made in its place, and the marker that makes it count comes last.
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2 || die "could not make $venv"
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check -r "$pins" >&2 9>&- \
      || die "pip could not install $pins (see above); run it again when the package index can be reached"
    touch "$venv/.complete"
  fi
fi
echo "$venv"
