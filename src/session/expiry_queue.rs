//! When which session is due (`ExpiryQueue`).
//!
//! Expiry times are rounded up to the next multiple of the interval (`tickTime`), so that sessions
//! come due in buckets. Java moves an element to its new bucket at each touch; here a touch only
//! changes the deadline, and elements with a later one are moved when their bucket comes due. They
//! never expire earlier or later for it. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Elements in buckets of expiry times. Times are milliseconds of the monotonic clock.
#[derive(Debug)]
pub struct ExpiryQueue<E> {
    interval_ms: i64,
    /// A multiple of the interval; no bucket is earlier.
    next_expiration_ms: i64,
    /// Ordered sets, so that elements of one bucket expire in an order that can be repeated.
    buckets: BTreeMap<i64, BTreeSet<E>>,
    /// Invariant: `buckets` and `bucket_of` say the same.
    bucket_of: HashMap<E, i64>,
}

impl<E: Copy + Ord + Hash> ExpiryQueue<E> {
    /// An empty queue. An interval under 1 ms is taken for 1 ms.
    #[must_use]
    pub fn new(interval_ms: i32, now_ms: i64) -> ExpiryQueue<E> {
        let mut queue = ExpiryQueue {
            interval_ms: i64::from(interval_ms).max(1),
            next_expiration_ms: 0,
            buckets: BTreeMap::new(),
            bucket_of: HashMap::new(),
        };
        queue.next_expiration_ms = queue.round_to_next_interval(now_ms);
        queue
    }

    /// The first multiple of the interval that is later than `time_ms`.
    #[must_use]
    pub fn round_to_next_interval(&self, time_ms: i64) -> i64 {
        (time_ms / self.interval_ms).saturating_add(1).saturating_mul(self.interval_ms)
    }

    /// Adds an element, or moves it, so that it is due in the bucket of `deadline_ms`.
    ///
    /// A bucket that has been polled already is replaced by the next one: in Java an element with a
    /// negative timeout is put into the past and never expires.
    pub fn update(&mut self, element: E, deadline_ms: i64) {
        let bucket = self.round_to_next_interval(deadline_ms).max(self.next_expiration_ms);
        if self.bucket_of.get(&element) != Some(&bucket) {
            self.remove(element);
            self.insert(element, bucket);
        }
    }

    /// Removes an element. False if it was not there.
    pub fn remove(&mut self, element: E) -> bool {
        let Some(bucket) = self.bucket_of.remove(&element) else { return false };
        if let Some(set) = self.buckets.get_mut(&bucket) {
            set.remove(&element);
            if set.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
        true
    }

    /// Milliseconds until [`ExpiryQueue::poll`] has something to look at; 0 if that time has passed.
    #[must_use]
    pub fn wait_time_ms(&self, now_ms: i64) -> i64 {
        self.next_expiration_ms.saturating_sub(now_ms).max(0)
    }

    /// Takes the bucket that is due, if one is. Elements whose deadline has moved go to their new
    /// bucket, the others are returned and forgotten. To be called until the wait time is positive.
    pub fn poll(&mut self, now_ms: i64, deadline_ms: impl Fn(E) -> i64) -> Vec<E> {
        if now_ms < self.next_expiration_ms {
            return Vec::new();
        }
        let due = self.next_expiration_ms;
        self.next_expiration_ms = due.saturating_add(self.interval_ms);
        let mut expired = Vec::new();
        for element in self.buckets.remove(&due).unwrap_or_default() {
            let bucket = self.round_to_next_interval(deadline_ms(element));
            if bucket > due {
                self.insert(element, bucket);
            } else {
                self.bucket_of.remove(&element);
                expired.push(element);
            }
        }
        expired
    }

    /// How many elements are waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bucket_of.len()
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bucket_of.is_empty()
    }

    /// The elements with the time at which each will expire unless touched again, whatever bucket
    /// it is in now.
    pub fn expiry_map(&self, deadline_ms: impl Fn(E) -> i64) -> BTreeMap<i64, BTreeSet<E>> {
        let mut map: BTreeMap<i64, BTreeSet<E>> = BTreeMap::new();
        for (&element, &bucket) in &self.bucket_of {
            let time = self.round_to_next_interval(deadline_ms(element)).max(bucket);
            map.entry(time).or_default().insert(element);
        }
        map
    }

    fn insert(&mut self, element: E, bucket: i64) {
        self.buckets.entry(bucket).or_default().insert(element);
        self.bucket_of.insert(element, bucket);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_rounded_up_to_the_next_interval() {
        let queue = ExpiryQueue::<u32>::new(2000, 0);
        let check = |time, rounded| assert_eq!(queue.round_to_next_interval(time), rounded);
        check(0, 2000);
        check(1, 2000);
        check(1999, 2000);
        check(2000, 4000);
        check(i64::MAX, i64::MAX);
        // Compat: Java's division rounds toward zero.
        check(-1, 2000);
    }

    #[test]
    fn nothing_is_due_before_its_bucket() {
        let mut queue = ExpiryQueue::new(1000, 0);
        queue.update(7, 1500);
        let never = |_| 1500;
        assert_eq!(queue.wait_time_ms(0), 1000);
        assert_eq!(queue.poll(999, never), [] as [i32; 0]);
        assert_eq!(queue.wait_time_ms(1000), 0);
        assert_eq!(queue.poll(1999, never), [] as [i32; 0]);
        assert_eq!(queue.poll(1999, never), [] as [i32; 0]);
        assert_eq!(queue.wait_time_ms(1999), 1);
        assert_eq!(queue.poll(2000, never), [7]);
        assert!(queue.is_empty());
    }

    #[test]
    fn moved_deadlines_are_noticed_when_the_bucket_is_due() {
        let mut queue = ExpiryQueue::new(1000, 0);
        queue.update(7, 500);
        assert_eq!(queue.expiry_map(|_| 2500), BTreeMap::from([(3000, BTreeSet::from([7]))]));
        assert_eq!(queue.poll(1000, |_| 2500), [] as [i32; 0]);
        assert_eq!(queue.poll(2000, |_| 2500), [] as [i32; 0]);
        assert_eq!(queue.poll(3000, |_| 2500), [7]);
    }

    #[test]
    fn earlier_deadline_takes_effect_by_update() {
        let mut queue = ExpiryQueue::new(1000, 0);
        queue.update(7, 60_000);
        queue.update(7, 500);
        assert_eq!(queue.poll(1000, |_| 500), [7]);
    }

    #[test]
    fn past_deadlines_are_due_next() {
        let mut queue = ExpiryQueue::new(1000, 10_500);
        queue.update(7, -5);
        assert_eq!(queue.poll(11_000, |_| -5), [7]);
    }

    #[test]
    fn removed_elements_never_come_due() {
        let mut queue = ExpiryQueue::new(1000, 0);
        queue.update(7, 500);
        assert!(queue.remove(7));
        assert!(!queue.remove(7));
        assert_eq!(queue.poll(1000, |_| 0), [] as [i32; 0]);
        assert!(queue.buckets.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A touch as the connection does it: the queue is not told.
        Touch(u8, u16),
        /// A touch through the tracker, with a timeout that may be shorter.
        Update(u8, u16),
        Remove(u8),
        Pass(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..8u8, 0..5000u16).prop_map(|(e, timeout)| Step::Touch(e, timeout)),
            2 => (0..8u8, 0..5000u16).prop_map(|(e, timeout)| Step::Update(e, timeout)),
            1 => (0..8u8).prop_map(Step::Remove),
            4 => (0..3000u16).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// The model moves elements at once, as Java does.
        #[test]
        fn lazy_moves_expire_at_the_same_times_as_eager_ones(
            interval in 1..3000i32,
            start in 0..100_000i64,
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut now = start;
            let mut queue = ExpiryQueue::new(interval, now);
            let mut deadlines: BTreeMap<u8, i64> = BTreeMap::new();
            let mut eager: BTreeMap<u8, i64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Touch(e, timeout) => {
                        // A connection's timeout does not change: its deadlines only grow.
                        let deadline = now + i64::from(timeout);
                        if let Some(old) = deadlines.get_mut(&e).filter(|old| **old < deadline) {
                            *old = deadline;
                            eager.insert(e, queue.round_to_next_interval(deadline));
                        }
                    }
                    Step::Update(e, timeout) => {
                        let deadline = now + i64::from(timeout);
                        deadlines.insert(e, deadline);
                        queue.update(e, deadline);
                        eager.insert(e, queue.round_to_next_interval(deadline));
                    }
                    Step::Remove(e) => {
                        prop_assert_eq!(queue.remove(e), eager.remove(&e).is_some());
                        deadlines.remove(&e);
                    }
                    Step::Pass(ms) => {
                        now += i64::from(ms);
                        let mut expired = BTreeSet::new();
                        while queue.wait_time_ms(now) == 0 {
                            expired.extend(queue.poll(now, |e| deadlines[&e]));
                        }
                        let due: BTreeSet<u8> =
                            eager.iter().filter(|(_, time)| **time <= now).map(|(e, _)| *e).collect();
                        prop_assert_eq!(&expired, &due);
                        eager.retain(|e, _| !due.contains(e));
                        deadlines.retain(|e, _| !due.contains(e));
                    }
                }
                let mut map: BTreeMap<i64, BTreeSet<u8>> = BTreeMap::new();
                for (&e, &time) in &eager {
                    map.entry(time).or_default().insert(e);
                }
                prop_assert_eq!(queue.expiry_map(|e| deadlines[&e]), map);
                prop_assert_eq!(queue.len(), eager.len());
            }
        }
    }
}
