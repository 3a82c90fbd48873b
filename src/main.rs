//! The one binary: subcommands, each a line into the library.

use std::process::ExitCode;

/// The commands that there are, for the usage.
const USAGE: &str = "\
Usage: zabkeeper COMMAND [ARGUMENT...]

  server CONF | PORT DATADIR [TICKTIME [MAXCNXNS]]   run a server (also -Dname=value)
  bench  WORKLOAD [OPTION...]                        load any ZooKeeper server (see bench --help)
  compare COMMAND [OPTION...]                        two servers side by side (see compare --help)
  version                                            print the version
";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    args.next();
    let command = args.next().unwrap_or_default();
    match command.to_str() {
        Some("server") => {
            let words = args.map(|arg| arg.to_string_lossy().into_owned());
            zabkeeper::run::quorum_peer_main::run(words).into()
        }
        Some("bench") => zabkeeper::bench::run(args),
        Some("compare") => zabkeeper::compare::run(args),
        Some("version" | "--version" | "-V") => {
            println!("Apache ZooKeeper, version {}", zabkeeper::server::version::full());
            ExitCode::SUCCESS
        }
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
