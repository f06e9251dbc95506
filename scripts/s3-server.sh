#!/usr/bin/env bash
# Servers for the tests, besides LocalStack: S3, and Azurite for Azure Blob Storage. They listen on 127.0.0.1 only. Those of S3 take the key test and the
# secret testtest; SeaweedFS also takes the keys of the roles in infra/iam: job with jobsecret, and restore with restoresecret.
#
#   s3-server.sh install NAME            puts it into the cache; exit 3 where it cannot be had, say without a package for this machine
#   s3-server.sh start   NAME DIRECTORY  starts it in the background with everything it writes below DIRECTORY, waits until it answers, prints its URL
#   s3-server.sh stop    DIRECTORY       ends it and deletes the directory
#
# NAME is seaweedfs, juicefs, ceph (Debian's packages, 70 MB) or azurite (needs npm, 61 MB).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
start_seconds=60
key=test secret=testtest

say() { echo "s3-server: $*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# Prints where it is.
install_it() {
  case $1 in
    ceph) "$here/ceph.sh" install || exit 3 ;;
    azurite) install_azurite || exit 3 ;;
    *) "$here/pinned-venv.sh" "$1" "$here/$1.txt" || exit 3 ;;
  esac
}

# Without scripts of packages, and without what the tests do not use (scripts/azurite/none): a fifth of it is left.
install_azurite() {
  local cache=${ICEPACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icepack} lock=$here/azurite/package-lock.json place draft
  if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    say "azurite needs node and npm"
    return 1
  fi
  place=$cache/azurite-$(cksum <"$lock" | tr ' ' -)
  if [ ! -e "$place" ]; then
    mkdir -p "$cache"
    draft=$(mktemp -d "$cache/azurite.XXXXXX")
    cp -R "$here/azurite/." "$draft"
    if ! (cd "$draft" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2; then
      rm -rf "$draft"
      say "npm could not install azurite (see above)"
      return 1
    fi
    # Whoever was first has it in place, and it is the same.
    mv -T "$draft" "$place" 2>/dev/null || rm -rf "$draft"
  fi
  echo "$place"
}

# So many free ports, all different.
free_ports() {
  "$python" - "$1" <<'PY'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
PY
}

# Runs a server with an environment that holds nothing of this shell's, in a session of its own: a Ctrl-C here is not for it.
launch() {
  env -i PATH="$PATH" HOME="$directory" TMPDIR="$directory/tmp" MINIO_ROOT_USER="$key" MINIO_ROOT_PASSWORD="$secret" \
    "$python" -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' "$@" </dev/null >"$directory/log" 2>&1 &
  echo $! >"$directory/pid"
  disown
}

# Besides the owner two keys, job and restore, that may do what infra/iam says, and nothing else, in the store s3://policy-hot/events and the archive
# s3://policy-cold/frozen (tests/python/test_policies.py).
seaweedfs_identities() {
  "$venv/bin/python" - "$here/../infra/iam/render.py" "$key" "$secret" <<'PY'
import json, subprocess, sys
render, key, secret = sys.argv[1:]
places = ["--hot", "s3://policy-hot/events", "--archive", "s3://policy-cold/frozen"]
def identity(name, secret, **rights):
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], **rights}
roles = ["job", "restore"]
print(json.dumps({
    "identities": [identity(key, secret, actions=["Admin", "Read", "Write", "List", "Tagging"])]
    + [identity(role, f"{role}secret", policyNames=[f"icepack-{role}"]) for role in roles],
    "policies": [
        {"name": f"icepack-{role}", "content": subprocess.run([sys.executable, render, role, *places], check=True, capture_output=True, text=True).stdout}
        for role in roles
    ],
}, indent=1))
PY
}

launch_seaweedfs() {
  local ports
  read -ra ports <<<"$(free_ports 9)"
  port=${ports[0]}
  seaweedfs_identities >"$directory/identities.json"
  launch "$venv/bin/weed" mini -dir="$directory/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.config="$directory/identities.json" \
    -webdav=false -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.port="$port" -s3.port.grpc="${ports[1]}" \
    -master.port="${ports[2]}" -master.port.grpc="${ports[3]}" -volume.port="${ports[4]}" -volume.port.grpc="${ports[5]}" \
    -filer.port="${ports[6]}" -filer.port.grpc="${ports[7]}" -admin.port="${ports[8]}"
}

launch_juicefs() {
  local meta=sqlite3://$directory/meta.db
  local ports
  read -ra ports <<<"$(free_ports 2)"
  port=${ports[0]}
  if ! "$venv/bin/juicefs" format --no-agent --storage file --bucket "$directory/data/" "$meta" tests >"$directory/log" 2>&1; then
    cat "$directory/log" >&2
    die "juicefs could not make its volume"
  fi
  launch "$venv/bin/juicefs" gateway --no-agent --no-usage-report --no-bgjob --backup-meta 0 --metrics "127.0.0.1:${ports[1]}" \
    --multi-buckets --log "$directory/gateway.log" "$meta" "127.0.0.1:$port"
}

launch_ceph() {
  local ports
  read -ra ports <<<"$(free_ports 3)"
  port=${ports[0]}
  answer=200
  launch "$here/ceph.sh" run "$venv" "$directory/data" "${ports[@]}"
}

launch_azurite() {
  port=$(free_ports 1)
  answer=400
  # It would close a connection after 5 s, perhaps just as a client sends a request that cannot be repeated.
  launch node "$venv/node_modules/azurite/dist/src/blob/main.js" --blobHost 127.0.0.1 --blobPort "$port" --inMemoryPersistence \
    --blobKeepAliveTimeout 600 --skipApiVersionCheck --disableTelemetry --silent
}

# It answers a request, if only to say that it is not signed, or not understood.
answers() {
  [ "$(curl -s --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/" 2>/dev/null)" = "$answer" ]
}

# Until it answers; fails where it ended before.
await() {
  local pid deadline=$((SECONDS + start_seconds))
  pid=$(<"$directory/pid")
  until answers; do
    kill -0 "$pid" 2>/dev/null || return 1
    [ "$SECONDS" -lt "$deadline" ] || die "$name did not answer within $start_seconds s; its log is $directory/log"
    sleep 0.1
  done
  kill -0 "$pid" 2>/dev/null
}

# Nothing it holds is to outlive it, so it is not asked politely. The directory was this script's from the start, so the process is too.
end() {
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) || return 0
  # With what it started: it leads a session of its own.
  kill -9 -- "-$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}

start() {
  local attempt
  mkdir -p "$directory"
  directory=$(cd "$directory" && pwd)
  [ -z "$(ls -A "$directory")" ] || die "$directory is not empty"
  # Until it is up, however this script ends, the server ends with it.
  trap 'end "$directory"' EXIT
  for attempt in 1 2 3; do
    mkdir -p "$directory/data" "$directory/tmp"
    "launch_$name"
    if await; then
      trap - EXIT
      say "$name is running at http://127.0.0.1:$port, process $(<"$directory/pid")"
      echo "http://127.0.0.1:$port"
      return
    fi
    # Most likely another program took one of its ports first.
    say "$name ended while starting (attempt $attempt):"
    tail -n 5 "$directory/log" >&2
    rm -rf "${directory:?}"/{data,tmp,meta.db,pid}
  done
  die "$name does not start"
}

[ $# -ge 2 ] || usage
case $1:$2 in
  install:seaweedfs | install:juicefs | install:ceph | install:azurite) install_it "$2" >/dev/null ;;
  start:seaweedfs | start:juicefs | start:ceph | start:azurite)
    [ $# -eq 3 ] || usage
    command -v curl >/dev/null || die "needs curl"
    name=$2 directory=$3
    venv=$(install_it "$name")
    python=$venv/bin/python answer=403
    [ -x "$python" ] || python=python3
    start
    ;;
  stop:*)
    end "$2"
    rm -rf "$2"
    ;;
  *) usage ;;
esac
