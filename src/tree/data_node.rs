//! `DataNode`: one znode as it lies in memory.
//!
//! Java keeps a set of child names per node and the whole path as the key of a map. Here a node
//! holds its own name and links to its parent, first child and siblings, so that ten million of
//! them fit; the digest is the CRC32 itself, 32 bits.

use smol_str::SmolStr;

use crate::jute::Buffer;
use crate::proto::{EphemeralType, ExtendedTypes, Stat, StatPersisted};

/// Where a node lies in the slabs of [`NodeHashMap`](super::node_store::NodeHashMap).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

impl NodeId {
    /// The root, always there.
    pub(super) const ROOT: NodeId = NodeId(0);
    /// No node: the end of a list of siblings, the parent of the root.
    pub(super) const NONE: NodeId = NodeId(u32::MAX);

    /// The node, if there is one.
    pub(super) fn some(self) -> Option<NodeId> {
        (self != NodeId::NONE).then_some(self)
    }
}

/// A slot of this many children is free.
const FREED: u32 = u32::MAX;

/// One znode. Children are a doubly linked list of siblings, newest first.
#[derive(Debug)]
pub(super) struct DataNode {
    pub(super) name: SmolStr,
    pub(super) data: Buffer,
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) ctime: i64,
    pub(super) mtime: i64,
    pub(super) pzxid: i64,
    pub(super) ephemeral_owner: i64,
    pub(super) version: i32,
    pub(super) cversion: i32,
    pub(super) aversion: i32,
    /// The slot of the ACL in [`AclCache`](super::acl_cache::ReferenceCountedAclCache).
    pub(super) acl: u32,
    /// Invariant: what [`digest`](super::digest) computes for this node, or 0 where nodes do not
    /// count. Java marks it stale instead; here every change recomputes it at once.
    pub(super) digest: u32,
    pub(super) parent: NodeId,
    pub(super) first_child: NodeId,
    /// The next older sibling. Kept when the node is freed, see [`super::serialize`].
    pub(super) next: NodeId,
    pub(super) prev: NodeId,
    child_count: u32,
}

// Ten million of them: two cache lines each, not a byte more.
const _: () = assert!(size_of::<DataNode>() <= 128);

impl DataNode {
    /// A node without links.
    pub(super) fn new(name: &str, data: Buffer, stat: &StatPersisted, acl: u32) -> DataNode {
        DataNode {
            name: SmolStr::new(name),
            data,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            pzxid: stat.pzxid,
            ephemeral_owner: stat.ephemeral_owner,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            acl,
            digest: 0,
            parent: NodeId::NONE,
            first_child: NodeId::NONE,
            next: NodeId::NONE,
            prev: NodeId::NONE,
            child_count: 0,
        }
    }

    /// The raw statistics, as stored and digested.
    pub(super) fn stat_persisted(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.ephemeral_owner,
            pzxid: self.pzxid,
        }
    }

    /// The statistics as clients see them (`copyStat`): `cversion` counts changes, not creations,
    /// and the owner is shown for ephemerals only.
    pub(super) fn stat(&self, types: ExtendedTypes) -> Stat {
        let children = self.child_count() as i32;
        let owner = match EphemeralType::of(self.ephemeral_owner, types) {
            EphemeralType::Normal => self.ephemeral_owner,
            EphemeralType::Void | EphemeralType::Container | EphemeralType::Ttl => 0,
        };
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: self.aversion,
            ephemeral_owner: owner,
            data_length: i32::try_from(self.data_len()).unwrap_or(i32::MAX),
            num_children: children,
            pzxid: self.pzxid,
        }
    }

    /// Replaces the raw statistics.
    pub(super) fn set_stat_persisted(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.version = stat.version;
        self.cversion = stat.cversion;
        self.aversion = stat.aversion;
        self.ephemeral_owner = stat.ephemeral_owner;
        self.pzxid = stat.pzxid;
    }

    /// Bytes of data; 0 for null.
    pub(super) fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.len())
    }

    /// The number of children.
    pub(super) fn child_count(&self) -> u32 {
        if self.is_freed() { 0 } else { self.child_count }
    }

    pub(super) fn add_to_child_count(&mut self, difference: i32) {
        if !self.is_freed() {
            self.child_count = self.child_count.saturating_add_signed(difference);
        }
    }

    /// The slot holds no node (any more).
    pub(super) fn is_freed(&self) -> bool {
        self.child_count == FREED
    }

    /// Lets go of everything but the links.
    pub(super) fn free(&mut self) {
        self.data = None;
        self.name = SmolStr::default();
        self.child_count = FREED;
    }
}
