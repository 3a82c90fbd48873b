//! Sizes and times of a large tree; not assertions. Run with
//! `cargo test --release --lib tree::measurements -- --ignored --nocapture`.

use std::time::Instant;

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

/// Runs `act` for each number; prints mean and worst.
fn timed(what: &str, count: usize, mut act: impl FnMut(usize)) {
    let start = Instant::now();
    let mut worst = std::time::Duration::ZERO;
    for number in 0..count {
        let one = Instant::now();
        act(number);
        worst = worst.max(one.elapsed());
    }
    let mean = start.elapsed().as_nanos() / count as u128;
    println!("{what}: {mean} ns each (with the clock's ~40), worst {worst:?}");
}

#[test]
#[ignore = "a measurement"]
fn large_tree() {
    let before = resident_bytes();
    let mut tree = DataTree::new(TreeOptions::default());
    let mut zxid = 0;
    let mut apply = |tree: &mut DataTree, txn: &Txn| {
        zxid += 1;
        tree.process_txn(&header(zxid), txn, &mut NoWatches);
    };
    apply(&mut tree, &create("/bench".into()));
    (0..1000).for_each(|dir| apply(&mut tree, &create(format!("/bench/dir-{dir:03}"))));
    let txns: Vec<Txn> = (0..NODES).map(|number| create(path(number))).collect();
    timed("create", NODES, |number| apply(&mut tree, &txns[number]));
    drop(txns);
    println!("resident: {} bytes a node", (resident_bytes() - before) / NODES);

    let paths: Vec<String> = (0..NODES).map(|number| path(number * 7919 % NODES)).collect();
    let start = Instant::now();
    let mut found = 0;
    for path in &paths {
        found += usize::from(tree.node(path).is_some());
    }
    println!("cold lookup: {} ns", start.elapsed().as_nanos() as usize / found);
    let start = Instant::now();
    for number in 0..NODES {
        std::hint::black_box(tree.node(&paths[number % 1000]).is_some());
    }
    println!("hot lookup: {} ns", start.elapsed().as_nanos() as usize / NODES);

    let sets: Vec<Txn> = (0..1000)
        .map(|number| {
            let data: Buffer = Some(vec![8; 100].into());
            Txn::SetData(SetDataTxn { path: paths[number].clone(), data, version: 1 })
        })
        .collect();
    timed("set_data, hot", NODES, |number| apply(&mut tree, &sets[number % 1000]));

    let mut bytes = Vec::with_capacity(256 << 20);
    let mut walk = tree.begin_walk();
    let (mut worst, start) = (std::time::Duration::ZERO, Instant::now());
    loop {
        let one = Instant::now();
        let done = tree.walk_chunk(&mut walk, &mut bytes, 4096).unwrap();
        worst = worst.max(one.elapsed());
        if done {
            break;
        }
    }
    println!("walk: {:?}, worst piece {worst:?}, {} bytes", start.elapsed(), bytes.len());
    drop(walk);
    for (number, path) in paths.iter().enumerate() {
        tree.add_data_watch(path, (number % 1000) as u32);
    }
    drop(tree);
    let before = resident_bytes();
    let start = Instant::now();
    let mut reader = std::io::BufReader::with_capacity(64 << 10, &bytes[..]);
    let mut tree = DataTree::load(TreeOptions::default(), &mut reader).unwrap();
    println!("load: {:?}", start.elapsed());
    println!("resident: {} more bytes a node", resident_bytes().saturating_sub(before) / NODES);

    let before = resident_bytes();
    timed("watch", NODES, |number| {
        tree.add_data_watch(&paths[number], (number % 1000) as u32);
    });
    println!("resident: {} bytes a watch", (resident_bytes() - before) / NODES);
    let deletes: Vec<Txn> =
        (0..NODES).map(|number| Txn::Delete(DeleteTxn { path: path(number) })).collect();
    timed("delete", NODES, |number| apply(&mut tree, &deletes[number]));
}
