//! What is done on a server before its directory is handed over: some of everything, then operations
//! that a seed chooses.

use std::sync::Arc;

use anyhow::{Context, ensure};

use super::session::Session;
use crate::compare::random::Dice;
use crate::proto::messages::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, SetAclRequest,
    SetDataRequest,
};
use crate::proto::multi::{MultiOp, MultiOperationRecord};
use crate::proto::{Acl, OpCode, perms};

/// Some of everything, below `/stage-{n}`. Older releases of Java's server cannot do all of it.
pub fn build(session: &mut Session, n: usize) -> anyhow::Result<()> {
    let root = format!("/stage-{n}");
    let open = Acl::open_unsafe;
    session.create(&root, Some(b"root of a stage"), open(), 0)?;
    session.create(&format!("{root}/null"), None, open(), 0)?;
    session.create(&format!("{root}/empty"), Some(b""), open(), 0)?;
    session.create(&format!("{root}/big"), Some(&[b'b'; 200_000]), open(), 0)?;
    session.create(&format!("{root}/\u{e4}\u{4e2d}"), Some("\u{fc}".as_bytes()), open(), 0)?;
    for _ in 0..20 {
        session.create(&format!("{root}/seq-"), Some(b"s"), open(), 2)?;
    }
    let seventh = DeleteRequest { path: format!("{root}/seq-0000000007"), version: -1 };
    session.must(OpCode::Delete, &seventh)?;
    session.auth("owner:pw")?;
    let acls = vec![
        Acl::new(perms::ALL, "auth", ""),
        Acl::new(perms::READ, "ip", "10.0.0.0/8"),
        Acl::new(perms::READ, "world", "anyone"),
    ];
    session.create(&format!("{root}/acl"), Some(b"a"), acls, 0)?;
    let path = format!("{root}/null");
    session.must(OpCode::SetAcl, &SetAclRequest { path, acl: Acl::read_unsafe(), version: 0 })?;
    for version in 0..5 {
        let path = format!("{root}/empty");
        let data = Some(Arc::from(version.to_string().into_bytes()));
        session.must(OpCode::SetData, &SetDataRequest { path, data, version })?;
    }
    let container = create_request(&format!("{root}/container"), 4);
    session.must(OpCode::CreateContainer, &container)?;
    session.create(&format!("{root}/container/x"), Some(b""), open(), 0)?;
    let path = format!("{root}/ttl");
    let ttl = CreateTtlRequest { path, data: None, acl: open(), flags: 5, ttl: 86_400_000 };
    session.must(OpCode::CreateTtl, &ttl)?;
    let multi = format!("{root}/multi");
    let ops = vec![
        MultiOp::Create(create_request(&multi, 0)),
        MultiOp::Create(create_request(&format!("{multi}/x"), 0)),
        set(&multi, "m", 0),
        delete(&format!("{multi}/x")),
    ];
    session.must(OpCode::Multi, &MultiOperationRecord { ops })?;
    // Failures are in the log, too.
    let ops = vec![MultiOp::Create(create_request(&format!("{root}/no"), 0)), delete("/missing")];
    session.must(OpCode::Multi, &MultiOperationRecord { ops })?;
    let again = session.call(OpCode::Create, &create_request(&root, 0))?;
    ensure!(again.header.err == -110, "a second create of {root}: {}", again.header.err);
    let quota = format!("/zookeeper/quota{root}");
    session.create(&quota, Some(b""), open(), 0)?;
    let limits = Some(&b"count=100000,bytes=-1"[..]);
    session.create(&format!("{quota}/zookeeper_limits"), limits, open(), 0)?;
    session.create(&format!("{quota}/zookeeper_stats"), Some(b"count=0,bytes=0"), open(), 0)?;
    Ok(())
}

/// So many operations, chosen by the dice, below `/random-{n}`; failures are as welcome as successes.
pub fn wander(
    session: &mut Session,
    n: usize,
    operations: usize,
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let root = format!("/random-{n}");
    session.create(&root, None, Acl::open_unsafe(), 0)?;
    for at in 0..operations {
        step(session, &root, dice).with_context(|| format!("random operation {at}"))?;
    }
    Ok(())
}

fn step(session: &mut Session, root: &str, dice: &mut Dice) -> anyhow::Result<()> {
    let path = random_path(root, dice);
    match dice.roll(12) {
        0..4 => {
            let flags = dice.one_of(&[0, 0, 0, 1, 2, 3]);
            let request = CreateRequest { acl: random_acl(dice), ..create_request(&path, flags) };
            let op = if dice.is_one_in(2) { OpCode::Create2 } else { OpCode::Create };
            session.call(op, &request)?;
        }
        4 => {
            session.call(OpCode::CreateContainer, &create_request(&path, 4))?;
        }
        5 => {
            let flags = if dice.roll(2) == 0 { 5 } else { 6 };
            let ttl = 80_000_000 + dice.roll(1000) as i64;
            let acl = Acl::open_unsafe();
            let request = CreateTtlRequest { path, data: None, acl, flags, ttl };
            session.call(OpCode::CreateTtl, &request)?;
        }
        6..8 => {
            let data = random_data(dice);
            let version = dice.roll(4) as i32 - 1;
            session.call(OpCode::SetData, &SetDataRequest { path, data, version })?;
        }
        8 => {
            let request = DeleteRequest { path, version: -1 };
            session.call(OpCode::Delete, &request)?;
        }
        9 => {
            let request = SetAclRequest { path, acl: random_acl(dice), version: -1 };
            session.call(OpCode::SetAcl, &request)?;
        }
        _ => {
            let count = 1 + dice.roll(4);
            let ops = (0..count).map(|_| random_part(root, dice)).collect();
            session.call(OpCode::Multi, &MultiOperationRecord { ops })?;
        }
    }
    Ok(())
}

fn random_part(root: &str, dice: &mut Dice) -> MultiOp {
    let path = random_path(root, dice);
    match dice.roll(5) {
        0..2 => MultiOp::Create(create_request(&path, dice.roll(4) as i32)),
        2 => set(&path, "part", dice.roll(3) as i32 - 1),
        3 => delete(&path),
        _ => MultiOp::Check(CheckVersionRequest { path, version: dice.roll(2) as i32 }),
    }
}

/// Few names, so that paths meet.
fn random_path(root: &str, dice: &mut Dice) -> String {
    let mut path = root.to_owned();
    for _ in 0..=dice.roll(3) {
        let name = dice.one_of(&["a", "b", "c", "\u{4e2d}", "e-"]);
        path.push('/');
        path.push_str(name);
    }
    path
}

fn random_acl(dice: &mut Dice) -> Vec<Acl> {
    match dice.roll(6) {
        0 => vec![Acl::new(perms::ALL, "auth", "")],
        1 => vec![
            Acl::new(perms::ALL, "world", "anyone"),
            Acl::new(perms::READ, "digest", "some:body"),
        ],
        2 => vec![Acl::new(perms::ALL & !perms::DELETE, "world", "anyone")],
        _ => Acl::open_unsafe(),
    }
}

fn random_data(dice: &mut Dice) -> Option<Arc<[u8]>> {
    match dice.roll(5) {
        0 => None,
        1 => Some(Arc::from([])),
        2 => Some(Arc::from(vec![b'x'; dice.roll(5000)])),
        _ => Some(Arc::from(dice.roll(1_000_000).to_string().into_bytes())),
    }
}

fn create_request(path: &str, flags: i32) -> CreateRequest {
    CreateRequest {
        path: path.to_owned(),
        data: Some(Arc::from([])),
        acl: Acl::open_unsafe(),
        flags,
    }
}

fn set(path: &str, data: &str, version: i32) -> MultiOp {
    let data = Some(Arc::from(data.as_bytes()));
    MultiOp::SetData(SetDataRequest { path: path.to_owned(), data, version })
}

fn delete(path: &str) -> MultiOp {
    MultiOp::Delete(DeleteRequest { path: path.to_owned(), version: -1 })
}
