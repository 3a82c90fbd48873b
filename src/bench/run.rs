//! From the command line to the report.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use super::args::{
    BenchArgs, ChildrenArgs, Command, EchoArgs, EchoWorkload, IdleArgs, LoadArgs, MixedArgs,
    MultiArgs, WatchArgs, WatchMode, resolve_servers,
};
use super::connect::ConnectWorker;
use super::control::{Control, Watching};
use super::echo::EchoServer;
use super::idle::IdleWorker;
use super::load::{LoadWorker, Numbers, Source};
use super::outage;
use super::report::Report;
use super::requests::{Template, node_path};
use super::sessions::{lift_file_limit, open_sessions};
use super::setup::{self, Setup};
use super::single;
use super::usage::{Usage, machine_available_kb};
use super::watch::WatchWorker;

/// Runs `zabkeeper bench` with the arguments behind these words. Exit code 0: measured without
/// trouble; 1: errors, lost sessions or no measurement at all; 2: bad arguments.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match BenchArgs::parse_from_bench(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match execute(&args.command) {
        Ok(report) if report.outcome.trouble().is_none() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("zabkeeper bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command) -> anyhow::Result<Report> {
    lift_file_limit();
    let (report, json) = match command {
        Command::Create(load) => (create(load)?, &load.json),
        Command::Set(load) => (nodes("set", load, source_of(Template::set))?, &load.json),
        Command::Get(load) => (nodes("get", load, |dir, _| plain(Template::get(dir)))?, &load.json),
        Command::Exists(load) => {
            (nodes("exists", load, |dir, _| plain(Template::exists(dir)))?, &load.json)
        }
        Command::Children(args) => (children(args)?, &args.load.json),
        Command::Mixed(args) => (mixed(args)?, &args.load.json),
        Command::Multi(args) => (multi(args)?, &args.load.json),
        Command::Connect(load) => (connect(load)?, &load.json),
        Command::Watch(args) => (watch(args)?, &args.load.json),
        Command::Idle(args) => (idle(args)?, &args.load.json),
        Command::Echo(args) => (echo(args)?, &args.load.json),
        Command::Fdatasync(args) => (single::fdatasync(args)?, &args.json),
        Command::FirstRead(args) => (single::first_read(args)?, &args.json),
        Command::Outage(args) => (outage::outage(args)?, &args.json),
    };
    report.publish(json.as_deref())?;
    Ok(report)
}

/// What the sessions of a load send: the request, and the writes of a mixture.
type Requests = (Arc<Template>, Option<(Arc<Template>, u32)>);

fn plain(template: Template) -> Requests {
    (Arc::new(template), None)
}

fn source_of(template: fn(&str, usize) -> Template) -> impl Fn(&str, &LoadArgs) -> Requests {
    move |dir, load| plain(template(dir, load.size as usize))
}

fn create(load: &LoadArgs) -> anyhow::Result<Report> {
    let servers = resolve_servers(&load.servers)?;
    let setup = Setup::new(first(&servers)?, load.session_timeout, &load.root, "create")?;
    setup.create_dirs((0..load.sessions).map(parent_name))?;
    let report = drive("create", load, &servers, watching(load), |index| Source {
        template: Arc::new(Template::create(
            &format!("{}/{}", setup.dir(), parent_name(index)),
            load.size as usize,
        )),
        mixture: None,
        numbers: Numbers::Rising(0),
    })?;
    clean(load, &setup)?;
    Ok(report)
}

/// A load on `--nodes` nodes of one parent.
fn nodes(
    workload: &str,
    load: &LoadArgs,
    requests: impl Fn(&str, &LoadArgs) -> Requests,
) -> anyhow::Result<Report> {
    let servers = resolve_servers(&load.servers)?;
    let setup = Setup::new(first(&servers)?, load.session_timeout, &load.root, workload)?;
    setup.create_nodes(u64::from(load.nodes), load.size as usize)?;
    let (template, mixture) = requests(setup.dir(), load);
    let report = drive(workload, load, &servers, watching(load), |index| Source {
        template: Arc::clone(&template),
        mixture: mixture.clone(),
        numbers: Numbers::random(u64::from(load.nodes), u64::from(index) + 1),
    })?;
    clean(load, &setup)?;
    Ok(report)
}

fn mixed(args: &MixedArgs) -> anyhow::Result<Report> {
    let mut report = nodes("mixed", &args.load, |dir, load| {
        let write = Arc::new(Template::set(dir, load.size as usize));
        (Arc::new(Template::get(dir)), Some((write, args.read_percent)))
    })?;
    report.parameters.push(("read_percent", json!(args.read_percent)));
    Ok(report)
}

fn multi(args: &MultiArgs) -> anyhow::Result<Report> {
    let mut report = nodes("multi", &args.load, |dir, load| {
        plain(Template::multi(dir, load.size as usize, args.ops as usize))
    })?;
    report.parameters.push(("ops", json!(args.ops)));
    Ok(report)
}

fn children(args: &ChildrenArgs) -> anyhow::Result<Report> {
    let load = &args.load;
    let servers = resolve_servers(&load.servers)?;
    let setup = Setup::new(first(&servers)?, load.session_timeout, &load.root, "children")?;
    setup.create_nodes(u64::from(args.names), 0)?;
    let template = Arc::new(Template::children(setup.dir()));
    let mut report = drive("children", load, &servers, watching(load), |_| Source {
        template: Arc::clone(&template),
        mixture: None,
        numbers: Numbers::Rising(0),
    })?;
    report.parameters.push(("names", json!(args.names)));
    clean(load, &setup)?;
    Ok(report)
}

/// Opens the sessions, deals them to the threads, runs.
fn drive(
    workload: &str,
    load: &LoadArgs,
    servers: &[SocketAddr],
    watching: Watching,
    source: impl Fn(u32) -> Source,
) -> anyhow::Result<Report> {
    // Another server of an ensemble may not have what was made through the first.
    setup::catch_up(servers, load.session_timeout)?;
    let opened = open_sessions(servers, load.sessions as usize, load.session_timeout)?;
    let sessions: Vec<_> = opened.into_iter().zip((0..).map(source)).collect();
    let workers = deal(sessions, load.threads).into_iter().map(|sessions| {
        let rate = load.rate.map(|rate| rate * sessions.len() as f64 / f64::from(load.sessions));
        LoadWorker { sessions, window: load.window as usize, rate }
    });
    let workers = workers.map(|worker| |control: &Control| worker.run(control));
    let measured = start(load)?.run(workers.collect(), watching)?;
    Ok(Report::new(parameters(workload, load), measured))
}

fn connect(load: &LoadArgs) -> anyhow::Result<Report> {
    connect_to(load, resolve_servers(&load.servers)?, watching(load))
}

fn connect_to(
    load: &LoadArgs,
    servers: Vec<SocketAddr>,
    watching: Watching,
) -> anyhow::Result<Report> {
    ensure!(load.rate.is_none(), "--rate does not go with sessions opened and closed");
    let places = vec![(); load.sessions as usize];
    let workers = deal(places, load.threads).into_iter().map(|places| ConnectWorker {
        servers: servers.clone(),
        places: places.len(),
        session_timeout_ms: load.session_timeout,
    });
    let workers = workers.map(|worker| |control: &Control| worker.run(control));
    let measured = start(load)?.run(workers.collect(), watching)?;
    let mut report = Report::new(parameters("connect", load), measured);
    report.unit = "sessions";
    Ok(report)
}

fn watch(args: &WatchArgs) -> anyhow::Result<Report> {
    let load = &args.load;
    ensure!(load.rate.is_none(), "--rate does not go with watches");
    let servers = resolve_servers(&load.servers)?;
    let setup = Setup::new(first(&servers)?, load.session_timeout, &load.root, "watch")?;
    setup.create_nodes(1, load.size as usize)?;
    let count = load.sessions as usize;
    let watchers = open_sessions(&servers, count, load.session_timeout)?;
    let mut setters = open_sessions(&servers, 1, load.session_timeout)?;
    let worker = WatchWorker {
        setter: setters.remove(0),
        watchers,
        path: node_path(setup.dir(), 0),
        size: load.size as usize,
        mode: args.mode,
        window: load.window as usize,
    };
    let workers = vec![|control: &Control| worker.run(control)];
    let measured = start(load)?.run(workers, watching(load))?;
    let mut report = Report::new(parameters("watch", load), measured);
    report.unit = "events";
    let mode = match args.mode {
        WatchMode::OneShot => "one-shot",
        WatchMode::Persistent => "persistent",
    };
    report.parameters.push(("mode", json!(mode)));
    clean(load, &setup)?;
    Ok(report)
}

fn idle(args: &IdleArgs) -> anyhow::Result<Report> {
    let load = &args.load;
    ensure!(load.rate.is_none(), "--rate does not go with idle sessions");
    ensure!(load.count.is_none(), "--count does not go with idle sessions");
    let servers = resolve_servers(&load.servers)?;
    let before = Usage::of_all(&load.server_pid)?;
    let machine_before = machine_available_kb();
    let began = std::time::Instant::now();
    let sessions = open_sessions(&servers, load.sessions as usize, load.session_timeout)?;
    let opening = began.elapsed().as_secs_f64();
    let machine_after = machine_available_kb();
    let granted_ms = sessions.iter().map(|session| session.timeout_ms).min().unwrap_or(1);
    let interval_ms =
        args.ping_interval.unwrap_or_else(|| u64::try_from(granted_ms / 3).unwrap_or(1).max(1));
    let workers = deal(sessions, load.threads)
        .into_iter()
        .map(|sessions| IdleWorker { sessions, interval: interval_ms * 1_000_000 })
        .map(|worker| |control: &Control| worker.run(control));
    let measured = start(load)?.run(workers.collect(), watching(load))?;
    let mut report = Report::new(parameters("idle", load), measured);
    report.unit = "pings";
    report.parameters.push(("ping_interval_ms", json!(interval_ms)));
    report.extras.push(("seconds_to_open", opening));
    if let (Some(before), Some((_, after))) = (before, report.usage) {
        let grown = after.rss_kb as f64 - before.rss_kb as f64;
        report.extras.push(("server_rss_kb_before", before.rss_kb as f64));
        report.extras.push(("server_rss_kb_per_session", grown / f64::from(load.sessions)));
    }
    if let (Some(before), Some(after)) = (machine_before, machine_after) {
        // With the kernel's part: stacks and sockets, those of the generator too.
        let used = before as f64 - after as f64;
        report.extras.push(("machine_kb_per_session", used / f64::from(load.sessions)));
    }
    Ok(report)
}

fn echo(args: &EchoArgs) -> anyhow::Result<Report> {
    let load = &args.load;
    let log_dir: Option<&Path> = args.fdatasync.then_some(args.dir.as_path());
    let server = EchoServer::start(load.size as usize, log_dir)?;
    let servers = vec![server.addr()];
    let watching = Watching { live: load.live, pids: vec![std::process::id()] };
    let dir = "/zabkeeper-bench/echo-123456789ab";
    let size = load.size as usize;
    let (workload, template) = match args.workload {
        EchoWorkload::Get => ("get", Template::get(dir)),
        EchoWorkload::Set => ("set", Template::set(dir, size)),
        EchoWorkload::Create => ("create", Template::create(dir, size)),
        EchoWorkload::Connect => ("connect", Template::get(dir)),
    };
    let mut report = if args.workload == EchoWorkload::Connect {
        connect_to(load, servers, watching)?
    } else {
        let template = Arc::new(template);
        drive(workload, load, &servers, watching, |index| Source {
            template: Arc::clone(&template),
            mixture: None,
            numbers: Numbers::random(u64::from(load.nodes), u64::from(index) + 1),
        })?
    };
    report.shares_process = true;
    let kind = if args.fdatasync { "echo+fdatasync" } else { "echo" };
    report.parameters.push(("target", json!(kind)));
    Ok(report)
}

/// Deals things out to so many threads, as evenly as can be.
fn deal<T>(things: Vec<T>, threads: u32) -> Vec<Vec<T>> {
    let threads = (threads as usize).clamp(1, things.len().max(1));
    let mut hands: Vec<Vec<T>> = Vec::new();
    hands.resize_with(threads, Vec::new);
    for (index, thing) in things.into_iter().enumerate() {
        hands[index % threads].push(thing);
    }
    hands
}

fn start(load: &LoadArgs) -> anyhow::Result<Control> {
    let warmup = Duration::try_from_secs_f64(load.warmup)?;
    let duration = Duration::try_from_secs_f64(load.duration)?;
    Ok(Control::start(warmup, duration, load.count))
}

fn watching(load: &LoadArgs) -> Watching {
    Watching { live: load.live, pids: load.server_pid.clone() }
}

fn clean(load: &LoadArgs, setup: &Setup) -> anyhow::Result<()> {
    if load.keep { Ok(()) } else { setup.remove() }
}

fn first(servers: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    servers.first().copied().ok_or_else(|| anyhow::anyhow!("no servers"))
}

/// The parent of what session `index` creates.
fn parent_name(index: u32) -> String {
    format!("s{index:04}")
}

fn parameters(workload: &str, load: &LoadArgs) -> Vec<(&'static str, Value)> {
    vec![
        ("workload", json!(workload)),
        ("servers", json!(load.servers)),
        ("sessions", json!(load.sessions)),
        ("window", json!(load.window)),
        ("rate", json!(load.rate)),
        ("size", json!(load.size)),
        ("nodes", json!(load.nodes)),
        ("threads", json!(load.threads)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_dealt_evenly() {
        let hands = deal((0..10).collect(), 3);
        assert_eq!(hands.iter().map(Vec::len).collect::<Vec<_>>(), [4, 3, 3]);
        assert_eq!(deal(vec![1], 8).len(), 1);
        assert_eq!(deal(Vec::<u8>::new(), 8).len(), 1);
    }

    #[test]
    fn bad_arguments_are_told_from_failures() {
        let code = |line: &str| run(line.split_whitespace().map(OsString::from));
        assert_eq!(code("nonsense"), ExitCode::from(2));
        assert_eq!(code("--help"), ExitCode::SUCCESS);
        assert_eq!(code("connect --rate 5"), ExitCode::FAILURE);
    }

    fn check_echo(line: &str) {
        let words = format!("{line} --sessions 4 --warmup 0 --duration 0.1 --json -");
        let args = words.split_whitespace().map(OsString::from);
        let args = BenchArgs::parse_from_bench(args).unwrap();
        let Command::Echo(echo_args) = &args.command else { panic!() };
        let report = echo(echo_args).unwrap();
        assert!(report.outcome.completed > 0, "{line}: {}", report.to_table());
        assert_eq!(report.outcome.trouble(), None, "{line}");
    }

    #[test]
    fn every_loop_gets_its_answers() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().display();
        check_echo("echo");
        check_echo("echo --window 1 --threads 2");
        check_echo("echo --rate 1000");
        check_echo("echo --rate 1000 --window 0 --workload create");
        check_echo("echo --count 1000 --workload set");
        check_echo("echo --workload connect");
        check_echo(&format!("echo --fdatasync --workload set --dir {dir}"));
        check_echo(&format!("echo --fdatasync --workload connect --dir {dir}"));
    }

    #[test]
    fn one_session_is_driven_without_epoll() {
        let words = "echo --sessions 1 --window 1 --warmup 0 --duration 0.1";
        let args =
            BenchArgs::parse_from_bench(words.split_whitespace().map(OsString::from)).unwrap();
        let Command::Echo(echo_args) = &args.command else { panic!() };
        let report = echo(echo_args).unwrap();
        assert!(report.outcome.completed > 0);
        assert_eq!(report.outcome.trouble(), None);
    }
}
