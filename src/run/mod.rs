//! Programs: what the subcommands of the binary do, with signals and exit codes.

pub mod quorum_peer_main;
mod quorum_roles;
mod service;
mod zookeeper_server_main;
