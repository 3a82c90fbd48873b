//! `ZKDatabase`: the tree, the table of sessions and the files they come from.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::common::sync::{Mutex, Rank, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::proto::{SessionId, Zxid};
use crate::tree::DataTree;

/// The state of the server. The log itself belongs to the thread that syncs it.
pub struct ZkDatabase {
    tree: RwLock<DataTree>,
    /// Timeouts of the global sessions, as snapshots hold them (`sessionsWithTimeouts`).
    sessions: Mutex<HashMap<SessionId, i32>>,
    /// A copy of the tree's, to be read without its guard. Written under the write guard.
    last_processed_zxid: AtomicI64,
}

impl ZkDatabase {
    /// From what was restored.
    pub fn new(tree: DataTree, sessions: HashMap<SessionId, i32>) -> ZkDatabase {
        let zxid = tree.last_processed_zxid();
        ZkDatabase {
            tree: RwLock::new(Rank::Tree, tree),
            sessions: Mutex::new(Rank::Sessions, sessions),
            last_processed_zxid: AtomicI64::new(zxid.0),
        }
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

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }
}
