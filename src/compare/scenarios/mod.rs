//! The scenarios by name: texts in this folder, and those that are made by a rule ([`malformed`],
//! [`words`]).
//!
//! A file is a group. `== NAME on FLAVOUR` begins a scenario of it; the lines before the first are
//! about the group.

pub mod malformed;
pub mod words;

use super::flavor::Flavor;
use super::script::{Script, ScriptError};

/// A script with a name.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// `watches`.
    pub group: &'static str,
    /// `standard_watches_fire_once`.
    pub name: String,
    /// What its servers are configured with.
    pub flavor: &'static Flavor,
    /// Its steps.
    pub script: Script,
}

impl Scenario {
    /// `watches/standard_watches_fire_once`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// True when `name` is its group or its whole or short name.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.group || name == self.name || name == self.path()
    }
}

/// The groups and their texts.
const TEXTS: &[(&str, &str)] = &[
    ("nodes", include_str!("nodes.txt")),
    ("multi", include_str!("multi.txt")),
    ("watches", include_str!("watches.txt")),
    ("sessions", include_str!("sessions.txt")),
    ("acls", include_str!("acls.txt")),
    ("quotas", include_str!("quotas.txt")),
    ("reaper", include_str!("reaper.txt")),
    ("settings", include_str!("settings.txt")),
    ("hostile", include_str!("hostile.txt")),
    ("pipelines", include_str!("pipelines.txt")),
    ("poison", include_str!("poison.txt")),
];

/// All of them, group by group.
pub fn all() -> Result<Vec<Scenario>, ScriptError> {
    let mut scenarios = Vec::new();
    for (group, text) in TEXTS {
        scenarios.extend(read(group, text)?);
    }
    scenarios.extend(malformed::all());
    scenarios.extend(words::all());
    Ok(scenarios)
}

/// What a group is about, in one sentence.
pub fn about(group: &str) -> &'static str {
    match TEXTS.iter().find(|(name, _)| *name == group) {
        Some((_, text)) => {
            text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default()
        }
        None if group == "malformed" => malformed::ABOUT,
        None if group == "words" => words::ABOUT,
        None => "",
    }
}

/// The scenarios of a text.
pub fn read(group: &'static str, text: &str) -> Result<Vec<Scenario>, ScriptError> {
    let mut scenarios = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let heads: Vec<usize> =
        (0..lines.len()).filter(|n| lines.get(*n).is_some_and(|l| l.starts_with("== "))).collect();
    for (at, &head) in heads.iter().enumerate() {
        let end = heads.get(at + 1).copied().unwrap_or(lines.len());
        let line = lines.get(head).copied().unwrap_or_default();
        let bad =
            |why: &str| ScriptError { line: head + 1, why: format!("{group}: {why}: {line}") };
        let (name, flavor) = line
            .trim_start_matches("== ")
            .split_once(" on ")
            .ok_or_else(|| bad("`== NAME on FLAVOUR` expected"))?;
        let flavor = Flavor::named(flavor).ok_or_else(|| bad("unknown flavour"))?;
        let body = lines.get(head + 1..end).unwrap_or_default().join("\n");
        let script: Script = body.parse().map_err(|e: ScriptError| ScriptError {
            line: e.line + head + 1,
            why: format!("{group}: {}", e.why),
        })?;
        scenarios.push(Scenario { group, name: name.to_owned(), flavor, script });
    }
    Ok(scenarios)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scenario_is_read_and_has_a_name_of_its_own() {
        let all = all().unwrap();
        let names: HashSet<&str> = all.iter().map(|scenario| &*scenario.name).collect();
        assert_eq!(names.len(), all.len());
        for scenario in &all {
            assert!(!about(scenario.group).is_empty(), "{}", scenario.group);
            assert!(!scenario.script.steps.is_empty(), "{}", scenario.path());
            let text = scenario.script.to_string();
            assert_eq!(text.parse::<Script>().unwrap(), scenario.script, "{}", scenario.path());
        }
    }
}
