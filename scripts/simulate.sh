#!/usr/bin/env bash
# Runs the simulator of whole ensembles; see docs/SIMULATOR.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'EOF'
usage: scripts/simulate.sh [--seeds N] [--from S]          run the seeds S to S+N-1 (500 from 1)
       scripts/simulate.sh --replay SEED [--trace]         run one seed, with every step as text
       scripts/simulate.sh --mutant NAME [--seeds N] ...   the same with a historic bug put back
       scripts/simulate.sh --mutants [--seeds N]           every bug must be found; says by which seed
--global leaves out the checks that watch one server's order of log, sync and acknowledgement.
EOF
}

replay="" mutant="" mutants=""
while (($#)); do
    case $1 in
        --seeds) export SIM_SEEDS=${2:?--seeds N}; shift ;;
        --from) export SIM_FROM=${2:?--from S}; shift ;;
        --replay) replay=${2:?--replay SEED}; shift ;;
        --mutant) mutant=${2:?--mutant NAME}; shift ;;
        --mutants) mutants=1 ;;
        --trace) export SIM_TRACE=1 ;;
        --global) export SIM_GLOBAL_ONLY=1 ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
[[ -n $replay ]] && export SIM_REPLAY=$replay
[[ -n $mutant ]] && export SIM_MUTANT=$mutant

test=simulate
[[ -n $mutants ]] && test=mutants_are_found
exec cargo test --quiet --release --test sim -- --exact "$test" --ignored --nocapture
