//! A server under test: zabkeeper or Java's, in its own directory, on a port of its own. Those of
//! `zabkeeper compare`; what goes wrong fails the test.

use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use zabkeeper::client::ClientError;
use zabkeeper::compare::launch;
pub use zabkeeper::compare::launch::Setup;
use zabkeeper::compare::launch::{Implementation, LaunchError, Server};

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Apache ZooKeeper, from `ZOOKEEPER_HOME`.
    Java,
    /// The binary of this package.
    Zabkeeper,
}

impl Target {
    /// What to start.
    pub fn implementation(self) -> Implementation {
        match self {
            Target::Java => {
                Implementation::Java { home: java_home().expect("there is a Java server").into() }
            }
            Target::Zabkeeper => {
                Implementation::Zabkeeper { binary: env!("CARGO_BIN_EXE_zabkeeper").into() }
            }
        }
    }

    /// A command that starts it.
    pub fn command(self, conf: &Path, properties: &[String]) -> Command {
        let mut setup = for_tests(&Setup::default());
        setup.properties.extend_from_slice(properties);
        self.implementation().command(conf, &setup)
    }
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
fn exchange_targets() -> Vec<Target> {
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
    Implementation::Java { home: java_home()?.into() }.version()
}

/// The unpacked release to compare with; `None` (said once on stderr) when there is none.
pub fn java_home() -> Option<&'static Path> {
    static HOME: OnceLock<Option<PathBuf>> = OnceLock::new();
    HOME.get_or_init(|| match Implementation::java_from_environment() {
        Ok(Implementation::Java { home }) => Some(home),
        Ok(Implementation::Zabkeeper { .. }) => None,
        Err(why) => {
            let required = std::env::var("ZABKEEPER_REQUIRE_JAVA").is_ok_and(|v| v == "1");
            assert!(!required, "ZABKEEPER_REQUIRE_JAVA=1, but {why}");
            eprintln!("no Java server to compare with: {why}");
            None
        }
    })
    .as_deref()
}

/// For a fast start: no test runs for so long that a better compiler would pay.
const JVM: [&str; 2] = ["-Xmx256m", "-XX:TieredStopAtLevel=1"];

/// `java` with ZooKeeper on its class path.
pub fn java_command(home: &Path) -> Command {
    let mut java = launch::java_command(home);
    java.args(JVM);
    java
}

fn for_tests(setup: &Setup) -> Setup {
    Setup { jvm: JVM.map(str::to_owned).to_vec(), ..setup.clone() }
}

/// A server, running or stopped, with its directory. Dropping it kills the process and removes the
/// directory; so does the end of the test process, even a violent one.
pub struct TestServer {
    target: Target,
    server: Server,
}

impl TestServer {
    /// Starts a server with a fresh data directory and waits until it serves.
    pub fn start(target: Target, setup: &Setup) -> TestServer {
        let server = Server::start(&target.implementation(), &for_tests(setup));
        TestServer { target, server: server.unwrap_or_else(|error| panic!("{error}")) }
    }

    /// Whose server this is.
    pub fn target(&self) -> Target {
        self.target
    }

    /// `127.0.0.1:port`.
    pub fn connect_string(&self) -> String {
        self.addr().to_string()
    }

    /// Starts a stopped server again on the same data; waits until it serves.
    pub fn restart(&mut self) {
        self.server.restart().unwrap_or_else(|error| panic!("{error}"));
    }

    /// As [`Self::restart`], with the reason when the server does not come up.
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.server.restart().map_err(|error| match error {
            LaunchError::Dead { why, .. } => why,
            other => other.to_string(),
        })
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.server.stop();
        status.unwrap_or_else(|| panic!("{} ignores SIGTERM\n{}", self.target, self.log_tail()))
    }

    /// The answer to a four-letter word.
    pub fn word(&self, word: &str) -> String {
        four_letter_word(self.addr(), word).unwrap_or_else(|e| panic!("{word}: {e}"))
    }
}

impl Deref for TestServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for TestServer {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// Sends a word and reads all of the answer.
pub fn four_letter_word(addr: SocketAddr, word: &str) -> Result<String, ClientError> {
    zabkeeper::client::four_letter_word(addr, word, Duration::from_secs(10))
}
