//! The settings of a standalone server (Java: `ServerConfig`, and the system properties its
//! classes read).
//!
//! Everything is read once into this struct; no code asks for a property by name. A field is called
//! like its key, with its unit. Numbers keep Java's types, because Java accepts negative ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

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
    /// Port for clients with TLS.
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
    /// The text of the configuration file; empty without one.
    pub initial_config: String,
    // Storage.
    /// Step in which the transaction log grows; 0 or less means no preallocation.
    pub pre_alloc_size_kb: i64,
    /// Transactions between snapshots; at least 2.
    pub snap_count: i32,
    /// Log size between snapshots; 0 or less means no such limit.
    pub snap_size_limit_kb: i64,
    /// Committed transactions kept in memory; at least 500.
    pub commit_log_count: i32,
    /// Size at which a new log is started; 0 or less means never.
    pub txn_log_size_limit_kb: i64,
    /// Size of the logs, as a share of the snapshot, up to which learners are served from them.
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
    /// Whether gaps in the committed transactions are accepted (tests).
    pub test_allow_discontinuous_proposals: bool,
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
    /// Time for the pipeline to drain on shutdown.
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
    /// Java class of the watch manager.
    pub watch_manager_name: Option<String>,
    // Authentication and permissions.
    /// Whether permissions are not checked.
    pub skip_acl: bool,
    /// Whether writes are checked before they are forwarded.
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
    /// Whether connections survive a failed SASL exchange.
    pub allow_sasl_failed_clients: bool,
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
            test_allow_discontinuous_proposals: false,
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
            system_properties: BTreeMap::new(),
        }
    }
}
