//! `zabkeeper compare` without a verb: scenarios, random sequences, single scripts.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::args::RunArgs;
use super::deliberate;
use super::flavor::Flavor;
use super::pair::Pair;
use super::random::Plan;
use super::report::{Report, table};
use super::report_command::write_json;
use super::run::Bench;
use super::scenarios::{self, Scenario};
use super::script::Script;
use super::side_spec::SideSpec;
use crate::compare::output::{print, print_line};

/// Sequences that are run when nothing is chosen.
const RANDOM_DEFAULT: u64 = 20;

/// True when nothing differs without an explanation.
pub fn run(args: &RunArgs) -> Result<bool> {
    if args.list {
        list()?;
        return Ok(true);
    }
    if args.deliberate {
        print(deliberate::text());
        return Ok(true);
    }
    let report = compare(args)?;
    if let Some(path) = &args.json {
        write_json(&report, path)?;
    }
    if args.json.as_deref() != Some(Path::new("-")) {
        print(table(&report));
    }
    Ok(report.is_equal())
}

/// Runs what the arguments choose.
pub fn compare(args: &RunArgs) -> Result<Report> {
    let (left, right) = (&args.sides.left, &args.sides.right);
    let bench = Bench {
        left,
        right,
        jobs: usize::try_from(args.jobs)?,
        shrinks: !args.no_shrink,
        fails_fast: args.fail_fast,
        has_progress: std::io::stderr().is_terminal() || args.random.is_some(),
    };
    if let Some(script) = given_script(args)? {
        let name = args.replay.as_ref().map_or("script".into(), |path| path.display().to_string());
        let Some(flavor) = Flavor::named(&args.flavor) else {
            bail!("--flavor {}: there is none of that name", args.flavor);
        };
        if args.show {
            show(left, right, flavor, &script)?;
        }
        return Ok(bench.script(&name, flavor, script)?);
    }
    let is_default = args.scenario.is_empty() && args.random.is_none();
    let mut report = Report::default();
    let chosen = chosen(args, is_default)?;
    if !chosen.is_empty() {
        let names: Vec<String> = chosen.iter().map(Scenario::path).collect();
        let mut found = bench.scenarios(chosen)?;
        deliberate::check_shown(&mut found, &names);
        report.merge(found);
    }
    let random = args.random.unwrap_or(if is_default { RANDOM_DEFAULT } else { 0 });
    if random > 0 {
        let plan =
            Plan { ops: usize::try_from(args.ops)?, sessions: usize::try_from(args.sessions)? };
        report.merge(bench.random(args.seed, random, plan)?);
    }
    Ok(report)
}

fn given_script(args: &RunArgs) -> Result<Option<Script>> {
    let text = match (&args.replay, &args.script) {
        (Some(path), _) => fs::read_to_string(path).with_context(|| path.display().to_string())?,
        (None, Some(text)) => text.replace(" / ", "\n"),
        (None, None) => return Ok(None),
    };
    Ok(Some(text.parse()?))
}

fn chosen(args: &RunArgs, is_default: bool) -> Result<Vec<Scenario>> {
    let all = scenarios::all()?;
    if is_default {
        return Ok(all);
    }
    let mut chosen: Vec<Scenario> = Vec::new();
    for name in &args.scenario {
        if name == "none" {
            continue;
        }
        let before = chosen.len();
        chosen.extend(all.iter().filter(|one| name == "all" || one.is_called(name)).cloned());
        if chosen.len() == before {
            bail!("--scenario {name}: there is none of that name; --list prints them");
        }
    }
    Ok(chosen)
}

fn list() -> Result<()> {
    let mut group = "";
    for scenario in scenarios::all()? {
        if scenario.group != group {
            group = scenario.group;
            print_line(format_args!("{group}: {}", scenarios::about(group)));
        }
        print_line(format_args!("  {}  ({} steps)", scenario.name, scenario.script.steps.len()));
    }
    Ok(())
}

/// Prints all that both sides answer.
fn show(left: &SideSpec, right: &SideSpec, flavor: &'static Flavor, script: &Script) -> Result<()> {
    let mut pair = Pair::start(left, right, flavor)?;
    for (name, transcript) in pair.transcripts(script)? {
        print_line(format_args!("{name}:"));
        for line in transcript.story(script) {
            print_line(format_args!("  {line}"));
        }
    }
    Ok(())
}
