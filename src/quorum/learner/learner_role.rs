//! What a follower's or observer's server answers differently (Java: `QuorumZooKeeperServer`,
//! `LearnerZooKeeperServer`, `FollowerZooKeeperServer`, `ObserverZooKeeperServer`).

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use super::leader_link::LeaderLink;
use crate::common::sync::{Mutex, Rank};
use crate::jute::OutputExt;
use crate::proto::{Code, ServerId, SessionId};
use crate::quorum::packet_stream::PacketType;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::session::{LearnerSessionTracker, check_upgrade_session};
use crate::quorum::zab::learner_sync::LearnerKind;
use crate::server::cnxn::server_cnxn::ServerCnxn;
use crate::server::request::Request;
use crate::server::server_role::{Revalidation, ServerRole, shared_outstanding_limit};
use crate::server::zookeeper_server::ZooKeeperServer;
use crate::session::SessionTracker;

/// See the module.
pub struct LearnerRole {
    peer: Arc<QuorumPeer>,
    kind: LearnerKind,
    leader: ServerId,
    link: Arc<LeaderLink>,
    tracker: Arc<LearnerSessionTracker>,
    /// Clients that wait for the leader to say whether their session is alive. They go with the
    /// connection to the leader: their own connections are closed then.
    pending_revalidations: Mutex<HashMap<SessionId, Arc<ServerCnxn>>>,
}

impl LearnerRole {
    /// The role of a learner of `leader`.
    pub fn new(
        peer: &Arc<QuorumPeer>,
        kind: LearnerKind,
        leader: ServerId,
        link: &Arc<LeaderLink>,
        tracker: &Arc<LearnerSessionTracker>,
    ) -> Arc<LearnerRole> {
        Arc::new(LearnerRole {
            peer: Arc::clone(peer),
            kind,
            leader,
            link: Arc::clone(link),
            tracker: Arc::clone(tracker),
            pending_revalidations: Mutex::new(Rank::Inbox, HashMap::new()),
        })
    }

    /// The leader's answer about a session (`Learner.revalidate`).
    pub fn revalidated(&self, server: &ZooKeeperServer, id: SessionId, is_valid: bool) {
        let cnxn = self.pending_revalidations.lock().remove(&id);
        match cnxn {
            Some(cnxn) => {
                let session = is_valid.then(|| self.tracker.attach(id, cnxn.session_timeout_ms()));
                server.finish_session_init(&cnxn, session);
            }
            None => log::warn!("Missing session {id} for validation"),
        }
    }
}

impl ServerRole for LearnerRole {
    fn state(&self) -> &'static str {
        match self.kind {
            LearnerKind::Follower => "follower",
            LearnerKind::Observer { .. } => "observer",
        }
    }

    fn server_id(&self) -> i64 {
        self.peer.my_id().0
    }

    fn forwards_sync(&self) -> bool {
        true
    }

    fn global_outstanding_limit(&self, configured: i32) -> i32 {
        match self.kind {
            LearnerKind::Follower => {
                shared_outstanding_limit(configured, self.peer.verifier().voting_members().len())
            }
            LearnerKind::Observer { .. } => configured,
        }
    }

    fn revalidate_session(
        &self,
        server: &ZooKeeperServer,
        cnxn: &Arc<ServerCnxn>,
        id: SessionId,
        timeout_ms: i32,
    ) -> Revalidation {
        if self.tracker.is_local_session(id) {
            let is_alive = self.tracker.touch_session(id, timeout_ms);
            return match server.tracker().session(id).filter(|_| is_alive) {
                Some(session) => Revalidation::Valid(session),
                None => Revalidation::Invalid,
            };
        }
        log::info!("Revalidating client: {id}");
        let older = self.pending_revalidations.lock().insert(id, Arc::clone(cnxn));
        if let Some(older) = older {
            // Nobody would ever answer it: a client has one connection, its newest.
            older.close();
        }
        let mut data = Vec::new();
        data.put_i64(id.0);
        data.put_i32(timeout_ms);
        self.link.send(&[PacketType::Revalidate.packet(-1, Some(data.into()))]);
        Revalidation::Later
    }

    fn check_upgrade_session(
        &self,
        _server: &ZooKeeperServer,
        request: &Request,
    ) -> Result<Option<Request>, Code> {
        let enabled = self.peer.settings().local_sessions_upgrading_enabled;
        check_upgrade_session(self.tracker.upgradeable(), enabled, request)
    }

    fn dump_monitor_values(&self, sink: &mut dyn FnMut(&str, &dyn Display)) {
        self.peer.dump_monitor_values(sink);
        if let LearnerKind::Observer { .. } = self.kind {
            sink("observer_master_id", &self.leader);
        }
    }

    fn conf_lines(&self, out: &mut String) {
        self.peer.conf_lines(out);
    }
}
