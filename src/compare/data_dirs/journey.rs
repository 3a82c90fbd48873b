//! A directory on its way from server to server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::cases::{Case, End};
use super::dump::{Dump, Mismatch};
use super::history::{build, wander};
use super::log_files::{last_logged, remove_snapshots, snapshots, tear_tail};
use super::session::{Credentials, Session};
use crate::client::{four_letter_word, request_frame};
use crate::compare::launch::{Implementation, LaunchError, Server};
use crate::compare::random::Dice;
use crate::jute::Jute;
use crate::proto::messages::{
    CreateRequest, ExistsRequest, GetEphemeralsRequest, GetEphemeralsResponse,
};
use crate::proto::{Acl, OpCode};

/// Random operations before each handover.
const WANDER: usize = 150;
/// The node below which what is meant to be lost lives.
const LOST: &str = "/lost";
/// A session whose client does not come back: its timeout, and how long it may take to expire.
const LOST_TIMEOUT_MS: i32 = 1000;
const EXPIRY_MAX: Duration = Duration::from_secs(20);

/// What was found on a way.
#[derive(Debug, Default)]
pub struct Findings {
    /// Things that were compared.
    pub compared: u64,
    /// What differs without an explanation, each with where.
    pub mismatches: Vec<(String, Mismatch)>,
    /// What differs on purpose: the entry's id, where, and what.
    pub deliberate: Vec<(&'static str, String, Mismatch)>,
}

impl Findings {
    /// Counts a comparison of two things.
    fn check(&mut self, place: &str, what: &str, before: &str, after: &str) {
        self.compared += 1;
        if before != after {
            let what = what.to_owned();
            let (before, after) = (before.to_owned(), after.to_owned());
            self.mismatches.push((place.to_owned(), Mismatch { what, before, after }));
        }
    }
}

/// What the next server must find.
struct Carried {
    dump: Dump,
    lasting: Credentials,
    ephemerals: Vec<String>,
    zxid: String,
    lost: Credentials,
    lost_path: String,
    /// Java has written the newest snapshots.
    is_from_java: bool,
}

/// A server's turn with the directory.
struct Stop<'a> {
    case: &'a Case,
    server: &'a mut Server,
    /// Which turn, counted from 0.
    n: usize,
    /// `java, turn 1`.
    place: String,
    /// Digests that did not match when the server started.
    mismatches: String,
}

/// Sends a directory along the route: history, end, next server, comparison, and again.
pub fn hand_over(
    case: &Case,
    route: &[&Implementation],
    seed: u64,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut route = route.iter().enumerate();
    let Some((_, first)) = route.next() else { return Ok(()) };
    // The owner of the directory, which outlives the servers that run in it.
    let mut home = Server::start(first, &case.setup())?;
    let mut dice = Dice::new(seed);
    let mut stop = Stop::new(case, &mut home, 0, first);
    let mut lasting = Session::open(stop.server.addr(), 120_000)?;
    lasting.create("/lasting", Some(b"e"), Acl::open_unsafe(), 1)?;
    lasting.create(LOST, None, Acl::open_unsafe(), 0)?;
    let mut carried = stop.act_and_end(lasting, &mut dice, findings)?;
    let dir = home.dir().to_owned();
    for (n, implementation) in route {
        let mut guest = Server::on_dir(&dir, implementation, &case.setup());
        let mut stop = Stop::new(case, &mut guest, n, implementation);
        if !stop.start(findings)? {
            return Ok(());
        }
        let lasting = stop.compare(&carried, findings)?;
        carried = stop.act_and_end(lasting, &mut dice, findings)?;
    }
    Ok(())
}

impl<'a> Stop<'a> {
    fn new(case: &'a Case, server: &'a mut Server, n: usize, name: &Implementation) -> Stop<'a> {
        Stop { case, server, n, place: format!("{name}, turn {n}"), mismatches: "0".into() }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// False when the server refuses to start with the directory, which is noted.
    fn start(&mut self, findings: &mut Findings) -> anyhow::Result<bool> {
        findings.compared += 1;
        let Err(error) = self.server.restart() else { return Ok(true) };
        let LaunchError::Dead { why, log, .. } = &error else { return Err(error.into()) };
        let mismatch = Mismatch {
            what: "the start with the directory".into(),
            before: "serves".into(),
            after: format!("{why}\n{log}"),
        };
        let is_java = matches!(self.server.implementation(), Implementation::Java { .. });
        match self.case.refused_by_java.filter(|_| is_java) {
            Some(id) => findings.deliberate.push((id, self.place.clone(), mismatch)),
            None => findings.mismatches.push((self.place.clone(), mismatch)),
        }
        Ok(false)
    }

    /// What is there now against what was there before; the session that lasts, taken up again.
    fn compare(&mut self, before: &Carried, findings: &mut Findings) -> anyhow::Result<Session> {
        let zxid = zxid(self.addr())?;
        // Unless the session that is to expire was faster, which is a transaction.
        let sessions = four_letter_word(self.addr(), "dump", Duration::from_secs(10))?;
        if sessions.contains(&before.lost_path) {
            findings.check(&self.place, "the last zxid", &before.zxid, &zxid);
        }
        let wrong = Credentials { passwd: [7; 16], ..before.lasting };
        let refused = Session::take(self.addr(), &wrong)?.is_none();
        findings.check(&self.place, "a wrong password", "refused: true", &refused_text(refused));
        let Some(mut lasting) = Session::take(self.addr(), &before.lasting)? else {
            let id = before.lasting.id;
            bail!("{}: the session {id:#x} is lost\n{}", self.place, self.server.log_tail());
        };
        let text = |session: &Credentials| format!("{session:x?}");
        let now = text(&lasting.credentials());
        findings.check(&self.place, "the session", &text(&before.lasting), &now);
        let held = ephemerals(&mut lasting)?.join("\n");
        findings.check(&self.place, "its ephemerals", &before.ephemerals.join("\n"), &held);
        let after = Dump::of(self.addr())?.without(LOST);
        findings.compared += before.dump.len() as u64;
        let found = before.dump.mismatches(&after).into_iter();
        findings.mismatches.extend(found.map(|one| (self.place.clone(), one)));
        self.compare_digests(before.is_from_java, findings)?;
        self.expect_expiry(&mut lasting, before, findings)?;
        Ok(lasting)
    }

    /// A session whose client does not come back ends here, with its ephemeral.
    fn expect_expiry(
        &self,
        session: &mut Session,
        before: &Carried,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let request = ExistsRequest { path: before.lost_path.clone(), watch: false };
        let deadline = Instant::now() + EXPIRY_MAX;
        let mut is_gone = false;
        while !is_gone && Instant::now() < deadline {
            is_gone = session.call(OpCode::Exists, &request)?.header.err == -101;
            if !is_gone {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let expired = |gone: bool| if gone { "gone" } else { "there" };
        let what = "the ephemeral of a session that expires";
        findings.check(&self.place, what, expired(true), expired(is_gone));
        let refused = Session::take(self.addr(), &before.lost)?.is_none();
        findings.check(&self.place, "an expired session", "refused: true", &refused_text(refused));
        Ok(())
    }

    /// Digests that do not match what log and snapshot say are a bug of one of the two, but for one:
    /// Java reads the digest of a snapshot while the next transaction may be applied already in
    /// part, and then its snapshot is ahead of its digest until that transaction is replayed.
    fn compare_digests(&mut self, from_java: bool, findings: &mut Findings) -> anyhow::Result<()> {
        self.mismatches = mismatching_digests(self.addr())?;
        let what = "mismatching digests";
        if from_java && self.mismatches == "1" {
            findings.compared += 1;
            let (before, after) = ("0".to_owned(), self.mismatches.clone());
            let mismatch = Mismatch { what: what.to_owned(), before, after };
            findings.deliberate.push(("fuzzy-snapshot", self.place.clone(), mismatch));
        } else {
            findings.check(&self.place, what, "0", &self.mismatches);
        }
        Ok(())
    }

    /// Nothing that is applied while the server runs may make them more.
    fn check_digests(&self, findings: &mut Findings) -> anyhow::Result<()> {
        let now = mismatching_digests(self.addr())?;
        findings.check(&self.place, "mismatching digests", &self.mismatches, &now);
        Ok(())
    }

    /// More history, then the end, and what is done to the directory.
    fn act_and_end(
        &mut self,
        mut lasting: Session,
        dice: &mut Dice,
        findings: &mut Findings,
    ) -> anyhow::Result<Carried> {
        let (addr, n) = (self.addr(), self.n);
        let mut session = Session::open(addr, 20_000)?;
        build(&mut session, n).with_context(|| self.place.clone())?;
        session.close()?;
        let mut session = Session::open(addr, 20_000)?;
        session.auth("some:body")?;
        wander(&mut session, n, WANDER, dice).with_context(|| self.place.clone())?;
        session.close()?;
        lasting.create(&format!("/lasting-{n}"), None, Acl::open_unsafe(), 1)?;
        self.wait_for_snapshot()?;
        let dump = Dump::of(addr)?.without(LOST);
        self.check_digests(findings)?;
        let ephemerals = ephemerals(&mut lasting)?;
        let mut forgotten = Session::open(addr, LOST_TIMEOUT_MS)?;
        let lost_path = format!("{LOST}/{n}");
        forgotten.create(&lost_path, None, Acl::open_unsafe(), 1)?;
        if self.case.tear.is_some() {
            // The last record of the log.
            lasting.create(&format!("/torn-{n}"), None, Acl::open_unsafe(), 0)?;
        }
        match self.case.end {
            End::Kill => self.server.kill(),
            End::Term => {
                self.server.stop();
            }
        }
        let version_dir = self.server.version_dir();
        if let Some(how) = self.case.tear {
            tear_tail(&version_dir, how)?;
        }
        // Not asked before the end: a session may expire meanwhile.
        let last = last_logged(&version_dir)?.context("an empty log")?;
        let zxid = format!("{last:#x}");
        if self.case.is_log_only {
            remove_snapshots(&version_dir)?;
        }
        let lasting = lasting.credentials();
        let lost = forgotten.credentials();
        let is_from_java = matches!(self.server.implementation(), Implementation::Java { .. });
        Ok(Carried { dump, lasting, ephemerals, zxid, lost, lost_path, is_from_java })
    }

    /// A case about a kind of snapshots is none without one.
    fn wait_for_snapshot(&self) -> anyhow::Result<()> {
        let Some(ending) = self.case.snapshot_ending else { return Ok(()) };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = snapshots(&self.server.version_dir())?;
            if found.iter().any(|path| path.to_string_lossy().ends_with(ending)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} writes no snapshot with {ending}", self.place);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn refused_text(refused: bool) -> String {
    format!("refused: {refused}")
}

fn ephemerals(session: &mut Session) -> anyhow::Result<Vec<String>> {
    let request = GetEphemeralsRequest { prefix_path: Some("/".to_owned()) };
    let reply = session.must(OpCode::GetEphemerals, &request)?;
    let mut paths = reply.decode::<GetEphemeralsResponse>()?.ephemerals;
    paths.sort();
    Ok(paths)
}

/// "0" where the server does not count them.
fn mismatching_digests(addr: SocketAddr) -> anyhow::Result<String> {
    let mntr = four_letter_word(addr, "mntr", Duration::from_secs(10))?;
    let count = mntr.lines().find_map(|line| line.strip_prefix("zk_digest_mismatches_count\t"));
    Ok(count.unwrap_or("0").trim().to_owned())
}

fn zxid(addr: SocketAddr) -> anyhow::Result<String> {
    let srvr = four_letter_word(addr, "srvr", Duration::from_secs(10))?;
    let zxid = srvr.lines().find_map(|line| line.strip_prefix("Zxid: "));
    Ok(zxid.context("no zxid in srvr")?.trim().to_owned())
}

/// A kill in the middle of a stream of writes: what was acknowledged is there for the next server,
/// what is there has no hole, and each node is as it was acknowledged.
pub fn stream(
    case: &Case,
    route: &[&Implementation],
    seed: u64,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut route = route.iter().enumerate();
    let Some((_, first)) = route.next() else { return Ok(()) };
    let mut home = Server::start(first, &case.setup())?;
    let mut acknowledged = write_until_killed(&mut home, seed)?;
    let mut wrote_java = matches!(first, Implementation::Java { .. });
    let dir = home.dir().to_owned();
    for (n, implementation) in route {
        let mut guest = Server::on_dir(&dir, implementation, &case.setup());
        let mut stop = Stop::new(case, &mut guest, n, implementation);
        if !stop.start(findings)? {
            return Ok(());
        }
        let place = stop.place.clone();
        let dump = Dump::of(stop.addr())?;
        let count = dump.nodes.keys().filter(|path| path.starts_with("/w-")).count();
        findings.compared += count as u64;
        let names: BTreeMap<String, ()> =
            (0..count).map(|number| (format!("/w-{number:010}"), ())).collect();
        let holes: Vec<&String> =
            names.keys().filter(|path| !dump.nodes.contains_key(*path)).collect();
        findings.check(&place, "missing in the middle", "[]", &format!("{holes:?}"));
        let lost = acknowledged.saturating_sub(count);
        findings.check(&place, "acknowledged writes that are lost", "0", &lost.to_string());
        let from_java = wrote_java;
        wrote_java = matches!(stop.server.implementation(), Implementation::Java { .. });
        stop.compare_digests(from_java, findings)?;
        acknowledged = count + write_until_killed(&mut guest, seed.wrapping_add(n as u64))?;
    }
    Ok(())
}

/// Sends 2,000 creates at once, and kills the server when some of them were acknowledged. How many
/// were.
fn write_until_killed(server: &mut Server, seed: u64) -> anyhow::Result<usize> {
    let mut session = Session::open(server.addr(), 20_000)?;
    let request = CreateRequest {
        path: "/w-".into(),
        data: Some(b"x"[..].into()),
        acl: Acl::open_unsafe(),
        flags: 2,
    };
    let body = request.to_bytes();
    let mut bytes = Vec::new();
    for xid in 1..=2000 {
        bytes.extend(request_frame(xid, OpCode::Create.as_i32(), &body));
    }
    session.send_bytes(&bytes)?;
    let mut acknowledged = 0;
    let enough = 200 + Dice::new(seed).roll(1200);
    while acknowledged < enough {
        let reply = session.next_reply().context("the server ends by itself")?;
        if reply.header.err != 0 {
            bail!("create: {}", reply.header.err);
        }
        acknowledged += 1;
    }
    server.kill();
    // What was on its way counts as well.
    while session.next_reply().is_some_and(|reply| reply.header.err == 0) {
        acknowledged += 1;
    }
    Ok(acknowledged)
}
