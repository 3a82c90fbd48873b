//! The simulator: whole ensembles of the cores that production runs, in one thread, from one seed.
//! See `docs/SIMULATOR.md`; `scripts/simulate.sh` runs many seeds, replays one and prints traces.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: failing is its work")]

mod chain;
mod check;
mod client;
mod leader;
mod learner;
mod mail;
mod mutants;
mod net;
mod node;
mod rng;
mod shared;
mod store;
mod trace;
mod world;

use std::env;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use crate::mutants::Mutant;
use crate::world::{Options, Outcome, run};

/// Seeds that `cargo test` runs.
const SEEDS_IN_CI: u64 = 500;

fn report(seed: u64, outcome: &Outcome) {
    let Some(violation) = &outcome.violation else { return };
    for line in &outcome.tail {
        println!("{line}");
    }
    println!("seed {seed}: {violation}");
    println!("replay: scripts/simulate.sh --replay {seed} --trace");
}

/// Runs the seeds, some in each of `jobs` threads. `Err`: the first that has failed.
fn check_seeds(seeds: Range<u64>, jobs: u64, options: Options) -> Result<Sum, u64> {
    let failed = AtomicU64::new(u64::MAX);
    let check_part = |job: u64| {
        let mut sum = Sum::default();
        for seed in seeds.clone().skip(job as usize).step_by(jobs as usize) {
            if failed.load(Relaxed) < seed {
                break;
            }
            let outcome = run(seed, options);
            if outcome.violation.is_some() {
                failed.fetch_min(seed, Relaxed);
                report(seed, &outcome);
            }
            sum.add(&outcome);
        }
        sum
    };
    let sums: Vec<Sum> = thread::scope(|scope| {
        let check_part = &check_part;
        let threads: Vec<_> = (0..jobs).map(|job| scope.spawn(move || check_part(job))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    match failed.load(Relaxed) {
        u64::MAX => Ok(sums.into_iter().fold(Sum::default(), Sum::plus)),
        seed => Err(seed),
    }
}

/// What many runs have seen.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    actions: u64,
    crashes: u64,
    elections: u64,
    committed: u64,
    replies: u64,
    truncations: u64,
    diffs: u64,
    diffs_from_log: u64,
    snapshots: u64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        let counts = &outcome.counts;
        *self = std::mem::take(self).plus(Sum {
            seeds: 1,
            actions: outcome.actions,
            crashes: outcome.crashes,
            elections: counts.elections,
            committed: counts.committed,
            replies: counts.replies,
            truncations: counts.truncations,
            diffs: counts.diffs,
            diffs_from_log: counts.diffs_from_log,
            snapshots: counts.snapshots,
        });
    }

    fn plus(self, other: Sum) -> Sum {
        Sum {
            seeds: self.seeds + other.seeds,
            actions: self.actions + other.actions,
            crashes: self.crashes + other.crashes,
            elections: self.elections + other.elections,
            committed: self.committed + other.committed,
            replies: self.replies + other.replies,
            truncations: self.truncations + other.truncations,
            diffs: self.diffs + other.diffs,
            diffs_from_log: self.diffs_from_log + other.diffs_from_log,
            snapshots: self.snapshots + other.snapshots,
        }
    }
}

#[test]
fn seeds_are_clean() {
    let sum = check_seeds(1..SEEDS_IN_CI + 1, 2, Options::default());
    let sum = sum.unwrap_or_else(|seed| panic!("seed {seed}"));
    println!("{sum:?}");
    // A run in which nothing happens proves nothing.
    assert!(sum.crashes > SEEDS_IN_CI && sum.elections > SEEDS_IN_CI, "{sum:?}");
    assert!(sum.replies > 20 * SEEDS_IN_CI, "{sum:?}");
    assert!(sum.truncations > 0 && sum.diffs > 0 && sum.snapshots > 0, "{sum:?}");
    assert!(sum.diffs_from_log > 0, "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=10 {
        let (one, two) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!((one.fingerprint, one.lines), (two.fingerprint, two.lines), "seed {seed}");
    }
}

/// Checks that find nothing prove nothing.
#[test]
fn bugs_that_are_put_back_are_found_soon() {
    let is_found = |mutant: &Mutant| {
        let options = Options { mutant: Some(*mutant), ..Options::default() };
        (1..=12).any(|seed| run(seed, options).violation.is_some())
    };
    let (some, others) = Mutant::ALL.split_at(Mutant::ALL.len() / 2);
    let found = thread::scope(|scope| {
        let count = |mutants: &[Mutant]| mutants.iter().filter(|one| is_found(one)).count();
        let other = scope.spawn(move || count(others));
        count(some) + other.join().unwrap()
    });
    // The others need rarer histories than a few seeds have.
    assert!(found >= 3, "{found} of {}", Mutant::ALL.len());
}

/// Each bug that is put back must be found; says by which seed and how.
#[test]
#[ignore = "takes minutes: scripts/simulate.sh --mutants"]
fn mutants_are_found() {
    let seeds = env::var("SIM_SEEDS").map_or(2000, |text| text.parse().unwrap());
    let is_global_only = env::var_os("SIM_GLOBAL_ONLY").is_some();
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let options = Options { mutant: Some(mutant), is_global_only, ..Options::default() };
        let found = (1..=seeds).find_map(|seed| Some((seed, run(seed, options).violation?)));
        match found {
            Some((seed, violation)) => println!("{mutant}: seed {seed}: {violation}"),
            None => missed.push(mutant.name()),
        }
    }
    assert!(missed.is_empty(), "not found in {seeds} seeds: {missed:?}");
}

/// For a tree that a patch has put a bug into: some seed must find it.
#[test]
#[ignore = "needs a bug in the tree: scripts/simulate.sh --patches"]
fn a_mutant_is_found() {
    let seeds = env::var("SIM_SEEDS").map_or(2000, |text| text.parse().unwrap());
    let is_global_only = env::var_os("SIM_GLOBAL_ONLY").is_some();
    let options = Options { is_global_only, mutant: mutant_of_environment(), ..Options::default() };
    let found = (1..=seeds).find_map(|seed| Some((seed, run(seed, options).violation?)));
    let (seed, violation) = found.unwrap_or_else(|| panic!("not found in {seeds} seeds"));
    println!("found by seed {seed}: {violation}");
}

fn mutant_of_environment() -> Option<Mutant> {
    let name = env::var("SIM_MUTANT").ok().filter(|name| !name.is_empty())?;
    Some(Mutant::of_name(&name).unwrap_or_else(|| panic!("no such mutant: {name}")))
}

/// For `scripts/simulate.sh`, which says in variables of the environment what to do.
#[test]
#[ignore = "takes as long as it is told to: scripts/simulate.sh --seeds N"]
fn simulate() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let options = Options {
        is_traced: env::var_os("SIM_TRACE").is_some(),
        is_global_only: env::var_os("SIM_GLOBAL_ONLY").is_some(),
        mutant: mutant_of_environment(),
    };
    if let Some(seed) = number("SIM_REPLAY") {
        let outcome = run(seed, options);
        report(seed, &outcome);
        println!("seed {seed}: {} lines, fingerprint {:x}", outcome.lines, outcome.fingerprint);
        assert!(outcome.violation.is_none(), "seed {seed}");
        return;
    }
    let from = number("SIM_FROM").unwrap_or(1);
    let count = number("SIM_SEEDS").unwrap_or(SEEDS_IN_CI);
    let started = Instant::now();
    let jobs = number("SIM_JOBS").unwrap_or(1).max(1);
    match check_seeds(from..from.saturating_add(count), jobs, options) {
        Ok(sum) => println!("clean: {sum:?} in {:.1} s", started.elapsed().as_secs_f64()),
        Err(seed) => panic!("seed {seed}, the {}th", seed - from + 1),
    }
}
