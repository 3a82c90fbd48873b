//! The table of options: every key of Java's server, whether it has an effect here or not.
//!
//! The rows are in `options.tsv` beside this file, one option a line, in the order of the fields of
//! [`ConfigOption`]. A key is what may stand in `zoo.cfg`; `<n>`, `N` and `*` stand for the rest of
//! a name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use log::Level;

use super::system_properties::SystemProperties;

/// What setting an option does in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// What it does in Java.
    InEffect,
    /// Accepted, checked if Java does, and not needed; the reason.
    NoEffect(&'static str),
    /// Accepted and named in the log: the part it belongs to comes later.
    NotYet,
    /// Not an option of 3.9.4, where it is silently accepted.
    OtherVersion,
    /// Read by clients.
    Client,
    /// Read by the scripts, from the environment.
    Scripts,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOption {
    /// Name in `zoo.cfg`, or of the environment variable.
    pub key: &'static str,
    /// The system property that is read; `None` if only the file can set it.
    pub property: Option<&'static str>,
    /// What values look like. `boolean` must be true or false; a `lenient boolean` is false unless
    /// it is true; `int` and `long` properties may be hexadecimal and fall back to the default.
    pub kind: &'static str,
    /// The default, in words where it depends on others.
    pub default: &'static str,
    /// `both`, `ensemble`, `client`, `scripts` or `test`.
    pub scope: &'static str,
    /// What setting it does here.
    pub status: Status,
    /// Java's class that reads it.
    pub source: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// All options, in the order of their documentation.
pub static OPTIONS: LazyLock<Vec<ConfigOption>> =
    LazyLock::new(|| include_str!("options.tsv").lines().skip(1).filter_map(parse_row).collect());

fn parse_row(row: &'static str) -> Option<ConfigOption> {
    let mut cells = row.split('\t');
    Some(ConfigOption {
        key: cells.next()?,
        property: cells.next().map(|name| (name != "-").then_some(name))?,
        kind: cells.next()?,
        default: cells.next()?,
        scope: cells.next()?,
        status: match cells.next()? {
            "in effect" => Status::InEffect,
            "not yet" => Status::NotYet,
            "other version" => Status::OtherVersion,
            "client" => Status::Client,
            "scripts" => Status::Scripts,
            text => Status::NoEffect(text.strip_prefix("no effect: ")?),
        },
        source: cells.next()?,
        meaning: cells.next()?,
    })
}

impl ConfigOption {
    /// Whether a key of `zoo.cfg` is this option.
    fn is_key(&self, key: &str) -> bool {
        if self.status == Status::Scripts || self.status == Status::Client {
            return false;
        }
        // Exact names come before patterns in the table.
        let prefix = self.key.strip_suffix(".N").map(|prefix| (prefix, true));
        let prefix = prefix.or_else(|| self.key.strip_suffix(".<n>").map(|prefix| (prefix, true)));
        match prefix.or_else(|| self.key.strip_suffix(".*").map(|prefix| (prefix, false))) {
            Some((prefix, _)) => key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
            None => self.key == key,
        }
    }

    /// Whether the file can set it: it is parsed there, or read under the prefix the rest of the
    /// file is given.
    fn is_settable_in_file(&self) -> bool {
        self.property.is_none_or(|name| name.starts_with("zookeeper."))
    }
}

/// The option a key of `zoo.cfg` sets.
#[must_use]
pub fn find(key: &str) -> Option<&'static ConfigOption> {
    let patterns = OPTIONS.iter().filter(|option| option.is_key(key));
    patterns.max_by_key(|option| option.key == key)
}

/// What an operator should know about the keys of a file and the system properties that were given.
pub(crate) fn notes(
    file: &BTreeMap<String, String>,
    given: &SystemProperties,
    is_ensemble: bool,
) -> Vec<(Level, String)> {
    let mut not_yet = Vec::new();
    let mut ensemble = Vec::new();
    let mut without_effect = Vec::new();
    let mut flag_only = Vec::new();
    let mut unknown = Vec::new();
    let from_flags = OPTIONS.iter().filter_map(|option| {
        let value = given.get(option.property?)?;
        Some((option.property.unwrap_or(option.key), value, Some(option), true))
    });
    let from_file =
        file.iter().map(|(key, value)| (key.as_str(), value.as_str(), find(key), false));
    for (name, value, option, is_flag) in from_file.chain(from_flags) {
        let Some(option) = option else {
            unknown.push(name);
            continue;
        };
        if !is_flag && !option.is_settable_in_file() {
            flag_only.push(format!("{name} (set -D{})", option.property.unwrap_or(name)));
            continue;
        }
        match option.status {
            // To switch off what is not there is no news.
            Status::NotYet if value.eq_ignore_ascii_case("false") => {}
            Status::NotYet | Status::InEffect if option.scope == "ensemble" && !is_ensemble => {
                // These are read to find out what kind of server this is.
                if !matches!(name, "dynamicConfigFile" | "standaloneEnabled" | "reconfigEnabled") {
                    ensemble.push(name);
                }
            }
            Status::NotYet => not_yet.push(name),
            Status::NoEffect(_) => without_effect.push(name),
            Status::OtherVersion => unknown.push(name),
            // The only option of which some values are in effect and others not.
            Status::InEffect if value.ends_with(".PrometheusMetricsProvider") => {
                not_yet.push("metricsProvider.className=…PrometheusMetricsProvider");
            }
            Status::InEffect | Status::Client | Status::Scripts => {}
        }
    }
    let line = |level, text, names: &[&str]| {
        (!names.is_empty()).then(|| (level, format!("{text}: {}", names.join(", "))))
    };
    let flag_only: Vec<_> = flag_only.iter().map(String::as_str).collect();
    [
        line(Level::Warn, "Settings that are not yet in effect in this version", &not_yet),
        line(Level::Info, "Settings of ensembles, without effect in standalone mode", &ensemble),
        line(Level::Info, "Settings accepted but not needed by this server", &without_effect),
        line(Level::Warn, "Settings without effect in a configuration file", &flag_only),
        line(Level::Info, "Unknown settings, ignored", &unknown),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The table as Markdown, the body of `docs/CONFIGURATION.md`.
#[must_use]
pub fn options_markdown() -> String {
    let mut text = String::from(
        "| Key | System property | Type | Default | For | Status | Meaning |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for option in OPTIONS.iter() {
        let status = match option.status {
            Status::InEffect => "in effect".to_owned(),
            Status::NoEffect(reason) => format!("no effect: {reason}"),
            Status::NotYet => "not yet in effect".to_owned(),
            Status::OtherVersion => "not in 3.9.4".to_owned(),
            Status::Client => "clients".to_owned(),
            Status::Scripts => "scripts".to_owned(),
        };
        let property = option.property.map_or("–".to_owned(), |name| format!("`{name}`"));
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            option.key,
            property,
            option.kind,
            cell(option.default),
            option.scope,
            status,
            cell(option.meaning)
        );
    }
    text
}

/// A text inside a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}
