//! `ZooKeeperServer.outstandingChanges` and `ChangeRecord`: what the transactions that were prepared
//! but not yet applied will do to the nodes, so that the next request is judged against the state
//! it will meet.
//!
//! Differences from Java, none of them visible beyond timing:
//! - "/" and "" are one node here and one record. Java keeps two, and predicts a wrong digest when
//!   a change of the root's data and a create below it are outstanding together.
//! - A failed multi is undone from a journal, which restores every record; Java restores those of
//!   the paths named in the request and their parents, and forgets those of sequential names.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::jute::Buffer;
use crate::proto::{Acl, SessionId, StatPersisted, Zxid};
use crate::tree::{DataTree, NodeRef};

/// A node as it will be. Cloning shares data and ACL.
#[derive(Debug, Clone)]
pub struct PendingNode {
    /// The stored statistics.
    pub stat: StatPersisted,
    /// How many children it has.
    pub child_count: i32,
    /// Who may do what.
    pub acl: Arc<[Acl]>,
    /// Its data; the digest covers them, and quotas compare their length.
    pub data: Buffer,
    /// The digest of path, data and statistics; 0 when digests are off.
    pub digest: u64,
}

impl PendingNode {
    /// A node of the tree, but with `data`.
    pub(super) fn of(node: &NodeRef<'_>, data: &Buffer) -> PendingNode {
        PendingNode {
            stat: node.stat_persisted(),
            child_count: i32::try_from(node.child_count()).unwrap_or(i32::MAX),
            acl: node.acl(),
            data: data.clone(),
            digest: node.digest(),
        }
    }
}

/// The last outstanding change of one path.
#[derive(Debug, Clone)]
struct ChangeRecord {
    zxid: Zxid,
    path: Arc<str>,
    /// `None`: the node will be gone.
    node: Option<PendingNode>,
}

/// One entry of the queue: which path changes in which transaction.
#[derive(Debug)]
struct QueuedChange {
    zxid: Zxid,
    hash: u64,
    path: Arc<str>,
}

/// What a rollback needs.
#[derive(Debug)]
struct Journal {
    queue_len: usize,
    tree_digest: u64,
    /// Each replaced record in the order of replacement; `None` where there was none.
    replaced: Vec<(u64, Arc<str>, Option<ChangeRecord>)>,
}

/// The changes between the applied tree and the newest prepared transaction.
///
/// Shared by the thread that prepares, which holds it for a whole request, and the one that
/// applies, which calls [`remove_applied`](Self::remove_applied) *after* the tree has the
/// transaction: so a path without a record here is up to date in the tree.
#[derive(Debug, Default)]
pub struct OutstandingChanges {
    by_path: HashTable<ChangeRecord>,
    hasher: RandomState,
    /// Invariant: zxids never fall from front to back.
    queue: VecDeque<QueuedChange>,
    /// The tree's digest after the last change of the queue; means nothing while that is empty.
    tree_digest: u64,
    journal: Option<Journal>,
}

/// The pending state of a path.
#[derive(Debug)]
pub enum Pending<'a> {
    /// No change is outstanding: ask the tree.
    Unchanged,
    /// The node will be gone.
    Deleted,
    /// The node will be this.
    Node(&'a PendingNode),
}

/// "/" and "" name the same node.
fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

impl OutstandingChanges {
    /// Nothing outstanding.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changes are queued.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True when the tree is up to date.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The last outstanding change of `path`.
    pub fn get(&self, path: &str) -> Pending<'_> {
        if self.by_path.is_empty() {
            return Pending::Unchanged;
        }
        let path = key(path);
        let hash = self.hasher.hash_one(path);
        match self.by_path.find(hash, |record| &*record.path == path) {
            None => Pending::Unchanged,
            Some(record) => record.node.as_ref().map_or(Pending::Deleted, Pending::Node),
        }
    }

    /// The digest of the tree after everything outstanding (`getCurrentTreeDigest`).
    pub fn current_tree_digest(&self, tree: &DataTree) -> u64 {
        if self.queue.is_empty() { tree.tree_digest() } else { self.tree_digest }
    }

    /// Queues that `path` becomes `node` (or goes) in transaction `zxid`. `old_digest` is the
    /// node's digest before, 0 for a new node.
    pub fn add(
        &mut self,
        tree: &DataTree,
        zxid: Zxid,
        path: &str,
        node: Option<PendingNode>,
        old_digest: u64,
    ) {
        let new_digest = node.as_ref().map_or(0, |node| node.digest);
        // AdHash: the tree's digest is the wrapping sum of the nodes' digests.
        self.tree_digest =
            self.current_tree_digest(tree).wrapping_sub(old_digest).wrapping_add(new_digest);

        let path = key(path);
        let hash = self.hasher.hash_one(path);
        let mut replaced = None;
        let shared = match self.by_path.find_mut(hash, |record| &*record.path == path) {
            Some(record) => {
                let shared = record.path.clone();
                let next = ChangeRecord { zxid, path: shared.clone(), node };
                replaced = Some(std::mem::replace(record, next));
                shared
            }
            None => {
                let shared: Arc<str> = path.into();
                let record = ChangeRecord { zxid, path: shared.clone(), node };
                let hasher = &self.hasher;
                self.by_path.insert_unique(hash, record, |record| hasher.hash_one(&*record.path));
                shared
            }
        };
        if let Some(journal) = &mut self.journal {
            journal.replaced.push((hash, shared.clone(), replaced));
        }
        self.queue.push_back(QueuedChange { zxid, hash, path: shared });
    }

    /// From here on changes can be undone, until [`commit`](Self::commit) or
    /// [`rollback`](Self::rollback).
    pub fn begin(&mut self) {
        self.journal = Some(Journal {
            queue_len: self.queue.len(),
            tree_digest: self.tree_digest,
            replaced: Vec::new(),
        });
    }

    /// Keeps the changes since [`begin`](Self::begin).
    pub fn commit(&mut self) {
        self.journal = None;
    }

    /// Undoes the changes since [`begin`](Self::begin) (`rollbackPendingChanges`).
    pub fn rollback(&mut self) {
        let Some(journal) = self.journal.take() else { return };
        self.queue.truncate(journal.queue_len);
        self.tree_digest = journal.tree_digest;
        for (hash, path, replaced) in journal.replaced.into_iter().rev() {
            let Ok(mut entry) = self.by_path.find_entry(hash, |record| record.path == path) else {
                continue;
            };
            match replaced {
                Some(record) => *entry.get_mut() = record,
                None => {
                    entry.remove();
                }
            }
        }
    }

    /// Forgets the changes of all transactions up to `zxid`, which the tree has now; the number of
    /// queue entries removed (`outstanding_changes_removed`).
    pub fn remove_applied(&mut self, zxid: Zxid) -> usize {
        let mut removed = 0;
        while let Some(change) = self.queue.pop_front_if(|change| change.zxid <= zxid) {
            removed += 1;
            let found = self.by_path.find_entry(change.hash, |record| {
                Arc::ptr_eq(&record.path, &change.path) || record.path == change.path
            });
            if let Ok(entry) = found {
                // A later transaction may have changed the path again.
                if entry.get().zxid <= zxid {
                    entry.remove();
                }
            }
        }
        removed
    }

    /// Forgets everything: the tree was replaced.
    pub fn clear(&mut self) {
        self.by_path.clear();
        self.queue.clear();
        self.journal = None;
    }

    /// The paths with an outstanding change, each with whether `session` will own the node then.
    /// A path that changes twice in one transaction comes twice, the same both times.
    pub fn ownership(&self, session: SessionId) -> impl Iterator<Item = (&str, bool)> {
        self.queue.iter().filter_map(move |change| {
            let record = self.by_path.find(change.hash, |record| record.path == change.path)?;
            let owner = record.node.as_ref().map(|node| node.stat.ephemeral_owner);
            // Only the last change of a path counts.
            (record.zxid == change.zxid).then_some((&*change.path, owner == Some(session.0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreeOptions;

    fn node(version: i32, digest: u64) -> Option<PendingNode> {
        let stat = StatPersisted { version, ..StatPersisted::default() };
        Some(PendingNode { stat, child_count: 0, acl: Arc::new([]), data: None, digest })
    }

    fn version(changes: &OutstandingChanges, path: &str) -> Option<i32> {
        match changes.get(path) {
            Pending::Unchanged => None,
            Pending::Deleted => Some(-1),
            Pending::Node(node) => Some(node.stat.version),
        }
    }

    #[test]
    fn a_record_goes_with_the_last_transaction_of_its_path() {
        let tree = DataTree::new(TreeOptions::default());
        let mut changes = OutstandingChanges::new();
        changes.add(&tree, Zxid(1), "/a", node(1, 10), 0);
        changes.add(&tree, Zxid(2), "/b", node(1, 20), 0);
        changes.add(&tree, Zxid(3), "/a", node(2, 11), 10);
        assert_eq!(changes.current_tree_digest(&tree), tree.tree_digest().wrapping_add(31));
        assert_eq!(changes.remove_applied(Zxid(0)), 0);
        assert_eq!(changes.remove_applied(Zxid(2)), 2);
        assert_eq!((version(&changes, "/a"), version(&changes, "/b")), (Some(2), None));
        changes.add(&tree, Zxid(4), "/a", None, 11);
        assert_eq!(version(&changes, "/a"), Some(-1));
        assert_eq!(changes.remove_applied(Zxid(9)), 2);
        assert!(changes.is_empty());
        assert_eq!(version(&changes, "/a"), None);
        assert_eq!(changes.current_tree_digest(&tree), tree.tree_digest());
    }

    #[test]
    fn a_rollback_restores_every_record() {
        let tree = DataTree::new(TreeOptions::default());
        let mut changes = OutstandingChanges::new();
        changes.add(&tree, Zxid(1), "/a", node(1, 10), 0);
        changes.add(&tree, Zxid(2), "/gone", None, 7);
        let digest = changes.current_tree_digest(&tree);
        changes.begin();
        for version in 2..5 {
            changes.add(&tree, Zxid(3), "/a", node(version, 0), 10);
            changes.add(&tree, Zxid(3), "/new", node(version, 5), 0);
            changes.add(&tree, Zxid(3), "/gone", node(version, 5), 0);
        }
        changes.rollback();
        assert_eq!(version(&changes, "/a"), Some(1));
        assert_eq!(version(&changes, "/new"), None);
        assert_eq!(version(&changes, "/gone"), Some(-1));
        assert_eq!((changes.len(), changes.current_tree_digest(&tree)), (2, digest));
        changes.begin();
        changes.add(&tree, Zxid(3), "/a", node(9, 0), 10);
        changes.commit();
        changes.rollback();
        assert_eq!(version(&changes, "/a"), Some(9));
    }

    #[test]
    fn the_root_has_one_record() {
        let tree = DataTree::new(TreeOptions::default());
        let mut changes = OutstandingChanges::new();
        changes.add(&tree, Zxid(1), "/", node(1, 0), 0);
        assert_eq!(version(&changes, ""), Some(1));
        changes.add(&tree, Zxid(2), "", node(2, 0), 0);
        assert_eq!(version(&changes, "/"), Some(2));
    }
}
