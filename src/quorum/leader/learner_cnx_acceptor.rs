//! `Leader.LearnerCnxAcceptor`: listens for learners, with a thread per address, and owns the
//! threads of those that have come.
//!
//! Deliberate difference: each address has its own thread `LearnerCnxAcceptor-`*addr*; Java has one
//! that waits for a pool of them.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::Shutdown;

use super::leader::Leader;
use super::learner_handler::LearnerHandler;
use super::learner_link::LearnerLink;
use super::learner_master::LearnerMaster;
use crate::common::net_utils::HostPort;
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread};
use crate::proto::ServerId;
use crate::quorum::election::sockets::listen;

/// Connections that have not introduced themselves yet, or are learners, at most.
const HANDLERS_MAX: usize = 512;
/// A wait after an error that will not go away at once, such as too many open files.
const ERROR_WAIT: Duration = Duration::from_millis(100);

/// The listeners of a leader and the threads of its learners.
pub struct LearnerCnxAcceptor {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
}

struct Listener {
    socket: TcpListener,
    /// Taken when the acceptor ends.
    thread: Option<OwnedThread>,
}

struct Shared {
    leader: Arc<Leader>,
    is_stopping: AtomicBool,
    /// Handlers and senders, ended ones included until the next connection.
    threads: Mutex<Vec<OwnedThread>>,
}

/// Binds the quorum addresses of `leader`; those that cannot be bound are left out.
///
/// Errors: none can be bound.
pub fn bind(leader: &Leader) -> io::Result<Vec<TcpListener>> {
    let peer = leader.peer();
    let own = peer.server(peer.my_id()).map(|server| server.addr).unwrap_or_default();
    let addresses = if peer.settings().quorum_listen_on_all_ips {
        own.wildcard_addresses()
    } else {
        own.all_addresses().to_vec()
    };
    let mut listeners = Vec::new();
    for address in &addresses {
        match bind_one(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => log::error!("Couldn't bind to {address}: {error}"),
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::new(
            ErrorKind::AddrNotAvailable,
            format!("Leader failed to initialize any of the following sockets: {addresses:?}"),
        ));
    }
    Ok(listeners)
}

fn bind_one(address: &HostPort) -> io::Result<TcpListener> {
    let listener = address.resolve().and_then(listen)?;
    listener.set_nonblocking(false)?;
    Ok(listener)
}

impl LearnerCnxAcceptor {
    /// Starts a thread for each listener.
    pub fn start(
        leader: &Arc<Leader>,
        sockets: Vec<TcpListener>,
    ) -> io::Result<LearnerCnxAcceptor> {
        let shared = Arc::new(Shared {
            leader: Arc::clone(leader),
            is_stopping: AtomicBool::new(false),
            threads: Mutex::new(Rank::Leaf, Vec::new()),
        });
        let mut acceptor = LearnerCnxAcceptor { shared, listeners: Vec::new() };
        for socket in sockets {
            let name = format!("LearnerCnxAcceptor-{}", socket.local_addr()?);
            let (shared, accepting) = (Arc::clone(&acceptor.shared), socket.try_clone()?);
            let listener = leader.peer().listener();
            let thread = thread::spawn_critical(name, thread::STACK_BYTES, listener, move || {
                shared.accept_connections(&accepting);
                Ok(())
            })?;
            acceptor.listeners.push(Listener { socket, thread: Some(thread) });
        }
        Ok(acceptor)
    }

    /// Stops listening, ends all connections of learners and joins their threads.
    pub fn halt(&mut self) {
        self.stop_accepting();
        loop {
            for link in self.shared.leader.learners() {
                link.close();
            }
            let Some(thread) = self.shared.threads.lock().pop() else { break };
            thread.join();
        }
    }

    /// Stops listening.
    pub fn stop_accepting(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        for listener in &mut self.listeners {
            // Ends a blocked accept.
            let _ = rustix::net::shutdown(&listener.socket, Shutdown::Both); // Done already.
            drop(listener.thread.take());
        }
        self.listeners.clear();
    }
}

impl Drop for LearnerCnxAcceptor {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Shared {
    fn accept_connections(&self, listener: &TcpListener) {
        while !self.is_stopping.load(Ordering::Acquire) {
            match listener.accept() {
                Ok(_) if self.is_stopping.load(Ordering::Acquire) => break,
                Ok((socket, remote)) => {
                    if let Err(error) = self.start_handler(socket, remote) {
                        log::warn!("Exception while accepting follower {remote}: {error}");
                    }
                }
                Err(_) if self.is_stopping.load(Ordering::Acquire) => break,
                Err(error) => {
                    log::warn!("Exception while accepting follower: {error}");
                    if error.kind() != ErrorKind::ConnectionAborted {
                        std::thread::park_timeout(ERROR_WAIT);
                    }
                }
            }
        }
    }

    fn start_handler(&self, socket: TcpStream, remote: SocketAddr) -> io::Result<()> {
        let ended: Vec<OwnedThread> = {
            let mut threads = self.threads.lock();
            threads.extract_if(.., |thread| thread.is_finished()).collect()
        };
        drop(ended);
        let leader = &self.leader;
        let learners = leader.learners();
        if learners.len() >= HANDLERS_MAX {
            // A flood of connections must not keep learners out: the oldest one that has not even
            // said who it is gives way, or else the oldest that no configuration knows.
            let open = || learners.iter().filter(|link| !link.is_closed());
            let silent = open().find(|link| link.sid() == ServerId::NONE);
            let is_stranger = |sid| leader.peer().server(sid).is_none();
            match silent.or_else(|| open().find(|link| is_stranger(link.sid()))) {
                Some(link) => link.close(),
                None => return Err(io::Error::other("too many learners")),
            }
        }
        socket.set_read_timeout(Some(Duration::from_millis(leader.init_timeout_ms().max(1))))?;
        socket.set_nodelay(leader.peer().settings().leader_nodelay)?;
        let link = LearnerLink::new(leader.next_link_id(), remote, socket.try_clone()?);
        let master: Arc<dyn LearnerMaster> = Arc::clone(leader) as _;
        master.add_learner_handler(&link);
        let mut handler = LearnerHandler::new(master, Arc::clone(&link), socket);
        let name = format!("LearnerHandler-{remote}");
        // Dropped, the handler takes itself out of the list of learners.
        let thread = thread::spawn(name, thread::STACK_BYTES, move || handler.run())?;
        self.threads.lock().push(thread);
        if self.is_stopping.load(Ordering::Acquire) {
            link.close();
        }
        Ok(())
    }
}
