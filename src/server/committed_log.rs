//! The last committed transactions, from which learners that are a little behind are brought up to
//! date (`ZKDatabase.committedLog`).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::proto::{TxnLogEntry, Zxid};

/// Java's `commitLogCount` by default.
pub const DEFAULT_COMMIT_LOG_COUNT: usize = 500;

/// The entries in the order of their zxids.
#[derive(Debug, Default)]
pub struct CommittedLog {
    entries: VecDeque<Arc<TxnLogEntry>>,
    limit: usize,
}

impl CommittedLog {
    /// Keeps up to `limit` entries; with 0 none.
    #[must_use]
    pub fn new(limit: usize) -> CommittedLog {
        CommittedLog { entries: VecDeque::new(), limit }
    }

    /// Takes in the next one and lets the oldest go (`addCommittedProposal`).
    pub fn add(&mut self, entry: Arc<TxnLogEntry>) {
        if self.limit == 0 {
            return;
        }
        if self.entries.len() >= self.limit {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The oldest (`getminCommittedLog`); 0 when there is none.
    #[must_use]
    pub fn min_zxid(&self) -> Zxid {
        self.entries.front().map_or(Zxid(0), |entry| entry.zxid())
    }

    /// The newest (`getmaxCommittedLog`); 0 when there is none.
    #[must_use]
    pub fn max_zxid(&self) -> Zxid {
        self.entries.back().map_or(Zxid(0), |entry| entry.zxid())
    }

    /// All of them, in order.
    #[must_use]
    pub fn proposals(&self) -> &VecDeque<Arc<TxnLogEntry>> {
        &self.entries
    }

    /// Forgets everything: the tree was replaced.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
