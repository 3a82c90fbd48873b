//! Containers and nodes with a time to live, and the thread that removes them.

use std::time::Duration;

use zabkeeper::proto::EphemeralType;

use crate::support::both::Flavor;
use crate::{DEFAULTS, PLAIN, story};

/// The reaper looks every 300 ms. Its key has no `zookeeper.` prefix: zoo.cfg cannot set it.
static REAPING: Flavor = Flavor::new(
    &["extendedTypesEnabled=true", "maxSessionTimeout=60000"],
    &["znode.container.checkIntervalMs=300"],
);

story!(ttl_rules on PLAIN, |s| {
    let mut a = s.client("a");
    for flags in [0, 1, 4, 5, 6] {
        for ttl in [1, EphemeralType::TTL_MAX] {
            a.create_ttl(&format!("/t/n{flags}-{ttl}"), flags, ttl);
        }
    }
    for ttl in [0, -1, EphemeralType::TTL_MAX + 1, i64::MAX, i64::MIN] {
        a.create_ttl("/t/bad", 5, ttl);
        a.create_ttl("/t/bad", 6, ttl);
    }
    a.create("/t/op1", "", 5);
    a.create("/t/op1", "", 6);
    a.create2("/t/op15", "", 5);
    a.create_container("/t/op19", 5);
    a.create_ttl("relative", 5, 10);
    a.create_ttl("/t/missing/n", 5, 10);
    a.create_ttl("/t/n5-1", 5, 10);
    // A node with a time to live may have children and be changed.
    a.create_ttl("/t/parent", 5, 1_000_000);
    a.create("/t/parent/child", "", 0);
    a.set("/t/parent", "x", 0);
    a.delete("/t/parent", -1);
    a.delete("/t/parent/child", -1);
    a.delete("/t/parent", -1);
});

story!(b35_without_extended_types_there_are_no_ttl_nodes on DEFAULTS, |s| {
    let mut a = s.client("a");
    a.create_ttl("/t/n", 5, 1000);
    a.create_ttl("/t/n", 6, 1000);
    a.create_ttl("/t/n", 5, 0);
    a.create("/t/n", "", 5);
    a.create_container("/t/c", 4);
    a.create("/t/c/child", "", 0);
    a.get("/t/c", false);
});

story!(containers_go_when_their_last_child_has_gone on REAPING, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create_container("/t/used", 4);
    a.create_container("/t/never", 4);
    a.create_container("/t/full", 4);
    a.create("/t/full/x", "", 0);
    a.create("/t/used/x", "", 0);
    b.exists("/t/used", true);
    b.children("/t", true);
    a.delete("/t/used/x", -1);
    b.event(Duration::from_secs(10));
    b.event(Duration::from_secs(10));
    b.children("/t", false);
    a.get("/t/never", false);
});

story!(nested_containers_go_one_after_the_other on REAPING, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create_container("/t/outer", 4);
    a.create_container("/t/outer/inner", 4);
    a.create("/t/outer/inner/x", "", 0);
    b.exists("/t/outer/inner", true);
    b.exists("/t/outer", true);
    a.delete("/t/outer/inner/x", -1);
    b.event(Duration::from_secs(10));
    b.event(Duration::from_secs(10));
});

// Zxids tell that nothing else was removed.
story!(ttl_nodes_go_when_nothing_happens_to_them on REAPING, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create_ttl("/t/short", 5, 500);
    a.create_ttl("/t/long", 5, 600_000);
    a.create_ttl("/t/parent", 5, 1);
    a.create("/t/parent/child", "", 0);
    b.exists("/t/short", true);
    b.event(Duration::from_secs(10));
    b.children("/t", false);
    b.exists("/t/parent", true);
    a.delete("/t/parent/child", -1);
    b.event(Duration::from_secs(10));
    b.children("/t", false);
});
