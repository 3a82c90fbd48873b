//! `LearnerSyncThrottler`: how many learners are brought up to date at once.
//!
//! Only observers are refused: followers are needed for the quorum, but count.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// What is throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncType {
    /// DIFF and TRUNC.
    Diff,
    /// SNAP.
    Snap,
}

/// The limit was reached (`SyncThrottleException`).
#[derive(Debug, thiserror::Error)]
#[error(
    "new {} sync would make {in_progress} concurrent {} syncs, maximum is {max}",
    match kind { SyncType::Diff => "diff", SyncType::Snap => "snapshot" },
    match kind { SyncType::Diff => "diff", SyncType::Snap => "snapshot" },
)]
pub struct SyncThrottleError {
    kind: SyncType,
    in_progress: i32,
    max: i32,
}

/// Counts the synchronisations under way.
#[derive(Debug)]
pub struct LearnerSyncThrottler {
    kind: SyncType,
    max: i32,
    in_progress: AtomicI32,
}

impl LearnerSyncThrottler {
    /// At most `max` at once, at least 1.
    pub fn new(kind: SyncType, max: i32) -> Arc<LearnerSyncThrottler> {
        Arc::new(LearnerSyncThrottler { kind, max: max.max(1), in_progress: AtomicI32::new(0) })
    }

    /// Begins one, which lasts until what is returned is dropped. An essential one is never refused.
    pub fn begin_sync(self: &Arc<Self>, is_essential: bool) -> Result<SyncSlot, SyncThrottleError> {
        let slot = SyncSlot(Arc::clone(self));
        let in_progress = self.in_progress.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if is_essential || in_progress <= self.max {
            return Ok(slot);
        }
        Err(SyncThrottleError { kind: self.kind, in_progress, max: self.max })
    }

    /// How many are under way.
    pub fn sync_in_progress(&self) -> i32 {
        self.in_progress.load(Ordering::Relaxed)
    }
}

/// A synchronisation under way.
#[derive(Debug)]
pub struct SyncSlot(Arc<LearnerSyncThrottler>);

impl Drop for SyncSlot {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_essential_is_refused() {
        let throttler = LearnerSyncThrottler::new(SyncType::Diff, 2);
        let first = throttler.begin_sync(false).unwrap();
        let _second = throttler.begin_sync(true).unwrap();
        let _third = throttler.begin_sync(true).unwrap();
        let error = throttler.begin_sync(false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "new diff sync would make 4 concurrent diff syncs, maximum is 2"
        );
        assert_eq!(throttler.sync_in_progress(), 3);
        drop(first);
        assert!(throttler.begin_sync(false).is_err());
        assert_eq!(throttler.sync_in_progress(), 2);
    }
}
