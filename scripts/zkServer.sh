#!/usr/bin/env bash
# Starts, stops and asks the server: Java's bin/zkServer.sh, word for word as seen from outside
# (arguments, environment variables, lines on stdout, exit codes), around the zabkeeper binary.
#
# What differs on purpose:
# - "stop" waits until the process has ended (30 s at most) instead of one second, so "restart"
#   needs no pause; a process that does not end is reported and keeps its pid file.
# - "restart" keeps "--config"; "status" needs no JVM; symlinks to this script are followed.
# - JMX variables are accepted and have no effect. Lines about JMX are printed only when asked for.
# - "start" prints the machine's limits to stderr when they are too low for 10,000 connections.

script="${BASH_SOURCE[0]}"
while [ -L "$script" ]; do
  link="$(readlink "$script")"
  case "$link" in
    /*) script="$link" ;;
    *) script="$(dirname "$script")/$link" ;;
  esac
done
ZOOBINDIR="$(cd "$(dirname "$script")" && pwd -P)"

if [ -e "$ZOOBINDIR/../libexec/zkEnv.sh" ]; then
  # shellcheck source=scripts/zkEnv.sh
  . "$ZOOBINDIR/../libexec/zkEnv.sh"
else
  # shellcheck source=scripts/zkEnv.sh
  . "$ZOOBINDIR/zkEnv.sh"
fi

usage() {
  echo "Usage: $0 [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}" >&2
}

# Sets ZOOCFG from the second argument: a plain name is looked up in the configuration directory, a
# path is taken as it is.
choose_config() { # [CFG]
  case "${1:-}" in
    '') ;;
    */*) ZOOCFG="$1" ;;
    *) ZOOCFG="$ZOOCFGDIR/$1" ;;
  esac
  echo "Using config: $ZOOCFG" >&2
  if [ -r "$ZOOCFG" ] && [ -f "$ZOOCFG" ]; then
    config_is_readable=1
    ZOO_DATADIR="$(cfg_value dataDir "$ZOOCFG")"
    ZOO_DATALOGDIR="$(cfg_value dataLogDir "$ZOOCFG")"
  else
    config_is_readable=
    ZOO_DATADIR=
    ZOO_DATALOGDIR=
    echo "$ZOOCFG: no such file, or it cannot be read" >&2
  fi
}

# Only with ZOO_DATADIR_AUTOCREATE_DISABLE: without the directories there is no place for a pid file.
check_data_directories() {
  if [ -z "${ZOO_DATADIR_AUTOCREATE_DISABLE:-}" ]; then
    return 0
  fi
  if [ ! -d "$ZOO_DATADIR/version-2" ]; then
    echo "ZooKeeper data directory is missing at $ZOO_DATADIR fix the path or run initialize"
    exit 1
  fi
  if [ -n "$ZOO_DATALOGDIR" ] && [ ! -d "$ZOO_DATALOGDIR/version-2" ]; then
    echo "ZooKeeper txnlog directory is missing at $ZOO_DATALOGDIR fix the path or run initialize"
    exit 1
  fi
  server_flags+=("-Dzookeeper.datadir.autocreate=false")
}

choose_pid_file() {
  if [ -z "${ZOOPIDFILE:-}" ]; then
    if [ -n "$ZOO_DATADIR" ] && [ ! -d "$ZOO_DATADIR" ]; then
      mkdir -p "$ZOO_DATADIR"
    fi
    ZOOPIDFILE="$ZOO_DATADIR/zookeeper_server.pid"
  else
    mkdir -p "$(dirname "$ZOOPIDFILE")"
  fi
}

# The server itself takes the -D settings from SERVER_JVMFLAGS and then from JVMFLAGS, so that the
# latter win as in Java, and ignores what only a JVM understands. java.env need not export them.
export SERVER_JVMFLAGS="${SERVER_JVMFLAGS:-}" JVMFLAGS="${JVMFLAGS:-}"

describe_jmx() {
  case "${JMXDISABLE:-false}" in
    false)
      if [ -n "${JMXPORT:-}" ]; then
        echo "JMXPORT is set, but this server has no JMX: see the four letter words." >&2
      fi
      ;;
    *) echo "JMX disabled by user request" >&2 ;;
  esac
}

# One limit of the machine, when it allows fewer connections than the goal.
warn_if_low() { # NAME VALUE PER_CONNECTION
  local goal=10000 reserve=200
  case "$2" in
    '' | *[!0-9]*) return 0 ;; # "max", "unlimited", not there.
  esac
  if [ "$2" -lt $(((goal + reserve) * $3)) ]; then
    echo "Note: $1 is $2: room for about $(($2 / $3)) client connections (one thread each)." >&2
  fi
}

read_number() { # FILE
  { read -r REPLY <"$1"; } 2>/dev/null && echo "$REPLY"
}

# The lowest pids.max from this process's control group up to the root (version 2 or version 1).
cgroup_pids_max() {
  local line path root value lowest=max
  while IFS= read -r line; do
    case "$line" in
      0::*) root=/sys/fs/cgroup path="${line#0::}" ;;
      *:pids:*) root=/sys/fs/cgroup/pids path="${line#*:pids:}" ;;
      *) continue ;;
    esac
    # A namespace may hide the parents: then the path does not exist, and the root is what counts.
    while :; do
      value="$(read_number "$root${path%/}/pids.max")"
      case "$value" in
        '' | *[!0-9]*) ;;
        *) if [ "$lowest" = max ] || [ "$value" -lt "$lowest" ]; then lowest="$value"; fi ;;
      esac
      if [ -z "$path" ] || [ "$path" = / ]; then break; fi
      path="${path%/*}"
    done
  done 2>/dev/null </proc/self/cgroup
  echo "$lowest"
}

# A thread takes four memory mappings and one process id; a connection takes one file descriptor. Of
# these the soft limit is raised to the hard one first, as a JVM does.
warn_about_limits() {
  ulimit -Sn "$(ulimit -Hn)" 2>/dev/null
  warn_if_low "vm.max_map_count" "$(read_number /proc/sys/vm/max_map_count)" 4
  warn_if_low "kernel.pid_max" "$(read_number /proc/sys/kernel/pid_max)" 1
  warn_if_low "kernel.threads-max" "$(read_number /proc/sys/kernel/threads-max)" 1
  warn_if_low "the control group's pids.max" "$(cgroup_pids_max)" 1
  warn_if_low "the limit of processes (ulimit -u)" "$(ulimit -Hu)" 1
  warn_if_low "the limit of open files (ulimit -Hn)" "$(ulimit -Hn)" 1
}

is_running() { # PID
  case "$1" in
    '' | *[!0-9]*) return 1 ;;
  esac
  kill -0 "$1" 2>/dev/null
}

do_start() {
  local pid
  echo -n "Starting zookeeper ... "
  if [ -f "$ZOOPIDFILE" ] && is_running "$(cat "$ZOOPIDFILE")"; then
    echo "already running as process $(cat "$ZOOPIDFILE")."
    exit 1
  fi
  if [ -z "$config_is_readable" ]; then
    echo FAILED TO START
    exit 1
  fi
  require_binary || { echo SERVER DID NOT START; exit 1; }
  warn_about_limits
  nohup "$ZABKEEPER_BIN" server "$ZOOCFG" "${server_flags[@]}" \
    >"$_ZOO_DAEMON_OUT" 2>&1 </dev/null &
  pid=$!
  if ! echo -n "$pid" >"$ZOOPIDFILE"; then
    echo FAILED TO WRITE PID
    exit 1
  fi
  sleep 1
  if is_running "$pid"; then
    echo STARTED
  else
    echo FAILED TO START
    echo "The reason should stand at the end of $_ZOO_DAEMON_OUT" >&2
    exit 1
  fi
}

do_start_foreground() {
  require_binary || exit 1
  warn_about_limits
  if [ -n "${ZOO_NOEXEC:-}" ]; then
    "$ZABKEEPER_BIN" server "$ZOOCFG" "${server_flags[@]}"
    exit $?
  fi
  exec "$ZABKEEPER_BIN" server "$ZOOCFG" "${server_flags[@]}"
}

do_stop() {
  local pid tenths=0
  echo -n "Stopping zookeeper ... "
  if [ ! -f "$ZOOPIDFILE" ]; then
    echo "no zookeeper to stop (could not find file $ZOOPIDFILE)"
    return 0
  fi
  pid="$(cat "$ZOOPIDFILE")"
  kill "$pid"
  while is_running "$pid"; do
    if [ "$tenths" -ge 300 ]; then
      echo "FAILED TO STOP"
      echo "Process $pid is still there after 30 s; it keeps $ZOOPIDFILE." >&2
      return 1
    fi
    sleep 0.1
    tenths=$((tenths + 1))
  done
  rm -f "$ZOOPIDFILE"
  echo STOPPED
}

do_print_cmd() {
  find_binary
  local flags="" environment=""
  [ "${#server_flags[@]}" -eq 0 ] || flags="$(printf ' "%s"' "${server_flags[@]}")"
  [ -z "$SERVER_JVMFLAGS" ] || environment="SERVER_JVMFLAGS=$(printf %q "$SERVER_JVMFLAGS") "
  [ -z "$JVMFLAGS" ] || environment="${environment}JVMFLAGS=$(printf %q "$JVMFLAGS") "
  echo "$environment\"${ZABKEEPER_BIN:-$ZOOKEEPER_PREFIX/target/release/zabkeeper}\" server \"$ZOOCFG\"$flags > \"$_ZOO_DAEMON_OUT\" 2>&1 < /dev/null"
}

# The client address and port of this server's own server.N line, as "[host:]port".
client_address_of_server_line() { # MYID FILE
  sed -n -E -e 's/\r$//' -e "s/^[[:space:]]*server\.$1[[:space:]]*=.*;[[:space:]]*([^;[:space:]]+)[[:space:]]*\$/\1/p" \
    "$2" 2>/dev/null | tail -n 1
}

# One word over one connection, bounded in time; needs nothing but bash.
four_letter_word() { # HOST PORT WORD
  # shellcheck disable=SC2016 # Expanded by the inner shell.
  timeout 5 bash -c '
    exec 3<>"/dev/tcp/$1/$2" || exit 1
    printf %s "$3" >&3
    cat <&3
  ' four_letter_word "$1" "$2" "$3" 2>/dev/null
}

do_status() {
  local ssl=false address port secure_port='' myid found dynamic mode
  if [ -z "$config_is_readable" ]; then
    echo "Unable to find either secure or unsecure client port in any configs. Terminating."
    exit 1
  fi
  address="$(cfg_value clientPortAddress "$ZOOCFG")"
  address="${address:-localhost}"
  port="$(cfg_value clientPort "$ZOOCFG")"
  if ! [[ "$port" =~ ^[0-9]+$ ]]; then
    port=
    myid="$(cat "$ZOO_DATADIR/myid" 2>/dev/null)"
    if ! [[ "$myid" =~ ^[0-9]+$ ]]; then
      echo "myid could not be determined, will not able to locate clientPort in the server configs."
    else
      found="$(client_address_of_server_line "$myid" "$ZOOCFG")"
      if [ -z "$found" ]; then
        echo "Client port not found in static config file. Looking in dynamic config file."
        dynamic="$(cfg_value dynamicConfigFile "$ZOOCFG")"
        found="$(client_address_of_server_line "$myid" "$dynamic")"
      fi
      if [ -z "$found" ]; then
        echo "Client port not found in the server configs"
      else
        case "$found" in
          \[*\]:*) address="${found%]:*}" address="${address#[}" ;;
          *:*) address="${found%:*}" ;;
        esac
        port="${found##*:}"
      fi
    fi
  fi
  if [ -z "$port" ]; then
    echo "Client port not found. Looking for secureClientPort in the static config."
    secure_port="$(cfg_value secureClientPort "$ZOOCFG")"
    if [ -z "$secure_port" ]; then
      echo "Unable to find either secure or unsecure client port in any configs. Terminating."
      exit 1
    fi
    ssl=true
    port="$secure_port"
    address="$(cfg_value secureClientPortAddress "$ZOOCFG")"
    address="${address:-localhost}"
  fi
  echo "Client port found: $port. Client address: $address. Client SSL: $ssl."
  mode=
  if [ "$ssl" = false ]; then
    mode="$(four_letter_word "$address" "$port" srvr | grep -a '^Mode')"
  fi
  if [ -n "$mode" ]; then
    echo "$mode"
    exit 0
  fi
  if [ "$ssl" = true ]; then
    echo " "
    echo "Note: only secureClientPort ($port) is configured, and this script speaks no TLS."
    echo "  Configure a clientPort on the loopback address, or ask with a TLS client."
    echo " "
  fi
  echo "Error contacting service. It is probably not running."
  exit 1
}

command="${1:-}"
server_flags=()

case "$command" in
  version)
    require_binary || exit 1
    exec "$ZABKEEPER_BIN" version 2>/dev/null
    ;;
  start | start-foreground | stop | restart | status | print-cmd) ;;
  *)
    # Java's script ends with exit code 0 here too.
    usage
    exit 0
    ;;
esac

describe_jmx
choose_config "${2:-}"
check_data_directories

case "$command" in
  status)
    do_status
    ;;
esac

choose_pid_file
if [ ! -w "$ZOO_LOG_DIR" ]; then
  mkdir -p "$ZOO_LOG_DIR"
fi
_ZOO_DAEMON_OUT="$ZOO_LOG_DIR/zookeeper-${USER:-}-server-${HOSTNAME:-}.out"

case "$command" in
  start) do_start ;;
  start-foreground) do_start_foreground ;;
  print-cmd) do_print_cmd ;;
  stop) do_stop ;;
  restart)
    do_stop || exit 1
    do_start
    ;;
esac
