//! All metrics of a server, with Java's names (Java: `o.a.z.server.ServerMetrics`).
//!
//! One struct, shared as an `Arc`; a field has the name of its metric. Metrics of stages that do
//! not exist here (response caches, Netty) are kept and stay 0, because dashboards ask for them.
//! Gauges are registered by the parts that know the values, see [`STANDALONE_GAUGES`].

use super::{
    AvgMinMax, AvgMinMaxSet, Counter, CounterSet, Gauges, MetricValue, Percentile, PercentileSet,
};

/// Declares [`ServerMetrics`] and the methods that visit every field.
macro_rules! server_metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ident,)+) => {
        /// The metrics of one server. Adding is cheap and takes no lock.
        #[derive(Debug, Default)]
        pub struct ServerMetrics {
            /// Values read when asked for.
            pub gauges: Gauges,
            $($(#[doc = $doc])+ pub $field: $kind,)+
        }

        impl ServerMetrics {
            /// Every metric but the gauges, in the order of declaration.
            #[must_use]
            pub fn metrics(&self) -> Vec<(&'static str, MetricRef<'_>)> {
                vec![$((stringify!($field), MetricRef::$kind(&self.$field)),)+]
            }
        }
    };
}

/// One metric, whatever its kind.
#[derive(Debug, Clone, Copy)]
pub enum MetricRef<'a> {
    /// A counter.
    Counter(&'a Counter),
    /// Counters by key.
    CounterSet(&'a CounterSet),
    /// A summary.
    AvgMinMax(&'a AvgMinMax),
    /// A summary with percentiles.
    Percentile(&'a Percentile),
    /// Summaries by key.
    AvgMinMaxSet(&'a AvgMinMaxSet),
    /// Summaries with percentiles by key.
    PercentileSet(&'a PercentileSet),
}

impl ServerMetrics {
    /// Hands every value to `sink` under the key of the word `mntr` (without `zk_`) and of the
    /// admin command `monitor`: first the gauges, then kind by kind as Java does.
    pub fn dump(&self, sink: &mut dyn FnMut(&str, MetricValue)) {
        self.gauges.dump(sink);
        let mut metrics = self.metrics();
        metrics.sort_by_key(|(_, metric)| metric.kind());
        for (name, metric) in metrics {
            match metric {
                MetricRef::Counter(counter) => sink(name, MetricValue::Integer(counter.get())),
                MetricRef::CounterSet(set) => set.dump(name, sink),
                MetricRef::AvgMinMax(summary) => summary.dump(name, sink),
                MetricRef::Percentile(summary) => summary.dump(name, sink),
                MetricRef::AvgMinMaxSet(set) => set.dump(name, sink),
                MetricRef::PercentileSet(set) => set.dump(name, sink),
            }
        }
    }

    /// Forgets all values but the gauges', as the word `srst` asks for.
    pub fn reset(&self) {
        for (_, metric) in self.metrics() {
            match metric {
                MetricRef::Counter(counter) => counter.reset(),
                MetricRef::CounterSet(set) => set.reset(),
                MetricRef::AvgMinMax(summary) => summary.reset(),
                MetricRef::Percentile(summary) => summary.reset(),
                MetricRef::AvgMinMaxSet(set) => set.reset(),
                MetricRef::PercentileSet(set) => set.reset(),
            }
        }
    }
}

impl MetricRef<'_> {
    /// The place of this kind in Java's dump.
    const fn kind(&self) -> u8 {
        match self {
            Self::Counter(_) => 0,
            Self::CounterSet(_) => 1,
            Self::AvgMinMax(_) => 2,
            Self::Percentile(_) => 3,
            Self::AvgMinMaxSet(_) => 4,
            Self::PercentileSet(_) => 5,
        }
    }
}

server_metrics! {
    /// Ms of each fsync of the txn log (FileTxnLog.commit).
    fsynctime: AvgMinMax,
    /// Ms of each snapshot written.
    snapshottime: AvgMinMax,
    /// Failed or empty admin snapshot.
    snapshot_error_count: Counter,
    /// Admin snapshot refused by the limiter.
    snapshot_rate_limited_count: Counter,
    /// Ms of each admin restore.
    restore_time: AvgMinMax,
    /// Failed admin restore.
    restore_error_count: Counter,
    /// Admin restore refused by the limiter.
    restore_rate_limited_count: Counter,
    /// Ms to load snapshot and logs.
    dbinittime: AvgMinMax,
    /// Ms from creation to reply, requests without txn.
    readlatency: Percentile,
    /// Ms from creation to reply, requests with txn.
    updatelatency: Percentile,
    /// Ms from txn time (leader clock) to local apply.
    propagation_latency: Percentile,
    /// Ms of a follower sync with the leader.
    follower_sync_time: AvgMinMax,
    /// Ms of an observer sync.
    observer_sync_time: AvgMinMax,
    /// Ms from LOOKING to the start of leading/following.
    election_time: AvgMinMax,
    /// Times the peer loop enters LOOKING.
    looking_count: Counter,
    /// Syncs served as DIFF or TRUNC.
    diff_count: Counter,
    /// Syncs served as SNAP.
    snap_count: Counter,
    /// COMMITs sent by the leader.
    commit_count: Counter,
    /// Connect requests accepted by the throttle.
    connection_request_count: Counter,
    /// Tokens in use at each connect.
    connection_token_deficit: AvgMinMax,
    /// Connections refused by limits or throttle.
    connection_rejected: Counter,
    /// Concurrent SNAP syncs, sampled at begin and end.
    inflight_snap_count: AvgMinMax,
    /// Concurrent DIFF syncs, sampled at begin and end.
    inflight_diff_count: AvgMinMax,
    /// Bytes (path + data) written, per first path element.
    write_per_namespace: AvgMinMaxSet,
    /// Bytes read (path + data + 68), per first path element.
    read_per_namespace: AvgMinMaxSet,
    /// Bytes of client packets incl. length prefix.
    bytes_received_count: Counter,
    /// Uncaught exception in a critical thread.
    unrecoverable_error_count: Counter,
    /// Watchers fired per NodeCreated.
    node_created_watch_count: AvgMinMax,
    /// Watchers fired per NodeDeleted.
    node_deleted_watch_count: AvgMinMax,
    /// Watchers fired per NodeDataChanged.
    node_changed_watch_count: AvgMinMax,
    /// Watchers fired per NodeChildrenChanged.
    node_children_watch_count: AvgMinMax,
    /// Ms stalled by the dead watcher limit (optimized manager).
    add_dead_watcher_stall_time: Counter,
    /// Dead watchers queued (optimized manager).
    dead_watchers_queued: Counter,
    /// Dead watchers cleaned (optimized manager).
    dead_watchers_cleared: Counter,
    /// Ms per clean run (optimized manager).
    dead_watchers_cleaner_latency: Percentile,
    /// GetData served from the response cache.
    response_packet_cache_hits: Counter,
    /// GetData serialized and cached.
    response_packet_cache_misses: Counter,
    /// GetChildren2 served from cache.
    response_packet_get_children_cache_hits: Counter,
    /// GetChildren2 serialized and cached.
    response_packet_get_children_cache_misses: Counter,
    /// Ensemble auth with a known name.
    ensemble_auth_success: Counter,
    /// Ensemble auth with a wrong name.
    ensemble_auth_fail: Counter,
    /// Ensemble auth empty or not configured.
    ensemble_auth_skip: Counter,
    /// Ms a request waited for Prep.
    prep_processor_queue_time_ms: Percentile,
    /// Prep queue length at each take.
    prep_processor_queue_size: AvgMinMax,
    /// Requests given to Prep.
    prep_processor_request_queued: Counter,
    /// Change records added.
    outstanding_changes_queued: Counter,
    /// Change records removed on apply.
    outstanding_changes_removed: Counter,
    /// Ms inside Prep.
    prep_process_time: AvgMinMax,
    /// Ms in the processor after Prep.
    proposal_process_time: AvgMinMax,
    /// Ms to prepare a closeSession.
    close_session_prep_time: Percentile,
    /// REVALIDATE packets handled by a learner handler.
    revalidate_count: Counter,
    /// Client connections lost by EOF/closed channel.
    connection_drop_count: Counter,
    /// Reconnect attempts of existing sessions.
    connection_revalidate_count: Counter,
    /// NIO connections closed by the expirer.
    sessionless_connections_expired: Counter,
    /// Sessions expired by the tracker.
    stale_sessions_expired: Counter,
    /// Ms from leaving service to BROADCAST.
    unavailable_time: AvgMinMax,
    /// Same, when this server became leader.
    leader_unavailable_time: AvgMinMax,
    /// Length of a session queue in CommitProcessor.
    requests_in_session_queue: AvgMinMax,
    /// Number of sessions with queues.
    pending_session_queue_size: AvgMinMax,
    /// Reads released behind a write.
    reads_after_write_in_session_queue: AvgMinMax,
    /// Reads released per loop from session queues.
    reads_issued_from_session_queue: AvgMinMax,
    /// Session queues looked at per loop.
    session_queues_drained: AvgMinMax,
    /// Ms waiting for running reads before a commit.
    time_waiting_empty_pool_in_commit_processor_read_ms: AvgMinMax,
    /// Ms per commit batch.
    write_batch_time_in_commit_processor: AvgMinMax,
    /// Reads running when a commit had to wait.
    concurrent_request_processing_in_commit_processor: AvgMinMax,
    /// Reads queued per loop.
    read_commit_proc_req_queued: AvgMinMax,
    /// Writes queued per loop.
    write_commit_proc_req_queued: AvgMinMax,
    /// Commits queued per loop.
    commit_commit_proc_req_queued: AvgMinMax,
    /// Commits handed to CommitProcessor.
    request_commit_queued: Counter,
    /// Reads issued per loop.
    read_commit_proc_issued: AvgMinMax,
    /// Commits issued per loop.
    write_commit_proc_issued: AvgMinMax,
    /// Requests answered -127.
    throttled_ops: Counter,
    /// Ms of a read in CommitProcessor.
    read_commitproc_time_ms: Percentile,
    /// Ms of a local write in CommitProcessor.
    write_commitproc_time_ms: Percentile,
    /// Ms from commit arrival to apply, local writes.
    local_write_committed_time_ms: Percentile,
    /// Ms from commit arrival to apply, writes of others.
    server_write_committed_time_ms: Percentile,
    /// Ms per CommitProcessor loop.
    commit_process_time: AvgMinMax,
    /// Ms of observer master work per proposal.
    om_proposal_process_time_ms: Percentile,
    /// Ms of observer master work per commit.
    om_commit_process_time_ms: Percentile,
    /// Ms of a read in Final.
    read_final_proc_time_ms: Percentile,
    /// Ms of a write in Final.
    write_final_proc_time_ms: Percentile,
    /// Ms from txn time to arrival at a follower.
    proposal_latency: Percentile,
    /// Ms from txn time to the local ack.
    proposal_ack_creation_latency: Percentile,
    /// Ms from txn time to commit arrival at a learner.
    commit_propagation_latency: Percentile,
    /// PROPOSAL packets received.
    learner_proposal_received_count: Counter,
    /// COMMIT/INFORM packets received.
    learner_commit_received_count: Counter,
    /// Send queue length per learner sid, at each send.
    learner_handler_qp_size: AvgMinMaxSet,
    /// Ms a marker spends in that queue (one marker per 1000 packets).
    learner_handler_qp_time_ms: PercentileSet,
    /// Txns replayed at load.
    startup_txns_loaded: AvgMinMax,
    /// Ms of that replay.
    startup_txns_load_time: AvgMinMax,
    /// Ms to load the snapshot.
    startup_snap_load_time: AvgMinMax,
    /// Ms from entering Sync to being flushed.
    sync_processor_queue_and_flush_time_ms: Percentile,
    /// Sync queue length per loop.
    sync_processor_queue_size: AvgMinMax,
    /// Requests given to Sync.
    sync_processor_request_queued: Counter,
    /// Ms waiting in the Sync queue.
    sync_processor_queue_time_ms: Percentile,
    /// Ms per flush.
    sync_processor_queue_flush_time_ms: Percentile,
    /// Ms to append one request.
    sync_process_time: AvgMinMax,
    /// Requests per flush.
    sync_processor_batch_size: AvgMinMax,
    /// Ms from txn time to quorum of acks.
    quorum_ack_latency: Percentile,
    /// Ms from txn time to the ack, per sid, sampled by ackLoggingFrequency.
    ack_latency: PercentileSet,
    /// Proposals made.
    proposal_count: Counter,
    /// Leader gave up because a voter went LOOKING.
    quit_leading_due_to_disloyal_voter: Counter,
    /// Stale requests seen by the throttler.
    stale_requests: Counter,
    /// Stale requests dropped.
    stale_requests_dropped: Counter,
    /// Replies to stale requests.
    stale_replies: Counter,
    /// Ms in the throttle queue.
    request_throttle_queue_time_ms: Percentile,
    /// Throttler waits.
    request_throttle_wait_count: Counter,
    /// Large requests refused.
    large_requests_rejected: Counter,
    /// Bytes queued on a throttled Netty connection.
    netty_queued_buffer_capacity: AvgMinMax,
    /// Digest comparison failures.
    digest_mismatches_count: Counter,
    /// Queue length of the first processor of a learner.
    learner_request_processor_queue_size: AvgMinMax,
    /// Failed TLS handshakes.
    unsuccessful_handshake: Counter,
    /// Plain HTTP on the unified admin port.
    insecure_admin_count: Counter,
    /// Connections closed by the handshake limit.
    tls_handshake_exceeded: Counter,
    /// TLS connections dropped while not serving.
    cnxn_closed_without_zk_server_running: Counter,
    /// Observer requests kept from the follower commit processor.
    skip_learner_request_to_next_processor_count: Counter,
    /// Ms to close a quorum socket.
    socket_closing_time: AvgMinMax,
    /// Learner requests kept out of the leader commit processor.
    requests_not_forwarded_to_commit_processor: Counter,
    /// Bytes of replies.
    response_bytes: Counter,
    /// Bytes of notifications.
    watch_bytes: Counter,
    /// Overshoot of the pause monitor.
    jvm_pause_time_ms: Percentile,
    /// Hard quota rejections per first path element.
    quota_exceeded_error_per_namespace: CounterSet,
}

/// The gauges of a standalone server; `znode_count` and others are registered by their owners.
pub const STANDALONE_GAUGES: &[(&str, &str)] = &[
    ("avg_latency", "Mean request latency since reset, 4 decimals"),
    ("max_latency", "Max"),
    ("min_latency", "Min"),
    ("packets_received", "Client packets in"),
    ("packets_sent", "Client packets out"),
    ("num_alive_connections", "Client connections, both listeners"),
    ("outstanding_requests", "Requests in the pipeline"),
    ("uptime", "Ms since this server role started"),
    ("znode_count", "Node map size (counts the empty path and `/` both)"),
    ("watch_count", "Data + child watches"),
    ("ephemerals_count", "Ephemeral nodes"),
    ("approximate_data_size", "Sum of path and data lengths"),
    ("global_sessions", "Sessions with timeouts known to the database"),
    ("local_sessions", "Local sessions"),
    ("open_file_descriptor_count", "Open fds"),
    ("max_file_descriptor_count", "Fd limit"),
    ("connection_drop_probability", "BlueThrottle drop chance"),
    ("last_client_response_size", "Bytes, -1 before the first"),
    ("max_client_response_size", "Bytes"),
    ("min_client_response_size", "Bytes"),
    ("outstanding_tls_handshake", "TLS handshakes under way (Netty)"),
    ("auth_failed_count", "Failed TLS client auth"),
    ("non_mtls_remote_conn_count", "Non-TLS connections from other hosts (Netty)"),
    ("non_mtls_local_conn_count", "Non-TLS connections from loopback (Netty)"),
];

/// The sets of gauges of a standalone server, by first element of the path.
pub const STANDALONE_GAUGE_SETS: &[(&str, &str)] = &[
    ("quota_count_limit_per_namespace", "Hard, else soft, count limit per first path element"),
    ("quota_bytes_limit_per_namespace", "Same for bytes"),
    ("quota_count_usage_per_namespace", "Nodes in use"),
    ("quota_bytes_usage_per_namespace", "Bytes in use"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The keys of `mntr` as a standalone Java 3.9.4 server prints them, with the kind of number.
    #[test]
    fn keys_are_those_of_a_java_server() {
        let metrics = ServerMetrics::default();
        for (name, _) in STANDALONE_GAUGES {
            let is_double = ["avg_latency", "connection_drop_probability"].contains(name);
            let value = if is_double { MetricValue::Double(0.0) } else { MetricValue::Integer(0) };
            metrics.gauges.register(name, move || Some(value));
        }
        for (name, _) in STANDALONE_GAUGE_SETS {
            metrics.gauges.register_set(name, Vec::new);
        }
        let mut keys = BTreeMap::new();
        metrics.dump(&mut |key, value| {
            let kind = if matches!(value, MetricValue::Double(_)) { "double" } else { "integer" };
            assert_eq!(keys.insert(key.to_owned(), kind), None, "{key} comes twice");
        });
        let golden = include_str!("../../tests/golden/common/mntr_keys.tsv").lines();
        let golden = golden.map(|line| line.split_once('\t').unwrap());
        let golden = golden.filter(|(_, kind)| *kind != "text");
        let golden = golden.map(|(key, kind)| (key.to_owned(), kind)).collect();
        assert_eq!(keys, golden);
    }

    #[test]
    fn reset_spares_the_gauges() {
        let metrics = ServerMetrics::default();
        metrics.gauges.register_integer("uptime", || 5);
        metrics.commit_count.increment();
        metrics.readlatency.add(3);
        metrics.write_per_namespace.add("a", 7);
        metrics.reset();
        let mut seen = Vec::new();
        metrics.dump(&mut |key, value| {
            if !matches!(value, MetricValue::Integer(0)) && value != MetricValue::Double(0.0) {
                seen.push(format!("{key} {value}"));
            }
        });
        assert_eq!(seen, ["uptime 5"]);
    }
}
