//! The scripts driven as an operator does. Here `scripts/zkServer.sh`: words, environment variables,
//! output lines, exit codes. Where Java's script says something, the same is expected here.
//!
//! Most tests have a stand-in for the server behind the script, for they are about the script; the
//! last ones have the product.
#![expect(clippy::unwrap_used, reason = "a test: failing is its work")]

mod compare_with_java;

mod cluster;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Answers any connection with the first line of its `Mode`, as `srvr` does, until it is told to
/// end. Writes its arguments and its process id down first.
const STAND_IN: &str = r#"#!/usr/bin/env python3
import os, signal, socket, sys
if sys.argv[1] == "version":
    print("Apache ZooKeeper, version 3.9.4")
    sys.exit(0)
home = os.path.dirname(os.path.realpath(sys.argv[0]))
with open(os.path.join(home, "arguments"), "w") as out:
    flags = [os.environ.get(name, "unset") for name in ("SERVER_JVMFLAGS", "JVMFLAGS")]
    out.write("\n".join(flags + sys.argv[1:]))
if os.path.exists(os.path.join(home, "fails")):
    print("cannot start", file=sys.stderr)
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGHUP, signal.SIG_IGN)
config = [a for a in sys.argv[2:] if not a.startswith("-D")][0]
port = [l.split("=")[1].strip() for l in open(config) if l.startswith("clientPort=")]
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(port[0]) if port else 0))
listener.listen()
print("serving", flush=True)
while True:
    client, _ = listener.accept()
    word = client.recv(4)
    client.sendall(b"Zookeeper version: x\nMode: standalone\nNode count: 5\n" if word == b"srvr" else b"?")
    client.close()
"#;

/// A configuration directory, a log directory and a data directory of one test.
struct Operator {
    home: TempDir,
    script: PathBuf,
    binary: PathBuf,
    port: u16,
    environment: Vec<(String, String)>,
}

/// What a run of the script gave.
#[derive(Debug)]
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Outcome {
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Operator {
    /// With a stand-in behind the script. The directory's name has a blank in it, always.
    fn new() -> Operator {
        let operator = Operator::without_stand_in();
        fs::write(&operator.binary, STAND_IN).unwrap();
        fs::set_permissions(&operator.binary, fs::Permissions::from_mode(0o755)).unwrap();
        operator
    }

    /// With the product behind the script.
    fn real() -> Operator {
        let mut operator = Operator::without_stand_in();
        operator.binary = PathBuf::from(env!("CARGO_BIN_EXE_zabkeeper"));
        operator
    }

    fn without_stand_in() -> Operator {
        let home = TempDir::with_prefix("zabkeeper scripts ").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let operator = Operator {
            script: Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/zkServer.sh"),
            binary: home.path().join("stand-in"),
            home,
            port,
            environment: Vec::new(),
        };
        fs::create_dir(operator.path("conf")).unwrap();
        operator.configure("zoo.cfg", "");
        operator
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn configure(&self, name: &str, more: &str) {
        let text = format!(
            "# dataDir=/nowhere\ntickTime=2000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n{more}",
            self.path("data").display(),
            self.port,
        );
        fs::write(self.path("conf").join(name), text).unwrap();
    }

    fn set(&mut self, name: &str, value: impl AsRef<Path>) {
        self.environment.push((name.into(), value.as_ref().to_str().unwrap().into()));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.script);
        // Nothing of the environment that the tests run in may reach the script.
        for name in ["ZOOCFG", "ZOOPIDFILE", "JVMFLAGS", "SERVER_JVMFLAGS", "JMXPORT", "ZOO_NOEXEC"]
        {
            command.env_remove(name);
        }
        command
            .env("ZOOCFGDIR", self.path("conf"))
            .env("ZOO_LOG_DIR", self.path("logs"))
            .env("ZABKEEPER_BIN", &self.binary)
            .env("ZABKEEPER_NO_INSTALL", "1")
            .env("USER", "operator")
            .env("HOSTNAME", "host")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.command().args(arguments).output().unwrap().into()
    }

    /// Runs and compares exit code and stdout.
    #[track_caller]
    fn expect(&self, arguments: &[&str], code: i32, stdout: &str) -> Outcome {
        let outcome = self.run(arguments);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (code, stdout),
            "{arguments:?}\nstderr: {}\nserver: {}",
            outcome.stderr,
            self.server_output()
        );
        outcome
    }

    fn pid_file(&self) -> PathBuf {
        self.path("data/zookeeper_server.pid")
    }

    fn server_output(&self) -> String {
        fs::read_to_string(self.path("logs/zookeeper-operator-server-host.out")).unwrap_or_default()
    }

    fn arguments_of_server(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("arguments")).unwrap();
        text.lines().skip(2).map(str::to_owned).collect()
    }

    /// `SERVER_JVMFLAGS` and `JVMFLAGS` as the server saw them.
    fn flags_of_server(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("arguments")).unwrap();
        text.lines().take(2).map(str::to_owned).collect()
    }

    /// `status`, until it says that the server serves.
    #[track_caller]
    fn wait_until_it_serves(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let outcome = self.run(&["status"]);
            if outcome.code == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{outcome:?}\nserver: {}", self.server_output());
        }
    }

    fn found(&self) -> String {
        format!("Client port found: {}. Client address: 127.0.0.1. Client SSL: false.\n", self.port)
    }
}

impl Drop for Operator {
    /// Ends a server that a failed test left behind.
    fn drop(&mut self) {
        let Ok(pid) = fs::read_to_string(self.pid_file()) else { return };
        let Some(pid) = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw) else {
            return;
        };
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL); // Or it is gone.
    }
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn a_server_is_started_asked_and_stopped() {
    let operator = Operator::new();
    let outcome = operator.expect(&["start"], 0, "Starting zookeeper ... STARTED\n");
    let config = operator.path("conf/zoo.cfg");
    assert!(outcome.stderr.contains(&format!("Using config: {}\n", config.display())));
    let pid = fs::read_to_string(operator.pid_file()).unwrap();
    assert!(is_alive(&pid), "no process {pid}");
    assert_eq!(operator.arguments_of_server(), ["server", config.to_str().unwrap()]);

    operator.wait_until_it_serves();
    operator.expect(&["status"], 0, &format!("{}Mode: standalone\n", operator.found()));

    operator.expect(&["stop"], 0, "Stopping zookeeper ... STOPPED\n");
    assert!(!is_alive(&pid));
    assert!(!operator.pid_file().exists());
    assert_eq!(operator.server_output(), "serving\n");
}

#[test]
fn a_second_start_is_refused() {
    let operator = Operator::new();
    operator.expect(&["start"], 0, "Starting zookeeper ... STARTED\n");
    let pid = fs::read_to_string(operator.pid_file()).unwrap();
    let refused = format!("Starting zookeeper ... already running as process {pid}.\n");
    operator.expect(&["start"], 1, &refused);
    operator.expect(&["stop"], 0, "Stopping zookeeper ... STOPPED\n");
}

#[test]
fn a_pid_file_of_a_process_that_is_gone_does_not_hinder_a_start() {
    let operator = Operator::new();
    fs::create_dir(operator.path("data")).unwrap();
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::write(operator.pid_file(), gone.id().to_string()).unwrap();
    operator.expect(&["start"], 0, "Starting zookeeper ... STARTED\n");
    operator.expect(&["stop"], 0, "Stopping zookeeper ... STOPPED\n");
}

#[test]
fn stop_without_a_server_is_no_error() {
    let operator = Operator::new();
    let none = format!(
        "Stopping zookeeper ... no zookeeper to stop (could not find file {})\n",
        operator.pid_file().display()
    );
    operator.expect(&["stop"], 0, &none);
}

#[test]
fn a_server_that_ends_at_once_has_failed_to_start() {
    let operator = Operator::new();
    fs::write(operator.path("fails"), "").unwrap();
    operator.expect(&["start"], 1, "Starting zookeeper ... FAILED TO START\n");
    assert_eq!(operator.server_output(), "cannot start\n");
    let outcome = operator.expect(&["start-foreground"], 3, "");
    assert!(outcome.stderr.ends_with("cannot start\n"), "{outcome:?}");
}

#[test]
fn restart_keeps_the_configuration_directory() {
    let mut operator = Operator::new();
    operator.set("ZOOCFGDIR", "/nowhere");
    operator.expect(&["--config", "conf", "start"], 0, "Starting zookeeper ... STARTED\n");
    let first = fs::read_to_string(operator.pid_file()).unwrap();
    operator.expect(
        &["--config", "conf", "restart"],
        0,
        "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n",
    );
    let second = fs::read_to_string(operator.pid_file()).unwrap();
    assert_ne!(first, second);
    assert!(!is_alive(&first) && is_alive(&second));
    assert_eq!(operator.arguments_of_server(), ["server", "conf/zoo.cfg"]);
    operator.expect(&["--config", "conf", "stop"], 0, "Stopping zookeeper ... STOPPED\n");
}

#[test]
fn in_the_foreground_the_server_takes_the_place_of_the_script() {
    let check = |no_exec: bool| {
        let mut operator = Operator::new();
        if no_exec {
            operator.set("ZOO_NOEXEC", "true");
        }
        let mut child = operator
            .command()
            .arg("start-foreground")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        operator.wait_until_it_serves();
        let command = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        let command = String::from_utf8_lossy(&command).into_owned();
        assert_eq!(command.contains("stand-in"), !no_exec, "{command}");
        assert!(!operator.pid_file().exists());
        let pid = rustix::process::Pid::from_child(&child);
        if no_exec {
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            let server: i32 = fs::read_to_string(children).unwrap().trim().parse().unwrap();
            let server = rustix::process::Pid::from_raw(server).unwrap();
            rustix::process::kill_process(server, rustix::process::Signal::TERM).unwrap();
        } else {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
    };
    check(false);
    check(true);
}

#[test]
fn the_configuration_is_named_as_for_java() {
    let operator = Operator::new();
    operator.configure("other.cfg", "");
    fs::create_dir(operator.path("elsewhere")).unwrap();
    fs::copy(operator.path("conf/zoo.cfg"), operator.path("elsewhere/zoo.cfg")).unwrap();
    let conf = operator.path("conf");
    let check = |arguments: &[&str], config: &str| {
        let outcome = operator.run(arguments);
        assert_eq!(outcome.stderr.lines().next(), Some(&*format!("Using config: {config}")));
    };
    check(&["print-cmd"], conf.join("zoo.cfg").to_str().unwrap());
    check(&["print-cmd", "other.cfg"], conf.join("other.cfg").to_str().unwrap());
    check(&["print-cmd", "elsewhere/zoo.cfg"], "elsewhere/zoo.cfg");
    check(&["print-cmd", "./elsewhere/zoo.cfg"], "./elsewhere/zoo.cfg");
    check(&["--config", "elsewhere", "print-cmd"], "elsewhere/zoo.cfg");

    let mut operator = operator;
    operator.set("ZOOCFG", "other.cfg");
    let outcome = operator.run(&["print-cmd"]);
    assert!(outcome.stderr.contains("conf/other.cfg"), "{outcome:?}");
}

#[test]
fn the_command_is_printed_so_that_a_shell_can_run_it() {
    let mut operator = Operator::new();
    operator.set("JVMFLAGS", "-Xmx1g -Dzookeeper.a=2");
    let expected = format!(
        "JVMFLAGS=-Xmx1g\\ -Dzookeeper.a=2 \"{}\" server \"{}\" > \"{}\" 2>&1 < /dev/null\n",
        operator.binary.display(),
        operator.path("conf/zoo.cfg").display(),
        operator.path("logs/zookeeper-operator-server-host.out").display(),
    );
    operator.expect(&["print-cmd"], 0, &expected);
}

#[test]
fn flags_of_the_environment_and_of_java_env_reach_the_server() {
    let mut operator = Operator::new();
    fs::write(operator.path("conf/java.env"), "JVMFLAGS='-Dzookeeper.b=2'\n").unwrap();
    fs::write(
        operator.path("conf/zookeeper-env.sh"),
        "SERVER_JVMFLAGS='-Xmx64m -Dzookeeper.a=1'\n",
    )
    .unwrap();
    operator.set("ZOO_DATADIR_AUTOCREATE_DISABLE", "1");
    fs::create_dir_all(operator.path("data/version-2")).unwrap();
    operator.expect(&["start"], 0, "Starting zookeeper ... STARTED\n");
    operator.expect(&["stop"], 0, "Stopping zookeeper ... STOPPED\n");
    assert_eq!(operator.arguments_of_server()[2..], ["-Dzookeeper.datadir.autocreate=false"]);
    assert_eq!(operator.flags_of_server(), ["-Xmx64m -Dzookeeper.a=1", "-Dzookeeper.b=2"]);
}

#[test]
fn missing_data_directories_are_refused_when_creating_them_is_off() {
    let mut operator = Operator::new();
    operator.set("ZOO_DATADIR_AUTOCREATE_DISABLE", "1");
    let data = operator.path("data");
    let missing = format!(
        "ZooKeeper data directory is missing at {} fix the path or run initialize\n",
        data.display()
    );
    operator.expect(&["start"], 1, &missing);

    fs::create_dir_all(data.join("version-2")).unwrap();
    let logs = operator.path("txnlogs");
    operator.configure("zoo.cfg", &format!("dataLogDir={}\n", logs.display()));
    let missing = format!(
        "ZooKeeper txnlog directory is missing at {} fix the path or run initialize\n",
        logs.display()
    );
    operator.expect(&["start"], 1, &missing);
}

#[test]
fn the_pid_file_can_lie_elsewhere() {
    let mut operator = Operator::new();
    let pid_file = operator.path("run/a/server.pid");
    operator.set("ZOOPIDFILE", &pid_file);
    operator.expect(&["start"], 0, "Starting zookeeper ... STARTED\n");
    assert!(is_alive(&fs::read_to_string(&pid_file).unwrap()));
    operator.expect(&["stop"], 0, "Stopping zookeeper ... STOPPED\n");
    assert!(!pid_file.exists());
}

#[test]
fn version_and_usage_need_no_configuration() {
    let operator = Operator::new();
    fs::remove_dir_all(operator.path("conf")).unwrap();
    operator.expect(&["version"], 0, "Apache ZooKeeper, version 3.9.4\n");
    for arguments in [&[][..], &["begin"]] {
        let outcome = operator.expect(arguments, 0, "");
        let usage = "[--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}\n";
        assert!(outcome.stderr.starts_with("Usage: ") && outcome.stderr.ends_with(usage));
    }
}

#[test]
fn a_missing_configuration_is_said_and_nothing_is_created() {
    let operator = Operator::new();
    operator.expect(&["start", "none.cfg"], 1, "Starting zookeeper ... FAILED TO START\n");
    let outcome = operator.run(&["stop", "none.cfg"]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stderr.contains("none.cfg: no such file"), "{outcome:?}");
    assert!(!operator.path("data").exists());
}

#[test]
fn the_script_can_be_reached_through_symlinks() {
    let mut operator = Operator::new();
    fs::create_dir(operator.path("bin")).unwrap();
    symlink(&operator.script, operator.path("bin/first")).unwrap();
    symlink("first", operator.path("bin/zk")).unwrap();
    operator.script = operator.path("bin/zk");
    operator.expect(&["version"], 0, "Apache ZooKeeper, version 3.9.4\n");
}

#[test]
fn status_finds_the_port_where_java_finds_it() {
    let operator = Operator::new();
    fs::create_dir(operator.path("data")).unwrap();
    let data = operator.path("data");
    let down = "Error contacting service. It is probably not running.\n";
    // A port on which nothing listens: the lines before the last are what is looked at.
    let check = |config: &str, myid: Option<&str>, lines: &str| {
        let config = config.replace("PORT", &operator.port.to_string());
        let text = format!("dataDir = {} \n{config}\n", data.display());
        fs::write(operator.path("conf/zoo.cfg"), text).unwrap();
        match myid {
            Some(id) => fs::write(data.join("myid"), id).unwrap(),
            None => drop(fs::remove_file(data.join("myid"))),
        }
        operator.expect(&["status"], 1, &lines.replace("PORT", &operator.port.to_string()));
    };
    let found = |address: &str| {
        format!("Client port found: PORT. Client address: {address}. Client SSL: false.\n{down}")
    };
    check("clientPort=PORT", None, &found("localhost"));
    check("clientPort : PORT \r", None, &found("localhost"));
    check("#clientPort=1\n  clientPort PORT", None, &found("localhost"));
    check("clientPort=PORT\nclientPortAddress=127.0.0.2", None, &found("127.0.0.2"));

    check("server.3=a:1:2;PORT\nserver.33=a:1:2;1", Some("3\n"), &found("localhost"));
    check("server.3=a:1:2:participant;127.0.0.3:PORT", Some("3"), &found("127.0.0.3"));
    check("server.3=[::1]:1:2;[::1]:PORT", Some("3"), &found("::1"));

    let dynamic = operator.path("conf/zoo.cfg.dynamic");
    fs::write(&dynamic, format!("server.3=a:1:2;{}\n", operator.port)).unwrap();
    check(
        &format!("dynamicConfigFile={}", dynamic.display()),
        Some("3"),
        &format!(
            "Client port not found in static config file. Looking in dynamic config file.\n{}",
            found("localhost")
        ),
    );

    let no_myid =
        "myid could not be determined, will not able to locate clientPort in the server configs.\n";
    let secure = "Client port not found. Looking for secureClientPort in the static config.\n";
    check(
        "tickTime=2000",
        None,
        &format!(
            "{no_myid}{secure}Unable to find either secure or unsecure client port in any configs. Terminating.\n"
        ),
    );
    let outcome = {
        let text = format!("dataDir={}\nsecureClientPort=2281\n", data.display());
        fs::write(operator.path("conf/zoo.cfg"), text).unwrap();
        operator.run(&["status"])
    };
    assert_eq!(outcome.code, 1);
    let head = format!(
        "{no_myid}{secure}Client port found: 2281. Client address: localhost. Client SSL: true.\n"
    );
    assert!(outcome.stdout.starts_with(&head) && outcome.stdout.ends_with(down), "{outcome:?}");
}

#[test]
fn the_product_is_started_asked_restarted_and_stopped() {
    let operator = Operator::real();
    operator.expect(&["start"], 0, "Starting zookeeper ... STARTED\n");
    operator.wait_until_it_serves();
    operator.expect(&["status"], 0, &format!("{}Mode: standalone\n", operator.found()));
    operator.expect(
        &["restart"],
        0,
        "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n",
    );
    operator.wait_until_it_serves();
    let pid = fs::read_to_string(operator.pid_file()).unwrap();
    operator.expect(&["stop"], 0, "Stopping zookeeper ... STOPPED\n");
    assert!(!is_alive(&pid));
    assert!(operator.server_output().contains("Exiting normally"), "{}", operator.server_output());
    let down =
        format!("{}Error contacting service. It is probably not running.\n", operator.found());
    operator.expect(&["status"], 1, &down);
}

#[test]
fn the_product_says_its_version() {
    let outcome = Operator::real().run(&["version"]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stdout.starts_with("Apache ZooKeeper, version 3.9.4"), "{outcome:?}");
    assert_eq!(outcome.stdout.lines().count(), 1);
}

#[test]
fn the_product_ends_with_the_exit_codes_of_java() {
    let operator = Operator::real();
    operator.configure("broken.cfg", "tickTime=soon\n");
    let outcome = operator.run(&["start-foreground", "broken.cfg"]);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.stdout.contains("tickTime") && outcome.stdout.contains("soon"), "{outcome:?}");
    operator.expect(&["start", "broken.cfg"], 1, "Starting zookeeper ... FAILED TO START\n");

    operator.configure("nowhere.cfg", "dataDir=/proc/nowhere\n");
    let outcome = operator.run(&["start-foreground", "nowhere.cfg"]);
    assert_eq!(outcome.code, 3, "{outcome:?}");
}

#[test]
fn flags_reach_the_product() {
    let mut operator = Operator::real();
    fs::write(
        operator.path("conf/java.env"),
        "SERVER_JVMFLAGS='-Xmx1g -Dzookeeper.4lw.commands.whitelist=ruok'\n",
    )
    .unwrap();
    operator.set("JVMFLAGS", "-Dzookeeper.4lw.commands.whitelist=srvr,conf");
    operator.expect(&["start"], 0, "Starting zookeeper ... STARTED\n");
    operator.wait_until_it_serves();
    operator.expect(&["stop"], 0, "Stopping zookeeper ... STOPPED\n");
    let log = operator.server_output();
    assert!(log.contains("Ignoring flags that are for a Java machine: -Xmx1g"), "{log}");
}
