//! The story of a run as text, and its fingerprint: two runs of one seed must have the same.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

/// Lines of `time node what`. Without `is_kept` only the fingerprint and the last lines remain.
pub struct Trace {
    is_printed: bool,
    lines: u64,
    hasher: DefaultHasher,
    scratch: String,
    /// A ring of the last lines, for the report of a violation.
    tail: Vec<String>,
}

/// So many lines a violation is reported with.
const TAIL_LINES: usize = 60;

impl Trace {
    pub fn new(is_printed: bool) -> Trace {
        Trace {
            is_printed,
            lines: 0,
            hasher: DefaultHasher::new(),
            scratch: String::new(),
            tail: Vec::new(),
        }
    }

    /// One line. `who` is `n2` for a server, `c1` for a client, `--` for the world.
    pub fn line(&mut self, now: u64, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.scratch.clear();
        // Writing to a string does not fail.
        let _ = write!(self.scratch, "{:>7} {who} {what}", Millis(now));
        self.hasher.write(self.scratch.as_bytes());
        if self.is_printed {
            println!("{}", self.scratch);
        }
        let slot = self.lines as usize % TAIL_LINES;
        match self.tail.get_mut(slot) {
            Some(line) => line.clone_from(&self.scratch),
            None => self.tail.push(self.scratch.clone()),
        }
        self.lines += 1;
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }

    pub fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }

    /// The last lines, oldest first.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        let next = self.lines as usize % TAIL_LINES.max(1);
        let (newer, older) = self.tail.split_at(next.min(self.tail.len()));
        older.iter().chain(newer).map(String::as_str)
    }
}

struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:03}", self.0 / 1000, self.0 % 1000))
    }
}
