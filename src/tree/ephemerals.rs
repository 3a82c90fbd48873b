//! The nodes that somebody else will delete: ephemerals by session, containers, nodes with a time
//! to live (`DataTree.ephemerals`, `containers`, `ttls`).

use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use super::data_node::NodeId;
use crate::proto::{EphemeralType, ExtendedTypes, SessionId};

type NodeSet = std::collections::HashSet<NodeId, RandomState>;

/// Node ids, since paths follow from them.
#[derive(Debug, Default)]
pub(super) struct Ephemerals {
    /// A session stays with an empty set when its last ephemeral was deleted one by one, as in
    /// Java, where `dump` shows it.
    sessions: std::collections::HashMap<SessionId, NodeSet, RandomState>,
    containers: NodeSet,
    ttls: NodeSet,
    count: usize,
}

impl Ephemerals {
    /// A node with this owner field came.
    pub(super) fn add(&mut self, owner: i64, id: NodeId, types: ExtendedTypes) {
        match EphemeralType::of(owner, types) {
            EphemeralType::Void => {}
            EphemeralType::Container => {
                self.containers.insert(id);
            }
            EphemeralType::Ttl => {
                self.ttls.insert(id);
            }
            EphemeralType::Normal => {
                if self.sessions.entry(SessionId(owner)).or_default().insert(id) {
                    self.count += 1;
                }
            }
        }
    }

    /// A node with this owner field went.
    pub(super) fn remove(&mut self, owner: i64, id: NodeId, types: ExtendedTypes) {
        match EphemeralType::of(owner, types) {
            EphemeralType::Void => {}
            EphemeralType::Container => {
                self.containers.remove(&id);
            }
            EphemeralType::Ttl => {
                self.ttls.remove(&id);
            }
            EphemeralType::Normal => {
                if let Entry::Occupied(mut nodes) = self.sessions.entry(SessionId(owner))
                    && nodes.get_mut().remove(&id)
                {
                    self.count -= 1;
                }
            }
        }
    }

    /// Takes the session out; its nodes in the order of their slots. `None` if it had none.
    pub(super) fn take(&mut self, session: SessionId) -> Option<Vec<NodeId>> {
        let nodes = self.sessions.remove(&session)?;
        self.count -= nodes.len();
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        Some(nodes)
    }

    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = NodeId> {
        self.sessions.get(&session).into_iter().flatten().copied()
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = NodeId> {
        self.containers.iter().copied()
    }

    pub(super) fn ttls(&self) -> impl Iterator<Item = NodeId> {
        self.ttls.iter().copied()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}
