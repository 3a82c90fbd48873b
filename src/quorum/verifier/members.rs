//! The members of a configuration, by role: what all verifiers have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::java_order::hash_map_order;
use crate::common::config::{ConfigError, QuorumServer};
use crate::common::java_number::parse_long;
use crate::proto::ServerId;

/// The members of a configuration and its version.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// Everybody.
    pub all: BTreeMap<ServerId, QuorumServer>,
    /// The participants.
    pub voting: BTreeMap<ServerId, QuorumServer>,
    /// The observers.
    pub observing: BTreeMap<ServerId, QuorumServer>,
    /// The zxid of the transaction that made it; 0 for one from a file.
    pub version: i64,
}

impl Members {
    /// Sorts `servers` by role.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = QuorumServer>, version: i64) -> Self {
        let mut members = Self { version, ..Self::default() };
        for server in servers {
            let by_role =
                if server.is_participant() { &mut members.voting } else { &mut members.observing };
            by_role.insert(server.id, server.clone());
            members.all.insert(server.id, server);
        }
        members
    }

    /// Reads the keys `server.N` and `version`.
    pub(super) fn parse(
        entries: &BTreeMap<String, String>,
        multi_address_enabled: bool,
    ) -> Result<Self, ConfigError> {
        let mut servers = Vec::new();
        let mut version = 0;
        for (key, value) in entries {
            if key.starts_with("server.") {
                let id = id_behind_dot(key, value)?;
                servers.push(QuorumServer::parse(id, value, multi_address_enabled)?);
            } else if key == "version" {
                version =
                    i64::from_str_radix(value, 16).map_err(|_| not_a_number(value, key, value))?;
            }
        }
        Ok(Self::new(servers, version))
    }

    /// The ids of the voters.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<ServerId> {
        self.voting.keys().copied().collect()
    }

    pub(super) fn write_servers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in hash_map_order(self.all.keys().map(|id| id.0)) {
            if let Some(server) = self.all.get(&ServerId(id)) {
                writeln!(f, "server.{id}={server}")?;
            }
        }
        Ok(())
    }
}

/// The number behind the first dot of a key.
pub(super) fn id_behind_dot(key: &str, value: &str) -> Result<ServerId, ConfigError> {
    let id = key.split_once('.').map_or(key, |(_, id)| id);
    number(id, key, value).map(ServerId)
}

pub(super) fn number(text: &str, key: &str, value: &str) -> Result<i64, ConfigError> {
    parse_long(text).ok_or_else(|| not_a_number(text, key, value))
}

fn not_a_number(text: &str, key: &str, value: &str) -> ConfigError {
    ConfigError::config(format!("{key}={value}: {text} is not a number"))
}
