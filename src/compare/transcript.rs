//! What one server answered to a script.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::render::Names;
use crate::client::Reply;

/// Everything that came, in the order in which it was read.
#[derive(Debug, Default)]
pub struct Transcript {
    /// What came.
    pub entries: Vec<Entry>,
    /// What is needed to mask and to show the entries.
    pub names: Names,
    /// The number of requests, connects and words that were sent.
    pub operations: usize,
    /// Transactions whose replies were seen, other than closeSession: their events come in an order.
    /// (The ephemerals of a closed session go in the order of a hash set in Java.)
    pub ordered: HashSet<i64>,
    /// The operation sent by each step.
    pub ops: HashMap<usize, i32>,
}

/// One thing that came.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The step during which it was read, counted from 0.
    pub step: usize,
    /// The session.
    pub who: Arc<str>,
    /// The step whose request it answers; that in which it was read for everything else.
    pub answers: usize,
    /// The operation that it answers; 0 for everything else.
    pub op: i32,
    /// What it is.
    pub seen: Seen,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The answer to a connect request, without its length.
    Connected(Vec<u8>),
    /// A reply or an event.
    Packet(Reply),
    /// Any frame, not looked into.
    Frame(Vec<u8>),
    /// The answer to a four-letter word.
    Answer {
        /// The word.
        word: String,
        /// All of the answer.
        text: String,
    },
    /// The server ended the connection.
    Closed,
    /// Nothing, although it was waited for.
    Nothing,
    /// The connection had ended before; nothing was sent.
    Gone,
    /// No connection, or nonsense.
    Broken(String),
}

impl Seen {
    /// A watch event.
    pub fn is_event(&self) -> bool {
        matches!(self, Seen::Packet(packet) if packet.header.xid == -1)
    }
}

impl Transcript {
    /// Each entry as a line: `a< xid=1 zxid=z+1 OK "/t/n"`.
    pub fn lines(&self) -> Vec<String> {
        self.entries.iter().map(|entry| self.line(entry)).collect()
    }

    /// Notes why there is no more.
    pub fn add_end(&mut self, step: usize, why: &str) {
        let seen = Seen::Broken(why.to_owned());
        self.entries.push(Entry { step, who: Arc::from("tree"), answers: step, op: 0, seen });
    }

    /// The requests and what came, in the order in which it happened: each step as `a> REQUEST`, each
    /// entry as in [`Transcript::lines`].
    pub fn story(&self, script: &super::script::Script) -> Vec<String> {
        let mut lines = Vec::new();
        let mut entries = self.entries.iter().peekable();
        for (n, step) in script.steps.iter().enumerate() {
            lines.push(format!("{}> {}", step.who, step.action));
            while let Some(entry) = entries.next_if(|entry| entry.step == n) {
                lines.push(self.line(entry));
            }
        }
        lines.extend(entries.map(|entry| self.line(entry)));
        lines
    }

    /// The line of one of its entries.
    pub fn line(&self, entry: &Entry) -> String {
        format!("{}< {}", entry.who, self.names.seen(entry.op, &entry.seen))
    }
}
