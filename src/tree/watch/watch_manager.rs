//! `WatchManager`: one table of watches, by path and by watcher.
//!
//! A million watches must fit: paths are kept once and have numbers, a path with one watcher needs
//! no set, and a watcher's set holds numbers. Java's `WatchManagerOptimized` trades features for
//! memory; there is no need for it here.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState as FastState;
use foldhash::quality::RandomState;
use hashbrown::{HashSet, HashTable};

use super::{PathParentIterator, WatchStats, WatcherId, WatcherMode, WatchesSummary};

/// The number of a path in the table.
type PathId = u32;

/// The watchers of a path with the modes of each.
#[derive(Debug, Default)]
enum Watchers {
    #[default]
    None,
    One(WatcherId, WatchStats),
    #[expect(clippy::box_collection, reason = "most paths have one watcher: 16 bytes, not 48")]
    Many(Box<HashMap<WatcherId, WatchStats, FastState>>),
}

impl Watchers {
    fn get(&self, watcher: WatcherId) -> WatchStats {
        match self {
            Watchers::One(only, stats) if *only == watcher => *stats,
            Watchers::Many(all) => all.get(&watcher).copied().unwrap_or_default(),
            _ => WatchStats::NONE,
        }
    }

    /// Sets the modes of a watcher; `NONE` takes it out.
    fn set(&mut self, watcher: WatcherId, stats: WatchStats) {
        match self {
            Watchers::None => {
                if stats != WatchStats::NONE {
                    *self = Watchers::One(watcher, stats);
                }
            }
            Watchers::One(only, _) if *only == watcher => {
                *self = if stats == WatchStats::NONE {
                    Watchers::None
                } else {
                    Watchers::One(watcher, stats)
                };
            }
            Watchers::One(other, others) => {
                if stats != WatchStats::NONE {
                    let both = [(*other, *others), (watcher, stats)];
                    *self = Watchers::Many(Box::new(both.into_iter().collect()));
                }
            }
            Watchers::Many(all) => {
                if stats != WatchStats::NONE {
                    all.insert(watcher, stats);
                } else {
                    all.remove(&watcher);
                    if all.is_empty() {
                        *self = Watchers::None;
                    }
                }
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Watchers::None => 0,
            Watchers::One(..) => 1,
            Watchers::Many(all) => all.len(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = (WatcherId, WatchStats)> {
        let (one, many) = match self {
            Watchers::None => (None, None),
            Watchers::One(only, stats) => (Some((*only, *stats)), None),
            Watchers::Many(all) => (None, Some(all)),
        };
        let many = many.into_iter().flat_map(|all| all.iter().map(|(id, stats)| (*id, *stats)));
        one.into_iter().chain(many)
    }
}

#[derive(Debug, Default)]
struct PathEntry {
    path: Box<str>,
    watchers: Watchers,
}

/// One entry of the index: the hash is kept, so that growth does not touch the paths.
#[derive(Debug, Clone, Copy)]
struct Indexed {
    hash: u32,
    id: PathId,
}

impl Indexed {
    fn table_hash(self) -> u64 {
        (u64::from(self.hash) << 32) | u64::from(self.hash)
    }
}

/// The index is split so that one growing table is a short pause.
const SHARDS: usize = 64;

/// A table of watches.
#[derive(Debug)]
pub struct WatchManager {
    /// By number; those of free numbers are empty.
    entries: Vec<PathEntry>,
    free: Vec<PathId>,
    by_path: Box<[HashTable<Indexed>]>,
    paths: usize,
    hasher: RandomState,
    /// The paths of each watcher. Compat: a watcher whose last watch fired stays with an empty
    /// set, and is counted as a connection in `wchs`; one that removed it does not.
    by_watcher: HashMap<WatcherId, HashSet<PathId, FastState>, FastState>,
    watches: usize,
    recursive: usize,
}

impl Default for WatchManager {
    fn default() -> Self {
        WatchManager {
            entries: Vec::new(),
            free: Vec::new(),
            by_path: (0..SHARDS).map(|_| HashTable::new()).collect(),
            paths: 0,
            hasher: RandomState::default(),
            by_watcher: HashMap::default(),
            watches: 0,
            recursive: 0,
        }
    }
}

impl WatchManager {
    /// Adds a mode to the watches of `watcher` on `path`; false if it was there already.
    pub fn add_watch(&mut self, path: &str, watcher: WatcherId, mode: WatcherMode) -> bool {
        let id = self.find(path).unwrap_or_else(|| self.insert_path(path));
        let Some(entry) = self.entries.get_mut(id as usize) else { return false };
        let stats = entry.watchers.get(watcher);
        let new_stats = stats.add_mode(mode);
        if new_stats == stats {
            return false;
        }
        entry.watchers.set(watcher, new_stats);
        if stats == WatchStats::NONE {
            self.watches += 1;
            self.by_watcher.entry(watcher).or_default().insert(id);
        }
        if mode == WatcherMode::PersistentRecursive {
            self.recursive += 1;
        }
        true
    }

    /// `watcher` has a watch of this mode, or with `None` of any, on `path`.
    pub fn contains_watcher(
        &self,
        path: &str,
        watcher: WatcherId,
        mode: Option<WatcherMode>,
    ) -> bool {
        let entry = self.find(path).and_then(|id| self.entries.get(id as usize));
        let stats = entry.map_or(WatchStats::NONE, |entry| entry.watchers.get(watcher));
        match mode {
            Some(mode) => stats.has_mode(mode),
            None => stats != WatchStats::NONE,
        }
    }

    /// Takes one mode, or with `None` all, from `watcher` on `path`; false if there was none.
    pub fn remove_watch(
        &mut self,
        path: &str,
        watcher: WatcherId,
        mode: Option<WatcherMode>,
    ) -> bool {
        let Some(id) = self.find(path) else { return false };
        let Some(entry) = self.entries.get_mut(id as usize) else { return false };
        let stats = entry.watchers.get(watcher);
        let new_stats = mode.map_or(WatchStats::NONE, |mode| stats.remove_mode(mode));
        if new_stats == stats {
            return false;
        }
        entry.watchers.set(watcher, new_stats);
        let recursive = WatcherMode::PersistentRecursive;
        if stats.has_mode(recursive) && !new_stats.has_mode(recursive) {
            self.recursive -= 1;
        }
        if new_stats == WatchStats::NONE {
            self.watches -= 1;
            if let Some(paths) = self.by_watcher.get_mut(&watcher) {
                paths.remove(&id);
                if paths.is_empty() {
                    self.by_watcher.remove(&watcher);
                }
            }
            self.drop_path_if_unwatched(id);
        }
        true
    }

    /// Takes out everything of a watcher whose connection has gone.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        let Some(paths) = self.by_watcher.remove(&watcher) else { return };
        for id in paths {
            let Some(entry) = self.entries.get_mut(id as usize) else { continue };
            let stats = entry.watchers.get(watcher);
            if stats == WatchStats::NONE {
                continue;
            }
            entry.watchers.set(watcher, WatchStats::NONE);
            self.watches -= 1;
            if stats.has_mode(WatcherMode::PersistentRecursive) {
                self.recursive -= 1;
            }
            self.drop_path_if_unwatched(id);
        }
        if self.watches == 0 {
            // The last one out: give the memory of a busy day back.
            self.entries = Vec::new();
            self.free = Vec::new();
            self.by_path.iter_mut().for_each(|shard| *shard = HashTable::new());
            self.paths = 0;
        }
    }

    /// An event at `path`: `fired` becomes its watchers, distinct and rising; those of standard
    /// mode have had their event.
    pub fn trigger_watch(&mut self, path: &str, fired: &mut Vec<WatcherId>) {
        fired.clear();
        if self.watches == 0 {
            return;
        }
        let here = self.find(path);
        if let Some(id) = here
            && let Some(entry) = self.entries.get_mut(id as usize)
        {
            fired.extend(entry.watchers.ids().map(|(watcher, _)| watcher));
            for watcher in fired.iter() {
                let stats = entry.watchers.get(*watcher);
                let new_stats = stats.remove_mode(WatcherMode::Standard);
                if new_stats == stats {
                    continue;
                }
                entry.watchers.set(*watcher, new_stats);
                if new_stats == WatchStats::NONE {
                    self.watches -= 1;
                    if let Some(paths) = self.by_watcher.get_mut(watcher) {
                        paths.remove(&id);
                    }
                }
            }
            self.drop_path_if_unwatched(id);
        }
        if self.recursive > 0 {
            for parent in PathParentIterator::for_all(path).skip(1) {
                let entry = self.find(parent).and_then(|id| self.entries.get(id as usize));
                let watchers = entry.into_iter().flat_map(|entry| entry.watchers.ids());
                let recursive = watchers
                    .filter(|(_, stats)| stats.has_mode(WatcherMode::PersistentRecursive))
                    .map(|(watcher, _)| watcher);
                fired.extend(recursive);
            }
        }
        fired.sort_unstable();
        fired.dedup();
    }

    /// Pairs of watcher and path (`size`).
    pub fn size(&self) -> usize {
        self.watches
    }

    /// Recursive watches; while there are none, events do not look at the parents.
    pub fn recursive_watch_qty(&self) -> usize {
        self.recursive
    }

    /// The numbers of the word `wchs`.
    pub fn watches_summary(&self) -> WatchesSummary {
        WatchesSummary {
            num_connections: self.by_watcher.len(),
            num_paths: self.paths,
            num_total_watches: self.watches,
        }
    }

    /// Calls `each` for every watcher with its paths, as the word `wchc` shows them.
    pub fn for_each_watcher(&self, each: &mut dyn FnMut(WatcherId, &[&str])) {
        let mut paths = Vec::new();
        for (watcher, ids) in &self.by_watcher {
            paths.clear();
            let entries = ids.iter().filter_map(|id| self.entries.get(*id as usize));
            paths.extend(entries.map(|entry| &*entry.path));
            each(*watcher, &paths);
        }
    }

    /// Calls `each` for every path with its watchers, as the word `wchp` shows them.
    pub fn for_each_path(&self, each: &mut dyn FnMut(&str, &[WatcherId])) {
        let mut watchers = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.watchers.len() > 0) {
            watchers.clear();
            watchers.extend(entry.watchers.ids().map(|(watcher, _)| watcher));
            each(&entry.path, &watchers);
        }
    }

    /// The shard of a path and its entry there, the number still missing.
    fn place(&self, path: &str) -> (usize, Indexed) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(path.as_bytes());
        let hash = hasher.finish();
        ((hash >> 32) as usize % SHARDS, Indexed { hash: hash as u32, id: 0 })
    }

    fn find(&self, path: &str) -> Option<PathId> {
        let (shard, wanted) = self.place(path);
        let is_path = |at: &Indexed| {
            let entry = self.entries.get(at.id as usize);
            at.hash == wanted.hash && entry.is_some_and(|entry| &*entry.path == path)
        };
        self.by_path.get(shard)?.find(wanted.table_hash(), is_path).map(|at| at.id)
    }

    fn insert_path(&mut self, path: &str) -> PathId {
        let entry = PathEntry { path: path.into(), watchers: Watchers::None };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(place) = self.entries.get_mut(id as usize) {
                    *place = entry;
                }
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as PathId
            }
        };
        let (shard, place) = self.place(path);
        if let Some(shard) = self.by_path.get_mut(shard) {
            let entry = Indexed { id, ..place };
            shard.insert_unique(entry.table_hash(), entry, |entry| entry.table_hash());
            self.paths += 1;
        }
        id
    }

    fn drop_path_if_unwatched(&mut self, id: PathId) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        if entry.watchers.len() > 0 {
            return;
        }
        let path = std::mem::take(&mut entry.path);
        let (shard, place) = self.place(&path);
        if let Some(shard) = self.by_path.get_mut(shard)
            && let Ok(found) = shard.find_entry(place.table_hash(), |at| at.id == id)
        {
            found.remove();
            self.paths -= 1;
            self.free.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const MODES: [WatcherMode; 3] =
        [WatcherMode::Standard, WatcherMode::Persistent, WatcherMode::PersistentRecursive];
    const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/no/such"];

    /// The rules, without a thought for speed.
    #[derive(Default)]
    struct Model(BTreeMap<(&'static str, WatcherId), BTreeSet<usize>>);

    impl Model {
        fn remove(&mut self, path: &'static str, watcher: WatcherId, mode: Option<usize>) -> bool {
            let Some(modes) = self.0.get_mut(&(path, watcher)) else { return false };
            match mode {
                Some(mode) => {
                    let removed = modes.remove(&mode);
                    self.0.retain(|_, modes| !modes.is_empty());
                    removed
                }
                None => self.0.remove(&(path, watcher)).is_some(),
            }
        }

        fn trigger(&mut self, path: &'static str) -> Vec<WatcherId> {
            let is_below = |top: &str| {
                path.strip_prefix(top.trim_end_matches('/'))
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            let mut fired = BTreeSet::new();
            for ((at, watcher), modes) in &mut self.0 {
                if *at == path {
                    fired.insert(*watcher);
                    modes.remove(&0);
                } else if is_below(at) && modes.contains(&2) {
                    fired.insert(*watcher);
                }
            }
            self.0.retain(|_, modes| !modes.is_empty());
            fired.into_iter().collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn the_table_agrees_with_a_model(
            steps in prop::collection::vec((0..12u8, 0..PATHS.len(), 0..4u32, 0..3usize), 1..150)
        ) {
            let (mut manager, mut model, mut fired) = (WatchManager::default(), Model::default(), vec![]);
            for (what, path, watcher, mode) in steps {
                let path = PATHS[path];
                match what {
                    0..6 => {
                        let added = model.0.entry((path, watcher)).or_default().insert(mode);
                        prop_assert_eq!(manager.add_watch(path, watcher, MODES[mode]), added);
                    }
                    6..9 => {
                        manager.trigger_watch(path, &mut fired);
                        prop_assert_eq!(&fired, &model.trigger(path));
                    }
                    9 => {
                        let removed = model.remove(path, watcher, Some(mode));
                        prop_assert_eq!(manager.remove_watch(path, watcher, Some(MODES[mode])), removed);
                    }
                    10 => {
                        let removed = model.remove(path, watcher, None);
                        prop_assert_eq!(manager.remove_watch(path, watcher, None), removed);
                    }
                    _ => {
                        manager.remove_watcher(watcher);
                        model.0.retain(|(_, at), _| *at != watcher);
                    }
                }
                prop_assert_eq!(manager.size(), model.0.len());
                let recursive = model.0.values().filter(|modes| modes.contains(&2)).count();
                prop_assert_eq!(manager.recursive_watch_qty(), recursive);
                let paths: BTreeSet<&str> = model.0.keys().map(|(path, _)| *path).collect();
                prop_assert_eq!(manager.watches_summary().num_paths, paths.len());
                for path in PATHS {
                    for watcher in 0..4 {
                        let modes = model.0.get(&(path, watcher));
                        prop_assert_eq!(manager.contains_watcher(path, watcher, None), modes.is_some());
                        for (number, mode) in MODES.into_iter().enumerate() {
                            let expected = modes.is_some_and(|modes| modes.contains(&number));
                            prop_assert_eq!(manager.contains_watcher(path, watcher, Some(mode)), expected);
                        }
                    }
                }
                let mut by_path = BTreeSet::new();
                manager.for_each_path(&mut |path, watchers| {
                    by_path.extend(watchers.iter().map(|watcher| (path.to_owned(), *watcher)));
                });
                let mut by_watcher = BTreeSet::new();
                manager.for_each_watcher(&mut |watcher, paths| {
                    by_watcher.extend(paths.iter().map(|path| ((*path).to_owned(), watcher)));
                });
                let expected: BTreeSet<_> = model.0.keys().map(|(path, watcher)| ((*path).to_owned(), *watcher)).collect();
                prop_assert_eq!(&by_path, &expected);
                prop_assert_eq!(&by_watcher, &expected);
            }
        }
    }

    #[test]
    fn a_connection_whose_watches_fired_is_still_counted() {
        let mut manager = WatchManager::default();
        manager.add_watch("/a", 1, WatcherMode::Standard);
        manager.trigger_watch("/a", &mut Vec::new());
        let summary = manager.watches_summary();
        assert_eq!(summary.to_string(), "1 connections watching 0 paths\nTotal watches:0");
        manager.add_watch("/a", 1, WatcherMode::Standard);
        manager.remove_watch("/a", 1, None);
        assert_eq!(manager.watches_summary().num_connections, 0);
    }
}
