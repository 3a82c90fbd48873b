//! The gauges of a server (`ZooKeeperServer.registerMetrics`).

use std::fs;
use std::sync::{Arc, Weak};

use rustix::process::{Resource, getrlimit};

use super::server_stats::ServerStatsProvider;
use super::zookeeper_server::ZooKeeperServer;
use crate::metrics::{Gauges, MetricValue};
use crate::tree::QuotaUsage;

/// Registers every gauge of a standalone server. They hold no reference that keeps it alive.
pub fn register(server: &Arc<ZooKeeperServer>) {
    let gauges = &server.metrics().gauges;
    let server = Arc::downgrade(server);
    integers(gauges, &server);
    doubles(gauges, &server);
    sets(gauges, &server);
    // Of parts that do not exist here, for the dashboards that ask for them.
    gauges.register_integer("outstanding_tls_handshake", || 0);
}

fn integers(gauges: &Gauges, server: &Weak<ZooKeeperServer>) {
    let add = |name, read: fn(&ZooKeeperServer) -> i64| {
        let server = Weak::clone(server);
        gauges.register(name, move || server.upgrade().map(|s| MetricValue::Integer(read(&s))));
    };
    add("max_latency", |s| s.stats().max_latency());
    add("min_latency", |s| s.stats().min_latency());
    add("packets_received", |s| s.stats().packets_received());
    add("packets_sent", |s| s.stats().packets_sent());
    add("num_alive_connections", |s| s.cnxns().len() as i64);
    add("outstanding_requests", |s| s.outstanding_requests());
    add("uptime", |s| s.stats().uptime_ms());
    add("znode_count", |s| s.db().tree().node_count() as i64);
    add("watch_count", |s| s.db().tree().watch_count() as i64);
    add("ephemerals_count", |s| s.db().tree().ephemerals_count() as i64);
    add("approximate_data_size", |s| s.db().tree().cached_approximate_data_size());
    add("global_sessions", |s| s.db().session_count() as i64);
    add("local_sessions", |s| s.tracker().local_session_count() as i64);
    add("open_file_descriptor_count", |_| open_files());
    add("max_file_descriptor_count", |_| max_files());
    add("last_client_response_size", |s| {
        s.stats().client_response_stats().last_buffer_size().into()
    });
    add("max_client_response_size", |s| s.stats().client_response_stats().max_buffer_size().into());
    add("min_client_response_size", |s| s.stats().client_response_stats().min_buffer_size().into());
    add("auth_failed_count", |s| s.stats().auth_failed_count().get());
    add("non_mtls_remote_conn_count", |s| s.stats().non_mtls_remote_conn_count().get());
    add("non_mtls_local_conn_count", |s| s.stats().non_mtls_local_conn_count().get());
}

fn doubles(gauges: &Gauges, server: &Weak<ZooKeeperServer>) {
    let add = |name, read: fn(&ZooKeeperServer) -> f64| {
        let server = Weak::clone(server);
        gauges.register(name, move || server.upgrade().map(|s| MetricValue::Double(read(&s))));
    };
    add("avg_latency", |s| s.stats().avg_latency());
    add("connection_drop_probability", ZooKeeperServer::connection_drop_chance);
}

fn sets(gauges: &Gauges, server: &Weak<ZooKeeperServer>) {
    let add = |name, read: fn(&QuotaUsage) -> Option<i64>| {
        let server = Weak::clone(server);
        gauges.register_set(name, move || {
            let Some(server) = server.upgrade() else { return Vec::new() };
            let usage = server.db().tree().quota_usage();
            usage
                .into_iter()
                .filter_map(|(namespace, usage)| {
                    Some((namespace, MetricValue::Integer(read(&usage)?)))
                })
                .collect()
        });
    };
    add("quota_count_limit_per_namespace", |usage| usage.count_limit);
    add("quota_bytes_limit_per_namespace", |usage| usage.bytes_limit);
    add("quota_count_usage_per_namespace", |usage| usage.count_usage);
    add("quota_bytes_usage_per_namespace", |usage| usage.bytes_usage);
}

fn open_files() -> i64 {
    fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64)
}

fn max_files() -> i64 {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}
