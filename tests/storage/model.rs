//! What the tests here share: transactions that leave their zxid in the tree, a store to apply them
//! to, and a tree as text.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use zabkeeper::persistence::disk::Disk;
use zabkeeper::persistence::{
    FileTxnSnapLog, PersistenceError, RestoreReport, Sessions, SnapLogOptions, StreamMode,
    TreeSnapshot, TxnLogOptions,
};
use zabkeeper::proto::txn::{CreateSessionTxn, CreateTxn};
use zabkeeper::proto::{
    Acl, ExtendedTypes, OpCode, SessionId, Txn, TxnDigest, TxnHeader, TxnLogEntry, Zxid,
};
use zabkeeper::tree::{DataTree, NoWatches, TreeOptions};

/// A data directory in use: the files and the tree that they should give back.
pub struct Store {
    pub files: FileTxnSnapLog,
    pub tree: DataTree,
    pub sessions: Sessions,
    pub report: RestoreReport,
    /// Everything up to here was committed.
    pub acknowledged: i64,
}

pub fn options(compression: StreamMode) -> SnapLogOptions {
    let log = TxnLogOptions { pre_alloc_bytes: 4096, ..TxnLogOptions::default() };
    SnapLogOptions { compression, log, ..SnapLogOptions::default() }
}

pub fn empty_tree() -> DataTree {
    let extended_types = ExtendedTypes { enabled: true, ..ExtendedTypes::default() };
    DataTree::new(TreeOptions { extended_types, ..TreeOptions::default() })
}

impl Store {
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        options: SnapLogOptions,
    ) -> Result<Store, PersistenceError> {
        let mut files = FileTxnSnapLog::new(Arc::clone(disk), dir, dir, options)?;
        let (mut tree, mut sessions) = (empty_tree(), Sessions::new());
        let report = files.restore(&mut tree, &mut sessions, &mut |_| {})?;
        let acknowledged = report.highest_zxid.0;
        Ok(Store { files, tree, sessions, report, acknowledged })
    }

    /// Makes the next transaction: every tenth begins a session, the others create a node.
    pub fn append(&mut self, data: &[u8]) -> Result<(), PersistenceError> {
        let zxid = self.tree.last_processed_zxid().0 + 1;
        let session = SessionId(zxid / 10 + 1);
        let txn = if zxid % 10 == 0 {
            Txn::CreateSession(CreateSessionTxn { timeout_ms: 30_000 })
        } else {
            Txn::Create(CreateTxn {
                path: format!("/n{zxid}"),
                data: Some(data.into()),
                acl: Acl::open_unsafe(),
                ephemeral: false,
                parent_cversion: zxid as i32,
            })
        };
        let txn_type = txn.op_code().as_i32();
        let header = TxnHeader {
            client_id: session,
            cxid: 1,
            zxid: Zxid(zxid),
            time: 1000 + zxid,
            txn_type,
        };
        // The digest belongs to the transaction, so it is applied first, as Prep foresees it.
        if txn.op_code() == OpCode::CreateSession {
            self.sessions.insert(session, 30_000);
        }
        self.tree.process_txn(&header, &txn, &mut NoWatches);
        let tree_digest = self.tree.tree_digest() as i64;
        let entry = TxnLogEntry::new(header, txn, Some(TxnDigest { version: 2, tree_digest }));
        self.files.append(&entry)
    }

    pub fn commit(&mut self) -> Result<(), PersistenceError> {
        self.files.commit()?;
        self.acknowledged = self.tree.last_processed_zxid().0;
        Ok(())
    }

    pub fn save(&mut self) -> Result<(), PersistenceError> {
        // As the server does: only what is in the log is in the tree.
        self.commit()?;
        self.files.roll_log()?;
        let tree = &self.tree;
        let mut source = TreeSnapshot::begin(|act| act(tree), true).unwrap();
        self.files.save(source.zxid(), &self.sessions, &mut source).map(|_| ())
    }

    /// The last transaction, after checking that all before it are in the tree and none behind it.
    pub fn prefix(&self) -> i64 {
        let last = self.tree.last_processed_zxid().0;
        for zxid in 1..=last + 20 {
            if zxid % 10 == 0 {
                let session = self.sessions.contains_key(&SessionId(zxid / 10 + 1));
                assert_eq!(session, zxid <= last, "session of {zxid}, last is {last}");
            } else {
                let node = self.tree.node(&format!("/n{zxid}"));
                assert_eq!(node.is_some(), zxid <= last, "node of {zxid}, last is {last}");
            }
        }
        assert_eq!(self.tree.digest_mismatches(), 0);
        assert_eq!(self.report.uncovered_snapshot_zxid, None);
        last
    }
}

/// Every node with everything that is stored of it, one a line.
pub fn lines(tree: &DataTree) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(path) = open.pop() {
        let node = tree.node(&path).unwrap();
        let data = node.data().as_deref().map(hex);
        lines.insert(format!("{path} {data:?} {:?} {:?}", node.stat_persisted(), node.acl()));
        open.extend(node.children().map(|child| format!("{path}/{child}")));
    }
    lines
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Copies the files of a directory.
pub fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
