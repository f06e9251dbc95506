#!/usr/bin/env bash
# LocalStack without Docker, for trying icepack out and for its tests.
#
#   localstack.sh install [--full]             put it into the cache (start does that by itself)
#   localstack.sh start   [--port N] [--full]  start it in the background, wait until it answers, print its URL; 0 is any free port
#   localstack.sh status  [--port N]           say what runs; without --port, every instance. Exit 1 when nothing does
#   localstack.sh env     [--port N]           print the variables that point icepack at it: eval "$(localstack.sh env)"
#   localstack.sh stop    [--port N]           stop it and delete what it held
#
# The default port is $ICEPACK_LOCALSTACK_PORT, else 4566. S3 alone runs, or with --full also KMS, STS, IAM and CloudFormation. It listens on 127.0.0.1 only.
# It is kept in ${ICEPACK_CACHE:-${XDG_CACHE_HOME:-~/.cache}/icepack}; its log, process id and data are below run/ there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${ICEPACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icepack}
mkdir -p "$cache/run"
cache=$(cd "$cache" && pwd)

newest_python=3.13
default_port=${ICEPACK_LOCALSTACK_PORT:-4566}
start_seconds=120

say() { echo "localstack: $*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# --- one instance: its state is a directory named after its port ---------------------------------------------------------

state() { echo "$cache/run/localstack-$1"; }
url() { echo "http://127.0.0.1:$1"; }

# When a process started: what tells it from a later one that was given the same number.
started_at() {
  local stat
  if [ -r "/proc/$1/stat" ]; then
    stat=$(<"/proc/$1/stat") || return 1
    # The command's name may hold anything, blanks too; the start time is the 20th field after its closing bracket.
    read -ra stat <<<"${stat##*) }"
    echo "${stat[19]}"
  else
    ps -o lstart= -p "$1"
  fi
}

# Prints the process id of the instance on a port, if the process that start recorded is still that process.
running() {
  local pid since
  { read -r pid since <"$(state "$1")/pid"; } 2>/dev/null || return 1
  [ "$(started_at "$pid" 2>/dev/null)" = "$since" ] || return 1
  if [ -r "/proc/$pid/cmdline" ]; then
    { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "--port $1 " || return 1
  fi
  echo "$pid"
}

# Does it answer, with every service there?
healthy() {
  local health service
  health=$(curl -fsS --noproxy '*' --max-time 5 "$(url "$1")/_localstack/health" 2>/dev/null) || return 1
  for service in ${2//,/ }; do
    case $health in
      *"\"$service\": \"running\""* | *"\"$service\": \"available\""*) ;;
      *) return 1 ;;
    esac
  done
}

services_of() { cat "$(state "$1")/services" 2>/dev/null || true; }

# No two starts or stops of one port at a time. The lock is held through the open file 9, until this script ends.
lock() {
  exec 9>"$(state "$1").lock"
  "$2" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
}

# Ends the instance on a port, if there is one, and deletes its data. The log stays, for whoever asks why it did not start.
# Nothing it holds is to outlive it, so it is not asked politely: that takes five seconds, and has no effect while it starts.
end() {
  local pid
  if pid=$(running "$1"); then
    kill -9 -- "-$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null || true
    while running "$1" >/dev/null; do sleep 0.05; done
  fi
  rm -rf "$(state "$1")"/{pid,services,data}
}

# --- the commands --------------------------------------------------------------------------------------------------------

install_it() {
  "$here/../scripts/pinned-venv.sh" "$1" "$2" "$newest_python"
}

free_port() {
  "$1" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {
  local port=$1 python=$2/bin/python services=$3 any="" directory pid deadline
  if [ "$port" = 0 ]; then
    any=1
    port=$(free_port "$python")
  fi
  directory=$(state "$port")
  mkdir -p "$directory"
  lock "$port" "$python"

  if [ -z "$any" ] && pid=$(running "$port") && healthy "$port" "$(services_of "$port")"; then
    healthy "$port" "$services" \
      || die "already running on port $port, but with $(services_of "$port") only; run 'localstack.sh stop --port $port' first"
    say "already running at $(url "$port"), process $pid"
    url "$port"
    return
  fi
  # Not healthy: what is left of it goes. After that, whoever holds the port is somebody else.
  [ -n "$any" ] || end "$port"
  if taken "$port"; then
    die "port $port is in use by another program; choose another with --port, or any free one with --port 0"
  fi

  # Until it is up, however this script ends, the server ends with it.
  trap 'end '"$port" EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  rm -rf "$directory/data"
  mkdir "$directory/data"
  echo "$services" >"$directory/services"
  nohup "$python" "$here/start.py" --port "$port" --data "$directory/data" --services "$services" \
    </dev/null >"$directory/log" 2>&1 9>&- &
  pid=$!
  disown
  echo "$pid $(started_at "$pid")" >"$directory/pid"

  deadline=$((SECONDS + start_seconds))
  until healthy "$port" "$services"; do
    if ! kill -0 "$pid" 2>/dev/null; then
      tail -n 15 "$directory/log" >&2
      die "it ended while starting; the log is $directory/log"
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 15 "$directory/log" >&2
      die "it did not answer within $start_seconds s; the log is $directory/log"
    fi
    sleep 0.2
  done
  kill -0 "$pid" 2>/dev/null || die "another program took port $port first; the log is $directory/log"
  trap - EXIT INT TERM
  say "running at $(url "$port"), process $pid; stop it with: localstack/localstack.sh stop --port $port"
  url "$port"
}

stop() {
  local pid
  if [ ! -d "$(state "$1")" ]; then
    say "not running on port $1"
    return
  fi
  pid=$(running "$1") || pid=""
  end "$1"
  rm -rf "$(state "$1")"
  if [ -n "$pid" ]; then
    say "stopped process $pid on port $1"
  else
    say "not running on port $1"
  fi
}

status_of() {
  local pid
  if ! pid=$(running "$1"); then
    return 1
  elif healthy "$1" "$(services_of "$1")"; then
    echo "running at $(url "$1"), process $pid, services $(services_of "$1")"
  else
    echo "not answering at $(url "$1"), process $pid; see $(state "$1")/log"
  fi
}

status() {
  local directory some=1
  if [ -n "$1" ]; then
    status_of "$1" && return
    echo "not running on port $1"
    return 1
  fi
  for directory in "$cache"/run/localstack-*/; do
    directory=${directory%/}
    if status_of "${directory##*-}"; then
      some=0
    fi
  done
  [ "$some" = 0 ] || echo "not running"
  return "$some"
}

environment() {
  cat <<ENV
export AWS_ENDPOINT_URL=$(url "$1")
export AWS_ACCESS_KEY_ID=test
export AWS_SECRET_ACCESS_KEY=test
export AWS_REGION=us-east-1
export AWS_ALLOW_HTTP=true
export AWS_VIRTUAL_HOSTED_STYLE_REQUEST=false
ENV
}

[ $# -ge 1 ] || usage
command=$1 port="" full=""
shift
while [ $# -gt 0 ]; do
  case $1 in
    --port)
      [ $# -ge 2 ] || usage
      port=$2
      shift
      ;;
    --port=*) port=${1#*=} ;;
    --full) full=1 ;;
    *) usage ;;
  esac
  shift
done
case $port in
  *[!0-9]* | ??????*) die "--port wants a number, not $port" ;;
esac
[ "${port:-0}" -le 65535 ] || die "--port wants a number up to 65535, not $port"

if [ -n "$full" ]; then
  name=localstack-full lock_file=$here/requirements-full.lock services=s3,kms,sts,iam,cloudformation
else
  name=localstack lock_file=$here/requirements.lock services=s3
fi

case $command in
  install)
    venv=$(install_it "$name" "$lock_file")
    say "installed in $venv"
    ;;
  start)
    command -v curl >/dev/null || die "needs curl"
    venv=$(install_it "$name" "$lock_file")
    start "${port:-$default_port}" "$venv" "$services"
    ;;
  stop) stop "${port:-$default_port}" ;;
  status) status "$port" ;;
  env) environment "${port:-$default_port}" ;;
  *) usage ;;
esac
