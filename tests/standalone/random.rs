//! Random stories: both servers must show the same, packet for packet.
//! `ZABKEEPER_RANDOM_STORIES=first..last` tells more of them.

use crate::support::both::{Flavor, diff};
use crate::support::random::tell;
use crate::support::server::targets;

/// Servers of their own: the stories reach up to the root, whose counters remember all stories.
static RANDOM: Flavor = Flavor::new(
    &["extendedTypesEnabled=true", "maxSessionTimeout=60000", "snapCount=1000"],
    &["znode.container.checkIntervalMs=3600000"],
);

/// Events of one transaction are compared as a set: ephemerals of a closed session go in the order
/// of a hash set in Java.
fn with_events_sorted(lines: Vec<String>) -> Vec<String> {
    let key = |line: &String| -> Option<(String, String)> {
        let (who, rest) = line.split_once("< event ")?;
        let zxid = rest.split(" zxid=").nth(1)?;
        Some((who.to_owned(), zxid.to_owned()))
    };
    let mut sorted: Vec<String> = Vec::new();
    let mut run: Vec<String> = Vec::new();
    for line in lines {
        if !run.is_empty() && (key(&line).is_none() || key(&line) != key(&run[0])) {
            run.sort();
            sorted.append(&mut run);
        }
        if key(&line).is_some() {
            run.push(line);
        } else {
            sorted.push(line);
        }
    }
    run.sort();
    sorted.extend(run);
    sorted
}

#[test]
fn random_stories_are_the_same() {
    let range = std::env::var("ZABKEEPER_RANDOM_STORIES").unwrap_or("1..16".into());
    let (first, last) = range.split_once("..").expect("first..last");
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    let mut failed = Vec::new();
    for seed in first..last {
        let mut expected: Option<Vec<String>> = None;
        for &target in targets() {
            let seen = with_events_sorted(RANDOM.tell(target, &|s| tell(seed, s)));
            match &expected {
                None => expected = Some(seen),
                Some(expected) if *expected != seen => {
                    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
                    eprintln!("story {seed}: {target} differs\n{}", diff(&expected, &seen));
                    failed.push(seed);
                }
                Some(_) => {}
            }
        }
    }
    assert!(failed.is_empty(), "stories that differ: {failed:?}");
}
