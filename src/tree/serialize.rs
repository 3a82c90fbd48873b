//! `DataTree.serialize`: the ACLs and nodes of a snapshot, written in pieces while the tree
//! changes.
//!
//! | ACL map | node … | string "/" |, a node being | string path | buffer data | long acl |
//! StatPersisted |, parents before children, the root with the path "".
//!
//! Like Java's the walk is fuzzy: it sees changes made after it began, in the places that it has
//! not passed. Replaying the transactions from its beginning on repairs that. It is less fuzzy
//! than Java's in two ways, which both spare the reader trouble. Nodes created after the beginning
//! are left out: their transactions will come. ACLs are those of the beginning, because the map of
//! ACLs is written first (ZOOKEEPER-4846).
//!
//! Between two pieces the walk keeps the id of the node that is next. It may be deleted meanwhile:
//! while a walk is open, freed slots keep their links and are not used again, and what they link
//! to is what came after them when they were freed, so that the walk finds its way back.

use std::collections::HashMap;

use super::data_node::{DataNode, NodeId};
use super::node_store::WalkToken;
use super::{DataTree, TreeError};
use crate::jute::{Jute, OutputExt};
use crate::proto::Zxid;

/// Ends the list of nodes.
const END_MARK: &str = "/";
/// A piece ends when it has this many bytes, however few nodes they are.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// Where a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Acls,
    /// This node is next.
    Node(NodeId),
    End,
    Done,
}

/// A snapshot being written; see [`DataTree::begin_walk`]. Dropping it ends it.
#[derive(Debug)]
pub struct SnapshotWalk {
    token: WalkToken,
    stage: Stage,
    /// The path of the node that is next.
    path: String,
    /// Nodes from this id on were created after the beginning.
    first_new: NodeId,
    /// The state of [`AclHistory`] at the beginning.
    acl_changes: u64,
    zxid: Zxid,
    nodes: u64,
}

impl SnapshotWalk {
    /// The last transaction applied when the walk began: the zxid of the snapshot. The tree it
    /// comes back to is that of the zxid at its end, once the transactions between are replayed.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Nodes written so far.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }
}

/// The ACLs that nodes had before they changed, as long as a walk is open.
#[derive(Debug, Default)]
pub(super) struct AclHistory {
    changes: u64,
    /// For each node the number of each change and the id of the ACL before it.
    before: HashMap<NodeId, Vec<(u64, i64)>>,
}

impl AclHistory {
    /// The ACL of a node changed; it was the one with the id `before` in snapshots.
    pub(super) fn changed(&mut self, node: NodeId, before: i64) {
        self.before.entry(node).or_default().push((self.changes, before));
        self.changes += 1;
    }

    /// No walk is open.
    pub(super) fn clear(&mut self) {
        if !self.before.is_empty() {
            self.before = HashMap::new();
        }
    }

    /// The id that the ACL of a node had when there were `since` changes; `None` if it is the same
    /// now.
    fn id_at(&self, node: NodeId, since: u64) -> Option<i64> {
        let changes = self.before.get(&node)?;
        changes.iter().find(|(number, _)| *number >= since).map(|(_, id)| *id)
    }
}

impl DataTree {
    /// Begins a snapshot of the tree as it is now.
    pub fn begin_walk(&self) -> SnapshotWalk {
        SnapshotWalk {
            token: self.nodes.walk_token(),
            stage: Stage::Acls,
            path: String::new(),
            first_new: self.nodes.next_fresh_id(),
            acl_changes: self.acl_history.changes,
            zxid: self.last_processed_zxid,
            nodes: 0,
        }
    }

    /// Appends the next piece to `out`: up to `max_nodes` nodes or about 4 MiB. True when the walk
    /// is complete, end mark included. The tree may change between the calls, not be another one.
    pub fn walk_chunk(
        &self,
        walk: &mut SnapshotWalk,
        out: &mut Vec<u8>,
        max_nodes: usize,
    ) -> Result<bool, TreeError> {
        if !self.nodes.owns(&walk.token) {
            return Err(TreeError::Replaced);
        }
        let start = out.len();
        let mut left = max_nodes.max(1);
        loop {
            match walk.stage {
                Stage::Acls => {
                    self.acls.serialize(out);
                    walk.stage = Stage::Node(NodeId::ROOT);
                }
                Stage::Node(id) => {
                    if left == 0 || out.len() - start >= PIECE_BYTES_MAX {
                        return Ok(false);
                    }
                    left -= 1;
                    self.walk_node(walk, id, out);
                }
                Stage::End => {
                    out.put_str(END_MARK);
                    walk.stage = Stage::Done;
                }
                Stage::Done => return Ok(true),
            }
        }
    }

    /// Writes a node, unless it was not there at the beginning or has gone since, and steps on.
    fn walk_node(&self, walk: &mut SnapshotWalk, id: NodeId, out: &mut Vec<u8>) {
        let node = self.nodes.node(id);
        if !node.is_freed() && (id < walk.first_new || id == NodeId::ROOT) {
            let acl = self.acl_history.id_at(id, walk.acl_changes);
            put_node(out, &walk.path, node, acl.unwrap_or_else(|| self.acls.id(node.acl)));
            walk.nodes += 1;
            if let Some(child) = node.first_child.some() {
                walk.path.push('/');
                walk.path.push_str(&self.nodes.node(child).name);
                walk.stage = Stage::Node(child);
                return;
            }
        }
        self.step(walk, id);
    }

    /// Goes to the next sibling, or the parent's, and so on.
    fn step(&self, walk: &mut SnapshotWalk, mut id: NodeId) {
        while id != NodeId::ROOT {
            // Names have no slash, so the last one is where this name began.
            walk.path.truncate(walk.path.rfind('/').unwrap_or(0));
            let node = self.nodes.node(id);
            if let Some(next) = node.next.some() {
                walk.path.push('/');
                walk.path.push_str(&self.nodes.node(next).name);
                walk.stage = Stage::Node(next);
                return;
            }
            match node.parent.some() {
                Some(parent) => id = parent,
                None => break,
            }
        }
        walk.stage = Stage::End;
    }

    /// The whole ACL and node part at once: for tests and small trees.
    pub fn serialize(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut walk = self.begin_walk();
        while let Ok(false) = self.walk_chunk(&mut walk, &mut out, usize::MAX) {}
        out
    }
}

fn put_node(out: &mut Vec<u8>, path: &str, node: &DataNode, acl: i64) {
    out.put_str(path);
    out.put_bytes(node.data.as_deref());
    out.put_i64(acl);
    node.stat_persisted().encode(out);
}
