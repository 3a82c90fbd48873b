//! `Quotas`, `PathTrie` and `QuotaMetricsUtils`: which subtree has a quota, and where its limits
//! and its usage are kept.
//!
//! The quota of `/a/b` is `/zookeeper/quota/a/b/zookeeper_limits`, its usage `zookeeper_stats`
//! beside it. Each server writes the usage itself while it applies transactions: version, zxids
//! and digest of that node do not move. Of nested quotas only the deepest is kept up to date;
//! [`DataTree`] counts all anew when it loads, as Java does.

mod stats_track;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::DataTree;
use super::data_node::NodeId;
pub use stats_track::{StatsTrack, StatsTrackError};

/// `Quotas.procZookeeper`.
pub const PROC_ZOOKEEPER: &str = "/zookeeper";
/// `Quotas.quotaZookeeper`.
pub const QUOTA_ZOOKEEPER: &str = "/zookeeper/quota";
/// `ZooDefs.CONFIG_NODE`.
pub const CONFIG_NODE: &str = "/zookeeper/config";
/// The name of the node with the limits.
pub const LIMIT_NODE: &str = "zookeeper_limits";
/// The name of the node with the usage.
pub const STAT_NODE: &str = "zookeeper_stats";

/// The node with the limits of `path`.
pub fn limit_path(path: &str) -> String {
    format!("{QUOTA_ZOOKEEPER}{path}/{LIMIT_NODE}")
}

/// The node with the usage of `path`.
pub fn stat_path(path: &str) -> String {
    format!("{QUOTA_ZOOKEEPER}{path}/{STAT_NODE}")
}

/// The first name of a path, by which metrics are kept (`PathUtils.getTopNamespace`).
pub fn top_namespace(path: &str) -> Option<&str> {
    let mut parts = path.trim_end_matches('/').split('/');
    parts.next()?;
    parts.next()
}

/// The paths that have a quota (`PathTrie`; a set serves as well, since only whole names match).
#[derive(Debug, Default)]
pub(super) struct QuotaPaths {
    paths: HashSet<Box<str>>,
}

impl QuotaPaths {
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// `PathTrie.addPath`; a quota of the root has no effect, as there.
    pub(super) fn add(&mut self, path: &str) {
        let path = normalise(path);
        if !path.is_empty() {
            self.paths.insert(path.into());
        }
    }

    /// `PathTrie.deletePath`.
    pub(super) fn remove(&mut self, path: &str) {
        self.paths.remove(&*normalise(path));
    }

    /// The deepest path with a quota that is `path` or above it (`PathTrie.findMaxPrefix`).
    pub(super) fn max_prefix(&self, path: &str) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let path = normalise(path);
        let mut prefix = &*path;
        while !prefix.is_empty() {
            if let Some(found) = self.paths.get(prefix) {
                return Some(found);
            }
            prefix = prefix.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        None
    }
}

/// Compat: `PathTrie.split` leaves out blank names.
fn normalise(path: &str) -> Cow<'_, str> {
    let is_blank = |name: &str| name.chars().all(|letter| letter <= ' ');
    let names = path.strip_prefix('/').unwrap_or(path);
    if path.starts_with('/') && !names.split('/').any(is_blank) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    for name in path.split('/').filter(|name| !is_blank(name)) {
        out.push('/');
        out.push_str(name);
    }
    Cow::Owned(out)
}

/// What a metric shows of the quotas of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaUsage {
    /// `quota_count_limit_per_namespace`; `None` where no quota of the namespace has it.
    pub count_limit: Option<i64>,
    /// `quota_bytes_limit_per_namespace`.
    pub bytes_limit: Option<i64>,
    /// `quota_count_usage_per_namespace`.
    pub count_usage: Option<i64>,
    /// `quota_bytes_usage_per_namespace`.
    pub bytes_usage: Option<i64>,
}

impl DataTree {
    /// The deepest path with a quota that is `path` or above it (`getMaxPrefixWithQuota`).
    pub fn quota_path(&self, path: &str) -> Option<&str> {
        self.quotas.max_prefix(path)
    }

    /// Limits and usage of all quotas, summed up by namespace (`QuotaMetricsUtils`). Limits of -1,
    /// "none", count as such in the sum: Compat.
    pub fn quota_usage(&self) -> BTreeMap<String, QuotaUsage> {
        let mut all: BTreeMap<String, QuotaUsage> = BTreeMap::new();
        let Some(top) = self.nodes.find(QUOTA_ZOOKEEPER) else { return all };
        for id in self.nodes.subtree(top) {
            let node = self.nodes.node(id);
            let is_limit = node.name == LIMIT_NODE;
            if node.child_count() > 0 || !(is_limit || node.name == STAT_NODE) {
                continue;
            }
            let path = self.nodes.path(id);
            let namespace = path.strip_prefix(QUOTA_ZOOKEEPER).and_then(top_namespace);
            let (Some(namespace), Some(data)) = (namespace, node.data.as_deref()) else {
                continue;
            };
            let Ok(track) = StatsTrack::parse(data) else { continue };
            let usage = all.entry(namespace.to_owned()).or_default();
            let add = |to: &mut Option<i64>, value: i64| {
                *to = Some(to.unwrap_or(0).wrapping_add(value));
            };
            if is_limit {
                let hard_or = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
                add(&mut usage.count_limit, hard_or(track.count_hard_limit(), track.count()));
                add(&mut usage.bytes_limit, hard_or(track.byte_hard_limit(), track.bytes()));
            } else {
                add(&mut usage.count_usage, track.count());
                add(&mut usage.bytes_usage, track.bytes());
            }
        }
        all
    }

    /// A node changed by this much: tells the usage of its quota (`updateQuotaStat`).
    pub(super) fn update_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(prefix) = self.quotas.max_prefix(path) else { return };
        let stat_path = stat_path(prefix);
        let Some(id) = self.nodes.find(&stat_path) else {
            log::debug!("Missing node for stat {stat_path}");
            return;
        };
        let data = self.nodes.node(id).data.as_deref().unwrap_or_default();
        // Java would die of a text that is no statistics; anybody with the rights can write one.
        let mut track = StatsTrack::parse(data).unwrap_or_default();
        track.set_count(track.count().wrapping_add(count));
        track.set_bytes(track.bytes().wrapping_add(bytes));
        self.nodes.node_mut(id).data = Some(track.to_string().into_bytes().into());
    }

    /// Counts the subtree at `path` and writes its usage (`updateQuotaForPath`).
    pub(super) fn recount_quota(&mut self, path: &str) {
        let stat_path = stat_path(path);
        let Some(stat_id) = self.nodes.find(&stat_path) else {
            log::warn!("Missing quota stat node {stat_path}");
            return;
        };
        let (mut count, mut bytes) = (0i64, 0i64);
        if let Some(top) = self.nodes.find(path) {
            for id in self.nodes.subtree(top) {
                count += 1;
                bytes += self.nodes.node(id).data_len() as i64;
            }
        }
        let mut track = StatsTrack::default();
        track.set_count(count);
        track.set_bytes(bytes);
        self.nodes.node_mut(stat_id).data = Some(track.to_string().into_bytes().into());
    }

    /// Finds the quotas of a tree that was just loaded and counts what they use (`setupQuota`).
    pub(super) fn setup_quota(&mut self) {
        self.quotas = QuotaPaths::default();
        let Some(top) = self.nodes.find(QUOTA_ZOOKEEPER) else { return };
        let is_limit = |id: &NodeId| {
            let node = self.nodes.node(*id);
            node.name == LIMIT_NODE && node.child_count() == 0
        };
        let limits: Vec<NodeId> = self.nodes.subtree(top).filter(is_limit).collect();
        for id in limits {
            let path = self.nodes.path(id);
            let real = path.strip_prefix(QUOTA_ZOOKEEPER).unwrap_or_default();
            // Compat: traverseNode takes the first occurrence of the name.
            let end = real.find(&format!("/{LIMIT_NODE}")).unwrap_or(real.len());
            let real = real.get(..end).unwrap_or_default();
            if !real.is_empty() {
                self.recount_quota(real);
                self.quotas.add(real);
            }
        }
    }

    /// A node was created below [`QUOTA_ZOOKEEPER`]: it may be one of a quota.
    pub(super) fn quota_node_created(&mut self, parent: &str, name: &str) {
        let Some(real) = parent.strip_prefix(QUOTA_ZOOKEEPER) else { return };
        // For the quota node itself Java dies of an empty path.
        if real.is_empty() {
            return;
        }
        match name {
            LIMIT_NODE => self.quotas.add(real),
            STAT_NODE => self.recount_quota(real),
            _ => {}
        }
    }

    /// A node was deleted: it may be the limits of a quota.
    pub(super) fn quota_node_deleted(&mut self, parent: &str, name: &str) {
        if name == LIMIT_NODE
            && parent.starts_with(PROC_ZOOKEEPER)
            && let Some(real) = parent.get(QUOTA_ZOOKEEPER.len()..)
        {
            self.quotas.remove(real);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_quota_wins() {
        let mut quotas = QuotaPaths::default();
        assert_eq!(quotas.max_prefix("/a/b"), None);
        quotas.add("/a");
        quotas.add("/a/b/c");
        quotas.add("/");
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(quotas.max_prefix(path), expected, "{path}");
        };
        check("/a", Some("/a"));
        check("/a/b", Some("/a"));
        check("/a/b/c", Some("/a/b/c"));
        check("/a/b/c/d", Some("/a/b/c"));
        check("/a/b/cc", Some("/a"));
        check("/ab", None);
        check("/", None);
        check("", None);
        check("foo", None);
        check("//", None);
        check("/a/ /b/c", Some("/a/b/c"));
    }

    #[test]
    fn a_deleted_quota_leaves_those_above_and_below() {
        let mut quotas = QuotaPaths::default();
        quotas.add("/a");
        quotas.add("/a/b");
        quotas.add("/a/b/c");
        quotas.remove("/a/b");
        assert_eq!(quotas.max_prefix("/a/b"), Some("/a"));
        assert_eq!(quotas.max_prefix("/a/b/c"), Some("/a/b/c"));
    }

    #[test]
    fn namespaces_are_first_names() {
        assert_eq!(top_namespace("/a/b"), Some("a"));
        assert_eq!(top_namespace("/a"), Some("a"));
        assert_eq!(top_namespace("/"), None);
        assert_eq!(top_namespace(""), None);
        assert_eq!(top_namespace("foo"), None);
    }
}
