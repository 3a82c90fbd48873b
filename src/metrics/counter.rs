//! A number that only grows until it is reset (Java: `SimpleCounter`).

use std::sync::atomic::{AtomicI64, Ordering};

use super::shards::Shards;

/// A counter; adding costs one atomic addition on a cache line of few threads.
#[derive(Debug, Default)]
pub struct Counter(Shards<AtomicI64>);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `delta`; the sum wraps, as Java's does.
    #[inline]
    pub fn add(&self, delta: i64) {
        // Relaxed here and below: the sum orders nothing else.
        self.0.mine().fetch_add(delta, Ordering::Relaxed);
    }

    /// The sum of all that was added since the last reset.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.iter().fold(0, |sum, shard| sum.wrapping_add(shard.load(Ordering::Relaxed)))
    }

    /// Sets the sum to zero. What is added meanwhile may be lost or kept.
    pub fn reset(&self) {
        for shard in self.0.iter() {
            shard.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counter.increment()));
            }
        });
        assert_eq!(counter.get(), 20_000);
        counter.reset();
        counter.add(i64::MAX);
        counter.add(2);
        assert_eq!(counter.get(), i64::MIN + 1);
    }
}
