//! How a learner is brought up to date: `LearnerHandler.syncFollower` and
//! `queueCommittedProposals`.
//!
//! | the learner's last zxid | plan |
//! | --- | --- |
//! | is the leader's last processed | empty DIFF |
//! | is the last of the history that the leader's epoch began with | DIFF |
//! | beyond everything committed, in the same epoch | TRUNC to the last committed |
//! | in the committed log | DIFF |
//! | begins an epoch within it | DIFF from the first transaction behind it |
//! | unknown within it, successor in the same epoch | TRUNC to the predecessor, then the rest |
//! | older | the transaction log, if that joins the committed log without a hole |
//! | anything else | SNAP |
//!
//! Deliberate differences:
//! - What is committed but not yet in the committed log (`toBeApplied`) counts as part of it. Java
//!   makes a learner cut off a transaction that is committed, to send it again: for a moment a copy
//!   fewer exists than was promised.
//! - A learner that ends where the leader's epoch began needs no snapshot because the leader, after
//!   a start from a snapshot alone, has no older transaction in memory.
//! - TRUNC is sent only to a transaction of the learner's own epoch: of another epoch's history the
//!   learner may have something that never was in the leader's. Java does so beyond the committed
//!   log.
//! - A hole in what would be sent means SNAP (ZOOKEEPER-4925, ZOOKEEPER-2418). So does one in the log
//!   that the zxids do not show, because a new epoch begins behind it: a snapshot of the time
//!   between does. Whoever took over a leader's snapshot has it, Java with the older logs beside it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::proto::{TxnLogEntry, Zxid};

/// The leader's history, all of it seen at one moment.
#[derive(Clone, Copy)]
pub struct LeaderHistory<'a> {
    /// The last transaction of the history that the leader began its epoch with.
    pub base: Zxid,
    /// The last transaction applied to the tree; the epoch with counter 0 at the epoch's start.
    pub last_processed: Zxid,
    /// The committed log.
    pub committed: &'a VecDeque<Arc<TxnLogEntry>>,
    /// Committed by a quorum, perhaps not in the committed log yet.
    pub to_be_applied: &'a VecDeque<Arc<TxnLogEntry>>,
}

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncOptions {
    /// `zookeeper.forceSnapshotSync`.
    pub force_snapshot: bool,
    /// Not turned off by a negative `snapshotSizeFactor`.
    pub is_txn_log_sync_enabled: bool,
}

/// The first packet of a synchronisation that is not a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStart {
    /// DIFF; the zxid is the last that will be sent, or the learner's own.
    Diff(Zxid),
    /// TRUNC to this zxid.
    Trunc(Zxid),
}

/// One packet of a synchronisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncPacket {
    /// DIFF or TRUNC.
    Start(SyncStart),
    /// PROPOSAL.
    Proposal(Arc<TxnLogEntry>),
    /// COMMIT.
    Commit(Zxid),
}

/// The packets of a synchronisation from memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncPackets {
    /// The first.
    pub start: SyncStart,
    /// PROPOSAL and COMMIT of each follow.
    pub entries: Vec<Arc<TxnLogEntry>>,
    /// What the learner has afterwards: forwarding starts behind it.
    pub last: Zxid,
}

impl SyncPackets {
    /// All of them in order.
    pub fn packets(&self) -> impl Iterator<Item = SyncPacket> + '_ {
        std::iter::once(SyncPacket::Start(self.start)).chain(self.entries.iter().flat_map(
            |entry| [SyncPacket::Proposal(Arc::clone(entry)), SyncPacket::Commit(entry.zxid())],
        ))
    }
}

/// Why only a snapshot will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapReason {
    /// `forceSnapshotSync`.
    Forced,
    /// Neither in memory nor, as far as may be looked, in the log.
    TooOld,
    /// The learner's history is of an epoch that is not the leader's there.
    OtherEpoch,
    /// The leader's own history has a hole there.
    Gap,
}

/// What to do with a learner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncPlan {
    /// Send these.
    Packets(SyncPackets),
    /// Read the transaction log from the learner's last zxid on, with a [`TxnLogSync`]; if that does
    /// not work, send a snapshot.
    TxnLog,
    /// Send a snapshot; forwarding starts behind the zxid at which it was begun.
    Snapshot(SnapReason),
}

/// Chooses. `peer` is the last transaction in the learner's log.
pub fn plan(peer: Zxid, history: &LeaderHistory<'_>, options: SyncOptions) -> SyncPlan {
    let nothing_but = |start, last| SyncPlan::Packets(SyncPackets { start, entries: vec![], last });
    if options.force_snapshot {
        return SyncPlan::Snapshot(SnapReason::Forced);
    }
    if peer == history.last_processed {
        return nothing_but(SyncStart::Diff(peer), peer);
    }
    if peer == history.base && peer != Zxid::NONE && history.begins_behind_base() {
        // Nothing of before is in memory, but the learner has all of it.
        let entries: Vec<_> = history.entries().cloned().collect();
        if is_contiguous(peer, &entries) {
            let last = entries.last().map_or(peer, |entry| entry.zxid());
            let start = SyncStart::Diff(last);
            return SyncPlan::Packets(SyncPackets { start, entries, last });
        }
    }
    let min = history.min();
    let max = history.max();
    if peer > max && !begins_epoch(peer) {
        return if is_cut(peer, max) {
            nothing_but(SyncStart::Trunc(max), max)
        } else {
            SyncPlan::Snapshot(SnapReason::OtherEpoch)
        };
    }
    if min <= peer && peer <= max {
        return match from_memory(peer, history) {
            Ok(packets) => SyncPlan::Packets(packets),
            Err(reason) => SyncPlan::Snapshot(reason),
        };
    }
    if peer < min && options.is_txn_log_sync_enabled {
        return SyncPlan::TxnLog;
    }
    SyncPlan::Snapshot(SnapReason::TooOld)
}

impl LeaderHistory<'_> {
    /// Everything committed that is in memory, oldest first.
    fn entries(&self) -> impl Iterator<Item = &Arc<TxnLogEntry>> {
        let last = self.committed.back().map_or(Zxid(i64::MIN), |entry| entry.zxid());
        let behind = self.to_be_applied.iter().filter(move |entry| entry.zxid() > last);
        self.committed.iter().chain(behind)
    }

    /// Whether memory holds just what was committed since the leader's epoch began.
    fn begins_behind_base(&self) -> bool {
        let first = self.entries().next().map(|entry| entry.zxid());
        first.is_none_or(|first| {
            first.counter() == 1 && first.epoch() == self.last_processed.epoch()
        })
    }

    /// The oldest in memory; without any the last processed, as in Java.
    pub fn min(&self) -> Zxid {
        self.entries().next().map_or(self.last_processed, |entry| entry.zxid())
    }

    /// The last committed.
    pub fn max(&self) -> Zxid {
        let last = [self.to_be_applied.back(), self.committed.back()];
        last.into_iter().flatten().map(|entry| entry.zxid()).max().unwrap_or(self.last_processed)
    }

    /// What follows `last`, which was read from the log, up to the last committed; `None` while the
    /// log has to be read further.
    pub fn join(&self, last: Zxid) -> Option<Vec<Arc<TxnLogEntry>>> {
        let rest: Vec<_> = self.entries().filter(|entry| entry.zxid() > last).cloned().collect();
        let joins = match rest.first() {
            None => last >= self.max(),
            // Over the border of an epoch only memory itself shows that nothing is missing.
            Some(first) => last >= self.min() || first.zxid() == last.next(),
        };
        (joins && is_contiguous(last, &rest)).then_some(rest)
    }
}

fn from_memory(peer: Zxid, history: &LeaderHistory<'_>) -> Result<SyncPackets, SnapReason> {
    let max = history.max();
    let mut previous = None;
    let mut entries = history.entries().skip_while(|entry| {
        let is_before = entry.zxid() < peer;
        if is_before {
            previous = Some(entry.zxid());
        }
        is_before
    });
    let first = entries.next();
    let mut rest: Vec<_> = entries.cloned().collect();
    let (start, base) = match first {
        Some(first) if first.zxid() == peer => (SyncStart::Diff(max), peer),
        first => {
            rest.splice(0..0, first.cloned());
            let start =
                start_at_unknown(peer, previous, rest.first().map(|entry| entry.zxid()), max)?;
            (start, previous.unwrap_or(peer))
        }
    };
    if !is_contiguous(base, &rest) {
        return Err(SnapReason::Gap);
    }
    let last = rest.last().map_or(start.zxid_kept(peer), |entry| entry.zxid());
    Ok(SyncPackets { start, entries: rest, last })
}

impl SyncStart {
    /// The last transaction that a learner which ended with `peer` keeps.
    fn zxid_kept(self, peer: Zxid) -> Zxid {
        match self {
            SyncStart::Diff(_) => peer,
            SyncStart::Trunc(zxid) => zxid,
        }
    }
}

/// How to begin when `peer` is not itself in the history, but stands between `previous` and `next`.
fn start_at_unknown(
    peer: Zxid,
    previous: Option<Zxid>,
    next: Option<Zxid>,
    max: Zxid,
) -> Result<SyncStart, SnapReason> {
    // Nothing was lost at the begin of an epoch: it stands for all that came before.
    if begins_epoch(peer) {
        return Ok(SyncStart::Diff(max));
    }
    match (previous, next) {
        (Some(previous), Some(next)) if next.epoch() == peer.epoch() && is_cut(peer, previous) => {
            Ok(SyncStart::Trunc(previous))
        }
        _ => Err(SnapReason::OtherEpoch),
    }
}

/// Whether a learner whose log ends with `peer` can cut it to `target`: a real transaction, of the
/// same epoch, and so for certain in its log or snapshot.
fn is_cut(peer: Zxid, target: Zxid) -> bool {
    target.epoch() == peer.epoch() && target.counter() != 0
}

/// Such a zxid is no transaction's: the server took over a leader's history, and nothing since.
fn begins_epoch(zxid: Zxid) -> bool {
    zxid.counter() == 0
}

/// Whether nothing can stand between the two: the next zxid, or the first of a later epoch.
pub fn follows(previous: Zxid, next: Zxid) -> bool {
    next == previous.next() || (next.epoch() > previous.epoch() && next.counter() == 1)
}

fn is_contiguous(base: Zxid, entries: &[Arc<TxnLogEntry>]) -> bool {
    let mut previous = base;
    entries.iter().all(|entry| {
        let follows = follows(previous, entry.zxid());
        previous = entry.zxid();
        follows
    })
}

/// A learner that is brought up to date from the transaction log: what to do with each record.
///
/// Feed it the records from the learner's last zxid on (from the begin of that log file: one record
/// must not be later than the learner's), up to something committed; then
/// [`LeaderHistory::join`].
#[derive(Debug)]
pub struct TxnLogSync {
    peer: Zxid,
    /// For what the snapshots beside the log are named.
    snapshots: Vec<Zxid>,
    /// The last transaction read.
    previous: Option<Zxid>,
    has_started: bool,
    /// What the learner will have.
    last: Zxid,
}

/// What to do with a record of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStep {
    /// The learner has it.
    Skip,
    /// Send this packet; the learner has the record itself.
    Start(SyncStart),
    /// Send this packet, then the record.
    StartAndSend(SyncStart),
    /// Send the record.
    Send,
}

impl TxnLogSync {
    /// For a learner whose log ends with `peer`.
    pub fn new(peer: Zxid) -> TxnLogSync {
        TxnLogSync { peer, snapshots: vec![], previous: None, has_started: false, last: peer }
    }

    /// With what the snapshots beside the log are named for: each a transaction that was committed,
    /// or the begin of an epoch.
    #[must_use]
    pub fn with_snapshots(self, snapshots: Vec<Zxid>) -> TxnLogSync {
        TxnLogSync { snapshots, ..self }
    }

    /// The next record; `max` is the last committed transaction, for the DIFF packet. After an
    /// error, nothing more is to be sent: if something was, the connection has to end.
    pub fn record(&mut self, zxid: Zxid, max: Zxid) -> Result<LogStep, SnapReason> {
        let previous = self.previous.replace(zxid);
        if previous.is_none() && zxid > self.peer {
            // Something between the learner's last and this one may be missing.
            return Err(SnapReason::TooOld);
        }
        if zxid < self.peer {
            return Ok(LogStep::Skip);
        }
        if zxid == self.peer {
            self.has_started = true;
            return Ok(LogStep::Start(SyncStart::Diff(max)));
        }
        if previous.is_some_and(|previous| !follows(previous, zxid) || self.lacks(previous, zxid)) {
            return Err(SnapReason::Gap);
        }
        let mut step = LogStep::Send;
        if !self.has_started {
            let start = start_at_unknown(self.peer, previous, Some(zxid), max)?;
            step = LogStep::StartAndSend(start);
        }
        self.has_started = true;
        self.last = zxid;
        Ok(step)
    }

    /// Whether the learner needs something that once stood between two records, and is in a snapshot
    /// only.
    fn lacks(&self, previous: Zxid, zxid: Zxid) -> bool {
        let known = previous.max(self.peer);
        self.snapshots.iter().any(|snapshot| known < *snapshot && *snapshot < zxid)
    }

    /// Whether something was sent: then there is no way back to a snapshot on this connection.
    pub fn has_started(&self) -> bool {
        self.has_started
    }

    /// The last transaction that the learner will have.
    pub fn last(&self) -> Zxid {
        self.last
    }
}

#[cfg(test)]
mod tests;
