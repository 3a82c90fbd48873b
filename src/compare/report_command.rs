//! `zabkeeper compare report`, and what every command does with its report.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::args::ReportArgs;
use super::report::{Report, page, table};
use crate::compare::output::print;

/// True when nothing differs without an explanation.
pub fn run(args: &ReportArgs) -> anyhow::Result<bool> {
    let mut report = Report::default();
    for path in &args.json {
        let one = Report::from_json(&read_json(path)?);
        report.merge(one.map_err(|error| anyhow!("{}: {error}", path.display()))?);
    }
    let bench = args.bench.as_deref().map(read_json).transpose()?;
    if let Some(path) = &args.html {
        write(path, &page(&report, bench.as_ref()))?;
    }
    if let Some(path) = &args.out {
        write_json(&report, path)?;
    }
    if !args.quiet {
        print(table(&report));
    }
    Ok(report.is_equal())
}

/// Writes a report as JSON; "-" is standard output.
pub fn write_json(report: &Report, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&report.to_json())?;
    write(path, &format!("{text}\n"))
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::report::{Row, SideInfo};
    use super::*;

    #[test]
    fn files_are_put_together_and_the_exit_tells_of_differences() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let report = |name: &str, different| Report {
            left: SideInfo { name: "java".into(), ..SideInfo::default() },
            rows: vec![Row {
                name: name.into(),
                operations: 5,
                same: 5 - different,
                different,
                ..Row::default()
            }],
            ..Report::default()
        };
        write_json(&report("good", 0), &path("good.json")).unwrap();
        write_json(&report("bad", 2), &path("bad.json")).unwrap();
        let args = |names: &[&str]| ReportArgs {
            json: names.iter().map(|name| path(name)).collect(),
            bench: None,
            html: Some(path("page.html")),
            out: Some(path("all.json")),
            quiet: true,
        };
        assert!(run(&args(&["good.json"])).unwrap());
        assert!(!run(&args(&["good.json", "bad.json"])).unwrap());
        let all = Report::from_json(&read_json(&path("all.json")).unwrap()).unwrap();
        assert_eq!((all.rows.len(), all.unexplained()), (2, 2));
        assert!(fs::read_to_string(path("page.html")).unwrap().contains("2 unexplained"));
        assert!(run(&args(&["page.html"])).is_err());
    }
}
