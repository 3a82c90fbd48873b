//! Sizes and times of a large tree; not assertions. Run with
//! `cargo test --release --lib tree::measurements -- --ignored --nocapture --test-threads 1`, or one
//! by one for exact figures of memory.

use std::time::{Duration, Instant};

use super::*;
use crate::jute::Buffer;
use crate::proto::txn::{CreateTxn, DeleteTxn, SetDataTxn};
use crate::proto::{Acl, OpCode, SessionId, Txn, TxnHeader, Zxid};

const NODES: usize = 1_000_000;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// CPU time of this thread: other programs on the machine do not count, as far as they leave its
/// caches alone.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

fn header(zxid: usize) -> TxnHeader {
    let txn_type = OpCode::Create.as_i32();
    TxnHeader { client_id: SessionId(1), cxid: 1, zxid: Zxid(zxid as i64), time: 1, txn_type }
}

fn path(number: usize) -> String {
    format!("/bench/dir-{:03}/node-{number:010}", number % 1000)
}

fn create(path: String) -> Txn {
    let data: Buffer = Some(vec![7; 100].into());
    let acl = Acl::open_unsafe();
    Txn::Create(CreateTxn { path, data, acl, ephemeral: false, parent_cversion: -1 })
}

/// Runs `act` for each number; prints the mean in CPU time and the worst.
fn timed(what: &str, count: usize, mut act: impl FnMut(usize)) {
    let (start, mut worst) = (cpu_time(), Duration::ZERO);
    for number in 0..count {
        let one = Instant::now();
        act(number);
        worst = worst.max(one.elapsed());
    }
    let mean = (cpu_time() - start).as_nanos() / count as u128;
    println!("{what}: {mean} ns each (with the clock's ~40), worst {worst:?}");
}

/// A tree of a million nodes with 100 bytes each.
fn large_tree() -> DataTree {
    let mut tree = DataTree::new(TreeOptions::default());
    let mut zxid = 0;
    let mut apply = |tree: &mut DataTree, txn: &Txn| {
        zxid += 1;
        tree.process_txn(&header(zxid), txn, &mut NoWatches);
    };
    apply(&mut tree, &create("/bench".into()));
    (0..1000).for_each(|dir| apply(&mut tree, &create(format!("/bench/dir-{dir:03}"))));
    (0..NODES).for_each(|number| apply(&mut tree, &create(path(number))));
    tree
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture measure"]
fn applying_and_looking_up() {
    let before = resident_bytes();
    let mut tree = large_tree();
    println!("created: {} bytes resident a node", (resident_bytes() - before) / NODES);
    let mut zxid = 2 * NODES;
    let mut apply = |tree: &mut DataTree, txn: &Txn| {
        zxid += 1;
        tree.process_txn(&header(zxid), txn, &mut NoWatches);
    };
    let more: Vec<Txn> = (NODES..NODES + 200_000).map(|number| create(path(number))).collect();
    timed("create", more.len(), |number| apply(&mut tree, &more[number]));

    let paths: Vec<String> = (0..NODES).map(|number| path(number * 7919 % NODES)).collect();
    let look_up = |what: &str, range: usize| {
        let start = cpu_time();
        let found = (0..NODES).filter(|number| tree.node(&paths[number % range]).is_some()).count();
        println!("{what} lookup: {} ns", (cpu_time() - start).as_nanos() as usize / found);
    };
    look_up("cold", NODES);
    look_up("hot", 1000);
    let sets: Vec<Txn> = (0..NODES / 10)
        .map(|number| {
            let data: Buffer = Some(vec![8; 100].into());
            Txn::SetData(SetDataTxn { path: paths[number].clone(), data, version: 1 })
        })
        .collect();
    timed("set_data, hot", NODES, |number| apply(&mut tree, &sets[number % 1000]));
    timed("set_data, cold", sets.len(), |number| apply(&mut tree, &sets[number]));
    let deletes: Vec<Txn> =
        (0..200_000).map(|number| Txn::Delete(DeleteTxn { path: paths[number].clone() })).collect();
    timed("delete", deletes.len(), |number| apply(&mut tree, &deletes[number]));
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture measure"]
fn writing_and_loading() {
    let tree = large_tree();
    let mut bytes = Vec::with_capacity(256 << 20);
    let mut walk = tree.begin_walk();
    let (mut worst, start) = (Duration::ZERO, cpu_time());
    loop {
        let one = Instant::now();
        let done = tree.walk_chunk(&mut walk, &mut bytes, 4096).unwrap();
        worst = worst.max(one.elapsed());
        if done {
            break;
        }
    }
    println!("walk: {:?}, worst piece {worst:?}, {} bytes", cpu_time() - start, bytes.len());
    let before = resident_bytes();
    let start = cpu_time();
    let mut reader = std::io::BufReader::with_capacity(64 << 10, &bytes[..]);
    let loaded = DataTree::load(TreeOptions::default(), &mut reader).unwrap();
    println!("load: {:?}", cpu_time() - start);
    println!("loaded: {} bytes resident a node", (resident_bytes() - before) / NODES);
    assert_eq!(loaded.tree_digest(), tree.tree_digest());
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture measure"]
fn watching() {
    let tree = DataTree::new(TreeOptions::default());
    let before = resident_bytes();
    timed("watch", NODES, |number| tree.add_data_watch(&path(number), (number % 1000) as u32));
    println!("resident: {} bytes a watch", (resident_bytes() - before) / NODES);
}
