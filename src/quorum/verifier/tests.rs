//! Tests of the verifiers: tables, texts, and a naive twin under random configurations.

use proptest::prelude::*;

use super::*;

fn options() -> VerifierOptions {
    VerifierOptions { standalone_enabled: true, ..VerifierOptions::default() }
}

fn read(text: &str) -> QuorumVerifier {
    QuorumVerifier::from_config_text(text, &options()).unwrap()
}

fn sids(ids: &[i64]) -> BTreeSet<ServerId> {
    ids.iter().copied().map(ServerId).collect()
}

const THREE: &str = "server.1=a:1:2:participant;0.0.0.0:2181\n\
                     server.2=b:1:2:participant;0.0.0.0:2181\n\
                     server.3=c:1:2:participant\n\
                     server.4=d:1:2:observer\n\
                     version=100000000";

const HIERARCHY: &str = "server.1=a:1:2:participant\n\
                         server.2=b:1:2:participant\n\
                         server.3=c:1:2:participant\n\
                         server.4=d:1:2:participant\n\
                         server.5=e:1:2:participant\n\
                         group.1=1:2:3\n\
                         group.2=4\n\
                         group.3=5\n\
                         weight.1=1\n\
                         weight.2=1\n\
                         weight.3=3\n\
                         weight.4=1\n\
                         weight.5=0\n\
                         version=0";

#[test]
fn text_is_read_and_printed_as_it_is_sent() {
    for text in [THREE, HIERARCHY, "version=ffffffffffffffff"] {
        let text = text.replace("ffffffffffffffff", "0");
        assert_eq!(read(&text).to_string(), text);
    }
    let three = read(THREE);
    assert_eq!(three.version(), 1 << 32);
    assert_eq!((three.voting_members().len(), three.observing_members().len()), (3, 1));
    assert_eq!(three.with_version(7).to_string(), THREE.replace("=100000000", "=7"));
    assert_eq!(read(HIERARCHY).with_version(10).to_string(), HIERARCHY.replace("n=0", "n=a"));
    assert_eq!(read(&THREE.replace('\n', "\r\n")).to_string(), THREE);
}

#[test]
fn texts_that_java_refuses_are_refused() {
    let check = |text: &str, standalone_enabled, part: &str| {
        let options = VerifierOptions { standalone_enabled, ..VerifierOptions::default() };
        let error = QuorumVerifier::from_config_text(text, &options).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
    };
    check("clientPort=1", true, "Unrecognised parameter: clientPort");
    check("version=0", false, "number of participants should be >0");
    check("server.1=a:1:2:observer", true, "Observers w/o participants");
    check("server.1=a:1:2\nserver.2=a:1:2:observer", true, "Observers w/o quorum");
    check("server.x=a:1:2", true, "x is not a number");
    check("version=zz", true, "zz is not a number");
    check("version=10000000000000000", true, "is not a number");
    check("server.1=a:1:2\nweight.1=1", true, "Server 1is not in a group");
    check("group.1=1:2\ngroup.2=2\nweight.1=1\nweight.2=1", true, "Server 2is in multiple groups");
    check("group.1=1:2\nweight.2=0", true, "Server 1 of group.1 has no weight");
    check("group.1=", true, "is not a number");
    check("group=1", true, "is not a number");
    check("a\\u12=1", true, "Malformed");
    check("server.1=a:1:2|b:1:2", true, "Multiple address feature is disabled");
}

#[test]
fn a_majority_is_more_than_half_of_the_voters() {
    let three = read(THREE);
    assert!(!three.contains_quorum(&sids(&[])) && !three.contains_quorum(&sids(&[1])));
    assert!(three.contains_quorum(&sids(&[1, 3])));
    let two = read("server.1=a:1:2\nserver.2=a:1:2");
    assert!(!two.contains_quorum(&sids(&[1])) && two.contains_quorum(&sids(&[1, 2])));
    assert_eq!(three.weight(ServerId(9)), 1);
}

#[test]
fn a_hierarchy_needs_a_majority_in_a_majority_of_groups() {
    let hierarchy = read(HIERARCHY);
    // Group 3 has no weight, so both others are needed; server 3 alone decides for group 1.
    let check = |acks: &[i64], expected| {
        assert_eq!(hierarchy.contains_quorum(&sids(acks)), expected, "{acks:?}");
    };
    check(&[], false);
    check(&[3], false);
    check(&[3, 4], true);
    check(&[1, 2, 4, 5], false);
    check(&[1, 2, 3, 5, 9], false);
    assert_eq!([3, 5, 9].map(|sid| hierarchy.weight(ServerId(sid))), [3, 0, 0]);
}

struct Says(bool);

impl Oracle for Says {
    fn ask(&self) -> bool {
        self.0
    }
}

fn with_oracle(text: &str, says: bool) -> QuorumVerifier {
    let options = VerifierOptions { oracle: Some(Arc::new(Says(says))), ..options() };
    QuorumVerifier::from_config_text(text, &options).unwrap()
}

#[test]
fn the_oracle_stands_in_for_one_of_two() {
    let two = "server.1=a:1:2\nserver.2=a:1:2";
    for says in [false, true] {
        let verifier = with_oracle(two, says);
        assert!(verifier.contains_quorum(&sids(&[1, 2])));
        assert_eq!(verifier.contains_quorum(&sids(&[1])), says, "needed until a follower came");
        assert!(!verifier.update_need_oracle(true) && !verifier.needs_oracle());
        assert!(!verifier.contains_quorum(&sids(&[1])));
        assert!(!verifier.override_quorum_decision(true));
        assert_eq!(verifier.override_quorum_decision(false), says);
    }
    let three = with_oracle(THREE, true);
    assert!(!three.contains_quorum(&sids(&[1])) && !three.update_need_oracle(false));
    assert!(!read(two).update_need_oracle(false) && !read(two).ask_oracle());
}

#[test]
fn the_first_character_of_the_oracles_file_decides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oracle");
    let oracle = FileOracle::new(&path);
    assert!(!oracle.ask());
    for (content, expected) in
        [("1", true), ("0", false), ("10\n", true), (" 1", false), ("", false)]
    {
        std::fs::write(&path, content).unwrap();
        assert_eq!(oracle.ask(), expected, "{content:?}");
    }
}

#[test]
fn configurations_are_compared_as_java_does() {
    let check = |a: &QuorumVerifier, b: &QuorumVerifier, expected| {
        assert_eq!(a.is_same_as(b), expected, "{a} / {b}");
    };
    let moved = THREE.replace("server.3=c", "server.3=x");
    check(&read(THREE), &read(THREE), true);
    check(&read(THREE), &read(THREE).with_version(9), true);
    check(&read(THREE), &read(&moved).with_version(9), false);
    check(&read(THREE), &read(&moved), true);
    check(&read(HIERARCHY), &read(THREE).with_version(0), false);
    let heavier = HIERARCHY.replace("weight.5=0", "weight.5=1");
    check(&read(HIERARCHY), &read(&heavier).with_version(9), false);
    check(&read(HIERARCHY), &read(HIERARCHY).with_version(9), true);
}

/// Groups and weights of up to nine servers, written as a configuration.
fn hierarchy_text(servers: &[(i64, i64)]) -> String {
    let mut groups: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut text = String::new();
    for (n, (group, weight)) in servers.iter().enumerate() {
        groups.entry(*group).or_default().push(n.to_string());
        text += &format!("server.{n}=h:1:2\nweight.{n}={weight}\n");
    }
    for (group, servers) in groups {
        text += &format!("group.{group}={}\n", servers.join(":"));
    }
    text
}

/// By the book: counts the groups with weight, and those of which more than half is there.
fn naive(servers: &[(i64, i64)], acks: &BTreeSet<ServerId>) -> bool {
    let (mut counted, mut won) = (0, 0);
    for group in 0..4 {
        let weight = |only_acked: bool| -> i64 {
            let of_group = servers.iter().enumerate().filter(|(_, server)| server.0 == group);
            of_group
                .filter(|(n, _)| !only_acked || acks.contains(&ServerId(*n as i64)))
                .map(|(_, server)| server.1)
                .sum()
        };
        counted += usize::from(weight(false) > 0);
        won += usize::from(2 * weight(true) > weight(false));
    }
    won * 2 > counted
}

proptest! {
    #[test]
    fn a_hierarchy_agrees_with_its_naive_twin(
        servers in prop::collection::vec((0i64..4, 0i64..4), 2..9),
        acked in any::<u16>(),
    ) {
        let verifier = read(&hierarchy_text(&servers));
        let acks = (0..servers.len())
            .filter(|n| acked >> n & 1 == 1)
            .map(|n| ServerId(n as i64))
            .collect();
        prop_assert_eq!(verifier.contains_quorum(&acks), naive(&servers, &acks));
        prop_assert!(read(&verifier.to_string()).is_same_as(&verifier));
    }

    /// What election and broadcast rest on: two quorums share a server.
    #[test]
    fn two_quorums_intersect(
        servers in prop::collection::vec((0i64..4, 0i64..4), 2..9),
        acked in any::<u16>(),
        is_hierarchical in any::<bool>(),
    ) {
        let mut text = hierarchy_text(&servers);
        if !is_hierarchical {
            text = text.lines().filter(|line| line.starts_with("server")).collect::<Vec<_>>().join("\n");
        }
        let verifier = read(&text);
        let (acks, others): (BTreeSet<_>, BTreeSet<_>) = (0..servers.len())
            .map(|n| ServerId(n as i64))
            .partition(|sid| acked >> sid.0 & 1 == 1);
        prop_assert!(!(verifier.contains_quorum(&acks) && verifier.contains_quorum(&others)));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(server|group|weight|version)[.0-9=:;|a-z\\[\\]\n\\\\]{0,80}") {
        let _ = QuorumVerifier::from_config_text(&text, &options());
    }
}

/// What Java made of lines and configurations, recorded by `tests/java/VerifierOracle.java`.
#[test]
fn lines_and_configurations_are_read_and_printed_as_java_did() {
    let recorded = include_str!("../../../tests/golden/quorum/verifiers.tsv");
    let unhex = |text| String::from_utf8(crate::common::golden::unhex(text)).unwrap();
    for line in recorded.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [kind, text, sids, outcome, output, is_quorum] = columns.as_slice() else {
            panic!("{line}")
        };
        let (text, output) = (unhex(text), unhex(output));
        let printed = match *kind {
            "config" | "sparse" => {
                let options = VerifierOptions { multi_address_enabled: true, ..options() };
                QuorumVerifier::from_config_text(&text, &options).map(|verifier| {
                    let sids = sids.split(',').filter(|sid| !sid.is_empty());
                    let sids = sids.map(|sid| ServerId(sid.parse().unwrap())).collect();
                    let decides = verifier.contains_quorum(&sids);
                    assert_eq!(decides.to_string(), *is_quorum, "{sids:?} of\n{text}");
                    verifier.to_string()
                })
            }
            kind => QuorumServer::parse(ServerId(7), &text, kind == "servers")
                .map(|server| server.to_string()),
        };
        match (printed, *outcome) {
            (Ok(printed), "ok") if *kind == "sparse" => {
                let sorted = |text: &str| {
                    let mut lines: Vec<String> = text.lines().map(sorted_group).collect();
                    lines.sort();
                    lines
                };
                assert_eq!(sorted(&printed), sorted(&output), "{text}");
            }
            (Ok(printed), "ok") => assert_eq!(printed, output, "{text}"),
            (Err(error), "error") => {
                // Messages of Java's library are not worth having.
                let is_javas_own = ["For input string", "Cannot invoke", "Index ", "null"];
                if !is_javas_own.iter().any(|start| output.starts_with(start)) {
                    assert_eq!(error.message, output, "{text}");
                }
            }
            (actual, _) => panic!("{text}: {actual:?}, Java: {outcome} {output}"),
        }
    }
}

/// A line with the members of a group sorted.
fn sorted_group(line: &str) -> String {
    match line.split_once('=') {
        Some((key, members)) if key.starts_with("group") => {
            let mut members: Vec<&str> = members.split(':').collect();
            members.sort_unstable();
            format!("{key}={}", members.join(":"))
        }
        _ => line.to_owned(),
    }
}
