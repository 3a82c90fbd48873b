//! The clock and the counters that the threads of a run share, and the thread that watches them.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::outcome::Outcome;
use super::usage::Usage;

/// When a run measures, and how far it is.
#[derive(Debug)]
pub struct Control {
    origin: Instant,
    /// Nanoseconds after the origin from which on everything counts.
    pub measure_from: u64,
    /// Nanoseconds after the origin at which no more is sent; `u64::MAX` when a count ends the run.
    pub measure_until: u64,
    /// Operations to do; `u64::MAX` when the clock ends the run.
    count: u64,
    /// Operations given out. Written by all threads; the value alone is what matters.
    taken: AtomicU64,
    /// Operations answered so far, for the progress line only.
    progress: AtomicU64,
}

/// What to watch while a run goes on.
#[derive(Debug, Clone, Default)]
pub struct Watching {
    /// A line every second.
    pub live: bool,
    /// The processes to sample.
    pub pids: Vec<u32>,
}

/// The counts of all threads, and the samples at both ends of the measured time.
#[derive(Debug)]
pub struct Measured {
    /// Of all threads.
    pub outcome: Outcome,
    /// Seconds measured.
    pub seconds: f64,
    /// The server when measuring began and ended.
    pub usage: Option<(Usage, Usage)>,
}

impl Control {
    /// Starts the clock.
    pub fn start(warmup: Duration, duration: Duration, count: Option<u64>) -> Control {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (measure_from, measure_until) = match count {
            Some(_) => (0, u64::MAX),
            None => (nanos(warmup), nanos(warmup).saturating_add(nanos(duration))),
        };
        Control {
            origin: Instant::now(),
            measure_from,
            measure_until,
            count: count.unwrap_or(u64::MAX),
            taken: AtomicU64::new(0),
            progress: AtomicU64::new(0),
        }
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Takes up to `wanted` of the operations that are left.
    pub fn take(&self, wanted: u64) -> u64 {
        if self.count == u64::MAX {
            return wanted;
        }
        let before = self.taken.fetch_add(wanted, Ordering::Relaxed);
        self.count.saturating_sub(before).min(wanted)
    }

    /// True when a count ends the run and all of it was given out.
    pub fn is_used_up(&self) -> bool {
        self.count != u64::MAX && self.taken.load(Ordering::Relaxed) >= self.count
    }

    /// True for what counts.
    pub fn is_measured(&self, at: u64) -> bool {
        (self.measure_from..self.measure_until).contains(&at)
    }

    /// Tells the progress line of answers.
    pub fn progress(&self, answered: u64) {
        self.progress.fetch_add(answered, Ordering::Relaxed);
    }

    /// Runs the workers, each on a thread, and watches them to their end.
    pub fn run<W>(&self, workers: Vec<W>, watching: Watching) -> anyhow::Result<Measured>
    where
        W: FnOnce(&Control) -> Outcome + Send,
    {
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for worker in workers {
                let thread = thread::Builder::new().name("bench".to_owned());
                threads.push(thread.spawn_scoped(scope, move || worker(self))?);
            }
            let sample = || Usage::of_all(&watching.pids);
            let mut before = None;
            let mut after = None;
            let (mut next_line, mut answered) = (1_000_000_000, 0);
            while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                let now = self.now();
                if before.is_none() && now >= self.measure_from {
                    before = sample()?;
                }
                if after.is_none() && now >= self.measure_until {
                    after = sample()?;
                }
                if watching.live && now >= next_line {
                    let total = self.progress.load(Ordering::Relaxed);
                    let phase = if now < self.measure_from { " warm-up" } else { "" };
                    // Progress is a courtesy: a closed standard error ends nothing.
                    let _ = writeln!(
                        std::io::stderr(),
                        "{:>6.0} s {:>12} ops/s{phase}",
                        now as f64 / 1e9,
                        total - answered
                    );
                    answered = total;
                    next_line += 1_000_000_000;
                }
                thread::sleep(Duration::from_nanos(self.next_look(now, next_line)));
            }
            let after = match after {
                Some(after) => Some(after),
                None => sample()?,
            };
            let mut outcome = Outcome::default();
            for thread in threads {
                let part = thread.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
                outcome.add(&part);
            }
            let until = if self.measure_until == u64::MAX {
                outcome.last_answer_ns
            } else {
                self.measure_until
            };
            let seconds = until.saturating_sub(self.measure_from) as f64 / 1e9;
            Ok(Measured { outcome, seconds, usage: before.zip(after) })
        })
    }

    /// How long the watching thread may sleep: to the next border, and not so long that the end
    /// of a run is noticed late.
    fn next_look(&self, now: u64, next_line: u64) -> u64 {
        [self.measure_from, self.measure_until, next_line]
            .into_iter()
            .filter(|border| *border > now)
            .map(|border| border - now)
            .min()
            .unwrap_or(u64::MAX)
            .min(20_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_given_out_once() {
        let control = Control::start(Duration::from_secs(1), Duration::ZERO, Some(10));
        assert_eq!((control.take(8), control.is_used_up()), (8, false));
        assert_eq!((control.take(8), control.is_used_up()), (2, true));
        assert_eq!(control.take(8), 0);
        assert!(control.is_measured(0), "a count has no warm-up");
    }

    #[test]
    fn workers_are_run_and_added_up() {
        let control = Control::start(Duration::ZERO, Duration::from_millis(10), None);
        let worker = |control: &Control| {
            while control.now() < control.measure_until {
                thread::yield_now();
            }
            Outcome { completed: 4, ..Outcome::default() }
        };
        let watching = Watching { live: false, pids: vec![std::process::id()] };
        let measured = control.run(vec![worker, worker], watching).unwrap();
        assert_eq!(measured.outcome.completed, 8);
        assert!((measured.seconds - 0.01).abs() < 1e-9);
        assert!(measured.usage.is_some());
    }
}
