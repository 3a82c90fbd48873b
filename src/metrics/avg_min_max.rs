//! Average, minimum, maximum, count and sum of values (Java: `AvgMinMaxCounter`).

use std::sync::atomic::{AtomicI64, Ordering};

use super::shards::Shards;
use super::value::MetricValue;

/// A summary without percentiles; adding costs two atomic additions, rarely more.
#[derive(Debug, Default)]
pub struct AvgMinMax(Shards<Shard>);

#[derive(Debug)]
struct Shard {
    count: AtomicI64,
    sum: AtomicI64,
    min: AtomicI64,
    max: AtomicI64,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            count: AtomicI64::new(0),
            sum: AtomicI64::new(0),
            min: AtomicI64::new(i64::MAX),
            max: AtomicI64::new(i64::MIN),
        }
    }
}

/// What an [`AvgMinMax`] holds at one moment. All zero when nothing was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// How many values.
    pub count: i64,
    /// Their sum, wrapping.
    pub sum: i64,
    /// The least, or 0.
    pub min: i64,
    /// The greatest, or 0.
    pub max: i64,
}

impl Totals {
    /// The mean, rounded half up to four decimals; 0 without values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "as in Java: both are converted to double")]
    pub fn avg(&self) -> f64 {
        if self.count > 0 { round_4(self.sum as f64 / self.count as f64) } else { 0.0 }
    }
}

impl AvgMinMax {
    /// Adds a value.
    #[inline]
    pub fn add(&self, value: i64) {
        let shard = self.0.mine();
        // Relaxed: a reader may see count and sum of different moments, as in Java.
        shard.sum.fetch_add(value, Ordering::Relaxed);
        shard.count.fetch_add(1, Ordering::Relaxed);
        // Looked at first, because the line is rarely to be changed.
        if value < shard.min.load(Ordering::Relaxed) {
            shard.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > shard.max.load(Ordering::Relaxed) {
            shard.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// The totals since the last reset.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let (mut count, mut sum, mut min, mut max) = (0_i64, 0_i64, i64::MAX, i64::MIN);
        for shard in self.0.iter() {
            count = count.wrapping_add(shard.count.load(Ordering::Relaxed));
            sum = sum.wrapping_add(shard.sum.load(Ordering::Relaxed));
            min = min.min(shard.min.load(Ordering::Relaxed));
            max = max.max(shard.max.load(Ordering::Relaxed));
        }
        let zero_if = |value, unset| if value == unset { 0 } else { value };
        Totals { count, sum, min: zero_if(min, i64::MAX), max: zero_if(max, i64::MIN) }
    }

    /// Forgets all values.
    pub fn reset(&self) {
        for shard in self.0.iter() {
            shard.count.store(0, Ordering::Relaxed);
            shard.sum.store(0, Ordering::Relaxed);
            shard.min.store(i64::MAX, Ordering::Relaxed);
            shard.max.store(i64::MIN, Ordering::Relaxed);
        }
    }

    /// Hands `avg_`, `min_`, `max_`, `cnt_` and `sum_<name>` to `sink`.
    pub fn dump(&self, name: &str, sink: &mut dyn FnMut(&str, MetricValue)) {
        let totals = self.totals();
        sink(&format!("avg_{name}"), MetricValue::Double(totals.avg()));
        sink(&format!("min_{name}"), MetricValue::Integer(totals.min));
        sink(&format!("max_{name}"), MetricValue::Integer(totals.max));
        sink(&format!("cnt_{name}"), MetricValue::Integer(totals.count));
        sink(&format!("sum_{name}"), MetricValue::Integer(totals.sum));
    }
}

/// Rounds to four decimals, halves away from zero (Java: `BigDecimal.setScale(4, HALF_UP)`).
pub(crate) fn round_4(value: f64) -> f64 {
    // Formatting rounds the exact decimal expansion, but exact halves to even. A double that lies
    // exactly between two such numbers is a multiple of 1/32, so only those are helped along.
    let is_multiple = (value * 32.0).fract() == 0.0;
    let value = if is_multiple { value + 0.000_01_f64.copysign(value) } else { value };
    format!("{value:.4}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::golden::java_library;
    use crate::common::java_number::java_double;

    #[test]
    fn totals_are_merged_and_reset() {
        let summary = AvgMinMax::default();
        assert_eq!(summary.totals(), Totals::default());
        std::thread::scope(|scope| {
            for value in [3, -1, 7] {
                let summary = &summary;
                scope.spawn(move || summary.add(value));
            }
        });
        let totals = summary.totals();
        assert_eq!(totals, Totals { count: 3, sum: 9, min: -1, max: 7 });
        assert_eq!(totals.avg().to_bits(), 3.0_f64.to_bits());
        summary.reset();
        assert_eq!(summary.totals(), Totals::default());
    }

    #[test]
    fn averages_are_rounded_half_up() {
        for (value, rounded) in [
            (0.031_25, 0.0313),
            (-0.031_25, -0.0313),
            (1.0 / 3.0, 0.3333),
            (2.0 / 3.0, 0.6667),
            (1.5, 1.5),
            (0.0, 0.0),
            (0.000_05, 0.0001),
            (12.031_25, 12.0313),
        ] {
            assert_eq!(round_4(value).to_bits(), f64::to_bits(rounded), "{value}");
        }
    }

    #[test]
    fn averages_of_java_are_reproduced() {
        for (fraction, expected) in java_library("average") {
            let (sum, count) = fraction.split_once('/').unwrap();
            let (sum, count) = (sum.parse().unwrap(), count.parse().unwrap());
            let totals = Totals { count, sum, ..Totals::default() };
            assert_eq!(java_double(totals.avg()), expected, "{fraction}");
        }
    }
}
