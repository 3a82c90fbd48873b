//! The tree against Java's: random scripts of transactions and watch operations.
//!
//! `tests/java/TreeOracle.java` runs the same scripts with Java's `DataTree` and prints the same
//! lines. The digests and hashes below are from such runs. To compare again, set
//! `ZABKEEPER_TREE_ORACLE` to a directory and run these tests: it gets `N.script`, `N.expected`
//! and `N.snapshot`; then `TreeOracle run N.script N.java-snapshot` must print `N.expected`, with
//! `-Dzookeeper.extendedTypesEnabled=true`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::quotas::{LIMIT_NODE, STAT_NODE};
use super::*;
use crate::jute::{Buffer, OutputExt};
use crate::proto::messages::SetWatches2;
use crate::proto::txn::*;
use crate::proto::{
    Acl, AddWatchMode, EphemeralType, EventType, ExtendedTypes, SessionId, Stat, WatcherType, Zxid,
};

/// `java.util.Random`'s numbers are not needed, only the same ones every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }
}

#[derive(Default)]
struct Events(Vec<String>);

impl WatchSink for Events {
    fn deliver(
        &mut self,
        event: EventType,
        path: &str,
        zxid: Zxid,
        acl: &[Acl],
        watchers: &[WatcherId],
    ) {
        for watcher in watchers {
            let acl = show_acl(acl);
            self.0.push(format!("  event {} {path} {}:{acl} {watcher}", event as i32, zxid.0));
        }
    }
}

fn show_acl(acl: &[Acl]) -> String {
    acl.iter().map(|one| format!("{}{}", one.perms, &*one.id.scheme)).collect()
}

pub(super) fn options() -> TreeOptions {
    let extended_types = ExtendedTypes { enabled: true, emulate_353: false };
    TreeOptions { digest_enabled: true, extended_types }
}

fn show_stat(stat: &Stat) -> String {
    let Stat { czxid, mzxid, ctime, mtime, version, cversion, aversion, .. } = *stat;
    let Stat { ephemeral_owner, data_length, num_children, pzxid, .. } = *stat;
    format!(
        "{czxid},{mzxid},{ctime},{mtime},{version},{cversion},{aversion},{ephemeral_owner},{data_length},{num_children},{pzxid}"
    )
}

fn show_result(out: &mut String, indent: &str, result: &ProcessTxnResult<'_>) {
    let stat = result.stat.as_ref().map_or("-".to_owned(), show_stat);
    let path = result.path.unwrap_or("null");
    writeln!(out, "{indent}{} {} {path} {stat}", result.op.as_i32(), result.code.as_i32()).unwrap();
    for part in &result.multi {
        show_result(out, &format!("{indent}  "), part);
    }
}

fn show_set(paths: Vec<String>) -> String {
    let sorted: BTreeSet<String> = paths.into_iter().collect();
    format!("[{}]", sorted.into_iter().collect::<Vec<_>>().join(", "))
}

/// Everything a tree holds, as text.
pub(super) fn show_tree(tree: &DataTree, loaded: bool) -> String {
    let mut out = String::new();
    let digest = tree.tree_digest() as i64;
    let size = tree.cached_approximate_data_size();
    write!(out, "digest {digest} nodes {} size {size}", tree.node_count()).unwrap();
    if loaded {
        write!(out, " acls {}", tree.acl_cache_size()).unwrap();
    }
    out.push('\n');
    let (containers, ttls) = (show_set(tree.containers()), show_set(tree.ttls()));
    writeln!(out, "containers {containers} ttls {ttls}").unwrap();
    let mut sessions = tree.sessions_with_ephemerals();
    sessions.sort();
    for session in sessions {
        let paths = show_set(tree.ephemerals(session));
        writeln!(out, "session {} {paths}", session.0).unwrap();
    }
    show_node(&mut out, tree, "");
    out
}

fn show_node(out: &mut String, tree: &DataTree, path: &str) {
    let node = tree.node(path).unwrap();
    let data = node.data().as_deref().map_or("null".into(), String::from_utf8_lossy);
    let stat = node.stat_persisted();
    let acl = show_acl(&node.acl());
    let quota = tree.quota_path(path).unwrap_or("null");
    writeln!(
        out,
        "{path} {data} {acl} {},{},{},{},{},{},{},{},{} {quota}",
        stat.czxid,
        stat.mzxid,
        stat.ctime,
        stat.mtime,
        stat.version,
        stat.cversion,
        stat.aversion,
        stat.ephemeral_owner,
        stat.pzxid
    )
    .unwrap();
    for child in node.children().collect::<BTreeSet<_>>() {
        show_node(out, tree, &format!("{path}/{child}"));
    }
}

/// Makes a script while it runs it on a tree of ours.
struct Run {
    dice: Dice,
    tree: DataTree,
    zxid: i64,
    script: Vec<u8>,
    out: String,
    events: Events,
}

const SESSIONS: [i64; 3] = [0x1000001, 0x1000002, 0x1000003];
const NAMES: [&str; 5] = ["a", "b", "c1", "node-0000000001", "ü"];

impl Run {
    fn new(seed: u64) -> Run {
        let tree = DataTree::new(options());
        let out = format!("fresh {}\n", tree.tree_digest() as i64);
        Run { dice: Dice(seed), tree, zxid: 0, script: vec![], out, events: Events::default() }
    }

    fn path(&mut self) -> String {
        let mut path = String::new();
        for _ in 0..self.dice.roll(3) + 1 {
            path.push('/');
            path.push_str(self.dice.one_of(&NAMES));
        }
        path
    }

    fn data(&mut self) -> Buffer {
        match self.dice.roll(8) {
            0 => None,
            1 => Some([].into()),
            2 => Some(vec![b'x'; 700].into()),
            size => Some(vec![b'0' + size as u8; size * 17].into()),
        }
    }

    fn acl(&mut self) -> Vec<Acl> {
        let perms = self.dice.one_of(&[31, 1, 7]);
        let mut acl = vec![Acl::new(perms, "world", "anyone")];
        if self.dice.roll(4) == 0 {
            acl.push(Acl::new(31, "digest", "a:b"));
        }
        acl
    }

    /// A path that no txn of Java's prep would refuse to create at: not below an ephemeral.
    fn path_to_create(&mut self) -> String {
        loop {
            let path = self.path();
            let parent = path.rsplit_once('/').unwrap().0;
            let node = self.tree.node(parent);
            if node.is_none_or(|node| node.ephemeral_type() != EphemeralType::Normal) {
                return path;
            }
        }
    }

    fn is_childless(&self, path: &str) -> bool {
        self.tree.node(path).is_none_or(|node| node.child_count() == 0)
    }

    fn path_to_delete(&mut self) -> String {
        loop {
            let path = self.path();
            if self.is_childless(&path) {
                return path;
            }
        }
    }

    fn parent_cversion(&mut self, path: &str) -> i32 {
        let parent = self.tree.node(path.rsplit_once('/').unwrap().0);
        let now = parent.map_or(0, |node| node.stat_persisted().cversion);
        match self.dice.roll(6) {
            0 => -1,
            1 => now,
            2 => now - 1,
            _ => now + 1,
        }
    }

    fn create(&mut self) -> Txn {
        let path = self.path_to_create();
        let (data, acl) = (self.data(), self.acl());
        let parent_cversion = self.parent_cversion(&path);
        match self.dice.roll(8) {
            0 => Txn::CreateTtl(CreateTtlTxn {
                path,
                data,
                acl,
                parent_cversion,
                ttl: 5_000_000_000,
            }),
            1 => Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion }),
            kind => {
                let ephemeral = self.dice.roll(4) == 0;
                let txn = CreateTxn { path, data, acl, ephemeral, parent_cversion };
                if kind < 5 { Txn::Create(txn) } else { Txn::Create2(txn) }
            }
        }
    }

    fn simple(&mut self) -> Txn {
        match self.dice.roll(10) {
            0..4 => self.create(),
            4 | 5 => Txn::Delete(DeleteTxn { path: self.path_to_delete() }),
            6 => Txn::DeleteContainer(DeleteTxn { path: self.path_to_delete() }),
            _ => {
                let path = if self.dice.roll(20) == 0 { "/".into() } else { self.path() };
                let version = self.dice.roll(100) as i32;
                Txn::SetData(SetDataTxn { path, data: self.data(), version })
            }
        }
    }

    fn quota(&mut self) -> Txn {
        let path = self.dice.one_of(&["/a", "/a/b", "/b", "/c1"]);
        let mut at = format!("/zookeeper/quota{path}");
        if self.dice.roll(3) > 0 {
            at = format!("{at}/{}", self.dice.one_of(&[LIMIT_NODE, STAT_NODE]));
        }
        let texts =
            ["count=5,bytes=-1", "count=1,bytes=3=;byteHardLimit=9;countHardLimit=8", "bytes=7"];
        let data: Buffer = Some(self.dice.one_of(&texts).as_bytes().into());
        let acl = vec![Acl::new(31, "world", "anyone")];
        match self.dice.roll(6) {
            0 if self.is_childless(&at) => Txn::Delete(DeleteTxn { path: at }),
            1 => Txn::SetData(SetDataTxn { path: at, data, version: 3 }),
            _ => Txn::Create(CreateTxn {
                path: at,
                data,
                acl,
                ephemeral: false,
                parent_cversion: -1,
            }),
        }
    }

    fn close(&mut self, session: SessionId) -> Txn {
        let mut paths = self.tree.ephemerals(session);
        paths.sort();
        // What is not listed is deleted in no order, so it is at most one.
        if self.dice.roll(2) == 0 {
            paths.pop();
        }
        if paths.is_empty() && self.dice.roll(2) == 0 {
            return Txn::CloseSession(None);
        }
        if self.dice.roll(3) == 0 {
            paths.push("/no/such".into());
        }
        Txn::CloseSession(Some(CloseSessionTxn { paths_to_delete: paths }))
    }

    fn multi(&mut self) -> Txn {
        let failing = self.dice.roll(3) == 0;
        let mut txns = Vec::new();
        let mut touched = BTreeSet::new();
        for _ in 0..self.dice.roll(4) + 1 {
            let txn = self.simple();
            // Each part is chosen for the tree before the multi.
            let path = match &txn {
                Txn::Create(txn) | Txn::Create2(txn) => &txn.path,
                Txn::CreateTtl(txn) => &txn.path,
                Txn::CreateContainer(txn) => &txn.path,
                Txn::Delete(txn) | Txn::DeleteContainer(txn) => &txn.path,
                Txn::SetData(txn) => &txn.path,
                other => panic!("{other:?}"),
            };
            let top = path.split('/').nth(1).unwrap().to_owned();
            if touched.insert(top) {
                txns.push(txn);
            }
        }
        txns.push(Txn::CheckVersion(CheckVersionTxn { path: self.path(), version: 0 }));
        if failing {
            let at = self.dice.roll(txns.len() + 1);
            txns.insert(at, Txn::Error(ErrorTxn { err: -110 }));
        }
        Txn::Multi(txns)
    }

    fn txn(&mut self) {
        let session = SessionId(self.dice.one_of(&SESSIONS));
        let txn = match self.dice.roll(20) {
            0 => self.close(session),
            1 | 2 => self.quota(),
            3 | 4 => self.multi(),
            5 => {
                let (path, acl) = (self.path(), self.acl());
                let version = self.dice.roll(9) as i32;
                Txn::SetAcl(SetAclTxn { path, acl, version })
            }
            6 => Txn::Error(ErrorTxn { err: -101 }),
            7 => Txn::CreateSession(CreateSessionTxn { timeout_ms: 4000 }),
            _ => self.simple(),
        };
        // Now and then an older one, as a replay on a fuzzy snapshot has them.
        self.zxid += 1;
        let zxid = if self.dice.roll(15) == 0 { self.zxid / 2 } else { self.zxid };
        let time = 1_700_000_000_000 + self.zxid * 7;
        let txn_type = txn.op_code().as_i32();
        let header = TxnHeader { client_id: session, cxid: 1, zxid: Zxid(zxid), time, txn_type };
        let entry = TxnLogEntry::new(header, txn, None);
        self.script.put_i32(0);
        self.script.put_bytes(Some(&entry.bytes));
        let result = self.tree.process_entry(&entry, &mut self.events);
        show_result(&mut self.out, "", &result);
        let tree = &self.tree;
        writeln!(
            self.out,
            "  {} {} {} {}",
            tree.tree_digest() as i64,
            tree.node_count(),
            tree.cached_approximate_data_size(),
            tree.ephemerals_count()
        )
        .unwrap();
    }

    fn watch_op(&mut self) {
        let watcher = self.dice.roll(4) as WatcherId;
        let path = if self.dice.roll(20) == 0 { "/".to_owned() } else { self.path() };
        match self.dice.roll(20) {
            0..14 => {
                let kind = self.dice.one_of(&[0, 0, 0, 1, 1, 2, 3]);
                self.script.put_i32(1);
                self.script.put_i32(kind);
                self.script.put_str(&path);
                self.script.put_i32(watcher as i32);
                match kind {
                    0 => self.tree.add_data_watch(&path, watcher),
                    1 if self.tree.node(&path).is_none() => {}
                    1 => self.tree.add_child_watch(&path, watcher),
                    2 => self.tree.add_watch(&path, watcher, AddWatchMode::Persistent),
                    _ => self.tree.add_watch(&path, watcher, AddWatchMode::PersistentRecursive),
                }
            }
            14..18 => {
                let kind = self.dice.roll(5) as i32 + 1;
                self.script.put_i32(2);
                self.script.put_i32(kind);
                self.script.put_str(&path);
                self.script.put_i32(watcher as i32);
                let kind = WatcherType::from_i32(kind).unwrap();
                let contained = self.tree.contains_watcher(&path, kind, watcher);
                let removed = self.tree.remove_watch(&path, kind, watcher);
                writeln!(self.out, "remove {contained} {removed}").unwrap();
            }
            18 => {
                self.script.put_i32(3);
                self.script.put_i32(watcher as i32);
                self.tree.remove_watcher(watcher);
            }
            _ => {
                let relative_zxid = self.dice.roll(self.zxid as usize + 1) as i64;
                self.script.put_i32(4);
                self.script.put_i64(relative_zxid);
                let mut list = || {
                    let paths: Vec<String> = (0..self.dice.roll(3))
                        .map(|_| {
                            format!("/{}/{}", self.dice.one_of(&NAMES), self.dice.one_of(&NAMES))
                        })
                        .collect();
                    self.script.put_count(paths.len());
                    paths.iter().for_each(|path| self.script.put_str(path));
                    paths
                };
                let watches = SetWatches2 {
                    relative_zxid,
                    data_watches: list(),
                    exist_watches: list(),
                    child_watches: list(),
                    persistent_watches: list(),
                    persistent_recursive_watches: list(),
                };
                self.script.put_i32(watcher as i32);
                let out = &mut self.out;
                self.tree.set_watches(&watches, watcher, &mut |event, path| {
                    writeln!(out, "  event {} {path} - {watcher}", event as i32).unwrap();
                });
            }
        }
    }

    fn run(mut self, steps: usize) -> Run {
        for _ in 0..steps {
            if self.dice.roll(3) == 0 {
                self.watch_op();
            } else {
                self.txn();
            }
            // The program cannot tell the two tables' share in one deletion.
            let head = |event: &str| event.rsplit_once(' ').unwrap().0.to_owned();
            let events = &mut self.events.0;
            events.chunk_by_mut(|a, b| head(a) == head(b)).for_each(|same| same.sort());
            for event in events.drain(..) {
                self.out.push_str(&event);
                self.out.push('\n');
            }
            let tree = &self.tree;
            let summary = tree.watches_summary();
            writeln!(
                self.out,
                "  watches {} {} {} {}",
                tree.watch_count(),
                summary.num_connections,
                summary.num_paths,
                summary.num_total_watches
            )
            .unwrap();
        }
        let shown = show_tree(&self.tree, false);
        self.out.push_str(&shown);
        self
    }
}

fn write_out(dir: &Path, name: &str, run: &Run) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join(format!("{name}.script")), &run.script).unwrap();
    std::fs::write(dir.join(format!("{name}.expected")), &run.out).unwrap();
    std::fs::write(dir.join(format!("{name}.snapshot")), run.tree.serialize()).unwrap();
    // What loading the snapshot that Java wrote gives us, for `TreeOracle load` to print.
    if let Ok(bytes) = std::fs::read(dir.join(format!("{name}.java-snapshot"))) {
        let tree = DataTree::load(options(), &mut &bytes[..]).unwrap();
        let shown = format!("rest 0\n{}", show_tree(&tree, true));
        std::fs::write(dir.join(format!("{name}.java-loaded")), shown).unwrap();
    }
    let bytes = run.tree.serialize();
    let tree = DataTree::load(options(), &mut &bytes[..]).unwrap();
    let shown = format!("rest 0\n{}", show_tree(&tree, true));
    std::fs::write(dir.join(format!("{name}.loaded")), shown).unwrap();
}

/// Seed, steps, digest of the tree and CRC32 of the lines that Java's `DataTree` printed.
const JAVA: [(u64, usize, u64, u32); 6] = [
    (1, 1500, 93879954366, 3133134479),
    (2, 1500, 86977534263, 3278727981),
    (3, 1500, 78745953577, 572991211),
    (4, 1500, 92871020949, 246573404),
    (5, 1500, 86539974723, 29299672),
    (6, 20_000, 122833398922, 1554077856),
];

#[test]
fn scripts_have_the_same_results_events_and_digests_as_in_java() {
    let dir = std::env::var_os("ZABKEEPER_TREE_ORACLE");
    for (seed, steps, digest, lines) in JAVA {
        let run = Run::new(seed).run(steps);
        if let Some(dir) = &dir {
            write_out(Path::new(dir), &seed.to_string(), &run);
        }
        assert_eq!(run.tree.tree_digest(), digest, "digest of script {seed}");
        assert_eq!(crc32fast::hash(run.out.as_bytes()), lines, "lines of script {seed}");
    }
}

#[test]
fn a_tree_comes_back_from_its_snapshot() {
    for (seed, steps, ..) in &JAVA[..5] {
        let run = Run::new(*seed).run(*steps);
        let bytes = run.tree.serialize();
        let tree = DataTree::load(options(), &mut &bytes[..]).unwrap();
        // Loading counts quotas anew, so compare trees that were both loaded; Compat: but for the
        // size, in which that does not count.
        let again = tree.serialize();
        let twice = DataTree::load(options(), &mut &again[..]).unwrap();
        let nodes = |tree| show_tree(tree, true).split_once('\n').unwrap().1.to_owned();
        assert!(nodes(&tree) == nodes(&twice), "script {seed}");
        assert_eq!(tree.tree_digest(), run.tree.tree_digest());
        assert_eq!(tree.node_count(), run.tree.node_count());
    }
}
