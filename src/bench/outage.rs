//! The time in which an ensemble takes no writes when one of its servers is killed.
//!
//! Every session writes one request after the other and moves to the next server when its own
//! fails, as any client does. What counts is the longest time after the kill in which no write of
//! any session was answered.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};

use super::args::{OutageArgs, resolve_servers};
use super::control::Measured;
use super::outcome::Outcome;
use super::report::Report;
use super::requests::node_path;
use super::setup::{self, Setup};
use crate::client::{ClientError, SessionCredentials, ZooKeeper};
use crate::proto::Zxid;

/// How long one connection or one answer is waited for before the next server is tried.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long a killed process may take to end, before it no longer matters.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts, once every server was tried.
const RETRY: Duration = Duration::from_millis(2);

/// Writes, kills, and measures.
pub fn outage(args: &OutageArgs) -> anyhow::Result<Report> {
    let servers = resolve_servers(&args.servers)?;
    let first = *servers.first().context("no servers")?;
    let setup = Setup::new(first, args.session_timeout, &args.root, "outage")?;
    setup.create_nodes(u64::from(args.sessions), args.size as usize)?;
    setup::catch_up(&servers, args.session_timeout)?;

    let start = Instant::now();
    let kill_at = start + Duration::try_from_secs_f64(args.warmup)?;
    let end = kill_at + Duration::try_from_secs_f64(args.duration)?;
    let mut outcome = Outcome::default();
    let mut answers: Vec<Instant> = Vec::new();
    let mut killed_at = kill_at;
    let (mut killed_unix, mut exit) = (Duration::ZERO, None);
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for index in 0..args.sessions {
            let mut writer = Writer {
                servers: &servers,
                next: index as usize,
                session_timeout_ms: args.session_timeout,
                session: None,
                last_zxid: Zxid(0),
                path: node_path(setup.dir(), u64::from(index)),
                data: vec![b'x'; args.size as usize],
                outcome: Outcome::default(),
                answers: Vec::new(),
            };
            let thread = thread::Builder::new().name("bench".to_owned());
            writers.push(thread.spawn_scoped(scope, move || {
                writer.run(end);
                (writer.outcome, writer.answers)
            })?);
        }
        thread::sleep(kill_at.saturating_duration_since(Instant::now()));
        if let Some(pid) = args.kill {
            let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = raw.with_context(|| format!("--kill {pid}: not a process id"))?;
            let handle = pidfd_open(pid, PidfdFlags::empty()).context("--kill")?;
            killed_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            killed_at = Instant::now();
            kill_process(pid, Signal::KILL).context("--kill")?;
            exit = await_exit(&handle).map(|at| at.duration_since(killed_at));
        }
        for writer in writers {
            let Ok((part, times)) = writer.join() else { bail!("a worker panicked") };
            outcome.add(&part);
            answers.extend(times);
        }
        Ok(())
    })?;
    let from = if args.kill.is_some() { killed_at } else { start };
    let silence = longest_silence(&mut answers, from, end);
    outcome.stall_max_ns = u64::try_from(silence.as_nanos()).unwrap_or(u64::MAX);
    let seconds = end.duration_since(start).as_secs_f64();
    let parameters: Vec<(&'static str, Value)> = vec![
        ("workload", json!("outage")),
        ("servers", json!(args.servers)),
        ("sessions", json!(args.sessions)),
        ("size", json!(args.size)),
        ("kill", json!(args.kill)),
    ];
    let mut report = Report::new(parameters, Measured { outcome, seconds, usage: None });
    report.unit = "writes";
    report.extras.push(("outage_ms", silence.as_secs_f64() * 1000.0));
    if args.kill.is_some() {
        report.extras.push(("killed_unix_s", killed_unix.as_secs_f64()));
    }
    if let Some(exit) = exit {
        report.extras.push(("exit_ms", exit.as_secs_f64() * 1000.0));
    }
    Ok(report)
}

/// When the process has ended, unless that takes longer than anybody would wait. Until then the
/// system has not closed its sockets, and nobody can know.
fn await_exit(process: &OwnedFd) -> Option<Instant> {
    let deadline = Instant::now() + EXIT_PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            Ok(1) => return Some(Instant::now()),
            _ => return None,
        }
    }
}

/// The longest time between two of the times, from `from` to `end`.
fn longest_silence(times: &mut Vec<Instant>, from: Instant, end: Instant) -> Duration {
    times.retain(|time| (from..end).contains(time));
    times.push(end);
    times.sort_unstable();
    let mut last = from;
    let mut longest = Duration::ZERO;
    for time in times.iter() {
        longest = longest.max(time.duration_since(last));
        last = *time;
    }
    longest
}

/// One session.
struct Writer<'a> {
    servers: &'a [SocketAddr],
    /// Index of the server to take next.
    next: usize,
    session_timeout_ms: i32,
    session: Option<SessionCredentials>,
    last_zxid: Zxid,
    path: String,
    data: Vec<u8>,
    outcome: Outcome,
    /// When each write was answered.
    answers: Vec<Instant>,
}

impl Writer<'_> {
    fn run(&mut self, end: Instant) {
        let mut failures = 0;
        while Instant::now() < end {
            match self.write_until(end) {
                Ok(()) => return,
                Err(ClientError::SessionExpired) => {
                    self.outcome.lost(&ClientError::SessionExpired);
                    self.session = None;
                    self.last_zxid = Zxid(0);
                }
                // The next server: that is what clients are for.
                Err(_) => failures += 1,
            }
            if failures % self.servers.len() == 0 {
                thread::sleep(RETRY);
            }
        }
    }

    /// On one connection.
    fn write_until(&mut self, end: Instant) -> Result<(), ClientError> {
        let server = self.servers.get(self.next % self.servers.len()).copied();
        let Some(server) = server else { return Ok(()) };
        self.next += 1;
        let mut zk = match &self.session {
            None => ZooKeeper::connect(server, self.session_timeout_ms, ATTEMPT)?,
            Some(session) => ZooKeeper::reattach(
                server,
                self.session_timeout_ms,
                session,
                self.last_zxid,
                ATTEMPT,
            )?,
        };
        self.session = Some(zk.credentials());
        while Instant::now() < end {
            let began = Instant::now();
            let result = zk.set(&self.path, Some(&self.data), -1);
            let now = Instant::now();
            self.last_zxid = self.last_zxid.max(zk.last_zxid());
            match result {
                Ok(_) => {
                    self.outcome.completed += 1;
                    let nanos = now.duration_since(began).as_nanos();
                    self.outcome.latencies.record(u64::try_from(nanos).unwrap_or(u64::MAX));
                    self.answers.push(now);
                }
                Err(ClientError::Code(code)) => self.outcome.error(code as i32),
                Err(error) => {
                    // The next connection counts the requests on from here.
                    self.session = Some(zk.credentials());
                    return Err(error);
                }
            }
        }
        // The run is over; how the session ends does not matter.
        let _ = zk.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_counts_both_ends() {
        let from = Instant::now();
        let at = |ms| from + Duration::from_millis(ms);
        let check = |times: &[u64], expected: u64| {
            let mut times: Vec<_> = times.iter().map(|ms| at(*ms)).collect();
            let silence = longest_silence(&mut times, from, at(1000));
            assert_eq!(silence, Duration::from_millis(expected), "{times:?}");
        };
        check(&[], 1000);
        check(&[100, 900], 800);
        check(&[900, 100, 500], 400);
        check(&[700, 2000], 700);
        check(&[100], 900);
    }
}
