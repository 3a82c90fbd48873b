//! `zabkeeper compare data-dirs`: directories that one server has written are started by the other,
//! and everything in them must be the same: trees, stats, ACLs, sessions, ephemerals, digests.

mod cases;
mod dump;
mod history;
mod journey;
mod log_files;
mod records;
mod session;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;

pub use cases::{CASES, Case, End, Kind};
pub use dump::{Dump, Mismatch, Node};
pub use journey::Findings;
pub use log_files::{LogRecord, Tear, log_records, remove_snapshots, tear_tail};
pub use records::record_lines;
pub use session::{Credentials, Session};

use super::args::DataDirsArgs;
use super::launch::Implementation;
use super::report::{Difference, Report, Row, SideInfo, table};
use super::report_command::write_json;
use super::side_spec::SideSpec;
use crate::common::sync::{Mutex, Rank};
use crate::common::time;
use crate::compare::output::{print, print_line};

/// The kind of the rows in a report.
const KIND: &str = "data directory";

/// Who writes, and who gets the directory then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Direction {
    /// The left server writes, the right one goes on, the left one has the last word.
    LeftRight,
    /// The other way round.
    RightLeft,
    /// The left server goes on with its own: a control.
    LeftLeft,
    /// The right server goes on with its own: a control.
    RightRight,
}

impl Direction {
    /// All of them.
    pub const ALL: [Direction; 4] =
        [Direction::LeftRight, Direction::RightLeft, Direction::LeftLeft, Direction::RightRight];

    fn route<'a>(
        self,
        left: &'a Implementation,
        right: &'a Implementation,
    ) -> Vec<&'a Implementation> {
        match self {
            Direction::LeftRight => vec![left, right, left],
            Direction::RightLeft => vec![right, left, right],
            Direction::LeftLeft => vec![left, left],
            Direction::RightRight => vec![right, right],
        }
    }
}

/// Runs one case along one direction with the history of one seed.
pub fn run_case(
    case: &Case,
    direction: Direction,
    left: &Implementation,
    right: &Implementation,
    seed: u64,
) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let route = direction.route(left, right);
    match case.kind {
        Kind::HandOver => journey::hand_over(case, &route, seed, &mut findings)?,
        Kind::Stream => journey::stream(case, &route, seed, &mut findings)?,
        Kind::Records => records::compare_records(case, left, right, seed, &mut findings)?,
    }
    Ok(findings)
}

/// One way of one history.
#[derive(Debug, Clone, Copy)]
struct Task {
    case: &'static Case,
    direction: Direction,
    seed: u64,
}

/// True when nothing differs without an explanation.
pub fn run(args: &DataDirsArgs) -> anyhow::Result<bool> {
    if args.list {
        for case in CASES {
            print_line(format_args!("{:18} {}", case.name, case.about));
        }
        return Ok(true);
    }
    let tasks = tasks(args)?;
    let (left_spec, right_spec) = (&args.sides.left, &args.sides.right);
    let left = implementation(left_spec)?;
    let right = implementation(right_spec)?;
    let begun = Instant::now();
    let mut report = Report {
        left: info(&left),
        right: info(&right),
        started: time::iso8601(time::wall_ms()),
        ..Report::default()
    };
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    let sides = format!("--left {left_spec} --right {right_spec}");
    for (at, found) in run_all(&tasks, &left, &right, args.jobs).into_iter().enumerate() {
        let Some(task) = tasks.get(at) else { continue };
        let first = tasks
            .iter()
            .position(|one| (one.case.name, one.direction) == (task.case.name, task.direction));
        let row = rows.entry(first.unwrap_or(at)).or_insert_with(|| Row {
            kind: KIND.into(),
            name: name(task, &left, &right),
            about: task.case.about.into(),
            ..Row::default()
        });
        add(&mut report.differences, row, task, found, &sides);
    }
    report.rows = rows.into_values().collect();
    report.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.list_deliberate();
    if let Some(path) = &args.json {
        write_json(&report, path)?;
    }
    if args.json.as_deref() != Some(Path::new("-")) {
        print(table(&report));
    }
    Ok(report.is_equal())
}

/// The matrix, all seeds of a cell together.
fn tasks(args: &DataDirsArgs) -> anyhow::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    let cases: Vec<&'static Case> = if args.case.is_empty() {
        CASES.iter().collect()
    } else {
        let known = |name: &String| {
            Case::named(name).ok_or_else(|| anyhow!("no such case: {name} (--list names them)"))
        };
        args.case.iter().map(known).collect::<anyhow::Result<_>>()?
    };
    for case in cases {
        for direction in
            if args.direction.is_empty() { &Direction::ALL[..] } else { &args.direction }
        {
            // Both logs are written in any direction.
            let is_again = tasks.iter().any(|task: &Task| task.case.name == case.name);
            if case.kind == Kind::Records && is_again {
                continue;
            }
            for n in 0..args.histories {
                let seed = args.seed.wrapping_add(n);
                tasks.push(Task { case, direction: *direction, seed });
            }
        }
    }
    Ok(tasks)
}

fn implementation(spec: &SideSpec) -> anyhow::Result<Implementation> {
    match spec.implementation()? {
        Some(implementation) => Ok(implementation),
        None => {
            bail!("{spec}: data directories need servers that are started here: java or zabkeeper")
        }
    }
}

fn info(implementation: &Implementation) -> SideInfo {
    let version = implementation.version().unwrap_or_default();
    let how = "started for the comparison".into();
    SideInfo { name: implementation.to_string(), version, how }
}

fn name(task: &Task, left: &Implementation, right: &Implementation) -> String {
    if task.case.kind == Kind::Records {
        return task.case.name.to_owned();
    }
    let names: Vec<String> =
        task.direction.route(left, right).iter().map(ToString::to_string).collect();
    format!("{} {}", task.case.name, names.join(" > "))
}

/// What a task came to: its findings, or why there are none; and its time.
type Outcome = (anyhow::Result<Findings>, u64);

/// All tasks, so many at a time; outcomes in the order of the tasks.
fn run_all(
    tasks: &[Task],
    left: &Implementation,
    right: &Implementation,
    jobs: usize,
) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<usize, Outcome>> = Mutex::new(Rank::Leaf, BTreeMap::new());
    let work = || {
        loop {
            // Only a counter: nothing is published with it.
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(at) else { break };
            let begun = Instant::now();
            let found = run_case(task.case, task.direction, left, right, task.seed)
                .with_context(|| format!("{}, seed {}", name(task, left, right), task.seed));
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let word = match &found {
                Ok(findings) if findings.mismatches.is_empty() => "same",
                Ok(_) => "DIFFERENT",
                Err(_) => "FAILED",
            };
            let mut outcomes = outcomes.lock();
            outcomes.insert(at, (found, took_ms));
            let done = outcomes.len();
            drop(outcomes);
            eprintln!(
                "{done}/{} {} seed {}: {word}",
                tasks.len(),
                name(task, left, right),
                task.seed
            );
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.max(1) {
            scope.spawn(work);
        }
        work();
    });
    outcomes.into_inner().into_values().collect()
}

fn add(
    differences: &mut Vec<Difference>,
    row: &mut Row,
    task: &Task,
    (found, took_ms): Outcome,
    sides: &str,
) {
    let direction = task.direction.to_possible_value();
    let direction = direction.as_ref().map_or("", |value| value.get_name());
    let replay = format!(
        "zabkeeper compare data-dirs --case {} --direction {direction} --seed {} {sides}",
        task.case.name, task.seed
    );
    let difference = |place: String, mismatch: Mismatch, deliberate: &str| Difference {
        kind: KIND.into(),
        name: row.name.clone(),
        operation: format!("{} ({place})", mismatch.what),
        left: mismatch.before,
        right: mismatch.after,
        deliberate: deliberate.to_owned(),
        sequence: Vec::new(),
        replay: replay.clone(),
    };
    let findings = found.unwrap_or_else(|error| {
        let what = "the comparison could not be made".into();
        let mismatch = Mismatch { what, before: String::new(), after: format!("{error:#}") };
        let place = format!("seed {}", task.seed);
        Findings { compared: 1, mismatches: vec![(place, mismatch)], ..Findings::default() }
    });
    let (bad, meant) = (findings.mismatches.len() as u64, findings.deliberate.len() as u64);
    differences.extend(findings.mismatches.into_iter().map(|(at, one)| difference(at, one, "")));
    differences
        .extend(findings.deliberate.into_iter().map(|(id, at, one)| difference(at, one, id)));
    row.operations += findings.compared;
    row.different += bad;
    row.deliberate += meant;
    row.same += findings.compared.saturating_sub(bad).saturating_sub(meant);
    row.took_ms += took_ms;
}
