//! The instrument of `zabkeeper compare` itself: equal servers are found equal, Java and zabkeeper
//! differ in nothing but what is meant, and a changed server is caught and its fault shown in a few
//! steps. `ZABKEEPER_RANDOM_SEQUENCES=first..last` compares more sequences.
use std::path::PathBuf;

use zabkeeper::compare::deliberate;
use zabkeeper::compare::launch::Implementation;
use zabkeeper::compare::random::Plan;
use zabkeeper::compare::report::{Report, table};
use zabkeeper::compare::run::Bench;
use zabkeeper::compare::scenarios;
use zabkeeper::compare::side_spec::SideSpec;

use super::servers::java_of_the_port;

fn zabkeeper() -> SideSpec {
    SideSpec::Zabkeeper(Some(PathBuf::from(env!("CARGO_BIN_EXE_zabkeeper"))))
}

/// `None` where there is no Java to compare with.
fn java() -> Option<SideSpec> {
    match java_of_the_port()? {
        Implementation::Java { home } => Some(SideSpec::Java(Some(home.clone()))),
        Implementation::Zabkeeper { .. } => None,
    }
}

fn bench<'a>(left: &'a SideSpec, right: &'a SideSpec) -> Bench<'a> {
    Bench { left, right, jobs: 2, shrinks: true, fails_fast: false, has_progress: false }
}

fn assert_equal(report: &Report, operations: u64) {
    assert!(report.is_equal(), "{}", table(report));
    assert!(report.operations() >= operations, "{} operations only", report.operations());
}

fn seeds() -> (u64, u64) {
    let range = std::env::var("ZABKEEPER_RANDOM_SEQUENCES").unwrap_or("1..41".into());
    let (first, last) = range.split_once("..").expect("first..last");
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    (first, last - first)
}

#[test]
fn zabkeeper_is_like_itself_in_every_scenario() {
    let one = zabkeeper();
    let report = bench(&one, &one).scenarios(scenarios::all().unwrap()).unwrap();
    assert_equal(&report, 4000);
    assert_eq!(report.on_purpose(), 0, "{}", table(&report));
}

#[test]
fn zabkeeper_is_like_java_in_every_scenario_but_for_what_is_meant() {
    let (Some(java), here) = (java(), zabkeeper()) else { return };
    let all = scenarios::all().unwrap();
    let names: Vec<String> = all.iter().map(scenarios::Scenario::path).collect();
    let mut report = bench(&java, &here).scenarios(all).unwrap();
    deliberate::check_shown(&mut report, &names);
    assert_equal(&report, 4000);
    assert!(report.on_purpose() > 0, "{}", table(&report));
}

#[test]
fn zabkeeper_is_like_java_in_random_sequences() {
    let (Some(java), here) = (java(), zabkeeper()) else { return };
    let (first, count) = seeds();
    let report = bench(&java, &here).random(first, count, Plan::default()).unwrap();
    assert_equal(&report, count * 100);
}

#[test]
fn zabkeeper_is_like_itself_in_random_sequences() {
    let one = zabkeeper();
    let plan = Plan { ops: 300, sessions: 6 };
    let report = bench(&one, &one).random(1000, 10, plan).unwrap();
    assert_equal(&report, 1000);
    assert_eq!(report.on_purpose(), 0, "{}", table(&report));
}
