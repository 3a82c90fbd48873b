#!/usr/bin/env bash
# Measures Java ZooKeeper and zabkeeper in turn on this machine, with fresh data directories, and
# the machine's bare limits beside them. docs/BENCHMARK.md says what each row means.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: scripts/bench-vs-java.sh [OPTION]...

  --rows LIST       only these rows, separated by commas (--list names them)
  --pairs N         pairs of runs, Java and zabkeeper in turn (default 3); medians are reported
  --quick           short runs and small trees, one pair: a look, not a measurement
  --duration S      seconds per run (default 10)
  --dir DIR         directory for data, removed afterwards (default: below TMPDIR); its disk is
                    what is measured
  --markdown FILE   write the table as Markdown; "-" is standard output
  --json FILE       write all figures and the medians as JSON
  --only KIND       java, ours or limit: no pairs, only this one
  --list            name the rows and stop

Java is found by, in this order:
  ZK_JAVA           a launcher, called as: $ZK_JAVA server CONF (JAVA_OPTS has the heap size)
  ZOOKEEPER_HOME    a directory with lib/*.jar
  /usr/share/java/zookeeper.jar (Debian's package)
ZABKEEPER is the binary to measure; by default target/release/zabkeeper, built when missing.
EOF
}

rows_all=(get8 get1 set8 create8 single set-half connect children watch
    idle-rss idle-sessions start-empty start-log start-snapshot rss-million snapshot-stall)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rows=${rows_all[*]}
pairs=3 duration=10 warmup=5 markdown='' json='' only='' parent=${TMPDIR:-/tmp}
million=1000000 idle_sessions=10000 idle_seconds=40 stall_seconds=40 stall_rate=2000

# shellcheck source=scripts/bench-common.sh
. "$root/scripts/bench-common.sh"
# shellcheck source=scripts/java-common.sh
. "$root/scripts/java-common.sh"

make_quick() {
    pairs=1 duration=3 warmup=2 million=100000 idle_sessions=1000 idle_seconds=12
    stall_seconds=15
}
own_option() { return 1; }
parse_options "$@"

# ---------------------------------------------------------------- what is measured

find_zabkeeper

[[ $only == ours || $only == limit ]] || find_java -Xmx1g

# ---------------------------------------------------------------- a place to work, left clean

work=$(mktemp -d "$parent/bench-vs-java.XXXXXX")
results=$work/results.tsv
: >"$results"
launched='' # The process started here.
server_pid='' port='' started='' took='' report=''

stop_server() {
    [[ -n $launched ]] || return 0
    local waited=0
    kill "${server_pid:-$launched}" 2>/dev/null || true
    while kill -0 "$launched" 2>/dev/null; do
        ((waited += 1))
        if ((waited > 300)); then
            kill -9 "${server_pid:-$launched}" 2>/dev/null || true
        fi
        sleep 0.1
    done
    wait "$launched" 2>/dev/null || true
    launched='' server_pid=''
}

cleanup() {
    local status=$?
    trap - EXIT
    stop_server
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A port below the range that the kernel gives to clients, with no listener.
free_port() {
    local candidate
    while true; do
        candidate=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

# start_server KIND DIR HEAP [LINE]...: with further lines for zoo.cfg. Sets server_pid, port and
# started; the caller waits for the first answer with first_read.
start_server() {
    local kind=$1 dir=$2 heap=$3
    shift 3
    mkdir -p "$dir/data"
    port=$(free_port)
    {
        echo "tickTime=2000"
        echo "dataDir=$dir/data"
        echo "clientPortAddress=127.0.0.1"
        echo "clientPort=$port"
        echo "maxClientCnxns=0"
        echo "admin.enableServer=false"
        printf '%s\n' "$@"
    } >"$dir/zoo.cfg"
    local command=("$bin" server)
    if [[ $kind == java ]]; then
        find_java "-Xmx$heap"
        command=("${java_command[@]}")
    fi
    started=$EPOCHREALTIME
    "${command[@]}" "$dir/zoo.cfg" >>"$dir/server.log" 2>&1 &
    launched=$!
    server_pid=$launched
}

# first_read DIR: waits for the server; sets took, the milliseconds since its start.
first_read() {
    local file=$work/first-read.json
    if ! "$bin" bench first-read --server "127.0.0.1:$port" --since "$started" --timeout 300 \
        --json "$file" >/dev/null; then
        tail -n 20 "$1/server.log" >&2
        die "the server does not answer; its log ends as above"
    fi
    # A launcher that does not exec has the server as its child.
    if [[ $(<"/proc/$launched/comm") != java ]]; then
        server_pid=$(pgrep -x -P "$launched" java || echo "$launched")
    fi
    took=$(jq -r '.latency_us.max / 1000' "$file")
}

# bench ARG...: the same, against the server.
bench() {
    run_bench "$@" --servers "127.0.0.1:$port" --server-pid "$server_pid"
}

# load_row ROW KIND COMMAND...: runs the command and records it, if the row is wanted.
load_row() {
    wants "$1" || return 0
    "${@:3}"
    record_load "$1" "$2"
}

rss_mib() { awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$server_pid/status"; }

# The newest snapshot's name, when its size has stopped growing.
wait_for_snapshot() {
    local dir=$1 last='' now waited
    for ((waited = 0; waited < 120; waited++)); do
        now=$(find "$dir/data/version-2" -name 'snapshot.*' ! -name '*.tmp*' -size +1024k \
            -printf '%f %s\n' | sort | tail -n 1)
        if [[ -n $now && $now == "$last" ]]; then
            return 0
        fi
        last=$now
        sleep 1
    done
    return 1
}

# ---------------------------------------------------------------- the stages

# Both servers and the generator need a file for each session.
ulimit -n "$(ulimit -Hn)" || say "the limit of open files stays at $(ulimit -n)"
timing=(--duration "$duration" --warmup "$warmup")

measure_limits() {
    local writes=(--fdatasync --dir "$work") echo_p50
    load_row get8 limit run_bench echo "${timing[@]}"
    load_row get1 limit run_bench echo --window 1 "${timing[@]}"
    load_row set8 limit run_bench echo --workload set "${writes[@]}" "${timing[@]}"
    load_row create8 limit run_bench echo --workload create "${writes[@]}" "${timing[@]}"
    if wants single; then
        run_bench echo --sessions 1 --window 1 "${timing[@]}"
        echo_p50=$(figure .latency_us.p50)
        record single 'getData p50' us less limit "$echo_p50"
        run_bench fdatasync "$work" --duration "$duration"
        record single 'setData p50' us less limit "$(figure ".latency_us.p50 + $echo_p50")"
    fi
    load_row connect limit run_bench echo --workload connect --sessions 32 "${writes[@]}" \
        "${timing[@]}"
}

half_rate=''
measure_load() {
    local kind=$1 dir=$work/load
    wants get8 get1 set8 create8 single set-half connect children watch || return 0
    start_server "$kind" "$dir" 1g
    first_read "$dir"
    # The first run warms Java's compiler up for all of them.
    load_row get8 "$kind" bench get "${timing[@]}"
    load_row get1 "$kind" bench get --window 1 "${timing[@]}"
    load_row children "$kind" bench children --names 1000 "${timing[@]}"
    load_row watch "$kind" bench watch --sessions 100 "${timing[@]}"
    if wants set8 || { wants set-half && [[ $kind == java ]]; }; then
        bench set "${timing[@]}"
        ! wants set8 || record_load set8 "$kind"
        [[ $kind != java ]] || half_rate=$(figure '.throughput / 2 | floor')
    fi
    if wants set-half; then
        [[ -n $half_rate ]] || die "set-half needs Java's rate: not with --only ours"
        bench set --rate "$half_rate" --window 0 "${timing[@]}"
        record set-half rate ops/s more "$kind" "$(figure .throughput)"
        record set-half p99 ms less "$kind" "$(figure '.latency_us.p99 / 1000')"
        record set-half 'CPU per operation' us less "$kind" \
            "$(figure .server.cpu_us_per_op)"
    fi
    if wants single; then
        bench get --sessions 1 --window 1 "${timing[@]}"
        record single 'getData p50' us less "$kind" "$(figure .latency_us.p50)"
        bench set --sessions 1 --window 1 "${timing[@]}"
        record single 'setData p50' us less "$kind" "$(figure .latency_us.p50)"
    fi
    # More places at a time than Java's backlog of 50 would measure lost SYNs.
    load_row connect "$kind" bench connect --sessions 32 "${timing[@]}"
    load_row create8 "$kind" bench create --keep "${timing[@]}"
    stop_server
    rm -rf "$dir"
}

measure_idle() {
    local kind=$1 dir=$work/idle run
    wants idle-rss idle-sessions start-empty || return 0
    if wants start-empty; then
        # The second start: the first one makes the data directory.
        for run in 1 2; do
            start_server "$kind" "$dir" 1g
            first_read "$dir"
            stop_server
            ((run == 1)) || record start-empty 'start to first read' ms less "$kind" "$took"
        done
    fi
    if wants idle-rss idle-sessions; then
        start_server "$kind" "$dir" 1g
        first_read "$dir"
        sleep 3
        wants idle-rss && record idle-rss 'resident memory' MiB less "$kind" "$(rss_mib)"
    fi
    if wants idle-sessions; then
        bench idle --sessions "$idle_sessions" --duration "$idle_seconds" --warmup 2
        record idle-sessions 'memory per session' KiB less "$kind" \
            "$(figure .server_rss_kb_per_session)"
        record idle-sessions 'ping p99' ms less "$kind" "$(figure '.latency_us.p99 / 1000')"
        record idle-sessions 'ping max' ms less "$kind" "$(figure '.latency_us.max / 1000')"
        record idle-sessions 'sessions lost' '' less "$kind" "$(figure .sessions_lost)"
        record idle-sessions 'CPU per ping' us less "$kind" "$(figure .server.cpu_us_per_op)"
    fi
    stop_server
    rm -rf "$dir"
}

measure_million() {
    local kind=$1 dir=$work/million
    wants start-log start-snapshot rss-million snapshot-stall || return 0
    start_server "$kind" "$dir" 2g snapCount=100000000
    first_read "$dir"
    say "  filling with $million nodes"
    bench create --count "$million" --keep
    stop_server

    # What the fill has left is an empty snapshot and log files.
    start_server "$kind" "$dir" 2g snapCount=100000000
    first_read "$dir"
    wants start-log && record start-log 'start to first read' ms less "$kind" "$took"
    if ! wants start-snapshot rss-million snapshot-stall; then
        stop_server
        rm -rf "$dir"
        return 0
    fi
    # A server snapshots what it has read from log files, before or behind the first answer.
    wait_for_snapshot "$dir" || say "  no snapshot after the start: start-snapshot reads the log"
    stop_server

    # A Java server with room takes it: 1 GiB is too little for this tree, this is just enough.
    if wants rss-million; then
        start_server "$kind" "$dir" 1500m snapCount=100000000
        first_read "$dir"
        sleep 5
        record rss-million 'resident memory' MiB less "$kind" "$(rss_mib)"
        stop_server
    fi
    if ! wants start-snapshot snapshot-stall; then
        rm -rf "$dir"
        return 0
    fi

    # Java snapshots after snapCount/2 to snapCount transactions.
    start_server "$kind" "$dir" 2g snapCount=20000
    first_read "$dir"
    wants start-snapshot && record start-snapshot 'start to first read' ms less "$kind" "$took"
    if wants snapshot-stall; then
        bench set --rate "$stall_rate" --window 0 --duration "$stall_seconds" --warmup 1
        record snapshot-stall 'longest latency' ms less "$kind" \
            "$(figure '.latency_us.max / 1000')"
        record snapshot-stall 'longest silence' ms less "$kind" \
            "$(figure '.stall_max_us / 1000')"
        record snapshot-stall p99 ms less "$kind" "$(figure '.latency_us.p99 / 1000')"
        local snapshots
        snapshots=$(find "$dir/data/version-2" -name 'snapshot.*' -newer "$dir/zoo.cfg" | wc -l)
        say "  $snapshots snapshots since the start"
    fi
    stop_server
    rm -rf "$dir"
}

kinds=(java ours)
[[ -z $only ]] || kinds=("$only")

for ((pair = 1; pair <= pairs; pair++)); do
    say "pair $pair of $pairs"
    if [[ -z $only || $only == limit ]]; then
        measure_limits
    fi
    [[ $only == limit ]] && continue
    for stage in measure_load measure_idle measure_million; do
        for kind in "${kinds[@]}"; do
            "$stage" "$kind"
        done
    done
done

publish_table
