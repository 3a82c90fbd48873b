//! One metric per key, for example per first element of the path (Java: `SimpleCounterSet`,
//! `AvgMinMaxCounterSet`, `AvgMinMaxPercentileCounterSet`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{AvgMinMax, Counter, MetricValue, Percentile};

/// What can be kept per key.
pub trait KeyedMetric: Default + Send + Sync {
    /// Adds a value or a count.
    fn add(&self, value: i64);
    /// Forgets all values.
    fn reset(&self);
    /// Hands all values to `sink`.
    fn dump(&self, name: &str, sink: &mut dyn FnMut(&str, MetricValue));
}

impl KeyedMetric for Counter {
    fn add(&self, value: i64) {
        Self::add(self, value);
    }
    fn reset(&self) {
        Self::reset(self);
    }
    fn dump(&self, name: &str, sink: &mut dyn FnMut(&str, MetricValue)) {
        sink(name, MetricValue::Integer(self.get()));
    }
}

impl KeyedMetric for AvgMinMax {
    fn add(&self, value: i64) {
        Self::add(self, value);
    }
    fn reset(&self) {
        Self::reset(self);
    }
    fn dump(&self, name: &str, sink: &mut dyn FnMut(&str, MetricValue)) {
        Self::dump(self, name, sink);
    }
}

impl KeyedMetric for Percentile {
    fn add(&self, value: i64) {
        Self::add(self, value);
    }
    fn reset(&self) {
        Self::reset(self);
    }
    fn dump(&self, name: &str, sink: &mut dyn FnMut(&str, MetricValue)) {
        Self::dump(self, name, sink);
    }
}

/// Metrics by key. Known keys are found without a lock; a new key copies the table, so keys must be
/// few. After [`KEYS_MAX`](Self::KEYS_MAX) keys all further ones share the key `other`: Java goes on
/// for ever, and a client that writes below many first elements would fill its memory.
#[derive(Debug)]
pub struct MetricSet<M> {
    table: ArcSwap<BTreeMap<Box<str>, Arc<M>>>,
    growing: Mutex<()>,
}

/// Counters by key.
pub type CounterSet = MetricSet<Counter>;
/// Summaries by key.
pub type AvgMinMaxSet = MetricSet<AvgMinMax>;
/// Percentile summaries by key.
pub type PercentileSet = MetricSet<Percentile>;

impl<M> Default for MetricSet<M> {
    fn default() -> Self {
        Self { table: ArcSwap::default(), growing: Mutex::new(()) }
    }
}

impl<M: KeyedMetric> MetricSet<M> {
    /// The most keys a set keeps apart.
    pub const KEYS_MAX: usize = 1000;

    /// Adds a value under `key`.
    pub fn add(&self, key: &str, value: i64) {
        if let Some(metric) = self.table.load().get(key) {
            metric.add(value);
            return;
        }
        self.grow(key).add(value);
    }

    fn grow(&self, key: &str) -> Arc<M> {
        let _growing = self.growing.lock();
        let table = self.table.load();
        let key = if table.len() < Self::KEYS_MAX { key } else { "other" };
        if let Some(metric) = table.get(key) {
            return Arc::clone(metric);
        }
        let metric = Arc::new(M::default());
        let mut grown = BTreeMap::clone(&table);
        grown.insert(key.into(), Arc::clone(&metric));
        self.table.store(Arc::new(grown));
        metric
    }

    /// Forgets the values of all keys; the keys stay, as in Java.
    pub fn reset(&self) {
        self.table.load().values().for_each(|metric| metric.reset());
    }

    /// Hands all values to `sink`, under `<key>_<name>`.
    pub fn dump(&self, name: &str, sink: &mut dyn FnMut(&str, MetricValue)) {
        for (key, metric) in self.table.load().iter() {
            metric.dump(&format!("{key}_{name}"), sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<M: KeyedMetric>(set: &MetricSet<M>) -> Vec<String> {
        let mut lines = Vec::new();
        set.dump("x", &mut |key, value| lines.push(format!("{key} {value}")));
        lines
    }

    #[test]
    fn keys_come_before_the_name() {
        let set = CounterSet::default();
        assert_eq!(lines(&set), Vec::<String>::new());
        set.add("b", 2);
        set.add("a", 1);
        set.add("b", 1);
        assert_eq!(lines(&set), ["a_x 1", "b_x 3"]);
        set.reset();
        assert_eq!(lines(&set), ["a_x 0", "b_x 0"]);
        let set = AvgMinMaxSet::default();
        set.add("a", 1);
        assert_eq!(
            lines(&set),
            ["avg_a_x 1.0", "min_a_x 1", "max_a_x 1", "cnt_a_x 1", "sum_a_x 1"]
        );
    }

    #[test]
    fn number_of_keys_is_bounded() {
        let set = CounterSet::default();
        (0..CounterSet::KEYS_MAX + 5).for_each(|key| set.add(&key.to_string(), 1));
        let lines = lines(&set);
        assert_eq!(lines.len(), CounterSet::KEYS_MAX + 1);
        assert!(lines.contains(&"other_x 5".to_owned()));
    }
}
