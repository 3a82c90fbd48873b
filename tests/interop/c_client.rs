//! The C client, where its command line `cli_mt` is installed.

use std::process::Command;
use std::time::Duration;

use crate::support::server::targets;
use crate::{SHARED, run};

#[test]
fn cli_mt_reads_and_writes() {
    let Some(cli) = ["/usr/bin/cli_mt", "/usr/lib/zookeeper/bin/cli_mt"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
    else {
        // Optional even where the other clients are required.
        eprintln!("skipped: the C client: cli_mt is not installed");
        return;
    };
    for &target in targets() {
        let connect_string = SHARED.server(target).connect_string();
        for (command, expected) in [
            ("cmd:create /c-client", ""),
            ("cmd:set /c-client data", ""),
            ("cmd:get /c-client", "data"),
            ("cmd:delete /c-client", ""),
        ] {
            let mut cli = Command::new(cli);
            cli.arg(&connect_string).arg(command);
            let (_, output) = run(&mut cli, Duration::from_secs(20));
            assert!(output.contains(expected), "{target}: {command}: {output}");
        }
    }
}
