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

/// The database back; or what ends the process, an error of our disk for example.
pub type RoleResult = Result<QuorumDatabase, CriticalError>;

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
        if !peer.is_running() {
            break;
        }
        // Before anybody is told that we are looking, and so asks for our vote.
        peer.set_last_logged_zxid(database.fast_forward()?);
        peer.state().set_server_state(ServerState::Looking);
        log::warn!("PeerState set to LOOKING");
        if state == ServerState::Observing {
            // Spreads the load of observers that lost their leader together.
            let bound_ms = peer.settings().observer_election_delay_ms;
            peer.wait_at_random(bound_ms, "election");
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::auth::{AuthenticationHelper, EnforceAuthSettings, ProviderRegistry};
    use crate::common::config::{LearnerType, QuorumSettings};
    use crate::common::exit_code::ExitCode;
    use crate::common::thread::ServerListener;
    use crate::persistence::disk::RealDisk;
    use crate::persistence::{FileTxnSnapLog, SnapLogOptions};
    use crate::proto::txn::CreateSessionTxn;
    use crate::proto::{OpCode, ServerId, SessionId, Txn, TxnHeader, TxnLogEntry, Zxid};
    use crate::quorum::epoch_files::EpochFiles;
    use crate::quorum::quorum_peer::{QuorumPeerParts, configured_verifiers};
    use crate::server::cnxn::server_cnxn_factory::ServerCnxnFactory;

    struct Deaf;

    impl ServerListener for Deaf {
        fn notify_stopping(&self, _: &str, _: ExitCode, why: &str) {
            panic!("{why}");
        }
    }

    /// Plays one role after the other, logs a transaction in each, and writes down what it sees.
    struct Script {
        peer: Arc<QuorumPeer>,
        roles: Mutex<Vec<ServerState>>,
        trace: Mutex<Vec<String>>,
    }

    impl Script {
        fn play(&self, name: &str, mut database: QuorumDatabase) -> RoleResult {
            let zxid = database.last_logged_zxid();
            let next = TxnHeader {
                client_id: SessionId(7),
                cxid: 0,
                zxid: zxid.next(),
                time: 0,
                txn_type: OpCode::CreateSession.as_i32(),
            };
            let txn = Txn::CreateSession(CreateSessionTxn { timeout_ms: 4000 });
            database.snap_log.append(&TxnLogEntry::new(next, txn, None))?;
            database.snap_log.commit()?;
            self.trace.lock().unwrap().push(format!("{name} at {zxid}"));
            Ok(database)
        }
    }

    struct NoServer;

    impl ReadOnlyServer for NoServer {}

    impl Roles for Script {
        fn look_for_leader(&self) -> Option<Vote> {
            let zxid = self.peer.last_logged_zxid();
            self.trace.lock().unwrap().push(format!("looks with {zxid}"));
            let Some(next) = self.roles.lock().unwrap().pop() else {
                self.peer.shutdown().request();
                return None;
            };
            self.peer.state().set_server_state(next);
            Some(Vote::looking(ServerId(9), zxid, 1, 1))
        }

        fn follow(&self, _: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
            self.play("follows", database)
        }

        fn observe(&self, _: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
            self.play("observes", database)
        }

        fn lead(&self, _: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
            self.play("leads", database)
        }

        fn serve_read_only(
            &self,
            _: &Arc<QuorumPeer>,
            _: &Arc<ZkDatabase>,
        ) -> std::io::Result<Box<dyn ReadOnlyServer>> {
            Ok(Box::new(NoServer))
        }
    }

    fn member(dir: &Path) -> (Arc<QuorumPeer>, QuorumDatabase) {
        let members = [("server.1", "h:1:2"), ("server.2", "h:3:4"), ("server.9", "h:5:6")];
        let members = members.map(|(key, line)| (key.to_owned(), line.to_owned()));
        let settings = QuorumSettings {
            server_id: ServerId(1),
            learner_type: LearnerType::Participant,
            members: members.into(),
            observer_election_delay_ms: 0,
            ..QuorumSettings::default()
        };
        let (verifier, last_seen_verifier) = configured_verifiers(&settings).unwrap();
        let config = Arc::new(ServerConfig::default());
        let metrics = Arc::default();
        let snap_log =
            FileTxnSnapLog::new(Arc::new(RealDisk), dir, dir, SnapLogOptions::default()).unwrap();
        let database = QuorumDatabase::load(snap_log, &config, &metrics, &verifier).unwrap();
        let last_logged_zxid = database.last_logged_zxid();
        let epochs = EpochFiles::load(database.snap_log.snap_dir(), last_logged_zxid).unwrap();
        let providers = Arc::new(ProviderRegistry::new(&(&*config).into(), &metrics).unwrap());
        let auth = EnforceAuthSettings::from(&*config);
        let peer = QuorumPeer::new(QuorumPeerParts {
            settings,
            verifier,
            last_seen_verifier,
            epochs,
            last_logged_zxid,
            listener: Arc::new(Deaf),
            server_slot: Arc::clone(ServerCnxnFactory::new(&config, &metrics).unwrap().slot()),
            auth_helper: AuthenticationHelper::new(&auth, &providers).unwrap(),
            providers,
            metrics,
            config,
        });
        (peer, database)
    }

    #[test]
    fn every_election_is_held_with_the_last_logged_zxid() {
        let dir = tempfile::tempdir().unwrap();
        let (peer, database) = member(dir.path());
        // Played from the end.
        let roles = vec![ServerState::Observing, ServerState::Leading, ServerState::Following];
        let script = Arc::new(Script {
            peer: Arc::clone(&peer),
            roles: Mutex::new(roles),
            trace: Mutex::default(),
        });
        let thread = start(&peer, database, Arc::clone(&script) as Arc<dyn Roles>).unwrap();
        assert_eq!(thread.name(), "QuorumPeer[myid=1](plain=disabled)(secure=disabled)");
        thread.join();
        let expected = [
            "looks with 0x0",
            "follows at 0x0",
            "looks with 0x1",
            "leads at 0x1",
            "looks with 0x2",
            "observes at 0x2",
            "looks with 0x3",
        ];
        assert_eq!(*script.trace.lock().unwrap(), expected);
        assert_eq!(peer.metrics().looking_count.get(), 4);
        assert_eq!(peer.state().current_vote().id, ServerId(9));
        let (_, database) = member(dir.path());
        assert_eq!(database.last_logged_zxid(), Zxid(3));
    }
}
