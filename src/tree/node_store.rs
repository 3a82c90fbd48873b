//! `NodeHashMap`: the nodes in slabs, and the index from path to node.
//!
//! Java maps full path strings to nodes. Here the index holds a hash and a node id only, and
//! compares a path by walking from the node up to the root; that saves the strings, and growth
//! never copies nodes. The index is split into shards so that one growing table is a short pause.
//! The hash is seeded: clients choose paths.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::data_node::{DataNode, NodeId};
use crate::proto::StatPersisted;

const SLAB_BITS: u32 = 12;
const SLAB_SIZE: usize = 1 << SLAB_BITS;
const SHARDS: usize = 256;

/// One entry of the index.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    id: NodeId,
}

impl Entry {
    /// The hash as the table wants it: good low bits for the place, good high bits for the tag.
    fn table_hash(self) -> u64 {
        (u64::from(self.hash) << 32) | u64::from(self.hash)
    }
}

/// The hash of a path under this store's seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathHash(u64);

impl PathHash {
    fn shard(self) -> usize {
        (self.0 >> 56) as usize % SHARDS
    }

    fn entry(self, id: NodeId) -> Entry {
        Entry { hash: self.0 as u32, id }
    }
}

/// A snapshot walk under way holds one of these; see [`NodeHashMap::walk_token`].
pub(super) type WalkToken = Arc<()>;

/// All nodes of a tree. The root is there from the beginning and cannot be removed.
#[derive(Debug)]
pub(super) struct NodeHashMap {
    slabs: Vec<Vec<DataNode>>,
    index: Box<[HashTable<Entry>]>,
    hasher: RandomState,
    live: usize,
    free: Vec<NodeId>,
    /// Freed while a walk was open: their links are still wanted.
    lingering: Vec<NodeId>,
    walks: WalkToken,
    /// Stands in for a slot that does not exist, which no id given out here names.
    nothing: DataNode,
}

impl NodeHashMap {
    /// A store with only a root.
    pub(super) fn new(root: DataNode) -> NodeHashMap {
        let mut nothing = DataNode::new("", None, &StatPersisted::default(), 0);
        nothing.free();
        let mut store = NodeHashMap {
            slabs: Vec::new(),
            index: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
            live: 1,
            free: Vec::new(),
            lingering: Vec::new(),
            walks: Arc::new(()),
            nothing,
        };
        store.push(root);
        store
    }

    /// The number of nodes, the root once.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// The node in a slot; a freed one for an id that was never given out.
    pub(super) fn node(&self, id: NodeId) -> &DataNode {
        self.slabs
            .get((id.0 >> SLAB_BITS) as usize)
            .and_then(|slab| slab.get(id.0 as usize % SLAB_SIZE))
            .unwrap_or(&self.nothing)
    }

    /// The node in a slot, to change it.
    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut DataNode {
        let slab = self.slabs.get_mut((id.0 >> SLAB_BITS) as usize);
        match slab.and_then(|slab| slab.get_mut(id.0 as usize % SLAB_SIZE)) {
            Some(node) => node,
            None => &mut self.nothing,
        }
    }

    /// The hash of `path` for [`insert`](Self::insert) and [`remove`](Self::remove).
    pub(super) fn hash(&self, path: &str) -> PathHash {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(path.as_bytes());
        PathHash(hasher.finish())
    }

    /// The node at `path`. Any text is allowed: "" and "/" are the root, what does not name a node
    /// is `None`.
    pub(super) fn find(&self, path: &str) -> Option<NodeId> {
        if path.len() <= 1 {
            return matches!(path, "" | "/").then_some(NodeId::ROOT);
        }
        self.find_hashed(path, self.hash(path))
    }

    /// As [`find`](Self::find) for a path that is not the root's.
    pub(super) fn find_hashed(&self, path: &str, hash: PathHash) -> Option<NodeId> {
        let wanted = hash.entry(NodeId::NONE);
        let shard = self.index.get(hash.shard())?;
        shard
            .find(wanted.table_hash(), |entry| {
                entry.hash == wanted.hash && self.has_path(entry.id, path)
            })
            .map(|entry| entry.id)
    }

    /// Compares from the last name to the first.
    fn has_path(&self, mut id: NodeId, path: &str) -> bool {
        let mut rest = path.as_bytes();
        while id != NodeId::ROOT {
            let node = self.node(id);
            let Some(before) = rest.strip_suffix(node.name.as_bytes()) else { return false };
            let Some(before) = before.strip_suffix(b"/") else { return false };
            if node.is_freed() {
                return false;
            }
            rest = before;
            id = node.parent;
        }
        rest.is_empty()
    }

    /// The child `name` of `parent`, found by its path.
    pub(super) fn path(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut length = 0;
        let mut at = id;
        while at != NodeId::ROOT && at != NodeId::NONE {
            let node = self.node(at);
            length += node.name.len() + 1;
            names.push(node.name.as_str());
            at = node.parent;
        }
        if names.is_empty() {
            return "/".to_owned();
        }
        let mut path = String::with_capacity(length);
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// Adds `node` as the newest child of `parent`. The caller made sure that there is none of
    /// this path; `hash` is the path's.
    pub(super) fn insert(&mut self, parent: NodeId, mut node: DataNode, hash: PathHash) -> NodeId {
        let next = self.node(parent).first_child;
        node.parent = parent;
        node.next = next;
        let id = self.allocate(node);
        if let Some(next) = next.some() {
            self.node_mut(next).prev = id;
        }
        let parent = self.node_mut(parent);
        parent.first_child = id;
        parent.add_to_child_count(1);
        if let Some(shard) = self.index.get_mut(hash.shard()) {
            let entry = hash.entry(id);
            shard.insert_unique(entry.table_hash(), entry, |entry| entry.table_hash());
        }
        self.live += 1;
        id
    }

    /// Takes a node without children out of the tree. `hash` is its path's.
    pub(super) fn remove(&mut self, id: NodeId, hash: PathHash) {
        if id == NodeId::ROOT || self.node(id).is_freed() {
            return;
        }
        if let Some(shard) = self.index.get_mut(hash.shard()) {
            let wanted = hash.entry(id).table_hash();
            if let Ok(entry) = shard.find_entry(wanted, |entry| entry.id == id) {
                entry.remove();
            }
        }
        let node = self.node(id);
        let (parent, next, prev) = (node.parent, node.next, node.prev);
        match prev.some() {
            Some(prev) => self.node_mut(prev).next = next,
            None => self.node_mut(parent).first_child = next,
        }
        if let Some(next) = next.some() {
            self.node_mut(next).prev = prev;
        }
        self.node_mut(parent).add_to_child_count(-1);
        self.node_mut(id).free();
        self.live -= 1;
        if self.is_walked() {
            self.lingering.push(id);
        } else {
            self.free.push(id);
        }
    }

    /// Marks a walk as open until the token is dropped.
    pub(super) fn walk_token(&self) -> WalkToken {
        Arc::clone(&self.walks)
    }

    /// The token was given out by this store.
    pub(super) fn owns(&self, token: &WalkToken) -> bool {
        Arc::ptr_eq(&self.walks, token)
    }

    /// Some walk is open. Tokens are given out under a shared guard, so under the writer's guard
    /// the answer can only turn from yes to no.
    pub(super) fn is_walked(&self) -> bool {
        Arc::strong_count(&self.walks) > 1
    }

    /// Every node added from now on has an id of at least this while a walk is open.
    pub(super) fn next_fresh_id(&self) -> NodeId {
        let full = self.slabs.len().saturating_sub(1) * SLAB_SIZE;
        NodeId((full + self.slabs.last().map_or(0, Vec::len)) as u32)
    }

    /// The ids of `id` and all below it, parents before children.
    pub(super) fn subtree(&self, id: NodeId) -> Subtree<'_> {
        Subtree { store: self, top: id, next: id.some() }
    }

    fn allocate(&mut self, node: DataNode) -> NodeId {
        if !self.is_walked() {
            if !self.lingering.is_empty() {
                self.free.append(&mut self.lingering);
            }
            if let Some(id) = self.free.pop() {
                *self.node_mut(id) = node;
                return id;
            }
        }
        self.push(node)
    }

    fn push(&mut self, node: DataNode) -> NodeId {
        let id = self.next_fresh_id();
        match self.slabs.last_mut() {
            Some(slab) if slab.len() < SLAB_SIZE => slab.push(node),
            _ => {
                let mut slab = Vec::with_capacity(SLAB_SIZE);
                slab.push(node);
                self.slabs.push(slab);
            }
        }
        id
    }
}

/// The ids of a subtree in pre-order.
pub(super) struct Subtree<'a> {
    store: &'a NodeHashMap,
    top: NodeId,
    next: Option<NodeId>,
}

impl Iterator for Subtree<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let id = self.next?;
        let node = self.store.node(id);
        self.next = node.first_child.some().or_else(|| {
            let mut at = id;
            while at != self.top {
                let node = self.store.node(at);
                if let Some(next) = node.next.some() {
                    return Some(next);
                }
                at = node.parent.some()?;
            }
            None
        });
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn node(name: &str) -> DataNode {
        DataNode::new(name, None, &StatPersisted::default(), 0)
    }

    fn store() -> NodeHashMap {
        NodeHashMap::new(node(""))
    }

    fn insert(store: &mut NodeHashMap, path: &str) -> NodeId {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = store.find(parent).unwrap();
        let hash = store.hash(path);
        store.insert(parent, node(name), hash)
    }

    fn children(store: &NodeHashMap, id: NodeId) -> Vec<&str> {
        let mut names = Vec::new();
        let mut at = store.node(id).first_child;
        while let Some(child) = at.some() {
            names.push(store.node(child).name.as_str());
            at = store.node(child).next;
        }
        names
    }

    #[test]
    fn any_text_may_be_looked_up() {
        let mut store = store();
        insert(&mut store, "/a");
        let found = insert(&mut store, "/a/b");
        for path in
            ["foo", "//", "/a/", "//a", "/a//b", "a", "a/b", "/b", "/a/b/", " ", "\0", "/ab"]
        {
            assert_eq!(store.find(path), None, "{path:?}");
        }
        assert_eq!(store.find("/a/b"), Some(found));
        assert_eq!(store.find(""), Some(NodeId::ROOT));
        assert_eq!(store.find("/"), Some(NodeId::ROOT));
        assert_eq!(store.path(found), "/a/b");
        assert_eq!(store.path(NodeId::ROOT), "/");
    }

    #[test]
    fn children_come_newest_first() {
        let mut store = store();
        for name in ["/a", "/b", "/c"] {
            insert(&mut store, name);
        }
        assert_eq!(children(&store, NodeId::ROOT), ["c", "b", "a"]);
    }

    #[test]
    fn the_root_cannot_be_removed_and_unknown_ids_do_no_harm() {
        let mut store = store();
        let hash = store.hash("");
        store.remove(NodeId::ROOT, hash);
        store.remove(NodeId(77), hash);
        store.node_mut(NodeId(77)).version = 3;
        assert_eq!(store.len(), 1);
        assert!(store.node(NodeId(77)).is_freed());
    }

    #[test]
    fn slabs_follow_each_other() {
        let mut store = store();
        for number in 0..3 * SLAB_SIZE {
            insert(&mut store, &format!("/{number}"));
        }
        assert_eq!(store.len(), 3 * SLAB_SIZE + 1);
        for number in 0..3 * SLAB_SIZE {
            let path = format!("/{number}");
            let found = store.find(&path).map(|id| store.path(id));
            assert_eq!(found, Some(path));
        }
    }

    /// Names that overlap, of all lengths around the inline limit of a name.
    const NAMES: [&str; 6] =
        ["a", "aa", "b", "ü", "a-name-of-23-bytes-----", "a-name-of-24-bytes------"];

    proptest! {
        #[test]
        fn the_store_agrees_with_a_map(
            steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0..NAMES.len(), 1..4)), 1..300)
        ) {
            let mut store = store();
            let mut model: BTreeMap<String, u64> = BTreeMap::new();
            for (number, (create, names)) in (1..).zip(&steps) {
                let path: String = names.iter().map(|name| format!("/{}", NAMES[*name])).collect();
                let parent = path.rsplit_once('/').unwrap().0;
                let below = format!("{path}/");
                let has_parent = parent.is_empty() || model.contains_key(parent);
                let has_children = model.keys().any(|key| key.starts_with(&below));
                if *create && has_parent && !model.contains_key(&path) {
                    let id = insert(&mut store, &path);
                    store.node_mut(id).czxid = number as i64;
                    model.insert(path, number);
                } else if !create && !has_children && model.remove(&path).is_some() {
                    let (id, hash) = (store.find(&path).unwrap(), store.hash(&path));
                    store.remove(id, hash);
                    prop_assert_eq!(store.find(&path), None);
                }
                prop_assert_eq!(store.len(), model.len() + 1);
            }
            for (path, number) in &model {
                let id = store.find(path).unwrap();
                prop_assert_eq!(store.node(id).czxid as u64, *number);
                prop_assert_eq!(&store.path(id), path);
                let below = format!("{path}/");
                let mut expected: Vec<(u64, &str)> = model
                    .iter()
                    .filter_map(|(key, number)| Some((*number, key.strip_prefix(&below)?)))
                    .filter(|(_, name)| !name.contains('/'))
                    .collect();
                expected.sort_by(|a, b| b.cmp(a));
                let names: Vec<&str> = expected.into_iter().map(|(_, name)| name).collect();
                prop_assert_eq!(store.node(id).child_count() as usize, names.len());
                prop_assert_eq!(children(&store, id), names);
                let subtree = model.keys().filter(|key| key.starts_with(&below)).count();
                prop_assert_eq!(store.subtree(id).count(), subtree + 1);
            }
            prop_assert_eq!(store.subtree(NodeId::ROOT).count(), model.len() + 1);
        }
    }
}
