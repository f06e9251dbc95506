#!/usr/bin/env bash
# Types what the documents say, and nothing else: every ```sh block below a heading, in one shell, as a reader would, and fails where a command does.
#
#   try-docs.sh [--transcript FILE] [--icepack PROGRAM] DOCUMENT HEADING [DOCUMENT HEADING]...
#   try-docs.sh                                     all of those in `walks` below; then docs/metrics.md and docs/json.md against the program, which needs the feature `delta`
#
# It works on a clean copy of the clone, with the icepack that is given (else target/debug/icepack) on the PATH: the one block that it does not type is the
# one that installs it. LocalStack gets a free port through ICEPACK_LOCALSTACK_PORT.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

walks=(
  docs/getting-started.md "In a directory"
  localstack/README.md "Ten minutes, from nothing to a restore"
  docs/getting-started.md "Another S3 server"
)

transcript=/dev/null icepack=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug/icepack
while [ $# -gt 0 ]; do
  case $1 in
    --transcript) transcript=$(realpath -m "$2") && shift 2 ;;
    --icepack) icepack=$(realpath "$2") && shift 2 ;;
    -*) echo "try-docs: what is $1?" >&2 && exit 2 ;;
    *) break ;;
  esac
done
every=""
[ $# -gt 0 ] || { every=1 && set -- "${walks[@]}"; }
[ -x "$icepack" ] || { echo "try-docs: there is no $icepack: build it, or name one with --icepack" >&2; exit 2; }

room=$(mktemp -d)
cleanup() {
  # A walk that broke off may have left a server behind.
  for directory in "$room"/run/*/clone; do
    [ ! -d "$directory" ] || (cd "$directory" && ICEPACK_LOCALSTACK_PORT=$(cat ../port) localstack/localstack.sh stop && {
      [ ! -d s3 ] || scripts/s3-server.sh stop s3
    }) >/dev/null 2>&1 || true
  done
  rm -rf "$room"
}
trap cleanup EXIT
mkdir "$room/bin" "$room/run"
ln -s "$icepack" "$room/bin/icepack"

# The blocks of a section, with each command shown before it runs. A line that ends in a backslash, or an open quote or here-document, is one with the next.
extract() {
  python3 - "$1" "$2" <<'PY'
import re, shlex, subprocess, sys
document, heading = sys.argv[1:]
inside, block, found = False, None, []
for line in open(document, encoding="utf-8"):
    line = line.rstrip("\n")
    if block is None and (title := re.match(r"(#+) (.*)", line)):
        inside = title[2] == heading or (inside and len(title[1]) > level)
        if title[2] == heading:
            level = len(title[1])
    elif block is None and line.strip() == "```sh" and inside:
        block = []
    elif block is not None and line.strip() == "```":
        found.append(block)
        block = None
    elif block is not None:
        block.append(line)
if not found:
    sys.exit(f"try-docs: {document} has no block of sh below `{heading}`")
for block in found:
    command = ""
    for line in block:
        command += line + "\n"
        whole = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True)
        if line.endswith("\\") or whole.returncode != 0 or "here-document" in whole.stderr:
            continue
        if command.strip() and not command.lstrip().startswith("#"):
            print(f"printf '%s\\n' {shlex.quote('$ ' + command.rstrip())}")
        print(command, end="")
        command = ""
    if command:
        sys.exit(f"try-docs: {document}: a command does not end: {command}")
PY
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A server that cannot be installed here, say without a package for this machine, is left out, loudly; all else is a failure.
can_be_had() {
  local status=0
  case $1 in *"Another S3 server") scripts/s3-server.sh install seaweedfs || status=$? ;; esac
  [ "$status" != 3 ] || {
    echo "******************************************************************************************"
    echo "** NOT TYPED: $1. Its server could not be installed (see above)."
    echo "******************************************************************************************"
  } >&2
  [ "$status" != 3 ]
}

number=0
while [ $# -gt 0 ]; do
  document=$1 heading=$2 number=$((number + 1))
  shift 2
  can_be_had "$document: $heading" || continue
  mkdir -p "$room/run/$number/clone"
  # What is committed or about to be, and none of what is only here.
  git ls-files -z --cached --others --exclude-standard | xargs -0 tar -cf - | tar -xf - -C "$room/run/$number/clone"
  free_port >"$room/run/$number/port"
  { echo 'set -euo pipefail' && extract "$document" "$heading"; } >"$room/run/$number/typed"
  echo "== $document: $heading" | tee -a "$transcript"
  (
    for variable in "${!AWS_@}" "${!ICEPACK_@}"; do
      case $variable in ICEPACK_CACHE) ;; *) unset "$variable" ;; esac
    done
    export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
    ICEPACK_LOCALSTACK_PORT=$(cat "$room/run/$number/port")
    export ICEPACK_LOCALSTACK_PORT PATH="$room/bin:$PATH"
    cd "$room/run/$number/clone"
    began=$SECONDS
    bash "$room/run/$number/typed" 2>&1 </dev/null
    echo "== done in $((SECONDS - began)) s"
  ) | tee -a "$transcript"
done

[ -z "$every" ] || {
  echo "== docs/metrics.md, docs/json.md: what the program exports and prints" | tee -a "$transcript"
  began=$SECONDS
  "$(scripts/pinned-venv.sh tests tests/python/requirements.txt)/bin/python" tests/python/check_reference.py --icepack "$icepack" 2>&1 | tee -a "$transcript"
  echo "== done in $((SECONDS - began)) s"
}
