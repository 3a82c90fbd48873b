#!/usr/bin/env bash
# Compares zabkeeper with Java ZooKeeper on this machine: what they answer, what they leave on disk,
# and how fast they are. docs/COMPARE.md says what is compared and what is masked.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: scripts/compare-with-java.sh [OPTION]...

  --zookeeper DIR   an unpacked Apache ZooKeeper, with lib/*.jar (default: ZOOKEEPER_HOME, else an
                    apache-zookeeper-*-bin in or beside the source tree, else Debian's package)
  --install         on a Debian-like machine, install what is missing: Java, ZooKeeper, jq, and what
                    building needs
  --random N        random sequences (default 1000)
  --ops K           requests of each (default 200)
  --seed S          the first sequence's seed, and that of the data directories (default 1)
  --histories N     histories for each case and direction of the data directories (default 1)
  --jobs J          pairs of servers that are driven at the same time (default: one for two cores)
  --scenario NAME   only these scenarios (may be given several times; "none" leaves them out)
  --no-data-dirs    leave the data directories out
  --no-bench        leave the benchmark out
  --bench-rows LIST rows of scripts/bench-vs-java.sh, "all" for all of them (default: those that
                    take seconds)
  --bench FILE      show these figures, which scripts/bench-vs-java.sh --json has written
  --quick           a look: 100 sequences of 100 requests, no controls, a short benchmark
  --json FILE       where the result goes (default: target/compare-with-java/compare.json)
  --html FILE       where the page goes (default: target/compare-with-java/compare.html)
  --left SIDE       compare other servers: java[:HOME], zabkeeper[:BINARY] or HOST:PORT of an empty
  --right SIDE      one that runs (default: Java on the left, zabkeeper on the right)

ZABKEEPER is the binary to compare; by default target/release/zabkeeper, built when missing.
Exit code: 0 when nothing differs but what is meant to, 1 when something does, 2 when it could not
be compared.
USAGE
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/compare-with-java
random=1000 ops=200 seed=1 histories=1 jobs=$((($(nproc) + 1) / 2))
zookeeper='' install='' quick='' no_data_dirs='' no_bench='' figures='' json='' html='' left='' right=''
bench_rows=get8,get1,set8,create8,single,connect,children,watch,idle-rss,start-empty
scenarios=()

say() { echo "compare-with-java.sh: $*" >&2; }
die() {
    say "$*"
    exit 2
}
value() { # OPTION COUNT VALUE: fails without a value.
    if (($2 < 2)) || [[ -z $3 ]]; then
        die "$1 needs a value (--help lists the options)"
    fi
}

while (($#)); do
    case $1 in
    --zookeeper | --random | --ops | --seed | --histories | --jobs | --scenario | --bench-rows | \
        --bench | --json | --html | --left | --right)
        value "$1" "$#" "${2:-}"
        case $1 in
        --zookeeper) zookeeper=$2 ;;
        --random) random=$2 random_given=1 ;;
        --ops) ops=$2 ops_given=1 ;;
        --seed) seed=$2 ;;
        --histories) histories=$2 ;;
        --jobs) jobs=$2 ;;
        --scenario) scenarios+=(--scenario "$2") ;;
        --bench-rows) bench_rows=$2 ;;
        --bench) figures=$2 ;;
        --json) json=$2 ;;
        --html) html=$2 ;;
        --left) left=$2 ;;
        --right) right=$2 ;;
        esac
        shift
        ;;
    --install) install=1 ;;
    --quick) quick=1 ;;
    --no-data-dirs) no_data_dirs=1 ;;
    --no-bench) no_bench=1 ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        usage >&2
        die "unknown option: $1"
        ;;
    esac
    shift
done
for number in random ops seed histories jobs; do
    [[ ${!number} =~ ^[0-9]+$ ]] || die "--$number: not a number: ${!number}"
done
((jobs > 0)) || die "--jobs: at least 1"
((histories > 0)) || die "--histories: at least 1"
if [[ -n $quick ]]; then
    [[ -n ${random_given:-} ]] || random=100
    [[ -n ${ops_given:-} ]] || ops=100
fi
[[ -z $figures || -r $figures ]] || die "--bench: cannot read $figures"
((${#scenarios[@]})) || scenarios=(--scenario all)
json=${json:-$out/compare.json}
html=${html:-$out/compare.html}

# ---------------------------------------------------------------- both servers

# shellcheck source=scripts/setup.sh
. "$root/scripts/setup.sh"
if [[ -n $install ]]; then
    unset ZABKEEPER_NO_INSTALL
else
    export ZABKEEPER_NO_INSTALL=1
fi

bin=${ZABKEEPER:-$target/release/zabkeeper}
if [[ ! -x $bin ]]; then
    [[ -z ${ZABKEEPER:-} ]] || die "no such binary: $bin"
    if ! { ensure_compiler && ensure_rust; }; then
        die "building zabkeeper needs a C compiler and Rust: see README.md, or run with --install"
    fi
    say "building zabkeeper"
    (cd "$root" && cargo build --release --locked --bin zabkeeper) || die "zabkeeper does not build"
fi

if [[ -z $left ]]; then
    [[ -z $zookeeper ]] || ZOOKEEPER_HOME=$zookeeper
    if [[ -n ${JAVA_HOME:-} && -x $JAVA_HOME/bin/java ]]; then
        PATH=$JAVA_HOME/bin:$PATH
    fi
    mkdir -p "$target"
    if ! type -P java >/dev/null && ! { [[ -n $install ]] && apt_install default-jre-headless; }; then
        die "there is no java on the PATH: install a JRE (Debian: default-jre-headless), set JAVA_HOME, or run with --install"
    fi
    if [[ -n ${ZOOKEEPER_HOME:-} ]] && ! has_zookeeper_jars "$ZOOKEEPER_HOME"; then
        die "$ZOOKEEPER_HOME has no lib/zookeeper-*.jar: name the directory of an unpacked apache-zookeeper-3.9.4-bin.tar.gz"
    fi
    if ! ensure_zookeeper "$target"; then
        say "no Java ZooKeeper was found. One of these helps:"
        say "  --zookeeper DIR or ZOOKEEPER_HOME=DIR, with an unpacked release: the tarball"
        say "      apache-zookeeper-3.9.4-bin.tar.gz of https://zookeeper.apache.org/releases.html"
        say "  --install, on a Debian-like machine: its package libzookeeper-java"
        exit 2
    fi
    version=$(zookeeper_version)
    say "Java ZooKeeper $version in $ZOOKEEPER_HOME"
    if [[ $version != 3.9.* ]]; then
        say "zabkeeper ports 3.9.4: what changed between $version and that shows as differences"
    fi
    left=java:$ZOOKEEPER_HOME
fi
right=${right:-zabkeeper:$bin}

# ---------------------------------------------------------------- the comparison

mkdir -p "$out" "$(dirname "$json")" "$(dirname "$html")"
child=''
# shellcheck disable=SC2317 # Called by the traps.
stop() {
    [[ -z $child ]] || kill "$child" 2>/dev/null || true
    exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM
run() { # In the background, so that a signal ends it as well; gives its exit code.
    local code=0
    "$@" &
    child=$!
    wait "$child" || code=$?
    child=''
    return "$code"
}

# compare FILE ARGUMENT...: runs a comparison that writes FILE; differences are no failure yet.
parts=()
compare() {
    local file=$1 code=0
    shift
    rm -f "$file"
    run "$bin" compare "$@" --left "$left" --right "$right" --json "$file" >/dev/null || code=$?
    if ((code > 1)) || [[ ! -s $file ]]; then
        die "the comparison could not be made (zabkeeper compare $*)"
    fi
    parts+=(--json "$file")
}

is_started() { [[ $1 == java || $1 == java:* || $1 == zabkeeper || $1 == zabkeeper:* ]]; }

say "scenarios, and $random random sequences of $ops requests"
compare "$out/run.json" "${scenarios[@]}" --random "$random" --ops "$ops" --seed "$seed" \
    --jobs "$jobs"
if [[ -n $no_data_dirs ]]; then
    :
elif is_started "$left" && is_started "$right"; then
    say "data directories"
    directions=()
    [[ -z $quick ]] || directions=(--direction left-right --direction right-left)
    # Not as a verb behind the options: they are those of data-dirs.
    data_dirs=(data-dirs "${directions[@]}" --seed "$seed" --histories "$histories" --jobs "$jobs")
    compare "$out/data-dirs.json" "${data_dirs[@]}"
else
    say "data directories are left out: they need servers that are started here"
fi

if [[ -z $no_bench && -z $figures ]]; then
    if [[ $left != java:* || $right != zabkeeper:* ]]; then
        say "the benchmark is left out: it measures Java and zabkeeper"
    elif ! { type -P jq >/dev/null || { [[ -n $install ]] && apt_install jq; }; }; then
        say "the benchmark is left out: it needs jq (Debian: jq, or run with --install)"
    else
        say "the benchmark (--no-bench leaves it out)"
        options=(--pairs 1 --duration 5)
        [[ -z $quick ]] || options=(--quick)
        if [[ $bench_rows != all ]]; then
            [[ -z $quick ]] || bench_rows=get8,set8,create8,single
            options+=(--rows "$bench_rows")
        fi
        if ZABKEEPER=${right#zabkeeper:} ZOOKEEPER_HOME=${left#java:} \
            run "$root/scripts/bench-vs-java.sh" "${options[@]}" --json "$out/bench.json" >/dev/null; then
            figures=$out/bench.json
        else
            say "the benchmark failed; the page has no figures"
        fi
    fi
fi

# ---------------------------------------------------------------- what was found

[[ -z $figures ]] || parts+=(--bench "$figures")
code=0
"$bin" compare report "${parts[@]}" --out "$json" --html "$html" || code=$?
say "written: $json, $html"
exit "$code"
