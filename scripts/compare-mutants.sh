#!/usr/bin/env bash
# Is a broken server caught? Applies each patch of tests/compare/mutants to a copy of the tree, builds
# it, and compares it with an unbroken server: `zabkeeper compare` must find a difference and shrink it
# to less than ten steps.
#   compare-mutants.sh [--left SIDE] [PATCH...]
# SIDE is as for zabkeeper compare: java when ZOOKEEPER_HOME is set, else the unbroken zabkeeper.
# CARGO_TARGET_DIR of the copy is kept in target/mutants, so that a second run is fast.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
good=$root/target/debug/zabkeeper
left=zabkeeper:$good
[ -n "${ZOOKEEPER_HOME:-}" ] && left=java
if [ "${1:-}" = --left ]; then left=$2; shift 2; fi
[ $# -gt 0 ] || set -- "$root"/tests/compare/mutants/*.patch

(cd "$root" && cargo build --quiet)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=0
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    rm -rf "$copy/tree" && mkdir "$copy/tree"
    (cd "$root" && tar cf - Cargo.toml Cargo.lock build.rs src docs tests/compare) | tar xf - -C "$copy/tree"
    patch --quiet --strip=1 --directory="$copy/tree" < "$patch"
    (cd "$copy/tree" && CARGO_TARGET_DIR=$root/target/mutants cargo build --quiet --bin zabkeeper)
    code=0
    "$good" compare --left "$left" --right "zabkeeper:$root/target/mutants/debug/zabkeeper" \
        --random 60 --jobs 1 --fail-fast --json "$copy/report.json" > "$copy/table" 2> /dev/null || code=$?
    # The steps stand between the line that says where and the first side's answer.
    steps=$(sed -n '/^random .*: seed/,/^  [a-z]*:$/p' "$copy/table" | grep -c '^    ' || true)
    if [ "$code" = 1 ] && [ "$steps" -gt 0 ] && [ "$steps" -lt 10 ]; then
        echo "$name: caught, $steps steps"
    else
        echo "$name: NOT CAUGHT (exit code $code, $steps steps)"
        failed=1
    fi
    sed -n '/^random/,/again:/p' "$copy/table" | sed 's/^/    /'
done
exit $failed
