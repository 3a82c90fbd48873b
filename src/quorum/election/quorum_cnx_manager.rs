//! The connections between servers that elections use: one per pair, kept by the server with the
//! larger id (Java: `QuorumCnxManager`).
//!
//! Each connection has two threads, `SendWorker:`*sid* and `RecvWorker:`*sid*. Connecting is done on
//! threads of its own, because names have to be resolved and hosts may not answer. All threads are
//! kept here and joined when they have ended, the last ones by [`QuorumCnxManager::halt`].
//!
//! Different from Java, where it makes a server harder to disturb:
//! - an existing connection is given up when the new one is there, not when somebody says hello;
//! - servers that are in no configuration (joiners) may connect, but only so many, and nothing is
//!   kept of them once they have gone;
//! - a connection that breaks while this server looks for a leader is made anew at once: what was
//!   sent may be lost, and if nobody listens any more the election need not wait for that server;
//! - all addresses of a server and all that its name resolves to are tried, not the first; those of
//!   the configurations before those that it names itself, and of these only so many;
//! - attempts to connect to servers that are in no configuration take no room from the others;
//! - the id of observers of releases before 3.3 is refused, our own as well, and both are closed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use socket2::SockRef;

use super::election_peer::ElectionPeer;
use super::initial_message::InitialMessage;
use super::peer_queue::PeerQueue;
use super::recv_worker::{self, RecvQueue};
use super::send_worker;
use super::sockets::{StopSignal, connect, wait};
use crate::common::net_utils::{HostPort, MultipleAddresses};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread};
use crate::proto::ServerId;
use crate::quorum::zab::ServerState;

/// What observers without an id said they were (Java: `QuorumPeer.OBSERVER_ID`).
const OBSERVER_ID: ServerId = ServerId(i64::MAX);
/// Connections of servers that no configuration knows.
const UNKNOWN_MAX: usize = 32;
/// Addresses that a server may name for itself. Each is a wait of `cnxTimeout` if nobody answers, and
/// there is room for hundreds in a first message.
const ADDRESSES_SAID_MAX: usize = 8;
/// A connection that lasted so long is made anew at once when it breaks while we look for a leader.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// One that did not last that long is made anew after 2, 4, 8, 16, 16, … ms, so many times in a row.
const RETRIES_MAX: u32 = 10;
const RETRY_DOUBLINGS: u32 = 4;
/// How long a server that was told who we are may take to close the connection.
const CLOSES_WITHIN: Duration = Duration::from_millis(200);

/// The connections of one server. Share it in an `Arc`.
pub(super) struct QuorumCnxManager {
    peer: Arc<dyn ElectionPeer>,
    my_id: ServerId,
    stop: StopSignal,
    recv_queue: RecvQueue,
    /// Hears of servers that refuse to be connected to at all their addresses.
    on_refused: Box<dyn Fn(ServerId) + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: BTreeMap<ServerId, Link>,
    /// Of all workers and attempts to connect; those that have ended are joined now and then.
    threads: Vec<OwnedThread>,
    /// Numbers the connections.
    connections: u64,
    /// Numbers the attempts to connect.
    attempts: u64,
    is_halted: bool,
}

/// Another server.
#[derive(Default)]
struct Link {
    queue: Arc<PeerQueue>,
    connection: Option<Connection>,
    is_connecting: bool,
    /// How many connections in a row did not last.
    retries: u32,
    /// It asked to be connected to while an attempt was under way, which may be to an address where
    /// it no longer is.
    asked: Option<MultipleAddresses>,
}

struct Connection {
    number: u64,
    since: Instant,
    socket: Arc<TcpStream>,
}

/// How an attempt to connect has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Nobody listens at any of the addresses: the server does not run.
    Refused,
    /// The connection was reset before the first message was read.
    Broken,
    /// In any other way.
    Over,
}

impl QuorumCnxManager {
    pub(super) fn new(
        peer: Arc<dyn ElectionPeer>,
        on_refused: Box<dyn Fn(ServerId) + Send + Sync>,
    ) -> io::Result<Self> {
        Ok(Self {
            my_id: peer.my_id(),
            peer,
            stop: StopSignal::new()?,
            recv_queue: recv_worker::recv_queue(),
            on_refused,
            state: Mutex::new(Rank::Leaf, State::default()),
        })
    }

    pub(super) fn peer(&self) -> &Arc<dyn ElectionPeer> {
        &self.peer
    }

    /// Woken when the manager halts.
    pub(super) fn stop_signal(&self) -> &StopSignal {
        &self.stop
    }

    /// What the servers have sent; closed by [`halt`](Self::halt).
    pub(super) fn recv_queue(&self) -> &RecvQueue {
        &self.recv_queue
    }

    /// Sends a message as soon as there is a connection, which is made if there is none. A newer
    /// message takes the place of one that was not sent yet. Does not block.
    pub(super) fn to_send(self: &Arc<Self>, sid: ServerId, message: &[u8]) {
        let is_known = self.is_known(sid);
        let queue = {
            let mut state = self.state.lock();
            if !is_known && !state.links.contains_key(&sid) {
                return; // It has gone, and we would not know where to.
            }
            Arc::clone(&state.links.entry(sid).or_default().queue)
        };
        queue.offer(send_worker::frame(message));
        self.connect_one(sid);
    }

    /// An election is over: servers that connect later get this and not the last vote in it.
    pub(super) fn supersede(&self, message: &[u8]) {
        let frame = send_worker::frame(message);
        let queues: Vec<_> =
            self.state.lock().links.values().map(|link| Arc::clone(&link.queue)).collect();
        queues.iter().for_each(|queue| queue.supersede(Arc::clone(&frame)));
    }

    /// Connects to all servers for which there ever was a message.
    pub(super) fn connect_all(self: &Arc<Self>) {
        let sids: Vec<ServerId> = self.state.lock().links.keys().copied().collect();
        sids.into_iter().for_each(|sid| self.connect_one(sid));
    }

    /// Whether everything was sent to some server.
    pub(super) fn have_delivered(&self) -> bool {
        let queues: Vec<_> =
            self.state.lock().links.values().map(|link| Arc::clone(&link.queue)).collect();
        queues.iter().any(|queue| queue.is_empty())
    }

    /// Connects to a server in the background, if there is no connection yet.
    fn connect_one(self: &Arc<Self>, sid: ServerId) {
        let is_connected =
            self.state.lock().links.get(&sid).is_some_and(|link| link.connection.is_some());
        if !is_connected {
            self.initiate_connection_async(sid, None, Duration::ZERO);
        }
    }

    /// `asked` is where the server itself, having asked for it, says it can be reached.
    fn initiate_connection_async(
        self: &Arc<Self>,
        sid: ServerId,
        asked: Option<MultipleAddresses>,
        delay: Duration,
    ) {
        let addresses = self.addresses(sid, asked.as_ref());
        if addresses.all_addresses().is_empty() {
            log::warn!("Invalid server id: {sid}");
            return;
        }
        let threads_max = self.peer.election_settings().quorum_cnxn_threads_size.max(1);
        let is_known = self.is_known(sid);
        let attempt = {
            let mut state = self.state.lock();
            // Attempts to reach strangers, whose addresses may lead nowhere, leave the room of the
            // members alone.
            let counts = |(sid, link): &(&ServerId, &Link)| {
                link.is_connecting && self.is_known(**sid) == is_known
            };
            let connecting = state.links.iter().filter(counts).count();
            let is_full = i32::try_from(connecting).is_ok_and(|count| count >= threads_max);
            let is_halted = state.is_halted;
            let link = state.links.entry(sid).or_default();
            if link.is_connecting || is_full || is_halted {
                if link.is_connecting && asked.is_some() {
                    link.asked = asked;
                }
                if !is_known && !link.is_connecting && link.connection.is_none() {
                    state.links.remove(&sid);
                }
                None
            } else {
                link.is_connecting = true;
                state.attempts += 1;
                Some(state.attempts)
            }
        };
        let Some(attempt) = attempt else { return };
        let manager = Arc::clone(self);
        let name = format!("QuorumConnectionThread-[myid={}]-{attempt}", self.my_id);
        let thread = thread::spawn(name, thread::STACK_BYTES, move || {
            let is_over = !delay.is_zero() && manager.stop.sleep(delay);
            let outcome =
                if is_over { Attempt::Over } else { manager.initiate_connection(sid, &addresses) };
            // Before it is told, so that who asks for an attempt because of it gets one.
            let is_retried = manager.attempt_ended(sid, outcome);
            match outcome {
                Attempt::Refused if !is_retried => (manager.on_refused)(sid),
                Attempt::Broken if !is_retried => manager.retry(sid),
                _ => {}
            }
        });
        match thread {
            Ok(thread) => self.keep(thread),
            Err(error) => {
                log::error!("Exception while submitting quorum connection request: {error}");
                let _ = self.attempt_ended(sid, Attempt::Over); // The next message tries again.
            }
        }
    }

    /// True if there is another one, because the server has asked for it meanwhile.
    fn attempt_ended(self: &Arc<Self>, sid: ServerId, outcome: Attempt) -> bool {
        let is_known = self.is_known(sid);
        let asked = {
            let mut state = self.state.lock();
            let Some(link) = state.links.get_mut(&sid) else { return false };
            link.is_connecting = false;
            if outcome == Attempt::Refused {
                link.retries = 0;
            }
            let asked = link.asked.take().filter(|_| link.connection.is_none());
            if link.connection.is_none() && asked.is_none() && !is_known {
                state.links.remove(&sid);
            }
            asked
        };
        let is_retried = asked.is_some();
        if is_retried {
            self.initiate_connection_async(sid, asked, Duration::ZERO);
        }
        is_retried
    }

    /// Where to look for a server: in both configurations, then where it said itself. Not the other
    /// way round, or whoever sends a first message in its name could keep us away from it.
    fn addresses(&self, sid: ServerId, said: Option<&MultipleAddresses>) -> MultipleAddresses {
        let mut addresses = MultipleAddresses::default();
        for verifier in std::iter::once(self.peer.verifier()).chain(self.peer.last_seen_verifier())
        {
            let server = verifier.all_members().get(&sid);
            for address in server.iter().flat_map(|server| server.election_addr.all_addresses()) {
                addresses.add_address(address.clone());
            }
        }
        let said = said.map(MultipleAddresses::all_addresses).unwrap_or_default();
        for address in said.iter().take(ADDRESSES_SAID_MAX) {
            addresses.add_address(address.clone());
        }
        addresses
    }

    fn is_known(&self, sid: ServerId) -> bool {
        self.peer.verifier().all_members().contains_key(&sid)
            || self.peer.last_seen_verifier().is_some_and(|v| v.all_members().contains_key(&sid))
    }

    fn initiate_connection(
        self: &Arc<Self>,
        sid: ServerId,
        addresses: &MultipleAddresses,
    ) -> Attempt {
        let timeout_ms = self.peer.election_settings().cnx_timeout_ms;
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(5000).max(1));
        let mut is_refused = true;
        for address in addresses.all_addresses() {
            if self.stop.is_stopped() {
                return Attempt::Over;
            }
            match self.connect_to(address, timeout) {
                Ok(socket) => return self.start_connection(socket, sid),
                Err(error) => {
                    log::warn!(
                        "Cannot open channel to {sid} at election address {address}: {error}"
                    );
                    is_refused &= error.kind() == io::ErrorKind::ConnectionRefused;
                }
            }
        }
        if is_refused { Attempt::Refused } else { Attempt::Over }
    }

    fn connect_to(&self, address: &HostPort, timeout: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::other("no address");
        for resolved in address.resolve_all()? {
            match connect(resolved, timeout, &self.stop) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Says hello. Of two servers the one with the larger id keeps the connections it makes; the
    /// other one only makes itself known.
    fn start_connection(self: &Arc<Self>, socket: TcpStream, sid: ServerId) -> Attempt {
        let settings = self.peer.election_settings();
        let own = self.peer.verifier().all_members().get(&self.my_id).cloned();
        let hello = InitialMessage {
            sid: self.my_id,
            election_addr: own.map(|own| own.election_addr).unwrap_or_default(),
        };
        let sent = self
            .set_options(&socket)
            .and_then(|()| (&socket).write_all(&hello.encode(settings.multi_address_enabled)));
        if let Err(error) = sent {
            log::warn!("Ignoring exception reading or writing challenge: {error}");
            return Attempt::Broken;
        }
        if sid < self.my_id {
            self.start_workers(socket, sid);
            return Attempt::Over;
        }
        log::info!(
            "Have smaller server identifier, so dropping the connection: (myId:{} --> sid:{sid})",
            self.my_id
        );
        if self.is_reset(&socket) { Attempt::Broken } else { Attempt::Over }
    }

    /// Whether the other side has ended without reading what was sent. Who has read it closes.
    fn is_reset(&self, mut socket: &TcpStream) -> bool {
        let mut fds = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
        wait(&mut fds, Instant::now().checked_add(CLOSES_WITHIN));
        let is_ready = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        let is_reset = |error: io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        is_ready && socket.read(&mut [0]).is_err_and(is_reset)
    }

    /// A connection to `sid` did not last. Of a server that is being killed the system closes one
    /// socket after the other, and takes connections until it comes to the listener. While we look
    /// for a leader it matters that the server is gone.
    fn retry(self: &Arc<Self>, sid: ServerId) {
        if self.peer.server_state() != ServerState::Looking {
            return;
        }
        let delay = {
            let mut state = self.state.lock();
            let Some(link) = state.links.get_mut(&sid) else { return };
            if link.connection.is_some() || link.retries >= RETRIES_MAX {
                return;
            }
            link.retries += 1;
            Duration::from_millis(1 << link.retries.min(RETRY_DOUBLINGS))
        };
        self.initiate_connection_async(sid, None, delay);
    }

    pub(super) fn set_options(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        SockRef::from(socket).set_keepalive(self.peer.election_settings().tcp_keep_alive)
    }

    /// Somebody connected and said hello. Does not block.
    pub(super) fn handle_connection(self: &Arc<Self>, socket: TcpStream, hello: InitialMessage) {
        let sid = hello.sid;
        if sid == self.my_id {
            log::warn!(
                "We got a connection request from a server with our own ID. This should be either \
                 a configuration error, or a bug."
            );
        } else if sid == OBSERVER_ID {
            log::warn!("Refusing an observer without an id");
        } else if !self.admits(sid) {
            log::warn!("Refusing server {sid}: too many servers that no configuration knows");
        } else if sid < self.my_id {
            log::debug!("Create new connection to server: {sid}");
            drop(socket);
            self.initiate_connection_async(sid, Some(hello.election_addr), Duration::ZERO);
        } else {
            self.start_workers(socket, sid);
        }
    }

    fn admits(&self, sid: ServerId) -> bool {
        if self.is_known(sid) {
            return true;
        }
        let sids: BTreeSet<ServerId> = self.state.lock().links.keys().copied().collect();
        sids.contains(&sid) || sids.iter().filter(|sid| !self.is_known(**sid)).count() < UNKNOWN_MAX
    }

    /// From now on this is the connection to `sid`.
    fn start_workers(self: &Arc<Self>, socket: TcpStream, sid: ServerId) {
        let socket = Arc::new(socket);
        let (number, queue, replaced) = {
            let mut state = self.state.lock();
            if state.is_halted {
                return;
            }
            state.connections += 1;
            let number = state.connections;
            let link = state.links.entry(sid).or_default();
            let connection =
                Connection { number, since: Instant::now(), socket: Arc::clone(&socket) };
            (number, Arc::clone(&link.queue), link.connection.replace(connection))
        };
        if let Some(replaced) = replaced {
            close(&replaced.socket);
        }
        queue.begin(number);
        let worker = |name: String, body: Box<dyn FnOnce(&Self) + Send>| {
            let manager = Arc::clone(self);
            thread::spawn(name, thread::STACK_BYTES, move || {
                body(&manager);
                manager.finish(sid, number);
            })
        };
        let (sent, received) = (Arc::clone(&socket), socket);
        let send = worker(
            format!("SendWorker:{sid}"),
            Box::new(move |_| send_worker::run(&sent, &queue, number, sid)),
        );
        let receive = worker(
            format!("RecvWorker:{sid}"),
            Box::new(move |manager| {
                recv_worker::run(&received, &manager.recv_queue, sid, manager.my_id);
            }),
        );
        for thread in [send, receive] {
            match thread {
                Ok(thread) => self.keep(thread),
                Err(error) => {
                    log::error!("Cannot start a worker for server {sid}: {error}");
                    self.finish(sid, number);
                }
            }
        }
    }

    /// A connection is over; the other worker ends as well.
    fn finish(self: &Arc<Self>, sid: ServerId, number: u64) {
        let is_known = self.is_known(sid);
        let (queue, connection) = {
            let mut state = self.state.lock();
            let Some(link) = state.links.get_mut(&sid) else { return };
            let queue = Arc::clone(&link.queue);
            let connection = link.connection.take_if(|connection| connection.number == number);
            if connection.as_ref().is_some_and(|c| c.since.elapsed() >= STABLE_AFTER) {
                link.retries = 0;
            }
            if link.connection.is_none() && !link.is_connecting && !is_known {
                state.links.remove(&sid);
            }
            (queue, connection)
        };
        queue.end(number);
        let Some(connection) = connection else { return };
        close(&connection.socket);
        // Our vote may have gone into it, and the other server with it.
        if connection.since.elapsed() < STABLE_AFTER {
            self.retry(sid);
        } else if self.peer.server_state() == ServerState::Looking {
            self.connect_one(sid);
        }
    }

    /// Takes over a thread, and joins those that have ended.
    fn keep(&self, thread: OwnedThread) {
        let ended: Vec<OwnedThread> = {
            let mut state = self.state.lock();
            state.threads.push(thread);
            if state.is_halted {
                // It sees so itself, and ends at once.
                std::mem::take(&mut state.threads)
            } else {
                state.threads.extract_if(.., |thread| thread.is_finished()).collect()
            }
        };
        drop(ended);
    }

    /// Closes all connections and waits for all threads. Later calls do nothing.
    pub(super) fn halt(&self) {
        self.stop.stop();
        let (links, threads) = {
            let mut state = self.state.lock();
            state.is_halted = true;
            (std::mem::take(&mut state.links), std::mem::take(&mut state.threads))
        };
        for link in links.into_values() {
            link.queue.end(u64::MAX);
            if let Some(connection) = link.connection {
                close(&connection.socket);
            }
        }
        self.recv_queue.close();
        drop(threads);
        // Those that were starting others when it began.
        let late = std::mem::take(&mut self.state.lock().threads);
        drop(late);
    }
}

/// Wakes who reads from or writes to it; it is closed when they have let go of it.
fn close(socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Both); // Not connected any more is what we want.
}
