//! The configuration: `zoo.cfg`, system properties, the short form of the command line.

mod server_config;

pub use server_config::{ServerConfig, SnapshotCompression};
