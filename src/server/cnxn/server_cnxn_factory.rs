//! `ServerCnxnFactory`: the listeners for clients and their helpers, which live as long as the
//! process, with the slot for the server that they serve clients by.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::accept_thread::AcceptThread;
use super::selector_thread::SelectorThread;
use crate::common::config::ServerConfig;
use crate::metrics::ServerMetrics;
use crate::server::server_slot::ServerSlot;

/// The owner of the threads `AcceptThread` and `SelectorThread`.
pub struct ServerCnxnFactory {
    slot: Arc<ServerSlot>,
    accept: Vec<AcceptThread>,
    selectors: Vec<SelectorThread>,
}

impl ServerCnxnFactory {
    /// Starts the selectors. Nothing is accepted yet.
    pub fn new(
        config: &Arc<ServerConfig>,
        metrics: &Arc<ServerMetrics>,
    ) -> io::Result<ServerCnxnFactory> {
        let selectors = (0..selector_count(config))
            .map(SelectorThread::start)
            .collect::<io::Result<Vec<_>>>()?;
        let handles = selectors.iter().map(SelectorThread::handle).collect();
        let slot = ServerSlot::new(Arc::clone(config), Arc::clone(metrics), handles);
        Ok(ServerCnxnFactory { slot, accept: Vec::new(), selectors })
    }

    /// What accepted connections are served by.
    pub fn slot(&self) -> &Arc<ServerSlot> {
        &self.slot
    }

    /// Begins to accept. The address, for who left the port to the kernel.
    pub fn listen(&mut self, socket: TcpListener) -> io::Result<SocketAddr> {
        let address = socket.local_addr()?;
        self.accept.push(AcceptThread::start(&self.slot, socket)?);
        Ok(address)
    }

    /// Accepts nothing more, closes all connections and joins their threads. The selectors go on:
    /// the chain may still have replies. Wake those that wait in the server first.
    pub fn stop_accepting(&mut self) {
        self.accept.iter_mut().for_each(AcceptThread::stop);
        self.slot.clear();
    }

    /// Ends the selectors, last of all.
    pub fn shutdown(mut self) {
        self.stop_accepting();
        self.selectors.iter_mut().for_each(SelectorThread::stop);
    }
}

/// Java's rule: the square root of half the cores, at least one.
fn selector_count(config: &ServerConfig) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let by_default = ((cores as f64 / 2.0).sqrt() as usize).max(1);
    usize::try_from(config.nio_num_selector_threads)
        .ok()
        .filter(|count| *count > 0)
        .unwrap_or(by_default)
}
