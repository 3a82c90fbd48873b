//! The configuration: `zoo.cfg`, system properties, the short form of the command line.
//!
//! [`Configuration::from_args`] reads everything once; the server gets a [`ServerConfig`].
//! [`options`] is the table of all keys, for the notes at the start and the documentation.

mod error;
pub mod options;
mod quorum_peer_config;
mod quorum_server;
mod quorum_settings;
mod server_config;
mod surroundings;
mod system_properties;

pub use error::{ConfigError, ConfigErrorKind, USAGE};
pub use options::{ConfigOption, OPTIONS, options_markdown};
pub use quorum_peer_config::{Configuration, parse_config};
pub(crate) use quorum_server::host_and_port;
pub use quorum_server::{LearnerType, QuorumServer, check_roles};
pub use quorum_settings::QuorumSettings;
pub use server_config::{ServerConfig, SnapshotCompression};
pub use system_properties::{SystemProperties, split_words};

#[cfg(test)]
mod tests;
