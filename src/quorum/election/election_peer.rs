//! What the election asks of the server it belongs to (Java: the parts of `QuorumPeer` that
//! `FastLeaderElection` and `QuorumCnxManager` use).

use std::io;
use std::sync::Arc;

use crate::common::config::LearnerType;
use crate::common::thread::ServerListener;
use crate::metrics::ServerMetrics;
use crate::proto::{ServerId, Zxid};
use crate::quorum::verifier::{QuorumVerifier, VerifierOptions};
use crate::quorum::zab::{ServerState, Vote};

/// Settings of elections and of the connections they use.
#[derive(Debug, Clone)]
pub struct ElectionSettings {
    /// `fastleader.minNotificationInterval`: the first wait for notifications.
    pub min_notification_interval_ms: i32,
    /// `fastleader.maxNotificationInterval`: the wait doubles up to this.
    pub max_notification_interval_ms: i32,
    /// `cnxTimeout`: for connecting to a server.
    pub cnx_timeout_ms: i32,
    /// `quorumCnxnTimeoutMs`, or `tickTime * syncLimit` if that is not positive: for reading the
    /// first message of a connection.
    pub socket_timeout_ms: i32,
    /// `quorumListenOnAllIPs`.
    pub quorum_listen_on_all_ips: bool,
    /// `quorum.cnxn.threads.size`: how many connections are made at the same time.
    pub quorum_cnxn_threads_size: i32,
    /// `electionPortBindRetry`: attempts to bind, 0 for no end.
    pub election_port_bind_retry: i32,
    /// `tcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `multiAddress.enabled`: the first message of a connection names all addresses.
    pub multi_address_enabled: bool,
}

/// Java's defaults, with a tick of 2 s and a limit of 5.
impl Default for ElectionSettings {
    fn default() -> Self {
        Self {
            min_notification_interval_ms: 200,
            max_notification_interval_ms: 60_000,
            cnx_timeout_ms: 5000,
            socket_timeout_ms: 10_000,
            quorum_listen_on_all_ips: false,
            quorum_cnxn_threads_size: 20,
            election_port_bind_retry: 3,
            tcp_keep_alive: false,
            multi_address_enabled: false,
        }
    }
}

/// The server that elects. All methods are called from the election's threads, and none may block
/// for long or call back into the election.
pub trait ElectionPeer: Send + Sync {
    /// This server.
    fn my_id(&self) -> ServerId;
    /// The settings; do not change.
    fn election_settings(&self) -> &ElectionSettings;
    /// What reading a configuration from a notification needs.
    fn verifier_options(&self) -> VerifierOptions;
    /// The last committed configuration.
    fn verifier(&self) -> Arc<QuorumVerifier>;
    /// The last proposed configuration, if there is any.
    fn last_seen_verifier(&self) -> Option<Arc<QuorumVerifier>>;
    /// Whether this server votes.
    fn learner_type(&self) -> LearnerType;
    /// What this server does now.
    fn server_state(&self) -> ServerState;
    /// The end of an election: what this server does from now on. Before `look_for_leader` returns.
    fn set_server_state(&self, state: ServerState);
    /// What others are told while this server is not looking. The peer renews its epoch after the
    /// synchronisation ([`Vote::with_peer_epoch`]).
    fn current_vote(&self) -> Vote;
    /// The end of an election: what `look_for_leader` will return. Before `set_server_state`, so
    /// that nobody is told an old vote under the new state.
    fn set_current_vote(&self, vote: Vote);
    /// The last zxid in the log on disk (not the last committed one); -1 if there is no data yet
    /// although there should be.
    fn last_logged_zxid(&self) -> Zxid;
    /// The content of `currentEpoch`.
    fn current_epoch(&self) -> io::Result<i64>;
    /// A notification came with a newer configuration while this server is looking. True if it was
    /// adopted and has other members: then the running `look_for_leader` returns `None`, and the
    /// peer starts a new election. Dynamic reconfiguration comes later: false.
    fn on_config(&self, config: Arc<QuorumVerifier>) -> bool {
        let _ = config;
        false
    }
    /// While this server is not looking: the voter `sid` looks for a leader (Java:
    /// `Leader.reportLookingSid`, with which a leader whom nobody follows gives up early). `has_left`:
    /// in a later round than that of our leader.
    fn report_looking_sid(&self, sid: ServerId, has_left: bool) {
        let _ = (sid, has_left);
    }
    /// False once the server shuts down.
    fn is_running(&self) -> bool;
    /// Where the numbers go.
    fn metrics(&self) -> &Arc<ServerMetrics>;
    /// Is told when the election port cannot be bound (code 14) or a thread has died.
    fn listener(&self) -> &Arc<dyn ServerListener>;
}
