//! Who belongs to the ensemble, and which sets of servers decide (Java: package `flexible`).
//!
//! An enum instead of Java's class hierarchy. A verifier never changes; a new configuration is a
//! new one. Its text form is what the config znode, NEWLEADER and notifications carry:
//! [`QuorumVerifier::from_config_text`] and `Display`.

mod hierarchical;
mod java_order;
mod maj;
mod members;
mod oracle_maj;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use hierarchical::QuorumHierarchical;
pub use maj::QuorumMaj;
pub use members::Members;
pub use oracle_maj::{FileOracle, Oracle, QuorumOracleMaj};

use crate::common::config::{ConfigError, QuorumServer, check_roles};
use crate::common::properties;
use crate::proto::ServerId;

/// What a configuration's text does not say itself.
#[derive(Clone, Default)]
pub struct VerifierOptions {
    /// `multiAddress.enabled`.
    pub multi_address_enabled: bool,
    /// `standaloneEnabled`: a single participant is then no error, but no ensemble either.
    pub standalone_enabled: bool,
    /// `oraclePath`; if set the verifier is [`QuorumOracleMaj`].
    pub oracle: Option<Arc<dyn Oracle>>,
}

impl fmt::Debug for VerifierOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierOptions")
            .field("multi_address_enabled", &self.multi_address_enabled)
            .field("standalone_enabled", &self.standalone_enabled)
            .field("has_oracle", &self.oracle.is_some())
            .finish()
    }
}

/// A configuration of the ensemble.
#[derive(Debug)]
pub enum QuorumVerifier {
    /// More than half of the voters.
    Maj(QuorumMaj),
    /// More than half of the groups, each by more than half of its weight.
    Hierarchical(QuorumHierarchical),
    /// Two voters and an oracle that stands in for a lost one.
    OracleMaj(QuorumOracleMaj),
}

impl QuorumVerifier {
    /// Reads the keys `server.N`, `group.N`, `weight.N` and `version`; other keys do not count
    /// (Java: `createQuorumVerifier`).
    pub fn parse(
        entries: &BTreeMap<String, String>,
        options: &VerifierOptions,
    ) -> Result<Self, ConfigError> {
        let members = Members::parse(entries, options.multi_address_enabled)?;
        if let Some(oracle) = &options.oracle {
            return Ok(Self::OracleMaj(QuorumOracleMaj::new(members, Arc::clone(oracle))));
        }
        let is_hierarchical =
            entries.keys().any(|key| key.starts_with("group") || key.starts_with("weight"));
        if is_hierarchical {
            return QuorumHierarchical::parse(entries, members).map(Self::Hierarchical);
        }
        Ok(Self::Maj(QuorumMaj::new(members)))
    }

    /// Reads a whole configuration as it is sent between servers (Java: `configFromString`).
    /// Foreign keys and sets of members that cannot work are errors.
    pub fn from_config_text(text: &str, options: &VerifierOptions) -> Result<Self, ConfigError> {
        let entries = properties::load_text(text)
            .map_err(|error| ConfigError::config(error.to_string()))?
            .into_iter()
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect::<BTreeMap<_, _>>();
        let is_known = |key: &&String| {
            ["group", "weight", "server."].iter().any(|prefix| key.starts_with(prefix))
                || *key == "version"
        };
        if let Some(key) = entries.keys().find(|key| !is_known(key)) {
            return Err(ConfigError::config(format!("Unrecognised parameter: {key}")));
        }
        let verifier = Self::parse(&entries, options)?;
        verifier.check(options.standalone_enabled)?;
        Ok(verifier)
    }

    /// Refuses what Java refuses of any configuration (Java: the end of `parseDynamicConfig`).
    pub fn check(&self, standalone_enabled: bool) -> Result<(), ConfigError> {
        let has_observers = !self.observing_members().is_empty();
        check_roles(self.voting_members().len(), has_observers, standalone_enabled)
    }

    /// A majority of `servers`. For tests and for configurations that are computed.
    #[must_use]
    pub fn majority(servers: impl IntoIterator<Item = QuorumServer>, version: i64) -> Self {
        Self::Maj(QuorumMaj::new(Members::new(servers, version)))
    }

    fn members(&self) -> &Members {
        match self {
            Self::Maj(maj) => maj.members(),
            Self::Hierarchical(hierarchical) => hierarchical.members(),
            Self::OracleMaj(oracle) => oracle.members(),
        }
    }

    /// Whether `acks` decides. Only voters may be in it; the oracle may be asked, which reads its
    /// file.
    #[must_use]
    pub fn contains_quorum(&self, acks: &BTreeSet<ServerId>) -> bool {
        match self {
            Self::Maj(maj) => maj.contains_quorum(acks),
            Self::Hierarchical(hierarchical) => hierarchical.contains_quorum(acks),
            Self::OracleMaj(oracle) => oracle.contains_quorum(acks),
        }
    }

    /// The participants.
    #[must_use]
    pub fn voting_members(&self) -> &BTreeMap<ServerId, QuorumServer> {
        &self.members().voting
    }

    /// The observers.
    #[must_use]
    pub fn observing_members(&self) -> &BTreeMap<ServerId, QuorumServer> {
        &self.members().observing
    }

    /// Everybody.
    #[must_use]
    pub fn all_members(&self) -> &BTreeMap<ServerId, QuorumServer> {
        &self.members().all
    }

    /// The zxid of the transaction that made this the configuration; 0 for one from a file.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.members().version
    }

    /// The weight of a server's vote: 1, or what the groups say. A server of weight 0 cannot become
    /// leader. Different from Java: one without a weight has weight 0 instead of being an error.
    #[must_use]
    pub fn weight(&self, sid: ServerId) -> i64 {
        match self {
            Self::Maj(_) | Self::OracleMaj(_) => 1,
            Self::Hierarchical(hierarchical) => hierarchical.weight(sid),
        }
    }

    /// The same configuration under another version (Java: `setVersion`).
    #[must_use]
    pub fn with_version(&self, version: i64) -> Self {
        let members = Members { version, ..self.members().clone() };
        match self {
            Self::Maj(_) => Self::Maj(QuorumMaj::new(members)),
            Self::Hierarchical(hierarchical) => {
                Self::Hierarchical(hierarchical.with_members(members))
            }
            Self::OracleMaj(oracle) => {
                Self::OracleMaj(QuorumOracleMaj::new(members, Arc::clone(oracle.oracle())))
            }
        }
    }

    /// The oracle part, if there is one.
    #[must_use]
    pub fn oracle(&self) -> Option<&QuorumOracleMaj> {
        match self {
            Self::OracleMaj(oracle) => Some(oracle),
            Self::Maj(_) | Self::Hierarchical(_) => None,
        }
    }

    /// Notes whether the leader has any follower left, and says whether the oracle is to be asked
    /// from now on (Java: `updateNeedOracle`).
    pub fn update_need_oracle(&self, has_followers: bool) -> bool {
        self.oracle().is_some_and(|oracle| oracle.update_need_oracle(has_followers))
    }

    /// Whether the oracle is to be asked (Java: `getNeedOracle`).
    #[must_use]
    pub fn needs_oracle(&self) -> bool {
        self.oracle().is_some_and(QuorumOracleMaj::needs_oracle)
    }

    /// What the oracle says now; false without one (Java: `askOracle`).
    #[must_use]
    pub fn ask_oracle(&self) -> bool {
        self.oracle().is_some_and(QuorumOracleMaj::ask_oracle)
    }

    /// Whether a leader that has lost its quorum may go on (Java: `overrideQuorumDecision`).
    pub fn override_quorum_decision(&self, has_followers: bool) -> bool {
        self.update_need_oracle(has_followers) && self.ask_oracle()
    }

    /// Whether the verifier lets an election end that had a quorum with the oracle's help, once a
    /// wait has run out (Java: `revalidateVoteset`).
    #[must_use]
    pub fn revalidates_voteset(&self, has_all_quorums: bool, has_timed_out: bool) -> bool {
        self.oracle().is_some() && has_all_quorums && has_timed_out
    }

    /// Whether the leader has to look at its outstanding proposals again after the oracle was asked:
    /// they may have become committed without a further acknowledgement (Java:
    /// `revalidateOutstandingProp`).
    #[must_use]
    pub fn revalidates_outstanding_proposals(&self) -> bool {
        self.oracle().is_some()
    }

    /// Java's `equals`: the same kind, and the same version or the same content.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let is_same_content = match (self, other) {
            (Self::Maj(_), Self::Maj(_) | Self::OracleMaj(_))
            | (Self::OracleMaj(_), Self::OracleMaj(_)) => true,
            (Self::Hierarchical(a), Self::Hierarchical(b)) => {
                a.has_same_groups(b) || a.members().version == b.members().version
            }
            _ => return false,
        };
        self.version() == other.version()
            || (is_same_content && self.all_members() == other.all_members())
    }
}

/// Java's text: the servers, for a hierarchy the groups and weights, and the version without a
/// newline behind it.
impl fmt::Display for QuorumVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.members().write_servers(f)?;
        if let Self::Hierarchical(hierarchical) = self {
            hierarchical.write_groups(f)?;
        }
        write!(f, "version={:x}", self.version())
    }
}
