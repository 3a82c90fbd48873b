# What the scripts that measure share; not to be run by itself. They set root (the tree), rows_all, the
# defaults of the options, and for each run pair and work (a directory that is theirs); and have the
# functions usage, make_quick (what --quick means) and own_option.
# shellcheck shell=bash disable=SC2034,SC2154 # They set those, and read these.

die() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

say() { echo "$*" >&2; }

# parse_options ARG...: sets rows, pairs, duration, parent, markdown, json and only. For an option that is
# the script's alone own_option ARG... sets own_words to the words that it takes, or fails.
parse_options() {
    local row own_words
    while (($#)); do
        case $1 in
        --rows) rows=${2:?--rows LIST} && rows=${rows//,/ } && shift ;;
        --pairs) pairs=${2:?--pairs N} && shift ;;
        --duration) duration=${2:?--duration S} && shift ;;
        --dir) parent=${2:?--dir DIR} && shift ;;
        --markdown) markdown=${2:?--markdown FILE} && shift ;;
        --json) json=${2:?--json FILE} && shift ;;
        --only) only=${2:?--only KIND} && shift ;;
        --quick) make_quick ;;
        --list)
            printf '%s\n' "${rows_all[@]}"
            exit
            ;;
        -h | --help)
            usage
            exit
            ;;
        *)
            if ! own_option "$@"; then
                usage >&2
                die "unknown option: $1"
            fi
            shift $((own_words - 1))
            ;;
        esac
        shift
    done
    [[ $pairs =~ ^[1-9][0-9]*$ ]] || die "--pairs: not a number: $pairs"
    [[ $duration =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "--duration: not a number: $duration"
    [[ $only =~ ^(|java|ours|limit)$ ]] || die "--only: java, ours or limit"
    for row in $rows; do
        [[ " ${rows_all[*]} " == *" $row "* ]] || die "unknown row: $row (--list names them)"
    done
    command -v jq >/dev/null || die "jq is needed to read the reports"
}

# Sets bin to the binary that is measured, built when missing.
find_zabkeeper() {
    bin=${ZABKEEPER:-$root/target/release/zabkeeper}
    if [[ ! -x $bin ]]; then
        [[ -z ${ZABKEEPER:-} ]] || die "no such binary: $bin"
        (cd "$root" && cargo build --release --bin zabkeeper)
    fi
}

wants() {
    local row
    for row in "$@"; do
        [[ " $rows " == *" $row "* ]] && return 0
    done
    return 1
}

# run_bench ARG...: sets report to the report of a run.
run_bench() {
    local file=$work/report.json status=0
    rm -f "$file"
    "$bin" bench "$@" --json "$file" >/dev/null || status=$?
    [[ -s $file ]] || die "bench $* failed"
    report=$(<"$file")
    ((status == 0)) || say "  trouble: $(jq -r .trouble "$file")"
}

# figure FILTER: a number of the report.
figure() { jq -r "$1" <<<"$report"; }

# record ROW METRIC UNIT BETTER KIND VALUE: one figure; BETTER is "more" or "less".
record() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "$pair" "$6" >>"$results"
    say "$(printf '  %-14s %-22s %-6s %12.2f %s' "$1" "$2" "$5" "$6" "$3")"
}

# record_load ROW KIND: throughput, CPU and p99 of the report.
record_load() {
    record "$1" throughput "$(figure .unit)/s" more "$2" "$(figure .throughput)"
    record "$1" 'CPU per operation' us less "$2" "$(figure .server.cpu_us_per_op)"
    record "$1" p99 ms less "$2" "$(figure '.latency_us.p99 / 1000')"
}

# Prints the medians of all pairs, and writes them to where they were asked for.
publish_table() {
    local machine commit head_line
    write_filters
    machine="$(nproc) CPUs, $(awk '/^MemTotal:/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r)"
    commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
    jq -nR --arg machine "$machine" --arg commit "$commit" --argjson pairs "$pairs" \
        -f "$work/medians.jq" "$results" >"$work/medians.json"
    head_line="$machine; commit $commit; median of $pairs pair(s), $duration s a run"
    [[ -z $json ]] || cp "$work/medians.json" "$json"
    if [[ $markdown == - ]]; then
        printf '%s\n\n' "$head_line"
        table
        return
    fi
    if [[ -n $markdown ]]; then
        { printf '%s\n\n' "$head_line" && table; } >"$markdown"
    fi
    echo "$head_line"
    if command -v column >/dev/null; then
        table | sed -e '/^| ---/d' -e 's/^| //; s/ |$//' | column -t -s '|' -o ' '
    else
        table
    fi
}

table() { jq -r -f "$work/table.jq" "$work/medians.json"; }

write_filters() {
    cat >"$work/medians.jq" <<'EOF'
def median: sort | if length == 0 then null
    elif length % 2 == 1 then .[length / 2 | floor]
    else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def of($kind): map(select(.kind == $kind));
[inputs | split("\t") | {row: .[0], metric: .[1], unit: .[2], better: .[3], kind: .[4],
    pair: (.[5] | tonumber), value: (.[6] | tonumber)}] as $all
| {machine: $machine, commit: $commit, pairs: $pairs, figures: $all,
   medians: [$all | to_entries | group_by([.value.row, .value.metric])
    | sort_by(.[0].key)[] | map(.value) | . as $group
    | {row: .[0].row, metric: .[0].metric, unit: .[0].unit, better: .[0].better,
       java: (of("java") | map(.value) | median),
       ours: (of("ours") | map(.value) | median),
       limit: (of("limit") | map(.value) | median),
       ratio: ([of("java")[] as $j | ($group | of("ours"))[]
           | select(.pair == $j.pair and $j.value != 0) | .value / $j.value] | median)}]}
EOF
    cat >"$work/table.jq" <<'EOF'
def number: if . == null then "" elif . >= 100 then (. + 0.5 | floor | tostring)
    elif . >= 10 then (. * 10 + 0.5 | floor / 10 | tostring)
    else (. * 100 + 0.5 | floor / 100 | tostring) end;
def ratio: if . == null then "" else number + " x" end;
"| row | measure | Java | zabkeeper | zabkeeper / Java | bare limit |",
"| --- | --- | ---: | ---: | ---: | ---: |",
(.medians[] | "| \(.row) | \(.metric)\(if .unit == "" then "" else ", " + .unit end) | \(.java | number) | \(.ours | number) | \(.ratio | ratio) | \(.limit | number) |")
EOF
}
