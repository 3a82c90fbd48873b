#!/usr/bin/env bash
# Runs an ensemble on this machine: nodes of zabkeeper, of Java's server, or of both, on free ports
# of 127.0.0.1, with everything they write under one directory.
set -uo pipefail

usage() {
  cat <<'USAGE'
Usage: scripts/zkCluster.sh COMMAND [IDS] [OPTION]...

  start [IDS]     make a cluster, or start what does not run; waits until all serve
  stop [IDS]      SIGTERM, and wait for the end
  restart [IDS]   one after the other, each until it serves again
  kill IDS        SIGKILL
  pause IDS       SIGSTOP
  resume IDS      SIGCONT
  status          a table; the exit code is 0 only when a leader serves and all nodes are up
  logs [IDS]      the ends of the logs; -f follows them
  clean           kill what runs and remove the directory

IDS are numbers, separated by blanks or commas; without any all nodes are meant.

  -n N            voters of a new cluster (3)
  --observers K   observers beside them (0)
  --java IDS      these nodes run on Java's server; "all" means all of them. For nodes that run
                  already it counts from their next start
  --ours IDS      these nodes run on zabkeeper (all unless --java names them)
  --dir DIR       where everything is (TMPDIR/zabkeeper-cluster-UID)
  --tick MS       tickTime of a new cluster (2000)
  --conf LINE     a line for every node's zoo.cfg of a new cluster; may be repeated
  --groups IDS/IDS...   voting groups of a new cluster, weight 1 each
  --wait S        how long to wait until all serve (60); 0 does not wait
  --fresh         "start" first cleans what an earlier cluster has left

ZABKEEPER_BIN is the binary; by default the release build beside the scripts, built when missing.
Java's server is found by ZK_JAVA (called as: $ZK_JAVA server CONF), ZOOKEEPER_HOME (lib/*.jar) or
/usr/share/java/zookeeper.jar. JAVA_OPTS are options of its machine (-Xmx512m).
SERVER_JVMFLAGS reach both kinds of nodes.
USAGE
}

script="${BASH_SOURCE[0]}"
while [ -L "$script" ]; do
  link="$(readlink "$script")"
  case "$link" in
    /*) script="$link" ;;
    *) script="$(dirname "$script")/$link" ;;
  esac
done
ZOOBINDIR="$(cd "$(dirname "$script")" && pwd -P)"
# shellcheck source=scripts/zkEnv.sh
. "$ZOOBINDIR/zkEnv.sh"
# shellcheck source=scripts/java-common.sh
. "$ZOOBINDIR/java-common.sh"

die() {
  echo "zkCluster.sh: $*" >&2
  exit 2
}

# ---------------------------------------------------------------- arguments

# "1,2 3" one number a line.
numbers() {
  local word
  for word in ${1//,/ }; do
    [[ $word =~ ^[1-9][0-9]{0,2}$ ]] || die "not an id: $word"
    echo "$word"
  done
}

command=${1:-}
[ "$#" -gt 0 ] && shift
dir="${TMPDIR:-/tmp}/zabkeeper-cluster-$(id -u)"
ids='' voters='' observers='' java='' ours='' tick=2000 groups='' patience=60
is_fresh='' follows='' extra=()
while [ "$#" -gt 0 ]; do
  case "$1" in
    -n | --nodes) voters="${2:?-n N}" && shift ;;
    --observers) observers="${2:?--observers K}" && shift ;;
    --java) java="${2:?--java IDS}" && shift ;;
    --ours) ours="${2:?--ours IDS}" && shift ;;
    --dir) dir="${2:?--dir DIR}" && shift ;;
    --tick) tick="${2:?--tick MS}" && shift ;;
    --conf) extra+=("${2:?--conf LINE}") && shift ;;
    --groups) groups="${2:?--groups IDS/IDS}" && shift ;;
    --wait) patience="${2:?--wait S}" && shift ;;
    --fresh) is_fresh=1 ;;
    -f) follows=1 ;;
    -h | --help) usage && exit ;;
    -*) usage >&2 && die "unknown option: $1" ;;
    *) ids="$ids $(numbers "$1")" || exit 2 ;;
  esac
  shift
done
[[ ${voters:-1} =~ ^[1-9][0-9]?$ ]] || die "-n: not a number of nodes: $voters"
[[ ${observers:-0} =~ ^[0-9]{1,2}$ ]] || die "--observers: not a number of nodes: $observers"
[[ $tick =~ ^[1-9][0-9]*$ ]] || die "--tick: not a number: $tick"
[[ $patience =~ ^[0-9]+$ ]] || die "--wait: not a number of seconds: $patience"
case "$dir" in
  /*) ;;
  *) dir="$PWD/$dir" ;;
esac
# id, role, implementation, client port, quorum port, election port
table="$dir/nodes.tsv"

require_cluster() {
  [ -f "$table" ] || die "there is no cluster in $dir"
}

all_ids() {
  cut -f1 "$table"
}

# The ids that were asked for, or all, one a line.
wanted() {
  local all id
  all="$(all_ids)"
  if [ -z "${ids// /}" ]; then
    echo "$all"
    return
  fi
  for id in $ids; do
    grep -qx "$id" <<<"$all" || die "no node $id in $dir"
    echo "$id"
  done
}

# ---------------------------------------------------------------- nodes

column() { # ID NUMBER
  awk -F '\t' -v id="$1" -v n="$2" '$1 == id { print $n }' "$table"
}

# When a process was started, in ticks of the kernel's clock: tells it from a later one of its id.
started() { # PID
  sed -e 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f20
}

process_state() { # PID
  sed -e 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f1
}

# The process of a node, if it runs.
pid_of() { # ID
  local pid start
  read -r pid start 2>/dev/null <"$dir/$1/pid" || return 1
  case "$(process_state "$pid")" in
    '' | Z) return 1 ;;
  esac
  [ "$(started "$pid")" = "$start" ] && echo "$pid"
}

# The answer to a four letter word; nothing from who does not answer in time.
ask() { # PORT WORD
  # shellcheck disable=SC2016 # For the inner shell.
  timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf %s "$2" >&3 && cat <&3' - "$1" "$2" \
    2>/dev/null
}

is_listening() { # PORT
  if [ -r /proc/net/tcp ]; then
    # In any state: also what has just been closed.
    grep -qi ":$(printf %04X "$1") " <(awk '{ print $2 " " }' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  else
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
  fi
}

next_port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
# Sets free_port to one below those that the system gives to outgoing connections.
find_port() {
  while is_listening "$next_port"; do
    next_port=$((next_port + 1))
  done
  free_port=$next_port
  next_port=$((next_port + 1))
}

launch() { # ID
  local node="$dir/$1" run options
  if pid_of "$1" >/dev/null; then
    return
  fi
  if [ "$(column "$1" 3)" = java ]; then
    read -r -a options <<<"${JAVA_OPTS:--Xmx512m} ${SERVER_JVMFLAGS:-}"
    find_java "${options[@]}"
    run=("${java_command[@]}" "$node/zoo.cfg")
  else
    require_binary || exit 1
    run=("$ZABKEEPER_BIN" server "$node/zoo.cfg")
  fi
  echo "--- $(date '+%F %T') ${run[0]}" >>"$node/log"
  # A session of its own: what ends the caller's terminal does not end the node.
  setsid nohup "${run[@]}" >>"$node/log" 2>&1 </dev/null &
  local pid=$!
  echo "$pid $(started "$pid")" >"$node/pid"
}

# The role a node plays now, as srvr says, or why it plays none; sets zxid.
role_of() { # ID
  local pid answer
  zxid=-
  if ! pid="$(pid_of "$1")"; then
    role=stopped
    return
  fi
  case "$(process_state "$pid")" in
    T | t)
      role=paused
      return
      ;;
  esac
  answer="$(ask "$(column "$1" 4)" srvr)"
  role="$(sed -n 's/^Mode: //p' <<<"$answer")"
  zxid="$(sed -n 's/^Zxid: //p' <<<"$answer")"
  zxid="${zxid:--}"
  if [ -z "$role" ]; then
    case "$answer" in
      *'not currently serving'*) role=looking ;;
      '') role=silent ;;
      *) role=unknown ;;
    esac
  fi
}

is_serving_role() {
  case "$1" in
    leader | follower | observer | standalone) return 0 ;;
    *) return 1 ;;
  esac
}

# Waits until these nodes serve; says which do not.
await() { # ID...
  local deadline=$((SECONDS + patience)) id left=("$@") still
  [ "$patience" -gt 0 ] || return 0
  while :; do
    still=()
    for id in "${left[@]}"; do
      role_of "$id"
      is_serving_role "$role" || still+=("$id")
      if [ "$role" = stopped ]; then
        echo "zkCluster.sh: node $id has ended; the end of $dir/$id/log:" >&2
        tail -n 5 "$dir/$id/log" >&2
        return 1
      fi
    done
    left=(${still[@]+"${still[@]}"})
    [ "${#left[@]}" -eq 0 ] && return 0
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "zkCluster.sh: not serving after $patience s: ${left[*]}" >&2
      return 1
    fi
    sleep 0.05
  done
}

send() { # SIGNAL ID
  local pid
  if pid="$(pid_of "$2")"; then
    kill "-$1" "$pid"
  else
    echo "zkCluster.sh: node $2 does not run" >&2
    return 1
  fi
}

# Waits for the end of a node.
await_end() { # ID
  local deadline=$((SECONDS + 30))
  while pid_of "$1" >/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "zkCluster.sh: node $1 does not end" >&2
      return 1
    fi
    sleep 0.02
  done
  rm -f "$dir/$1/pid"
}

end() { # ID
  pid_of "$1" >/dev/null || return 0
  send TERM "$1"
  # One that is paused hears of it only then.
  send CONT "$1" 2>/dev/null
  await_end "$1"
}

# ---------------------------------------------------------------- a new cluster

# Whether $2 is among the ids $1, which may be "all".
names() { # IDS ID
  [ "$1" = all ] || grep -qx "$2" <<<"$(numbers "$1")"
}

make_cluster() {
  local id count kind line members=''
  voters="${voters:-3}" observers="${observers:-0}"
  count=$((voters + observers))
  mkdir -p "$dir" || exit 1
  : >"$table.new"
  for ((id = 1; id <= count; id++)); do
    kind=voter
    [ "$id" -gt "$voters" ] && kind=observer
    find_port && local client=$free_port
    find_port && local quorum=$free_port
    find_port && local election=$free_port
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$id" "$kind" zabkeeper "$client" "$quorum" "$election" \
      >>"$table.new"
    line="server.$id=127.0.0.1:$quorum:$election"
    [ "$kind" = observer ] && line="$line:observer"
    members="$members$line"$'\n'
  done
  local group number=0
  for group in ${groups//\// }; do
    number=$((number + 1))
    members="${members}group.$number=$(numbers "$group" | paste -sd :)"$'\n'
  done
  for ((id = 1; id <= count; id++)); do
    mkdir -p "$dir/$id/data" && echo "$id" >"$dir/$id/data/myid" || exit 1
    {
      echo "tickTime=$tick"
      echo "initLimit=10"
      echo "syncLimit=5"
      echo "dataDir=$dir/$id/data"
      echo "clientPort=$(awk -F '\t' -v id="$id" '$1 == id { print $4 }' "$table.new")"
      echo "clientPortAddress=127.0.0.1"
      echo "admin.enableServer=false"
      echo "4lw.commands.whitelist=*"
      [ "$count" -eq 1 ] && echo "standaloneEnabled=false"
      printf '%s' "$members"
      [ "${#extra[@]}" -eq 0 ] || printf '%s\n' "${extra[@]}"
    } >"$dir/$id/zoo.cfg"
  done
  mv "$table.new" "$table"
}

# Enters --java and --ours into the table.
choose_implementations() {
  local id implementation
  [ -n "$java$ours" ] || return 0
  for id in $(all_ids); do
    implementation="$(column "$id" 3)"
    [ -n "$java" ] && names "$java" "$id" && implementation=java
    [ -n "$ours" ] && names "$ours" "$id" && implementation=zabkeeper
    awk -F '\t' -v OFS='\t' -v id="$id" -v new="$implementation" '$1 == id { $3 = new } { print }' \
      "$table" >"$table.new" && mv "$table.new" "$table"
  done
}

# ---------------------------------------------------------------- commands

show_status() {
  local id pid epoch leaders=0 down=0
  printf '%-3s %-10s %-9s %-6s %-6s %-8s %-8s %-12s %s\n' \
    id role kind client quorum election pid zxid epoch
  while IFS=$'\t' read -r id _ kind client quorum election; do
    role_of "$id"
    pid="$(pid_of "$id")" || pid=-
    epoch="$(cat "$dir/$id/data/version-2/currentEpoch" 2>/dev/null)"
    printf '%-3s %-10s %-9s %-6s %-6s %-8s %-8s %-12s %s\n' \
      "$id" "$role" "$kind" "$client" "$quorum" "$election" "$pid" "$zxid" "${epoch:--}"
    [ "$role" = leader ] && leaders=$((leaders + 1))
    is_serving_role "$role" || down=$((down + 1))
  done <"$table"
  echo "directory: $dir"
  echo "clients:   $(awk -F '\t' '{ print "127.0.0.1:" $4 }' "$table" | paste -sd ,)"
  [ "$leaders" -eq 1 ] && [ "$down" -eq 0 ]
}

each() { # FUNCTION-AND-ARGUMENTS... for all wanted ids
  local id result=0
  for id in $(wanted); do
    "$@" "$id" || result=1
  done
  return "$result"
}

need_ids() {
  [ -n "${ids// /}" ] || die "$command: which nodes?"
}

kill_node() { # ID
  send KILL "$1" && await_end "$1"
}

restart_node() { # ID
  end "$1" && launch "$1" && await "$1"
}

remove_cluster() {
  local id
  [ -f "$table" ] || return 0
  for id in $(all_ids); do
    if pid_of "$id" >/dev/null; then
      kill_node "$id" || exit 1
    fi
    rm -rf "${dir:?}/$id"
  done
  rm -f "$table"
  rmdir "$dir" 2>/dev/null
  return 0
}

case "$command" in
  start)
    [ -n "$is_fresh" ] && remove_cluster
    if [ -f "$table" ]; then
      if [ -n "$voters$observers$groups" ] || [ "${#extra[@]}" -gt 0 ]; then
        die "there is a cluster in $dir already: clean it, or say --fresh"
      fi
    else
      [ -z "${ids// /}" ] || die "there is no cluster in $dir"
      make_cluster
    fi
    choose_implementations
    # Not in a subshell: it may have to build.
    if cut -f3 "$table" | grep -qx zabkeeper; then
      require_binary || exit 1
    fi
    chosen="$(wanted)" || exit 2
    for id in $chosen; do
      launch "$id"
    done
    # shellcheck disable=SC2086 # One word an id.
    await $chosen || exit 1
    [ "$patience" -eq 0 ] || [ -n "${ids// /}" ] || show_status
    ;;
  stop) require_cluster && each end ;;
  restart)
    require_cluster
    choose_implementations
    each restart_node
    ;;
  kill) require_cluster && need_ids && each kill_node ;;
  pause) require_cluster && need_ids && each send STOP ;;
  resume) require_cluster && need_ids && each send CONT ;;
  status) require_cluster && show_status ;;
  logs)
    require_cluster
    chosen="$(wanted)" || exit 2
    files=()
    for id in $chosen; do
      files+=("$dir/$id/log")
    done
    if [ -n "$follows" ]; then
      exec tail -n 20 -F "${files[@]}"
    fi
    tail -n 40 "${files[@]}"
    ;;
  clean) remove_cluster ;;
  -h | --help | help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
