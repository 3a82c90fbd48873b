//! Groups of servers with weights: more than half of the groups, each by more than half of its
//! weight (Java: `QuorumHierarchical`).
//!
//! Groups without weight do not count. Sums wrap as in Java. Different from Java: a group that
//! names a server without a weight is an error with a text, not a null pointer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::java_order::hash_map_order;
use super::members::{Members, id_behind_dot, number};
use crate::common::config::ConfigError;
use crate::proto::ServerId;

/// Decides by groups and weights.
#[derive(Debug)]
pub struct QuorumHierarchical {
    members: Members,
    server_weight: BTreeMap<ServerId, i64>,
    server_group: BTreeMap<ServerId, i64>,
    /// The sum of the weights of each group's servers.
    group_weight: BTreeMap<i64, i64>,
    /// Groups that have any weight.
    groups_counted: i64,
}

impl QuorumHierarchical {
    /// Reads the keys `group.N` and `weight.N`.
    pub(super) fn parse(
        entries: &BTreeMap<String, String>,
        members: Members,
    ) -> Result<Self, ConfigError> {
        let mut server_weight = BTreeMap::new();
        let mut server_group = BTreeMap::new();
        let mut groups: i64 = 0;
        for (key, value) in entries {
            if key.starts_with("group") {
                let group = id_behind_dot(key, value)?.0;
                groups += 1;
                // Compat: `String.split` drops empty parts at the end, but not the only one.
                for sid in value.trim_end_matches(':').split(':') {
                    let sid = ServerId(number(sid, key, value)?);
                    if server_group.insert(sid, group).is_some() {
                        return Err(ConfigError::config(format!(
                            "Server {sid}is in multiple groups"
                        )));
                    }
                }
            } else if key.starts_with("weight") {
                server_weight.insert(id_behind_dot(key, value)?, number(value, key, value)?);
            }
        }
        for sid in members.voting.keys() {
            if !server_group.contains_key(sid) {
                return Err(ConfigError::config(format!("Server {sid}is not in a group")));
            }
            server_weight.entry(*sid).or_insert(1);
        }
        let mut group_weight = BTreeMap::new();
        for (sid, group) in &server_group {
            let weight = server_weight.get(sid).ok_or_else(|| {
                ConfigError::config(format!("Server {sid} of group.{group} has no weight"))
            })?;
            let sum: &mut i64 = group_weight.entry(*group).or_default();
            *sum = sum.wrapping_add(*weight);
        }
        let without_weight = group_weight.values().filter(|weight| **weight == 0).count();
        let groups_counted = groups.saturating_sub(without_weight as i64);
        Ok(Self { members, server_weight, server_group, group_weight, groups_counted })
    }

    /// Whom it is about.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    pub(super) fn with_members(&self, members: Members) -> Self {
        Self {
            members,
            server_weight: self.server_weight.clone(),
            server_group: self.server_group.clone(),
            group_weight: self.group_weight.clone(),
            groups_counted: self.groups_counted,
        }
    }

    /// The weight of a server; 0 for one that has none.
    #[must_use]
    pub fn weight(&self, sid: ServerId) -> i64 {
        self.server_weight.get(&sid).copied().unwrap_or_default()
    }

    /// Whether `acks` has the majority in a majority of groups.
    #[must_use]
    pub fn contains_quorum(&self, acks: &BTreeSet<ServerId>) -> bool {
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        for sid in acks {
            let Some(group) = self.server_group.get(sid) else { continue };
            let sum = sums.entry(*group).or_default();
            *sum = sum.wrapping_add(self.weight(*sid));
        }
        let has_majority = |(group, sum): &(&i64, &i64)| {
            self.group_weight.get(*group).is_some_and(|whole| **sum > whole / 2)
        };
        let majorities = sums.iter().filter(has_majority).count() as i64;
        !acks.is_empty() && majorities > self.groups_counted / 2
    }

    pub(super) fn has_same_groups(&self, other: &Self) -> bool {
        self.server_weight == other.server_weight
            && self.server_group == other.server_group
            && self.group_weight == other.group_weight
    }

    /// The lines `group.N` and `weight.N`.
    pub(super) fn write_groups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut servers: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for sid in hash_map_order(self.server_group.keys().map(|sid| sid.0)) {
            if let Some(group) = self.server_group.get(&ServerId(sid)) {
                servers.entry(*group).or_default().push(sid.to_string());
            }
        }
        for group in hash_map_order(servers.keys().copied()) {
            let servers = servers.get(&group).map(|servers| servers.join(":"));
            writeln!(f, "group.{group}={}", servers.unwrap_or_default())?;
        }
        for sid in hash_map_order(self.server_weight.keys().map(|sid| sid.0)) {
            writeln!(f, "weight.{sid}={}", self.weight(ServerId(sid)))?;
        }
        Ok(())
    }
}
