//! What the words `srvr`, `stat` and `mntr` say of this server (`ServerStats`, `BufferStats`).
//!
//! The counters are spread over cache lines, because every request touches them; see
//! [`crate::metrics`].

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crossbeam_utils::CachePadded;

use crate::common::time;
use crate::metrics::{AvgMinMax, Counter, ServerMetrics, java_double};
use crate::proto::Zxid;

/// The parts of the server that know what the statistics do not (`ServerStats.Provider`).
pub trait ServerStatsProvider: Send + Sync {
    /// Requests in the processor chain.
    fn outstanding_requests(&self) -> i64;
    /// The last transaction in the tree.
    fn last_processed_zxid(&self) -> Zxid;
    /// `standalone`, `leader`, …
    fn state(&self) -> &'static str;
    /// Connections of clients.
    fn num_alive_connections(&self) -> usize;
}

/// Statistics since the start or the last reset. Everything is relaxed: a reader may see counts of
/// different moments.
#[derive(Debug)]
pub struct ServerStats {
    metrics: Arc<ServerMetrics>,
    packets_sent: Counter,
    packets_received: Counter,
    request_latency: AvgMinMax,
    client_response_stats: BufferStats,
    fsync_threshold_exceed_count: Counter,
    non_mtls_remote_conn_count: Counter,
    non_mtls_local_conn_count: Counter,
    auth_failed_count: Counter,
    start_ms: i64,
}

impl ServerStats {
    /// Statistics that begin now.
    #[must_use]
    pub fn new(metrics: Arc<ServerMetrics>) -> ServerStats {
        ServerStats {
            metrics,
            packets_sent: Counter::default(),
            packets_received: Counter::default(),
            request_latency: AvgMinMax::default(),
            client_response_stats: BufferStats::default(),
            fsync_threshold_exceed_count: Counter::default(),
            non_mtls_remote_conn_count: Counter::default(),
            non_mtls_local_conn_count: Counter::default(),
            auth_failed_count: Counter::default(),
            start_ms: time::elapsed_ms(),
        }
    }

    /// A request of this server's client is answered, `created_ms` to `now_ms` (monotonic clock)
    /// after it was read. `is_write` if it had a transaction.
    pub fn update_latency(&self, created_ms: i64, now_ms: i64, is_write: bool) {
        let latency_ms = now_ms.saturating_sub(created_ms);
        if latency_ms < 0 {
            return;
        }
        self.request_latency.add(latency_ms);
        if is_write {
            self.metrics.updatelatency.add(latency_ms);
        } else {
            self.metrics.readlatency.add(latency_ms);
        }
    }

    /// A packet of a client was read.
    pub fn increment_packets_received(&self) {
        self.packets_received.increment();
    }

    /// A packet was sent to a client.
    pub fn increment_packets_sent(&self) {
        self.packets_sent.increment();
    }

    /// So many packets were sent to clients.
    pub fn add_packets_sent(&self, count: i64) {
        self.packets_sent.add(count);
    }

    /// The size of a reply with its length prefix.
    pub fn update_client_response_size(&self, bytes: i32) {
        self.client_response_stats.set_last_buffer_size(bytes);
    }

    /// The shortest latency in milliseconds, or 0.
    #[must_use]
    pub fn min_latency(&self) -> i64 {
        self.request_latency.totals().min
    }

    /// The mean latency in milliseconds with four decimals, or 0.
    #[must_use]
    pub fn avg_latency(&self) -> f64 {
        self.request_latency.totals().avg()
    }

    /// The longest latency in milliseconds, or 0.
    #[must_use]
    pub fn max_latency(&self) -> i64 {
        self.request_latency.totals().max
    }

    /// Packets read from clients.
    #[must_use]
    pub fn packets_received(&self) -> i64 {
        self.packets_received.get()
    }

    /// Packets sent to clients.
    #[must_use]
    pub fn packets_sent(&self) -> i64 {
        self.packets_sent.get()
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn uptime_ms(&self) -> i64 {
        time::elapsed_ms().saturating_sub(self.start_ms)
    }

    /// Sizes of replies.
    #[must_use]
    pub fn client_response_stats(&self) -> &BufferStats {
        &self.client_response_stats
    }

    /// Flushes of the log that took too long.
    #[must_use]
    pub fn fsync_threshold_exceed_count(&self) -> &Counter {
        &self.fsync_threshold_exceed_count
    }

    /// Connections of other machines without a client certificate.
    #[must_use]
    pub fn non_mtls_remote_conn_count(&self) -> &Counter {
        &self.non_mtls_remote_conn_count
    }

    /// Connections of this machine without a client certificate.
    #[must_use]
    pub fn non_mtls_local_conn_count(&self) -> &Counter {
        &self.non_mtls_local_conn_count
    }

    /// Failed authentications of TLS clients.
    #[must_use]
    pub fn auth_failed_count(&self) -> &Counter {
        &self.auth_failed_count
    }

    /// The word `srst`: latencies, packets, sizes and all metrics start anew; the counters of
    /// connections and flushes go on.
    pub fn reset(&self) {
        self.request_latency.reset();
        self.packets_received.reset();
        self.packets_sent.reset();
        self.client_response_stats.reset();
        self.metrics.reset();
    }

    /// The middle part of the words `srvr` and `stat` (`ServerStats.toString`), each line ended.
    #[must_use]
    pub fn report(&self, provider: &dyn ServerStatsProvider) -> String {
        let totals = self.request_latency.totals();
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Latency min/avg/max: {}/{}/{}",
            totals.min,
            java_double(totals.avg()),
            totals.max
        );
        let _ = writeln!(out, "Received: {}", self.packets_received());
        let _ = writeln!(out, "Sent: {}", self.packets_sent());
        let _ = writeln!(out, "Connections: {}", provider.num_alive_connections());
        let _ = writeln!(out, "Outstanding: {}", provider.outstanding_requests());
        let _ = writeln!(out, "Zxid: {}", provider.last_processed_zxid());
        let _ = writeln!(out, "Mode: {}", provider.state());
        out
    }
}

/// The last, smallest and greatest size of something; -1 before the first.
#[derive(Debug)]
pub struct BufferStats(CachePadded<Sizes>);

#[derive(Debug)]
struct Sizes {
    last: AtomicI32,
    /// `i32::MAX` before the first.
    min: AtomicI32,
    max: AtomicI32,
}

impl Default for BufferStats {
    fn default() -> Self {
        BufferStats(CachePadded::new(Sizes {
            last: AtomicI32::new(INIT_VALUE),
            min: AtomicI32::new(i32::MAX),
            max: AtomicI32::new(INIT_VALUE),
        }))
    }
}

const INIT_VALUE: i32 = -1;

impl BufferStats {
    /// Notes a size.
    pub fn set_last_buffer_size(&self, bytes: i32) {
        // Looked at first: most replies are as long as the one before, and the line stays shared.
        if self.0.last.load(Ordering::Relaxed) != bytes {
            self.0.last.store(bytes, Ordering::Relaxed);
        }
        if bytes < self.0.min.load(Ordering::Relaxed) {
            self.0.min.fetch_min(bytes, Ordering::Relaxed);
        }
        if bytes > self.0.max.load(Ordering::Relaxed) {
            self.0.max.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    /// The last size.
    #[must_use]
    pub fn last_buffer_size(&self) -> i32 {
        self.0.last.load(Ordering::Relaxed)
    }

    /// The smallest size.
    #[must_use]
    pub fn min_buffer_size(&self) -> i32 {
        let min = self.0.min.load(Ordering::Relaxed);
        if min == i32::MAX { INIT_VALUE } else { min }
    }

    /// The greatest size.
    #[must_use]
    pub fn max_buffer_size(&self) -> i32 {
        self.0.max.load(Ordering::Relaxed)
    }

    /// Forgets all sizes.
    pub fn reset(&self) {
        self.0.last.store(INIT_VALUE, Ordering::Relaxed);
        self.0.min.store(i32::MAX, Ordering::Relaxed);
        self.0.max.store(INIT_VALUE, Ordering::Relaxed);
    }
}

/// As Java: `last/min/max`.
impl fmt::Display for BufferStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}",
            self.last_buffer_size(),
            self.min_buffer_size(),
            self.max_buffer_size()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Standalone;

    impl ServerStatsProvider for Standalone {
        fn outstanding_requests(&self) -> i64 {
            3
        }
        fn last_processed_zxid(&self) -> Zxid {
            Zxid(0x1c)
        }
        fn state(&self) -> &'static str {
            "standalone"
        }
        fn num_alive_connections(&self) -> usize {
            2
        }
    }

    fn stats() -> ServerStats {
        ServerStats::new(Arc::default())
    }

    #[test]
    fn report_is_formatted_as_java_does() {
        let stats = stats();
        let check = |latency: &str, packets: (i64, i64)| {
            let expected = format!(
                "Latency min/avg/max: {latency}\nReceived: {}\nSent: {}\nConnections: 2\n\
                 Outstanding: 3\nZxid: 0x1c\nMode: standalone\n",
                packets.0, packets.1
            );
            assert_eq!(stats.report(&Standalone), expected);
        };
        check("0/0.0/0", (0, 0));
        for (created_ms, is_write) in [(99, true), (98, false), (98, true)] {
            stats.update_latency(created_ms, 100, is_write);
            stats.increment_packets_received();
        }
        stats.increment_packets_sent();
        check("1/1.6667/2", (3, 1));
        stats.reset();
        check("0/0.0/0", (0, 0));
    }

    #[test]
    fn latencies_are_told_apart_and_never_negative() {
        let stats = stats();
        stats.update_latency(101, 100, true);
        assert_eq!(stats.max_latency(), 0);
        stats.update_latency(90, 100, true);
        stats.update_latency(80, 100, false);
        assert_eq!((stats.min_latency(), stats.max_latency()), (10, 20));
        let mut values = Vec::new();
        stats.metrics.dump(&mut |name, value| {
            if ["max_readlatency", "max_updatelatency"].contains(&name) {
                values.push((name.to_owned(), value.to_string()));
            }
        });
        values.sort();
        let expected = [("max_readlatency", "20"), ("max_updatelatency", "10")];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn sizes_are_printed_as_java_does() {
        let sizes = BufferStats::default();
        assert_eq!(sizes.to_string(), "-1/-1/-1");
        for bytes in [20, 37, 16, 20] {
            sizes.set_last_buffer_size(bytes);
        }
        assert_eq!(sizes.to_string(), "20/16/37");
        sizes.reset();
        assert_eq!(sizes.to_string(), "-1/-1/-1");
    }
}
