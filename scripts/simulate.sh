#!/usr/bin/env bash
# Runs the simulator of whole ensembles; see docs/SIMULATOR.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'EOF'
usage: scripts/simulate.sh [--seeds N] [--from S]      run the seeds S to S+N-1 (500 from 1)
       scripts/simulate.sh --replay SEED [--trace]     run one seed, with every step as text
       scripts/simulate.sh --mutants [--seeds N]       each bug put back must be found (2000 seeds)
       scripts/simulate.sh --patches [--seeds N]       the same for the bugs in tests/sim/mutants

  --mutant NAME   run with one bug put back in the servers' drivers
  --patch NAME    run with one bug put back by tests/sim/mutants/NAME.patch
  --global        leave out the checks that watch one server's order of log, sync and acknowledgement
  --jobs N        so many seeds at a time (1)
  --debug         build without optimisation: seeds take longer, the build is shorter
EOF
}

profile=(--release) replay="" mutant="" patches=() test=simulate
while (($#)); do
    case $1 in
        --seeds) export SIM_SEEDS=${2:?--seeds N}; shift ;;
        --jobs) export SIM_JOBS=${2:?--jobs N}; shift ;;
        --from) export SIM_FROM=${2:?--from S}; shift ;;
        --replay) replay=${2:?--replay SEED}; shift ;;
        --mutant) mutant=${2:?--mutant NAME}; shift ;;
        --mutants) test=mutants_are_found ;;
        --patch) patches=("${2:?--patch NAME}"); shift ;;
        --patches) mapfile -t patches < <(basename -as .patch tests/sim/mutants/*.patch)
            test=a_mutant_is_found ;;
        --trace) export SIM_TRACE=1 ;;
        --global) export SIM_GLOBAL_ONLY=1 ;;
        --debug) profile=() ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
[[ -n $replay ]] && export SIM_REPLAY=$replay
[[ -n $mutant ]] && export SIM_MUTANT=$mutant

run() {
    cargo test --quiet "${profile[@]}" --test sim -- --exact "$test" --ignored --nocapture
}

if ((${#patches[@]} == 0)); then
    run
    exit
fi

# Each patch is applied to a copy of the tree, which has a target directory of its own.
root=$PWD
copy=$root/target/simulator/tree
export CARGO_TARGET_DIR=$root/target/simulator/target
failed=0
for patch in "${patches[@]}"; do
    rm -rf "$copy"
    mkdir -p "$copy"
    git ls-files -z -- src tests/sim Cargo.toml Cargo.lock build.rs |
        xargs -0 cp --parents --preserve=timestamps -t "$copy"
    # Only the simulator's tests are there.
    awk '/^\[\[test\]\]/ { skip = 1 } /^\[dependencies\]/ { skip = 0 } !skip' Cargo.toml |
        sed 's|^\[dependencies\]|[[test]]\nname = "sim"\npath = "tests/sim/main.rs"\n\n&|' \
            > "$copy/Cargo.toml"
    patch --quiet -p1 -d "$copy" < "tests/sim/mutants/$patch.patch"
    # The newest files: the build must see them.
    sed -n 's|^+++ b/||p' "tests/sim/mutants/$patch.patch" | (cd "$copy" && xargs touch)
    # A bug that two places have to agree on.
    driver=$(sed -n 's/^with mutant: //p' "tests/sim/mutants/$patch.patch")
    export SIM_MUTANT=${driver:-$mutant}
    echo "== $patch"
    (cd "$copy" && run) || failed=1
done
exit "$failed"
