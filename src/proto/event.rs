//! Watch events and the modes of watches.

use super::Code;

/// `Watcher.Event.EventType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "named as in Watcher.Event.EventType")]
pub enum EventType {
    None = -1,
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
}

/// `Watcher.Event.KeeperState`; servers send only `SyncConnected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "named as in Watcher.Event.KeeperState")]
pub enum KeeperState {
    Disconnected = 0,
    SyncConnected = 3,
    AuthFailed = 4,
    ConnectedReadOnly = 5,
    SaslAuthenticated = 6,
    Expired = -112,
    Closed = 7,
}

/// What happened to which node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WatchedEvent {
    /// What happened.
    pub event_type: EventType,
    /// The node's path, as the watcher knows it.
    pub path: String,
}

/// `AddWatchMode`: the mode field of an addWatch request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum AddWatchMode {
    /// Stays after firing; data and child events of the node.
    Persistent = 0,
    /// Stays after firing; data events of the node and all below it.
    PersistentRecursive = 1,
}

impl AddWatchMode {
    /// Unknown modes are an `IllegalArgumentException` in Java, seen as `MarshallingError`.
    pub fn from_i32(mode: i32) -> Result<AddWatchMode, Code> {
        match mode {
            0 => Ok(AddWatchMode::Persistent),
            1 => Ok(AddWatchMode::PersistentRecursive),
            _ => Err(Code::MarshallingError),
        }
    }
}

/// `Watcher.WatcherType`: the type field of checkWatches and removeWatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "named as in Watcher.WatcherType")]
pub enum WatcherType {
    Children = 1,
    Data = 2,
    Any = 3,
    Persistent = 4,
    PersistentRecursive = 5,
}

impl WatcherType {
    /// Unknown types are an `IllegalArgumentException` in Java, seen as `MarshallingError`.
    pub fn from_i32(value: i32) -> Result<WatcherType, Code> {
        Ok(match value {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::PersistentRecursive,
            _ => return Err(Code::MarshallingError),
        })
    }
}
