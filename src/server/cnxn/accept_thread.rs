//! `NIOServerCnxnFactory.AcceptThread`: takes connections and starts a thread for each.
//!
//! The thread owns the listener and the connection threads: it hands a connection to a thread whose
//! last one has ended, or starts one, joins those that have ended as it goes, and the rest when it is
//! told to stop.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use socket2::Socket;

use super::cnxn_factory::fast_close;
use super::cnxn_thread;
use super::server_cnxn::ServerCnxn;
use crate::common::config::ServerConfig;
use crate::common::net_utils::listen;
use crate::common::thread::{self, OwnedThread};
use crate::proto::Id;
use crate::server::server_slot::{ServerSlot, Serving};

/// Address space of a connection's stack: room for a TLS handshake, of which an idle connection
/// touches two or three pages.
const CNXN_STACK_BYTES: usize = 256 << 10;
/// The queue of connections not accepted yet when `clientPortListenBacklog` is not set. Java takes
/// 50, the standard library 128: with either a thousand clients that reconnect at once wait for
/// retransmissions.
const DEFAULT_BACKLOG: i32 = 4096;
/// How long a thread waits for another connection.
const KEEP_THREAD: Duration = Duration::from_secs(1);
/// How long to wait before the next try when the process is out of file descriptors.
const PAUSE_ACCEPT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// The running thread.
pub struct AcceptThread {
    stop: Arc<OwnedFd>,
    thread: Option<OwnedThread>,
}

impl AcceptThread {
    /// Starts accepting for whatever server is in `slot`.
    pub fn start(slot: &Arc<ServerSlot>, listener: TcpListener) -> std::io::Result<AcceptThread> {
        let address = listener.local_addr()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        log::info!("binding to port {}", java_socket_address(address));
        slot.set_client_port(address.port());
        let (stopped, slot) = (Arc::clone(&stop), Arc::clone(slot));
        let name = format!("NIOServerCxnFactory.AcceptThread:{}", java_socket_address(address));
        let thread = thread::spawn(name, thread::STACK_BYTES, move || {
            run(&slot, &listener, &stopped);
        })?;
        Ok(AcceptThread { stop, thread: Some(thread) })
    }

    /// Stops accepting, then waits for the connection threads. Close their connections as well:
    /// this does so until none is left.
    pub fn stop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes()); // Full means stopped already.
        drop(self.thread.take());
    }
}

impl Drop for AcceptThread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// As Java prints a bound wildcard address.
fn java_socket_address(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("0.0.0.0/0.0.0.0:{}", address.port())
    } else {
        format!("/{address}")
    }
}

/// The socket for clients without TLS, if there is to be one. It is bound before the data is looked
/// at, so that a second server on the same port ends without touching the directory of the first.
/// Clients that connect before the server serves wait in the backlog.
pub fn bind_client_port(config: &ServerConfig) -> std::io::Result<Option<TcpListener>> {
    let Some(port) = config.client_port else { return Ok(None) };
    let host = config.client_port_address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let backlog = config.client_port_listen_backlog;
    let backlog = if backlog > 0 { backlog } else { DEFAULT_BACKLOG };
    let set_options = |socket: &Socket| {
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(config.client_tcp_keep_alive)
    };
    listen((host, port).into(), backlog, set_options)
        .map(Some)
        .map_err(|error| std::io::Error::new(error.kind(), format!("clientPort={port}: {error}")))
}

fn run(slot: &Arc<ServerSlot>, listener: &TcpListener, stop: &OwnedFd) {
    let mut threads = CnxnThreads::new(slot);
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        if let Err(error) = poll(&mut fds, None) {
            log::warn!("Ignoring error while selecting: {error}");
        }
        if !fds[1].revents().is_empty() {
            break;
        }
        loop {
            match listener.accept() {
                Ok((socket, remote)) => take(slot, socket, remote, &mut threads),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    slot.metrics().connection_rejected.increment();
                    slot.accept_errors()
                        .rate_limit_log(&format!("Error accepting new connection: {error}"), None);
                    let mut stopped = [PollFd::new(stop, PollFlags::IN)];
                    let _ = poll(&mut stopped, Some(&PAUSE_ACCEPT)); // Just a pause.
                    break;
                }
            }
        }
        threads.reap();
    }
    threads.stop();
    log::info!("accept thread exitted run method");
}

fn take(slot: &ServerSlot, socket: TcpStream, remote: SocketAddr, threads: &mut CnxnThreads) {
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    if let Err(error) = try_take(slot, socket, remote, threads) {
        slot.metrics().connection_rejected.increment();
        slot.accept_errors()
            .rate_limit_log(&format!("Error accepting new connection: {error}"), None);
    }
}

fn try_take(
    slot: &ServerSlot,
    socket: TcpStream,
    remote: SocketAddr,
    threads: &mut CnxnThreads,
) -> anyhow::Result<()> {
    let config = slot.config();
    let limit = |max: i32| usize::try_from(max).unwrap_or(0);
    let (per_address, total) = (limit(config.max_client_cnxns), limit(config.max_cnxns));
    let id = match slot.cnxns().admit(remote.ip(), per_address, total) {
        Ok(id) => id,
        Err(limit) => {
            fast_close(socket);
            return Err(limit.into());
        }
    };
    let ip = Id::new("ip", &crate::auth::host_address(&remote));
    let cnxn = Arc::new(ServerCnxn::new(id, socket, remote, vec![ip]));
    slot.cnxns().insert(&cnxn);
    log::debug!("Accepted socket connection from /{remote}");
    threads.serve((slot.enter(), Arc::clone(&cnxn))).inspect_err(|_| {
        // Out of threads or memory mappings: this connection is refused, the others live on.
        cnxn.set_stale();
        slot.cnxns().remove(&cnxn);
        cnxn.close();
    })?;
    Ok(())
}

/// A connection, and who serves it.
type Job = (Option<Serving>, Arc<ServerCnxn>);

/// The threads of connections. One whose connection has ended waits a moment for the next, because
/// making a thread costs more than all else about a short connection.
struct CnxnThreads {
    slot: Arc<ServerSlot>,
    /// Of no capacity: only a thread that waits takes a connection.
    hand_over: Sender<Job>,
    next: Receiver<Job>,
    threads: Vec<OwnedThread>,
    /// How many threads there may be before those that have ended are joined.
    reap_at: usize,
    /// Numbers the threads.
    started: u64,
}

impl CnxnThreads {
    fn new(slot: &Arc<ServerSlot>) -> Self {
        let (hand_over, next) = bounded(0);
        let slot = Arc::clone(slot);
        CnxnThreads { slot, hand_over, next, threads: Vec::new(), reap_at: 64, started: 0 }
    }

    fn serve(&mut self, job: Job) -> std::io::Result<()> {
        let first = match self.hand_over.try_send(job) {
            Ok(()) => return Ok(()),
            Err(error) => error.into_inner(),
        };
        let (slot, next) = (Arc::clone(&self.slot), self.next.clone());
        self.started += 1;
        let name = format!("Cnxn-{}", self.started);
        let thread = thread::spawn_lean(name, CNXN_STACK_BYTES, move || {
            let mut job = first;
            loop {
                let (serving, cnxn) = job;
                cnxn_thread::run(&slot, serving, &cnxn);
                drop(cnxn);
                match next.recv_timeout(KEEP_THREAD) {
                    Ok(another) => job = another,
                    Err(_) => return, // Nobody came, or the acceptor has ended.
                }
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Joins threads that have ended, now and then.
    fn reap(&mut self) {
        if self.threads.len() >= self.reap_at {
            self.threads.retain(|thread| !thread.is_finished());
            // Each that waits to be joined holds two of the process's memory mappings.
            self.reap_at = 64 + self.threads.len() + self.threads.len() / 4;
        }
    }

    /// Closes all connections and joins their threads.
    fn stop(self) {
        let CnxnThreads { slot, hand_over, mut threads, .. } = self;
        // Ends the threads that wait for a connection.
        drop(hand_over);
        // Those accepted a moment ago may not be in the table of anybody who closes them.
        while !threads.is_empty() {
            slot.cnxns().close_all();
            threads.retain(|thread| !thread.is_finished());
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}
