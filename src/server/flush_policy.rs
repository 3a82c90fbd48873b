//! When `SyncRequestProcessor` flushes what it has appended, and when it takes a snapshot: pure
//! decisions on counts and times.

/// The settings of a flush (`flushDelay`, `maxWriteQueuePollTime`, `maxBatchSize`).
#[derive(Debug, Clone, Copy)]
pub struct FlushPolicy {
    /// Flush at the latest this long after the last flush; 0 is off: flush as soon as no request
    /// is waiting.
    pub flush_delay_ms: i64,
    /// How long an empty queue is waited for before a flush, while the delay lasts.
    pub max_write_queue_poll_time_ms: i64,
    /// Flush when so many requests are appended; 0 is no limit.
    pub max_batch_size: usize,
}

impl FlushPolicy {
    /// How long to wait for another request while `since_flush_ms` have passed since the last
    /// flush; 0: do not wait.
    pub fn poll_time_ms(&self, since_flush_ms: i64) -> i64 {
        self.max_write_queue_poll_time_ms.min(self.remaining_delay_ms(since_flush_ms)).max(0)
    }

    /// Whether `appended` requests must be flushed though more are waiting.
    pub fn should_flush(&self, appended: usize, since_flush_ms: i64) -> bool {
        (self.flush_delay_ms > 0 && self.remaining_delay_ms(since_flush_ms) == 0)
            || (self.max_batch_size > 0 && appended >= self.max_batch_size)
    }

    fn remaining_delay_ms(&self, since_flush_ms: i64) -> i64 {
        (self.flush_delay_ms - since_flush_ms).max(0)
    }
}

/// When to snapshot (`snapCount`, `snapSizeLimitInKb`): after half the limit and a random part of
/// the other half, so that the servers of an ensemble do not all do it at once.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotPolicy {
    snap_count: i64,
    snap_size_bytes: i64,
    rand_roll: i64,
    rand_size: i64,
}

impl SnapshotPolicy {
    /// From the settings; `snap_count` of less than 2 is 2, a size of 0 or less is no limit.
    pub fn new(snap_count: i64, snap_size_bytes: i64, random: impl FnMut() -> u64) -> Self {
        let mut policy = SnapshotPolicy {
            snap_count: snap_count.max(2),
            snap_size_bytes,
            rand_roll: 0,
            rand_size: 0,
        };
        policy.reset(random);
        policy
    }

    /// Draws the random parts anew, after each snapshot.
    pub fn reset(&mut self, mut random: impl FnMut() -> u64) {
        let mut below = |bound: i64| (random() >> 1) as i64 % bound.max(1);
        self.rand_roll = below(self.snap_count / 2);
        self.rand_size = below(self.snap_size_bytes / 2);
    }

    /// Whether the log is due after `txns` transactions and `bytes` since the last snapshot.
    pub fn should_snapshot(&self, txns: i64, bytes: i64) -> bool {
        txns > self.snap_count / 2 + self.rand_roll
            || (self.snap_size_bytes > 0 && bytes > self.snap_size_bytes / 2 + self.rand_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_nothing_is_waited_for_and_only_the_batch_size_forces_a_flush() {
        let policy = FlushPolicy {
            flush_delay_ms: 0,
            max_write_queue_poll_time_ms: 0,
            max_batch_size: 1000,
        };
        assert_eq!(policy.poll_time_ms(0), 0);
        assert!(!policy.should_flush(999, 1_000_000));
        assert!(policy.should_flush(1000, 0));
    }

    #[test]
    fn a_delay_waits_in_steps_and_ends_in_a_flush() {
        let policy =
            FlushPolicy { flush_delay_ms: 30, max_write_queue_poll_time_ms: 10, max_batch_size: 0 };
        assert_eq!(policy.poll_time_ms(0), 10);
        assert_eq!(policy.poll_time_ms(25), 5);
        assert_eq!(policy.poll_time_ms(40), 0);
        assert!(!policy.should_flush(1_000_000, 29));
        assert!(policy.should_flush(1, 30));
    }

    #[test]
    fn snapshots_come_between_half_the_count_and_the_count() {
        for random in [0, u64::MAX, 123_456_789] {
            let policy = SnapshotPolicy::new(100, -1, || random);
            assert!(!policy.should_snapshot(50, i64::MAX));
            assert!(policy.should_snapshot(101, 0));
        }
        let policy = SnapshotPolicy::new(i64::MAX, 1000, || u64::MAX);
        assert!(!policy.should_snapshot(1, 500));
        assert!(policy.should_snapshot(1, 1001));
    }
}
