//! `scripts/compare-with-java.sh`: its options, what it says when something is missing, and its exit
//! code. Two zabkeepers stand in for the servers, so that no Java is needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Outcome;

const BINARY: &str = env!("CARGO_BIN_EXE_zabkeeper");

/// A copy of the scripts, with nothing beside it.
struct Clone {
    home: TempDir,
    /// Comes first in the path.
    tools: PathBuf,
}

impl Clone {
    fn new() -> Clone {
        let home = TempDir::with_prefix("zabkeeper compare ").unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = home.path().join("tools");
        for folder in ["nest/clone/scripts", "tools"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        for name in ["compare-with-java.sh", "setup.sh"] {
            let to = home.path().join("nest/clone/scripts").join(name);
            fs::copy(from.join("scripts").join(name), to).unwrap();
        }
        let clone = Clone { home, tools };
        clone.tool("java", "exit 0");
        clone
    }

    fn tool(&self, name: &str, body: &str) -> PathBuf {
        let path = self.tools.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new("bash");
        command.arg(self.home.path().join("nest/clone/scripts/compare-with-java.sh"));
        for name in ["ZOOKEEPER_HOME", "JAVA_HOME", "ZABKEEPER_NO_INSTALL"] {
            command.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let output = command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.tools.display()))
            .env("CARGO_TARGET_DIR", self.home.path().join("target"))
            .env("ZABKEEPER", BINARY)
            .envs(environment.iter().copied())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        output.into()
    }

    /// Refused before anything is started.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], environment: &[(&str, &str)], words: &[&str]) {
        let outcome = self.run(arguments, environment);
        assert_eq!(outcome.code, 2, "{arguments:?}: {outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{arguments:?}: {word}: {}", outcome.stderr);
        }
    }
}

#[test]
fn options_are_checked_before_anything_is_started() {
    let clone = Clone::new();
    clone.refuses(&["--nonsense"], &[], &["Usage: ", "unknown option: --nonsense"]);
    clone.refuses(&["--random"], &[], &["--random needs a value"]);
    clone.refuses(&["--random", ""], &[], &["--random needs a value"]);
    clone.refuses(&["--ops", "many"], &[], &["--ops: not a number: many"]);
    clone.refuses(&["--jobs", "0"], &[], &["--jobs: at least 1"]);
    clone.refuses(&["--bench", "no/such"], &[], &["cannot read no/such"]);
    clone.refuses(&[], &[("ZABKEEPER", "/no/such/binary")], &["no such binary: /no/such/binary"]);
    let help = clone.run(&["--help"], &[]);
    assert_eq!(help.code, 0, "{help:?}");
    assert!(help.stdout.contains("--install") && help.stdout.contains("Exit code"), "{help:?}");
}

#[test]
fn a_missing_java_is_told_with_what_to_do() {
    let clone = Clone::new();
    let empty = clone.home.path().to_str().unwrap();
    let words = &["has no lib/zookeeper-*.jar", "apache-zookeeper-3.9.4-bin.tar.gz"];
    clone.refuses(&["--zookeeper", empty], &[], words);
    clone.refuses(&[], &[("ZOOKEEPER_HOME", empty)], words);
    if Path::new("/usr/share/java/zookeeper.jar").exists() {
        eprintln!("skipped: Debian's ZooKeeper is installed, so one is always found");
        return;
    }
    let words =
        &["no Java ZooKeeper was found", "--zookeeper DIR", "--install", "libzookeeper-java"];
    clone.refuses(&[], &[], words);
}

const QUICK: &[&str] = &["--scenario", "nodes", "--random", "0", "--no-data-dirs", "--no-bench"];

#[test]
fn equal_servers_give_zero_a_table_and_a_page() {
    let clone = Clone::new();
    let side = format!("zabkeeper:{BINARY}");
    let html = clone.home.path().join("some where/page.html");
    let sides = ["--left", &side, "--right", &side, "--html", html.to_str().unwrap()];
    let outcome = clone.run(&[QUICK, &sides].concat(), &[]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.contains("No unexplained difference"), "{outcome:?}");
    let page = fs::read_to_string(html).unwrap();
    assert!(page.contains("No unexplained difference") && page.ends_with("</html>\n"));
    let json = clone.home.path().join("target/compare-with-java/compare.json");
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(json["equal"], true);
}

#[test]
fn a_difference_gives_one_and_is_shown() {
    let clone = Clone::new();
    // A server that has TTL nodes switched off, whatever its configuration says.
    let mutant = clone.tool(
        "mutant",
        &format!(
            "sed -i s/extendedTypesEnabled=true/extendedTypesEnabled=false/ \"$2\"\n\
             exec '{BINARY}' \"$@\""
        ),
    );
    let left = format!("zabkeeper:{BINARY}");
    let right = format!("zabkeeper:{}", mutant.display());
    let sides = ["--left", &*left, "--right", &*right];
    let outcome = clone.run(&[QUICK, &sides].concat(), &[]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stdout.contains("unexplained difference"), "{outcome:?}");
    assert!(outcome.stdout.contains("createTTL"), "{outcome:?}");
    let page = clone.home.path().join("target/compare-with-java/compare.html");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("Show it again") && page.contains("UNIMPLEMENTED"), "the page");
}

#[test]
fn a_server_that_cannot_be_reached_is_no_difference() {
    let clone = Clone::new();
    let sides = ["--left", "127.0.0.1:1", "--right", "127.0.0.1:1"];
    let outcome = clone.run(&[QUICK, &sides].concat(), &[]);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.stderr.contains("the comparison could not be made"), "{outcome:?}");
}
