#!/usr/bin/env bash
# Measures ensembles of Java ZooKeeper and of zabkeeper in turn on this machine, started by
# zkCluster.sh, with fresh data directories. docs/BENCHMARK.md says what each row means.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: scripts/bench-ensemble-vs-java.sh [OPTION]...

  --rows LIST       only these rows, separated by commas (--list names them)
  --pairs N         pairs of runs, Java and zabkeeper in turn (default 3); medians are reported
  --quick           short runs, few kills and small trees, one pair: a look, not a measurement
  --duration S      seconds per run (default 10)
  --kills N         how often the leader is killed for each kind and size (default 20)
  --dir DIR         directory for data, removed afterwards (default: below TMPDIR); its disk is
                    what is measured
  --markdown FILE   write the table as Markdown; "-" is standard output
  --json FILE       write all figures and the medians as JSON
  --only KIND       java, ours or limit: no pairs, only this one
  --list            name the rows and stop

Java is found as zkCluster.sh finds it: ZK_JAVA, ZOOKEEPER_HOME or Debian's package.
ZABKEEPER is the binary to measure; by default target/release/zabkeeper, built when missing.
EOF
}

rows_all=(start3 get8 mixed8 set8 create8 single kill3 kill5 behind empty)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rows=${rows_all[*]}
pairs=3 duration=10 warmup=5 kills=20 markdown='' json='' only='' parent=${TMPDIR:-/tmp}
behind=500000 million=1000000

# shellcheck source=scripts/bench-common.sh
. "$root/scripts/bench-common.sh"

make_quick() { pairs=1 duration=3 warmup=2 kills=3 behind=50000 million=100000; }
own_option() {
    [[ $1 == --kills ]] || return 1
    kills=${2:?--kills N}
    own_words=2
}
parse_options "$@"
[[ $kills =~ ^[1-9][0-9]*$ ]] || die "--kills: not a number: $kills"

find_zabkeeper
export ZABKEEPER_BIN=$bin JAVA_OPTS=${JAVA_OPTS:--Xmx1g}

# ---------------------------------------------------------------- a place to work, left clean

work=$(mktemp -d "$parent/bench-ensemble.XXXXXX")
results=$work/results.tsv
: >"$results"
cluster=$work/cluster report=''

zk_cluster() { "$root/scripts/zkCluster.sh" "$@" --dir "$cluster"; }

remove_cluster() {
    [[ ! -d $cluster ]] || zk_cluster clean >/dev/null 2>&1 || true
    rm -rf "$cluster"
}

cleanup() {
    local status=$?
    trap - EXIT
    remove_cluster
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---------------------------------------------------------------- an ensemble

# start_cluster KIND N [OPTION]...: N voters that serve. Sets servers, a list of host:port.
start_cluster() {
    local kind=$1 count=$2
    shift 2
    remove_cluster
    # One connection of a generator may open hundreds of sessions.
    local options=(-n "$count" --conf maxClientCnxns=0 --wait 60 "$@")
    [[ $kind == ours ]] || options+=(--java all)
    zk_cluster start "${options[@]}" >"$work/start.log" 2>&1 || {
        cat "$work/start.log" >&2
        die "the $kind ensemble does not start"
    }
    servers=$(awk -F '\t' '{ print "127.0.0.1:" $4 }' "$cluster/nodes.tsv" | paste -sd ,)
}

port_of() { awk -F '\t' -v id="$1" '$1 == id { print $4 }' "$cluster/nodes.tsv"; }
pid_of() { cut -d ' ' -f1 "$cluster/$1/pid"; }

pids() {
    local id list=()
    while read -r id _; do
        list+=("$(pid_of "$id")")
    done <"$cluster/nodes.tsv"
    (IFS=, && echo "${list[*]}")
}

# ask ID WORD
ask() {
    # shellcheck disable=SC2016 # For the inner shell.
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf %s "$2" >&3 && cat <&3' - \
        "$(port_of "$1")" "$2" 2>/dev/null
}

# with_role ROLE: the first node that has it now.
with_role() {
    local id
    while read -r id _; do
        if ask "$id" srvr | grep -qx "Mode: $1"; then
            echo "$id"
            return
        fi
    done <"$cluster/nodes.tsv"
    return 1
}

zxid_of() { ask "$1" srvr | sed -n 's/^Zxid: //p'; }

# ensemble ARG...: a run against all nodes.
ensemble() { run_bench "$@" --servers "$servers" --server-pid "$(pids)"; }

timing=(--duration "$duration" --warmup "$warmup")
ulimit -n "$(ulimit -Hn)" || say "the limit of open files stays at $(ulimit -n)"

# ---------------------------------------------------------------- the stages

measure_limits() {
    wants single || return 0
    local echo_p50
    run_bench echo --sessions 1 --window 1 "${timing[@]}"
    echo_p50=$(figure .latency_us.p50)
    run_bench fdatasync "$work" --duration "$duration"
    # One round trip of the client, one between leader and follower, and both disks: one after the
    # other, as the leader's and the follower's logs are on the same disk here.
    record single 'setData p50, leader' us less limit \
        "$(figure "2 * .latency_us.p50 + 2 * $echo_p50")"
    record single 'setData p50, follower' us less limit \
        "$(figure "2 * .latency_us.p50 + 3 * $echo_p50")"
}

measure_start() {
    local kind=$1 began
    wants start3 || return 0
    # The second start: the first one makes the data directories.
    start_cluster "$kind" 3
    zk_cluster stop >/dev/null
    began=$EPOCHREALTIME
    zk_cluster start --wait 0 >/dev/null
    run_bench first-read --write --server "127.0.0.1:$(port_of 3)" --since "$began"
    record start3 'start to first write' ms less "$kind" "$(figure '.latency_us.max / 1000')"
}

measure_load() {
    local kind=$1 leader follower
    wants get8 mixed8 set8 create8 single || return 0
    start_cluster "$kind" 3
    # The first run warms Java's compiler up for all of them.
    ensemble get "${timing[@]}"
    ! wants get8 || record_load get8 "$kind"
    if wants mixed8; then
        ensemble mixed --read-percent 90 "${timing[@]}"
        record_load mixed8 "$kind"
    fi
    if wants set8; then
        ensemble set "${timing[@]}"
        record_load set8 "$kind"
    fi
    if wants single; then
        leader=$(with_role leader) follower=$(with_role follower)
        run_bench set --sessions 1 --window 1 "${timing[@]}" --servers "127.0.0.1:$(port_of "$leader")"
        record single 'setData p50, leader' us less "$kind" "$(figure .latency_us.p50)"
        run_bench set --sessions 1 --window 1 "${timing[@]}" \
            --servers "127.0.0.1:$(port_of "$follower")"
        record single 'setData p50, follower' us less "$kind" "$(figure .latency_us.p50)"
    fi
    if wants create8; then
        ensemble create --keep "${timing[@]}"
        record_load create8 "$kind"
    fi
}

# Kills the leader again and again.
measure_kills() {
    local kind=$1 count=$2 row="kill$2" round leader outages=()
    wants "$row" || return 0
    start_cluster "$kind" "$count"
    for ((round = 0; round < kills; round++)); do
        leader=$(with_role leader) || die "no leader"
        run_bench outage --servers "$servers" --kill "$(pid_of "$leader")" --warmup 2 --duration 6
        outages+=("$(figure .outage_ms)")
        zk_cluster start --wait 60 >/dev/null 2>&1 || die "node $leader does not come back"
    done
    record "$row" 'outage, median' ms less "$kind" \
        "$(printf '%s\n' "${outages[@]}" | sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }')"
    record "$row" 'outage, longest' ms less "$kind" \
        "$(printf '%s\n' "${outages[@]}" | sort -n | tail -n 1)"
}

# caught_up ID: seconds until the node has what the leader has.
caught_up() {
    local began=$1 id=$2 goal now
    goal=$(zxid_of "$(with_role leader)")
    while [[ $(zxid_of "$id" || true) != "$goal" ]]; do
        now=${EPOCHREALTIME/./}
        ((now - ${began/./} < 300000000)) || die "node $id has not caught up after 300 s"
        sleep 0.01
    done
    awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}

measure_catch_up() {
    local kind=$1 follower began
    wants behind empty || return 0
    # No snapshot: what is missing is read from the log.
    start_cluster "$kind" 3 --conf snapCount=100000000 --conf snapshotSizeFactor=1000000
    follower=$(with_role follower)
    if wants behind; then
        zk_cluster stop "$follower" >/dev/null
        run_bench set --count "$behind" --servers "$(others "$follower")"
        began=$EPOCHREALTIME
        zk_cluster start "$follower" --wait 0 >/dev/null
        record behind "follower $behind txns behind" s less "$kind" "$(caught_up "$began" "$follower")"
    fi
    if wants empty; then
        say "  filling with $million nodes"
        run_bench create --count "$million" --keep --servers "$servers"
        zk_cluster stop "$follower" >/dev/null
        rm -rf "$cluster/$follower/data/version-2"
        began=$EPOCHREALTIME
        zk_cluster start "$follower" --wait 0 >/dev/null
        record empty "empty disk, $million nodes" s less "$kind" "$(caught_up "$began" "$follower")"
    fi
}

# others ID: all nodes' addresses but this one's.
others() {
    awk -F '\t' -v id="$1" '$1 != id { print "127.0.0.1:" $4 }' "$cluster/nodes.tsv" | paste -sd ,
}

kinds=(java ours)
[[ -z $only ]] || kinds=("$only")

for ((pair = 1; pair <= pairs; pair++)); do
    say "pair $pair of $pairs"
    if [[ -z $only || $only == limit ]]; then
        measure_limits
    fi
    [[ $only == limit ]] && continue
    for stage in measure_start measure_load measure_catch_up; do
        for kind in "${kinds[@]}"; do
            "$stage" "$kind"
        done
    done
    # So many kills are pairs enough.
    if ((pair == 1)); then
        for count in 3 5; do
            for kind in "${kinds[@]}"; do
                measure_kills "$kind" "$count"
            done
        done
    fi
    remove_cluster
done

publish_table
