//! Starts servers for comparisons: Java's from an unpacked release, zabkeeper, or any command that
//! takes a configuration file; on free ports, in directories of their own.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::port::Port;
use super::process::Process;
use crate::client::four_letter_word;

/// `super:secret` as `digest` super user, for every server that is started here.
pub const SUPER_DIGEST: &str = "super:lK75jTNcA+U9vtVEw5vB51mj/w4=";

/// How long a server may take until it serves: a Java machine under load is slow.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it is asked on one connection whether it serves. One that it has accepted while it was
/// starting need not be answered; the next one is.
const ASK_MAX: Duration = Duration::from_secs(2);
/// How long it may take to end when asked to.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No server to start.
    #[error("{0}")]
    Missing(String),
    /// It ended, or did not answer.
    #[error("{name} does not serve: {why}\n{log}")]
    Dead {
        /// Whose server.
        name: String,
        /// The status or what was waited for.
        why: String,
        /// The end of its output.
        log: String,
    },
    /// A failure of this machine.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
}

/// Whose server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Implementation {
    /// Apache ZooKeeper, from an unpacked release: `lib/*.jar`.
    Java {
        /// The release's directory.
        home: PathBuf,
    },
    /// The binary of this package.
    Zabkeeper {
        /// The binary.
        binary: PathBuf,
    },
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Implementation::Java { .. } => "java",
            Implementation::Zabkeeper { .. } => "zabkeeper",
        })
    }
}

impl Implementation {
    /// The release that `ZOOKEEPER_HOME` names.
    pub fn java_from_environment() -> Result<Implementation, LaunchError> {
        let home = std::env::var_os("ZOOKEEPER_HOME")
            .ok_or_else(|| LaunchError::Missing("ZOOKEEPER_HOME is not set".into()))?;
        Implementation::java(PathBuf::from(home))
    }

    /// The release in `home`.
    pub fn java(home: PathBuf) -> Result<Implementation, LaunchError> {
        let lib = home.join("lib");
        let jars = fs::read_dir(&lib).map_err(|e| LaunchError::Io(lib.display().to_string(), e))?;
        let has_server =
            jars.flatten().any(|jar| jar.file_name().to_string_lossy().starts_with("zookeeper-3"));
        if !has_server {
            let why = format!("there is no zookeeper-3*.jar in {}", lib.display());
            return Err(LaunchError::Missing(why));
        }
        match Command::new("java").arg("-version").stderr(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(Implementation::Java { home }),
            _ => Err(LaunchError::Missing("`java` does not run".into())),
        }
    }

    /// The release, from the name of the server's jar; zabkeeper's is that of this program.
    pub fn version(&self) -> Option<String> {
        match self {
            Implementation::Java { home } => {
                fs::read_dir(home.join("lib")).ok()?.flatten().find_map(|jar| {
                    let name = jar.file_name().into_string().ok()?;
                    let version = name.strip_prefix("zookeeper-")?.strip_suffix(".jar")?;
                    version.starts_with('3').then(|| version.to_owned())
                })
            }
            Implementation::Zabkeeper { .. } => Some(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    /// The binary that runs now.
    pub fn this_binary() -> Result<Implementation, LaunchError> {
        let binary = std::env::current_exe()
            .map_err(|e| LaunchError::Io("the path of this program".into(), e))?;
        Ok(Implementation::Zabkeeper { binary })
    }

    /// What starts a server with this configuration file, and what of `setup` is not in it.
    pub fn command(&self, conf: &Path, setup: &Setup) -> Command {
        let defines = setup.properties.iter().map(|property| format!("-D{property}"));
        match self {
            Implementation::Java { home } => {
                let mut java = java_command(home);
                java.args(&setup.jvm).args(defines);
                java.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(conf);
                java
            }
            Implementation::Zabkeeper { binary } => {
                let mut zabkeeper = Command::new(binary);
                zabkeeper.arg("server").arg(conf).args(defines);
                zabkeeper
            }
        }
    }
}

/// `java` with ZooKeeper on its class path and options for a fast start.
pub fn java_command(home: &Path) -> Command {
    let mut java = Command::new("java");
    // Java's digests are over the bytes of paths in the encoding of the locale; ours in UTF-8.
    java.arg("-Dfile.encoding=UTF-8");
    java.args(["-Xmx512m", "-Xshare:auto", "-XX:+UseSerialGC"]);
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// Lines of zoo.cfg beside `clientPort`, `dataDir` and `tickTime`.
    pub conf: Vec<String>,
    /// System properties, `key=value` without `-D`.
    pub properties: Vec<String>,
    /// `tickTime` in ms; 0 means 500.
    pub tick_ms: u32,
    /// Options of the virtual machine, for Java's server.
    pub jvm: Vec<String>,
}

impl Setup {
    /// From configuration lines and `key=value` properties.
    pub fn new(conf: &[&str], properties: &[&str]) -> Setup {
        Setup {
            conf: conf.iter().map(|line| (*line).into()).collect(),
            properties: properties.iter().map(|line| (*line).into()).collect(),
            ..Setup::default()
        }
    }

    /// With another tick.
    pub fn tick(mut self, tick_ms: u32) -> Setup {
        self.tick_ms = tick_ms;
        self
    }
}

/// A server, running or stopped, with its directory. Dropping it kills the process and removes the
/// directory; so does the end of this process, even a violent one.
pub struct Server {
    implementation: Implementation,
    setup: Setup,
    port: Option<Port>,
    dir: PathBuf,
    owns_dir: bool,
    running: Option<Process>,
}

impl Server {
    /// Starts a server with a fresh data directory and waits until it serves.
    pub fn start(implementation: &Implementation, setup: &Setup) -> Result<Server, LaunchError> {
        let dir = fresh_dir()?;
        let mut server = Server {
            implementation: implementation.clone(),
            setup: setup.clone(),
            port: None,
            dir,
            owns_dir: true,
            running: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// A server, not yet started, on a directory that is somebody else's: `dir/data` is its data
    /// directory. For handing it from one implementation to the other.
    pub fn on_dir(dir: &Path, implementation: &Implementation, setup: &Setup) -> Server {
        Server {
            implementation: implementation.clone(),
            setup: setup.clone(),
            port: None,
            dir: dir.to_owned(),
            owns_dir: false,
            running: None,
        }
    }

    /// Whose server this is.
    pub fn implementation(&self) -> &Implementation {
        &self.implementation
    }

    /// Where clients connect, from the first start on.
    pub fn addr(&self) -> SocketAddr {
        self.port.as_ref().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), Port::addr)
    }

    /// The directory of zoo.cfg, the log and `data`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `data/version-2`.
    pub fn version_dir(&self) -> PathBuf {
        self.dir.join("data/version-2")
    }

    /// For the next start.
    pub fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// Process id while running.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Process::id)
    }

    /// False when it was stopped or has ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.running.is_some() && self.ended().is_none()
    }

    /// How it has ended by itself.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.running.as_mut()?.ended()?;
        self.running = None;
        Some(status)
    }

    /// Starts a stopped server again on the same data; waits until it serves.
    pub fn restart(&mut self) -> Result<(), LaunchError> {
        self.spawn()?;
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.ended() {
                return Err(self.dead(format!("exit status {status}")));
            }
            let answer = four_letter_word(self.addr(), "srvr", ASK_MAX);
            if answer.is_ok_and(|text| text.contains("Mode: ")) {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.kill();
                return Err(self.dead(format!("no answer to srvr in {} s", START_MAX.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    fn dead(&self, why: String) -> LaunchError {
        LaunchError::Dead { name: self.implementation.to_string(), why, log: self.log_tail() }
    }

    fn spawn(&mut self) -> Result<(), LaunchError> {
        self.kill();
        let claimed = Port::claim().map_err(|e| LaunchError::Io("a free port".into(), e))?;
        let port = self.port.insert(claimed).number();
        let conf = self.dir.join(format!("{}.cfg", self.implementation));
        let tick = if self.setup.tick_ms == 0 { 500 } else { self.setup.tick_ms };
        let data = self.dir.join("data");
        let mut text = format!(
            "clientPort={port}\nclientPortAddress=127.0.0.1\ndataDir={}\ntickTime={tick}\n",
            data.display(),
        );
        if matches!(self.implementation, Implementation::Java { .. }) {
            text.push_str("admin.enableServer=false\n");
        }
        for line in &self.setup.conf {
            text.push_str(line);
            text.push('\n');
        }
        let io = |path: &Path| {
            let path = path.display().to_string();
            move |error| LaunchError::Io(path, error)
        };
        fs::create_dir_all(&data).map_err(io(&data))?;
        fs::write(&conf, text).map_err(io(&conf))?;
        let path = self.log_path();
        let log = File::options().create(true).append(true).open(&path).map_err(io(&path))?;
        let copy = log.try_clone().map_err(io(&path))?;
        let mut command = self.implementation.command(&conf, &self.setup);
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(copy).stderr(log);
        let leaves = self.owns_dir.then_some(&*self.dir);
        let process = Process::spawn(&mut command, leaves)
            .map_err(|e| LaunchError::Io(self.implementation.to_string(), e))?;
        self.running = Some(process);
        Ok(())
    }

    /// SIGTERM, then waits for the end; SIGKILL when that does not help. `None` when it did not run
    /// or had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let _ = self.running.as_ref()?.signal(Signal::TERM); // It may be gone.
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        None
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Removes the data of a stopped server.
    pub fn clear_data(&mut self) -> Result<(), LaunchError> {
        let data = self.dir.join("data");
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LaunchError::Io(data.display().to_string(), error))
            }
            _ => Ok(()),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Everything the server printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines that the server printed, for messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
        format!("--- the log of {} ends with\n{}\n---", self.implementation, tail.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if self.owns_dir {
            let _ = fs::remove_dir_all(&self.dir); // The end of a temporary directory.
        }
    }
}

/// A new directory among the temporary ones.
pub fn fresh_dir() -> Result<PathBuf, LaunchError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let io = |path: &Path, error| LaunchError::Io(path.display().to_string(), error);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zabkeeper-compare-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            // Left behind by a process that had the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(&dir, error)),
        }
    }
}
