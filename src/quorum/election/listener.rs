//! The election port (Java: `QuorumCnxManager.Listener` and its `ListenerHandler`s).
//!
//! One thread per own address accepts connections and reads their first messages, of all at the
//! same time and without blocking: whoever connects and says nothing holds up nobody, and is dropped
//! when too many do so or when its time is over. Java reads them one after the other.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::initial_message::{InitialMessage, Progress};
use super::quorum_cnx_manager::QuorumCnxManager;
use super::sockets::{listen, wait};
use crate::common::exit_code::ExitCode;
use crate::common::net_utils::HostPort;
use crate::common::thread::{self, OwnedThread};

/// Connections that have not said who they are. The oldest goes when there are more.
const PENDING_MAX: usize = 128;
/// Taken at once, before those that wait are looked at again.
const ACCEPTS_MAX: usize = 256;
/// Between two attempts to bind.
const BIND_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Starts a thread for each own address. They end when the manager halts. The first attempt to bind
/// is over when this returns, so that servers that are started together find each other.
pub(super) fn start(manager: &Arc<QuorumCnxManager>) -> io::Result<Vec<OwnedThread>> {
    let peer = manager.peer();
    let verifier = peer.verifier();
    let own = verifier.all_members().get(&peer.my_id()).map(|own| &own.election_addr);
    let addresses = match own {
        None => Vec::new(),
        Some(own) if peer.election_settings().quorum_listen_on_all_ips => own.wildcard_addresses(),
        Some(own) => own.all_addresses().to_vec(),
    };
    let left = Arc::new(AtomicUsize::new(addresses.len()));
    let start = |address: HostPort| {
        let (manager, left) = (Arc::clone(manager), Arc::clone(&left));
        let name = format!("ListenerHandler-{address}");
        let first = address.resolve().and_then(listen);
        thread::spawn(name, thread::STACK_BYTES, move || {
            ListenerHandler { manager, address, left }.run(first);
        })
    };
    addresses.into_iter().map(start).collect()
}

struct ListenerHandler {
    manager: Arc<QuorumCnxManager>,
    address: HostPort,
    /// Handlers that still listen.
    left: Arc<AtomicUsize>,
}

impl ListenerHandler {
    fn run(self, first: io::Result<TcpListener>) {
        let peer = Arc::clone(self.manager.peer());
        let retries_max = peer.election_settings().election_port_bind_retry.max(0);
        let mut failures = 0;
        let mut attempt = Some(first);
        while retries_max == 0 || failures < retries_max {
            // The name anew each time: the address may have changed (ZOOKEEPER-3991).
            let again = || self.address.resolve().and_then(listen);
            match attempt.take().unwrap_or_else(again) {
                Ok(listener) => {
                    let id = peer.my_id();
                    log::info!(
                        "{id} is accepting connections now, my election bind port: {}",
                        self.address
                    );
                    return self.accept_connections(&listener);
                }
                Err(error) => {
                    log::error!("Exception while listening to address {}: {error}", self.address);
                    failures += 1;
                    if self.manager.stop_signal().sleep(BIND_PAUSE) {
                        return;
                    }
                }
            }
        }
        log::error!(
            "Leaving listener thread for address {} after {failures} errors. Use \
             zookeeper.electionPortBindRetry property to increase retry count.",
            self.address
        );
        // AcqRel: the last one to leave tells.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let why = format!(
                "As I'm leaving the listener thread, I won't be able to participate in leader \
                 election any longer: {}",
                self.address
            );
            log::error!("{why}");
            let thread = format!("ListenerHandler-{}", self.address);
            peer.listener().notify_stopping(&thread, ExitCode::UnableToBindQuorumPort, &why);
        }
    }

    fn accept_connections(&self, listener: &TcpListener) {
        let stop = self.manager.stop_signal();
        let timeout_ms = self.manager.peer().election_settings().socket_timeout_ms;
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default().max(1));
        let mut pending: VecDeque<Pending> = VecDeque::new();
        loop {
            let mut fds =
                vec![PollFd::new(stop, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
            fds.extend(pending.iter().map(|p| PollFd::new(&p.socket, PollFlags::IN)));
            // They all have the same time, so the first in the queue is the first to go.
            wait(&mut fds, pending.front().map(|first| first.deadline));
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            let [is_stopped, has_new, readable @ ..] = ready.as_slice() else { return };
            if *is_stopped {
                return;
            }
            self.read_ready(&mut pending, readable);
            if *has_new && !self.accept(listener, &mut pending, timeout) && stop.sleep(ACCEPT_PAUSE)
            {
                return;
            }
        }
    }

    /// Goes on reading what is ready; drops what has failed or taken too long.
    fn read_ready(&self, pending: &mut VecDeque<Pending>, readable: &[bool]) {
        let now = Instant::now();
        for (connection, is_readable) in std::mem::take(pending).into_iter().zip(readable) {
            let kept = if *is_readable { self.read(connection) } else { Some(connection) };
            match kept {
                Some(connection) if connection.deadline > now => pending.push_back(connection),
                Some(connection) => {
                    log::warn!("{} did not say who it is", connection.remote);
                }
                None => {}
            }
        }
    }

    /// Reads what has come; gives the connection back if that is not all.
    fn read(&self, connection: Pending) -> Option<Pending> {
        let remote = connection.remote;
        match connection.read() {
            Ok(Reading::More(connection)) => return Some(connection),
            Ok(Reading::Done(socket, hello)) => self.manager.handle_connection(socket, hello),
            Err(error) => {
                log::warn!("Exception reading or writing challenge of {remote}: {error}");
            }
        }
        None
    }

    /// Takes those who wait, a flood of them in parts; false if the process can take no more for now.
    fn accept(
        &self,
        listener: &TcpListener,
        pending: &mut VecDeque<Pending>,
        timeout: Duration,
    ) -> bool {
        for _ in 0..ACCEPTS_MAX {
            let (socket, remote) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return true,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    _ => {
                        log::error!("Exception while listening to {}: {error}", self.address);
                        return false;
                    }
                },
            };
            log::info!("Received connection request from {remote}");
            let options =
                self.manager.set_options(&socket).and_then(|()| socket.set_nonblocking(true));
            if let Err(error) = options {
                log::warn!("{remote}: {error}");
                continue;
            }
            // A time beyond the clock's end would be no limit at all.
            let now = Instant::now();
            let deadline = now.checked_add(timeout).unwrap_or(now);
            let connection = Pending { socket, remote, deadline, bytes: Vec::new() };
            // Servers say who they are at once, so what has come first is looked at first.
            let Some(connection) = self.read(connection) else { continue };
            if pending.len() >= PENDING_MAX
                && let Some(oldest) = pending.pop_front()
            {
                drop(self.read(oldest));
            }
            pending.push_back(connection);
        }
        true
    }
}

/// A connection whose first message is not complete.
struct Pending {
    socket: TcpStream,
    remote: SocketAddr,
    deadline: Instant,
    bytes: Vec<u8>,
}

enum Reading {
    More(Pending),
    Done(TcpStream, InitialMessage),
}

impl Pending {
    /// Reads what is there, and not one byte of what follows the message.
    fn read(mut self) -> io::Result<Reading> {
        loop {
            match InitialMessage::parse(&self.bytes).map_err(io::Error::other)? {
                Progress::Whole(hello) => {
                    self.socket.set_nonblocking(false)?;
                    return Ok(Reading::Done(self.socket, hello));
                }
                Progress::Missing(missing) => {
                    let mut part = (&self.socket).take(missing as u64);
                    match part.read_to_end(&mut self.bytes) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(_) => {}
                        // What was read before is in `bytes`.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Ok(Reading::More(self));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}
