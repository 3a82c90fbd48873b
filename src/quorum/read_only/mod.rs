//! Serving clients that only read while no leader is found (Java: `ReadOnlyZooKeeperServer`,
//! `ReadOnlyRequestProcessor`).

mod read_only_request_processor;
mod read_only_zookeeper_server;

pub use read_only_zookeeper_server::ReadOnlyZooKeeperServer;
