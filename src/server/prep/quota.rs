//! `ZooKeeperServer.checkQuota`: limits on the number of nodes and bytes below a path.
//!
//! Compat: usage is what the applied tree says; outstanding changes are not counted, so that a
//! pipeline of creates may go over a hard limit by its length.

use super::Preparation;
use crate::common::path_utils::top_namespace;
use crate::jute::Buffer;
use crate::proto::Code;
use crate::tree::quotas::{self, StatsTrack};

impl Preparation<'_, '_, '_> {
    /// Judges a node that gets `data` instead of `old_len` bytes; a new one when that is `None`. A
    /// soft limit only warns, a hard one is `QuotaExceeded`.
    pub(super) fn check_quota(
        &mut self,
        path: &str,
        old_len: Option<usize>,
        data: &Buffer,
    ) -> Result<(), Code> {
        if !self.context.state.options.enforce_quota {
            return Ok(());
        }
        let tree = self.context.tree;
        let Some(prefix) = tree.quota_path(path) else { return Ok(()) };
        let new_len = data.as_ref().map_or(0, |data| data.len());
        let bytes_diff = new_len as i64 - old_len.unwrap_or(0) as i64;
        let count_diff = i64::from(old_len.is_none());

        let limits = self.stats_track(&quotas::limit_path(prefix))?;
        let Some(limits) = limits else { return Ok(()) };
        let count_limit = Limit::of(limits.count_hard_limit(), limits.count());
        let bytes_limit = Limit::of(limits.byte_hard_limit(), limits.bytes());
        let count_limit = count_limit.filter(|_| count_diff != 0);
        let bytes_limit = bytes_limit.filter(|_| bytes_diff != 0);
        if count_limit.is_none() && bytes_limit.is_none() {
            return Ok(());
        }
        let usage = self.stats_track(&quotas::stat_path(prefix))?;
        let Some(usage) = usage else { return Ok(()) };
        if let Some(limit) = count_limit {
            self.check_limit(path, prefix, "count", limit, usage.count(), count_diff)?;
        }
        if let Some(limit) = bytes_limit {
            self.check_limit(path, prefix, "bytes", limit, usage.bytes(), bytes_diff)?;
        }
        Ok(())
    }

    /// The limits or usage that a quota node holds. A text that is none makes every write below
    /// fail with `MarshallingError`, as the exception does in Java.
    fn stats_track(&self, path: &str) -> Result<Option<StatsTrack>, Code> {
        let Some(node) = self.context.tree.node(path) else {
            log::error!("Missing quota node {path}");
            return Ok(None);
        };
        let data = node.data().as_deref().ok_or(Code::MarshallingError)?;
        StatsTrack::parse(data).map(Some).map_err(|_| Code::MarshallingError)
    }

    fn check_limit(
        &mut self,
        path: &str,
        prefix: &str,
        what: &str,
        limit: Limit,
        usage: i64,
        diff: i64,
    ) -> Result<(), Code> {
        let usage = usage.wrapping_add(diff);
        if usage <= limit.value {
            return Ok(());
        }
        let kind = if limit.is_hard { "hard" } else { "soft" };
        let unit = if what == "count" { "Count" } else { "Byte" };
        let message = format!(
            "Quota exceeded: {prefix} [current {what}={usage}, {kind}{unit}Limit={}]",
            limit.value
        );
        self.context.state.quota_log.rate_limit_log(self.context.elapsed_ms, message);
        if !limit.is_hard {
            return Ok(());
        }
        if let Some(namespace) = top_namespace(path) {
            self.context.metrics.quota_exceeded_error_per_namespace.add(namespace, 1);
        }
        Err(Code::QuotaExceeded)
    }
}

#[derive(Clone, Copy)]
struct Limit {
    value: i64,
    is_hard: bool,
}

impl Limit {
    /// The limit that counts: the hard one before the soft one; -1 is none.
    fn of(hard: i64, soft: i64) -> Option<Limit> {
        if hard > -1 {
            Some(Limit { value: hard, is_hard: true })
        } else {
            (soft > -1).then_some(Limit { value: soft, is_hard: false })
        }
    }
}

/// `RateLogger`: a message that repeats is counted, and logged every 100 ms at most.
#[derive(Debug, Default)]
pub(super) struct QuotaLog {
    message: Option<String>,
    repeats: u32,
    logged_at_ms: i64,
}

impl QuotaLog {
    const INTERVAL_MS: i64 = 100;

    fn rate_limit_log(&mut self, now_ms: i64, message: String) {
        let is_repeat = self.message.as_ref() == Some(&message);
        if is_repeat {
            self.repeats += 1;
            if now_ms.saturating_sub(self.logged_at_ms) < Self::INTERVAL_MS {
                return;
            }
        }
        match (&self.message, self.repeats) {
            (Some(last), 1) => log::warn!("Message: {last}"),
            (Some(last), times) if times > 1 => log::warn!("[{times} times] Message: {last}"),
            _ => {}
        }
        self.repeats = 0;
        self.logged_at_ms = now_ms;
        if !is_repeat {
            log::warn!("Message: {message}");
        }
        self.message = Some(message);
    }
}
