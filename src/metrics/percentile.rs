//! A summary with percentiles (Java: `AvgMinMaxPercentileCounter`).
//!
//! Java keeps a random sample of 4096 values; here every value is counted, in buckets that are
//! exact up to 127 and at most 1.6 % wide above. So the far percentiles are better than Java's, and
//! equal for small values. Histogram crates record under a lock or through one owner, hence these
//! few lines.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::avg_min_max::AvgMinMax;
use super::shards::Shards;
use super::value::MetricValue;

/// A summary with percentiles; adding costs three atomic additions.
#[derive(Debug, Default)]
pub struct Percentile {
    summary: AvgMinMax,
    /// The buckets of a shard are made when a thread first adds to it: most shards of most metrics
    /// are never used.
    buckets: Shards<OnceLock<Box<[AtomicU64]>>>,
}

/// Bits of a value that decide its bucket, after the highest one.
const PRECISION_BITS: u32 = 6;
const PER_POWER: u64 = 1 << PRECISION_BITS;
/// Values are milliseconds and sizes; greater ones are counted as this one.
const VALUE_MAX: u64 = (1 << 40) - 1;
const BUCKETS: usize = bucket_of(VALUE_MAX) + 1;

/// Buckets `0..128` hold one value each, the next 64 two each, the next 64 four each, and so on.
const fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - PRECISION_BITS - 1).saturating_sub(value.leading_zeros());
    (shift as u64 * PER_POWER + (value >> shift)) as usize
}

/// The value in the middle of a bucket.
const fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * PER_POWER {
        return bucket;
    }
    let shift = bucket / PER_POWER - 1;
    let lowest = (bucket - shift * PER_POWER) << shift;
    lowest + (1 << (shift - 1))
}

impl Percentile {
    /// Adds a value. Negative ones, of a clock that went back, count as 0 in the percentiles.
    #[inline]
    pub fn add(&self, value: i64) {
        self.summary.add(value);
        let buckets = self.buckets.mine().get_or_init(new_buckets);
        let bucket = bucket_of(u64::try_from(value).unwrap_or(0).min(VALUE_MAX));
        if let Some(count) = buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed); // Relaxed: see `AvgMinMax::add`.
        }
    }

    /// Average, minimum and so on.
    #[must_use]
    pub fn summary(&self) -> &AvgMinMax {
        &self.summary
    }

    /// The values below which the given shares (0 to 1, rising) of all values lie; 0 without
    /// values.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [i64; N] {
        let mut merged = vec![0_u64; BUCKETS];
        for buckets in self.buckets.iter().filter_map(OnceLock::get) {
            for (sum, count) in merged.iter_mut().zip(buckets) {
                *sum = sum.saturating_add(count.load(Ordering::Relaxed));
            }
        }
        let total: u64 = merged.iter().sum();
        let mut counts = merged.iter().enumerate();
        let (mut below, mut value) = (0_u64, 0_u64);
        shares.map(|share| {
            while below < rank_of(share, total)
                && let Some((bucket, count)) = counts.next()
            {
                if *count > 0 {
                    (below, value) = (below + count, middle_of(bucket));
                }
            }
            value.cast_signed()
        })
    }

    /// Forgets all values.
    pub fn reset(&self) {
        self.summary.reset();
        for buckets in self.buckets.iter().filter_map(OnceLock::get) {
            for count in buckets {
                count.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Hands the keys of the summary and `p50_`, `p95_`, `p99_`, `p999_<name>` to `sink`.
    pub fn dump(&self, name: &str, sink: &mut dyn FnMut(&str, MetricValue)) {
        self.summary.dump(name, sink);
        let keys = ["p50", "p95", "p99", "p999"];
        for (key, value) in keys.into_iter().zip(self.quantiles([0.5, 0.95, 0.99, 0.999])) {
            sink(&format!("{key}_{name}"), MetricValue::Integer(value));
        }
    }
}

fn new_buckets() -> Box<[AtomicU64]> {
    (0..BUCKETS).map(|_| AtomicU64::new(0)).collect()
}

/// How many values lie at or below the quantile; at least 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count, positive and far below 2^53"
)]
fn rank_of(share: f64, total: u64) -> u64 {
    ((share * total as f64).ceil() as u64).clamp(total.min(1), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: impl IntoIterator<Item = i64>, expected: [i64; 4]) {
        let percentile = Percentile::default();
        values.into_iter().for_each(|value| percentile.add(value));
        assert_eq!(percentile.quantiles([0.5, 0.95, 0.99, 0.999]), expected);
    }

    #[test]
    fn percentiles_of_small_values_are_exact() {
        check([], [0; 4]);
        check([5], [5; 4]);
        check([-5], [0; 4]);
        check(1..=100, [50, 95, 99, 100]);
        check((0..1000).map(|n| i64::from(n >= 900)), [0, 1, 1, 1]);
    }

    #[test]
    fn percentiles_of_great_values_are_near() {
        let percentile = Percentile::default();
        (0..100_000).for_each(|value| percentile.add(value));
        for (share, exact) in [(0.5, 50_000), (0.95, 95_000), (0.99, 99_000), (0.999, 99_900)] {
            let [value] = percentile.quantiles([share]);
            assert!((value - exact).abs() * 100 < exact * 2, "{share}: {value}");
        }
        percentile.add(i64::MAX);
        percentile.reset();
        assert_eq!(percentile.quantiles([0.5]), [0]);
    }

    #[test]
    fn every_value_is_in_its_bucket() {
        for value in (0..5000).chain([1 << 20, (1 << 33) + 12_345, VALUE_MAX]) {
            let bucket = bucket_of(value);
            assert_eq!(bucket_of(middle_of(bucket)), bucket, "{value}");
            assert!(middle_of(bucket).abs_diff(value) * 64 <= value, "{value}");
        }
    }

    #[test]
    fn dump_has_javas_keys() {
        let percentile = Percentile::default();
        (0..4).for_each(|value| percentile.add(value));
        let mut lines = Vec::new();
        percentile.dump("readlatency", &mut |key, value| lines.push(format!("{key} {value}")));
        let expected = [
            "avg_readlatency 1.5",
            "min_readlatency 0",
            "max_readlatency 3",
            "cnt_readlatency 4",
            "sum_readlatency 6",
            "p50_readlatency 1",
            "p95_readlatency 3",
            "p99_readlatency 3",
            "p999_readlatency 3",
        ];
        assert_eq!(lines, expected);
    }
}
