//! Starts that the harness does not make: the short form, flags in the environment, and
//! configurations that are refused.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use tempfile::TempDir;
use zabkeeper::compare::port::Port;
use zabkeeper::compare::process::Process;

use crate::support::both::check_lines;
use crate::support::server::{Target, four_letter_word, java_command, java_home};
use crate::support::wire::{Wire, new_session};
use crate::support::{PATIENCE, wait_until};

/// `args` as they follow `zabkeeper server`; `defines` are `name=value`. zabkeeper gets them as Java's
/// scripts do, by the environment.
fn start(target: Target, directory: &Path, args: &[String], defines: &[&str]) -> Process {
    let flags: Vec<String> = defines.iter().map(|define| format!("-D{define}")).collect();
    let mut command = match target {
        Target::Java => {
            let mut java = java_command(java_home().expect("there is a Java server"));
            java.arg("-Dzookeeper.admin.enableServer=false").args(flags);
            java.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
            java
        }
        Target::Zabkeeper => {
            let mut zabkeeper = Command::new(env!("CARGO_BIN_EXE_zabkeeper"));
            zabkeeper.arg("server").env("SERVER_JVMFLAGS", flags.join(" "));
            zabkeeper
        }
    };
    let log = File::create(directory.join("log")).unwrap();
    command.args(args).current_dir(directory).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    Process::spawn(&mut command, None).unwrap()
}

fn wait(process: &mut Process) -> Option<ExitStatus> {
    wait_until(PATIENCE, || process.ended())
}

#[test]
fn short_form_and_flags_of_the_environment() {
    check_lines("short_form_and_flags_of_the_environment", &|target| {
        let directory = TempDir::with_prefix("zabkeeper-test-").unwrap();
        let port = Port::claim().unwrap();
        let args = [port.number().to_string(), "data".into(), "700".into(), "2".into()];
        let defines = ["zookeeper.4lw.commands.whitelist=conf,ruok", "zookeeper.maxCnxns=0"];
        let _server = start(target, directory.path(), &args, &defines);
        let address = port.addr();
        let conf = wait_until(PATIENCE, || {
            four_letter_word(address, "conf").ok().filter(|text| text.contains("tickTime"))
        });
        let conf = conf.unwrap_or_default();
        let is_told = |line: &&str| {
            !line.contains("Dir")
                && !line.starts_with("dataLog")
                && !line.starts_with("clientPort=")
        };
        let mut lines: Vec<String> = conf.lines().filter(is_told).map(str::to_owned).collect();
        lines.push(format!("stat: {:?}", four_letter_word(address, "stat").unwrap()));
        // The connections of the words may not have ended yet.
        let session = |timeout_ms| {
            let mut wire = Wire::try_open(address).ok()?;
            let response = wire.handshake(&new_session(timeout_ms))?;
            Some((wire, response.timeout_ms))
        };
        let (one, low) = wait_until(PATIENCE, || session(1)).expect("a session");
        let (two, high) = wait_until(PATIENCE, || session(1_000_000)).expect("a session");
        lines.push(format!("timeouts {low} to {high}"));
        lines.push(format!("a third connection: {}", session(1).is_some()));
        drop((one, two));
        lines
    });
}

/// Lines of the file, and what the message must name; by code of Java.
const REFUSED: &[(&str, &[&str])] = &[
    ("clientPort=70000", &["clientPort", "70000"]),
    ("clientPort=many", &["clientPort", "many"]),
    ("tickTime=abc", &["tickTime", "abc"]),
    ("tickTime=0", &["tickTime"]),
    ("minSessionTimeout=5000\nmaxSessionTimeout=100", &["maxSessionTimeout", "5000", "100"]),
    ("maxClientCnxns=many", &["maxClientCnxns", "many"]),
    ("autopurge.purgeInterval=1h", &["autopurge.purgeInterval", "1h"]),
    ("jvm.pause.monitor=maybe", &["jvm.pause.monitor", "maybe"]),
    ("reconfigEnabled=on", &["reconfigEnabled", "on"]),
    ("electionAlg=1", &["electionAlg", "1"]),
    ("peerType=king", &["peertype", "king"]),
    ("metricsProvider.className=foo.Bar", &["metricsProvider.className", "foo.Bar"]),
    ("secureClientPort=0", &["secureClientPort"]),
    ("serverCnxnFactory=foo.Bar", &["serverCnxnFactory", "foo.Bar"]),
    ("watchManagerName=foo.Bar", &["watchManagerName", "foo.Bar"]),
    ("nio.numSelectorThreads=0", &["numSelectorThreads"]),
    ("intBufferStartingSizeBytes=16", &["intBufferStartingSizeBytes", "16"]),
    ("connection_throttle_drop_increase=x", &["connection_throttle_drop_increase", "x"]),
    ("enforce.auth.enabled=true", &["enforce.auth.schemes"]),
    ("enforce.auth.enabled=true\nenforce.auth.schemes=foo", &["enforce.auth.schemes", "foo"]),
    ("sessionRequireClientSASLAuth=true", &["sessionRequireClientSASLAuth", "sasl"]),
    ("maxSessionTimeout=-5", &["maxSessionTimeout", "-5"]),
    ("DigestAuthenticationProvider.digestAlg=FOO", &["digestAlg", "FOO"]),
    ("pathStats.sampleRate=x", &["pathStats.sampleRate", "x"]),
    ("pathStats.slotCapacity=0", &["pathStats.slotCapacity", "0"]),
    ("pathStats.enabled=true\npathStats.delay=0", &["pathStats.delay", "0"]),
    ("datadir.autocreate=false", &["data"]),
    ("dataDir=./log", &["log"]),
    ("clientPort=BUSY", &["BUSY"]),
    ("clientPortAddress=127.0.0.1\n#clientPort", &["clientPortAddress", "127.0.0.1"]),
    ("server.1=a:1", &["server.1", "a:1"]),
];

#[test]
fn wrong_settings_end_the_start_with_the_code_of_java() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let busy = listener.local_addr().unwrap().port().to_string();
    check_lines("wrong_settings_end_the_start_with_the_code_of_java", &|target| {
        let port = Port::claim().unwrap();
        let try_one = |(conf, names): &(&str, &[&str])| {
            let directory = TempDir::with_prefix("zabkeeper-test-").unwrap();
            let mut text = String::from("dataDir=./data\n");
            if !conf.contains("#clientPort") {
                text += &format!("clientPort={}\n", port.number());
            }
            text += &conf.replace("BUSY", &busy);
            fs::write(directory.path().join("zoo.cfg"), text).unwrap();
            let mut server = start(target, directory.path(), &["zoo.cfg".to_owned()], &[]);
            let code = wait(&mut server).and_then(|status| status.code());
            let log = fs::read(directory.path().join("log")).unwrap();
            let log = String::from_utf8_lossy(&log);
            if target == Target::Zabkeeper {
                for name in *names {
                    let name = name.replace("BUSY", &busy);
                    assert!(log.contains(&name), "{conf:?}: no word of {name:?} in\n{log}");
                }
            }
            format!("{}: {code:?}", conf.replace('\n', ", "))
        };
        REFUSED.iter().map(try_one).collect()
    });
}
