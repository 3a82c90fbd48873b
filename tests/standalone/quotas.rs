//! Quotas: limits and statistics under /zookeeper/quota, soft and hard.

use zabkeeper::proto::Acl;

use crate::support::both::{Flavor, SUPER_TOKEN};
use crate::support::peer::{Peer, op_create, op_delete, op_set};
use crate::{PLAIN, story};

static ENFORCED: Flavor = Flavor::new(&["enforceQuota=true"], &[]);

/// As zkCli's setquota: the nodes of the path, then limits and stats.
fn set_quota(client: &mut Peer, path: &str, limits: &str) {
    let mut at = String::from("/zookeeper/quota");
    for part in path.trim_start_matches('/').split('/') {
        at = format!("{at}/{part}");
        client.create(&at, "", 0);
    }
    client.create(&format!("{at}/zookeeper_limits"), limits, 0);
    client.create(&format!("{at}/zookeeper_stats"), "count=0,bytes=0", 0);
}

fn stats(client: &mut Peer, path: &str) {
    client.get(&format!("/zookeeper/quota{path}/zookeeper_stats"), false);
}

story!(quota_statistics_follow_every_write on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/q", "12345", 0);
    a.create("/t/q/before", "123", 0);
    set_quota(&mut a, "/t/q", "count=1000,bytes=1000");
    stats(&mut a, "/t/q");
    a.create("/t/q/x", "12", 0);
    stats(&mut a, "/t/q");
    a.set("/t/q/x", "1234567890", -1);
    stats(&mut a, "/t/q");
    a.set_buffer("/t/q/x", None, -1);
    stats(&mut a, "/t/q");
    a.create("/t/q/x/deep", "1", 1);
    a.create("/t/q/seq-", "1", 2);
    a.create_container("/t/q/c", 4);
    a.create_ttl("/t/q/ttl", 5, 100_000);
    stats(&mut a, "/t/q");
    a.delete("/t/q/x/deep", -1);
    a.multi(vec![op_create("/t/q/m", 0), op_set("/t/q", "", -1), op_delete("/t/q/before", -1)]);
    stats(&mut a, "/t/q");
    // Not by failures, not beside the path.
    a.create("/t/q/x", "", 0);
    a.multi(vec![op_create("/t/q/m2", 0), op_create("/t/q/m2", 0)]);
    a.create("/t/qq", "1234", 0);
    stats(&mut a, "/t/q");
    let mut b = s.client("b");
    b.create("/t/q/e", "1234", 1);
    stats(&mut a, "/t/q");
    b.close();
    stats(&mut a, "/t/q");
});

story!(soft_quotas_only_warn on ENFORCED, |s| {
    let mut a = s.client("a");
    a.create("/t/q", "", 0);
    set_quota(&mut a, "/t/q", "count=2,bytes=5");
    a.create("/t/q/1", "123456", 0);
    a.create("/t/q/2", "123456", 0);
    a.create("/t/q/3", "123456", 0);
    a.set("/t/q", "1234567890", -1);
    stats(&mut a, "/t/q");
});

story!(hard_quotas_refuse on ENFORCED, |s| {
    let mut a = s.client("a");
    a.create("/t/q", "", 0);
    set_quota(&mut a, "/t/q", "count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=4");
    a.create("/t/q/1", "12345", 0);
    a.create("/t/q/2", "123456", 0);
    a.create("/t/q/2", "12345", 0);
    a.set("/t/q/1", "123456", -1);
    a.set("/t/q/1", "1", 9);
    a.set("/t/q/1", "1", -1);
    a.set("/t/q/1", "12345", -1);
    a.create("/t/q/3", "", 0);
    a.create("/t/q/4", "", 0);
    a.create("/t/q/3", "", 0);
    a.create("/t/q/1/deep", "", 0);
    a.create("/t/q/seq-", "", 2);
    a.create("/t/q/e", "", 1);
    a.create_container("/t/q/c", 4);
    a.create_ttl("/t/q/ttl", 5, 1000);
    stats(&mut a, "/t/q");
    a.multi(vec![op_delete("/t/q/1", -1), op_create("/t/q/5", 0)]);
    a.multi(vec![op_create("/t/q/6", 0), op_create("/t/q/7", 0)]);
    a.delete("/t/q/2", -1);
    a.create("/t/q/8", "1", 0);
    stats(&mut a, "/t/q");
    // Beside the path everything goes.
    a.create("/t/qq", "12345678901234567890", 0);
});

story!(the_super_user_keeps_to_hard_quotas_too on ENFORCED, |s| {
    let mut a = s.client("a");
    a.create("/t/q", "", 0);
    set_quota(&mut a, "/t/q", "count=-1,bytes=-1=;countHardLimit=1");
    a.auth("digest", SUPER_TOKEN);
    a.create("/t/q/1", "", 0);
});

story!(the_deepest_quota_counts on ENFORCED, |s| {
    let mut a = s.client("a");
    for path in ["/t/q", "/t/q/in"] {
        a.create(path, "", 0);
    }
    set_quota(&mut a, "/t/q", "count=-1,bytes=-1=;countHardLimit=3");
    set_quota(&mut a, "/t/q/in", "count=-1,bytes=-1=;countHardLimit=3");
    a.create("/t/q/in/1", "", 0);
    a.create("/t/q/in/2", "", 0);
    a.create("/t/q/in/3", "", 0);
    a.create("/t/q/1", "", 0);
    stats(&mut a, "/t/q");
    stats(&mut a, "/t/q/in");
});

story!(odd_limits_are_read_as_java_reads_them on ENFORCED, |s| {
    let mut a = s.client("a");
    for (n, limits) in [
        "", "count=1", "bytes=1", "countHardLimit=1", "countHardLimit=1,byteHardLimit=2",
        "count=1,bytes=1;countHardLimit=1", "byteHardLimit=0", "countHardLimit=0", "countHardLimit=-1",
        "countHardLimit=", "x=1;countHardLimit=1",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/t/q{n}");
        a.create(&path, "", 0);
        set_quota(&mut a, &path, limits);
        a.create(&format!("{path}/1"), "12", 0);
        a.set(&path, "1", -1);
        stats(&mut a, &path);
    }
});

story!(a_quota_without_limits_or_removed_is_none on ENFORCED, |s| {
    let mut a = s.client("a");
    a.create("/t/q", "", 0);
    set_quota(&mut a, "/t/q", "count=-1,bytes=-1=;countHardLimit=1");
    a.create("/t/q/1", "", 0);
    a.delete("/zookeeper/quota/t/q/zookeeper_limits", -1);
    a.create("/t/q/1", "", 0);
    a.create("/zookeeper/quota/t/q/zookeeper_limits", "countHardLimit=2", 0);
    a.create("/t/q/2", "", 0);
    a.set("/zookeeper/quota/t/q/zookeeper_limits", "countHardLimit=3", -1);
    a.create("/t/q/2", "", 0);
    a.create_acl("/t/q/3", "", Acl::open_unsafe(), 0);
});
