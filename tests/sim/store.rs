//! What a process has of its disk: the database, the log, the snapshots and the epochs.
//!
//! The database and its files are those of production, on a disk in memory which keeps apart what a
//! program sees and what survives a loss of power.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zabkeeper::common::config::ServerConfig;
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::persistence::disk::Disk;
use zabkeeper::persistence::sim_disk::SimDisk;
use zabkeeper::persistence::{FileTxnSnapLog, SnapLogOptions, TxnLogOptions};
use zabkeeper::proto::{Code, Txn, TxnLogEntry, Zxid};
use zabkeeper::quorum::quorum_database::{DatabaseError, QuorumDatabase};
use zabkeeper::quorum::verifier::QuorumVerifier;
use zabkeeper::server::zk_database::ZkDatabase;
use zabkeeper::tree::{NoWatches, SnapshotWalk};

use crate::shared::{Step, Stop, role_over};

const DATA_DIR: &str = "/data";
const EPOCH_DIR: &str = "/data/version-2";
const ACCEPTED_EPOCH: &str = "acceptedEpoch";
const CURRENT_EPOCH: &str = "currentEpoch";
/// What follows a snapshot in the stream to a learner.
const SIGNATURE: &[u8] = b"BenWasHere";

/// An error of the disk is the end of the process, as in production. What failed is in the trace:
/// the disk was told to.
fn crash(_: impl std::fmt::Display) -> Stop {
    Stop::Crash
}

pub struct Store {
    pub disk: SimDisk,
    files: QuorumDatabase,
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// The last transaction appended, and the last one synced.
    pub logged: Zxid,
    pub durable: Zxid,
    pub since_snapshot: u64,
    newest_snapshot: Option<PathBuf>,
}

impl Store {
    /// Starts on what is there. `Err` with the reason when a server would refuse to.
    pub fn open(
        disk: &SimDisk,
        config: &Arc<ServerConfig>,
        metrics: &Arc<ServerMetrics>,
        verifier: &QuorumVerifier,
    ) -> Result<Store, String> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let log = TxnLogOptions { pre_alloc_bytes: 4096, ..TxnLogOptions::default() };
        let options = SnapLogOptions { log, ..SnapLogOptions::default() };
        let data = Path::new(DATA_DIR);
        let snap_log = FileTxnSnapLog::new(shared, data, data, options).map_err(text)?;
        let files = QuorumDatabase::load(snap_log, config, metrics, verifier).map_err(text)?;
        let last = files.last_logged_zxid();
        let mut store = Store {
            disk: disk.clone(),
            files,
            accepted_epoch: 0,
            current_epoch: 0,
            logged: last,
            durable: last,
            since_snapshot: 0,
            newest_snapshot: None,
        };
        store.load_epochs()?;
        Ok(store)
    }

    pub fn db(&self) -> &ZkDatabase {
        &self.files.db
    }

    pub fn last_processed(&self) -> Zxid {
        self.files.db.last_processed_zxid()
    }

    pub fn digest(&self) -> u64 {
        self.files.db.tree().tree_digest()
    }

    /// As `QuorumPeer.loadDataBase`: epochs behind the log are raised (ZOOKEEPER-1653).
    fn load_epochs(&mut self) -> Result<(), String> {
        let of_log = self.logged.epoch();
        let current = self.read_epoch(CURRENT_EPOCH)?;
        self.current_epoch = current.unwrap_or(of_log).max(of_log);
        if current != Some(self.current_epoch) {
            self.write_epoch(CURRENT_EPOCH, self.current_epoch).map_err(text)?;
        }
        let accepted = self.read_epoch(ACCEPTED_EPOCH)?;
        self.accepted_epoch = accepted.unwrap_or(of_log).max(self.current_epoch);
        if accepted != Some(self.accepted_epoch) {
            self.write_epoch(ACCEPTED_EPOCH, self.accepted_epoch).map_err(text)?;
        }
        Ok(())
    }

    fn read_epoch(&self, name: &str) -> Result<Option<i64>, String> {
        match self.disk.read(&Path::new(EPOCH_DIR).join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(text(error)),
            Ok(bytes) => {
                let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
                number.map(Some).ok_or_else(|| format!("{name} holds {bytes:?}"))
            }
        }
    }

    /// As `AtomicFileOutputStream`, with the directory synced.
    fn write_epoch(&self, name: &str, epoch: i64) -> io::Result<()> {
        let dir = Path::new(EPOCH_DIR);
        let (temporary, target) = (dir.join(format!("{name}.tmp")), dir.join(name));
        let mut file = self.disk.create(&temporary)?;
        file.write(epoch.to_string().as_bytes())?;
        file.sync()?;
        drop(file);
        self.disk.rename(&temporary, &target)?;
        self.disk.sync_dir(dir)
    }

    pub fn set_accepted_epoch(&mut self, epoch: i64) -> Step {
        self.write_epoch(ACCEPTED_EPOCH, epoch).map_err(crash)?;
        self.accepted_epoch = epoch;
        Ok(())
    }

    pub fn set_current_epoch(&mut self, epoch: i64) -> Step {
        self.write_epoch(CURRENT_EPOCH, epoch).map_err(crash)?;
        self.current_epoch = epoch;
        Ok(())
    }

    /// Appends to the log; durable with the next [`sync`](Self::sync).
    pub fn append(&mut self, entry: &TxnLogEntry) -> Step {
        self.files.snap_log.append(entry).map_err(crash)?;
        self.logged = entry.zxid();
        self.since_snapshot += 1;
        Ok(())
    }

    pub fn sync(&mut self) -> Step {
        self.files.snap_log.commit().map_err(crash)?;
        self.durable = self.logged;
        Ok(())
    }

    /// Applies to the tree, to the table of sessions, and adds to the committed log, in the order
    /// in which `FinalRequestProcessor` publishes them. The code for the reply.
    pub fn apply(&mut self, entry: &Arc<TxnLogEntry>, keeps_committed: bool) -> Code {
        let db = &self.files.db;
        let mut tree = db.tree_mut();
        let code = tree.process_entry(entry, &mut NoWatches).code;
        db.set_last_processed_zxid(entry.zxid());
        drop(tree);
        match &entry.txn {
            Txn::CreateSession(txn) => db.commit_session(entry.header.client_id, txn.timeout_ms),
            Txn::CloseSession(_) => db.remove_session(entry.header.client_id),
            _ => {}
        }
        if keeps_committed {
            db.add_committed([Arc::clone(entry)]);
        }
        code
    }

    /// Applies what the log has and the tree does not (`fastForwardDataBase`).
    pub fn fast_forward(&mut self) -> Step {
        let last = self.files.fast_forward().map_err(crash)?;
        (self.logged, self.durable) = (last, last);
        Ok(())
    }

    /// Everything anew from the disk.
    pub fn reload(&mut self) -> Step {
        let last = self.files.reload().map_err(crash)?;
        (self.logged, self.durable) = (last, last);
        Ok(())
    }

    /// A new leader's epoch begins: the next transaction is the first of it.
    pub fn begin_epoch(&mut self, zxid: Zxid) {
        self.files.set_last_processed_zxid(zxid);
    }

    /// Forgets everything behind `zxid`. The role ends when the files do not reach so far back.
    pub fn truncate(&mut self, zxid: Zxid) -> Step {
        match self.files.truncate_log(zxid) {
            Ok(()) => {}
            Err(DatabaseError::Persistence(error)) => return Err(crash(error)),
            Err(error) => return role_over(error),
        }
        (self.logged, self.durable) = (zxid, zxid);
        Ok(())
    }

    /// Cuts the log behind `zxid`; the tree stays.
    pub fn discard_log_after(&mut self, zxid: Zxid) -> Step {
        self.files.discard_log_after(zxid).map_err(crash)?;
        self.logged = self.logged.min(zxid);
        self.durable = self.durable.min(zxid);
        Ok(())
    }

    /// Writes a snapshot of the tree; the log goes on in a new file.
    pub fn write_snapshot(&mut self) -> Step {
        let path = self.files.take_snapshot_synced().map_err(crash)?;
        self.newest_snapshot = Some(path);
        self.since_snapshot = 0;
        self.logged = self.logged.max(self.last_processed());
        self.durable = self.logged;
        Ok(())
    }

    /// The snapshot written last has replaced everything else.
    pub fn set_aside_others(&mut self) -> Step {
        let Some(snapshot) = &self.newest_snapshot else { return Ok(()) };
        self.files.set_aside_all_but(snapshot).map_err(crash)
    }

    /// A snapshot for a learner begins now.
    pub fn begin_walk(&self) -> SnapshotWalk {
        self.files.db.tree().begin_walk()
    }

    /// Tree and sessions as a leader streams them: the sessions, then the tree, then a signature.
    /// The tree may have gone on since the walk began: the snapshot is fuzzy.
    pub fn snapshot_stream(&self, walk: &mut SnapshotWalk) -> Arc<[u8]> {
        let db = &self.files.db;
        let mut out = Vec::new();
        let mut sessions: Vec<_> = db.sessions().into_iter().collect();
        sessions.sort();
        out.extend_from_slice(&(sessions.len() as u32).to_be_bytes());
        for (id, timeout_ms) in sessions {
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(&timeout_ms.to_be_bytes());
        }
        let tree = db.tree();
        // A tree that nobody replaces can be walked to its end.
        while !tree.walk_chunk(walk, &mut out, 64).unwrap() {}
        out.extend_from_slice(&(SIGNATURE.len() as u32).to_be_bytes());
        out.extend_from_slice(SIGNATURE);
        out.into()
    }

    /// Takes over a leader's tree, in memory only.
    pub fn load_stream(&mut self, mut stream: &[u8], zxid: Zxid) -> Step {
        match self.files.deserialize_snapshot(&mut stream, zxid) {
            Ok(()) => Ok(()),
            Err(DatabaseError::Persistence(error)) => Err(crash(error)),
            Err(error) => role_over(error),
        }
    }

    /// The log from the file with `zxid` on, up to `until`; for learners that are far behind.
    pub fn read_log(&self, zxid: Zxid, until: Zxid) -> Result<Vec<Arc<TxnLogEntry>>, String> {
        let mut found = Vec::new();
        for entry in self.files.snap_log.read_txn_log(zxid).map_err(text)? {
            let entry = entry.map_err(text)?;
            if entry.zxid() > until {
                break;
            }
            found.push(Arc::new(entry));
        }
        Ok(found)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
