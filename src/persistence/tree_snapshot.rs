//! The tree as source and target of snapshots and recovery: what `SerializeUtils` and
//! `FileTxnSnapLog.processTransaction` do with a `DataTree`.

use std::io;

use super::file_snap::{SnapshotSink, SnapshotSource, SnapshotTrailer};
use super::file_txn_snap_log::RestoreTarget;
use super::snap_stream::SnapReader;
use crate::proto::{TxnLogEntry, Zxid};
use crate::tree::{DataTree, NoWatches, SnapshotWalk, TreeError, ZxidDigest};

/// Nodes per piece: well under a millisecond under the tree's lock, so that writers hardly notice.
const NODES_PER_CHUNK: usize = 1024;

/// A snapshot of a tree that may be behind a lock. `with_tree` calls its argument with the tree; it
/// takes the lock for reading, each time anew, and holds no lock in between.
pub struct TreeSnapshot<F> {
    with_tree: F,
    walk: SnapshotWalk,
    has_last_zxid_section: bool,
}

impl<F: FnMut(&mut dyn FnMut(&DataTree))> TreeSnapshot<F> {
    /// Begins the walk. `has_last_zxid_section` is `serializeLastProcessedZxid.enabled`.
    pub fn begin(mut with_tree: F, has_last_zxid_section: bool) -> io::Result<TreeSnapshot<F>> {
        let mut walk = None;
        with_tree(&mut |tree| walk = Some(tree.begin_walk()));
        let walk = walk.ok_or_else(|| io::Error::other("no tree to write"))?;
        Ok(TreeSnapshot { with_tree, walk, has_last_zxid_section })
    }

    /// The last transaction that is certain to be in the snapshot: its name.
    pub fn zxid(&self) -> Zxid {
        self.walk.zxid()
    }
}

impl<F: FnMut(&mut dyn FnMut(&DataTree))> SnapshotSource for TreeSnapshot<F> {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let walk = &mut self.walk;
        let mut result = Err(TreeError::Replaced);
        (self.with_tree)(&mut |tree| result = tree.walk_chunk(walk, out, NODES_PER_CHUNK));
        result.map_err(io::Error::other)
    }

    fn trailer(&mut self) -> SnapshotTrailer {
        let mut trailer = SnapshotTrailer::default();
        let has_last_zxid_section = self.has_last_zxid_section;
        (self.with_tree)(&mut |tree| {
            trailer.digest = tree.zxid_digest_section();
            trailer.last_processed_zxid = has_last_zxid_section.then(|| tree.last_processed_zxid());
        });
        trailer
    }
}

impl SnapshotSink for DataTree {
    fn clear(&mut self) {
        *self = DataTree::new(self.options());
    }

    fn load(&mut self, stream: &mut SnapReader) -> io::Result<()> {
        *self = DataTree::load(self.options(), stream).map_err(|error| match error {
            TreeError::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        Ok(())
    }
}

impl RestoreTarget for DataTree {
    fn snapshot_loaded(&mut self, zxid: Zxid, digest: Option<ZxidDigest>) {
        self.add_config_node();
        self.set_last_processed_zxid(zxid);
        if let Some(digest) = digest {
            self.set_digest_from_loaded_snapshot(digest, zxid);
            self.compare_snapshot_digests(zxid);
        }
    }

    fn process_txn(&mut self, entry: &TxnLogEntry) {
        self.process_entry(entry, &mut NoWatches);
    }

    fn last_processed_zxid(&self) -> Zxid {
        DataTree::last_processed_zxid(self)
    }

    fn fuzzy_until(&self) -> Option<Zxid> {
        self.digest_from_loaded_snapshot().map(|digest| digest.zxid)
    }

    fn snapshot_source(&mut self) -> io::Result<Box<dyn SnapshotSource + '_>> {
        let tree = &*self;
        Ok(Box::new(TreeSnapshot::begin(|act: &mut dyn FnMut(&DataTree)| act(tree), true)?))
    }
}
