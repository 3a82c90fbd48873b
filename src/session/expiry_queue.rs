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
