//! Deletes containers that have become empty and TTL nodes that have come of age
//! (`ContainerManager`). Runs on the server that makes transactions: standalone or leader.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{error, info};

use crate::common::config::ServerConfig;
use crate::common::thread::{self, OwnedThread};
use crate::proto::EphemeralType;
use crate::tree::{DataTree, NodeRef};

/// The settings `znode.container.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerSettings {
    /// Time between looks.
    pub check_interval_ms: i32,
    /// How many nodes are deleted per minute at most.
    pub max_per_minute: i32,
    /// Age at which containers that never had children are deleted; 0 means never.
    pub max_never_used_interval_ms: i64,
}

impl From<&ServerConfig> for ContainerSettings {
    fn from(config: &ServerConfig) -> Self {
        ContainerSettings {
            check_interval_ms: config.znode_container_check_interval_ms,
            max_per_minute: config.znode_container_max_per_minute,
            max_never_used_interval_ms: config.znode_container_max_never_used_interval_ms,
        }
    }
}

/// The paths of the nodes to be deleted at `now_ms` (wall clock): empty containers that had
/// children, and TTL nodes whose time is over.
#[must_use]
pub fn candidates(tree: &DataTree, settings: &ContainerSettings, now_ms: i64) -> Vec<String> {
    let is_spent = |node: NodeRef<'_>| Lifetime::of(node).is_spent_container(settings, now_ms);
    let is_expired = |node: NodeRef<'_>| Lifetime::of(node).is_expired_ttl(now_ms);
    let mut paths = tree.containers();
    paths.retain(|path| tree.node(path).is_some_and(is_spent));
    paths.extend(tree.ttls().into_iter().filter(|path| tree.node(path).is_some_and(is_expired)));
    paths
}

/// A container or TTL node, as far as its end is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lifetime {
    child_count: usize,
    ephemeral_type: EphemeralType,
    ephemeral_owner: i64,
    /// As stored: how many children were created.
    cversion: i32,
    mtime_ms: i64,
}

impl Lifetime {
    fn of(node: NodeRef<'_>) -> Lifetime {
        let stat = node.stat_persisted();
        Lifetime {
            child_count: node.child_count(),
            ephemeral_type: node.ephemeral_type(),
            ephemeral_owner: stat.ephemeral_owner,
            cversion: stat.cversion,
            mtime_ms: stat.mtime,
        }
    }

    /// Whether a container is to be deleted: it had children and has none now. One that never had
    /// any is kept for its creator, unless a limit is set.
    fn is_spent_container(&self, settings: &ContainerSettings, now_ms: i64) -> bool {
        let limit_ms = settings.max_never_used_interval_ms;
        self.child_count == 0
            && (self.cversion > 0 || (limit_ms != 0 && self.age_ms(now_ms) > limit_ms))
    }

    /// Whether a node with a time to live is to be deleted: it has no children, and its data was not
    /// set for that time.
    fn is_expired_ttl(&self, now_ms: i64) -> bool {
        let ttl_ms = EphemeralType::ttl_of(self.ephemeral_owner);
        self.child_count == 0
            && self.ephemeral_type == EphemeralType::Ttl
            && ttl_ms != 0
            && self.age_ms(now_ms) > ttl_ms
    }

    fn age_ms(&self, now_ms: i64) -> i64 {
        now_ms.wrapping_sub(self.mtime_ms)
    }
}

/// What a [`ContainerManager`] needs of the server. Called on its thread.
pub trait ContainerServer: Send + Sync {
    /// [`candidates`] of the tree, now.
    fn candidates(&self, settings: &ContainerSettings) -> Vec<String>;

    /// Submits a deleteContainer request (no connection, session 0). The tree decides again when it
    /// is prepared.
    fn post_delete_request(&self, path: &str);
}

/// The running thread. Dropping it stops and joins the thread.
#[derive(Debug)]
pub struct ContainerManager {
    // Declared first, so dropped first: the thread waits for it.
    _stop: Sender<()>,
    _thread: OwnedThread,
}

impl ContainerManager {
    /// Starts the thread; the first look is after one interval.
    ///
    /// Errors: the kernel refused the thread, or the interval is 0 or less (`InvalidInput`; Java
    /// does not start with one either).
    pub fn start(
        settings: ContainerSettings,
        server: Arc<dyn ContainerServer>,
    ) -> io::Result<ContainerManager> {
        info!(
            "Using checkIntervalMs={} maxPerMinute={} maxNeverUsedIntervalMs={}",
            settings.check_interval_ms,
            settings.max_per_minute,
            settings.max_never_used_interval_ms
        );
        let interval = u64::try_from(settings.check_interval_ms)
            .ok()
            .filter(|interval_ms| *interval_ms > 0)
            .map(Duration::from_millis)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "Non-positive period."))?;
        let (stop, stopped) = bounded::<()>(0);
        let body = move || {
            let mut next = Instant::now() + interval;
            while is_running(&stopped, next) && check_containers(&settings, &*server, &stopped) {
                // At a fixed rate, but looks that were missed are not made up for.
                next = (next + interval).max(Instant::now());
            }
        };
        let thread = thread::spawn("ContainerManagerTask", thread::STACK_BYTES, body)?;
        Ok(ContainerManager { _stop: stop, _thread: thread })
    }
}

/// Waits until `deadline`; false if the manager was dropped.
fn is_running(stopped: &Receiver<()>, deadline: Instant) -> bool {
    stopped.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout)
}

/// Posts a deletion for every candidate, no faster than allowed. False if the manager was dropped.
fn check_containers(
    settings: &ContainerSettings,
    server: &dyn ContainerServer,
    stopped: &Receiver<()>,
) -> bool {
    let Some(pause) = pause(settings.max_per_minute) else {
        error!("Error checking containers: maxPerMinute={}", settings.max_per_minute);
        return true;
    };
    for path in server.candidates(settings) {
        let next = Instant::now() + pause;
        info!("Attempting to delete candidate container: {path}");
        server.post_delete_request(&path);
        if !is_running(stopped, next) {
            return false;
        }
    }
    true
}

/// The time between two deletions. None for 0, where Java divides by zero.
fn pause(max_per_minute: i32) -> Option<Duration> {
    let pause_ms = 60_000i64.checked_div(i64::from(max_per_minute))?;
    Some(Duration::from_millis(u64::try_from(pause_ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::proto::txn::{CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn};
    use crate::proto::{Acl, ExtendedTypes, OpCode, SessionId, Txn, TxnHeader, Zxid};
    use crate::tree::{NoWatches, TreeOptions};

    fn settings(max_never_used_interval_ms: i64) -> ContainerSettings {
        ContainerSettings {
            check_interval_ms: 1,
            max_per_minute: 60_000,
            max_never_used_interval_ms,
        }
    }

    fn node(child_count: usize, cversion: i32, ephemeral_owner: i64) -> Lifetime {
        let types = ExtendedTypes { enabled: true, emulate_353: false };
        let ephemeral_type = EphemeralType::of(ephemeral_owner, types);
        Lifetime { child_count, ephemeral_type, ephemeral_owner, cversion, mtime_ms: 1000 }
    }

    #[test]
    fn containers_go_when_their_last_child_has_gone() {
        let check = |child_count, cversion, limit_ms, now_ms, expected| {
            let node = node(child_count, cversion, EphemeralType::CONTAINER_OWNER);
            assert_eq!(node.is_spent_container(&settings(limit_ms), now_ms), expected);
        };
        check(0, 1, 0, 1000, true);
        check(1, 1, 0, 1000, false);
        check(0, 0, 0, i64::MAX, false);
        check(0, 0, 500, 1500, false);
        check(0, 0, 500, 1501, true);
        check(1, 0, 500, 1501, false);
        // The counter of created children wraps.
        check(0, -1, 0, 1000, false);
    }

    #[test]
    fn ttl_nodes_go_when_they_were_not_set_for_their_time() {
        let check = |child_count, ttl, now_ms, expected| {
            let node = node(child_count, 0, EphemeralType::ttl_owner(ttl).unwrap());
            assert_eq!(node.is_expired_ttl(now_ms), expected);
        };
        check(0, 500, 1500, false);
        check(0, 500, 1501, true);
        check(1, 500, 1501, false);
        assert!(!node(0, 0, EphemeralType::CONTAINER_OWNER).is_expired_ttl(i64::MAX));
        assert!(!node(0, 0, 0xff << 56).is_expired_ttl(i64::MAX));
    }

    #[test]
    fn candidates_are_found_in_the_tree() {
        let extended_types = ExtendedTypes { enabled: true, emulate_353: false };
        let mut tree = DataTree::new(TreeOptions { extended_types, ..TreeOptions::default() });
        let mut zxid = 0;
        let mut apply = |txn: Txn, op: OpCode| {
            zxid += 1;
            let header = TxnHeader {
                client_id: SessionId(1),
                cxid: 1,
                zxid: Zxid(zxid),
                time: 1000,
                txn_type: op.as_i32(),
            };
            tree.process_txn(&header, &txn, &mut NoWatches);
        };
        let acl = Acl::open_unsafe;
        for path in ["/spent", "/fresh", "/used"] {
            let (path, parent_cversion) = (path.to_owned(), 1);
            let txn = CreateContainerTxn { path, data: None, acl: acl(), parent_cversion };
            apply(Txn::CreateContainer(txn), OpCode::CreateContainer);
        }
        for (path, ttl) in [("/old", 500), ("/young", 5000), ("/parent", 500)] {
            let (path, parent_cversion) = (path.to_owned(), 1);
            let txn = CreateTtlTxn { path, data: None, acl: acl(), parent_cversion, ttl };
            apply(Txn::CreateTtl(txn), OpCode::CreateTtl);
        }
        for path in ["/spent/child", "/used/child", "/parent/child"] {
            let (path, parent_cversion) = (path.to_owned(), 1);
            let txn = CreateTxn { path, data: None, acl: acl(), ephemeral: false, parent_cversion };
            apply(Txn::Create(txn), OpCode::Create);
        }
        apply(Txn::Delete(DeleteTxn { path: "/spent/child".to_owned() }), OpCode::Delete);
        let check = |limit_ms, now_ms, expected: &[&str]| {
            let mut paths = candidates(&tree, &settings(limit_ms), now_ms);
            paths.sort();
            assert_eq!(paths, expected);
        };
        check(0, 1500, &["/spent"]);
        check(0, 1501, &["/old", "/spent"]);
        check(400, 1501, &["/fresh", "/old", "/spent"]);
    }

    #[test]
    fn deletions_are_spread_over_the_minute() {
        assert_eq!(pause(10_000), Some(Duration::from_millis(6)));
        assert_eq!(pause(100_000), Some(Duration::ZERO));
        assert_eq!(pause(-5), Some(Duration::ZERO));
        assert_eq!(pause(0), None);
    }

    struct Server(Sender<String>);

    impl ContainerServer for Server {
        fn candidates(&self, _settings: &ContainerSettings) -> Vec<String> {
            vec!["/a".to_owned(), "/b".to_owned()]
        }
        fn post_delete_request(&self, path: &str) {
            self.0.send(path.to_owned()).unwrap();
        }
    }

    #[test]
    fn thread_posts_candidates_again_and_again_until_dropped() {
        let (post, posted) = unbounded();
        let manager = ContainerManager::start(settings(0), Arc::new(Server(post))).unwrap();
        let paths: Vec<String> = posted.iter().take(4).collect();
        assert_eq!(paths, ["/a", "/b", "/a", "/b"]);
        drop(manager);
        posted.iter().for_each(drop);
    }

    #[test]
    fn senseless_interval_is_refused() {
        let settings = ContainerSettings { check_interval_ms: 0, ..settings(0) };
        let (post, _posted) = unbounded();
        let refused = ContainerManager::start(settings, Arc::new(Server(post)));
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
    }
}
