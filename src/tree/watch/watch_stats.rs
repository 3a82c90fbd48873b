//! `WatchStats` and `WatcherMode`: the kinds of watch that one watcher has on one path.

use crate::proto::AddWatchMode;

/// A kind of watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WatcherMode {
    /// Fires once.
    Standard = 1,
    /// Fires for the path until it is removed.
    Persistent = 2,
    /// Fires for the path and all below it until it is removed.
    PersistentRecursive = 4,
}

impl From<AddWatchMode> for WatcherMode {
    fn from(mode: AddWatchMode) -> WatcherMode {
        match mode {
            AddWatchMode::Persistent => WatcherMode::Persistent,
            AddWatchMode::PersistentRecursive => WatcherMode::PersistentRecursive,
        }
    }
}

/// A set of modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchStats(u8);

impl WatchStats {
    /// No watch.
    pub const NONE: WatchStats = WatchStats(0);

    /// The set with `mode`.
    #[must_use]
    pub fn add_mode(self, mode: WatcherMode) -> WatchStats {
        WatchStats(self.0 | mode as u8)
    }

    /// The set without `mode`.
    #[must_use]
    pub fn remove_mode(self, mode: WatcherMode) -> WatchStats {
        WatchStats(self.0 & !(mode as u8))
    }

    /// `mode` is in the set.
    pub fn has_mode(self, mode: WatcherMode) -> bool {
        self.0 & mode as u8 != 0
    }
}
