//! `ZKDatabase`: the tree, the table of sessions, and the transactions that were committed last.
//!
//! It outlives a server: when a role of an ensemble ends, the next role's server goes on with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::committed_log::CommittedLog;
use crate::common::sync::{Mutex, Rank, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::proto::{SessionId, TxnLogEntry, Zxid};
use crate::tree::DataTree;

/// The state of the server. The log itself belongs to the thread that syncs it.
pub struct ZkDatabase {
    tree: RwLock<DataTree>,
    /// Timeouts of the global sessions, as snapshots hold them (`sessionsWithTimeouts`).
    sessions: Mutex<HashMap<SessionId, i32>>,
    /// A copy of the tree's, to be read without its guard. Written under the write guard.
    last_processed_zxid: AtomicI64,
    /// What learners are sent when they are a little behind.
    committed_log: RwLock<CommittedLog>,
    /// False on a standalone server, which then does not even take the lock.
    keeps_committed_log: bool,
}

impl ZkDatabase {
    /// From what was restored, without a committed log: nobody asks a standalone server for it.
    pub fn new(tree: DataTree, sessions: HashMap<SessionId, i32>) -> ZkDatabase {
        let zxid = tree.last_processed_zxid();
        ZkDatabase {
            tree: RwLock::new(Rank::Tree, tree),
            sessions: Mutex::new(Rank::Sessions, sessions),
            last_processed_zxid: AtomicI64::new(zxid.0),
            committed_log: RwLock::new(Rank::CommittedLog, CommittedLog::new(0)),
            keeps_committed_log: false,
        }
    }

    /// With a committed log, as a member of an ensemble keeps it.
    #[must_use]
    pub fn with_committed_log(mut self, log: CommittedLog) -> ZkDatabase {
        self.committed_log = RwLock::new(Rank::CommittedLog, log);
        self.keeps_committed_log = true;
        self
    }

    /// The committed log. Its lock ranks before the tree's.
    pub fn committed_log(&self) -> &RwLock<CommittedLog> {
        &self.committed_log
    }

    /// What was applied, in the order of the zxids (`addCommittedProposal`). The order of publishing
    /// is fixed: first the tree, then this, then the leader's removal of it from what is to be
    /// applied; so a learner that begins to synchronise at any moment is sent each of them once.
    pub fn add_committed(&self, entries: impl IntoIterator<Item = Arc<TxnLogEntry>>) {
        if self.keeps_committed_log {
            let mut log = self.committed_log.write();
            entries.into_iter().for_each(|entry| log.add(entry));
        }
    }

    /// Whether anybody wants [`ZkDatabase::add_committed`] to be called.
    pub fn keeps_committed_log(&self) -> bool {
        self.keeps_committed_log
    }

    /// Replaces tree and sessions and forgets the committed log (`clear`, then `loadDataBase` or
    /// `deserializeSnapshot`). Only while no server uses the database.
    pub fn replace(&self, tree: DataTree, sessions: HashMap<SessionId, i32>) {
        self.committed_log.write().clear();
        let zxid = tree.last_processed_zxid();
        let mut guard = self.tree.write();
        let old = std::mem::replace(&mut *guard, tree);
        self.set_last_processed_zxid(zxid);
        drop(guard);
        *self.sessions.lock() = sessions;
        // Not under the guard: it may take a while.
        drop(old);
    }

    /// Takes tree and sessions out, to be worked on without a lock and given back by
    /// [`ZkDatabase::put_back`]; `empty` is there meanwhile. Only while no server uses the database.
    pub fn take(&self, empty: DataTree) -> (DataTree, HashMap<SessionId, i32>) {
        let tree = std::mem::replace(&mut *self.tree.write(), empty);
        (tree, std::mem::take(&mut *self.sessions.lock()))
    }

    /// Gives back what was taken, further on: the committed log still belongs to it.
    pub fn put_back(&self, tree: DataTree, sessions: HashMap<SessionId, i32>) {
        let mut guard = self.tree.write();
        self.set_last_processed_zxid(tree.last_processed_zxid());
        let empty = std::mem::replace(&mut *guard, tree);
        drop(guard);
        *self.sessions.lock() = sessions;
        drop(empty);
    }

    /// To read the tree. Hold it for memory work only.
    pub fn tree(&self) -> RwLockReadGuard<'_, DataTree> {
        self.tree.read()
    }

    /// To apply transactions; only the thread of the last stage does.
    pub fn tree_mut(&self) -> RwLockWriteGuard<'_, DataTree> {
        self.tree.write()
    }

    /// The last transaction applied.
    pub fn last_processed_zxid(&self) -> Zxid {
        Zxid(self.last_processed_zxid.load(Ordering::Acquire))
    }

    /// Publishes what the tree has reached, under the write guard.
    pub fn set_last_processed_zxid(&self, zxid: Zxid) {
        self.last_processed_zxid.store(zxid.0, Ordering::Release);
    }

    /// A createSession was applied.
    pub fn commit_session(&self, id: SessionId, timeout_ms: i32) {
        self.sessions.lock().insert(id, timeout_ms);
    }

    /// A closeSession was applied.
    pub fn remove_session(&self, id: SessionId) {
        self.sessions.lock().remove(&id);
    }

    /// A copy of the sessions' timeouts, for a snapshot.
    pub fn sessions(&self) -> HashMap<SessionId, i32> {
        self.sessions.lock().clone()
    }

    /// The timeout of a session, ms; `None` if there is no such session.
    pub fn session_timeout_ms(&self, id: SessionId) -> Option<i32> {
        self.sessions.lock().get(&id).copied()
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }
}
