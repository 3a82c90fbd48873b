//! The settings of a standalone server (Java: `ServerConfig`, and the system properties its
//! classes read).
//!
//! Everything is read once into this struct; no code asks for a property by name. A field is called
//! like its key, with its unit. Numbers keep Java's types, because Java accepts negative ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use log::Level;

use super::error::ConfigError;
use super::surroundings::Surroundings;
use super::system_properties::SystemProperties;
use crate::common::java_number::{parse_double, parse_int, parse_long};

/// How snapshots are written; reading follows the name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotCompression {
    /// Not compressed.
    #[default]
    Checked,
    /// gzip, `.gz`.
    Gz,
    /// Snappy, `.snappy`.
    Snappy,
}

/// The settings of a standalone server. `Default` is Java's, with no port and no directory.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    // The directories, ports and limits of the file zoo.cfg.
    /// Directory of the snapshots (in `version-2` below it) and of `myid`.
    pub data_dir: PathBuf,
    /// Directory of the transaction logs (in `version-2` below it); `data_dir` unless set.
    pub data_log_dir: PathBuf,
    /// Port for clients without TLS; 0 lets the system choose, `None` means no such listener.
    pub client_port: Option<u16>,
    /// Address to listen at with `client_port`; `None` means all of them.
    pub client_port_address: Option<IpAddr>,
    /// Port for clients with TLS; a start with it is refused for now.
    pub secure_client_port: Option<u16>,
    /// Address to listen at with `secure_client_port`.
    pub secure_client_port_address: Option<IpAddr>,
    /// Length of the accept queue of the listeners; -1 leaves it to the server.
    pub client_port_listen_backlog: i32,
    /// The unit of session timeouts; never 0.
    pub tick_time_ms: i32,
    /// Connections per client address; 0 or less is no limit.
    pub max_client_cnxns: i32,
    /// The least session timeout a client is given.
    pub min_session_timeout_ms: i32,
    /// The greatest session timeout a client is given; not below the least.
    pub max_session_timeout_ms: i32,
    /// Snapshots that purging keeps; at least 3.
    pub autopurge_snap_retain_count: i32,
    /// Hours between purges; 0 or less means never.
    pub autopurge_purge_interval_hours: i32,
    /// Whether `reconfig` is answered "not standalone" rather than "disabled".
    pub reconfig_enabled: bool,
    /// Whether pauses of the process are watched.
    pub jvm_pause_monitor: bool,
    /// Pauses above this are logged at info.
    pub jvm_pause_info_threshold_ms: i64,
    /// Pauses above this are logged as a warning.
    pub jvm_pause_warn_threshold_ms: i64,
    /// Time between two looks at the clock.
    pub jvm_pause_sleep_time_ms: i64,
    /// Java class of the metrics back end.
    pub metrics_provider_class_name: String,
    /// The text of the configuration file; empty without one. For the admin command of that name,
    /// which is not there yet; `/zookeeper/config` of a standalone server is empty, as in Java.
    pub initial_config: String,
    // Storage.
    /// Step in which the transaction log grows; 0 or less means no preallocation.
    pub pre_alloc_size_kb: i64,
    /// Transactions between snapshots; at least 2.
    pub snap_count: i32,
    /// Log size between snapshots; 0 or less means no such limit.
    pub snap_size_limit_kb: i64,
    /// Committed transactions kept in memory; at least 500. Read by ensembles only.
    pub commit_log_count: i32,
    /// Size at which a new log is started; 0 or less means never.
    pub txn_log_size_limit_kb: i64,
    /// Size of the logs, as a share of the snapshot, up to which learners are served from them. Read
    /// by ensembles only.
    pub snapshot_size_factor: f64,
    /// Whether transactions are forced to the disk before they are acknowledged.
    pub force_sync: bool,
    /// Forcing to the disk for longer than this is logged.
    pub fsync_warning_threshold_ms: i64,
    /// Whether missing data directories are made.
    pub datadir_autocreate: bool,
    /// Whether an empty data directory is a new database.
    pub db_autocreate: bool,
    /// Whether logs without any snapshot are accepted.
    pub snapshot_trust_empty: bool,
    /// How new snapshots are compressed.
    pub snapshot_compression_method: SnapshotCompression,
    /// Whether digests of the tree are computed, written and checked.
    pub digest_enabled: bool,
    /// Whether snapshots end with the last processed zxid.
    pub serialize_last_processed_zxid_enabled: bool,
    /// Whether the transaction closing a session lists its ephemeral nodes.
    pub close_session_txn_enabled: bool,
    /// Longest time a transaction waits for others to be forced to the disk with.
    pub flush_delay_ms: i64,
    /// Longest wait for another transaction before that; `flush_delay_ms / 3` unless set.
    pub max_write_queue_poll_time_ms: i64,
    /// Most transactions forced to the disk at once.
    pub max_batch_size: i32,
    // Requests and connections.
    /// Requests under way at which busy connections are no longer read.
    pub global_outstanding_limit: i32,
    /// Bytes of large requests under way.
    pub large_request_max_bytes: i32,
    /// Size from which a request counts as large; -1 means none does.
    pub large_request_threshold_bytes: i32,
    /// Wait after which a request is refused unexecuted; 0 means never.
    pub throttled_op_wait_time_ms: i32,
    /// Requests in the pipeline; 0 means no limit.
    pub request_throttle_max_requests: i32,
    /// Wait between two looks at that limit.
    pub request_throttle_stall_time_ms: i32,
    /// Whether stale requests are dropped while waiting.
    pub request_throttle_drop_stale: bool,
    /// Whether requests of closed connections are stale.
    pub request_stale_connection_check: bool,
    /// Whether requests older than their session timeout are stale.
    pub request_stale_latency_check: bool,
    /// Time for the throttle's queue to drain on shutdown. Nothing reads it: here requests wait on
    /// the threads of their connections, which end at once.
    pub request_throttler_shutdown_timeout_ms: i32,
    /// Size of the token bucket for new connections; 0 means no throttle.
    pub connection_throttle_tokens: i32,
    /// Period of refilling it.
    pub connection_throttle_fill_time_ms: i32,
    /// Tokens per refill.
    pub connection_throttle_fill_count: i32,
    /// Time between changes of the drop chance; -1 means no random drops.
    pub connection_throttle_freeze_time_ms: i32,
    /// Added to the drop chance when the bucket is empty.
    pub connection_throttle_drop_increase: f64,
    /// Taken from the drop chance when it is not.
    pub connection_throttle_drop_decrease: f64,
    /// Use of the bucket at which the chance falls.
    pub connection_throttle_decrease_ratio: f64,
    /// Whether kinds of sessions cost different numbers of tokens.
    pub connection_throttle_weight_enabled: bool,
    /// Cost of a new session.
    pub connection_throttle_global_session_weight: i32,
    /// Cost of a reconnect.
    pub connection_throttle_renew_session_weight: i32,
    /// Cost of a local session.
    pub connection_throttle_local_session_weight: i32,
    /// Connections of all clients, per listener; 0 or less is no limit.
    pub max_cnxns: i32,
    /// Whether client sockets probe idle peers.
    pub client_tcp_keep_alive: bool,
    /// Time after which a connection without a session is closed.
    pub nio_sessionless_cnxn_timeout_ms: i32,
    /// Threads that send what sockets could not take at once; at least 1.
    pub nio_num_selector_threads: i32,
    /// Longest packet from a client, and longest string or buffer in it.
    pub jute_maxbuffer: i32,
    /// Added to that bound when transactions and snapshots are read.
    pub jute_maxbuffer_extrasize: i32,
    /// Enabled four letter words, comma separated or `*`; `None` means the default.
    pub four_lw_commands_whitelist: Option<String>,
    /// Whether the read-only mode is on (here it only enables the word `isro`).
    pub readonlymode_enabled: bool,
    // Data and watches.
    /// Whether hard quotas reject requests.
    pub enforce_quota: bool,
    /// Whether nodes may have a time to live.
    pub extended_types_enabled: bool,
    /// Whether such nodes of version 3.5.3 are understood.
    pub emulate_353_ttl_nodes: bool,
    /// Time between looks for empty containers and expired nodes.
    pub znode_container_check_interval_ms: i32,
    /// Most such nodes deleted per minute.
    pub znode_container_max_per_minute: i32,
    /// Age at which containers that never had children are deleted; 0 means never.
    pub znode_container_max_never_used_interval_ms: i64,
    /// Java class of the watch manager; checked only.
    pub watch_manager_name: Option<String>,
    // Authentication and permissions.
    /// Whether permissions are not checked.
    pub skip_acl: bool,
    /// Whether writes are checked before they are forwarded. Read by ensembles only, as in Java.
    pub enable_eager_acl_check: bool,
    /// Whether the scheme `digest` exists.
    pub digest_authentication_provider_enabled: bool,
    /// `user:hash` of the super user.
    pub digest_authentication_provider_super_digest: Option<String>,
    /// Hash of the scheme `digest`, as Java names it.
    pub digest_authentication_provider_digest_alg: String,
    /// Names the scheme `ensemble` accepts, comma separated.
    pub ensemble_auth_name: Option<String>,
    /// Further providers: suffix of `authProvider.` and Java class, sorted by suffix.
    pub auth_providers: Vec<(String, String)>,
    /// Whether clients must authenticate by one of the schemes below.
    pub enforce_auth_enabled: bool,
    /// Schemes, comma separated.
    pub enforce_auth_schemes: Option<String>,
    /// As the two above, for the scheme `sasl`.
    pub session_require_client_sasl_auth: bool,
    /// Whether connections survive a failed SASL exchange. Waits for SASL.
    pub allow_sasl_failed_clients: bool,
    // The sample of the requests' paths.
    /// Whether a sample of the requests is counted by path and logged.
    pub path_stats_enabled: bool,
    /// Seconds that are counted together.
    pub path_stats_slot_duration_s: i32,
    /// Slots that are kept.
    pub path_stats_slot_capacity: i32,
    /// Elements of a path that are kept.
    pub path_stats_max_depth: i32,
    /// The share of the requests that is counted.
    pub path_stats_sample_rate: f64,
    /// Minutes until the first report; 0 or less means at once.
    pub path_stats_initial_delay_min: i64,
    /// Minutes between reports.
    pub path_stats_delay_min: i64,
    /// Paths that a report lists.
    pub path_stats_top_path_max: i32,
    // All the rest.
    /// The effective system properties: those given, overridden by the keys of the file.
    pub system_properties: BTreeMap<String, String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            data_log_dir: PathBuf::new(),
            client_port: None,
            client_port_address: None,
            secure_client_port: None,
            secure_client_port_address: None,
            client_port_listen_backlog: -1,
            tick_time_ms: 3000,
            max_client_cnxns: 60,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 60000,
            autopurge_snap_retain_count: 3,
            autopurge_purge_interval_hours: 0,
            reconfig_enabled: false,
            jvm_pause_monitor: false,
            jvm_pause_info_threshold_ms: 1000,
            jvm_pause_warn_threshold_ms: 10000,
            jvm_pause_sleep_time_ms: 500,
            metrics_provider_class_name: "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"
                .to_owned(),
            initial_config: String::new(),
            pre_alloc_size_kb: 65536,
            snap_count: 100_000,
            snap_size_limit_kb: 4_194_304,
            commit_log_count: 500,
            txn_log_size_limit_kb: -1,
            snapshot_size_factor: 0.33,
            force_sync: true,
            fsync_warning_threshold_ms: 1000,
            datadir_autocreate: true,
            db_autocreate: true,
            snapshot_trust_empty: false,
            snapshot_compression_method: SnapshotCompression::Checked,
            digest_enabled: true,
            serialize_last_processed_zxid_enabled: true,
            close_session_txn_enabled: true,
            flush_delay_ms: 0,
            max_write_queue_poll_time_ms: 0,
            max_batch_size: 1000,
            global_outstanding_limit: 1000,
            large_request_max_bytes: 104_857_600,
            large_request_threshold_bytes: -1,
            throttled_op_wait_time_ms: 0,
            request_throttle_max_requests: 0,
            request_throttle_stall_time_ms: 100,
            request_throttle_drop_stale: true,
            request_stale_connection_check: true,
            request_stale_latency_check: false,
            request_throttler_shutdown_timeout_ms: 10_000,
            connection_throttle_tokens: 0,
            connection_throttle_fill_time_ms: 1,
            connection_throttle_fill_count: 1,
            connection_throttle_freeze_time_ms: -1,
            connection_throttle_drop_increase: 0.02,
            connection_throttle_drop_decrease: 0.002,
            connection_throttle_decrease_ratio: 0.0,
            connection_throttle_weight_enabled: false,
            connection_throttle_global_session_weight: 3,
            connection_throttle_renew_session_weight: 2,
            connection_throttle_local_session_weight: 1,
            max_cnxns: 0,
            client_tcp_keep_alive: false,
            nio_sessionless_cnxn_timeout_ms: 10_000,
            nio_num_selector_threads: 1,
            jute_maxbuffer: 0xf_ffff,
            jute_maxbuffer_extrasize: 0xf_ffff,
            four_lw_commands_whitelist: None,
            readonlymode_enabled: false,
            enforce_quota: false,
            extended_types_enabled: false,
            emulate_353_ttl_nodes: false,
            znode_container_check_interval_ms: 60_000,
            znode_container_max_per_minute: 10_000,
            znode_container_max_never_used_interval_ms: 0,
            watch_manager_name: None,
            skip_acl: false,
            enable_eager_acl_check: false,
            digest_authentication_provider_enabled: true,
            digest_authentication_provider_super_digest: None,
            digest_authentication_provider_digest_alg: "SHA1".to_owned(),
            ensemble_auth_name: None,
            auth_providers: Vec::new(),
            enforce_auth_enabled: false,
            enforce_auth_schemes: None,
            session_require_client_sasl_auth: false,
            allow_sasl_failed_clients: false,
            path_stats_enabled: false,
            path_stats_slot_duration_s: 15,
            path_stats_slot_capacity: 60,
            path_stats_max_depth: 6,
            path_stats_sample_rate: 0.1,
            path_stats_initial_delay_min: 5,
            path_stats_delay_min: 5,
            path_stats_top_path_max: 20,
            system_properties: BTreeMap::new(),
        }
    }
}

impl ServerConfig {
    /// False with the metrics back end that keeps nothing (`NullMetricsProvider`).
    #[must_use]
    pub fn has_metrics(&self) -> bool {
        !self.metrics_provider_class_name.ends_with(".NullMetricsProvider")
    }

    /// The addresses clients without TLS are served at, for the logs: `0.0.0.0:2181`.
    #[must_use]
    pub fn client_address_text(&self) -> Option<String> {
        let port = self.client_port?;
        Some(match self.client_port_address {
            None => format!("0.0.0.0:{port}"),
            Some(IpAddr::V4(address)) => format!("{address}:{port}"),
            Some(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        })
    }

    /// Reads every setting that Java's classes take from system properties, with their leniency:
    /// a bad number is the default, for some with a warning.
    pub(crate) fn read_system_properties(
        &mut self,
        system: &SystemProperties,
        surroundings: &dyn Surroundings,
        notes: &mut Vec<(Level, String)>,
    ) -> Result<(), ConfigError> {
        self.read_storage(system, notes);
        self.read_requests(system, surroundings, notes)?;
        self.read_throttle(system, notes)?;
        self.read_data(system)?;
        self.read_auth(system)?;
        self.read_path_stats(system)?;
        self.system_properties =
            system.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(())
    }

    fn read_storage(&mut self, system: &SystemProperties, notes: &mut Vec<(Level, String)>) {
        let mut note = |level, text: String| notes.push((level, text));
        if let Some(text) = system.get("zookeeper.preAllocSize") {
            match parse_long(text) {
                Some(size) => self.pre_alloc_size_kb = size,
                None => note(Level::Warn, format!("{text} is not a valid value for preAllocSize")),
            }
        }
        self.snap_count = system.int("zookeeper.snapCount", self.snap_count);
        if self.snap_count < 2 {
            note(Level::Warn, "SnapCount should be 2 or more. Now, snapCount is reset to 2".into());
            self.snap_count = 2;
        }
        self.snap_size_limit_kb =
            system.long("zookeeper.snapSizeLimitInKb", self.snap_size_limit_kb);
        if let Some(text) = system.get("zookeeper.commitLogCount") {
            match parse_int(text) {
                Some(count) if count >= self.commit_log_count => self.commit_log_count = count,
                Some(count) => note(
                    Level::Warn,
                    format!(
                        "The configured commitLogCount {count} is less than the recommended {}, \
                         going to use the recommended one",
                        self.commit_log_count
                    ),
                ),
                None => note(
                    Level::Error,
                    format!(
                        "Error parsing zookeeper.commitLogCount={text} - use default value {}",
                        self.commit_log_count
                    ),
                ),
            }
        }
        self.txn_log_size_limit_kb =
            system.long("zookeeper.txnLogSizeLimitInKb", self.txn_log_size_limit_kb);
        if let Some(text) = system.get("zookeeper.snapshotSizeFactor") {
            match parse_double(text) {
                // NaN stays, as in Java, and compares false with every size: no log is read.
                Some(factor) if factor > 1.0 => note(
                    Level::Warn,
                    "The configured zookeeper.snapshotSizeFactor is invalid, going to use the \
                     default 0.33"
                        .into(),
                ),
                Some(factor) => self.snapshot_size_factor = factor,
                None => note(
                    Level::Error,
                    format!(
                        "Error parsing zookeeper.snapshotSizeFactor={text}, using default value \
                         0.33"
                    ),
                ),
            }
        }
        self.force_sync = system.get("zookeeper.forceSync") != Some("no");
        let unprefixed = system.long("fsync.warningthresholdms", self.fsync_warning_threshold_ms);
        self.fsync_warning_threshold_ms =
            system.long("zookeeper.fsync.warningthresholdms", unprefixed);
        self.datadir_autocreate = system.boolean("zookeeper.datadir.autocreate", true);
        self.db_autocreate = system.boolean("zookeeper.db.autocreate", true);
        self.snapshot_trust_empty = system.boolean("zookeeper.snapshot.trust.empty", false);
        self.snapshot_compression_method = match system.get("zookeeper.snapshot.compression.method")
        {
            Some(name) if name.eq_ignore_ascii_case("gz") => SnapshotCompression::Gz,
            Some(name) if name.eq_ignore_ascii_case("snappy") => SnapshotCompression::Snappy,
            // Compat: StreamMode.fromString takes unknown names for the default.
            _ => SnapshotCompression::Checked,
        };
        self.digest_enabled = system.boolean("zookeeper.digest.enabled", true);
        self.serialize_last_processed_zxid_enabled =
            system.boolean("zookeeper.serializeLastProcessedZxid.enabled", true);
        self.close_session_txn_enabled = system.boolean("zookeeper.closeSessionTxn.enabled", true);
        self.flush_delay_ms = system.long("zookeeper.flushDelay", self.flush_delay_ms);
        self.max_write_queue_poll_time_ms =
            system.long("zookeeper.maxWriteQueuePollTime", self.flush_delay_ms / 3);
        self.max_batch_size = system.int("zookeeper.maxBatchSize", self.max_batch_size);
    }

    fn read_requests(
        &mut self,
        system: &SystemProperties,
        surroundings: &dyn Surroundings,
        notes: &mut Vec<(Level, String)>,
    ) -> Result<(), ConfigError> {
        self.global_outstanding_limit =
            system.int("zookeeper.globalOutstandingLimit", self.global_outstanding_limit);
        let bytes = system.int("zookeeper.largeRequestMaxBytes", self.large_request_max_bytes);
        if bytes > 0 {
            self.large_request_max_bytes = bytes;
        } else {
            let warning = format!(
                "Invalid max bytes for all large requests {bytes}. It should be a positive number. \
                 The max bytes stay at {}",
                self.large_request_max_bytes
            );
            notes.push((Level::Warn, warning));
        }
        let threshold = system.int("zookeeper.largeRequestThreshold", -1);
        if threshold > 0 || threshold == -1 {
            self.large_request_threshold_bytes = threshold;
        } else {
            let warning = format!(
                "Invalid large request threshold {threshold}. It should be -1 or positive. Setting \
                 to -1"
            );
            notes.push((Level::Warn, warning));
        }
        self.throttled_op_wait_time_ms =
            system.int("zookeeper.throttled_op_wait_time", self.throttled_op_wait_time_ms);
        self.request_throttle_max_requests = system
            .int("zookeeper.request_throttle_max_requests", self.request_throttle_max_requests);
        self.request_throttle_stall_time_ms = system
            .int("zookeeper.request_throttle_stall_time", self.request_throttle_stall_time_ms);
        self.request_throttle_drop_stale =
            system.boolean("zookeeper.request_throttle_drop_stale", true);
        self.request_stale_connection_check =
            system.boolean("zookeeper.request_stale_connection_check", true);
        self.request_stale_latency_check =
            system.boolean("zookeeper.request_stale_latency_check", false);
        self.request_throttler_shutdown_timeout_ms = system.int(
            "zookeeper.request_throttler.shutdownTimeout",
            self.request_throttler_shutdown_timeout_ms,
        );
        self.max_cnxns = system.int("zookeeper.maxCnxns", self.max_cnxns);
        self.client_tcp_keep_alive = system.boolean("zookeeper.clientTcpKeepAlive", false);
        self.nio_sessionless_cnxn_timeout_ms = system
            .int("zookeeper.nio.sessionlessCnxnTimeout", self.nio_sessionless_cnxn_timeout_ms);
        let threads = (surroundings.cores() / 2).isqrt().max(1);
        self.nio_num_selector_threads = system
            .int("zookeeper.nio.numSelectorThreads", i32::try_from(threads).unwrap_or(i32::MAX));
        if self.nio_num_selector_threads < 1 {
            return Err(ConfigError::unexpected("numSelectorThreads must be at least 1"));
        }
        let size = system.int("zookeeper.intBufferStartingSizeBytes", 1024);
        if size < 32 {
            return Err(ConfigError::unexpected(format!(
                "Buffer starting size ({size}) must be greater than or equal to 32. Configure with \
                 \"-Dzookeeper.intBufferStartingSizeBytes=<size>\""
            )));
        }
        self.jute_maxbuffer = system.int("jute.maxbuffer", self.jute_maxbuffer);
        self.jute_maxbuffer_extrasize =
            system.int("zookeeper.jute.maxbuffer.extrasize", self.jute_maxbuffer).max(1024);
        self.four_lw_commands_whitelist = system.text("zookeeper.4lw.commands.whitelist");
        self.readonlymode_enabled = system.get("readonlymode.enabled") == Some("true");
        Ok(())
    }

    /// The settings of `BlueThrottle`; the tokens are multiplied there, not here.
    fn read_throttle(
        &mut self,
        system: &SystemProperties,
        notes: &mut Vec<(Level, String)>,
    ) -> Result<(), ConfigError> {
        let double = |name, default| match system.get(name) {
            None => Ok(default),
            Some(text) => parse_double(text)
                .ok_or_else(|| ConfigError::unexpected(format!("{name}={text} is not a number"))),
        };
        self.connection_throttle_tokens =
            system.int("zookeeper.connection_throttle_tokens", self.connection_throttle_tokens);
        self.connection_throttle_fill_time_ms = system
            .int("zookeeper.connection_throttle_fill_time", self.connection_throttle_fill_time_ms);
        self.connection_throttle_fill_count = system
            .int("zookeeper.connection_throttle_fill_count", self.connection_throttle_fill_count);
        self.connection_throttle_freeze_time_ms = system.int(
            "zookeeper.connection_throttle_freeze_time",
            self.connection_throttle_freeze_time_ms,
        );
        self.connection_throttle_drop_increase = double(
            "zookeeper.connection_throttle_drop_increase",
            self.connection_throttle_drop_increase,
        )?;
        self.connection_throttle_drop_decrease = double(
            "zookeeper.connection_throttle_drop_decrease",
            self.connection_throttle_drop_decrease,
        )?;
        self.connection_throttle_decrease_ratio = double(
            "zookeeper.connection_throttle_decrease_ratio",
            self.connection_throttle_decrease_ratio,
        )?;
        self.connection_throttle_weight_enabled =
            system.boolean("zookeeper.connection_throttle_weight_enabled", false);
        let global = system.int("zookeeper.connection_throttle_global_session_weight", 3);
        let renew = system.int("zookeeper.connection_throttle_renew_session_weight", 2);
        let local = system.int("zookeeper.connection_throttle_local_session_weight", 1);
        // Compat: the two others are compared with the local weight as given, even if that is bad.
        let mut weight = |kind, given: i32, default: i32| {
            if given <= 0 {
                let warning =
                    format!("Invalid {kind} session weight {given}. It should be larger than 0");
                notes.push((Level::Warn, warning));
                default
            } else if given < local {
                let warning = format!(
                    "The {kind} session weight {given} is less than the local session weight \
                     {local}. Use the local session weight."
                );
                notes.push((Level::Warn, warning));
                local
            } else {
                given
            }
        };
        self.connection_throttle_global_session_weight = weight("global", global, 3);
        self.connection_throttle_local_session_weight = weight("local", local, 1);
        self.connection_throttle_renew_session_weight = weight("renew", renew, 2);
        Ok(())
    }

    fn read_data(&mut self, system: &SystemProperties) -> Result<(), ConfigError> {
        self.enforce_quota = system.boolean("zookeeper.enforceQuota", false);
        self.extended_types_enabled = system.boolean("zookeeper.extendedTypesEnabled", false);
        self.emulate_353_ttl_nodes = system.boolean("zookeeper.emulate353TTLNodes", false);
        self.znode_container_check_interval_ms =
            system.int("znode.container.checkIntervalMs", self.znode_container_check_interval_ms);
        self.znode_container_max_per_minute =
            system.int("znode.container.maxPerMinute", self.znode_container_max_per_minute);
        self.znode_container_max_never_used_interval_ms = system.long(
            "znode.container.maxNeverUsedIntervalMs",
            self.znode_container_max_never_used_interval_ms,
        );
        self.watch_manager_name = system.text("zookeeper.watchManagerName");
        const WATCH_MANAGERS: [&str; 2] = [
            "org.apache.zookeeper.server.watch.WatchManager",
            "org.apache.zookeeper.server.watch.WatchManagerOptimized",
        ];
        const FACTORIES: [&str; 2] = [
            "org.apache.zookeeper.server.NIOServerCnxnFactory",
            "org.apache.zookeeper.server.NettyServerCnxnFactory",
        ];
        for (name, known) in [
            ("zookeeper.watchManagerName", WATCH_MANAGERS),
            ("zookeeper.serverCnxnFactory", FACTORIES),
        ] {
            if let Some(class) = system.get(name).filter(|class| !known.contains(class)) {
                return Err(ConfigError::unexpected(format!(
                    "Couldn't instantiate {name}={class}"
                )));
            }
        }
        Ok(())
    }

    fn read_auth(&mut self, system: &SystemProperties) -> Result<(), ConfigError> {
        self.skip_acl = system.get("zookeeper.skipACL") == Some("yes");
        self.enable_eager_acl_check = system.boolean("zookeeper.enableEagerACLCheck", false);
        self.digest_authentication_provider_enabled =
            system.boolean("zookeeper.DigestAuthenticationProvider.enabled", true);
        self.digest_authentication_provider_super_digest =
            system.text("zookeeper.DigestAuthenticationProvider.superDigest");
        if let Some(algorithm) = system.text("zookeeper.DigestAuthenticationProvider.digestAlg") {
            self.digest_authentication_provider_digest_alg = algorithm;
        }
        self.ensemble_auth_name = system.text("zookeeper.ensembleAuthName");
        self.auth_providers = system
            .iter()
            .filter_map(|(name, class)| {
                Some((name.strip_prefix("zookeeper.authProvider.")?.to_owned(), class.to_owned()))
            })
            .collect();
        self.enforce_auth_enabled = system.boolean("zookeeper.enforce.auth.enabled", false);
        self.enforce_auth_schemes = system.text("zookeeper.enforce.auth.schemes");
        self.session_require_client_sasl_auth =
            system.boolean("zookeeper.sessionRequireClientSASLAuth", false);
        self.allow_sasl_failed_clients = system.boolean("zookeeper.allowSaslFailedClients", false);
        let has_schemes = self.session_require_client_sasl_auth
            || !self.enforce_auth_enabled
            || self.enforce_auth_schemes.is_some();
        if !has_schemes {
            return Err(ConfigError::arguments(
                "zookeeper.enforce.auth.enabled is true zookeeper.enforce.auth.schemes must be \
                 configured.",
            ));
        }
        Ok(())
    }

    /// Java fails in the constructor, and with reports switched on in the timer's.
    fn read_path_stats(&mut self, system: &SystemProperties) -> Result<(), ConfigError> {
        self.path_stats_enabled = system.boolean("zookeeper.pathStats.enabled", false);
        self.path_stats_slot_duration_s =
            system.int("zookeeper.pathStats.slotDuration", self.path_stats_slot_duration_s);
        self.path_stats_slot_capacity =
            system.int("zookeeper.pathStats.slotCapacity", self.path_stats_slot_capacity);
        self.path_stats_max_depth =
            system.int("zookeeper.pathStats.maxDepth", self.path_stats_max_depth);
        if let Some(text) = system.get("zookeeper.pathStats.sampleRate") {
            self.path_stats_sample_rate = parse_double(text).ok_or_else(|| {
                ConfigError::arguments(format!(
                    "zookeeper.pathStats.sampleRate={text} is not a number"
                ))
            })?;
        }
        self.path_stats_initial_delay_min =
            system.long("zookeeper.pathStats.initialDelay", self.path_stats_initial_delay_min);
        self.path_stats_delay_min =
            system.long("zookeeper.pathStats.delay", self.path_stats_delay_min);
        self.path_stats_top_path_max =
            system.int("zookeeper.pathStats.topPathMax", self.path_stats_top_path_max);
        let positive = |name: &str, value: i64| {
            if value > 0 {
                return Ok(());
            }
            Err(ConfigError::arguments(format!("zookeeper.pathStats.{name}={value}: not positive")))
        };
        positive("slotCapacity", self.path_stats_slot_capacity.into())?;
        if self.path_stats_enabled {
            positive("slotDuration", self.path_stats_slot_duration_s.into())?;
            positive("delay", self.path_stats_delay_min)?;
        }
        Ok(())
    }
}
