//! Snapshots in the background: one at a time, on a thread of their own (`Snapshot Thread`).
//!
//! The tree is walked in chunks under its read guard; compressing and writing happen without it,
//! so that no writer waits longer than for one chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::zk_database::ZkDatabase;
use super::zookeeper_server::ZooKeeperServer;
use crate::common::config::ServerConfig;
use crate::common::exit_code::ExitCode;
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, CriticalError, OwnedThread, ServerListener};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::persistence::{
    FileSnap, PersistenceError, SnapshotInfo, SnapshotSource, SnapshotTrailer, TreeSnapshot,
};
use crate::tree::DataTree;

/// Owned by whoever triggers snapshots; clones share the one that is under way, and the last to go
/// waits for it. So a trigger that dies can say so before a slow disk is done.
#[derive(Clone)]
pub struct SnapshotTaker {
    snap: Arc<FileSnap>,
    listener: Arc<dyn ServerListener>,
    running: Arc<Mutex<Option<Running>>>,
}

struct Running {
    thread: OwnedThread,
    is_cancelled: Arc<AtomicBool>,
}

impl SnapshotTaker {
    /// Writes into the directory of `snap`; a failure stops the server through `listener`.
    pub fn new(snap: Arc<FileSnap>, listener: Arc<dyn ServerListener>) -> Self {
        SnapshotTaker { snap, listener, running: Arc::new(Mutex::new(Rank::Leaf, None)) }
    }

    /// Starts a snapshot of the state as it is now or a little later; false when one is under way.
    pub fn start(&self, server: &Arc<ZooKeeperServer>) -> bool {
        let mut running = self.running.lock();
        if running.as_ref().is_some_and(|running| !running.thread.is_finished()) {
            return false;
        }
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&is_cancelled);
        let (snap, server) = (Arc::clone(&self.snap), Arc::clone(server));
        let started = thread::spawn_critical(
            "Snapshot Thread",
            thread::COMPRESSING_STACK_BYTES,
            &self.listener,
            move || match write_snapshot(
                server.db(),
                &snap,
                server.config(),
                server.metrics(),
                &cancelled,
            ) {
                Err(_) if cancelled.load(Ordering::Relaxed) => {
                    log::info!("Snapshot abandoned");
                    Ok(())
                }
                Err(error) => {
                    let why = format!("Severe unrecoverable error, exiting: {error}");
                    Err(CriticalError::new(ExitCode::TxnlogErrorTakingSnapshot, why))
                }
                Ok(_) => Ok(()),
            },
        );
        match started {
            Ok(thread) => *running = Some(Running { thread, is_cancelled }),
            // Not fatal: the logs stay, the next one is tried when it is due.
            Err(error) => log::error!("Cannot start a snapshot: {error}"),
        }
        true
    }

    /// Waits for the one under way.
    pub fn wait(&self) {
        let running = self.running.lock().take();
        drop(running);
    }

    /// Gives up the one under way and waits for its end: its file is removed. To be called when a
    /// role ends, before the tree takes in what was logged but perhaps never committed: a snapshot
    /// must not hold what may be truncated later.
    pub fn cancel(&self) {
        let running = self.running.lock().take();
        if let Some(running) = &running {
            running.is_cancelled.store(true, Ordering::Relaxed);
        }
        drop(running);
    }
}

/// Writes one snapshot, named for the last transaction that is certain to be in it. On return it is
/// durable.
pub fn take_snapshot(
    db: &ZkDatabase,
    snap: &FileSnap,
    config: &ServerConfig,
    metrics: &ServerMetrics,
) -> Result<SnapshotInfo, PersistenceError> {
    write_snapshot(db, snap, config, metrics, &AtomicBool::new(false))
}

/// A source that ends with an error once nobody wants the snapshot any more.
struct Cancellable<'a, S> {
    source: S,
    is_cancelled: &'a AtomicBool,
}

impl<S: SnapshotSource> SnapshotSource for Cancellable<'_, S> {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> std::io::Result<bool> {
        if self.is_cancelled.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the snapshot is not wanted any more"));
        }
        self.source.next_chunk(out)
    }

    fn trailer(&mut self) -> SnapshotTrailer {
        self.source.trailer()
    }
}

fn write_snapshot(
    db: &ZkDatabase,
    snap: &FileSnap,
    config: &ServerConfig,
    metrics: &ServerMetrics,
    is_cancelled: &AtomicBool,
) -> Result<SnapshotInfo, PersistenceError> {
    let started_ms = time::elapsed_ms();
    let with_tree = |act: &mut dyn FnMut(&DataTree)| act(&db.tree());
    let has_last_zxid_section = config.serialize_last_processed_zxid_enabled;
    // First the zxid, then the sessions, then the nodes: replay from the zxid mends the rest.
    let source = TreeSnapshot::begin(with_tree, has_last_zxid_section).map_err(|source| {
        PersistenceError::Io { action: "walk", path: snap.snap_dir().to_owned(), source }
    })?;
    let (sessions, zxid) = (db.sessions(), source.zxid());
    log::info!("Snapshotting: {zxid} to {}", snap.snap_dir().display());
    let info = snap.serialize(zxid, &sessions, &mut Cancellable { source, is_cancelled })?;
    let elapsed_ms = time::elapsed_ms() - started_ms;
    log::info!("Snapshot taken in {elapsed_ms} ms: {}", info.path.display());
    metrics.snapshottime.add(elapsed_ms);
    Ok(info)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;
    use crate::persistence::StreamMode;
    use crate::persistence::sim_disk::SimDisk;
    use crate::tree::TreeOptions;

    #[test]
    fn a_snapshot_that_is_given_up_leaves_nothing() {
        let disk = SimDisk::default();
        let snap = FileSnap::new(Arc::new(disk.clone()), "/snap".into(), StreamMode::Checked);
        let db = ZkDatabase::new(DataTree::new(TreeOptions::default()), HashMap::new());
        let (config, metrics) = (ServerConfig::default(), ServerMetrics::default());
        let path = Path::new("/snap/snapshot.0");
        assert!(write_snapshot(&db, &snap, &config, &metrics, &AtomicBool::new(true)).is_err());
        assert!(disk.read(path).is_err());
        take_snapshot(&db, &snap, &config, &metrics).unwrap();
        assert!(disk.read(path).is_ok());
    }
}
