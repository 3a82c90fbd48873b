//! The same history on two servers, and their logs record by record.

use super::cases::Case;
use super::dump::Mismatch;
use super::history::{build, wander};
use super::journey::Findings;
use super::log_files::{LogRecord, log_records};
use super::session::Session;
use crate::compare::launch::{Implementation, Server};
use crate::compare::random::Dice;
use crate::proto::txn::CloseSessionTxn;
use crate::proto::{OpCode, Txn};

/// Random operations.
const WANDER: usize = 300;

/// Runs the history on both and compares their logs: type, cxid, body, digest version and length of
/// every record, zxids without a gap, failures included. Sessions are numbered, times are masked.
pub fn compare_records(
    case: &Case,
    left: &Implementation,
    right: &Implementation,
    seed: u64,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let one = lines_of(case, left, seed)?;
    let other = lines_of(case, right, seed)?;
    let nothing = String::from("(nothing)");
    for at in 0..one.len().max(other.len()) {
        findings.compared += 1;
        let (before, after) = (one.get(at).unwrap_or(&nothing), other.get(at).unwrap_or(&nothing));
        if before != after {
            let what = format!("record {}", at + 1);
            let mismatch = Mismatch { what, before: before.clone(), after: after.clone() };
            findings.mismatches.push((format!("{left} and {right}"), mismatch));
        }
    }
    Ok(())
}

fn lines_of(case: &Case, who: &Implementation, seed: u64) -> anyhow::Result<Vec<String>> {
    let mut server = Server::start(who, &case.setup())?;
    let mut session = Session::open(server.addr(), 20_000)?;
    build(&mut session, 0)?;
    session.close()?;
    let mut session = Session::open(server.addr(), 30_000)?;
    session.auth("some:body")?;
    wander(&mut session, 0, WANDER, &mut Dice::new(seed))?;
    session.close()?;
    server.stop();
    Ok(record_lines(log_records(&server.version_dir())?))
}

/// The records as text without what differs from run to run: times, and ids of sessions, which are
/// numbered in their order.
pub fn record_lines(records: Vec<LogRecord>) -> Vec<String> {
    let mut sessions = Vec::new();
    let mut lines = Vec::new();
    for LogRecord { mut entry, bytes } in records {
        if let Txn::CloseSession(Some(CloseSessionTxn { paths_to_delete })) = &mut entry.txn {
            // In Java the order of a hash set.
            paths_to_delete.sort();
        }
        let header = entry.header;
        if !sessions.contains(&header.client_id.0) {
            sessions.push(header.client_id.0);
        }
        let session = sessions.iter().position(|id| *id == header.client_id.0).unwrap_or_default();
        let digest = match entry.digest {
            None => "no digest".into(),
            Some(digest) => format!("digest version {}", digest.version),
        };
        let name = OpCode::from_i32(header.txn_type).map_or("?", OpCode::name);
        // A record may be longer than what it decodes to: then its length shows it.
        lines.push(format!(
            "zxid {} session #{session} cxid {} {} {name}: {:?}, {digest}, {bytes} bytes",
            header.zxid,
            header.cxid,
            crate::compare::render::time(header.time),
            entry.txn
        ));
    }
    lines
}
