//! `DataTree`: the tree of nodes, and what is known about it at a glance.
//!
//! Transactions are applied in [`apply`](super::apply), the tree is written and read in
//! [`serialize`](super::serialize) and [`load`](super::load), watches are in
//! [`watch`](super::watch).

use std::sync::Arc;

use super::acl_cache::{OPEN_SLOT, ReferenceCountedAclCache};
use super::data_node::{DataNode, NodeId};
use super::digest::DigestLog;
use super::ephemerals::Ephemerals;
use super::node_store::NodeHashMap;
use super::quotas::{CONFIG_NODE, PROC_ZOOKEEPER, QUOTA_ZOOKEEPER, QuotaPaths};
use super::serialize::AclHistory;
use super::watch::TreeWatches;
use super::{AdHash, DIGEST_VERSION, DigestCalculator, NodeRef, WatchSink, ZxidDigest};
use crate::jute::Buffer;
use crate::proto::{
    Acl, Code, ExtendedTypes, SessionId, Stat, StatPersisted, TxnDigest, TxnHeader, Zxid,
};

/// Settings that change what a tree does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeOptions {
    /// `zookeeper.digest.enabled`, by default true.
    pub digest_enabled: bool,
    /// `zookeeper.extendedTypesEnabled` and its kin.
    pub extended_types: ExtendedTypes,
}

impl Default for TreeOptions {
    fn default() -> Self {
        TreeOptions { digest_enabled: true, extended_types: ExtendedTypes::default() }
    }
}

/// The replicated state.
///
/// Paths given to lookups may be any text: "" and "/" are the root, whatever names no node is
/// answered with "no node".
#[derive(Debug)]
pub struct DataTree {
    pub(super) options: TreeOptions,
    pub(super) nodes: NodeHashMap,
    pub(super) acls: ReferenceCountedAclCache,
    /// Which ACLs nodes had when the walks that are under way began.
    pub(super) acl_history: AclHistory,
    pub(super) digest: AdHash,
    /// `nodeDataSize`: path and data lengths, in Java's units.
    pub(super) node_data_size: i64,
    pub(super) ephemerals: Ephemerals,
    pub(super) quotas: QuotaPaths,
    pub(super) watches: TreeWatches,
    pub(super) last_processed_zxid: Zxid,
    pub(super) digest_log: DigestLog,
    digest_from_loaded_snapshot: Option<ZxidDigest>,
    digest_mismatches: u64,
}

impl DataTree {
    /// A tree with "/", "/zookeeper", "/zookeeper/quota" and "/zookeeper/config".
    pub fn new(options: TreeOptions) -> DataTree {
        let mut tree = DataTree::bare(options);
        tree.add_own_node(PROC_ZOOKEEPER);
        tree.add_own_node(QUOTA_ZOOKEEPER);
        tree.add_config_node();
        tree.node_data_size = tree.approximate_data_size();
        tree
    }

    /// A tree with a root only.
    pub(super) fn bare(options: TreeOptions) -> DataTree {
        let root = DataNode::new("", empty_data(), &StatPersisted::default(), OPEN_SLOT);
        let mut tree = DataTree {
            options,
            nodes: NodeHashMap::new(root),
            acls: ReferenceCountedAclCache::new(),
            acl_history: AclHistory::default(),
            digest: AdHash::default(),
            node_data_size: 0,
            ephemerals: Ephemerals::default(),
            quotas: QuotaPaths::default(),
            watches: TreeWatches::default(),
            last_processed_zxid: Zxid(0),
            digest_log: DigestLog::default(),
            digest_from_loaded_snapshot: None,
            digest_mismatches: 0,
        };
        tree.update_digest(NodeId::ROOT, "");
        tree
    }

    /// The settings.
    pub fn options(&self) -> TreeOptions {
        self.options
    }

    // Lookups.

    /// The node at `path`.
    pub fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        let id = self.nodes.find(path)?;
        Some(NodeRef { tree: self, id, node: self.nodes.node(id) })
    }

    /// Nodes, the root counted twice as in Java's map: a fresh tree has 5 (`getNodeCount`).
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// The nodes below `path`, itself not counted (`getAllChildrenNumber`); 0 if there is none.
    /// Visits them all, except for the root.
    pub fn all_children_number(&self, path: &str) -> i32 {
        let count = match path {
            "/" => self.node_count() - 2,
            // Every key but this one begins with "/".
            "" => self.node_count() - 1,
            _ => match self.nodes.find(path) {
                Some(id) => self.nodes.subtree(id).count() - 1,
                None => 0,
            },
        };
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// Lengths of paths and data, kept up to date (`cachedApproximateDataSize`).
    pub fn cached_approximate_data_size(&self) -> i64 {
        self.node_data_size
    }

    /// Lengths of paths and data, counted anew. Compat: the root counts as "" and as "/", with its
    /// data twice.
    pub fn approximate_data_size(&self) -> i64 {
        // Parents come before children, so the length of the path above is at hand.
        let mut total = node_size("/", self.nodes.node(NodeId::ROOT).data_len());
        let mut above: Vec<(NodeId, i64)> = vec![(NodeId::NONE, -1)];
        for id in self.nodes.subtree(NodeId::ROOT) {
            let node = self.nodes.node(id);
            while above.len() > 1 && above.last().is_some_and(|(at, _)| *at != node.parent) {
                above.pop();
            }
            let parent_length = above.last().map_or(-1, |(_, length)| *length);
            let length = parent_length + 1 + java_length(&node.name);
            total += length + node.data_len() as i64;
            if node.child_count() > 0 {
                above.push((id, length));
            }
        }
        total
    }

    /// Distinct ACLs (`aclCacheSize`).
    pub fn acl_cache_size(&self) -> usize {
        self.acls.len()
    }

    // Nodes that somebody else will delete.

    /// The paths of a session's ephemerals, in no order.
    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        self.ephemerals.of(session).map(|id| self.nodes.path(id)).collect()
    }

    /// Sessions that have, or had, ephemerals (`getSessions`), in no order.
    pub fn sessions_with_ephemerals(&self) -> Vec<SessionId> {
        self.ephemerals.sessions().collect()
    }

    /// The number of ephemerals.
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.count()
    }

    /// The paths of containers, in no order.
    pub fn containers(&self) -> Vec<String> {
        self.ephemerals.containers().map(|id| self.nodes.path(id)).collect()
    }

    /// The paths of nodes with a time to live, in no order.
    pub fn ttls(&self) -> Vec<String> {
        self.ephemerals.ttls().map(|id| self.nodes.path(id)).collect()
    }

    // Zxid and digests.

    /// The last transaction applied.
    pub fn last_processed_zxid(&self) -> Zxid {
        self.last_processed_zxid
    }

    /// Says what a snapshot, or a new epoch, begins with.
    pub fn set_last_processed_zxid(&mut self, zxid: Zxid) {
        self.last_processed_zxid = zxid;
    }

    /// The digest of the whole tree; 0 when digests are switched off.
    pub fn tree_digest(&self) -> u64 {
        self.digest.hash()
    }

    /// What computes digests of nodes under this tree's settings.
    pub fn digest_calculator(&self) -> DigestCalculator {
        DigestCalculator { enabled: self.options.digest_enabled }
    }

    /// The digest after the last transaction; `None` before the first and while a fuzzy snapshot
    /// is being replayed.
    pub fn last_processed_zxid_digest(&self) -> Option<ZxidDigest> {
        self.digest_log.last()
    }

    /// Digests of earlier transactions, every 128th, at most 1024 of them, for the word `hash`.
    pub fn digest_log(&self) -> impl Iterator<Item = &ZxidDigest> {
        self.digest_log.entries()
    }

    /// What to write as digest section of a snapshot after the nodes (`serializeZxidDigest`):
    /// [`ZxidDigest::NONE`] when there is none yet; `None` (no section) when switched off.
    pub fn zxid_digest_section(&self) -> Option<ZxidDigest> {
        let section = self.digest_log.last().unwrap_or(ZxidDigest::NONE);
        self.options.digest_enabled.then_some(section)
    }

    /// The digest section of the snapshot that this tree was loaded from
    /// (`deserializeZxidDigest`). Until the replay reaches its zxid the tree counts as fuzzy, and
    /// digests are not compared. One older than the snapshot itself is of no use.
    pub fn set_digest_from_loaded_snapshot(&mut self, digest: ZxidDigest, snapshot: Zxid) {
        let usable = digest.zxid.0 > 0 && digest.zxid >= snapshot && self.options.digest_enabled;
        self.digest_from_loaded_snapshot = usable.then_some(digest);
    }

    /// The digest that the replay has not reached yet.
    pub fn digest_from_loaded_snapshot(&self) -> Option<ZxidDigest> {
        self.digest_from_loaded_snapshot
    }

    /// Compares with the digest of the loaded snapshot if `zxid` is the one it belongs to. Called
    /// for every transaction; a loader calls it once with the zxid of the snapshot.
    pub fn compare_snapshot_digests(&mut self, zxid: Zxid) {
        let Some(expected) = self.digest_from_loaded_snapshot else { return };
        if zxid != expected.zxid {
            return;
        }
        self.digest_from_loaded_snapshot = None;
        if expected.digest_version != DIGEST_VERSION {
            log::info!(
                "Digest version changed, local: {DIGEST_VERSION}, snapshot: {}, skip comparing digest now.",
                expected.digest_version
            );
        } else if expected.digest != self.tree_digest() {
            self.report_digest_mismatch(zxid, expected.digest);
        }
    }

    /// Compares with the digest that came with a transaction that was just applied
    /// (`compareDigest`); false if they differ. Not compared while fuzzy, across versions, or when
    /// switched off.
    pub fn compare_digest(&mut self, header: &TxnHeader, digest: Option<&TxnDigest>) -> bool {
        let Some(digest) = digest else { return true };
        if !self.options.digest_enabled
            || self.digest_from_loaded_snapshot.is_some()
            || digest.version != DIGEST_VERSION
            || digest.tree_digest as u64 == self.tree_digest()
        {
            return true;
        }
        self.report_digest_mismatch(header.zxid, digest.tree_digest as u64);
        false
    }

    /// How often a digest differed: `digest_mismatches_count`.
    pub fn digest_mismatches(&self) -> u64 {
        self.digest_mismatches
    }

    /// A difference stops nothing. The log gets the first one, then fewer and fewer.
    fn report_digest_mismatch(&mut self, zxid: Zxid, expected: u64) {
        self.digest_mismatches += 1;
        let actual = self.tree_digest();
        match self.digest_mismatches {
            1 => log::error!(
                "First digest mismatch on txn: {zxid}, expected digest is {expected:#x}, actual digest is {actual:#x}"
            ),
            count if count.is_power_of_two() => log::warn!(
                "Digests are not matching. Value is Zxid. {zxid} ({count} mismatches so far)"
            ),
            _ => {}
        }
    }

    // The node of the configuration.

    /// Adds "/zookeeper/config" where a snapshot before 3.5 has none; nothing if it is there.
    pub fn add_config_node(&mut self) {
        if self.nodes.find(CONFIG_NODE).is_some() {
            return;
        }
        self.add_own_node(CONFIG_NODE);
        // ZOOKEEPER-2014: everybody may read it. Compat: through setACL with version -1.
        let _ = self.set_acl(CONFIG_NODE, &Acl::read_unsafe(), -1); // It was just added.
    }

    /// Writes the configuration into its node, as each server does for itself at start
    /// (`initConfigInZKDatabase`): mzxid is the configuration's version, the version is -1.
    pub fn set_config(
        &mut self,
        config: &[u8],
        config_version: i64,
        time_ms: i64,
        sink: &mut dyn WatchSink,
    ) -> Result<Stat, Code> {
        self.add_config_node();
        let data = Some(config.into());
        self.set_data(CONFIG_NODE, &data, -1, Zxid(config_version), time_ms, sink)
    }

    /// The path is one of the server's own, which clients may not delete (`isSpecialPath`).
    pub fn is_special_path(path: &str) -> bool {
        ["/", PROC_ZOOKEEPER, QUOTA_ZOOKEEPER, CONFIG_NODE].contains(&path)
    }

    // For the other parts.

    /// Adds a node of the server's own: no transaction, everything zero.
    fn add_own_node(&mut self, path: &str) {
        let Some((parent, name)) = path.rsplit_once('/') else { return };
        let Some(parent) = self.nodes.find(parent) else { return };
        let stat = StatPersisted::default();
        self.add_node(parent, path, DataNode::new(name, empty_data(), &stat, OPEN_SLOT));
    }

    /// Adds a node that is not there yet, with its digest.
    pub(super) fn add_node(&mut self, parent: NodeId, path: &str, node: DataNode) -> NodeId {
        let hash = self.nodes.hash(path);
        let id = self.nodes.insert(parent, node, hash);
        self.update_digest(id, path);
        id
    }

    /// Recomputes the digest of a node that has changed.
    pub(super) fn update_digest(&mut self, id: NodeId, path: &str) {
        if !self.options.digest_enabled {
            return;
        }
        let calculator = self.digest_calculator();
        let node = self.nodes.node_mut(id);
        let digest = calculator.calculate_u32(path, node.data.as_deref(), &node.stat_persisted());
        self.digest.remove_digest(node.digest.into());
        self.digest.add_digest(digest.into());
        node.digest = digest;
    }
}

fn empty_data() -> Buffer {
    Some(Arc::from([]))
}

/// What a node adds to the data size (`getNodeSize`).
pub(super) fn node_size(path: &str, data_len: usize) -> i64 {
    java_length(path) + data_len as i64
}

/// `String.length()`: UTF-16 units.
pub(super) fn java_length(text: &str) -> i64 {
    let units = if text.is_ascii() { text.len() } else { text.encode_utf16().count() };
    units as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::txn::CreateTxn;
    use crate::proto::{OpCode, Txn};
    use crate::tree::NoWatches;

    #[test]
    fn a_fresh_tree_is_javas() {
        let tree = DataTree::new(TreeOptions::default());
        // From DataTree.getTreeDigest, getNodeCount, cachedApproximateDataSize of 3.9.4.
        assert_eq!(tree.tree_digest(), 1371985504);
        assert_eq!((tree.node_count(), tree.cached_approximate_data_size()), (5, 44));
        assert_eq!(tree.approximate_data_size(), 44);
        assert_eq!(tree.zxid_digest_section(), Some(ZxidDigest::NONE));
        assert_eq!(tree.last_processed_zxid(), Zxid(0));
        assert_eq!(tree.acl_cache_size(), 1);
        let config = tree.node(CONFIG_NODE).unwrap();
        assert_eq!((config.acl()[0].perms, config.stat().aversion), (1, -1));
    }

    #[test]
    fn any_path_may_be_asked_for() {
        let tree = DataTree::new(TreeOptions::default());
        for path in
            ["foo", "//", "/a", "/a/", "/zookeeper/", "//zookeeper", "\0", "zookeeper", "/é"]
        {
            assert!(tree.node(path).is_none(), "{path:?}");
            assert_eq!(tree.all_children_number(path), 0, "{path:?}");
            assert_eq!(tree.quota_path(path), None, "{path:?}");
        }
        for path in ["", "/"] {
            assert_eq!(tree.node(path).unwrap().path(), "/");
        }
    }

    #[test]
    fn all_children_are_counted_as_by_java() {
        let tree = DataTree::new(TreeOptions::default());
        for (path, count) in [("/", 3), ("", 4), ("/zookeeper", 2), ("/zookeeper/quota", 0)] {
            assert_eq!(tree.all_children_number(path), count, "{path:?}");
        }
    }

    #[test]
    fn the_data_size_follows_the_nodes() {
        let mut tree = DataTree::new(TreeOptions::default());
        for (zxid, path) in (1..).zip(["/a", "/a/b", "/a/b/c", "/ü", "/ü/\u{5b57}", "/a/b/d", "/e"])
        {
            let (path, data) = (path.to_owned(), Some(Arc::from([0; 9])));
            let (acl, ephemeral) = (Acl::open_unsafe(), false);
            let txn = Txn::Create(CreateTxn { path, data, acl, ephemeral, parent_cversion: -1 });
            let (client_id, zxid) = (SessionId(0), Zxid(zxid));
            let txn_type = OpCode::Create.as_i32();
            let header = TxnHeader { client_id, cxid: 0, zxid, time: 0, txn_type };
            tree.process_txn(&header, &txn, &mut NoWatches);
        }
        // In UTF-16 units.
        assert_eq!(tree.cached_approximate_data_size(), 44 + 7 * 9 + 2 + 4 + 6 + 2 + 4 + 6 + 2);
        assert_eq!(tree.approximate_data_size(), tree.cached_approximate_data_size());
    }

    #[test]
    fn behaviour_34_the_configuration_is_written_without_a_txn() {
        let mut tree = DataTree::new(TreeOptions::default());
        let digest = tree.tree_digest();
        let stat = tree.set_config(b"server.1=a", 0x100, 5, &mut NoWatches).unwrap();
        assert_eq!((stat.mzxid, stat.version, stat.mtime), (0x100, -1, 5));
        assert_eq!(tree.node(CONFIG_NODE).unwrap().data().as_deref(), Some(&b"server.1=a"[..]));
        // Nodes of the server's own do not count in the digest.
        assert_eq!(tree.tree_digest(), digest);
        assert_eq!(tree.last_processed_zxid(), Zxid(0));
        assert!(["/", "/zookeeper", CONFIG_NODE].into_iter().all(DataTree::is_special_path));
        assert!(!DataTree::is_special_path("/zookeeper/quota/a"));
    }
}
