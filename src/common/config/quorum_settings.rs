//! The settings of a member of an ensemble (Java: the fields of `QuorumPeerConfig` and `QuorumPeer`,
//! and the system properties that the classes of `server.quorum` read).
//!
//! Read once, like [`ServerConfig`](super::ServerConfig). The membership itself stays text here:
//! `quorum::verifier` reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::ConfigError;
use super::quorum_server::LearnerType;
use super::system_properties::SystemProperties;
use crate::common::java_number::{parse_int, parse_long};
use crate::proto::ServerId;

/// The settings of a member of an ensemble. Times are in ms, limits in ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct QuorumSettings {
    /// The content of `myid`.
    pub server_id: ServerId,
    /// The keys `server.N`, `group.N`, `weight.N` and `version` with their values.
    pub members: BTreeMap<String, String>,
    /// A membership that was proposed before the last stop (`<file>.dynamic.next`).
    pub next_members: Option<BTreeMap<String, String>>,
    /// The configuration file.
    pub config_file: PathBuf,
    /// The file whose first character decides for an ensemble of two.
    pub oracle_path: Option<PathBuf>,
    /// Whether this server votes; by the list of servers.
    pub learner_type: LearnerType,
    /// Whether a single voter would be a standalone server.
    pub standalone_enabled: bool,
    /// Ticks to connect to a leader and to synchronise with it.
    pub init_limit: i32,
    /// Ticks that a learner may lag.
    pub sync_limit: i32,
    /// Ticks to connect to a learner master; 0 means `init_limit`.
    pub connect_to_learner_master_limit: i32,
    /// Whether the quorum and election ports are bound at all addresses.
    pub quorum_listen_on_all_ips: bool,
    /// Whether new sessions are local to this server until they are upgraded.
    pub local_sessions_enabled: bool,
    /// Whether a local session that creates an ephemeral node is made global.
    pub local_sessions_upgrading_enabled: bool,
    /// Whether an observer writes logs and snapshots.
    pub sync_enabled: bool,
    /// Whether servers may have several addresses; chooses the protocol of the election's hello.
    pub multi_address_enabled: bool,
    /// Whether the leader serves clients.
    pub leader_serves: bool,
    /// Every how many transactions the latency of acknowledgements is sampled.
    pub leader_ack_logging_frequency: i32,
    /// Snapshots that are sent to observers at once.
    pub leader_max_concurrent_snap_syncs: i32,
    /// Differences that are sent to observers at once.
    pub leader_max_concurrent_diff_syncs: i32,
    /// Time after which a leader that waits for its epoch gives up when one of its voters looks for
    /// another; -1 means never before `init_limit`.
    pub leader_max_time_to_wait_for_epoch_ms: i32,
    /// Whether small packets to learners leave at once.
    pub leader_nodelay: bool,
    /// Whether packets to the leader are sent by a thread of their own.
    pub learner_async_sending: bool,
    /// Wait between attempts to connect to the leader.
    pub leader_connect_delay_during_retry_ms: i32,
    /// Whether small packets to the leader leave at once.
    pub follower_nodelay: bool,
    /// Whether learners are always sent a snapshot (tests).
    pub force_snapshot_sync: bool,
    /// Bound of a random wait before an observer connects again.
    pub observer_reconnect_delay_ms: i64,
    /// Bound of a random wait before an observer looks for a leader again.
    pub observer_election_delay_ms: i64,
    /// Time to connect to another server for the election.
    pub cnx_timeout_ms: i32,
    /// Time for the election's hello; -1 means `tick_time * sync_limit`.
    pub quorum_cnxn_timeout_ms: i32,
    /// Whether sockets of the election probe idle peers.
    pub tcp_keep_alive: bool,
    /// Attempts to bind the election port, a second apart; 0 means for ever.
    pub election_port_bind_retry: i32,
    /// First wait of an election for more votes.
    pub min_notification_interval_ms: i32,
    /// Longest wait of an election for more votes.
    pub max_notification_interval_ms: i32,
    /// Most threads that make connections for the election.
    pub quorum_cnxn_threads_size: i32,
    /// Counter that the first zxid of an epoch has (tests).
    pub testing_initial_zxid: Option<i64>,
}

impl Default for QuorumSettings {
    fn default() -> Self {
        Self {
            server_id: ServerId::NONE,
            members: BTreeMap::new(),
            next_members: None,
            config_file: PathBuf::new(),
            oracle_path: None,
            learner_type: LearnerType::Participant,
            standalone_enabled: true,
            init_limit: 0,
            sync_limit: 0,
            connect_to_learner_master_limit: 0,
            quorum_listen_on_all_ips: false,
            local_sessions_enabled: false,
            local_sessions_upgrading_enabled: false,
            sync_enabled: true,
            multi_address_enabled: false,
            leader_serves: true,
            leader_ack_logging_frequency: 1000,
            leader_max_concurrent_snap_syncs: 10,
            leader_max_concurrent_diff_syncs: 100,
            leader_max_time_to_wait_for_epoch_ms: -1,
            leader_nodelay: true,
            learner_async_sending: false,
            leader_connect_delay_during_retry_ms: 100,
            follower_nodelay: true,
            force_snapshot_sync: false,
            observer_reconnect_delay_ms: 0,
            observer_election_delay_ms: 200,
            cnx_timeout_ms: 5000,
            quorum_cnxn_timeout_ms: -1,
            tcp_keep_alive: false,
            election_port_bind_retry: 3,
            min_notification_interval_ms: 200,
            max_notification_interval_ms: 60_000,
            quorum_cnxn_threads_size: 20,
            testing_initial_zxid: None,
        }
    }
}

impl QuorumSettings {
    /// Reads what Java's classes take from system properties, with their leniency.
    pub(crate) fn read_system_properties(
        &mut self,
        system: &SystemProperties,
    ) -> Result<(), ConfigError> {
        if let Some(enabled) = system.get("zookeeper.observer.syncEnabled") {
            self.sync_enabled = enabled.eq_ignore_ascii_case("true");
        }
        self.multi_address_enabled = system.boolean("zookeeper.multiAddress.enabled", false);
        self.read_leader(system);
        self.read_learner(system);
        self.read_election(system)?;
        check_commit_processor(system)?;
        if let Some(text) = system.get("zookeeper.testingonly.initialZxid") {
            let zxid = parse_long(text).ok_or_else(|| {
                ConfigError::unexpected(format!(
                    "zookeeper.testingonly.initialZxid={text}: not a number of 64 bits"
                ))
            })?;
            self.testing_initial_zxid = Some(zxid);
        }
        Ok(())
    }

    fn read_leader(&mut self, system: &SystemProperties) {
        self.leader_serves = system.get("zookeeper.leaderServes") != Some("no");
        // Compat: Leader takes any other text, such as "True", for false.
        self.leader_nodelay = system.get("leader.nodelay").is_none_or(|text| text == "true");
        self.leader_ack_logging_frequency =
            system.int("zookeeper.leader.ackLoggingFrequency", self.leader_ack_logging_frequency);
        self.leader_max_concurrent_snap_syncs = system
            .int("zookeeper.leader.maxConcurrentSnapSyncs", self.leader_max_concurrent_snap_syncs);
        self.leader_max_concurrent_diff_syncs = system
            .int("zookeeper.leader.maxConcurrentDiffSyncs", self.leader_max_concurrent_diff_syncs);
        self.leader_max_time_to_wait_for_epoch_ms = system.int(
            "zookeeper.leader.maxTimeToWaitForEpoch",
            self.leader_max_time_to_wait_for_epoch_ms,
        );
        self.force_snapshot_sync = system.boolean("zookeeper.forceSnapshotSync", false);
    }

    fn read_learner(&mut self, system: &SystemProperties) {
        self.follower_nodelay = system.get("follower.nodelay").is_none_or(|text| text == "true");
        self.learner_async_sending = system.boolean(
            "zookeeper.learner.asyncSending",
            system.boolean("learner.asyncSending", false),
        );
        self.leader_connect_delay_during_retry_ms = system.int(
            "zookeeper.leaderConnectDelayDuringRetryMs",
            self.leader_connect_delay_during_retry_ms,
        );
        self.observer_reconnect_delay_ms =
            system.long("zookeeper.observer.reconnectDelayMs", self.observer_reconnect_delay_ms);
        self.observer_election_delay_ms =
            system.long("zookeeper.observer.election.DelayMs", self.observer_election_delay_ms);
    }

    fn read_election(&mut self, system: &SystemProperties) -> Result<(), ConfigError> {
        if let Some(text) = system.get("zookeeper.cnxTimeout") {
            // Java: Integer.parseInt, without a net.
            self.cnx_timeout_ms = parse_int(text).ok_or_else(|| {
                ConfigError::arguments(format!(
                    "zookeeper.cnxTimeout={text}: not a number of 32 bits"
                ))
            })?;
        }
        self.quorum_cnxn_timeout_ms =
            system.int("zookeeper.quorumCnxnTimeoutMs", self.quorum_cnxn_timeout_ms);
        self.tcp_keep_alive = system.boolean("zookeeper.tcpKeepAlive", false);
        let retries = system.int("zookeeper.electionPortBindRetry", self.election_port_bind_retry);
        if retries >= 0 {
            self.election_port_bind_retry = retries;
        }
        self.min_notification_interval_ms = system
            .int("zookeeper.fastleader.minNotificationInterval", self.min_notification_interval_ms);
        self.max_notification_interval_ms = system
            .int("zookeeper.fastleader.maxNotificationInterval", self.max_notification_interval_ms);
        Ok(())
    }
}

/// Compat: Java refuses to start with it; there is nothing else to be set here.
fn check_commit_processor(system: &SystemProperties) -> Result<(), ConfigError> {
    let size = system.int("zookeeper.commitProcessor.maxCommitBatchSize", 1);
    if size <= 0 {
        return Err(ConfigError::unexpected(format!(
            "maxCommitBatchSize must be positive, was {size}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        flags: &[(&str, &str)],
        read: impl Fn(&QuorumSettings) -> String,
        expected: Result<&str, &str>,
    ) {
        let mut system = SystemProperties::default();
        flags.iter().for_each(|(name, value)| system.set(*name, *value));
        let mut settings = QuorumSettings::default();
        let result = settings.read_system_properties(&system).map(|()| read(&settings));
        match (result, expected) {
            (Ok(actual), Ok(expected)) => assert_eq!(actual, expected, "{flags:?}"),
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{error}"),
            (actual, _) => panic!("{flags:?}: {actual:?}"),
        }
    }

    #[test]
    fn properties_are_as_lenient_as_in_java() {
        check(&[], |settings| settings.leader_serves.to_string(), Ok("true"));
        for (value, expected) in [("no", "false"), ("NO", "true"), ("false", "true")] {
            let flags = [("zookeeper.leaderServes", value)];
            check(&flags, |settings| settings.leader_serves.to_string(), Ok(expected));
        }
        for (value, expected) in [("true", "true"), ("True", "false"), ("", "false")] {
            let flags = [("leader.nodelay", value)];
            check(&flags, |settings| settings.leader_nodelay.to_string(), Ok(expected));
        }
        for (value, expected) in [("0", "0"), ("7", "7"), ("-1", "3"), ("x", "3")] {
            let flags = [("zookeeper.electionPortBindRetry", value)];
            check(&flags, |settings| settings.election_port_bind_retry.to_string(), Ok(expected));
        }
        let async_sending = |settings: &QuorumSettings| settings.learner_async_sending.to_string();
        check(&[("learner.asyncSending", "true")], async_sending, Ok("true"));
        let both = [("learner.asyncSending", "true"), ("zookeeper.learner.asyncSending", "false")];
        check(&both, async_sending, Ok("false"));
        let sync_enabled = |settings: &QuorumSettings| settings.sync_enabled.to_string();
        check(&[("zookeeper.observer.syncEnabled", "no")], sync_enabled, Ok("false"));
        check(&[("zookeeper.cnxTimeout", "x")], |_| String::new(), Err("cnxTimeout=x"));
        let zero = [("zookeeper.commitProcessor.maxCommitBatchSize", "0")];
        check(&zero, |_| String::new(), Err("must be positive"));
    }
}
