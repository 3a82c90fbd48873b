//! Where zabkeeper differs from Java on purpose: each with its reason, and a scenario that shows it.
//! Compare reports such a difference as deliberate, and never hides it.

use std::fmt::Write;

use super::script::Script;
use super::transcript::Entry;

/// A difference that is meant to be.
#[derive(Debug)]
pub struct Deliberate {
    /// A short name.
    pub id: &'static str,
    /// What Java does, what zabkeeper does, and why.
    pub reason: &'static str,
    /// Where it is documented.
    pub reference: &'static str,
    /// The scenario that shows it.
    pub scenario: &'static str,
    /// Zxids behind it differ by one.
    pub skews_zxids: bool,
    /// Recognises it: the step, what Java sent, what zabkeeper sent.
    matches: fn(&Script, usize, &[&Entry], &[&Entry]) -> bool,
}

/// All of them.
pub const TABLE: &[Deliberate] = &[];

/// The difference that explains what came in a step, whichever side is Java.
pub fn explain(
    script: &Script,
    step: usize,
    left: &[&Entry],
    right: &[&Entry],
) -> Option<&'static Deliberate> {
    TABLE.iter().find(|one| {
        (one.matches)(script, step, left, right) || (one.matches)(script, step, right, left)
    })
}

/// The table as text.
pub fn text() -> String {
    let mut text = String::new();
    for one in TABLE {
        let _ = writeln!(text, "{}", one.id);
        for (what, words) in
            [("why", one.reason), ("see", one.reference), ("scenario", one.scenario)]
        {
            let _ = writeln!(text, "  {what:10} {words}");
        }
    }
    text
}
