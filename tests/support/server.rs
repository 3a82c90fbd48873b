//! A server under test: zabkeeper or Java's, in its own directory, on a port of its own.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::wait_until;

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Apache ZooKeeper, from `ZOOKEEPER_HOME`.
    Java,
    /// The binary of this package.
    Zabkeeper,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Java => "java",
            Target::Zabkeeper => "zabkeeper",
        })
    }
}

/// The targets whose answers are compared, Java first. Says once why Java is left out. Servers older
/// than the release that is ported differ in details, so Java is one of them only when it is a
/// 3.9, or asked for by name in `ZABKEEPER_TEST_TARGETS`.
pub fn targets() -> &'static [Target] {
    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let asked = std::env::var("ZABKEEPER_TEST_TARGETS");
        let is_same_release = asked.is_ok() || java_version().is_none_or(|v| v.starts_with("3.9."));
        if !is_same_release {
            eprintln!("the Java server is no 3.9: comparing with what 3.9.4 answered");
        }
        let mut targets = exchange_targets();
        targets.retain(|target| is_same_release || *target != Target::Java);
        targets
    })
}

/// The targets that read each other's files, Java first: of whatever release it is.
pub fn exchange_targets() -> Vec<Target> {
    let wanted = std::env::var("ZABKEEPER_TEST_TARGETS").unwrap_or("java,zabkeeper".into());
    let is_wanted = |name| wanted.split(',').any(|one| one == name);
    let mut targets = Vec::new();
    if is_wanted("java") && java_home().is_some() {
        targets.push(Target::Java);
    }
    if is_wanted("zabkeeper") {
        targets.push(Target::Zabkeeper);
    }
    targets
}

/// The release of the Java server, from the name of its jar: "3.9.4".
pub fn java_version() -> Option<String> {
    let jars = fs::read_dir(java_home()?.join("lib")).ok()?;
    jars.flatten().find_map(|jar| {
        let name = jar.file_name().into_string().ok()?;
        let version = name.strip_prefix("zookeeper-")?.strip_suffix(".jar")?;
        version.starts_with('3').then(|| version.to_owned())
    })
}

/// The unpacked release to compare with; `None` (said once on stderr) when there is none.
pub fn java_home() -> Option<&'static Path> {
    static HOME: OnceLock<Option<PathBuf>> = OnceLock::new();
    HOME.get_or_init(|| {
        let found = find_java();
        if let Err(why) = &found {
            let required = std::env::var("ZABKEEPER_REQUIRE_JAVA").is_ok_and(|v| v == "1");
            assert!(!required, "ZABKEEPER_REQUIRE_JAVA=1, but {why}");
            eprintln!("no Java server to compare with: {why}");
        }
        found.ok()
    })
    .as_deref()
}

fn find_java() -> Result<PathBuf, String> {
    let home = std::env::var_os("ZOOKEEPER_HOME").ok_or("ZOOKEEPER_HOME is not set")?;
    let home = PathBuf::from(home);
    let jars = fs::read_dir(home.join("lib")).map_err(|e| format!("{}: {e}", home.display()))?;
    let has_server =
        jars.flatten().any(|jar| jar.file_name().to_string_lossy().starts_with("zookeeper-3"));
    if !has_server {
        return Err(format!("there is no zookeeper-3*.jar in {}/lib", home.display()));
    }
    match Command::new("java").arg("-version").stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(home),
        _ => Err("`java` does not run".into()),
    }
}

/// `java` with ZooKeeper on its class path and options for a fast start.
pub fn java_command(home: &Path) -> Command {
    let mut java = Command::new("java");
    // Java's digests are over the bytes of paths in the encoding of the locale; ours in UTF-8.
    java.arg("-Dfile.encoding=UTF-8");
    java.args(["-Xmx256m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    let logging = home.join("log4j2.properties");
    if logging.exists() {
        java.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    }
    java.arg("-cp").arg(class_path(home));
    java
}

/// The class path of an unpacked release.
pub fn class_path(home: &Path) -> String {
    format!("{0}/lib/*:{0}/conf", home.display())
}

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Lines of zoo.cfg beside `clientPort`, `dataDir` and `tickTime`.
    pub conf: Vec<String>,
    /// System properties, `key=value` without `-D`.
    pub properties: Vec<String>,
    /// `tickTime` in ms; 0 means 500.
    pub tick_ms: u32,
}

impl Setup {
    /// From configuration lines and `key=value` properties.
    pub fn new(conf: &[&str], properties: &[&str]) -> Setup {
        Setup {
            conf: conf.iter().map(|line| (*line).into()).collect(),
            properties: properties.iter().map(|line| (*line).into()).collect(),
            tick_ms: 0,
        }
    }

    /// With another tick.
    pub fn tick(mut self, tick_ms: u32) -> Setup {
        self.tick_ms = tick_ms;
        self
    }
}

/// A server, running or stopped, with its directory. Dropping it kills the process and removes the
/// directory; so does the end of the test process, even a violent one.
pub struct TestServer {
    target: Target,
    setup: Setup,
    port: u16,
    dir: PathBuf,
    running: Option<Running>,
    _owned_dir: Option<TempDir>,
}

struct Running {
    child: Child,
    watchdog: Child,
}

impl TestServer {
    /// Starts a server with a fresh data directory and waits until it serves.
    pub fn start(target: Target, setup: &Setup) -> TestServer {
        let dir = TempDir::with_prefix("zabkeeper-test-").unwrap();
        let mut server = TestServer {
            target,
            setup: setup.clone(),
            port: 0,
            dir: dir.path().to_owned(),
            running: None,
            _owned_dir: Some(dir),
        };
        server.restart();
        server
    }

    /// A server, not yet started, on the directory of another, which must outlive it: for handing a
    /// data directory from one implementation to the other.
    pub fn on_data_of(other: &TestServer, target: Target, setup: &Setup) -> TestServer {
        TestServer {
            target,
            setup: setup.clone(),
            port: 0,
            dir: other.dir.clone(),
            running: None,
            _owned_dir: None,
        }
    }

    /// Whose server this is.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// `127.0.0.1:port`.
    pub fn connect_string(&self) -> String {
        self.addr().to_string()
    }

    /// The directory of zoo.cfg, the log and `data`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `data/version-2`.
    pub fn version_dir(&self) -> PathBuf {
        self.dir.join("data/version-2")
    }

    /// False when it was stopped or has ended by itself.
    pub fn is_running(&mut self) -> bool {
        match self.running.as_mut().map(|running| running.child.try_wait()) {
            None => false,
            Some(Ok(None)) => true,
            Some(_) => {
                self.end_watchdog();
                false
            }
        }
    }

    /// Process id while running.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// For the next start.
    pub fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// Starts a stopped server again on the same data; waits until it serves.
    pub fn restart(&mut self) {
        if let Err(why) = self.try_restart() {
            panic!("{} does not serve: {why}\n{}", self.target, self.log_tail());
        }
    }

    /// As [`Self::restart`], with the reason when the server does not come up.
    pub fn try_restart(&mut self) -> Result<(), String> {
        for _ in 0..5 {
            self.spawn();
            let mut exited = None;
            let served = wait_until(Duration::from_secs(40), || {
                if let Ok(Some(status)) = self.running.as_mut()?.child.try_wait() {
                    exited = Some(status);
                    return Some(false);
                }
                let reply = four_letter_word(self.addr(), "srvr").ok()?;
                reply.contains("Mode: ").then_some(true)
            });
            match (served, exited) {
                (Some(true), _) => return Ok(()),
                (_, Some(status)) => {
                    self.end_watchdog();
                    // The port was free when it was chosen; another process may have been faster.
                    let log = self.log_tail();
                    if !log.contains("already in use") && !log.contains("AddrInUse") {
                        return Err(format!("exit status {status}"));
                    }
                }
                _ => {
                    self.kill();
                    return Err("no answer to srvr in 40 s".into());
                }
            }
        }
        Err("no free port found".into())
    }

    fn spawn(&mut self) {
        assert!(self.running.is_none(), "already running");
        self.port = free_port();
        let conf = self.dir.join(format!("{}.cfg", self.target));
        let tick = if self.setup.tick_ms == 0 { 500 } else { self.setup.tick_ms };
        let mut text = format!(
            "clientPort={}\nclientPortAddress=127.0.0.1\ndataDir={}\ntickTime={tick}\n",
            self.port,
            self.dir.join("data").display(),
        );
        if self.target == Target::Java {
            text.push_str("admin.enableServer=false\n");
        }
        for line in &self.setup.conf {
            text.push_str(line);
            text.push('\n');
        }
        fs::create_dir_all(self.dir.join("data")).unwrap();
        fs::write(&conf, text).unwrap();
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let defines = self.setup.properties.iter().map(|property| format!("-D{property}"));
        let mut command = match self.target {
            Target::Java => {
                let mut java = java_command(java_home().expect("there is a Java server"));
                java.args(defines);
                java.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(&conf);
                java
            }
            Target::Zabkeeper => {
                let mut zabkeeper = Command::new(env!("CARGO_BIN_EXE_zabkeeper"));
                zabkeeper.arg("server").arg(&conf).args(defines);
                zabkeeper
            }
        };
        let child = command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{} does not start: {e}", self.target));
        // Shared servers live in statics, which are never dropped. The watchdog's standard input
        // ends with the test process, however that ends.
        let watchdog = Command::new("sh")
            .args(["-c", "read line && exit; kill -9 \"$1\"; rm -rf \"$2\"", "watchdog"])
            .arg(child.id().to_string())
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        self.running = Some(Running { child, watchdog });
    }

    fn end_watchdog(&mut self) {
        if let Some(mut running) = self.running.take() {
            if let Some(mut stdin) = running.watchdog.stdin.take() {
                let _ = stdin.write_all(b"done\n"); // It may be gone: then there is nothing to end.
            }
            let _ = running.watchdog.wait();
            let _ = running.child.wait();
        }
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        let running = self.running.as_mut().expect("running");
        let pid = rustix::process::Pid::from_child(&running.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = wait_until(Duration::from_secs(20), || running.child.try_wait().unwrap());
        match status {
            Some(status) => {
                self.end_watchdog();
                status
            }
            None => {
                let log = self.log_tail();
                self.kill();
                panic!("{} ignores SIGTERM\n{log}", self.target);
            }
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.as_mut() {
            let _ = running.child.kill(); // It may have ended by itself.
            self.end_watchdog();
        }
    }

    /// The answer to a four-letter word.
    pub fn word(&self, word: &str) -> String {
        four_letter_word(self.addr(), word).unwrap_or_else(|e| panic!("{word}: {e}"))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Everything the server printed.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines that the server printed, for messages of failed tests.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("--- the log of {} ends with\n{}\n---", self.target, lines[from..].join("\n"))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends a word and reads all of the answer.
pub fn four_letter_word(addr: SocketAddr, word: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(word.as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
