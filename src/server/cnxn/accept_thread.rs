//! `NIOServerCnxnFactory.AcceptThread`: takes connections and starts a thread for each.
//!
//! The thread owns the listener and the connection threads: it joins those that have ended as it
//! goes, and the rest when it is told to stop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use socket2::{Domain, Socket, Type};

use super::cnxn_factory::fast_close;
use super::cnxn_thread;
use super::server_cnxn::ServerCnxn;
use crate::common::config::ServerConfig;
use crate::common::thread::{self, OwnedThread};
use crate::proto::Id;
use crate::server::zookeeper_server::ZooKeeperServer;

/// Address space of a connection's stack: room for a TLS handshake, of which an idle connection
/// touches two or three pages.
const CNXN_STACK_BYTES: usize = 256 << 10;
/// The queue of connections not accepted yet when `clientPortListenBacklog` is not set. Java takes
/// 50, the standard library 128: with either a thousand clients that reconnect at once wait for
/// retransmissions.
const DEFAULT_BACKLOG: i32 = 4096;
/// How long to wait before the next try when the process is out of file descriptors.
const PAUSE_ACCEPT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// The running thread.
pub struct AcceptThread {
    address: SocketAddr,
    stop: Arc<OwnedFd>,
    thread: Option<OwnedThread>,
}

impl AcceptThread {
    /// Starts accepting for `server`.
    pub fn start(
        server: &Arc<ZooKeeperServer>,
        listener: TcpListener,
    ) -> std::io::Result<AcceptThread> {
        let address = listener.local_addr()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        log::info!("binding to port {}", java_socket_address(address));
        let (stopped, server) = (Arc::clone(&stop), Arc::clone(server));
        let name = format!("NIOServerCxnFactory.AcceptThread:{}", java_socket_address(address));
        let thread = thread::spawn(name, thread::STACK_BYTES, move || {
            run(&server, &listener, &stopped);
        })?;
        Ok(AcceptThread { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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
    bind(config.client_port_address, port, config.client_port_listen_backlog)
        .map(Some)
        .map_err(|error| std::io::Error::new(error.kind(), format!("clientPort={port}: {error}")))
}

fn bind(host: Option<IpAddr>, port: u16, backlog: i32) -> std::io::Result<TcpListener> {
    let backlog = if backlog > 0 { backlog } else { DEFAULT_BACKLOG };
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        // `poll` says when to accept; a connection that is gone by then must not block us.
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    match host {
        Some(host) => open(SocketAddr::new(host, port)),
        // Without IPv6 in the kernel, IPv4 only.
        None => open((Ipv6Addr::UNSPECIFIED, port).into())
            .or_else(|_| open((Ipv4Addr::UNSPECIFIED, port).into())),
    }
}

fn run(server: &Arc<ZooKeeperServer>, listener: &TcpListener, stop: &OwnedFd) {
    let mut threads: Vec<OwnedThread> = Vec::new();
    let mut reap_at = 64;
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
                Ok((socket, remote)) => take(server, socket, remote, &mut threads),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    server.metrics().connection_rejected.increment();
                    server
                        .accept_errors()
                        .rate_limit_log(&format!("Error accepting new connection: {error}"), None);
                    let mut stopped = [PollFd::new(stop, PollFlags::IN)];
                    let _ = poll(&mut stopped, Some(&PAUSE_ACCEPT)); // Just a pause.
                    break;
                }
            }
        }
        if threads.len() >= reap_at {
            threads.retain(|thread| !thread.is_finished());
            // Each that waits to be joined holds two of the process's memory mappings.
            reap_at = 64 + threads.len() + threads.len() / 4;
        }
    }
    // Those accepted a moment ago may not be in the table of anybody who closes them.
    while !threads.is_empty() {
        server.cnxns().close_all();
        threads.retain(|thread| !thread.is_finished());
        std::thread::park_timeout(Duration::from_millis(1));
    }
    log::info!("accept thread exitted run method");
}

fn take(
    server: &Arc<ZooKeeperServer>,
    socket: TcpStream,
    remote: SocketAddr,
    threads: &mut Vec<OwnedThread>,
) {
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    if let Err(error) = try_take(server, socket, remote, threads) {
        server.metrics().connection_rejected.increment();
        server
            .accept_errors()
            .rate_limit_log(&format!("Error accepting new connection: {error}"), None);
    }
}

fn try_take(
    server: &Arc<ZooKeeperServer>,
    socket: TcpStream,
    remote: SocketAddr,
    threads: &mut Vec<OwnedThread>,
) -> anyhow::Result<()> {
    let config = server.config();
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    if config.client_tcp_keep_alive {
        socket2::SockRef::from(&socket).set_keepalive(true)?;
    }
    let limit = |max: i32| usize::try_from(max).unwrap_or(0);
    let (per_address, total) = (limit(config.max_client_cnxns), limit(config.max_cnxns));
    let id = match server.cnxns().admit(remote.ip(), per_address, total) {
        Ok(id) => id,
        Err(limit) => {
            fast_close(socket);
            return Err(limit.into());
        }
    };
    let ip = Id::new("ip", &crate::auth::host_address(&remote));
    let cnxn = Arc::new(ServerCnxn::new(id, socket, remote, vec![ip]));
    server.cnxns().insert(&cnxn);
    log::debug!("Accepted socket connection from /{remote}");
    let (its_server, its_cnxn) = (Arc::clone(server), Arc::clone(&cnxn));
    let spawned = thread::spawn(format!("Cnxn-{remote}"), CNXN_STACK_BYTES, move || {
        cnxn_thread::run(&its_server, &its_cnxn);
    });
    match spawned {
        Ok(thread) => {
            threads.push(thread);
            Ok(())
        }
        Err(error) => {
            // Out of threads or memory mappings: this connection is refused, the others live on.
            server.remove_cnxn(&cnxn);
            cnxn.close();
            Err(error.into())
        }
    }
}
