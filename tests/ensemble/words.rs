//! What the four letter words say on each role of an ensemble: as many things as Java's servers say.

use std::collections::{BTreeMap, BTreeSet};

use zabkeeper::client::ZooKeeper;
use zabkeeper::compare::words::numbers_masked;

use crate::cluster::{Cluster, ClusterSetup, Node};
use crate::scenarios::{create, create_ephemeral, start_with_leader_3};
use crate::support::server::Target::{self, Java, Zabkeeper};
use crate::support::server::java_home;

const WORDS: &[&str] = &[
    "srvr", "stat", "mntr", "conf", "cons", "dump", "dirs", "envi", "isro", "wchs", "wchc", "wchp",
    "hash", "srst", "crst",
];

/// What a leader has counted once a client has written, read and gone.
const COUNTED: &[&str] = &[
    "cnt_close_session_prep_time",
    "cnt_election_time",
    "cnt_fsynctime",
    "cnt_prep_process_time",
    "cnt_prep_processor_queue_time_ms",
    "cnt_propagation_latency",
    "cnt_proposal_process_time",
    "cnt_readlatency",
    "cnt_sync_process_time",
    "cnt_sync_processor_batch_size",
    "cnt_sync_processor_queue_and_flush_time_ms",
    "cnt_sync_processor_queue_time_ms",
    "cnt_updatelatency",
    "cnt_write_commitproc_time_ms",
    "cnt_write_final_proc_time_ms",
    "commit_count",
    "proposal_count",
    "sync_processor_request_queued",
];

/// By role and word.
type Lines = BTreeMap<(String, &'static str), BTreeSet<String>>;

#[test]
fn words_of_each_role_have_the_lines_that_java_has() {
    if java_home().is_none() {
        return;
    }
    let (java, ours) = (lines(Java), lines(Zabkeeper));
    let restarted = &java[&("restarted".to_owned(), "mntr")];
    assert!(restarted.contains("zk_cnt_by1_write_per_namespace"), "{restarted:?}");
    assert_eq!(java[&("leader".to_owned(), "counted")].len(), COUNTED.len());
    assert_eq!(java.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    let mut differences = Vec::new();
    for ((role, word), expected) in &java {
        let actual = &ours[&(role.clone(), *word)];
        let missing: Vec<_> = expected.difference(actual).collect();
        let new: Vec<_> = actual.difference(expected).collect();
        if !missing.is_empty() || !new.is_empty() {
            differences.push(format!("{role}, {word}: missing {missing:?}, new {new:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The answers of a leader, a follower and an observer that have all done the same, then of the
/// follower alone.
fn lines(target: Target) -> Lines {
    let setup =
        ClusterSetup::new(&[target; 3]).observers(&[target]).property("readonlymode.enabled=true");
    let mut cluster = Cluster::prepare(&setup);
    start_with_leader_3(&mut cluster);
    let ids = [1, 3, 4];
    let mut clients: Vec<ZooKeeper> =
        ids.iter().map(|id| cluster.node(*id).client(20_000)).collect();
    for (client, id) in clients.iter_mut().zip(ids) {
        create(client, &format!("/by{id}"), b"0123456789");
        create_ephemeral(client, &format!("/by{id}/e"));
        client.sync("/").unwrap();
        client.get("/by1", true).unwrap();
        assert!(client.delete("/none", -1).is_err());
    }
    cluster.node(3).client(20_000).close().unwrap();
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    let mut lines = Lines::new();
    let is_counted = |name: &&&str| cluster.node(3).metric(name).is_some_and(|count| count != "0");
    let counted: BTreeSet<String> =
        COUNTED.iter().filter(is_counted).map(|name| (*name).to_owned()).collect();
    lines.insert(("leader".into(), "counted"), counted);
    for id in ids {
        let node = cluster.node(id);
        let role = ask(node, &mut lines);
        // The last words have reset what a leader says here.
        let srvr = node.word("srvr").unwrap();
        let sizes = srvr.lines().filter(|line| line.starts_with("Proposal sizes"));
        lines.insert((role.clone(), "sizes"), sizes.map(str::to_owned).collect());
        lines.insert((role, "length of the log"), [log_length(node)].into());
    }
    drop(clients);
    // What is read from the log counts as written.
    cluster.restart(1);
    let text = cluster.node(1).word("mntr").unwrap();
    let written = text.lines().filter(|line| line.contains("_write_per_namespace"));
    let written = written.filter_map(|line| shape("mntr", line)).collect();
    lines.insert(("restarted".into(), "mntr"), written);
    for id in [2, 3, 4] {
        cluster.node_mut(id).stop();
    }
    cluster.await_that("the last one serves reads", || {
        (cluster.node(1).mode().as_deref() == Some("read-only")).then_some(())
    });
    assert_eq!(ask(cluster.node(1), &mut lines), "read-only");
    lines
}

/// Adds the answers to all words; the role.
fn ask(node: &Node, lines: &mut Lines) -> String {
    let role = node.mode().unwrap();
    for word in WORDS {
        let text = node.word(word).unwrap();
        let shapes = text.lines().filter_map(|line| shape(word, line)).collect();
        lines.insert((role.clone(), *word), shapes);
    }
    role
}

/// With what is allocated ahead.
fn log_length(node: &Node) -> String {
    let log = node.version_dir().join("log.100000001");
    std::fs::metadata(log).unwrap().len().to_string()
}

/// What has to be the same of a line.
fn shape(word: &str, line: &str) -> Option<String> {
    let key = |separator| line.split(separator).next().unwrap_or_default().to_owned();
    match word {
        // Of a Java virtual machine only.
        "mntr" if line.starts_with("zk_jvm_") || line.starts_with("zk_process_") => None,
        "mntr" => Some(key('\t')),
        "envi" => Some(key('=')),
        "conf" if line.starts_with("data") => Some(key('=')),
        _ if line.starts_with("Zookeeper version: 3.9.4-") => Some(key('-')),
        _ => {
            let expiry = line.find(" expire at ").and_then(|at| line.get(..at));
            Some(numbers_masked(expiry.unwrap_or(line)))
        }
    }
}
