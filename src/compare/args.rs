//! The command line of `zabkeeper compare`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use super::data_dirs::{self, Direction};
use super::side_spec::SideSpec;
use super::{command, record, replay, report_command};

/// Compares two ZooKeeper servers: what they answer, and what they leave on disk.
///
/// Exit code 0: nothing differs but what is meant to; 1: something else differs, or the comparison
/// could not be made; 2: bad arguments.
#[derive(Debug, Parser)]
#[command(name = "zabkeeper compare", version, args_conflicts_with_subcommands = true)]
pub struct CompareArgs {
    /// What to do, when it is something else than scenarios and random sequences.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Scenarios and random sequences.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to run. Without a choice: all scenarios, and twenty random sequences.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The two servers; those that are given by HOST:PORT must be empty and know the super user.
    #[command(flatten)]
    pub sides: SidesArgs,
    /// Run these scenarios or groups of them, separated by commas; `all`, or `none`.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub scenario: Vec<String>,
    /// Print the names of the scenarios.
    #[arg(long)]
    pub list: bool,
    /// Print the table of deliberate differences.
    #[arg(long)]
    pub deliberate: bool,
    /// Run so many random sequences.
    #[arg(long, value_name = "N")]
    pub random: Option<u64>,
    /// The first sequence's seed; the others count up from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Requests of a random sequence.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub ops: u32,
    /// Sessions of a random sequence.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub sessions: u32,
    /// Pairs of servers that are driven at the same time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// Run the script in this file.
    #[arg(long, value_name = "FILE", group = "given", conflicts_with_all = CHOICES)]
    pub replay: Option<PathBuf>,
    /// Run this script: steps separated by newlines or by ` / `.
    #[arg(long, value_name = "STEPS", group = "given", conflicts_with_all = CHOICES)]
    pub script: Option<String>,
    /// The configuration of the servers that `--replay` and `--script` start.
    #[arg(long, default_value = "random", requires = "given")]
    pub flavor: String,
    /// Print what both sides answer to `--replay` and `--script`, also where it is the same.
    #[arg(long, requires = "given")]
    pub show: bool,
    /// Stop at the first script that shows an unexplained difference.
    #[arg(long)]
    pub fail_fast: bool,
    /// Do not shorten the sequences that show a difference.
    #[arg(long)]
    pub no_shrink: bool,
    /// Write the report as JSON; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What to run, other than one script.
const CHOICES: [&str; 2] = ["scenario", "random"];

/// The ways to compare, and their tools.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hand data directories from server to server, and compare what is in them.
    DataDirs(DataDirsArgs),
    /// Record what clients say to a server: a proxy between them.
    Record(RecordArgs),
    /// Take two servers through what was recorded, and compare.
    Replay(ReplayArgs),
    /// Show a comparison as a page, and add the figures of scripts/bench-vs-java.sh.
    Report(ReportArgs),
}

/// The two servers.
#[derive(Debug, Clone, Args)]
pub struct SidesArgs {
    /// The reference: HOST:PORT, `java[:HOME]` or `zabkeeper[:BINARY]`; java alone takes ZOOKEEPER_HOME.
    #[arg(long, default_value = "java")]
    pub left: SideSpec,
    /// The server that is compared with it, likewise; zabkeeper alone is this program.
    #[arg(long, default_value = "zabkeeper")]
    pub right: SideSpec,
}

/// Options of `data-dirs`.
#[derive(Debug, Clone, Args)]
pub struct DataDirsArgs {
    /// The two servers, which are started here.
    #[command(flatten)]
    pub sides: SidesArgs,
    /// Only this case; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub case: Vec<String>,
    /// Only this direction; may be given several times.
    #[arg(long, value_enum)]
    pub direction: Vec<Direction>,
    /// The seed of the first history.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Histories for each case and direction.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub histories: u64,
    /// So many at a time.
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
    /// Write what was found as JSON to this file; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Name the cases and stop.
    #[arg(long)]
    pub list: bool,
}

/// Options of `record`.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// Where clients connect, HOST:PORT; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// The server, HOST:PORT.
    #[arg(long)]
    pub to: String,
    /// The recording; must not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// The recording.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The two servers; both should hold what the recorded server held in the beginning.
    #[command(flatten)]
    pub sides: SidesArgs,
    /// A line of zoo.cfg for servers that are started; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", default_values = REPLAY_CONF)]
    pub conf: Vec<String>,
    /// A system property for them.
    #[arg(long, value_name = "KEY=VALUE")]
    pub property: Vec<String>,
    /// Write what was found as JSON to this file; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Only print the script that the recording is turned into.
    #[arg(long)]
    pub print: bool,
}

/// Lenient, for nobody knows how the recorded server was configured.
pub const REPLAY_CONF: &[&str] = &[
    "4lw.commands.whitelist=*",
    "extendedTypesEnabled=true",
    "maxClientCnxns=0",
    "minSessionTimeout=1000",
    "maxSessionTimeout=60000",
];

/// Options of `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// What was found: files that --json of the comparing commands wrote; several are put together.
    #[arg(long, value_name = "FILE", required = true)]
    pub json: Vec<PathBuf>,
    /// The file that scripts/bench-vs-java.sh --json wrote.
    #[arg(long, value_name = "FILE")]
    pub bench: Option<PathBuf>,
    /// Write the page to this file; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write what was put together to this file; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print no table.
    #[arg(long)]
    pub quiet: bool,
}

/// Runs `zabkeeper compare` with the arguments behind these words.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("zabkeeper compare");
    let args = match CompareArgs::try_parse_from(std::iter::once(name).chain(args)) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let is_same = match &args.command {
        None => command::run(&args.run),
        Some(Command::DataDirs(args)) => data_dirs::run(args),
        Some(Command::Record(args)) => record::run(args).map(|()| true),
        Some(Command::Replay(args)) => replay::run(args),
        Some(Command::Report(args)) => report_command::run(args),
    };
    match is_same {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("zabkeeper compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_arguments_are_told_from_failures() {
        let code = |line: &str| run(line.split_whitespace().map(OsString::from));
        assert_eq!(code("nonsense"), ExitCode::from(2));
        assert_eq!(code("record"), ExitCode::from(2));
        // What would have no effect.
        assert_eq!(code("--show"), ExitCode::from(2));
        assert_eq!(code("--flavor plain --random 1"), ExitCode::from(2));
        assert_eq!(code("--script x --scenario nodes"), ExitCode::from(2));
        assert_eq!(code("--script x --replay y"), ExitCode::from(2));
        assert_eq!(code("--help"), ExitCode::SUCCESS);
        assert_eq!(code("report --json no/such/file"), ExitCode::FAILURE);
    }
}
