//! Runs a scenario against Java's server and zabkeeper and compares what the clients saw, packet
//! for packet. The transcript of Java is also kept in `expected/`, so that most of the comparison
//! works where there is no Java.

use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;

use parking_lot::{Mutex, MutexGuard};
use zabkeeper::compare::driver::Driver;
use zabkeeper::compare::script::Script;
use zabkeeper::compare::stage::Stage;

use super::peer::Story;
use super::server::{Setup, Target, TestServer, targets};

/// The super user: in the configuration of every flavour.
pub use zabkeeper::compare::launch::SUPER_DIGEST;

/// A configuration whose servers are started at the first use and shared by all its stories, which
/// take turns.
pub struct Flavor {
    /// One of those of `zabkeeper compare`.
    named: Option<&'static str>,
    conf: &'static [&'static str],
    properties: &'static [&'static str],
    tick_ms: u32,
    stage: bool,
    java: OnceLock<Mutex<TestServer>>,
    zabkeeper: OnceLock<Mutex<TestServer>>,
}

impl Flavor {
    /// Every story begins with an empty node `/t`, and leaves nothing behind.
    pub const fn new(conf: &'static [&'static str], properties: &'static [&'static str]) -> Flavor {
        Flavor {
            named: None,
            conf,
            properties,
            tick_ms: 500,
            stage: true,
            java: OnceLock::new(),
            zabkeeper: OnceLock::new(),
        }
    }

    /// One of those of `zabkeeper compare`.
    pub const fn named(name: &'static str) -> Flavor {
        let mut flavor = Flavor::new(&[], &[]);
        flavor.named = Some(name);
        flavor
    }

    /// Without `/t` and without clearing, for servers that would refuse it.
    pub const fn bare(
        conf: &'static [&'static str],
        properties: &'static [&'static str],
    ) -> Flavor {
        let mut flavor = Flavor::new(conf, properties);
        flavor.stage = false;
        flavor
    }

    /// With another tick than 500 ms.
    pub const fn tick(mut self, tick_ms: u32) -> Flavor {
        self.tick_ms = tick_ms;
        self
    }

    /// The shared server, started when there is none.
    pub fn server(&self, target: Target) -> MutexGuard<'_, TestServer> {
        let cell = match target {
            Target::Java => &self.java,
            Target::Zabkeeper => &self.zabkeeper,
        };
        let server = cell.get_or_init(|| {
            if let Some(name) = self.named {
                let known = zabkeeper::compare::flavor::Flavor::named(name).expect("a flavour");
                return Mutex::new(TestServer::start(target, &known.setup()));
            }
            let mut properties = self.properties.to_vec();
            let digest =
                format!("zookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}");
            properties.push(&digest);
            Mutex::new(TestServer::start(
                target,
                &Setup::new(self.conf, &properties).tick(self.tick_ms),
            ))
        });
        let mut server = server.lock();
        if !server.is_running() {
            let log = server.log_tail();
            eprintln!("{target} had ended; starting it again\n{log}");
            server.restart();
        }
        server
    }

    /// The transcript of a script, as lines; with `hides_zxids` they are masked.
    pub fn play(&self, target: Target, script: &Script, hides_zxids: bool) -> Vec<String> {
        let server = self.server(target);
        set_stage(&server);
        let mut driver = Driver::new(server.addr());
        if hides_zxids {
            driver.hide_zxids();
        }
        driver.play(script);
        driver.finish().story(script)
    }

    /// The transcript of one run.
    pub fn tell(&self, target: Target, scenario: &dyn Fn(&Story<'_>)) -> Vec<String> {
        let server = self.server(target);
        if self.stage {
            set_stage(&server);
        }
        let story = Story::new(&server);
        let result = catch_unwind(AssertUnwindSafe(|| scenario(&story)));
        // Also after a failure: its sessions must not expire into the next story.
        let lines = story.finish();
        if let Err(panic) = result {
            eprintln!("the story with {target} so far:\n  {}", lines.join("\n  "));
            resume_unwind(panic);
        }
        lines
    }
}

/// Declares a test that compares transcripts.
#[macro_export]
macro_rules! story {
    ($(#[$meta:meta])* $name:ident on $flavor:ident, |$story:ident| $body:block) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            $crate::support::both::check_both(
                &$flavor,
                stringify!($name),
                &|$story: &$crate::support::peer::Story<'_>| $body,
            );
        }
    };
}

/// Runs the scenario on every target and compares with Java's kept transcript.
pub fn check_both(flavor: &Flavor, name: &str, scenario: &dyn Fn(&Story<'_>)) {
    check_lines(name, &|target| flavor.tell(target, scenario));
}

/// As [`check_both`], for lines of any origin.
pub fn check_lines(name: &str, lines_of: &dyn Fn(Target) -> Vec<String>) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/standalone/expected")
        .join(format!("{name}.txt"));
    let bless = std::env::var("ZABKEEPER_BLESS").is_ok_and(|value| value == "1");
    for &target in targets() {
        let seen = lines_of(target);
        if target == Target::Java && bless {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, seen.join("\n") + "\n").unwrap();
            continue;
        }
        let expected = fs::read_to_string(&file)
            .unwrap_or_else(|e| panic!("{}: {e}; run with ZABKEEPER_BLESS=1", file.display()));
        let expected: Vec<&str> = expected.lines().collect();
        if seen != expected {
            panic!("{name}: {target} differs from the kept transcript\n{}", diff(&expected, &seen));
        }
    }
}

/// Lines of `-` expected and `+` seen, in their context.
pub fn diff(expected: &[&str], seen: &[String]) -> String {
    // Longest common subsequence; stories have some hundred lines at most.
    let (rows, columns) = (expected.len(), seen.len());
    let mut longest = vec![vec![0usize; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            longest[i][j] = if expected[i] == seen[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let mut text = String::new();
    let (mut i, mut j) = (0, 0);
    while i < rows || j < columns {
        if i < rows && j < columns && expected[i] == seen[j] {
            let _ = writeln!(text, "    {}", seen[j]);
            (i, j) = (i + 1, j + 1);
        } else if j == columns || (i < rows && longest[i + 1][j] >= longest[i][j + 1]) {
            let _ = writeln!(text, "  - {}", expected[i]);
            i += 1;
        } else {
            let _ = writeln!(text, "  + {}", seen[j]);
            j += 1;
        }
    }
    text
}

/// An empty node `/t`, and nothing else.
fn set_stage(server: &TestServer) {
    let mut stage = Stage::enter(server.addr()).unwrap();
    stage.set().unwrap();
    stage.leave();
}
