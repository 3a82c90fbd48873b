//! `ReadOnlyZooKeeperServer`: serves reads from the tree as it is, to clients that said they want no
//! more, while the member looks for a leader.
//!
//! Sessions are local and end with this server; those of the ensemble cannot be taken up here, for
//! nobody could say whether they still exist.

use std::io;
use std::sync::Arc;

use super::read_only_request_processor;
use crate::common::thread::ServerListener;
use crate::proto::SessionId;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::quorum_peer_thread::ReadOnlyServer;
use crate::quorum::session::LearnerSessionTracker;
use crate::server::final_request_processor::FinalRequestProcessor;
use crate::server::gauges;
use crate::server::request_processor::RequestProcessor;
use crate::server::server_role::ServerRole;
use crate::server::stage::Stage;
use crate::server::zk_database::ZkDatabase;
use crate::server::zookeeper_server::{State, ZooKeeperServer};
use crate::session::{
    SessionExpirer, SessionTracker, SessionTrackerSettings, SessionTrackerThread,
};

/// The running server; dropping it ends it, with all connections closed.
pub struct ReadOnlyZooKeeperServer {
    peer: Arc<QuorumPeer>,
    server: Arc<ZooKeeperServer>,
    session_tracker: Option<SessionTrackerThread>,
    first_processor: Stage,
}

impl ReadOnlyZooKeeperServer {
    /// Starts everything and lets clients in. Nobody may change the database before the end.
    pub fn start(
        peer: &Arc<QuorumPeer>,
        database: &Arc<ZkDatabase>,
    ) -> io::Result<ReadOnlyZooKeeperServer> {
        let listener: &Arc<dyn ServerListener> = peer.listener();
        let tracker = Arc::new(LearnerSessionTracker::new(
            Arc::clone(database),
            SessionTrackerSettings { tick_time_ms: peer.tick_time_ms(), server_id: peer.my_id().0 },
            peer.settings().local_sessions_enabled,
            Arc::clone(peer.metrics()),
        ));
        let role = ReadOnlyRole { peer: Arc::clone(peer), tracker: Arc::clone(&tracker) };
        let server = peer.new_server_over(Arc::new(role), Arc::clone(&tracker) as Arc<_>, database);
        let last = Arc::new(FinalRequestProcessor::new(Arc::clone(&server)));
        let first_processor = read_only_request_processor::start(&server, listener, last)?;
        let expirer: Arc<dyn SessionExpirer> = Arc::clone(&server) as _;
        let mut started = ReadOnlyZooKeeperServer {
            peer: Arc::clone(peer),
            server,
            session_tracker: None,
            first_processor,
        };
        // From here on an error ends what was started.
        started.session_tracker = tracker.start(expirer, listener)?;
        gauges::register(&started.server);
        if let Some(sender) = started.first_processor.sender() {
            started.server.start_intake(sender);
        }
        peer.server_slot().set_server(Arc::clone(&started.server));
        log::info!("Read-only server started");
        Ok(started)
    }
}

impl ReadOnlyServer for ReadOnlyZooKeeperServer {}

impl Drop for ReadOnlyZooKeeperServer {
    fn drop(&mut self) {
        self.server.set_state(State::Shutdown);
        self.server.stop_admission();
        self.peer.server_slot().clear();
        drop(self.session_tracker.take());
        self.server.stop_intake();
        self.first_processor.shutdown();
        self.server.metrics().gauges.clear();
    }
}

struct ReadOnlyRole {
    peer: Arc<QuorumPeer>,
    tracker: Arc<LearnerSessionTracker>,
}

impl ServerRole for ReadOnlyRole {
    fn state(&self) -> &'static str {
        "read-only"
    }

    fn server_id(&self) -> i64 {
        self.peer.my_id().0
    }

    fn is_read_only(&self) -> bool {
        true
    }

    /// It is refused, by the chain.
    fn forwards_sync(&self) -> bool {
        true
    }

    fn forwards_writes(&self) -> bool {
        false
    }

    fn checks_writes_eagerly(&self) -> bool {
        false
    }

    fn validate_session(&self, id: SessionId) -> Result<(), String> {
        if self.tracker.is_global_session(id) {
            return Err(format!("Refusing global session reconnection in RO mode {id}"));
        }
        Ok(())
    }

    fn conf_lines(&self, out: &mut String) {
        self.peer.conf_limits(out);
    }
}
