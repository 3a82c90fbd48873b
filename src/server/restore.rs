//! Loads the tree and the sessions from disk (`ZKDatabase.loadDataBase`, `ZooKeeperServer.loadData`).

use std::io;
use std::time::Duration;

use super::event_sink::CountWrites;
use crate::common::config::ServerConfig;
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::persistence::{
    FileTxnSnapLog, PersistenceError, RestoreReport, RestoreTarget, Sessions, SnapReader,
    SnapshotSink, SnapshotSource,
};
use crate::proto::{ExtendedTypes, TxnLogEntry, Zxid};
use crate::tree::{DataTree, NoWatches, TreeOptions, ZxidDigest};

/// What was restored.
pub struct Restored {
    /// The tree, its last processed zxid included.
    pub tree: DataTree,
    /// The sessions' timeouts, ms.
    pub sessions: Sessions,
    /// The start of a standalone server need not write a snapshot: the newest one holds it all.
    pub is_newest_snapshot_complete: bool,
    /// Ephemerals of unknown sessions were removed: of that nothing is in the files yet.
    pub has_removed_ephemerals: bool,
}

/// The tree's part of the settings.
pub fn tree_options(config: &ServerConfig) -> TreeOptions {
    TreeOptions {
        digest_enabled: config.digest_enabled,
        extended_types: ExtendedTypes {
            enabled: config.extended_types_enabled,
            emulate_353: config.emulate_353_ttl_nodes,
        },
    }
}

/// A tree that is being restored, and where its writes are counted: Java counts those of replayed
/// transactions in `write_per_namespace` as any others.
pub struct CountedTree<'a> {
    /// The tree.
    pub tree: &'a mut DataTree,
    /// Where to count.
    pub metrics: &'a ServerMetrics,
}

impl SnapshotSink for CountedTree<'_> {
    fn clear(&mut self) {
        SnapshotSink::clear(self.tree);
    }

    fn load(&mut self, stream: &mut SnapReader) -> io::Result<()> {
        SnapshotSink::load(self.tree, stream)
    }
}

impl RestoreTarget for CountedTree<'_> {
    fn snapshot_loaded(&mut self, zxid: Zxid, digest: Option<ZxidDigest>) {
        self.tree.snapshot_loaded(zxid, digest);
    }

    fn process_txn(&mut self, entry: &TxnLogEntry) {
        self.tree.process_entry(entry, &mut CountWrites(self.metrics));
    }

    fn last_processed_zxid(&self) -> Zxid {
        self.tree.last_processed_zxid()
    }

    fn fuzzy_until(&self) -> Option<Zxid> {
        self.tree.fuzzy_until()
    }

    fn snapshot_source(&mut self) -> io::Result<Box<dyn SnapshotSource + '_>> {
        self.tree.snapshot_source()
    }
}

/// Restores from the newest readable snapshot and the logs behind it, for a standalone server.
pub fn restore(
    snap_log: &mut FileTxnSnapLog,
    config: &ServerConfig,
    metrics: &ServerMetrics,
) -> Result<Restored, PersistenceError> {
    let (mut tree, sessions, report) = load(snap_log, config, metrics, &mut |_| {})?;
    let has_removed_ephemerals = kill_dead_sessions(&mut tree, &sessions);
    let is_newest_snapshot_complete = report.txns_loaded == 0
        && !has_removed_ephemerals
        && report.broken_snapshots.is_empty()
        && report.snapshot.is_some_and(|snapshot| snapshot.zxid == tree.last_processed_zxid());
    Ok(Restored { tree, sessions, is_newest_snapshot_complete, has_removed_ephemerals })
}

/// Restores what the files hold (Java: `loadDataBase`). `listener` gets each transaction of the logs.
pub fn load(
    snap_log: &mut FileTxnSnapLog,
    config: &ServerConfig,
    metrics: &ServerMetrics,
    listener: &mut dyn FnMut(TxnLogEntry),
) -> Result<(DataTree, Sessions, RestoreReport), PersistenceError> {
    let started_ms = time::elapsed_ms();
    let mut tree = DataTree::new(tree_options(config));
    let mut sessions = Sessions::new();
    let target = &mut CountedTree { tree: &mut tree, metrics };
    let report = snap_log.restore(target, &mut sessions, listener)?;
    count(&report, metrics);
    metrics.digest_mismatches_count.add(tree.digest_mismatches() as i64);
    let elapsed_ms = time::elapsed_ms() - started_ms;
    metrics.dbinittime.add(elapsed_ms);
    log::info!(
        "Snapshot loaded in {elapsed_ms} ms, highest zxid is {}, digest is {}",
        report.highest_zxid,
        tree.tree_digest() as i64
    );
    Ok((tree, sessions, report))
}

/// Removes the ephemerals of sessions that are not in the table, as a standalone server and a leader
/// do when they load. Whether there were any.
pub fn kill_dead_sessions(tree: &mut DataTree, sessions: &Sessions) -> bool {
    let zxid = tree.last_processed_zxid();
    let mut has_removed = false;
    for session in tree.sessions_with_ephemerals() {
        if !sessions.contains_key(&session) {
            log::info!("Removing the ephemerals of session {session}, which the files do not know");
            tree.kill_session(session, zxid, &[], &mut NoWatches);
            has_removed = true;
        }
    }
    has_removed
}

fn count(report: &RestoreReport, metrics: &ServerMetrics) {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    metrics.startup_snap_load_time.add(millis(report.snap_load_time));
    metrics.startup_txns_loaded.add(i64::try_from(report.txns_loaded).unwrap_or(i64::MAX));
    metrics.startup_txns_load_time.add(millis(report.txns_load_time));
}
