//! Programs: what the subcommands of the binary do, with signals and exit codes.

pub mod zookeeper_server_main;
