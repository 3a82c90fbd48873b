//! Gauges: values read when asked for, from closures of their owners (Java: the gauges of
//! `DefaultMetricsProvider`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::MetricValue;

type Gauge = Arc<dyn Fn() -> Option<MetricValue> + Send + Sync>;
type GaugeSet = Arc<dyn Fn() -> Vec<(String, MetricValue)> + Send + Sync>;

/// The registered gauges. They belong to a server role and go with it.
#[derive(Default)]
pub struct Gauges {
    single: Mutex<BTreeMap<&'static str, Gauge>>,
    sets: Mutex<BTreeMap<&'static str, GaugeSet>>,
}

impl Gauges {
    /// Registers a gauge, or replaces the one of this name. `read` is called by whoever asks for
    /// metrics, without any lock held here; with `None` the gauge is left out.
    pub fn register(
        &self,
        name: &'static str,
        read: impl Fn() -> Option<MetricValue> + Send + Sync + 'static,
    ) {
        self.single.lock().insert(name, Arc::new(read));
    }

    /// Registers a gauge that always has an integer.
    pub fn register_integer(
        &self,
        name: &'static str,
        read: impl Fn() -> i64 + Send + Sync + 'static,
    ) {
        self.register(name, move || Some(MetricValue::Integer(read())));
    }

    /// Registers a set of gauges, printed as `<key>_<name>`.
    pub fn register_set(
        &self,
        name: &'static str,
        read: impl Fn() -> Vec<(String, MetricValue)> + Send + Sync + 'static,
    ) {
        self.sets.lock().insert(name, Arc::new(read));
    }

    /// Drops the closures and what they hold.
    pub fn clear(&self) {
        // Dropped outside the locks: a closure may hold the last reference to something big.
        let _gone = std::mem::take(&mut *self.single.lock());
        let _gone = std::mem::take(&mut *self.sets.lock());
    }

    /// The names of all gauges and sets, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.single.lock().keys().copied().collect();
        names.extend(self.sets.lock().keys());
        names.sort_unstable();
        names
    }

    /// Hands all values to `sink`.
    pub fn dump(&self, sink: &mut dyn FnMut(&str, MetricValue)) {
        // Copied, because closures may take locks of a lower rank.
        let single: Vec<_> = self.single.lock().iter().map(|(n, g)| (*n, Arc::clone(g))).collect();
        for (name, gauge) in single {
            if let Some(value) = gauge() {
                sink(name, value);
            }
        }
        let sets: Vec<_> = self.sets.lock().iter().map(|(n, g)| (*n, Arc::clone(g))).collect();
        for (name, set) in sets {
            for (key, value) in set() {
                sink(&format!("{key}_{name}"), value);
            }
        }
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauges").field(&self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_read_when_asked_for_and_go_with_their_owner() {
        let gauges = Gauges::default();
        gauges.register_integer("b", || 1);
        gauges.register_integer("b", || 2);
        gauges.register("a", || Some(MetricValue::Double(0.0)));
        gauges.register("absent", || None);
        gauges.register_set("s", || vec![("k".to_owned(), MetricValue::Integer(3))]);
        let mut lines = Vec::new();
        gauges.dump(&mut |key, value| lines.push(format!("{key} {value}")));
        assert_eq!(lines, ["a 0.0", "b 2", "k_s 3"]);
        assert_eq!(gauges.names(), ["a", "absent", "b", "s"]);
        gauges.clear();
        assert_eq!(gauges.names(), Vec::<&str>::new());
    }
}
