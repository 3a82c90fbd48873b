//! `scripts/zkCluster.sh` driven as somebody does who tries an ensemble out.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Outcome;

/// A directory for a cluster, which ends with it.
struct Cluster {
    dir: TempDir,
}

impl Cluster {
    fn new() -> Cluster {
        Cluster { dir: TempDir::with_prefix("zabkeeper cluster ").unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/zkCluster.sh");
        let output = Command::new(script)
            .args(arguments)
            .arg("--dir")
            .arg(self.dir.path().join("nodes"))
            .env("ZABKEEPER_BIN", env!("CARGO_BIN_EXE_zabkeeper"))
            .env_remove("ZK_JAVA")
            .env_remove("SERVER_JVMFLAGS")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        output.into()
    }

    /// Runs a command that must end with this code; what it printed.
    fn expect(&self, arguments: &[&str], code: i32) -> String {
        let outcome = self.run(arguments);
        let (stdout, stderr) = (outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, code, "{arguments:?}\n{stdout}\n{stderr}");
        format!("{stdout}{stderr}")
    }

    /// A column of the table, by its head, for each node.
    fn column(table: &str, head: &str) -> Vec<String> {
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let heads = lines.next().unwrap();
        let at = heads.iter().position(|name| *name == head).unwrap();
        lines.filter(|cells| cells.len() == heads.len()).map(|cells| cells[at].to_owned()).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run(&["clean"]);
    }
}

#[test]
fn cluster_is_started_hurt_mended_and_removed() {
    let cluster = Cluster::new();
    assert!(cluster.expect(&["status"], 2).contains("there is no cluster in"));
    let table = cluster.expect(&["start", "-n", "3", "--observers", "1", "--tick", "500"], 0);
    let roles = Cluster::column(&table, "role");
    assert_eq!(roles.iter().filter(|role| *role == "leader").count(), 1, "{table}");
    assert_eq!(roles[3], "observer");
    assert_eq!(Cluster::column(&table, "epoch"), ["1"; 4]);
    assert_eq!(Cluster::column(&table, "kind"), ["zabkeeper"; 4]);
    cluster.expect(&["status"], 0);

    let leader = (roles.iter().position(|role| role == "leader").unwrap() + 1).to_string();
    cluster.expect(&["kill", &leader], 0);
    let table = cluster.expect(&["status"], 1);
    assert!(Cluster::column(&table, "role").contains(&"stopped".to_owned()), "{table}");
    cluster.expect(&["kill", &leader], 1);
    cluster.expect(&["start", &leader], 0);
    cluster.expect(&["start"], 0);

    cluster.expect(&["pause", "4"], 0);
    let table = cluster.expect(&["status"], 1);
    assert_eq!(Cluster::column(&table, "role")[3], "paused");
    // One that is paused is ended as well.
    cluster.expect(&["stop", "4"], 0);
    let pids = Cluster::column(&cluster.expect(&["start"], 0), "pid");
    cluster.expect(&["restart", "1,4"], 0);
    let later = Cluster::column(&cluster.expect(&["status"], 0), "pid");
    assert!(pids[0] != later[0] && pids[1] == later[1] && pids[3] != later[3]);
    assert!(cluster.expect(&["logs", "2"], 0).contains("myid:2"));

    cluster.expect(&["stop"], 0);
    let table = cluster.expect(&["status"], 1);
    assert_eq!(Cluster::column(&table, "role"), ["stopped"; 4]);
    cluster.expect(&["clean"], 0);
    assert_eq!(std::fs::read_dir(cluster.dir.path()).unwrap().count(), 0);
}

#[test]
fn wrong_words_are_refused() {
    let cluster = Cluster::new();
    for (arguments, part) in [
        (&["fly"][..], "Usage:"),
        (&["start", "-n", "0"], "not a number of nodes"),
        (&["start", "-n", "x"], "not a number of nodes"),
        (&["start", "--wings"], "unknown option"),
        (&["start", "x"], "not an id"),
        (&["kill"], "there is no cluster"),
    ] {
        assert!(cluster.expect(arguments, 2).contains(part), "{arguments:?}");
    }
}

#[test]
fn java_nodes_are_replaced_one_after_the_other() {
    let home = std::env::var("ZOOKEEPER_HOME").unwrap_or_default();
    if home.is_empty() || !Path::new(&home).join("lib").is_dir() {
        eprintln!("no Java server: ZOOKEEPER_HOME is not set");
        return;
    }
    let cluster = Cluster::new();
    let table = cluster.expect(&["start", "-n", "3", "--java", "2"], 0);
    assert_eq!(Cluster::column(&table, "kind"), ["zabkeeper", "java", "zabkeeper"]);
    cluster.expect(&["restart", "2", "--ours", "2"], 0);
    let table = cluster.expect(&["status"], 0);
    assert_eq!(Cluster::column(&table, "kind"), ["zabkeeper"; 3]);
}
