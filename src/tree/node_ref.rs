//! A node as readers see it.

use std::sync::Arc;

use super::DataTree;
use super::data_node::{DataNode, NodeId};
use crate::jute::Buffer;
use crate::proto::{Acl, EphemeralType, Stat, StatPersisted};

/// A node of a tree that is borrowed. Copying it is free.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    pub(super) tree: &'a DataTree,
    pub(super) id: NodeId,
    pub(super) node: &'a DataNode,
}

impl<'a> NodeRef<'a> {
    /// The last name of the path; "" for the root.
    pub fn name(&self) -> &'a str {
        &self.node.name
    }

    /// The path, "/" for the root.
    pub fn path(&self) -> String {
        self.tree.nodes.path(self.id)
    }

    /// The data; null and empty differ.
    pub fn data(&self) -> &'a Buffer {
        &self.node.data
    }

    /// Bytes of data; 0 for null.
    pub fn data_len(&self) -> usize {
        self.node.data_len()
    }

    /// The statistics as clients see them (`copyStat`).
    pub fn stat(&self) -> Stat {
        self.node.stat(self.tree.options.extended_types)
    }

    /// The statistics as stored.
    pub fn stat_persisted(&self) -> StatPersisted {
        self.node.stat_persisted()
    }

    /// The ACL. One that admits nobody if a snapshot did not say.
    pub fn acl(&self) -> Arc<[Acl]> {
        self.tree.acls.acl(self.node.acl)
    }

    /// The number of children.
    pub fn child_count(&self) -> usize {
        self.node.child_count() as usize
    }

    /// The names of the children, newest first.
    pub fn children(&self) -> Children<'a> {
        Children { tree: self.tree, next: self.node.first_child }
    }

    /// The cached digest; 0 for nodes that do not count.
    pub fn digest(&self) -> u64 {
        u64::from(self.node.digest)
    }

    /// The raw owner field.
    pub fn ephemeral_owner(&self) -> i64 {
        self.node.ephemeral_owner
    }

    /// What the owner field says under the tree's setting of extended types.
    pub fn ephemeral_type(&self) -> EphemeralType {
        EphemeralType::of(self.node.ephemeral_owner, self.tree.options.extended_types)
    }
}

impl std::fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NodeRef").field(&self.path()).finish()
    }
}

/// The names of children.
pub struct Children<'a> {
    tree: &'a DataTree,
    next: NodeId,
}

impl<'a> Iterator for Children<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let node = self.tree.nodes.node(self.next.some()?);
        self.next = node.next;
        Some(&node.name)
    }
}
