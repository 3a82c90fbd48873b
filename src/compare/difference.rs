//! Where two transcripts of one script differ.

use std::collections::BTreeSet;

use super::deliberate::{self, Deliberate, Said};
use super::mask;
use super::script::Script;
use super::transcript::{Entry, Seen, Transcript};

/// One place where the sides differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The step whose request was answered differently.
    pub step: usize,
    /// That step as text.
    pub request: String,
    /// What the left side sent, as lines; empty for nothing.
    pub left: Vec<String>,
    /// What the right side sent.
    pub right: Vec<String>,
    /// The entry of the table of deliberate differences that explains it.
    pub deliberate: Option<&'static Deliberate>,
}

/// A comparison's result.
#[derive(Debug, Clone, Default)]
pub struct Compared {
    /// Steps that were answered.
    pub operations: usize,
    /// All differences, in order.
    pub differences: Vec<Difference>,
}

impl Compared {
    /// The first that nothing explains.
    pub fn unexplained(&self) -> Option<&Difference> {
        self.differences.iter().find(|difference| difference.deliberate.is_none())
    }
}

/// What came during one step, on one side.
struct During<'a> {
    transcript: &'a Transcript,
    entries: Vec<&'a Entry>,
}

impl<'a> During<'a> {
    fn said(&'a self) -> Said<'a> {
        Said { transcript: self.transcript, entries: &self.entries }
    }

    fn masked(&self) -> Vec<(String, Vec<u8>)> {
        let masked = |entry: &&Entry| (entry.who.to_string(), mask::entry(self.transcript, entry));
        self.entries.iter().map(masked).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.entries.iter().map(|entry| self.transcript.line(entry)).collect()
    }
}

/// Compares step by step. `left` and `right` are changed in one thing only: behind a deliberate
/// difference that costs one side a zxid, zxids are counted anew.
pub fn compare(script: &Script, left: &mut Transcript, right: &mut Transcript) -> Compared {
    let mut compared = Compared { operations: left.operations, differences: Vec::new() };
    let steps: BTreeSet<usize> =
        left.entries.iter().chain(&right.entries).map(|entry| entry.step).collect();
    for step in steps {
        let (one, other) = (during(left, step), during(right, step));
        if one.masked() == other.masked() {
            continue;
        }
        let request = script.steps.get(step).map_or_else(
            || "(the end: what is still on its way, and closeSession)".to_owned(),
            ToString::to_string,
        );
        let (one_lines, other_lines) = differing_lines(&one, &other);
        let deliberate = deliberate::explain(script, step, one.said(), other.said());
        let skew = deliberate
            .filter(|found| found.skews_zxids)
            .and_then(|_| skew(&one.entries, &other.entries, left, right));
        compared.differences.push(Difference {
            step,
            request,
            left: one_lines,
            right: other_lines,
            deliberate,
        });
        // The side that is ahead is taken back.
        match skew {
            Some(Skew { left: true, from, by }) => left.names.skews.push((from, by)),
            Some(Skew { left: false, from, by }) => right.names.skews.push((from, by)),
            None => {}
        }
    }
    compared
}

/// No more lines are shown as they are; of more only those that differ.
const LINES_MAX: usize = 6;

/// The lines of both sides, without those in the same place that are the same when there are many.
fn differing_lines(one: &During<'_>, other: &During<'_>) -> (Vec<String>, Vec<String>) {
    let (mut left, mut right) = (one.lines(), other.lines());
    if left.len() == right.len() && left.len() > LINES_MAX {
        let differs: Vec<bool> =
            one.masked().iter().zip(&other.masked()).map(|(a, b)| a != b).collect();
        let mut keep = differs.iter();
        left.retain(|_| keep.next().copied().unwrap_or(true));
        let mut keep = differs.iter();
        right.retain(|_| keep.next().copied().unwrap_or(true));
    }
    (left, right)
}

fn during(transcript: &Transcript, step: usize) -> During<'_> {
    let entries = mask::in_order(transcript, step);
    During { transcript, entries }
}

/// From which zxid on one side is how far ahead.
struct Skew {
    left: bool,
    from: i64,
    by: i64,
}

/// As seen in the first reply that differs.
fn skew(
    left_entries: &[&Entry],
    right_entries: &[&Entry],
    left: &Transcript,
    right: &Transcript,
) -> Option<Skew> {
    left_entries.iter().zip(right_entries).find_map(|(one, other)| {
        let (Seen::Packet(one), Seen::Packet(other)) = (&one.seen, &other.seen) else {
            return None;
        };
        let by = right.names.offset(other.header.zxid)? - left.names.offset(one.header.zxid)?;
        match by {
            0 => None,
            1.. => Some(Skew { left: false, from: other.header.zxid, by }),
            _ => Some(Skew { left: true, from: one.header.zxid, by: -by }),
        }
    })
}
