//! Deletes old snapshots and logs every few hours (`DatadirCleanupManager`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use log::{error, info, warn};

use crate::common::thread::{self, OwnedThread};

/// What a [`DatadirCleanupManager`] runs; an error is logged, and the next run comes in its time.
pub type Purge = dyn Fn() -> Result<(), Box<dyn std::error::Error>> + Send + Sync;

/// Where the purge task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeTaskStatus {
    /// Never started, or switched off by the interval.
    NotStarted,
    /// Its thread runs.
    Started,
    /// It was shut down.
    Completed,
}

/// The timer of the purge task. Dropping it shuts it down.
pub struct DatadirCleanupManager {
    purge: Arc<Purge>,
    interval_hours: i32,
    status: PurgeTaskStatus,
    /// In this order: the thread waits for the sender to be dropped.
    running: Option<(Sender<()>, OwnedThread)>,
}

impl DatadirCleanupManager {
    /// `purge` keeps the newest `snap_retain_count` snapshots (`autopurge.snapRetainCount`, here
    /// only logged); it runs at the start and then every `interval_hours` (`autopurge.purgeInterval`).
    #[must_use]
    pub fn new(purge: Arc<Purge>, snap_retain_count: i32, interval_hours: i32) -> Self {
        info!("autopurge.snapRetainCount set to {snap_retain_count}");
        info!("autopurge.purgeInterval set to {interval_hours}");
        let status = PurgeTaskStatus::NotStarted;
        DatadirCleanupManager { purge, interval_hours, status, running: None }
    }

    /// Starts the thread, unless the interval is 0 or less.
    ///
    /// Errors: the kernel refused the thread.
    pub fn start(&mut self) -> io::Result<()> {
        if self.status == PurgeTaskStatus::Started {
            warn!("Purge task is already running.");
            return Ok(());
        }
        let Some(interval) = interval(self.interval_hours) else {
            info!("Purge task is not scheduled.");
            return Ok(());
        };
        let (stop, stopped) = bounded::<()>(0);
        let purge = Arc::clone(&self.purge);
        let thread = thread::spawn("PurgeTask", thread::COMPRESSING_STACK_BYTES, move || {
            let mut next = std::time::Instant::now();
            loop {
                run(&*purge);
                // At a fixed rate: how long a run takes does not move the next one.
                next += interval;
                if stopped.recv_deadline(next).is_err_and(|error| error.is_disconnected()) {
                    return;
                }
            }
        })?;
        self.running = Some((stop, thread));
        self.status = PurgeTaskStatus::Started;
        Ok(())
    }

    /// Stops the thread, after the run that is under way.
    pub fn shutdown(&mut self) {
        if self.status == PurgeTaskStatus::Started {
            info!("Shutting down purge task.");
            self.running = None;
            self.status = PurgeTaskStatus::Completed;
        } else {
            warn!("Purge task not started. Ignoring shutdown!");
        }
    }

    /// Where the task is in its life.
    #[must_use]
    pub fn purge_task_status(&self) -> PurgeTaskStatus {
        self.status
    }
}

fn interval(hours: i32) -> Option<Duration> {
    u64::try_from(hours)
        .ok()
        .filter(|hours| *hours > 0)
        .map(|hours| Duration::from_secs(hours * 3600))
}

fn run(purge: &Purge) {
    info!("Purge task started.");
    if let Err(error) = purge() {
        error!("Error occurred while purging. {error}");
    }
    info!("Purge task completed.");
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn task_runs_at_the_start_and_ends_on_shutdown() {
        let (ran, runs) = unbounded();
        let purge = move || {
            ran.send(())?;
            Err("disk".into())
        };
        let mut manager = DatadirCleanupManager::new(Arc::new(purge), 3, 1);
        assert_eq!(manager.purge_task_status(), PurgeTaskStatus::NotStarted);
        manager.start().unwrap();
        manager.start().unwrap();
        assert_eq!(manager.purge_task_status(), PurgeTaskStatus::Started);
        assert_eq!(runs.recv(), Ok(()));
        manager.shutdown();
        assert_eq!(manager.purge_task_status(), PurgeTaskStatus::Completed);
        manager.shutdown();
        assert!(runs.is_empty());
    }

    #[test]
    fn task_is_off_without_an_interval() {
        for hours in [0, -1] {
            let mut manager = DatadirCleanupManager::new(Arc::new(|| Ok(())), 3, hours);
            manager.start().unwrap();
            assert_eq!(manager.purge_task_status(), PurgeTaskStatus::NotStarted);
        }
        assert_eq!(interval(24), Some(Duration::from_secs(86_400)));
    }
}
