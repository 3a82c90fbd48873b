//! The records and constants of `zookeeper.jute`, `ZooDefs` and `KeeperException`, declared once.

mod code;
mod create_mode;
mod data;
mod event;
pub mod file;
mod ids;
pub mod messages;
pub mod multi;
mod op_code;
pub mod perms;
pub mod quorum;
pub mod txn;

pub use code::Code;
pub use create_mode::{CreateMode, EphemeralType, ExtendedTypes};
pub use data::{Acl, ClientInfo, Id, Stat, StatPersisted};
pub use event::{AddWatchMode, EventType, KeeperState, WatchedEvent, WatcherType};
pub use ids::{ServerId, SessionId, Zxid};
pub use op_code::OpCode;
pub use txn::{Txn, TxnDigest, TxnHeader, TxnLogEntry};
