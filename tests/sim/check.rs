//! What must be true after every step, whatever has failed.
//!
//! A transaction is known from the moment in which a leader makes it, with the one before it and
//! the digest of the tree after it. So the whole history of a server is named by its last zxid.
//!
//! - one leader per epoch, and a new leader's history has everything that was ever committed;
//! - what servers commit are prefixes of one another;
//! - what is committed is on the disks of a quorum;
//! - a reply is given for committed transactions only, and none of them is ever missing later;
//! - trees that end with the same zxid have the same digest;
//! - no log and no tree leaves a zxid out, and none has one that no leader made;
//! - nothing is acknowledged before it is durable, and what was acknowledged comes back after a
//!   crash;
//! - the epochs on a disk never fall.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use zabkeeper::proto::{ServerId, TxnLogEntry, Zxid};
use zabkeeper::quorum::verifier::QuorumVerifier;

use crate::net::NodeIx;

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    pub node: Option<NodeIx>,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "server {}: {}", node + 1, self.what),
            None => f.write_str(&self.what),
        }
    }
}

struct Known {
    entry: Arc<TxnLogEntry>,
    /// The transaction before it in its leader's history; 0 when there is none.
    previous: Zxid,
    /// Of the tree behind it.
    digest: u64,
}

/// What is known of one server.
#[derive(Debug, Clone, Copy, Default)]
struct View {
    logged: Zxid,
    applied: Zxid,
    /// The last transaction that it told others to be on its disk, and that it has not been told to
    /// forget.
    acknowledged: Zxid,
    accepted_epoch: i64,
    current_epoch: i64,
    /// A leader's snapshot was taken while it went on: until this zxid the tree may have more than
    /// its own zxid says.
    fuzzy_until: Zxid,
    /// The same of the tree that the disk gives.
    fuzzy_on_disk: Zxid,
}

/// How many of what was seen: a run in which nothing happens proves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub committed: u64,
    pub replies: u64,
    pub elections: u64,
    pub truncations: u64,
    pub diffs: u64,
    pub diffs_from_log: u64,
    pub snapshots: u64,
    pub recoveries: u64,
}

pub struct Checker {
    known: BTreeMap<Zxid, Known>,
    leaders: BTreeMap<i64, NodeIx>,
    /// What an epoch's leader had before the epoch's first transaction. Its zxid with counter 0 is
    /// no transaction, but stands for this.
    bases: BTreeMap<i64, Zxid>,
    /// The one history, oldest first.
    committed: Vec<Zxid>,
    views: Vec<View>,
    /// Replies that said that a write was done.
    replied: Vec<(usize, i32, Zxid)>,
    digest_of_empty_tree: u64,
    verifier: Arc<QuorumVerifier>,
    pub counts: Counts,
    violation: Option<Violation>,
    /// Leaves the finding of broken orders to the checks of what comes of it.
    is_global_only: bool,
}

impl Checker {
    pub fn new(
        verifier: Arc<QuorumVerifier>,
        digest_of_empty_tree: u64,
        is_global_only: bool,
    ) -> Checker {
        Checker {
            known: BTreeMap::new(),
            leaders: BTreeMap::new(),
            bases: BTreeMap::new(),
            committed: Vec::new(),
            views: vec![View::default(); verifier.all_members().len()],
            replied: Vec::new(),
            digest_of_empty_tree,
            verifier,
            counts: Counts::default(),
            violation: None,
            is_global_only,
        }
    }

    /// The first one.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Something is wrong. Only the first counts.
    pub fn fail(&mut self, node: impl Into<Option<NodeIx>>, what: String) {
        self.violation.get_or_insert(Violation { node: node.into(), what });
    }

    fn require(&mut self, is_so: bool, node: NodeIx, what: impl FnOnce() -> String) {
        if !is_so {
            self.fail(node, what());
        }
    }

    pub fn last_committed(&self) -> Zxid {
        self.committed.last().copied().unwrap_or_default()
    }

    pub fn is_committed(&self, zxid: Zxid) -> bool {
        zxid == Zxid(0) || self.committed.binary_search(&zxid).is_ok()
    }

    fn previous(&self, zxid: Zxid) -> Option<Zxid> {
        self.known.get(&zxid).map(|known| known.previous)
    }

    fn digest_at(&self, zxid: Zxid) -> Option<u64> {
        if zxid == Zxid(0) {
            return Some(self.digest_of_empty_tree);
        }
        self.known.get(&zxid).map(|known| known.digest)
    }

    /// Whether the history that ends with `zxid` has `ancestor`.
    fn has_in_history(&self, zxid: Zxid, ancestor: Zxid) -> bool {
        let mut at = self.transaction(zxid);
        while at > ancestor {
            match self.previous(at) {
                Some(previous) => at = previous,
                None => return false,
            }
        }
        at == ancestor
    }

    /// The transaction that a zxid stands for.
    pub fn transaction(&self, zxid: Zxid) -> Zxid {
        if zxid.counter() != 0 {
            return zxid;
        }
        self.bases.get(&zxid.epoch()).copied().unwrap_or_default()
    }

    /// What is committed must be on the disks of a quorum: those that have said so and have not been
    /// told to forget it since.
    fn require_quorum(&mut self, node: NodeIx, zxid: Zxid) {
        let holds = |place: &NodeIx| self.has_in_history(self.views[*place].acknowledged, zxid);
        let sids: BTreeSet<ServerId> = (0..self.views.len())
            .filter(holds)
            .map(|place| ServerId(place as i64 + 1))
            .filter(|sid| self.verifier.voting_members().contains_key(sid))
            .collect();
        let is_safe = self.is_global_only || self.verifier.contains_quorum(&sids);
        self.require(is_safe, node, || format!("commits {zxid}, which only {sids:?} have"));
    }

    // What servers do.

    /// A leader makes a transaction behind `previous`.
    pub fn proposed(&mut self, node: NodeIx, entry: &Arc<TxnLogEntry>, previous: Zxid) {
        let zxid = entry.zxid();
        let digest = match entry.digest {
            Some(digest) => digest.tree_digest as u64,
            // A refused request changes nothing.
            None => self.digest_at(previous).unwrap_or_default(),
        };
        let known = Known { entry: Arc::clone(entry), previous, digest };
        if self.known.insert(zxid, known).is_some() {
            self.fail(node, format!("zxid {zxid} is used for a second transaction"));
        }
    }

    /// A quorum has promised its epoch.
    pub fn elected(&mut self, node: NodeIx, epoch: i64) {
        self.counts.elections += 1;
        if let Some(other) = self.leaders.insert(epoch, node).filter(|other| *other != node) {
            self.fail(node, format!("leads epoch {epoch:#x}, which server {} leads", other + 1));
        }
    }

    /// A quorum has taken over its history up to `last`, which is committed with that. The last
    /// transaction of it.
    pub fn established(&mut self, node: NodeIx, epoch: i64, last: Zxid) -> Zxid {
        let last = self.transaction(last);
        self.bases.insert(epoch, last);
        let mut history = Vec::new();
        let (mut at, end) = (last, self.last_committed());
        while at > end {
            history.push(at);
            at = self.previous(at).unwrap_or(Zxid::NONE);
        }
        if at != end {
            let what = format!("leads with a history up to {last}, but {end} is committed");
            self.fail(node, what);
            return last;
        }
        self.counts.committed += history.len() as u64;
        self.committed.extend(history.into_iter().rev());
        self.require_quorum(node, last);
        last
    }

    /// The leader decides that a quorum has it.
    pub fn committed(&mut self, node: NodeIx, zxid: Zxid) {
        if self.is_committed(zxid) {
            return;
        }
        let last = self.last_committed();
        if self.previous(zxid) != Some(last) {
            return self.fail(node, format!("commits {zxid}, but {last} is the last committed"));
        }
        self.committed.push(zxid);
        self.counts.committed += 1;
        self.require_quorum(node, zxid);
    }

    pub fn logged(&mut self, node: NodeIx, entry: &Arc<TxnLogEntry>) {
        let (zxid, last) = (entry.zxid(), self.views[node].logged);
        match self.known.get(&zxid) {
            None => return self.fail(node, format!("logs {zxid}, made by nobody")),
            Some(known) if known.entry.bytes != entry.bytes => {
                return self.fail(node, format!("logs another transaction as {zxid}"));
            }
            Some(known) if known.previous != last => {
                let previous = known.previous;
                let what = format!("logs {zxid} behind {last}, it belongs behind {previous}");
                return self.fail(node, what);
            }
            Some(_) => {}
        }
        self.views[node].logged = zxid;
    }

    /// It tells another server that `zxid` is on its disk, which holds everything to `durable`.
    pub fn acknowledged(&mut self, node: NodeIx, zxid: Zxid, durable: Zxid) {
        let durable = self.transaction(durable);
        let view = &mut self.views[node];
        view.acknowledged = view.acknowledged.max(zxid);
        let is_durable = zxid <= durable || self.is_global_only;
        self.require(is_durable, node, || {
            format!("acknowledges {zxid}, but its disk ends with {durable}")
        });
    }

    /// It acknowledges all it has: the history of a new leader.
    pub fn acknowledged_history(&mut self, node: NodeIx, durable: Zxid) {
        let logged = self.views[node].logged;
        self.acknowledged(node, logged, durable);
    }

    /// The tree has taken in a transaction that is committed.
    pub fn applied(&mut self, node: NodeIx, zxid: Zxid, digest: u64) {
        self.require(self.is_committed(zxid), node, || format!("applies {zxid}, not committed"));
        self.applied_in_sync(node, zxid, digest);
    }

    /// The tree has taken in a transaction of a leader's history.
    pub fn applied_in_sync(&mut self, node: NodeIx, zxid: Zxid, digest: u64) {
        let last = self.views[node].applied;
        self.views[node].applied = zxid;
        let follows = self.previous(zxid) == Some(last);
        self.require(follows, node, || format!("applies {zxid} behind {last}"));
        self.digest(node, zxid, digest);
    }

    fn digest(&mut self, node: NodeIx, zxid: Zxid, digest: u64) {
        if zxid < self.views[node].fuzzy_until {
            return;
        }
        let Some(expected) = self.digest_at(zxid) else {
            return self.fail(node, format!("has a tree up to {zxid}, made by nobody"));
        };
        self.require(digest == expected, node, || {
            format!("its tree at {zxid} has the digest {digest:#x}, others {expected:#x}")
        });
    }

    /// A leader tells it to take over a history up to `zxid`: from now on it may have less than it
    /// once acknowledged. Whether anybody still counts on that the other checks see.
    pub fn told_to_forget(&mut self, node: NodeIx, zxid: Zxid) {
        let zxid = self.transaction(zxid);
        let mut at = self.views[node].acknowledged;
        while at != Zxid(0) && !self.has_in_history(zxid, at) {
            at = self.previous(at).unwrap_or_default();
        }
        self.views[node].acknowledged = at;
    }

    /// Everything behind `zxid` is forgotten.
    pub fn truncated(&mut self, node: NodeIx, zxid: Zxid, digest: u64) {
        self.counts.truncations += 1;
        self.replaced(node, zxid);
        self.digest(node, self.transaction(zxid), digest);
    }

    /// The tree was replaced by the leader's, which may have parts of everything up to `until`.
    pub fn snapshot_loaded(&mut self, node: NodeIx, zxid: Zxid, until: Zxid, digest: u64) {
        self.counts.snapshots += 1;
        let (zxid, until) = (self.transaction(zxid), self.transaction(until));
        let view = &mut self.views[node];
        (view.applied, view.fuzzy_until) = (zxid, until);
        self.digest(node, zxid, digest);
    }

    /// The disk has what the tree has, as the leader asked.
    pub fn replaced(&mut self, node: NodeIx, zxid: Zxid) {
        let zxid = self.transaction(zxid);
        let view = &mut self.views[node];
        (view.logged, view.applied) = (zxid, zxid);
        view.fuzzy_on_disk = view.fuzzy_until;
    }

    /// The log was cut, the tree not.
    pub fn discarded(&mut self, node: NodeIx, zxid: Zxid) {
        let zxid = self.transaction(zxid);
        let view = &mut self.views[node];
        view.logged = view.logged.min(zxid);
    }

    /// It has read its disk, or run its tree forward to the log's end.
    pub fn recovered(&mut self, node: NodeIx, last: Zxid, digest: u64) {
        self.counts.recoveries += 1;
        let last = self.transaction(last);
        let acknowledged = self.views[node].acknowledged;
        let is_there = last >= acknowledged && self.has_in_history(last, acknowledged);
        self.require(is_there || self.is_global_only, node, || {
            format!("has {last} after a restart, but had acknowledged {acknowledged}")
        });
        let view = &mut self.views[node];
        (view.logged, view.applied) = (last, last);
        view.fuzzy_until = view.fuzzy_on_disk;
        self.digest(node, last, digest);
    }

    /// What its files say now.
    pub fn epochs(&mut self, node: NodeIx, accepted: i64, current: i64) {
        let view = self.views[node];
        self.views[node].accepted_epoch = accepted;
        self.views[node].current_epoch = current;
        let is_monotone = accepted >= view.accepted_epoch && current >= view.current_epoch;
        self.require(is_monotone && current <= accepted, node, || {
            format!(
                "epochs: accepted {:#x} -> {accepted:#x}, current {:#x} -> {current:#x}",
                view.accepted_epoch, view.current_epoch
            )
        });
    }

    /// A client is told the outcome of its request.
    pub fn replied(&mut self, node: NodeIx, client: usize, cxid: i32, zxid: Zxid) {
        self.counts.replies += 1;
        self.require(self.is_committed(zxid), node, || {
            format!("answers request {cxid} of client {client} with {zxid}, not committed")
        });
        self.replied.push((client, cxid, zxid));
    }

    /// A server that has acknowledged nothing gets an empty disk.
    pub fn disk_lost(&mut self, node: NodeIx) {
        self.views[node] = View::default();
    }

    /// Everything has come to rest: all servers have the same, and every answered write is in it.
    /// `trees` holds each server's last zxid and digest.
    pub fn at_rest(&mut self, trees: &[(NodeIx, Zxid, u64)]) {
        let last = self.last_committed();
        for (node, zxid, digest) in trees {
            let zxid = self.transaction(*zxid);
            self.require(zxid == last, *node, || format!("rests at {zxid}, others at {last}"));
            self.digest(*node, zxid, *digest);
        }
        for (client, cxid, zxid) in std::mem::take(&mut self.replied) {
            if !self.has_in_history(last, zxid) {
                let what =
                    format!("request {cxid} of client {client}, answered as {zxid}, is lost");
                self.fail(None, what);
            }
        }
    }
}
