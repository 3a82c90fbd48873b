//! More than half of the voters (Java: `QuorumMaj`).

use std::collections::BTreeSet;

use super::members::Members;
use crate::proto::ServerId;

/// Decides by number.
#[derive(Debug)]
pub struct QuorumMaj {
    members: Members,
}

impl QuorumMaj {
    /// A majority of the voters among `members`.
    #[must_use]
    pub const fn new(members: Members) -> Self {
        Self { members }
    }

    /// Whom it is about.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Whether `acks` is more than half. Only voters may be in it.
    #[must_use]
    pub fn contains_quorum(&self, acks: &BTreeSet<ServerId>) -> bool {
        acks.len() > self.members.voting.len() / 2
    }
}
