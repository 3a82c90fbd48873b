//! The digest that the tree will have after a transaction (behaviour 16), computed along the
//! changes: `precalculateDigest` and `setTxnDigest`.
//!
//! The tree's digest is the wrapping sum of its nodes' digests (`AdHash`), so that each change
//! takes away a node's old digest and adds its new one. Nodes below /zookeeper count 0.

use super::{PendingNode, Preparation};
use crate::proto::txn::TxnDigest;
use crate::tree::DIGEST_VERSION;

impl Preparation<'_, '_, '_> {
    /// Queues that `path` becomes `node`, whose `digest` still is the one before the change: 0 for
    /// a new node.
    pub(super) fn change_node(&mut self, path: &str, mut node: PendingNode) {
        let old_digest = node.digest;
        let calculator = self.context.tree.digest_calculator();
        node.digest = calculator.calculate(path, node.data.as_deref(), &node.stat);
        let context = &mut *self.context;
        context.changes.add(context.tree, self.header.zxid, path, Some(node), old_digest);
    }

    /// Queues that the node at `path`, which is `node` until now, goes.
    pub(super) fn remove_node(&mut self, path: &str, node: &PendingNode) {
        let context = &mut *self.context;
        context.changes.add(context.tree, self.header.zxid, path, None, node.digest);
    }

    /// The digest to write behind the transaction: of the tree with everything outstanding.
    pub(super) fn txn_digest(&self) -> Option<TxnDigest> {
        let context = &*self.context;
        context.tree.options().digest_enabled.then(|| TxnDigest {
            version: DIGEST_VERSION,
            tree_digest: context.changes.current_tree_digest(context.tree) as i64,
        })
    }
}
