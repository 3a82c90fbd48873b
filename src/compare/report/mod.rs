//! What a comparison has found, as data ([`Report`], also as JSON), as a table for the terminal
//! ([`table()`]) and as one HTML page ([`page()`]). No Java class.
//!
//! Whatever compares (scenarios, random sequences, data directories, replays) adds its [`Row`]s and
//! [`Difference`]s to one report. A difference is *deliberate* when it names an entry of the list of
//! deliberate differences; any other one is unexplained and makes the comparison fail.

mod charts;
mod html;
mod json;
mod table;

pub use charts::{Figure, figures};
pub use html::page;
pub use table::table;

use super::data_dirs::CASES;
use super::deliberate::TABLE;

/// One of the two servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SideInfo {
    /// `java` or `zabkeeper`, or what the command line called it.
    pub name: String,
    /// The version as the server tells it (`srvr`); empty when unknown.
    pub version: String,
    /// The address, or how it was started.
    pub how: String,
}

/// What was compared under one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The group that it is shown in: `scenario`, `random`, `data directory`, `replay`.
    pub kind: String,
    /// The name, as `--scenario` or `--case` takes it.
    pub name: String,
    /// What it is about, in one sentence; may be empty.
    pub about: String,
    /// Operations sent to each side, or nodes and sessions compared.
    pub operations: u64,
    /// Those with the same outcome on both sides.
    pub same: u64,
    /// Those that differ without an explanation.
    pub different: u64,
    /// Those that differ on purpose.
    pub deliberate: u64,
    /// Why it was not run; empty when it was.
    pub skipped: String,
    /// Time it took, in ms.
    pub took_ms: u64,
}

/// One thing that was not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The kind and the name of the [`Row`] it belongs to.
    pub kind: String,
    /// See `kind`.
    pub name: String,
    /// What was asked: the operation, decoded.
    pub operation: String,
    /// What the left side answered, decoded; may have several lines.
    pub left: String,
    /// What the right side answered.
    pub right: String,
    /// The entry of the list of deliberate differences that explains it; empty when nothing does.
    pub deliberate: String,
    /// The operations that lead to it, one a line, as few as were found.
    pub sequence: Vec<String>,
    /// A command line that shows it again.
    pub replay: String,
}

/// An entry of the list of deliberate differences, and how often it was met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deliberate {
    /// The name by which differences refer to it.
    pub id: String,
    /// What differs, and why.
    pub reason: String,
    /// Where it is documented.
    pub reference: String,
    /// The scenario that shows it; empty when no client can see it.
    pub scenario: String,
    /// How often it was met in this comparison.
    pub seen: u64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The reference.
    pub left: SideInfo,
    /// The server that is compared with it.
    pub right: SideInfo,
    /// When it was begun, as ISO 8601.
    pub started: String,
    /// How long it took, in ms.
    pub took_ms: u64,
    /// What was run, in the order in which it is shown.
    pub rows: Vec<Row>,
    /// What differs, deliberate or not.
    pub differences: Vec<Difference>,
    /// The whole list of deliberate differences.
    pub deliberate: Vec<Deliberate>,
}

impl Report {
    /// Operations compared.
    pub fn operations(&self) -> u64 {
        self.rows.iter().map(|row| row.operations).sum()
    }

    /// Differences that nothing explains: those of the rows, for a long list may be cut.
    pub fn unexplained(&self) -> u64 {
        self.rows.iter().map(|row| row.different).sum()
    }

    /// Differences on purpose.
    pub fn on_purpose(&self) -> u64 {
        self.rows.iter().map(|row| row.deliberate).sum()
    }

    /// Operations of the random sequences per second; nothing else is bound by the servers alone.
    pub fn random_rate(&self) -> Option<u64> {
        let random = || self.rows.iter().filter(|row| row.kind == "random");
        let took_ms: u64 = random().map(|row| row.took_ms).sum();
        let operations: u64 = random().map(|row| row.operations).sum();
        (took_ms > 0).then(|| operations.saturating_mul(1000) / took_ms)
    }

    /// True when something was compared and nothing differs without an explanation.
    pub fn is_equal(&self) -> bool {
        self.unexplained() == 0 && self.operations() > 0
    }

    /// Takes over the list of deliberate differences, and counts how often each was met in
    /// `differences`.
    pub fn list_deliberate(&mut self) {
        let met = |id: &str| self.differences.iter().filter(|one| one.deliberate == id).count();
        let list = TABLE.iter().map(|entry| Deliberate {
            id: entry.id.to_owned(),
            reason: entry.reason.to_owned(),
            reference: entry.reference.to_owned(),
            scenario: shown_by(entry),
            seen: met(entry.id) as u64,
        });
        self.deliberate = list.collect();
    }

    /// Adds what another comparison of the same two sides has found. The list of deliberate
    /// differences is the same everywhere; how often they were met is added up.
    pub fn merge(&mut self, other: Report) {
        if self.rows.is_empty() && self.left == SideInfo::default() {
            self.left = other.left;
            self.right = other.right;
            self.started = other.started;
        }
        self.took_ms = self.took_ms.saturating_add(other.took_ms);
        self.rows.extend(other.rows);
        self.differences.extend(other.differences);
        for entry in other.deliberate {
            match self.deliberate.iter_mut().find(|mine| mine.id == entry.id) {
                Some(mine) => mine.seen = mine.seen.saturating_add(entry.seen),
                None => self.deliberate.push(entry),
            }
        }
    }
}

/// The scenario, or the case of the data directories, that shows a deliberate difference; empty when
/// nothing does.
pub fn shown_by(entry: &super::deliberate::Deliberate) -> String {
    if !entry.scenario.is_empty() {
        return entry.scenario.to_owned();
    }
    let case = CASES.iter().find(|case| case.refused_by_java == Some(entry.id));
    case.map_or(String::new(), |case| format!("data-dirs --case {}", case.name))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with something of everything, and text that must be escaped.
    pub(crate) fn sample() -> Report {
        Report {
            left: SideInfo {
                name: "java".into(),
                version: "3.9.4-<&>".into(),
                how: "127.0.0.1:1".into(),
            },
            right: SideInfo {
                name: "zabkeeper".into(),
                version: "0.1.0".into(),
                how: String::new(),
            },
            started: "2026-01-02T03:04:05".into(),
            took_ms: 2500,
            rows: vec![
                Row {
                    kind: "scenario".into(),
                    name: "create".into(),
                    about: "Every flag & error".into(),
                    operations: 1200,
                    same: 1198,
                    different: 1,
                    deliberate: 1,
                    took_ms: 40,
                    ..Row::default()
                },
                Row {
                    kind: "data directory".into(),
                    name: "snappy".into(),
                    skipped: "no <codec>".into(),
                    ..Row::default()
                },
            ],
            differences: vec![
                Difference {
                    kind: "scenario".into(),
                    name: "create".into(),
                    operation: "create \"/<b>\"".into(),
                    left: "err NONODE (-101)\nzxid 0x2".into(),
                    right: "err OK (0)\nzxid 0x2".into(),
                    sequence: vec!["open a".into(), "create /<b>".into()],
                    replay: "zabkeeper compare run --script '<x>'".into(),
                    ..Difference::default()
                },
                Difference {
                    kind: "scenario".into(),
                    name: "create".into(),
                    operation: "createTTL".into(),
                    left: "closed".into(),
                    right: "BADARGUMENTS".into(),
                    deliberate: "create-ttl-flags".into(),
                    ..Difference::default()
                },
            ],
            deliberate: vec![
                Deliberate {
                    id: "create-ttl-flags".into(),
                    reason: "one request must not end a server & its log".into(),
                    reference: "known-bugs <3>".into(),
                    scenario: "create".into(),
                    seen: 1,
                },
                Deliberate { id: "fsync-directory".into(), ..Deliberate::default() },
            ],
        }
    }

    #[test]
    fn a_report_adds_up() {
        let report = sample();
        assert_eq!((report.operations(), report.unexplained(), report.on_purpose()), (1200, 1, 1));
        assert!(!report.is_equal());
        assert!(!Report::default().is_equal(), "nothing compared is not equal");
    }

    #[test]
    fn merging_adds_rows_and_counts_deliberate_differences_once() {
        let mut all = Report::default();
        all.merge(sample());
        all.merge(sample());
        assert_eq!((all.rows.len(), all.deliberate.len(), all.took_ms), (4, 2, 5000));
        assert_eq!(all.deliberate[0].seen, 2);
        assert_eq!(all.left, sample().left);
    }
}
