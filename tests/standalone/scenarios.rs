//! The scenarios of `zabkeeper compare`, against the transcripts that Java's server left in
//! `expected/`: so that most of the comparison works where there is no Java.

use zabkeeper::compare::deliberate;
use zabkeeper::compare::scenarios;

use crate::support::both::{Flavor, check_lines};
use crate::{DEFAULTS, PLAIN, QUICK};

static FRESH: Flavor = Flavor::named("fresh");
static SMALL: Flavor = Flavor::named("small");
static ENFORCED: Flavor = Flavor::named("enforced");
static REAPING: Flavor = Flavor::named("reaping");
static SKIP_ACL: Flavor = Flavor::named("skip_acl");

/// Each scenario of the group whose answers are the same on both sides.
fn check(group: &str) {
    let mut count = 0;
    for scenario in scenarios::all().unwrap() {
        let path = scenario.path();
        // Zxids behind undecodable writes differ on purpose; the others are the same without them.
        let hides_zxids = group == "malformed";
        let is_different = deliberate::TABLE
            .iter()
            .any(|one| one.scenario == path && !(hides_zxids && one.skews_zxids));
        if scenario.group != group || is_different || path == "malformed/null_acl_in_a_multi" {
            continue;
        }
        count += 1;
        let flavor = match scenario.flavor.name {
            "plain" | "mangled" => &PLAIN,
            "defaults" => &DEFAULTS,
            "fresh" => &FRESH,
            "small" => &SMALL,
            "enforced" => &ENFORCED,
            "reaping" => &REAPING,
            "quick" => &QUICK,
            "skip_acl" => &SKIP_ACL,
            other => panic!("{path}: no servers for {other}"),
        };
        check_lines(&scenario.name, &|target| flavor.play(target, &scenario.script, hides_zxids));
    }
    assert!(count > 0, "{group}");
}

#[test]
fn nodes() {
    check("nodes");
}

#[test]
fn multi() {
    check("multi");
}

#[test]
fn watches() {
    check("watches");
}

#[test]
fn sessions() {
    check("sessions");
}

#[test]
fn acls() {
    check("acls");
}

#[test]
fn quotas() {
    check("quotas");
}

#[test]
fn reaper() {
    check("reaper");
}

#[test]
fn settings() {
    check("settings");
}

#[test]
fn hostile() {
    check("hostile");
}

#[test]
fn pipelines() {
    check("pipelines");
}

#[test]
fn malformed() {
    check("malformed");
}
