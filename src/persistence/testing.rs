//! What the tests of this module share: transactions, and a tree that only remembers which of them
//! it saw.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use super::file_snap::{SnapshotSink, SnapshotSource, SnapshotTrailer};
use super::file_txn_log::{FileTxnLog, TxnLogOptions};
use super::file_txn_snap_log::RestoreTarget;
use super::sim_disk::SimDisk;
use super::snap_stream::SnapReader;
use crate::jute::OutputExt;
use crate::proto::txn::SetDataTxn;
use crate::proto::{SessionId, Txn, TxnHeader, TxnLogEntry, Zxid};
use crate::tree::ZxidDigest;

/// A setData transaction whose data is as long as asked.
pub(super) fn entry_of(zxid: i64, data_bytes: usize) -> TxnLogEntry {
    let txn = SetDataTxn {
        path: "/some/path".into(),
        data: Some((0..data_bytes).map(|i| (i as i64 ^ zxid) as u8).collect()),
        version: 1,
    };
    let header =
        TxnHeader { client_id: SessionId(0x77), cxid: 1, zxid: Zxid(zxid), time: 9, txn_type: 5 };
    TxnLogEntry::new(header, Txn::SetData(txn), None)
}

pub(super) fn entry(zxid: i64) -> TxnLogEntry {
    entry_of(zxid, 20)
}

/// A simulated disk with an empty log directory.
pub(super) fn sim_dir() -> (SimDisk, Arc<dyn Disk>, PathBuf) {
    let sim = SimDisk::default();
    let dir = PathBuf::from("/data/version-2");
    sim.create_dir_all(&dir).unwrap();
    (sim.clone(), Arc::new(sim), dir)
}

pub(super) fn log_in(disk: &Arc<dyn Disk>, dir: &Path) -> FileTxnLog {
    let options = TxnLogOptions { pre_alloc_bytes: 4096, ..TxnLogOptions::default() };
    FileTxnLog::new(Arc::clone(disk), dir.to_owned(), options)
}

/// The zxids from `from` on, or the error's text.
pub(super) fn zxids(log: &FileTxnLog, from: i64) -> Result<Vec<i64>, String> {
    let entries = log.read(Zxid(from)).map_err(|error| error.to_string())?;
    entries.map(|entry| entry.map(|entry| entry.zxid().0).map_err(|e| e.to_string())).collect()
}

/// The zxids that reached the tree, in a snapshot or from the log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct FakeTree {
    pub(super) zxids: Vec<i64>,
    pub(super) last: i64,
    pub(super) digest: Option<ZxidDigest>,
}

impl FakeTree {
    pub(super) fn with(zxids: impl IntoIterator<Item = i64>) -> FakeTree {
        let zxids: Vec<i64> = zxids.into_iter().collect();
        let last = zxids.last().copied().unwrap_or(0);
        FakeTree { zxids, last, digest: None }
    }
}

pub(super) struct FakeSource<'a> {
    pub(super) tree: &'a FakeTree,
    pub(super) done: usize,
    pub(super) trailer: SnapshotTrailer,
}

impl FakeSource<'_> {
    pub(super) fn new(tree: &FakeTree) -> FakeSource<'_> {
        FakeSource { tree, done: 0, trailer: SnapshotTrailer::default() }
    }
}

impl SnapshotSource for FakeSource<'_> {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.done == 0 {
            out.put_count(self.tree.zxids.len());
        }
        for zxid in self.tree.zxids.iter().skip(self.done).take(100) {
            out.put_i64(*zxid);
            self.done += 1;
        }
        let is_last = self.done == self.tree.zxids.len();
        if is_last {
            out.put_str("/");
        }
        Ok(is_last)
    }

    fn trailer(&mut self) -> SnapshotTrailer {
        self.trailer
    }
}

impl SnapshotSink for FakeTree {
    fn clear(&mut self) {
        *self = FakeTree::default();
    }

    fn load(&mut self, stream: &mut SnapReader) -> io::Result<()> {
        let mut count = [0; 4];
        stream.read_exact(&mut count)?;
        for _ in 0..i32::from_be_bytes(count) {
            let mut zxid = [0; 8];
            stream.read_exact(&mut zxid)?;
            self.zxids.push(i64::from_be_bytes(zxid));
        }
        stream.read_exact(&mut [0; 5])
    }
}

impl RestoreTarget for FakeTree {
    fn snapshot_loaded(&mut self, zxid: Zxid, digest: Option<ZxidDigest>) {
        self.last = zxid.0;
        self.digest = digest;
    }

    fn process_txn(&mut self, entry: &TxnLogEntry) {
        self.zxids.push(entry.zxid().0);
        self.last = entry.zxid().0;
    }

    fn last_processed_zxid(&self) -> Zxid {
        Zxid(self.last)
    }

    fn fuzzy_until(&self) -> Option<Zxid> {
        None
    }

    fn snapshot_source(&mut self) -> io::Result<Box<dyn SnapshotSource + '_>> {
        Ok(Box::new(FakeSource::new(self)))
    }
}
