//! Snapshots that are written while the tree changes, and replays on top of them.

use std::sync::Arc;

use proptest::prelude::*;

use super::oracle_tests::{options, show_tree};
use super::*;
use crate::proto::txn::*;
use crate::proto::{Acl, EphemeralType, SessionId, Zxid};

/// A server's history: only transactions that its prep would make.
struct History {
    tree: DataTree,
    entries: Vec<TxnLogEntry>,
}

/// One step: what to do, where, with whom. Steps that the tree does not allow are skipped.
type Step = (u8, u8, u8, u8);

fn step() -> impl Strategy<Value = Step> {
    (0..16u8, 0..39u8, 0..3u8, 0..5u8)
}

/// One of 39 paths of up to three names.
fn path(number: u8) -> String {
    let names = ["/a", "/b", "/c"];
    let name = |number: u8| names[usize::from(number % 3)];
    match number {
        0..3 => name(number).to_owned(),
        3..12 => format!("{}{}", name(number), name(number / 3)),
        _ => format!("{}{}{}", name(number), name(number / 3), name(number / 9)),
    }
}

fn acl(number: u8) -> Vec<Acl> {
    vec![Acl::new(i32::from(number) + 1, "world", "anyone")]
}

impl History {
    fn new() -> History {
        History { tree: DataTree::new(options()), entries: Vec::new() }
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            if let Some((session, txn)) = self.txn(*step) {
                self.apply(session, txn);
            }
        }
    }

    fn apply(&mut self, session: SessionId, txn: Txn) {
        let zxid = Zxid(self.entries.len() as i64 + 1);
        let txn_type = txn.op_code().as_i32();
        let header = TxnHeader { client_id: session, cxid: 0, zxid, time: zxid.0 * 10, txn_type };
        self.tree.process_txn(&header, &txn, &mut NoWatches);
        let digest = TxnDigest { version: 2, tree_digest: self.tree.tree_digest() as i64 };
        self.entries.push(TxnLogEntry::new(header, txn, Some(digest)));
    }

    fn txn(&self, (what, place, who, how): Step) -> Option<(SessionId, Txn)> {
        let session = SessionId(i64::from(who) + 1);
        let path = path(place);
        let node = self.tree.node(&path);
        let data = Some(Arc::from(vec![how; usize::from(place)]));
        let txn = match what {
            0..8 => {
                let parent = self.tree.node(path.rsplit_once('/')?.0)?;
                if node.is_some() || parent.ephemeral_type() == EphemeralType::Normal {
                    return None;
                }
                let parent_cversion = parent.stat_persisted().cversion + 1;
                let (ephemeral, acl) = (what == 7, acl(how));
                match what {
                    5 => {
                        let ttl = 1000;
                        Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl })
                    }
                    6 => Txn::CreateContainer(CreateContainerTxn {
                        path,
                        data,
                        acl,
                        parent_cversion,
                    }),
                    _ => Txn::Create(CreateTxn { path, data, acl, ephemeral, parent_cversion }),
                }
            }
            8..12 => {
                if node?.child_count() > 0 {
                    return None;
                }
                Txn::Delete(DeleteTxn { path })
            }
            12 | 13 => {
                let version = node?.stat_persisted().version + 1;
                Txn::SetData(SetDataTxn { path, data, version })
            }
            14 => {
                let version = node?.stat_persisted().aversion + 1;
                Txn::SetAcl(SetAclTxn { path, acl: acl(how), version })
            }
            _ => {
                let paths_to_delete = self.tree.ephemerals(session);
                // Without a list a replay cannot know what was deleted: the reason why Java has it.
                let has_list = how > 0 || !paths_to_delete.is_empty();
                Txn::CloseSession(has_list.then_some(CloseSessionTxn { paths_to_delete }))
            }
        };
        Some((session, txn))
    }
}

fn assert_same(tree: &DataTree, expected: &DataTree) {
    // Sessions that had ephemerals once are known to one of them only.
    let show = |tree| -> String {
        let text = show_tree(tree, true);
        let lines =
            text.lines().filter(|line| !(line.starts_with("session") && line.ends_with("[]")));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(show(tree), show(expected));
}

fn load_and_replay(bytes: &[u8], zxid: Zxid, history: &History) -> DataTree {
    let mut tree = DataTree::load(options(), &mut &bytes[..]).unwrap();
    tree.set_last_processed_zxid(zxid);
    let end = history.tree.last_processed_zxid_digest().unwrap();
    tree.set_digest_from_loaded_snapshot(end, zxid);
    tree.compare_snapshot_digests(zxid);
    for entry in history.entries.iter().filter(|entry| entry.zxid() > zxid) {
        tree.process_entry(entry, &mut NoWatches);
    }
    assert_eq!(tree.digest_mismatches(), 0);
    assert_eq!(tree.digest_from_loaded_snapshot(), None);
    tree
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The walk stops after every node or two, the tree changes, and the replay repairs it.
    #[test]
    fn a_walk_amid_changes_and_its_replay_give_the_tree(
        before in prop::collection::vec(step(), 1..60),
        during in prop::collection::vec(prop::collection::vec(step(), 0..6), 1..30),
        chunk in 1..3usize,
    ) {
        let mut history = History::new();
        history.apply(SessionId(1), Txn::CreateSession(CreateSessionTxn { timeout_ms: 1 }));
        history.run(&before);
        let mut walks = vec![(history.tree.begin_walk(), Vec::new(), false)];
        for steps in &during {
            history.run(steps);
            for (walk, bytes, done) in &mut walks {
                *done = history.tree.walk_chunk(walk, bytes, chunk).unwrap();
            }
            // Another one overlaps, and ends at another time.
            if walks.len() < 3 && steps.len() == 3 {
                walks.push((history.tree.begin_walk(), Vec::new(), false));
            }
        }
        while !walks.is_empty() {
            for (walk, bytes, done) in &mut walks {
                *done = history.tree.walk_chunk(walk, bytes, chunk).unwrap();
                if *done {
                    assert_same(&load_and_replay(bytes, walk.zxid(), &history), &history.tree);
                }
            }
            walks.retain(|(_, _, done)| !done);
            history.run(&during[0]);
        }
    }

    /// A snapshot of Java's may hold everything of the time after its zxid already.
    #[test]
    fn a_replay_on_a_later_tree_gives_the_tree(
        steps in prop::collection::vec(step(), 1..120),
        more in prop::collection::vec(step(), 0..40),
        from in 0..120usize,
    ) {
        let mut history = History::new();
        history.apply(SessionId(1), Txn::CreateSession(CreateSessionTxn { timeout_ms: 1 }));
        history.run(&steps);
        let bytes = history.tree.serialize();
        let zxid = Zxid((from % history.entries.len()) as i64);
        history.run(&more);
        assert_same(&load_and_replay(&bytes, zxid, &history), &history.tree);
    }
}

#[test]
fn a_walk_notices_that_it_lost_its_tree() {
    let tree = DataTree::new(options());
    let mut walk = tree.begin_walk();
    let other = DataTree::new(options());
    let result = other.walk_chunk(&mut walk, &mut Vec::new(), 1);
    assert!(matches!(result, Err(TreeError::Replaced)));
}

#[test]
fn the_slots_of_deleted_nodes_are_used_again_after_the_walk() {
    let mut history = History::new();
    let create = |history: &mut History| history.run(&[(0, 1, 0, 0)]);
    let delete = |history: &mut History| history.run(&[(8, 1, 0, 0)]);
    create(&mut history);
    let fresh = history.tree.nodes.next_fresh_id();
    let walk = history.tree.begin_walk();
    delete(&mut history);
    create(&mut history);
    assert!(history.tree.nodes.next_fresh_id() > fresh);
    drop(walk);
    delete(&mut history);
    let fresh = history.tree.nodes.next_fresh_id();
    create(&mut history);
    delete(&mut history);
    create(&mut history);
    assert_eq!(history.tree.nodes.next_fresh_id(), fresh);
}
