//! Notices when the whole process or machine stood still (Java: `JvmPauseMonitor`): a thread sleeps
//! and measures by how much it overslept. Off by default.
//!
//! Differences: there is no garbage collection to report, and the monotonic clock is used, so that
//! setting the wall clock is no pause.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use log::{info, warn};

use crate::common::config::ServerConfig;
use crate::common::thread::{self, OwnedThread};
use crate::common::time;
use crate::metrics::ServerMetrics;

/// The running monitor; dropping it stops the thread.
#[derive(Debug)]
pub struct PauseMonitor {
    /// Dropped first, which ends the thread's sleep.
    _stop: Sender<()>,
    _thread: OwnedThread,
}

impl PauseMonitor {
    /// Starts the thread `JvmPauseMonitor`, if the configuration asks for it.
    pub fn start(config: &ServerConfig, metrics: &Arc<ServerMetrics>) -> io::Result<Option<Self>> {
        if !config.jvm_pause_monitor {
            return Ok(None);
        }
        let mut pauses = Pauses::new(config);
        // Java's thread ends with an error on negative times and spins on 0.
        let sleep_ms = config.jvm_pause_sleep_time_ms.max(1);
        let metrics = Arc::clone(metrics);
        let (stop, stopped) = bounded::<()>(0);
        let thread = thread::spawn("JvmPauseMonitor", thread::STACK_BYTES, move || {
            info!(
                "Starting JVM Pause Monitor with infoThresholdMs:{} warnThresholdMs:{} and \
                 sleepTimeMs:{sleep_ms}",
                pauses.info_threshold_ms, pauses.warn_threshold_ms
            );
            let sleep = Duration::from_millis(sleep_ms.unsigned_abs());
            loop {
                let start = time::elapsed_ms();
                if stopped.recv_timeout(sleep) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let extra_ms = time::elapsed_ms() - start - sleep_ms;
                if extra_ms >= 0 {
                    metrics.jvm_pause_time_ms.add(extra_ms);
                }
                match pauses.on_wake(extra_ms) {
                    Severity::None => {}
                    Severity::Info => info!("{}", pauses.text(extra_ms)),
                    Severity::Warn => warn!("{}", pauses.text(extra_ms)),
                }
            }
        })?;
        Ok(Some(Self { _stop: stop, _thread: thread }))
    }
}

/// What there is to say about a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    None,
    Info,
    Warn,
}

/// The thresholds, and how often they were exceeded.
#[derive(Debug)]
struct Pauses {
    info_threshold_ms: i64,
    warn_threshold_ms: i64,
    info_count: u64,
    warn_count: u64,
}

impl Pauses {
    fn new(config: &ServerConfig) -> Self {
        Self {
            info_threshold_ms: config.jvm_pause_info_threshold_ms,
            warn_threshold_ms: config.jvm_pause_warn_threshold_ms,
            info_count: 0,
            warn_count: 0,
        }
    }

    fn on_wake(&mut self, extra_ms: i64) -> Severity {
        if extra_ms > self.warn_threshold_ms {
            self.warn_count += 1;
            Severity::Warn
        } else if extra_ms > self.info_threshold_ms {
            self.info_count += 1;
            Severity::Info
        } else {
            Severity::None
        }
    }

    fn text(&self, extra_ms: i64) -> String {
        format!(
            "Detected pause in JVM or host machine (eg GC): pause of approximately {extra_ms} ms, \
             total pause: info level: {}, warn level: {}",
            self.info_count, self.warn_count
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_sorted_by_thresholds() {
        let mut pauses = Pauses::new(&ServerConfig::default());
        let severities = [0, 1000, 1001, 10_000, 10_001].map(|extra| pauses.on_wake(extra));
        let expected =
            [Severity::None, Severity::None, Severity::Info, Severity::Info, Severity::Warn];
        assert_eq!(severities, expected);
        assert!(
            pauses
                .text(7)
                .ends_with("approximately 7 ms, total pause: info level: 2, warn level: 1")
        );
    }

    #[test]
    fn monitor_runs_when_asked_for_and_stops_when_dropped() {
        let metrics = Arc::new(ServerMetrics::default());
        let mut config = ServerConfig { jvm_pause_sleep_time_ms: 1, ..ServerConfig::default() };
        assert!(PauseMonitor::start(&config, &metrics).unwrap().is_none());
        config.jvm_pause_monitor = true;
        let monitor = PauseMonitor::start(&config, &metrics).unwrap().unwrap();
        let deadline = time::elapsed_ms() + 10_000;
        while metrics.jvm_pause_time_ms.summary().totals().count == 0 {
            assert!(time::elapsed_ms() < deadline);
            std::thread::yield_now();
        }
        config.jvm_pause_sleep_time_ms = 3_600_000;
        let sleeping = PauseMonitor::start(&config, &metrics).unwrap();
        drop((monitor, sleeping));
    }
}
