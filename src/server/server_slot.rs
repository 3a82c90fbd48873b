//! `ServerSlot`: the listener's side of a server (`ServerCnxnFactory` and its `zkServer`).
//!
//! The listener lives as long as the process, the server as long as a role of the ensemble lasts.
//! Each accepted connection is served by whatever server is in the slot then, to its end; without
//! one only four-letter words are answered, as in Java. The table of connections is the slot's, so
//! limits per address and in total count right over changes of the role, and no number of a
//! connection is used twice for a tree's watches.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::cnxn::cnxn_factory::CnxnTable;
use super::cnxn::selector_thread::SelectorHandle;
use super::zookeeper_server::ZooKeeperServer;
use crate::common::config::ServerConfig;
use crate::common::rate_logger::RateLogger;
use crate::common::sync::{Mutex, Rank};
use crate::metrics::ServerMetrics;

/// How long to wait before looking again for connections that are not closed yet.
const CLOSE_AGAIN: Duration = Duration::from_millis(1);

/// See the module.
pub struct ServerSlot {
    config: Arc<ServerConfig>,
    metrics: Arc<ServerMetrics>,
    cnxns: Arc<CnxnTable>,
    selectors: Vec<SelectorHandle>,
    accept_errors: RateLogger,
    client_port: AtomicU16,
    /// Taken for a moment by each accepted connection.
    server: Mutex<Option<Arc<ZooKeeperServer>>>,
}

impl ServerSlot {
    /// An empty slot. Unsent bytes of connections are handed to one of `selectors`.
    pub fn new(
        config: Arc<ServerConfig>,
        metrics: Arc<ServerMetrics>,
        selectors: Vec<SelectorHandle>,
    ) -> Arc<ServerSlot> {
        Arc::new(ServerSlot {
            client_port: AtomicU16::new(config.client_port.unwrap_or(0)),
            config,
            metrics,
            cnxns: Arc::default(),
            selectors,
            accept_errors: RateLogger::default(),
            server: Mutex::new(Rank::Leaf, None),
        })
    }

    /// The settings.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Where to count.
    pub fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// A shared [`ServerSlot::metrics`].
    pub fn metrics_arc(&self) -> Arc<ServerMetrics> {
        Arc::clone(&self.metrics)
    }

    /// The connections of all servers that were in the slot.
    pub fn cnxns(&self) -> &Arc<CnxnTable> {
        &self.cnxns
    }

    /// The selector threads.
    pub fn selectors(&self) -> &[SelectorHandle] {
        &self.selectors
    }

    /// The log of refused connections, limited in rate.
    pub fn accept_errors(&self) -> &RateLogger {
        &self.accept_errors
    }

    /// The port of the listener; before it is bound, that of the settings.
    pub fn client_port(&self) -> u16 {
        self.client_port.load(Ordering::Relaxed)
    }

    /// Told once the listener is bound.
    pub fn set_client_port(&self, port: u16) {
        self.client_port.store(port, Ordering::Relaxed);
    }

    /// The server that connections are served by now.
    pub fn server(&self) -> Option<Arc<ZooKeeperServer>> {
        self.server.lock().clone()
    }

    /// From now on connections are served by `server` (`setZooKeeperServer`). Those that came before
    /// stay as they are.
    pub fn set_server(&self, server: Arc<ZooKeeperServer>) {
        let earlier = self.server.lock().replace(server);
        drop(earlier);
    }

    /// Takes the server out, closes all connections, and waits until no thread serves one for it
    /// any more (`closeAllConnections`). Wake those that wait in the server first
    /// ([`ZooKeeperServer::stop_admission`]), and set its state to stopping.
    pub fn clear(&self) {
        let server = self.server.lock().take();
        self.cnxns.close_all();
        if let Some(server) = server {
            // One that was accepted a moment ago may not be in the table yet.
            while server.is_serving() {
                self.cnxns.close_all();
                std::thread::park_timeout(CLOSE_AGAIN);
            }
        }
    }

    /// The server for a new connection.
    pub fn enter(&self) -> Option<Serving> {
        let server = self.server.lock();
        server.as_ref().map(|server| {
            // Under the lock: who takes the server out afterwards waits for us.
            server.enter();
            Serving(Arc::clone(server))
        })
    }
}

/// A server that a thread serves a connection for. [`ServerSlot::clear`] waits until it is dropped.
pub struct Serving(Arc<ZooKeeperServer>);

impl Deref for Serving {
    type Target = Arc<ZooKeeperServer>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.leave();
    }
}
