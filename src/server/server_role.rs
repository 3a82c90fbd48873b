//! `ServerRole`: what differs between the servers of an ensemble's roles.
//!
//! Java has a class for each (`LeaderZooKeeperServer`, `FollowerZooKeeperServer`,
//! `ObserverZooKeeperServer`, `ReadOnlyZooKeeperServer`) that overrides methods of
//! `ZooKeeperServer`. Here there is one [`ZooKeeperServer`], and a role answers its questions. The
//! defaults are those of a standalone server.

use std::fmt::Display;
use std::sync::Arc;

use super::cnxn::server_cnxn::ServerCnxn;
use super::request::Request;
use super::zookeeper_server::ZooKeeperServer;
use crate::proto::{Code, SessionId};
use crate::session::Session;

/// What became of a client that wants its session back (`revalidateSession`).
pub enum Revalidation {
    /// It has it.
    Valid(Arc<Session>),
    /// There is no such session (any more).
    Invalid,
    /// Somebody else has to be asked; [`ZooKeeperServer::finish_session_init`] tells the answer.
    /// Until then the connection reads nothing. It may be closed meanwhile: that ends it.
    Later,
}

/// The hooks. All are called with no lock held, from the thread named; none may block for long.
pub trait ServerRole: Send + Sync {
    /// The mode in `srvr` and `mntr` (`getState`): `standalone`, `leader`, `follower`, `observer`,
    /// `read-only`.
    fn state(&self) -> &'static str;

    /// The id in names of threads and in `conf` (`getServerId`).
    fn server_id(&self) -> i64 {
        0
    }

    /// Serves reads of read-only clients only (`ReadOnlyZooKeeperServer`): others are closed at
    /// connect, `isro` answers `ro`, connect responses say so.
    fn is_read_only(&self) -> bool {
        false
    }

    /// `sync` waits for its turn among the ensemble's commits, as writes do. True in an ensemble;
    /// asked once, when the server is made.
    fn forwards_sync(&self) -> bool {
        false
    }

    /// Writes keep the bytes they came in ([`Request::bytes`]), to be forwarded. True on learners;
    /// asked once, when the server is made.
    fn forwards_writes(&self) -> bool {
        self.forwards_sync()
    }

    /// Writes are looked at for permission as they come ([`eager_acl_check`](super::eager_acl_check)),
    /// with the setting `enableEagerACLCheck`. True in an ensemble; asked once, when the server is
    /// made.
    fn checks_writes_eagerly(&self) -> bool {
        self.forwards_sync()
    }

    /// How many requests may be in the chain (`getGlobalOutstandingLimit`) when `configured` is the
    /// setting: leader and followers share it. Asked once, when the server is made.
    fn global_outstanding_limit(&self, configured: i32) -> i32 {
        configured
    }

    /// Refuses the reconnect to a session before anything else happens (`validateSession`): the
    /// error is why, for the log, and the connection is closed. Connection's thread.
    fn validate_session(&self, _id: SessionId) -> Result<(), String> {
        Ok(())
    }

    /// A client with the right password wants its session back (`revalidateSession`). Connection's
    /// thread. A leader claims it (`set_owner` with [`Session::OWNER_ME`]); a learner asks the leader
    /// unless the session is local.
    fn revalidate_session(
        &self,
        server: &ZooKeeperServer,
        _cnxn: &Arc<ServerCnxn>,
        id: SessionId,
        timeout_ms: i32,
    ) -> Revalidation {
        let is_alive = server.tracker().touch_session(id, timeout_ms);
        match server.tracker().session(id).filter(|_| is_alive) {
            Some(session) => Revalidation::Valid(session),
            None => Revalidation::Invalid,
        }
    }

    /// Whether a createSession or closeSession made here concerns this server only
    /// (`setLocalSessionFlag`). Connection's thread.
    fn is_local(&self, server: &ZooKeeperServer, request: &Request) -> bool {
        let tracker = server.tracker();
        tracker.is_local_sessions_enabled() && tracker.is_local_session(request.session_id)
    }

    /// Before a client's request enters the chain (`checkUpgradeSession`): a createSession that must
    /// go before it, or why the request fails (-120). A failing request still enters the chain, with
    /// [`Request::error`] set, to be answered in its turn. Connection's thread.
    fn check_upgrade_session(
        &self,
        _server: &ZooKeeperServer,
        _request: &Request,
    ) -> Result<Option<Request>, Code> {
        Ok(None)
    }

    /// What follows the node count in `srvr` and `stat`: a leader's `Proposal sizes
    /// last/min/max: …` with its newline.
    fn srvr_lines(&self, _out: &mut String) {}

    /// The word `srst`: forgets what only this role counts, a leader the sizes of its proposals.
    fn reset_stats(&self) {}

    /// What follows version and state in `mntr` (`dumpMonitorValues`), names without `zk_`:
    /// `peer_state`, `observer_master_id`. What is a gauge in Java (`quorum_size`, `learners`, …) the
    /// role registers with `ServerMetrics::gauges`.
    fn dump_monitor_values(&self, _sink: &mut dyn FnMut(&str, &dyn Display)) {}

    /// What follows `serverId` in `conf` (`QuorumZooKeeperServer.dumpConf`), lines ended.
    fn conf_lines(&self, _out: &mut String) {}
}

/// What of the configured limit of outstanding requests falls to one voter of `voters`
/// (`getGlobalOutstandingLimit` of leader and follower).
#[must_use]
pub fn shared_outstanding_limit(configured: i32, voters: usize) -> i32 {
    match i32::try_from(voters) {
        Ok(voters) if voters > 2 => configured / (voters - 1),
        _ => configured,
    }
}

/// A server that is alone.
pub struct Standalone;

impl ServerRole for Standalone {
    fn state(&self) -> &'static str {
        "standalone"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_share_the_limit() {
        for (voters, expected) in [(1, 1000), (2, 1000), (3, 500), (5, 250), (0, 1000)] {
            assert_eq!(shared_outstanding_limit(1000, voters), expected, "{voters}");
        }
    }
}
