//! The thread of a member: looks for a leader, plays the role that the election gave, and begins
//! anew (Java: `QuorumPeer.run`).
//!
//! It owns the database between the roles. A role gets it and gives it back with all of its threads
//! joined and the log closed; then the tree is fast-forwarded, so that the next vote tells the last
//! logged zxid (ZOOKEEPER-2845).
//!
//! Deliberate difference: an error of the database ends the process. Java stays in a loop of
//! exceptions, or votes with what it has.

use std::sync::Arc;
use std::time::Duration;

use super::quorum_database::QuorumDatabase;
use super::quorum_peer::QuorumPeer;
use super::zab::{ServerState, Vote};
use crate::common::config::ServerConfig;
use crate::common::thread::{self, CriticalError, OwnedThread};
use crate::persistence::PersistenceError;
use crate::server::zk_database::ZkDatabase;

/// How long a member that finds nobody waits before it serves clients that only read; a tick if that
/// is longer.
const READ_ONLY_GRACE: Duration = Duration::from_secs(2);
/// Between two elections of which the first ended at once, without a result.
const ELECTION_PAUSE: Duration = Duration::from_millis(10);

/// A server for clients that only read. Dropping it ends it.
pub trait ReadOnlyServer: Send {}

/// What the thread runs.
pub trait Roles: Send + Sync {
    /// Looks for a leader and sets the state of the server; `None` if the election was ended.
    fn look_for_leader(&self) -> Option<Vote>;
    /// Follows until it is over; gives the database back with the log closed.
    fn follow(&self, peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult;
    /// Observes until it is over.
    fn observe(&self, peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult;
    /// Leads until it is over.
    fn lead(&self, peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult;
    /// Starts a read-only server on this database.
    fn serve_read_only(
        &self,
        peer: &Arc<QuorumPeer>,
        database: &Arc<ZkDatabase>,
    ) -> std::io::Result<Box<dyn ReadOnlyServer>>;
}

/// The database back; or the error of our disk that ends the process.
pub type RoleResult = Result<QuorumDatabase, PersistenceError>;

/// Starts the thread. It ends when the shutdown of `peer` is requested, with the log closed.
pub fn start(
    peer: &Arc<QuorumPeer>,
    database: QuorumDatabase,
    roles: Arc<dyn Roles>,
) -> std::io::Result<OwnedThread> {
    let peer = Arc::clone(peer);
    let listener = Arc::clone(peer.listener());
    let name = thread_name(&peer);
    thread::spawn_critical(name, thread::COMPRESSING_STACK_BYTES, &listener, move || {
        run(&peer, database, &roles)
    })
}

/// `QuorumPeer[myid=1](plain=0.0.0.0:2181)(secure=disabled)`.
fn thread_name(peer: &QuorumPeer) -> String {
    let plain = plain_text(peer.config(), peer.server_slot().client_port());
    format!("QuorumPeer[myid={}](plain={plain})(secure=disabled)", peer.my_id())
}

fn plain_text(config: &ServerConfig, port: u16) -> String {
    let Some(text) = config.client_address_text() else { return "disabled".to_owned() };
    match text.rsplit_once(':') {
        Some((host, _)) => format!("{host}:{port}"),
        None => text,
    }
}

fn run(
    peer: &Arc<QuorumPeer>,
    mut database: QuorumDatabase,
    roles: &Arc<dyn Roles>,
) -> Result<(), CriticalError> {
    log::debug!("Starting quorum peer");
    while peer.is_running() {
        let state = peer.server_state();
        log::info!("{state}");
        database = match state {
            ServerState::Looking => {
                look(peer, &database, roles)?;
                continue;
            }
            ServerState::Following => roles.follow(peer, database)?,
            ServerState::Observing => roles.observe(peer, database)?,
            ServerState::Leading => roles.lead(peer, database)?,
        };
        peer.state().set_server_state(ServerState::Looking);
        log::warn!("PeerState set to LOOKING");
        peer.set_last_logged_zxid(database.fast_forward()?);
        if state == ServerState::Observing {
            wait_for_observer_election_delay(peer);
        }
    }
    database.snap_log.close()?;
    log::warn!("QuorumPeer main thread exited");
    Ok(())
}

fn look(
    peer: &Arc<QuorumPeer>,
    database: &QuorumDatabase,
    roles: &Arc<dyn Roles>,
) -> Result<(), CriticalError> {
    peer.metrics().looking_count.increment();
    let read_only = if peer.config().readonlymode_enabled {
        Some(ReadOnlyManager::start(peer, &database.db, roles)?)
    } else {
        None
    };
    peer.state().start_election();
    let vote = roles.look_for_leader();
    drop(read_only);
    match vote {
        Some(vote) => peer.state().set_current_vote(vote),
        None if peer.is_running() => {
            log::warn!("The election ended without a result");
            peer.shutdown().wait_for(ELECTION_PAUSE);
        }
        None => {}
    }
    Ok(())
}

/// Spreads the load of observers that lost their leader together
/// (`Observer.waitForObserverElectionDelay`).
fn wait_for_observer_election_delay(peer: &QuorumPeer) {
    let bound_ms = u64::try_from(peer.settings().observer_election_delay_ms).unwrap_or(0);
    if bound_ms > 0 && peer.is_running() {
        let delay_ms = random() % bound_ms;
        log::info!("Waiting for {delay_ms} ms before election");
        peer.shutdown().wait_for(Duration::from_millis(delay_ms));
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8)
}

/// Starts a read-only server once the election takes too long, and ends it when dropped.
struct ReadOnlyManager {
    stop: Option<crossbeam_channel::Sender<()>>,
    /// Joined after `stop` is dropped.
    thread: Option<OwnedThread>,
}

impl ReadOnlyManager {
    fn start(
        peer: &Arc<QuorumPeer>,
        database: &Arc<ZkDatabase>,
        roles: &Arc<dyn Roles>,
    ) -> std::io::Result<ReadOnlyManager> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (peer, database, roles) = (Arc::clone(peer), Arc::clone(database), Arc::clone(roles));
        let thread =
            thread::spawn("ReadOnlyZooKeeperServerStarter", thread::STACK_BYTES, move || {
                let grace = READ_ONLY_GRACE.max(Duration::from_millis(peer.ticks_ms(1)));
                let is_over = || stopped.recv_timeout(grace);
                if is_over() != Err(crossbeam_channel::RecvTimeoutError::Timeout)
                    || peer.server_state() != ServerState::Looking
                {
                    return;
                }
                match roles.serve_read_only(&peer, &database) {
                    Ok(server) => {
                        // Disconnected: the election is over.
                        let _ = stopped.recv();
                        drop(server);
                    }
                    Err(error) => log::error!("FAILED to start ReadOnlyZooKeeperServer: {error}"),
                }
            })?;
        Ok(ReadOnlyManager { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ReadOnlyManager {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take());
    }
}
