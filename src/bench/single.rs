//! The measurements without sessions: `fdatasync` and `first-read`.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::args::{FdatasyncArgs, FirstReadArgs, resolve_servers};
use super::control::Measured;
use super::outcome::Outcome;
use super::report::Report;
use super::sync_file::SyncFile;
use super::usage::{Usage, thread_cpu_ns};
use crate::client::{ClientError, ZooKeeper};
use crate::proto::{Acl, CreateMode};

/// Appends before measuring.
const WARMUP_APPENDS: u32 = 100;
/// How long one connection is waited for: Java's server now and then never answers one that it took
/// while it was starting.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between attempts to reach a server that is starting: much less than any start takes.
const RETRY: Duration = Duration::from_millis(1);
/// The session timeout to ask for.
const SESSION_TIMEOUT_MS: i32 = 30_000;

/// Appends and syncs, one after the other.
pub fn fdatasync(args: &FdatasyncArgs) -> anyhow::Result<Report> {
    let mut file = SyncFile::create(&args.dir, !args.unwritten)?;
    let bytes = vec![1; args.size as usize];
    for _ in 0..WARMUP_APPENDS {
        file.append(&bytes)?;
    }
    let mut outcome = Outcome::default();
    let (start, cpu) = (Instant::now(), thread_cpu_ns());
    while start.elapsed().as_secs_f64() < args.duration {
        if args.unwritten && file.is_full(bytes.len() as u64) {
            file = SyncFile::create(&args.dir, false)?;
        }
        let began = Instant::now();
        file.append(&bytes)?;
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        outcome.latencies.record(nanos);
        outcome.stall_max_ns = outcome.stall_max_ns.max(nanos);
        outcome.completed += 1;
    }
    outcome.generator_cpu_ns = thread_cpu_ns().saturating_sub(cpu);
    let seconds = start.elapsed().as_secs_f64();
    let parameters: Vec<(&'static str, Value)> = vec![
        ("workload", json!("fdatasync")),
        ("size", json!(args.size)),
        ("blocks", json!(if args.unwritten { "unwritten" } else { "written" })),
    ];
    let mut report = Report::new(parameters, Measured { outcome, seconds, usage: None });
    report.unit = "syncs";
    Ok(report)
}

/// Asks until a read is answered.
pub fn first_read(args: &FirstReadArgs) -> anyhow::Result<Report> {
    let start = Instant::now();
    // How much of the time was over before this process came to be.
    let before = match (args.since, SystemTime::now().duration_since(UNIX_EPOCH)) {
        (Some(since), Ok(now)) => {
            Duration::try_from_secs_f64((now.as_secs_f64() - since).max(0.0)).unwrap_or_default()
        }
        _ => Duration::ZERO,
    };
    let timeout = Duration::try_from_secs_f64(args.timeout)?;
    let server = *resolve_servers(&args.server)?.first().context("no server")?;
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        let result = ZooKeeper::connect(server, SESSION_TIMEOUT_MS, left.clamp(RETRY, ATTEMPT))
            .and_then(|mut zk| ask(args, &mut zk).map(|()| zk));
        match result {
            Ok(zk) => {
                let elapsed = before + start.elapsed();
                let usage = Usage::of_all(&args.server_pid)?;
                // The answer was measured; how the session ends does not matter.
                let _ = zk.close();
                return Ok(first_read_report(args, elapsed, usage));
            }
            Err(error) if start.elapsed() >= timeout => {
                bail!("no answer from {} within {} s: {error}", args.server, args.timeout)
            }
            Err(_) => thread::sleep(RETRY),
        }
    }
}

/// The read or the write that is waited for.
fn ask(args: &FirstReadArgs, zk: &mut ZooKeeper) -> Result<(), ClientError> {
    if !args.write {
        return zk.get(&args.path, false).map(drop);
    }
    let parent = args.path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let wanted = format!("{parent}/first-write-");
    zk.create(&wanted, None, &Acl::open_unsafe(), CreateMode::EphemeralSequential).map(drop)
}

fn first_read_report(args: &FirstReadArgs, elapsed: Duration, usage: Option<Usage>) -> Report {
    let mut outcome = Outcome { completed: 1, ..Outcome::default() };
    outcome.latencies.record(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    let usage = usage.map(|usage| (Usage::default(), usage));
    let parameters: Vec<(&'static str, Value)> = vec![
        ("workload", json!(if args.write { "first-write" } else { "first-read" })),
        ("servers", json!(args.server)),
        ("path", json!(args.path)),
    ];
    let seconds = elapsed.as_secs_f64();
    let mut report = Report::new(parameters, Measured { outcome, seconds, usage });
    report.unit = if args.write { "writes" } else { "reads" };
    report
}
