//! The Java client: stories in `java/ClientStories.java`, and one-shots of `zkCli`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use zabkeeper::compare::launch::class_path;

use crate::support::server::{java_command, java_home, java_version, targets};
use crate::{SHARED, run, skip};

/// The directory of the compiled stories.
fn classes(home: &Path) -> Option<&'static Path> {
    static CLASSES: OnceLock<Option<PathBuf>> = OnceLock::new();
    CLASSES
        .get_or_init(|| {
            let classes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-classes");
            std::fs::create_dir_all(&classes).unwrap();
            let source =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/java/ClientStories.java");
            if Command::new("javac").arg("-version").output().is_err() {
                skip("the Java client's stories", "there is no javac");
                return None;
            }
            let mut javac = Command::new("javac");
            javac.arg("-cp").arg(class_path(home)).arg("-d").arg(&classes).arg(source);
            let (done, output) = run(&mut javac, Duration::from_secs(120));
            assert!(done, "javac: {output}");
            Some(classes)
        })
        .as_deref()
}

#[test]
fn stories_of_the_java_client() {
    let Some(home) = java_home() else { return skip("the Java client", "no Java") };
    if java_version().is_some_and(|version| !version.starts_with("3.9.")) {
        // Older clients lack what some stories call.
        eprintln!("skipped: the stories of the Java client: it is no 3.9");
        return;
    }
    let Some(classes) = classes(home) else { return };
    let stories = [
        "asyncPipeline",
        "watches",
        "persistentWatches",
        "multi",
        "reconnectSetsWatchesAgain",
        "modes",
        "syncAndWhoAmI",
        "expiredSession",
        "readOnlyCapable",
    ];
    for &target in targets() {
        let connect_string = SHARED.server(target).connect_string();
        let mut java = java_command(home);
        java.arg("-cp").arg(format!("{}:{}", classes.display(), class_path(home)));
        java.arg("-Dzk.log.level=error").arg("ClientStories").arg(connect_string).args(stories);
        let (_, output) = run(&mut java, Duration::from_secs(150));
        for story in stories {
            assert!(output.contains(&format!("{story}: ok")), "{target}: {story}\n{output}");
        }
    }
}

/// The lines that a zkCli one-shot prints, without its greeting and log.
pub fn zk_cli(home: &Path, connect_string: &str, command: &[&str]) -> Vec<String> {
    let mut java = java_command(home);
    java.arg("-Dzk.log.level=off").arg("org.apache.zookeeper.ZooKeeperMain");
    java.args(["-server", connect_string]).args(command);
    let (_, output) = run(&mut java, Duration::from_secs(60));
    output
        .lines()
        .filter(|line| {
            !line.is_empty()
                && !line.starts_with("Connecting to ")
                && !line.starts_with("WATCHER::")
                && !line.starts_with("WatchedEvent ")
                && !line.contains(" [main:")
                && !line.contains("SLF4J")
        })
        .map(|line| {
            // What differs between two servers: zxids, times, sessions.
            match line.split_once(" = ") {
                Some((key, value)) if value.starts_with("0x") && value != "0x0" => {
                    format!("{key} = 0x#")
                }
                Some((key, _)) if key.ends_with("time") => format!("{key} = #"),
                _ => line.to_owned(),
            }
        })
        .collect()
}

#[test]
fn zk_cli_prints_the_same() {
    let Some(home) = java_home() else { return skip("zkCli", "no Java") };
    let commands: &[&[&str]] = &[
        &["create", "/cli", "data"],
        &["create", "-s", "/cli/seq-", "x"],
        &["get", "-s", "/cli"],
        &["set", "-s", "/cli", "more"],
        &["stat", "/cli"],
        &["ls", "-R", "/cli"],
        &["getAcl", "/cli"],
        &["setquota", "-N", "5", "/cli"],
        &["listquota", "/cli"],
        &["getAllChildrenNumber", "/cli"],
        &["delete", "/cli"],
        &["deleteall", "/cli"],
        &["get", "/cli"],
    ];
    let mut expected: Option<Vec<Vec<String>>> = None;
    for &target in targets() {
        let connect_string = SHARED.server(target).connect_string();
        let seen: Vec<Vec<String>> =
            commands.iter().map(|command| zk_cli(home, &connect_string, command)).collect();
        assert!(seen[2].iter().any(|line| line == "data"), "{target}: {seen:?}");
        assert!(seen[0].iter().any(|line| line.contains("Created /cli")), "{target}: {seen:?}");
        match &expected {
            None => expected = Some(seen),
            Some(expected) => {
                for ((command, expected), seen) in commands.iter().zip(expected).zip(&seen) {
                    assert_eq!(seen, expected, "{target}: {command:?}");
                }
            }
        }
    }
}
