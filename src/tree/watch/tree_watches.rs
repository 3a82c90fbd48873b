//! The watches of a `DataTree`: both tables together.

use parking_lot::Mutex;

use super::{WatchManager, WatchSink, WatcherId, WatcherMode, WatchesSummary};
use crate::proto::messages::SetWatches2;
use crate::proto::{Acl, AddWatchMode, EventType, WatcherType, Zxid};
use crate::tree::DataTree;

/// One of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tree) enum Table {
    /// `dataWatches`.
    Data,
    /// `childWatches`.
    Child,
}

/// Both tables and the lists that events use again and again.
#[derive(Debug, Default)]
pub(in crate::tree) struct TreeWatches {
    data: Mutex<WatchManager>,
    child: Mutex<WatchManager>,
    fired: Vec<WatcherId>,
    processed: Vec<WatcherId>,
}

impl TreeWatches {
    /// Somebody watches something.
    pub(in crate::tree) fn is_empty(&mut self) -> bool {
        self.data.get_mut().size() == 0 && self.child.get_mut().size() == 0
    }

    /// An event for one table (`triggerWatch`).
    pub(in crate::tree) fn trigger(
        &mut self,
        table: Table,
        event: EventType,
        path: &str,
        zxid: Zxid,
        acl: &[Acl],
        sink: &mut dyn WatchSink,
    ) {
        let manager = match table {
            Table::Data => &mut self.data,
            Table::Child => &mut self.child,
        };
        manager.get_mut().trigger_watch(path, &mut self.fired);
        if !self.fired.is_empty() {
            sink.triggered(event, self.fired.len());
            sink.deliver(event, path, zxid, acl, &self.fired);
        }
    }

    /// A node was deleted: who sits in both tables is told once.
    pub(in crate::tree) fn trigger_deleted(
        &mut self,
        path: &str,
        zxid: Zxid,
        acl: &[Acl],
        sink: &mut dyn WatchSink,
    ) {
        let event = EventType::NodeDeleted;
        self.trigger(Table::Data, event, path, zxid, acl, sink);
        std::mem::swap(&mut self.fired, &mut self.processed);
        self.child.get_mut().trigger_watch(path, &mut self.fired);
        if self.fired.is_empty() {
            return;
        }
        sink.triggered(event, self.fired.len());
        let processed = &self.processed;
        self.fired.retain(|watcher| processed.binary_search(watcher).is_err());
        if !self.fired.is_empty() {
            sink.deliver(event, path, zxid, acl, &self.fired);
        }
    }
}

/// Watches are set by readers, under a shared guard of the tree; the guard must be held from the
/// read to the registration, or a change between the two is missed. Each method locks a table by
/// itself.
impl DataTree {
    /// A one-shot watch of getData or exists. The node need not exist.
    pub fn add_data_watch(&self, path: &str, watcher: WatcherId) {
        self.watches.data.lock().add_watch(path, watcher, WatcherMode::Standard);
    }

    /// A one-shot watch of getChildren.
    pub fn add_child_watch(&self, path: &str, watcher: WatcherId) {
        self.watches.child.lock().add_watch(path, watcher, WatcherMode::Standard);
    }

    /// A watch of addWatch: a persistent one in both tables, a recursive one in the data table.
    pub fn add_watch(&self, path: &str, watcher: WatcherId, mode: AddWatchMode) {
        self.watches.data.lock().add_watch(path, watcher, mode.into());
        if mode != AddWatchMode::PersistentRecursive {
            self.watches.child.lock().add_watch(path, watcher, mode.into());
        }
    }

    /// The question of checkWatches (`containsWatcher`).
    pub fn contains_watcher(&self, path: &str, kind: WatcherType, watcher: WatcherId) -> bool {
        let in_data = |mode| self.watches.data.lock().contains_watcher(path, watcher, mode);
        let in_child = |mode| self.watches.child.lock().contains_watcher(path, watcher, mode);
        match kind {
            WatcherType::Children => in_child(Some(WatcherMode::Standard)),
            WatcherType::Data => in_data(Some(WatcherMode::Standard)),
            WatcherType::Persistent => in_data(Some(WatcherMode::Persistent)),
            WatcherType::PersistentRecursive => in_data(Some(WatcherMode::PersistentRecursive)),
            WatcherType::Any => in_child(None) || in_data(None),
        }
    }

    /// The work of removeWatches (`removeWatch`); false if there was nothing to remove.
    pub fn remove_watch(&self, path: &str, kind: WatcherType, watcher: WatcherId) -> bool {
        let from_data = |mode| self.watches.data.lock().remove_watch(path, watcher, mode);
        let from_child = |mode| self.watches.child.lock().remove_watch(path, watcher, mode);
        match kind {
            WatcherType::Children => from_child(Some(WatcherMode::Standard)),
            WatcherType::Data => from_data(Some(WatcherMode::Standard)),
            WatcherType::Persistent => {
                let persistent = Some(WatcherMode::Persistent);
                from_child(persistent) | from_data(persistent)
            }
            WatcherType::PersistentRecursive => from_data(Some(WatcherMode::PersistentRecursive)),
            WatcherType::Any => from_child(None) | from_data(None),
        }
    }

    /// Sets the watches of a client that comes back. What happened after its `relative_zxid` is
    /// told through `catch_up` at once, in Java's order, and the watch is then not set. Those
    /// events carry zxid -1.
    pub fn set_watches(
        &self,
        watches: &SetWatches2,
        watcher: WatcherId,
        catch_up: &mut dyn FnMut(EventType, &str),
    ) {
        let since = watches.relative_zxid;
        for path in &watches.data_watches {
            match self.node(path) {
                None => catch_up(EventType::NodeDeleted, path),
                Some(node) if node.stat_persisted().mzxid > since => {
                    catch_up(EventType::NodeDataChanged, path);
                }
                Some(_) => self.add_data_watch(path, watcher),
            }
        }
        for path in &watches.exist_watches {
            match self.node(path) {
                Some(_) => catch_up(EventType::NodeCreated, path),
                None => self.add_data_watch(path, watcher),
            }
        }
        for path in &watches.child_watches {
            match self.node(path) {
                None => catch_up(EventType::NodeDeleted, path),
                Some(node) if node.stat_persisted().pzxid > since => {
                    catch_up(EventType::NodeChildrenChanged, path);
                }
                Some(_) => self.add_child_watch(path, watcher),
            }
        }
        for path in &watches.persistent_watches {
            self.add_watch(path, watcher, AddWatchMode::Persistent);
        }
        for path in &watches.persistent_recursive_watches {
            self.add_watch(path, watcher, AddWatchMode::PersistentRecursive);
        }
    }

    /// Takes out everything of a connection that was closed (`removeCnxn`). Whoever registers a
    /// watch for a connection must look afterwards whether it was closed meanwhile, and call this
    /// again.
    pub fn remove_watcher(&self, watcher: WatcherId) {
        self.watches.data.lock().remove_watcher(watcher);
        self.watches.child.lock().remove_watcher(watcher);
    }

    /// Watches of both tables (`getWatchCount`).
    pub fn watch_count(&self) -> usize {
        self.watches.data.lock().size() + self.watches.child.lock().size()
    }

    /// The numbers of `wchs`: of the data watches.
    pub fn watches_summary(&self) -> WatchesSummary {
        self.watches.data.lock().watches_summary()
    }

    /// Calls `each` for every watcher with the paths of its data watches, for `wchc`. The table is
    /// locked meanwhile.
    pub fn for_each_watcher(&self, each: &mut dyn FnMut(WatcherId, &[&str])) {
        self.watches.data.lock().for_each_watcher(each);
    }

    /// Calls `each` for every path with its data watchers, for `wchp`. The table is locked
    /// meanwhile.
    pub fn for_each_watched_path(&self, each: &mut dyn FnMut(&str, &[WatcherId])) {
        self.watches.data.lock().for_each_path(each);
    }
}
