//! Runs scenarios and random sequences over several pairs of servers, shortens what differs, and
//! makes the report.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::difference::Compared;
use super::flavor::{Flavor, PLAIN, RANDOM};
use super::pair::{Pair, PairError};
use super::random::{Plan, sequence};
use super::report::{self, Report, Row, SideInfo};
use super::scenarios::{Scenario, about};
use super::script::Script;
use super::shrink::shrink;
use super::side_spec::{SideSpec, side_info};
use crate::common::time;

/// How often a script is run at most while it is made shorter.
const SHRINK_BUDGET: usize = 600;

/// How long that may take at most.
const SHRINK_MAX: Duration = Duration::from_secs(60);

/// No more findings of a kind are shortened; the others are counted.
const SHRUNK_MAX: usize = 5;

/// What is the same for all that is run.
pub struct Bench<'a> {
    /// The reference.
    pub left: &'a SideSpec,
    /// The server that is compared with it.
    pub right: &'a SideSpec,
    /// Pairs of servers at the same time.
    pub jobs: usize,
    /// Whether differing scripts are made shorter.
    pub shrinks: bool,
    /// Whether to stop at the first unexplained difference.
    pub fails_fast: bool,
    /// Whether to tell on standard error how far it is.
    pub has_progress: bool,
}

/// One script to run.
struct Work {
    kind: &'static str,
    /// The row.
    row: String,
    place: String,
    flavor: &'static Flavor,
    make: Make,
}

enum Make {
    Script(Script),
    Seed(u64, Plan),
}

impl Make {
    fn script(&self) -> Script {
        match self {
            Make::Script(script) => script.clone(),
            Make::Seed(seed, plan) => sequence(*seed, *plan),
        }
    }
}

/// What all jobs share.
struct Shared<'a> {
    bench: &'a Bench<'a>,
    work: Mutex<Vec<Work>>,
    report: Mutex<Report>,
    operations: AtomicU64,
    scripts: AtomicU64,
    different: AtomicU64,
    is_over: AtomicBool,
}

impl Bench<'_> {
    /// Runs the scenarios; one row for each group.
    pub fn scenarios(&self, mut scenarios: Vec<Scenario>) -> Result<Report, PairError> {
        // Servers that somebody else started are configured as they are, and must survive.
        let mut left_out = Vec::new();
        if self.is_given() {
            left_out = scenarios.iter().filter(|one| one.flavor != PLAIN).cloned().collect();
            scenarios.retain(|one| one.flavor == PLAIN);
        }
        let work = scenarios.into_iter().map(|scenario| Work {
            kind: "scenario",
            row: scenario.group.to_owned(),
            place: scenario.path(),
            flavor: scenario.flavor,
            make: Make::Script(scenario.script),
        });
        let mut report = self.run(work.collect())?;
        report.rows.extend(left_out.iter().map(|one| Row {
            kind: "scenario".into(),
            name: one.path(),
            skipped: format!("needs servers started as {}", one.flavor.name),
            ..Row::default()
        }));
        Ok(report)
    }

    /// Runs `count` random sequences from the seed `first` on.
    pub fn random(&self, first: u64, count: u64, plan: Plan) -> Result<Report, PairError> {
        let work = (first..first.saturating_add(count)).map(|seed| Work {
            kind: "random",
            row: format!("{} sessions", plan.sessions),
            place: format!("seed {seed}"),
            flavor: RANDOM,
            make: Make::Seed(seed, plan),
        });
        self.run(work.collect())
    }

    /// Runs one script.
    pub fn script(
        &self,
        name: &str,
        flavor: &'static Flavor,
        script: Script,
    ) -> Result<Report, PairError> {
        self.run(vec![Work {
            kind: "script",
            row: name.to_owned(),
            place: name.to_owned(),
            flavor,
            make: Make::Script(script),
        }])
    }

    fn run(&self, mut work: Vec<Work>) -> Result<Report, PairError> {
        let begin = Instant::now();
        let is_given = self.is_given();
        let jobs = if is_given { 1 } else { self.jobs.clamp(1, work.len().max(1)) };
        let total = work.len();
        // Taken from the end. Those of a configuration stand together, so that a job seldom changes it.
        work.reverse();
        let shared = Shared {
            bench: self,
            work: Mutex::new(work),
            report: Mutex::new(self.empty_report()),
            operations: AtomicU64::new(0),
            scripts: AtomicU64::new(0),
            different: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        };
        let result = thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| shared.work())).collect();
            let progress = self.has_progress.then(|| scope.spawn(|| shared.tell(begin, total)));
            let mut result = Ok(());
            for worker in workers {
                match worker.join() {
                    Ok(outcome) => result = result.and(outcome),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            shared.is_over.store(true, Ordering::Release);
            if let Some(progress) = progress {
                progress.thread().unpark();
                let _ = progress.join(); // It has only printed.
            }
            result
        });
        result?;
        let mut report = shared.report.into_inner();
        report.took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }

    fn empty_report(&self) -> Report {
        let side = |spec: &SideSpec| SideInfo { name: spec.to_string(), ..SideInfo::default() };
        let mut report = Report {
            left: side(self.left),
            right: side(self.right),
            started: time::iso8601(time::wall_ms()),
            ..Report::default()
        };
        report.list_deliberate();
        report
    }

    /// Somebody else's servers: there is one pair of them, and they are as they are.
    fn is_given(&self) -> bool {
        [self.left, self.right].iter().any(|side| matches!(side, SideSpec::At(_)))
    }
}

impl Shared<'_> {
    fn work(&self) -> Result<(), PairError> {
        let mut current: Option<(&'static Flavor, Pair)> = None;
        loop {
            let Some(work) = self.take(current.as_ref().map(|(flavor, _)| *flavor)) else {
                return Ok(());
            };
            let is_kept = matches!(&current, Some((flavor, _)) if *flavor == work.flavor);
            let is_kept = is_kept || (self.bench.is_given() && current.is_some());
            if !is_kept {
                drop(current.take());
                let mut pair = Pair::start(self.bench.left, self.bench.right, work.flavor)?;
                self.name_sides(&mut pair);
                current = Some((work.flavor, pair));
            }
            if let Some((_, pair)) = &mut current {
                self.run_one(&work, pair)?;
            }
        }
    }

    fn name_sides(&self, pair: &mut Pair) {
        let mut report = self.report.lock();
        if report.left.version.is_empty() {
            let [left, right] = pair.sides();
            report.left = side_info(left, self.bench.left);
            report.right = side_info(right, self.bench.right);
        }
    }

    /// The next script, if possible one for the configuration that is running.
    fn take(&self, flavor: Option<&Flavor>) -> Option<Work> {
        if self.bench.fails_fast && self.different.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let mut work = self.work.lock();
        let fitting = work.iter().rposition(|one| Some(one.flavor) == flavor);
        match fitting {
            Some(at) => Some(work.remove(at)),
            None => work.pop(),
        }
    }

    fn run_one(&self, work: &Work, pair: &mut Pair) -> Result<(), PairError> {
        let begin = Instant::now();
        let script = work.make.script();
        let compared = pair.run(&script)?;
        self.operations.fetch_add(count(compared.operations), Ordering::Relaxed);
        self.scripts.fetch_add(1, Ordering::Relaxed);
        let mut found: Vec<report::Difference> = Vec::new();
        let mut seen = BTreeSet::new();
        for difference in &compared.differences {
            // Each deliberate one once for each script.
            if let Some(id) = difference.deliberate.map(|one| one.id)
                && seen.insert(id)
            {
                found.push(self.entry(work, &script, &compared, id));
            }
        }
        if compared.unexplained().is_some() {
            let number = self.different.fetch_add(1, Ordering::Relaxed);
            // What is found is shortened against empty servers, and leaves empty ones behind.
            pair.renew()?;
            let is_shrunk = self.bench.shrinks && number < count(SHRUNK_MAX);
            found.push(self.unexplained(work, &script, compared.clone(), pair, is_shrunk)?);
            pair.renew()?;
        }
        let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.add(work, &compared, found, took);
        Ok(())
    }

    fn entry(
        &self,
        work: &Work,
        script: &Script,
        compared: &Compared,
        id: &str,
    ) -> report::Difference {
        let found = compared
            .differences
            .iter()
            .find(|difference| difference.deliberate.is_some_and(|one| one.id == id));
        let (operation, left, right) = found.map_or_else(Default::default, |one| {
            (one.request.clone(), one.left.join("\n"), one.right.join("\n"))
        });
        report::Difference {
            kind: work.kind.into(),
            name: work.row.clone(),
            operation: format!("{}: {operation}", work.place),
            left,
            right,
            deliberate: id.to_owned(),
            sequence: Vec::new(),
            replay: self.replay(work, script),
        }
    }

    fn unexplained(
        &self,
        work: &Work,
        script: &Script,
        compared: Compared,
        pair: &mut Pair,
        is_shrunk: bool,
    ) -> Result<report::Difference, PairError> {
        let mut best = (script.clone(), compared);
        if is_shrunk {
            let mut failure = None;
            let begin = Instant::now();
            shrink(script, SHRINK_BUDGET, |candidate| {
                if failure.is_some() || begin.elapsed() > SHRINK_MAX {
                    return false;
                }
                match pair.run(candidate) {
                    Ok(compared) if compared.unexplained().is_some() => {
                        best = (candidate.clone(), compared);
                        true
                    }
                    Ok(_) => false,
                    // A server that has ended is what was looked for; it is started again.
                    Err(PairError::Stage { .. }) => match pair.renew() {
                        Ok(()) => true,
                        Err(error) => {
                            failure = Some(error);
                            false
                        }
                    },
                    Err(error) => {
                        failure = Some(error);
                        false
                    }
                }
            });
            if let Some(error) = failure {
                return Err(error);
            }
        }
        let (script, compared) = best;
        let (operation, left, right) =
            compared.unexplained().map_or_else(Default::default, |one| {
                (one.request.clone(), one.left.join("\n"), one.right.join("\n"))
            });
        Ok(report::Difference {
            kind: work.kind.into(),
            name: work.row.clone(),
            operation: format!("{}: {operation}", work.place),
            left,
            right,
            deliberate: String::new(),
            sequence: script.steps.iter().map(ToString::to_string).collect(),
            replay: self.replay(work, &script),
        })
    }

    fn replay(&self, work: &Work, script: &Script) -> String {
        let steps: Vec<String> = script.steps.iter().map(ToString::to_string).collect();
        format!(
            "zabkeeper compare --left {} --right {} --flavor {} --show --script '{}'",
            self.bench.left,
            self.bench.right,
            work.flavor.name,
            steps.join(" / ").replace('\'', "'\\''"),
        )
    }

    fn add(&self, work: &Work, compared: &Compared, found: Vec<report::Difference>, took_ms: u64) {
        let mut steps: BTreeMap<bool, BTreeSet<usize>> = BTreeMap::new();
        let mut report = self.report.lock();
        for difference in &compared.differences {
            let is_deliberate = difference.deliberate.is_some();
            steps.entry(is_deliberate).or_default().insert(difference.step);
            let id = difference.deliberate.map(|one| one.id);
            if let Some(seen) = report.deliberate.iter_mut().find(|one| Some(&*one.id) == id) {
                seen.seen += 1;
            }
        }
        let different = steps.get(&false).map_or(0, |set| count(set.len()));
        let deliberate = steps.get(&true).map_or(0, |set| count(set.len()));
        let operations = count(compared.operations);
        let at = report.rows.iter().position(|row| row.kind == work.kind && row.name == work.row);
        let at = at.unwrap_or_else(|| {
            report.rows.push(Row {
                kind: work.kind.into(),
                name: work.row.clone(),
                about: about(&work.row).into(),
                ..Row::default()
            });
            report.rows.len() - 1
        });
        if let Some(row) = report.rows.get_mut(at) {
            row.operations += operations;
            row.same += operations.saturating_sub(different + deliberate);
            row.different += different;
            row.deliberate += deliberate;
            row.took_ms += took_ms;
        }
        report.differences.extend(found);
    }

    /// How far it is, every second; in place on a terminal.
    fn tell(&self, begin: Instant, total: usize) {
        let is_terminal = std::io::stderr().is_terminal();
        let mut last = (begin, 0);
        let mut next = if is_terminal { Duration::from_secs(1) } else { Duration::from_secs(5) };
        while !self.is_over.load(Ordering::Acquire) {
            thread::park_timeout(Duration::from_millis(500));
            if begin.elapsed() < next {
                continue;
            }
            next += if is_terminal { Duration::from_secs(1) } else { Duration::from_secs(10) };
            let now = Instant::now();
            let operations = self.operations.load(Ordering::Relaxed);
            let seconds = now.duration_since(last.0).as_secs_f64().max(0.001);
            let rate = (operations - last.1) as f64 / seconds;
            last = (now, operations);
            let line = format!(
                "{} of {total} scripts, {operations} operations, {rate:.0}/s, {} different",
                self.scripts.load(Ordering::Relaxed),
                self.different.load(Ordering::Relaxed),
            );
            let mut stderr = std::io::stderr().lock();
            // A line that cannot be shown is no reason to stop.
            let _ = match is_terminal {
                true => write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush()),
                false => writeln!(stderr, "{line}"),
            };
        }
        if is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
