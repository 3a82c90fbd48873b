//! Snapshots in the background: one at a time, on a thread of their own (`Snapshot Thread`).
//!
//! The tree is walked in chunks under its read guard; compressing and writing happen without it,
//! so that no writer waits longer than for one chunk.

use std::sync::Arc;

use super::zookeeper_server::ZooKeeperServer;
use crate::common::exit_code::ExitCode;
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, CriticalError, OwnedThread, ServerListener};
use crate::common::time;
use crate::persistence::{FileSnap, PersistenceError, TreeSnapshot};
use crate::tree::DataTree;

/// Owned by whoever triggers snapshots; clones share the one that is under way, and the last to go
/// waits for it. So a trigger that dies can say so before a slow disk is done.
#[derive(Clone)]
pub struct SnapshotTaker {
    snap: Arc<FileSnap>,
    listener: Arc<dyn ServerListener>,
    running: Arc<Mutex<Option<OwnedThread>>>,
}

impl SnapshotTaker {
    /// Writes into the directory of `snap`; a failure stops the server through `listener`.
    pub fn new(snap: Arc<FileSnap>, listener: Arc<dyn ServerListener>) -> Self {
        SnapshotTaker { snap, listener, running: Arc::new(Mutex::new(Rank::Leaf, None)) }
    }

    /// Starts a snapshot of the state as it is now or a little later; false when one is under way.
    pub fn start(&self, server: &Arc<ZooKeeperServer>) -> bool {
        let mut running = self.running.lock();
        if running.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return false;
        }
        let (snap, server) = (Arc::clone(&self.snap), Arc::clone(server));
        let started = thread::spawn_critical(
            "Snapshot Thread",
            thread::COMPRESSING_STACK_BYTES,
            &self.listener,
            move || {
                take_snapshot(&server, &snap).map_err(|error| {
                    let why = format!("Severe unrecoverable error, exiting: {error}");
                    CriticalError::new(ExitCode::TxnlogErrorTakingSnapshot, why)
                })
            },
        );
        match started {
            Ok(thread) => *running = Some(thread),
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
}

/// Writes one snapshot, named for the last transaction that is certain to be in it.
pub fn take_snapshot(server: &ZooKeeperServer, snap: &FileSnap) -> Result<(), PersistenceError> {
    let started_ms = time::elapsed_ms();
    let with_tree = |act: &mut dyn FnMut(&DataTree)| act(&server.db().tree());
    let has_last_zxid_section = server.config().serialize_last_processed_zxid_enabled;
    // First the zxid, then the sessions, then the nodes: replay from the zxid mends the rest.
    let mut source = TreeSnapshot::begin(with_tree, has_last_zxid_section).map_err(|source| {
        PersistenceError::Io { action: "walk", path: snap.snap_dir().to_owned(), source }
    })?;
    let sessions = server.db().sessions();
    let info = snap.serialize(source.zxid(), &sessions, &mut source)?;
    let elapsed_ms = time::elapsed_ms() - started_ms;
    log::info!("Snapshot taken in {elapsed_ms} ms: {}", info.path.display());
    server.metrics().snapshottime.add(elapsed_ms);
    Ok(())
}
