//! Tree and log of a member between and during its roles (Java: the parts of `ZKDatabase` that
//! `QuorumPeer`, `Leader` and `Learner` use).
//!
//! There is one [`QuorumDatabase`], and whoever holds it owns the log: it moves into a role and
//! comes back from it with the log closed. Then [`fast_forward`](QuorumDatabase::fast_forward)
//! makes the tree the snapshot and the *whole* log, because a vote must tell the last logged zxid
//! (ZOOKEEPER-2845).
//!
//! Deliberate differences:
//! - Truncating sets snapshots aside that are newer than the cut, see `persistence::replaced`. Java
//!   leaves them lying, so a restart brings back what the leader had taken away.
//! - A voter refuses to start when its log ends before a snapshot that does not read: transactions
//!   that it has acknowledged are gone, and a quorum that counts on it could lose them. An observer
//!   acknowledges nothing and goes on with what is there. The leader sends it the rest.

use std::io::{self, BufRead, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::config::{LearnerType, QuorumSettings, ServerConfig};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::persistence::{FileTxnSnapLog, PersistenceError, RestoreTarget, Sessions};
use crate::proto::{SessionId, Zxid};
use crate::quorum::verifier::QuorumVerifier;
use crate::server::committed_log::CommittedLog;
use crate::server::event_sink::CountWrites;
use crate::server::restore::{self, CountedTree, tree_options};
use crate::server::snapshot_taker::take_snapshot;
use crate::server::zk_database::ZkDatabase;
use crate::tree::DataTree;

/// What follows a snapshot in the stream from the leader.
const SIGNATURE: &[u8] = b"BenWasHere";

/// Why a database cannot be used or changed as asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Our disk: the process ends.
    #[error(transparent)]
    Persistence(#[from] PersistenceError),
    /// The stream from the leader: this connection ends.
    #[error("snapshot from the leader: {0}")]
    Stream(io::Error),
    /// The log cannot be cut there: the whole state must come from the leader.
    #[error("Not able to truncate the log to {0}")]
    CannotTruncate(Zxid),
}

/// The database, with the ownership of the log.
pub struct QuorumDatabase {
    /// The tree and the sessions, shared with the servers that serve it.
    pub db: Arc<ZkDatabase>,
    /// The log and the snapshots.
    pub snap_log: FileTxnSnapLog,
    /// Text and version of the membership, for `/zookeeper/config`: what a snapshot has there may be
    /// older.
    membership: (String, i64),
    config: Arc<ServerConfig>,
    metrics: Arc<ServerMetrics>,
}

/// The database while a thread of a role owns the log.
pub struct LentDatabase {
    db: Arc<ZkDatabase>,
    membership: (String, i64),
    config: Arc<ServerConfig>,
    metrics: Arc<ServerMetrics>,
}

impl LentDatabase {
    /// The thread has ended and given its log back, closed.
    pub fn give_back(self, snap_log: FileTxnSnapLog) -> QuorumDatabase {
        let LentDatabase { db, membership, config, metrics } = self;
        QuorumDatabase { db, snap_log, membership, config, metrics }
    }
}

/// Whether a lost tail of the log stops the start; see the module's documentation.
pub fn is_lost_tail_fatal(settings: &QuorumSettings) -> bool {
    settings.learner_type == LearnerType::Participant
}

impl QuorumDatabase {
    /// Restores the newest snapshot and the whole log (Java: `loadDataBase`).
    pub fn load(
        mut snap_log: FileTxnSnapLog,
        config: &Arc<ServerConfig>,
        metrics: &Arc<ServerMetrics>,
        verifier: &QuorumVerifier,
    ) -> Result<QuorumDatabase, PersistenceError> {
        let mut committed = CommittedLog::new(commit_log_count(config));
        let (mut tree, sessions) = load(&mut snap_log, config, metrics, &mut committed)?;
        let membership = (verifier.to_string(), verifier.version());
        set_config_node(&mut tree, &membership, metrics);
        Ok(QuorumDatabase {
            db: Arc::new(ZkDatabase::new(tree, sessions).with_committed_log(committed)),
            snap_log,
            membership,
            config: Arc::clone(config),
            metrics: Arc::clone(metrics),
        })
    }

    /// Hands the log to the thread of a role that appends to it.
    pub fn lend_log(self) -> (LentDatabase, FileTxnSnapLog) {
        let QuorumDatabase { db, snap_log, membership, config, metrics } = self;
        (LentDatabase { db, membership, config, metrics }, snap_log)
    }

    /// The last zxid in the log or the snapshot: that of the tree after `load` and `fast_forward`.
    pub fn last_logged_zxid(&self) -> Zxid {
        self.db.last_processed_zxid()
    }

    /// Applies what the log has and the tree does not (Java: `fastForwardDataBase`). To be called
    /// when no role uses the database; the log is closed.
    pub fn fast_forward(&mut self) -> Result<Zxid, PersistenceError> {
        self.snap_log.close()?;
        let (mut tree, mut sessions) = self.take();
        let before = tree.last_processed_zxid();
        // Rule: what is in the tree and may be sent to learners is the same, without a hole.
        let mut committed = self.take_committed_log();
        let mut add = |entry| committed.add(Arc::new(entry));
        let target = &mut CountedTree { tree: &mut tree, metrics: &self.metrics };
        let result = self.snap_log.fast_forward_from_edits(target, &mut sessions, &mut add);
        let after = tree.last_processed_zxid();
        self.db.put_back(tree, sessions);
        *self.db.committed_log().write() = committed;
        let report = result?;
        if after != before {
            log::info!(
                "Fast forwarded from {before} to {after}, {} txns that were logged",
                report.txns_loaded
            );
        }
        Ok(after)
    }

    /// Forgets the state in memory and restores it from the disk.
    pub fn reload(&mut self) -> Result<Zxid, PersistenceError> {
        self.snap_log.close()?;
        self.clear();
        let mut committed = CommittedLog::new(commit_log_count(&self.config));
        let (mut tree, sessions) =
            load(&mut self.snap_log, &self.config, &self.metrics, &mut committed)?;
        set_config_node(&mut tree, &self.membership, &self.metrics);
        self.db.replace(tree, sessions);
        *self.db.committed_log().write() = committed;
        Ok(self.db.last_processed_zxid())
    }

    /// Empties the state in memory.
    pub fn clear(&mut self) {
        let mut tree = DataTree::new(tree_options(&self.config));
        tree.set_last_processed_zxid(Zxid(0));
        self.db.replace(tree, Sessions::new());
    }

    /// Takes back everything after `zxid`, from the log and from the tree (Java: `truncateLog`).
    ///
    /// Errors: [`CannotTruncate`](DatabaseError::CannotTruncate) when the log or the snapshots do
    /// not reach back so far; then nothing was changed.
    pub fn truncate_log(&mut self, zxid: Zxid) -> Result<(), DatabaseError> {
        self.snap_log.close()?;
        match self.snap_log.truncate_history(zxid) {
            Ok(()) => {}
            Err(PersistenceError::NothingToTruncate | PersistenceError::Gap { .. }) => {
                return Err(DatabaseError::CannotTruncate(zxid));
            }
            Err(error) => return Err(error.into()),
        }
        self.reload()?;
        self.set_last_processed_zxid(zxid);
        Ok(())
    }

    /// Replaces the state in memory by the snapshot that the leader sends, which ends at `zxid`
    /// (Java: `deserializeSnapshot`). Reads exactly the snapshot and its signature. Nothing is on
    /// disk before [`take_snapshot_synced`](Self::take_snapshot_synced).
    ///
    /// Errors: after one the tree is empty.
    pub fn deserialize_snapshot(
        &mut self,
        stream: &mut impl BufRead,
        zxid: Zxid,
    ) -> Result<(), DatabaseError> {
        self.snap_log.close()?;
        self.clear();
        let mut tree = DataTree::new(tree_options(&self.config));
        let mut sessions = Sessions::new();
        read_stream(stream, &mut tree, &mut sessions).map_err(DatabaseError::Stream)?;
        tree.snapshot_loaded(zxid, None);
        set_config_node(&mut tree, &self.membership, &self.metrics);
        self.db.replace(tree, sessions);
        Ok(())
    }

    /// Removes what the log holds after `zxid`, if anything: a snapshot of the leader has replaced
    /// it.
    pub fn discard_log_after(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        self.snap_log.close()?;
        self.snap_log.discard_log_after(zxid)
    }

    /// Writes a snapshot of the tree and makes it durable. To be called after a snapshot of the
    /// leader was received, before anything is acknowledged or logged. Returns its file.
    pub fn take_snapshot_synced(&mut self) -> Result<PathBuf, PersistenceError> {
        self.snap_log.close()?;
        self.save()
    }

    /// Sets all logs and all snapshots but this one aside: it has replaced their history, and what
    /// will be logged next does not follow them.
    pub fn set_aside_all_but(&mut self, snapshot: &Path) -> Result<(), PersistenceError> {
        self.snap_log.set_aside_all_but(snapshot)
    }

    /// Removes the ephemeral nodes of sessions that are not in the table, as a leader does before
    /// it leads (Java: `ZooKeeperServer.loadData`), and writes a snapshot if there were any: no log
    /// tells of it. True then.
    pub fn kill_dead_sessions(&mut self) -> Result<bool, PersistenceError> {
        let (mut tree, sessions) = self.take();
        let has_removed = restore::kill_dead_sessions(&mut tree, &sessions);
        self.db.put_back(tree, sessions);
        if has_removed {
            self.save()?;
        }
        Ok(has_removed)
    }

    /// Sets the zxid from which the next transaction follows, such as the first of a new epoch.
    pub fn set_last_processed_zxid(&mut self, zxid: Zxid) {
        self.db.tree_mut().set_last_processed_zxid(zxid);
        self.db.set_last_processed_zxid(zxid);
    }

    fn save(&self) -> Result<PathBuf, PersistenceError> {
        let snap = self.snap_log.snap_log();
        Ok(take_snapshot(&self.db, snap, &self.config, &self.metrics)?.path)
    }

    /// Takes the committed log out, so that no lock is held while files are read.
    fn take_committed_log(&mut self) -> CommittedLog {
        let empty = CommittedLog::new(commit_log_count(&self.config));
        std::mem::replace(&mut *self.db.committed_log().write(), empty)
    }

    /// Takes tree and sessions out, likewise.
    fn take(&mut self) -> (DataTree, Sessions) {
        self.db.take(DataTree::new(tree_options(&self.config)))
    }
}

/// Puts the membership into `/zookeeper/config` (Java: `initConfigInZKDatabase`).
fn set_config_node(tree: &mut DataTree, (text, version): &(String, i64), metrics: &ServerMetrics) {
    let sink = &mut CountWrites(metrics);
    let result = tree.set_config(text.as_bytes(), *version, time::wall_ms(), sink);
    if let Err(code) = result {
        // The node was just made if it was missing.
        log::error!("Cannot write the membership into its node: {code:?}");
    }
}

fn commit_log_count(config: &ServerConfig) -> usize {
    usize::try_from(config.commit_log_count).unwrap_or(0)
}

fn load(
    snap_log: &mut FileTxnSnapLog,
    config: &ServerConfig,
    metrics: &ServerMetrics,
    committed: &mut CommittedLog,
) -> Result<(DataTree, Sessions), PersistenceError> {
    let mut add = |entry| committed.add(Arc::new(entry));
    let (tree, sessions, _) = restore::load(snap_log, config, metrics, &mut add)?;
    Ok((tree, sessions))
}

/// Java: `SerializeUtils.deserializeSnapshot`, then the signature that `Learner` reads.
fn read_stream(
    stream: &mut impl BufRead,
    tree: &mut DataTree,
    sessions: &mut Sessions,
) -> io::Result<()> {
    use byteorder::{BigEndian, ReadBytesExt};

    let count = stream.read_i32::<BigEndian>()?;
    for _ in 0..count {
        let id = SessionId(stream.read_i64::<BigEndian>()?);
        sessions.insert(id, stream.read_i32::<BigEndian>()?);
    }
    *tree = DataTree::load(tree.options(), stream)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let mut signature = [0; 4 + SIGNATURE.len()];
    stream.read_exact(&mut signature)?;
    let (length, text) = signature.split_at(4);
    if length != (SIGNATURE.len() as u32).to_be_bytes() || text != SIGNATURE {
        return Err(io::Error::new(ErrorKind::InvalidData, "Missing signature"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::disk::RealDisk;
    use crate::persistence::{SnapLogOptions, SnapshotSource, TreeSnapshot};
    use crate::proto::txn::CreateTxn;
    use crate::proto::{Acl, OpCode, Txn, TxnDigest, TxnHeader, TxnLogEntry};
    use crate::quorum::verifier::VerifierOptions;

    fn open(dir: &Path) -> QuorumDatabase {
        let snap_log =
            FileTxnSnapLog::new(Arc::new(RealDisk), dir, dir, SnapLogOptions::default()).unwrap();
        let text = "server.1=h:1:2:participant\nserver.2=h:3:4:participant\nversion=7";
        let verifier = QuorumVerifier::from_config_text(text, &VerifierOptions::default()).unwrap();
        let config = Arc::new(ServerConfig::default());
        QuorumDatabase::load(snap_log, &config, &Arc::default(), &verifier).unwrap()
    }

    fn create(zxid: Zxid, session: SessionId, ephemeral: bool) -> TxnLogEntry {
        let txn_type = OpCode::Create.as_i32();
        let header = TxnHeader { client_id: session, cxid: 1, zxid, time: 1, txn_type };
        let path = format!("/{:x}", zxid.0);
        let acl = Acl::open_unsafe().to_vec();
        let txn = CreateTxn { path, data: None, acl, ephemeral, parent_cversion: 1 };
        TxnLogEntry::new(header, Txn::Create(txn), None::<TxnDigest>)
    }

    fn entry(zxid: Zxid) -> TxnLogEntry {
        create(zxid, SessionId(0), false)
    }

    fn log(database: &mut QuorumDatabase, epoch: i64, counters: std::ops::RangeInclusive<i64>) {
        for counter in counters {
            database.snap_log.append(&entry(Zxid::new(epoch, counter))).unwrap();
        }
        database.snap_log.commit().unwrap();
    }

    fn has(database: &QuorumDatabase, zxid: Zxid) -> bool {
        database.db.tree().node(&format!("/{:x}", zxid.0)).is_some()
    }

    fn committed(database: &QuorumDatabase) -> Vec<i64> {
        let log = database.db.committed_log().read();
        log.proposals().iter().map(|entry| entry.zxid().0).collect()
    }

    #[test]
    fn vote_is_for_what_is_logged_and_not_for_what_was_applied() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(dir.path());
        assert_eq!(database.last_logged_zxid(), Zxid(0));
        log(&mut database, 0, 1..=3);
        assert_eq!((database.last_logged_zxid(), has(&database, Zxid(2))), (Zxid(0), false));
        assert_eq!(database.fast_forward().unwrap(), Zxid(3));
        assert!(has(&database, Zxid(2)));
        assert_eq!(committed(&database), [1, 2, 3]);
        log(&mut database, 0, 4..=4);
        database.fast_forward().unwrap();
        assert_eq!(committed(&database), [1, 2, 3, 4]);
        // And a start finds the same.
        drop(database);
        let database = open(dir.path());
        assert_eq!(database.last_logged_zxid(), Zxid(4));
        assert_eq!(committed(&database), [1, 2, 3, 4]);
    }

    #[test]
    fn membership_is_in_its_node_whatever_was_restored() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(dir.path());
        let text = |database: &QuorumDatabase| {
            let tree = database.db.tree();
            let node = tree.node("/zookeeper/config").unwrap();
            let data = node.data().clone().unwrap();
            (String::from_utf8(data.to_vec()).unwrap(), node.stat().mzxid)
        };
        let expected = "server.1=h:1:2:participant\nserver.2=h:3:4:participant\nversion=7";
        assert_eq!(text(&database), (expected.to_owned(), 7));
        database.reload().unwrap();
        assert_eq!(text(&database).0, expected);
    }

    #[test]
    fn what_was_truncated_is_gone_from_tree_log_and_committed_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(dir.path());
        log(&mut database, 0, 1..=6);
        database.fast_forward().unwrap();
        database.take_snapshot_synced().unwrap();
        database.truncate_log(Zxid(4)).unwrap();
        assert_eq!(database.last_logged_zxid(), Zxid(4));
        assert_eq!(committed(&database), [1, 2, 3, 4]);
        assert!(has(&database, Zxid(4)) && !has(&database, Zxid(5)));
        log(&mut database, 1, 1..=1);
        assert_eq!(database.fast_forward().unwrap(), Zxid::new(1, 1));
        drop(database);
        let mut database = open(dir.path());
        assert_eq!(database.last_logged_zxid(), Zxid::new(1, 1));
        assert!(!has(&database, Zxid(6)));
        // It does not reach so far.
        let error = database.truncate_log(Zxid::new(1, 7)).unwrap_err();
        assert!(matches!(error, DatabaseError::CannotTruncate(_)), "{error}");
        assert_eq!(database.last_logged_zxid(), Zxid::new(1, 1));
    }

    /// A snapshot as a leader sends it.
    fn stream(database: &QuorumDatabase, signature: &str) -> Vec<u8> {
        let mut out = 1i32.to_be_bytes().to_vec();
        out.extend(5i64.to_be_bytes());
        out.extend(4000i32.to_be_bytes());
        let with_tree = |act: &mut dyn FnMut(&DataTree)| act(&database.db.tree());
        let mut source = TreeSnapshot::begin(with_tree, true).unwrap();
        while !source.next_chunk(&mut out).unwrap() {}
        out.extend((signature.len() as u32).to_be_bytes());
        out.extend(signature.as_bytes());
        out
    }

    #[test]
    fn snapshot_of_the_leader_replaces_everything() {
        let [from, to] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut leader = open(from.path());
        log(&mut leader, 3, 1..=5);
        leader.fast_forward().unwrap();
        let mut learner = open(to.path());
        log(&mut learner, 2, 1..=9);
        learner.fast_forward().unwrap();

        let bytes = stream(&leader, "BenWasHere");
        let mut rest = [&bytes[..], b"next packet"].concat();
        let mut reader: &[u8] = &rest;
        learner.deserialize_snapshot(&mut reader, Zxid::new(3, 5)).unwrap();
        assert_eq!(reader, b"next packet");
        let snapshot = learner.take_snapshot_synced().unwrap();
        learner.set_aside_all_but(&snapshot).unwrap();
        assert_eq!(learner.last_logged_zxid(), Zxid::new(3, 5));
        assert!(committed(&learner).is_empty());
        let digest = |database: &QuorumDatabase| database.db.tree().tree_digest();
        assert_eq!(digest(&learner), digest(&leader));
        assert_eq!(learner.db.session_count(), 1);
        drop(learner);
        let mut learner = open(to.path());
        assert_eq!(learner.last_logged_zxid(), Zxid::new(3, 5));
        assert_eq!(digest(&learner), digest(&leader));
        assert!(!has(&learner, Zxid::new(2, 1)));

        // One that breaks off leaves an empty tree, and the disk as it was.
        rest.truncate(bytes.len() - 20);
        assert!(learner.deserialize_snapshot(&mut &rest[..], Zxid(9)).is_err());
        let unsigned = stream(&leader, "BenWasGone");
        let error = learner.deserialize_snapshot(&mut &unsigned[..], Zxid(9)).unwrap_err();
        assert!(error.to_string().contains("Missing signature"), "{error}");
        assert_eq!(learner.last_logged_zxid(), Zxid(0));
        learner.reload().unwrap();
        assert_eq!(digest(&learner), digest(&leader));
    }

    #[test]
    fn ephemerals_of_unknown_sessions_go_when_a_leader_loads() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(dir.path());
        database.snap_log.append(&create(Zxid(1), SessionId(9), true)).unwrap();
        database.fast_forward().unwrap();
        assert!(has(&database, Zxid(1)));
        assert!(database.kill_dead_sessions().unwrap());
        assert!(!has(&database, Zxid(1)) && !database.kill_dead_sessions().unwrap());
        // No log tells of it, so a snapshot does.
        drop(database);
        assert!(!has(&open(dir.path()), Zxid(1)));
    }
}
