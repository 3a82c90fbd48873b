//! What one thread of the generator, or all of them together, has counted.

use hdrhistogram::Histogram;

use crate::proto::Code;

/// Latencies are kept in nanoseconds with three digits, up to an hour.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3);
        Latencies(histogram.expect("the bounds are constants that the histogram takes"))
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Latencies) {
        // Same bounds, so it always fits.
        let _ = self.0.add(&other.0);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds that so many in a hundred did not exceed.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1000.0
    }

    /// The longest, in microseconds.
    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    /// The mean, in microseconds.
    pub fn mean_us(&self) -> f64 {
        self.0.mean() / 1000.0
    }
}

/// Counts of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Operations answered within the measured time.
    pub completed: u64,
    /// Operations answered with an error, at any time.
    pub errors: u64,
    /// The code of the first of them.
    pub first_error: Option<i32>,
    /// Operations never answered.
    pub unanswered: u64,
    /// Sessions whose connection broke.
    pub sessions_lost: u64,
    /// Why the first of them broke.
    pub first_loss: Option<String>,
    /// Latencies of what started within the measured time.
    pub latencies: Latencies,
    /// Latencies of parts of an operation.
    pub parts: Vec<(&'static str, Latencies)>,
    /// The longest time without any answer.
    pub stall_max_ns: u64,
    /// CPU time of the generator's threads within the measured time.
    pub generator_cpu_ns: u64,
    /// When the last answer came.
    pub last_answer_ns: u64,
}

impl Outcome {
    /// Adds what another thread has counted.
    pub fn add(&mut self, other: &Outcome) {
        self.completed += other.completed;
        self.errors += other.errors;
        self.first_error = self.first_error.or(other.first_error);
        self.unanswered += other.unanswered;
        self.sessions_lost += other.sessions_lost;
        self.first_loss = self.first_loss.take().or_else(|| other.first_loss.clone());
        self.latencies.add(&other.latencies);
        for (name, latencies) in &other.parts {
            self.part(name).add(latencies);
        }
        self.stall_max_ns = self.stall_max_ns.max(other.stall_max_ns);
        self.generator_cpu_ns += other.generator_cpu_ns;
        self.last_answer_ns = self.last_answer_ns.max(other.last_answer_ns);
    }

    /// The latencies of a part of the operation.
    pub fn part(&mut self, name: &'static str) -> &mut Latencies {
        let index = match self.parts.iter().position(|(found, _)| *found == name) {
            Some(index) => index,
            None => {
                self.parts.push((name, Latencies::default()));
                self.parts.len() - 1
            }
        };
        &mut self.parts[index].1
    }

    /// Counts an answer with an error code.
    pub fn error(&mut self, err: i32) {
        self.errors += 1;
        self.first_error = self.first_error.or(Some(err));
    }

    /// Counts a broken connection.
    pub fn lost(&mut self, why: &dyn std::fmt::Display) {
        self.sessions_lost += 1;
        self.first_loss.get_or_insert_with(|| why.to_string());
    }

    /// What went wrong, in words; `None` when nothing did.
    pub fn trouble(&self) -> Option<String> {
        let mut words = Vec::new();
        if self.errors > 0 {
            let name = match self.first_error.and_then(Code::from_i32) {
                Some(code) => code.to_string(),
                None => format!("{:?}", self.first_error.unwrap_or_default()),
            };
            words.push(format!("{} errors, the first {name}", self.errors));
        }
        if self.unanswered > 0 {
            words.push(format!("{} requests without an answer", self.unanswered));
        }
        if self.sessions_lost > 0 {
            let why = self.first_loss.as_deref().unwrap_or("");
            words.push(format!("{} sessions lost, the first: {why}", self.sessions_lost));
        }
        (!words.is_empty()).then(|| words.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_microseconds() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000u64 {
            latencies.record(micros * 1000);
        }
        assert!((latencies.percentile_us(50.0) - 500.0).abs() < 1.0);
        assert!((latencies.percentile_us(99.9) - 999.0).abs() < 2.0);
        assert!((latencies.max_us() - 1000.0).abs() < 2.0);
        assert!((latencies.mean_us() - 500.5).abs() < 1.0);
    }

    #[test]
    fn an_endless_latency_is_kept_at_the_bound() {
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.max_us() >= 3.5e9);
    }

    #[test]
    fn threads_add_up() {
        let mut one = Outcome { completed: 2, stall_max_ns: 5, ..Outcome::default() };
        one.part("open").record(10);
        let mut two = Outcome { completed: 3, ..Outcome::default() };
        two.error(-101);
        two.lost(&"gone");
        two.part("open").record(20);
        one.add(&two);
        assert_eq!((one.completed, one.errors, one.stall_max_ns), (5, 1, 5));
        assert_eq!(one.part("open").count(), 2);
        assert_eq!(
            one.trouble().unwrap(),
            "1 errors, the first NONODE (-101); 1 sessions lost, the first: gone"
        );
        assert_eq!(Outcome::default().trouble(), None);
    }
}
