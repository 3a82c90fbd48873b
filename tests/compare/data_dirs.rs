//! A data directory that goes from one server to the other and back: every node with data, stat and
//! ACL, every session and its ephemerals must be the same afterwards.

use zabkeeper::compare::data_dirs::{Case, Direction, Findings, run_case};

use crate::servers::{java, zabkeeper};

/// Sends directories along every route that there are servers for: Java and back, zabkeeper to Java
/// and back; without Java, from zabkeeper to itself.
fn travel(case: &str, seeds: &[u64]) -> Vec<Findings> {
    let case = Case::named(case).unwrap();
    let zabkeeper = zabkeeper();
    let (left, directions) = match java() {
        Some(java) => (java, &[Direction::LeftRight, Direction::RightLeft][..]),
        None => (&zabkeeper, &[Direction::RightRight][..]),
    };
    let mut all = Vec::new();
    for (direction, seed) in directions.iter().flat_map(|one| seeds.iter().map(move |n| (one, n))) {
        let findings = run_case(case, *direction, left, &zabkeeper, *seed)
            .unwrap_or_else(|error| panic!("{direction:?}, seed {seed}: {error:#}"));
        let shown = findings.mismatches.len().min(5);
        assert!(
            findings.mismatches.is_empty(),
            "{direction:?}, seed {seed}: {} differences: {:#?}",
            findings.mismatches.len(),
            &findings.mismatches[..shown]
        );
        all.push(findings);
    }
    all
}

/// And nothing is left unlooked at.
fn check(case: &str) {
    for findings in travel(case, &[1]) {
        assert!(findings.compared > 60, "{case}: only {} things compared", findings.compared);
        // Java's fuzzy snapshots may be ahead of their digest; nothing else is meant here.
        let meant = |id: &str| id == "fuzzy-snapshot";
        let is_meant = findings.deliberate.iter().all(|(id, ..)| meant(id));
        assert!(is_meant, "{case}: {:?}", findings.deliberate);
    }
}

#[test]
fn log_and_first_snapshot() {
    check("snapshot-and-log");
}

#[test]
fn many_snapshots_and_logs_after_a_kill() {
    check("many-files");
}

#[test]
fn log_files_only() {
    check("log-only");
}

#[test]
fn gzip_snapshots() {
    check("gz");
}

#[test]
fn snappy_snapshots() {
    check("snappy");
}

#[test]
fn b17_no_digests() {
    check("no-digests");
}

/// Without paths in closeSession and with the serialised zxid left out, as older servers do it.
#[test]
fn old_style_records() {
    check("old-style");
}

#[test]
fn a_log_that_ends_within_its_last_record() {
    check("torn-tail");
}

#[test]
fn a_last_record_that_was_half_written() {
    check("unwritten-tail");
}

/// A kill in the middle of a stream of writes: what was acknowledged is there for the next server,
/// and what is there has no hole.
#[test]
fn acknowledged_writes_survive_a_kill_and_a_change_of_server() {
    check("killed");
}

/// Java does not start with it; zabkeeper does, without the record.
#[test]
fn a_last_record_that_does_not_fit_its_checksum_is_cut_off_here_only() {
    for findings in travel("damaged-tail", &[1]) {
        let torn = findings.deliberate.iter().filter(|(id, ..)| *id == "torn-tail").count();
        assert_eq!(torn, usize::from(java().is_some()));
    }
}

/// Trees that nobody has thought of.
#[test]
fn random_histories() {
    travel("many-files", &[2, 3]);
}

#[test]
fn the_same_history_makes_the_same_records() {
    // Of 3.8 some records have another form.
    let Some(java) = crate::servers::java_of_the_port() else { return };
    let case = Case::named("records").unwrap();
    for seed in 1..=3 {
        let found = run_case(case, Direction::LeftRight, java, &zabkeeper(), seed).unwrap();
        assert!(found.compared > 300, "{}", found.compared);
        assert!(found.mismatches.is_empty(), "{:#?}", found.mismatches);
    }
}
