//! The last committed transactions in memory: `ZKDatabase.committedLog`. Learners that missed only
//! these are brought up to date without a look at the disk.
//!
//! Deliberate differences: the log never has a hole. Java ends with an exception when a transaction
//! is missing within an epoch, and does not look at the first one of an epoch; here whatever does
//! not follow its predecessor begins the log anew, so that no DIFF with a hole can be made of it
//! (ZOOKEEPER-4925).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::proto::{TxnLogEntry, Zxid};

/// Java's `commitLogCount`, also the least.
pub const DEFAULT_COMMIT_LOG_COUNT: usize = 500;

/// Contiguous committed transactions, oldest first.
#[derive(Debug, Default)]
pub struct CommittedLog {
    /// Invariant: each follows its predecessor: the next zxid, or the first of a later epoch.
    entries: VecDeque<Arc<TxnLogEntry>>,
    capacity: usize,
}

impl CommittedLog {
    /// Keeps `capacity` transactions (`commitLogCount`, at least 500); none with 0, where there are
    /// no learners.
    #[must_use]
    pub fn new(capacity: usize) -> CommittedLog {
        let capacity = if capacity == 0 { 0 } else { capacity.max(DEFAULT_COMMIT_LOG_COUNT) };
        CommittedLog { entries: VecDeque::new(), capacity }
    }

    /// Adds what was committed and applied (`addCommittedProposal`). Transactions that are not later
    /// than the last one are ignored, as in Java; one that does not follow it begins the log anew.
    pub fn add(&mut self, entry: Arc<TxnLogEntry>) {
        if self.capacity == 0 {
            return;
        }
        if let Some(last) = self.entries.back().map(|entry| entry.zxid()) {
            if entry.zxid() <= last {
                return;
            }
            if !follows(last, entry.zxid()) {
                log::warn!(
                    "Committed proposal cached out of order: {} is not the next proposal of {last}",
                    entry.zxid()
                );
                self.entries.clear();
            }
        }
        self.entries.push_back(entry);
        if self.entries.len() > self.capacity {
            self.entries.pop_front();
        }
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

    /// All of them, oldest first.
    #[must_use]
    pub fn proposals(&self) -> &VecDeque<Arc<TxnLogEntry>> {
        &self.entries
    }

    /// Forgets everything: the database was replaced.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Whether nothing can stand between the two: the next zxid, or the first of a later epoch.
fn follows(previous: Zxid, next: Zxid) -> bool {
    next == previous.next() || (next.epoch() > previous.epoch() && next.counter() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::txn::ErrorTxn;
    use crate::proto::{OpCode, SessionId, Txn, TxnHeader};

    fn entry(zxid: i64) -> Arc<TxnLogEntry> {
        let header = TxnHeader {
            client_id: SessionId(0),
            cxid: 0,
            zxid: Zxid(zxid),
            time: 0,
            txn_type: OpCode::Error.as_i32(),
        };
        Arc::new(TxnLogEntry::new(header, Txn::Error(ErrorTxn { err: 0 }), None))
    }

    fn bounds(log: &CommittedLog) -> (i64, i64, usize) {
        (log.min_zxid().0, log.max_zxid().0, log.proposals().len())
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut log = CommittedLog::new(3);
        assert_eq!(bounds(&log), (0, 0, 0));
        for zxid in 1..=501 {
            log.add(entry(zxid));
        }
        assert_eq!(bounds(&log), (2, 501, 500), "Java's least count is 500");
        log.clear();
        assert_eq!(bounds(&log), (0, 0, 0));
    }

    #[test]
    fn old_ones_are_ignored_and_a_hole_begins_anew() {
        let mut log = CommittedLog::new(500);
        log.add(entry(0x5_0000_0001));
        log.add(entry(0x5_0000_0002));
        log.add(entry(0x5_0000_0001));
        assert_eq!(bounds(&log), (0x5_0000_0001, 0x5_0000_0002, 2));
        log.add(entry(0x7_0000_0001));
        assert_eq!(bounds(&log).2, 3);
        log.add(entry(0x7_0000_0003));
        assert_eq!(bounds(&log), (0x7_0000_0003, 0x7_0000_0003, 1));
        log.add(entry(0x8_0000_0002));
        assert_eq!(bounds(&log), (0x8_0000_0002, 0x8_0000_0002, 1));
    }
}
