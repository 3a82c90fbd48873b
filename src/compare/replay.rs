//! `zabkeeper compare replay`: takes two servers through what was recorded, and compares.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};

use super::args::{REPLAY_CONF, ReplayArgs};
use super::difference::{self, Compared};
use super::driver::Driver;
use super::launch::Setup;
use super::recording::{End, RecordingReader};
use super::recording_script::{Replay, replay_of};
use super::report::{Difference, Report, Row, table};
use super::report_command::write_json;
use super::script::{Action, Script};
use super::side::Side;
use super::side_spec::side_info;
use super::transcript::Transcript;
use crate::common::time;
use crate::compare::output::print;

/// So many steps before a difference are shown with it.
const STEPS_SHOWN: usize = 20;

/// True when nothing differs without an explanation.
pub fn run(args: &ReplayArgs) -> anyhow::Result<bool> {
    let file = args.file.display().to_string();
    let mut reader = RecordingReader::open(&args.file).with_context(|| file.clone())?;
    let replay = replay_of(reader.by_ref()).with_context(|| file.clone())?;
    if let Some(End::Torn(bytes)) = reader.end() {
        eprintln!("{file}: the recording was cut short; its first {bytes} bytes are taken");
    }
    for what in &replay.left_out {
        eprintln!("{file}: {what}");
    }
    if args.print {
        print(&replay.script);
        return Ok(true);
    }
    ensure!(!replay.script.steps.is_empty(), "{file}: nothing was recorded");
    let setup =
        Setup { conf: args.conf.clone(), properties: args.property.clone(), ..Setup::default() };
    let left = args.sides.left.side(&setup)?;
    let right = args.sides.right.side(&setup)?;
    let mut report = Report {
        left: side_info(&left, &args.sides.left),
        right: side_info(&right, &args.sides.right),
        started: time::iso8601(time::wall_ms()),
        ..Report::default()
    };
    let begun = Instant::now();
    let replayed = replay_on_both(&replay, &left, &right)?;
    report.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    fill(&mut report, &file, &replay, &replayed, args);
    if let Some(path) = &args.json {
        write_json(&report, path)?;
    }
    if args.json.as_deref() != Some(Path::new("-")) {
        print(table(&report));
    }
    Ok(report.is_equal())
}

/// What a replay has come to.
#[derive(Debug)]
pub struct Replayed {
    /// The comparison of the two sides.
    pub compared: Compared,
    /// How many replies of the left side have the recorded error code.
    pub as_recorded: usize,
    /// Of how many that were recorded.
    pub recorded: usize,
}

/// Takes both servers through the recording at the same time.
pub fn replay_on_both(replay: &Replay, left: &Side, right: &Side) -> anyhow::Result<Replayed> {
    let script = &replay.script;
    let (left, right) = (left.addr(), right.addr());
    let tell = |addr| {
        let mut driver = Driver::new(addr);
        driver.play(script);
        driver.finish()
    };
    let transcripts: Option<(Transcript, Transcript)> = std::thread::scope(|scope| {
        let other = scope.spawn(move || tell(right));
        let one = tell(left);
        Some((one, other.join().ok()?))
    });
    let (mut left, mut right) = transcripts.context("the thread of one side has died")?;
    let (as_recorded, recorded) = replay.as_recorded(&left);
    let compared = difference::compare(script, &mut left, &mut right);
    Ok(Replayed { compared, as_recorded, recorded })
}

fn fill(report: &mut Report, file: &str, replay: &Replay, replayed: &Replayed, args: &ReplayArgs) {
    let compared = &replayed.compared;
    let count = |is_deliberate: bool| {
        let of_kind = |one: &&difference::Difference| one.deliberate.is_some() == is_deliberate;
        compared.differences.iter().filter(of_kind).count() as u64
    };
    let (deliberate, different) = (count(true), count(false));
    let operations = compared.operations as u64;
    report.rows.push(Row {
        kind: "replay".into(),
        name: file.to_owned(),
        about: format!(
            "{} recorded connections; {} of {} replies of {} as recorded",
            replay.connections, replayed.as_recorded, replayed.recorded, report.left.name
        ),
        operations,
        same: operations.saturating_sub(deliberate).saturating_sub(different),
        different,
        deliberate,
        took_ms: report.took_ms,
        ..Row::default()
    });
    let mut again = format!(
        "zabkeeper compare replay {file} --left {} --right {}",
        args.sides.left, args.sides.right
    );
    for (option, values) in [("--conf", &args.conf), ("--property", &args.property)] {
        let is_default = option == "--conf" && values.iter().eq(REPLAY_CONF);
        for value in values.iter().filter(|_| !is_default) {
            again.push_str(&format!(" {option} '{value}'"));
        }
    }
    for one in &compared.differences {
        report.differences.push(Difference {
            kind: "replay".into(),
            name: file.to_owned(),
            operation: one.request.clone(),
            left: one.left.join("\n"),
            right: one.right.join("\n"),
            deliberate: one.deliberate.map_or(String::new(), |found| found.id.to_owned()),
            sequence: steps_before(&replay.script, one.step),
            replay: again.clone(),
        });
    }
    report.list_deliberate();
}

/// The last steps up to this one; waiting is left out.
fn steps_before(script: &Script, step: usize) -> Vec<String> {
    let to = script.steps.len().min(step.saturating_add(1));
    let from = to.saturating_sub(STEPS_SHOWN);
    let shown = script.steps.get(from..to).unwrap_or_default();
    let mut lines = Vec::new();
    if from > 0 {
        lines.push(format!("({from} steps before)"));
    }
    let acts = shown.iter().filter(|step| !matches!(step.action, Action::Wait(_)));
    lines.extend(acts.map(ToString::to_string));
    lines
}
