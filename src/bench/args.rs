//! The command line of `zabkeeper bench`.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Load generator for any ZooKeeper server.
///
/// A closed loop by default: every session keeps --window requests under way. With --rate it is an
/// open loop: requests start when the clock says so, and a latency counts from that moment, so
/// that a stalled server cannot hide the requests it kept from being sent.
#[derive(Debug, Parser)]
#[command(name = "zabkeeper bench", version)]
pub struct BenchArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The workloads and tools.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create nodes of --size bytes, each session below a parent of its own.
    Create(LoadArgs),
    /// Set the data of --nodes nodes at random.
    Set(LoadArgs),
    /// Get the data of --nodes nodes at random.
    Get(LoadArgs),
    /// Ask whether a node is there, --nodes nodes at random.
    Exists(LoadArgs),
    /// List the children of a node that has --names of them.
    Children(ChildrenArgs),
    /// Gets and sets of --nodes nodes at random.
    Mixed(MixedArgs),
    /// Multis of several sets each; one multi counts as one operation.
    Multi(MultiArgs),
    /// Open a session and close it again, in --sessions places at a time.
    Connect(LoadArgs),
    /// Set one node that --sessions sessions watch; one event counts as one operation.
    Watch(WatchArgs),
    /// Hold --sessions sessions open that only ping; one ping counts as one operation.
    Idle(IdleArgs),
    /// The machine's bare limit: the same load against an echo server of the same framing.
    Echo(EchoArgs),
    /// The disk's bare limit: append and fdatasync, one after the other.
    Fdatasync(FdatasyncArgs),
    /// Wait until a server answers a read or a write, and tell how long that took.
    FirstRead(FirstReadArgs),
    /// Write without a pause, kill a server, and tell how long nothing could be written.
    Outage(OutageArgs),
}

/// What every workload takes.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Servers, host:port, separated by commas; sessions are spread over them.
    #[arg(long, default_value = "127.0.0.1:2181")]
    pub servers: String,
    /// Sessions, each with a connection of its own.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sessions: u32,
    /// Requests under way per session. With --rate an upper bound; 0 is none.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub window: u32,
    /// Open loop: requests per second over all sessions.
    #[arg(long, value_parser = positive_rate)]
    pub rate: Option<f64>,
    /// Data bytes of a node.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub size: u32,
    /// Nodes that the requests are spread over.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=99_999_999))]
    pub nodes: u32,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub duration: f64,
    /// Seconds of load before that.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub warmup: f64,
    /// Stop after so many operations in place of a time; there is no warm-up then.
    #[arg(long)]
    pub count: Option<u64>,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Session timeout to ask for, in milliseconds.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(i32).range(1..))]
    pub session_timeout: i32,
    /// The node below which everything happens; made when missing.
    #[arg(long, default_value = "/zabkeeper-bench")]
    pub root: String,
    /// Leave the nodes there.
    #[arg(long)]
    pub keep: bool,
    /// A line of progress every second, on standard error.
    #[arg(long)]
    pub live: bool,
    /// Write the report as JSON to this file; "-" is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Servers on this machine, separated by commas: report the sum of their CPU time and memory.
    #[arg(long, value_name = "PIDS", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
}

/// Options of `children`.
#[derive(Debug, Clone, Args)]
pub struct ChildrenArgs {
    /// Children of the node.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub names: u32,
    /// The rest.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Options of `mixed`.
#[derive(Debug, Clone, Args)]
pub struct MixedArgs {
    /// Gets in a hundred operations; the others are sets.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub read_percent: u32,
    /// The rest.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Options of `multi`.
#[derive(Debug, Clone, Args)]
pub struct MultiArgs {
    /// Sets in one multi.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub ops: u32,
    /// The rest.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// How watchers watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WatchMode {
    /// A watch set by getData, again after each event.
    OneShot,
    /// A persistent watch, set once.
    Persistent,
}

/// Options of `watch`.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// How watchers watch. One-shot watches wait until all are set again before the next set;
    /// with persistent ones --window sets are under way.
    #[arg(long, value_enum, default_value_t = WatchMode::OneShot)]
    pub mode: WatchMode,
    /// The rest.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Options of `idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// Milliseconds between the pings of a session; by default a third of the session timeout.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub ping_interval: Option<u64>,
    /// The rest.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// The requests that the echo server is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EchoWorkload {
    /// Gets.
    Get,
    /// Sets.
    Set,
    /// Creates.
    Create,
    /// Sessions opened and closed.
    Connect,
}

/// Options of `echo`.
#[derive(Debug, Clone, Args)]
pub struct EchoArgs {
    /// What is sent.
    #[arg(long, value_enum, default_value_t = EchoWorkload::Get)]
    pub workload: EchoWorkload,
    /// Write what has arrived to a file and sync it before it is answered: the limit for writes.
    #[arg(long)]
    pub fdatasync: bool,
    /// Directory of that file.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// The rest; --servers and --server-pid mean nothing here.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Options of `fdatasync`.
#[derive(Debug, Clone, Args)]
pub struct FdatasyncArgs {
    /// Directory of the file.
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Bytes per append.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub size: u32,
    /// Reserve the file's blocks only, without writing them first: what a server pays that
    /// preallocates with fallocate or a sparse file.
    #[arg(long)]
    pub unwritten: bool,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub duration: f64,
    /// Write the report as JSON to this file; "-" is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Options of `first-read`.
#[derive(Debug, Clone, Args)]
pub struct FirstReadArgs {
    /// The server.
    #[arg(long, default_value = "127.0.0.1:2181")]
    pub server: String,
    /// The node to read.
    #[arg(long, default_value = "/zookeeper")]
    pub path: String,
    /// Wait for a write in place of a read: an ephemeral node is created beside the path.
    #[arg(long)]
    pub write: bool,
    /// When the clock was started, in seconds since 1970 with a fraction (bash: $EPOCHREALTIME);
    /// by default now.
    #[arg(long)]
    pub since: Option<f64>,
    /// Seconds after which to give up.
    #[arg(long, default_value_t = 120.0, value_parser = seconds)]
    pub timeout: f64,
    /// Servers on this machine, separated by commas: report the sum of their memory.
    #[arg(long, value_name = "PIDS", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Write the report as JSON to this file; "-" is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Options of `outage`.
#[derive(Debug, Clone, Args)]
pub struct OutageArgs {
    /// Servers, host:port, separated by commas; a session whose server fails takes the next one.
    #[arg(long)]
    pub servers: String,
    /// Sessions that write, each with one request under way.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub sessions: u32,
    /// The process to kill (SIGKILL); without one the longest silence of the whole run is told.
    #[arg(long, value_name = "PID")]
    pub kill: Option<u32>,
    /// Seconds of load before the kill.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub warmup: f64,
    /// Seconds of load after it.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub duration: f64,
    /// Data bytes of a node.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub size: u32,
    /// Session timeout to ask for, in milliseconds.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(i32).range(1..))]
    pub session_timeout: i32,
    /// The node below which everything happens; made when missing.
    #[arg(long, default_value = "/zabkeeper-bench")]
    pub root: String,
    /// Write the report as JSON to this file; "-" is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl BenchArgs {
    /// Parses the arguments behind `zabkeeper bench`.
    pub fn parse_from_bench(
        args: impl Iterator<Item = OsString>,
    ) -> Result<BenchArgs, clap::Error> {
        BenchArgs::try_parse_from(std::iter::once(OsString::from("zabkeeper bench")).chain(args))
    }
}

/// The addresses of `host:port,…`, the first one of each name.
pub fn resolve_servers(servers: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addrs = Vec::new();
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        let mut found =
            server.to_socket_addrs().map_err(|error| anyhow::anyhow!("{server}: {error}"))?;
        addrs.push(found.next().ok_or_else(|| anyhow::anyhow!("{server}: no address"))?);
    }
    anyhow::ensure!(!addrs.is_empty(), "no servers");
    Ok(addrs)
}

fn positive_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.001..=100_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("not a rate between 0.001 and 100000000".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1_000_000.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<BenchArgs, clap::Error> {
        BenchArgs::parse_from_bench(line.split_whitespace().map(OsString::from))
    }

    fn check_refused(line: &str) {
        assert!(parse(line).is_err(), "{line}");
    }

    #[test]
    fn the_command_is_consistent() {
        use clap::CommandFactory;
        BenchArgs::command().debug_assert();
    }

    #[test]
    fn workloads_have_the_defaults_of_the_documentation() {
        let Command::Get(load) = parse("get").unwrap().command else { panic!() };
        assert_eq!((load.sessions, load.window, load.size, load.nodes), (100, 8, 100, 1000));
        assert_eq!((load.rate, load.threads, load.keep), (None, 1, false));
        let line = "mixed --read-percent 50 --rate 2000.5 --sessions 3 --json -";
        let Command::Mixed(mixed) = parse(line).unwrap().command else { panic!() };
        assert_eq!((mixed.read_percent, mixed.load.rate), (50, Some(2000.5)));
    }

    #[test]
    fn nonsense_is_refused() {
        check_refused("");
        check_refused("get --sessions 0");
        check_refused("get --rate -1");
        check_refused("get --rate NaN");
        check_refused("get --duration inf");
        check_refused("mixed --read-percent 101");
        check_refused("frobnicate");
    }

    #[test]
    fn servers_are_a_list() {
        let servers = resolve_servers("127.0.0.1:1, 127.0.0.1:2").unwrap();
        assert_eq!(servers.iter().map(SocketAddr::port).collect::<Vec<_>>(), [1, 2]);
        assert!(resolve_servers("").is_err());
        assert!(resolve_servers("127.0.0.1").is_err());
    }
}
