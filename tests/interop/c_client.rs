//! The C client, where its command line `cli_mt` is installed.

use std::process::Command;
use std::time::Duration;

use crate::support::server::targets;
use crate::{SHARED, run};

#[test]
fn cli_mt_reads_and_writes() {
    // Debian's zookeeper-bin, or what the variable says.
    let cli = std::env::var("ZOOKEEPER_C_CLI").unwrap_or("/usr/lib/zookeeper/bin/cli_mt".into());
    if !std::path::Path::new(&cli).exists() {
        // Optional even where the other clients are required.
        eprintln!("skipped: the C client: cli_mt is not installed");
        return;
    }
    for &target in targets() {
        let connect_string = SHARED.server(target).connect_string();
        for (command, expected) in [
            ("cmd:create /c-client", "[/c-client]: rc = 0"),
            ("cmd:set /c-client data", "version=1"),
            ("cmd:get /c-client", "value_len = 4\ndata"),
            ("cmd:delete /c-client", "/c-client: rc = 0"),
        ] {
            let mut cli = Command::new(&cli);
            cli.arg(&connect_string).arg(command);
            let (_, output) = run(&mut cli, Duration::from_secs(20));
            assert!(output.contains(expected), "{target}: {command}: {output}");
        }
    }
}
