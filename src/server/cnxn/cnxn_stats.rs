//! What the words `cons` and `stat` tell of one connection (`ServerCnxn.updateStatsForResponse`).

/// Java's four-letter (or so) names of the last operation.
pub type LastOp = &'static str;

/// Counters of one connection. They live beside the unsent bytes, under the same lock, because
/// every reply touches both.
#[derive(Debug, Clone)]
pub struct CnxnStats {
    /// Packets sent: replies, events, the connect response.
    pub packets_sent: u64,
    /// Name of the last operation answered, "NA" before the first.
    pub last_op: LastOp,
    /// Xid of the last ordinary operation, -1 before the first.
    pub last_cxid: i32,
    /// Zxid of the last reply, -1 before the first.
    pub last_zxid: i64,
    /// Elapsed-clock ms of the last reply.
    pub last_response_ms: i64,
    /// Latency of the last reply, ms.
    pub last_latency_ms: i64,
    min_latency_ms: i64,
    /// Largest latency, ms.
    pub max_latency_ms: i64,
    count: i64,
    total_latency_ms: i64,
}

impl Default for CnxnStats {
    fn default() -> Self {
        CnxnStats {
            packets_sent: 0,
            last_op: "NA",
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            last_latency_ms: 0,
            min_latency_ms: i64::MAX,
            max_latency_ms: 0,
            count: 0,
            total_latency_ms: 0,
        }
    }
}

impl CnxnStats {
    /// Counts a reply to a request that came at `created_ms` and is answered at `now_ms`.
    pub fn responded(&mut self, cxid: i32, zxid: i64, op: LastOp, created_ms: i64, now_ms: i64) {
        // Special xids are not the client's last real operation.
        if cxid >= 0 {
            self.last_cxid = cxid;
        }
        self.last_zxid = zxid;
        self.last_op = op;
        self.last_response_ms = now_ms;
        let latency = now_ms - created_ms;
        self.last_latency_ms = latency;
        self.min_latency_ms = self.min_latency_ms.min(latency);
        self.max_latency_ms = self.max_latency_ms.max(latency);
        self.count += 1;
        self.total_latency_ms += latency;
    }

    /// Smallest latency, ms; 0 before the first reply.
    pub fn min_latency_ms(&self) -> i64 {
        if self.min_latency_ms == i64::MAX { 0 } else { self.min_latency_ms }
    }

    /// Mean latency in whole ms.
    pub fn avg_latency_ms(&self) -> i64 {
        if self.count == 0 { 0 } else { self.total_latency_ms / self.count }
    }

    /// As the word `crst` does.
    pub fn reset(&mut self) {
        *self = CnxnStats::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_and_special_xids_are_not_shown() {
        let mut stats = CnxnStats::default();
        assert_eq!((stats.min_latency_ms(), stats.avg_latency_ms()), (0, 0));
        stats.responded(7, 0x10, "GETD", 100, 103);
        stats.responded(-2, 0x11, "PING", 200, 201);
        assert_eq!((stats.last_cxid, stats.last_zxid, stats.last_op), (7, 0x11, "PING"));
        let latencies = (stats.min_latency_ms(), stats.avg_latency_ms(), stats.max_latency_ms);
        assert_eq!(latencies, (1, 2, 3));
        stats.reset();
        assert_eq!((stats.last_cxid, stats.last_op), (-1, "NA"));
    }
}
