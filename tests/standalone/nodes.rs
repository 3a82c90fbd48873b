//! Creating, reading, changing and deleting nodes: results, stat fields, order of checks.

use std::sync::Arc;

use zabkeeper::jute::Jute;
use zabkeeper::proto::messages::{CreateRequest, ReconfigRequest, SyncRequest};
use zabkeeper::proto::{Acl, OpCode, perms};

use crate::story;
use crate::support::peer::{string_and_int, text};
use crate::{DEFAULTS, PLAIN};

story!(b21_stat_shows_cversion_from_creates_and_children on PLAIN, |s| {
    let mut a = s.client("a");
    a.create2("/t/n", "abc", 0);
    a.exists("/t/n", false);
    a.create("/t/n/1", "", 0);
    a.create("/t/n/2", "", 0);
    a.delete("/t/n/1", -1);
    a.exists("/t/n", false);
    a.set("/t/n", "longer", 0);
    a.set("/t/n", "", 1);
    a.children2("/t/n", false);
    a.set_acl("/t/n", Acl::open_unsafe(), 0);
    a.get("/t/n", false);
    a.create2("/t/eph", "", 1);
    a.get("/t/eph", false);
    a.exists("/t", false);
});

story!(b21_owner_of_container_and_ttl_nodes_is_shown_as_zero on PLAIN, |s| {
    let mut a = s.client("a");
    a.create_container("/t/c", 4);
    a.create_ttl("/t/ttl", 5, 60_000);
    a.create2("/t/e", "", 1);
    for path in ["/t/c", "/t/ttl", "/t/e"] {
        a.exists(path, false);
    }
});

story!(b33_null_and_empty_data_differ on PLAIN, |s| {
    let mut a = s.client("a");
    a.create_buffer("/t/null", None);
    a.create_buffer("/t/empty", Some(Arc::from(&b""[..])));
    a.get("/t/null", false);
    a.get("/t/empty", false);
    a.set_buffer("/t/empty", None, -1);
    a.get("/t/empty", false);
    a.set_buffer("/t/null", Some(Arc::from(&b""[..])), -1);
    a.get("/t/null", false);
});

story!(b33_container_flag_of_plain_create_makes_a_plain_node on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/c", "", 4);
    a.get("/t/c", false);
    a.create2("/t/c2", "", 4);
    a.get("/t/c2", false);
    a.create_container("/t/c3", 0);
    a.get("/t/c3", false);
    a.create_container("/t/c4", 2);
    a.create_container("/t/c5", 1);
    a.exists("/t/c5", false);
});

story!(b08_a_rejected_write_consumes_a_zxid on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/n", "", 0);
    a.create("/t/n", "", 0);
    a.exists("/t/n", false);
    a.delete("/t/missing", -1);
    a.set("/t/n", "x", 7);
    a.set_acl("/t/n", vec![], -1);
    a.create("/t/n/child", "", 0);
    a.delete("/t/n", -1);
    a.ping();
    a.delete("/t/n/child", -1);
    // A rejected read does not.
    a.get("/t/missing", false);
    a.ping();
});

story!(create_checks_in_order on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/eph", "", 1);
    a.create_acl("/t/read-only", "", Acl::read_unsafe(), 0);
    // Flags come before the path, ...
    a.create("relative", "", 99);
    a.create("/t/n", "", -1);
    a.create("/t/n", "", 7);
    a.create_acl("relative", "", vec![], 0);
    a.create_acl("/t/nul\0", "", vec![], 0);
    a.create_acl("", "", vec![], 0);
    a.create_acl("noslash", "", Acl::open_unsafe(), 0);
    // ... the ACL before the parent, ...
    a.create_acl("/t/missing/n", "", vec![], 0);
    a.create_acl("/t/missing/n", "", vec![Acl::new(31, "nonsense", "x")], 0);
    a.create_acl("/t/missing/n", "", Acl::open_unsafe(), 0);
    // ... the parent's ACL before the path's validity, ...
    a.create("/t/read-only/.", "", 0);
    a.create("/t/read-only/n", "", 0);
    a.create("/t/.", "", 0);
    a.create("/t/..", "", 0);
    a.create("/t/a//b", "", 0);
    a.create("/t//b", "", 0);
    a.create("/t/", "", 0);
    a.create("/", "", 0);
    a.create("/t/trailing/", "", 0);
    // ... existence before the ephemeral parent.
    a.create("/t/eph", "", 0);
    a.create("/t/eph/n", "", 0);
    a.create("/t/eph/n/m", "", 0);
    a.create("/t/eph/.", "", 0);
});

story!(paths_are_validated_by_utf16_unit on PLAIN, |s| {
    let mut a = s.client("a");
    for name in [
        "tab\t", "bell\u{7}", "del\u{7f}", "c1\u{85}", "nbsp\u{a0}", "private\u{e000}",
        "last-private\u{f8ff}", "after\u{f900}", "specials\u{fff0}", "\u{fffd}", "emoji\u{1f600}",
        "umlaut\u{e4}", "cjk\u{4e2d}", " space ", "...", "..a", ".a", "a.", "a..b", "-", "\u{1}",
        "\u{1f}", "\u{9f}", "\u{d7ff}",
    ] {
        a.create(&format!("/t/{name}"), "", 0);
    }
    a.create("/t/./x", "", 0);
    a.create("/t/../x", "", 0);
    a.children("/t", false);
});

story!(reads_do_not_validate_paths on PLAIN, |s| {
    let mut a = s.client("a");
    for path in ["//", "/t/", "/t//", "t", "/.", "/t/..", "/t\u{7}", "/t\0"] {
        a.exists(path, false);
        a.get(path, false);
        a.children(path, false);
        a.children2(path, false);
        a.get_acl(path);
        a.all_children_number(path);
        a.sync(path);
    }
});

// The stat of the root depends on what ran before: only the code is compared.
story!(the_empty_path_is_the_root_for_reads on PLAIN, |s| {
    let mut a = s.client("a");
    for op in [OpCode::Exists, OpCode::GetData, OpCode::GetChildren] {
        let mut body = Vec::new();
        String::new().encode(&mut body);
        false.encode(&mut body);
        a.wire.send(77, op.as_i32(), &body);
        let reply = a.wire.packet();
        s.note(format!("{} of \"\": {} and {} bytes", op.name(), reply.header.err, reply.body.len()));
    }
    for op in [OpCode::Delete, OpCode::Sync] {
        a.call_raw(op.as_i32(), &string_and_int("", -1), format!("{} of the empty path", op.name()));
    }
    a.set("", "x", -1);
    a.ephemerals("");
});

story!(delete_checks_in_order on PLAIN, |s| {
    let mut a = s.client("a");
    a.delete("relative", -1);
    a.delete("", -1);
    a.delete("/", -1);
    a.delete("/zookeeper", -1);
    a.delete("/zookeeper/config", -1);
    a.delete("/zookeeper/quota", -1);
    a.delete("/zookeeper/missing", -1);
    a.delete("/missing/n", -1);
    a.delete("/t/missing", -1);
    a.delete("/t/", -1);
    a.delete("/t//", -1);
    a.create("/t/n", "", 0);
    a.create("/t/n/child", "", 0);
    a.delete("/t/n", 5);
    a.delete("/t/n", 0);
    a.delete("/t/n/child", 1);
    a.delete("/t/n/child", -2);
    a.delete("/t/n/child", 0);
    a.delete("/t/n", -1);
    // No DELETE on the parent: before version and emptiness, but behind existence.
    let no_delete = vec![Acl::new(perms::ALL & !perms::DELETE, "world", "anyone")];
    a.create_acl("/t/p", "", no_delete, 0);
    a.create("/t/p/n", "", 0);
    a.create("/t/p/n/m", "", 0);
    a.delete("/t/p/n", 9);
    a.delete("/t/p/missing", -1);
    a.delete("/t/p/n/m", -1);
});

story!(set_data_checks_in_order on PLAIN, |s| {
    let mut a = s.client("a");
    a.set("relative", "", -1);
    a.set("", "", -1);
    a.set("/t/missing", "", -1);
    a.set("/t/missing/", "", -1);
    a.set("/t//", "", -1);
    a.create("/t/n", "", 0);
    a.set("/t/n", "x", 1);
    a.set("/t/n", "x", -2);
    a.set("/t/n", "x", 0);
    a.set("/t/n", "y", 0);
    a.set("/t/n", "y", -1);
    a.create_acl("/t/r", "", Acl::read_unsafe(), 0);
    a.set("/t/r", "x", 17);
    a.get("/t/r", false);
    a.create_acl("/t/w", "", vec![Acl::new(perms::WRITE, "world", "anyone")], 0);
    a.set("/t/w", "x", 0);
    a.get("/t/w", false);
    a.exists("/t/w", false);
    a.children("/t/w", false);
});

story!(set_acl_checks_in_order on PLAIN, |s| {
    let mut a = s.client("a");
    a.set_acl("relative", vec![], -1);
    a.set_acl("/t/missing", vec![], -1);
    a.set_acl("/t/missing", Acl::open_unsafe(), -1);
    a.create("/t/n", "", 0);
    a.set_acl("/t/n", vec![Acl::new(31, "digest", "no-colon")], 3);
    a.set_acl("/t/n", vec![Acl::new(31, "digest", "a:b:c")], 3);
    a.set_acl("/t/n", vec![Acl::new(31, "ip", "not-an-address")], 3);
    a.set_acl("/t/n", vec![Acl::new(31, "world", "someone")], 3);
    a.set_acl("/t/n", vec![Acl::new(31, "auth", "")], 3);
    a.set_acl("/t/n", Acl::open_unsafe(), 3);
    a.set_acl("/t/n", Acl::read_unsafe(), 0);
    a.get_acl("/t/n");
    a.set_acl("/t/n", Acl::open_unsafe(), 1);
    a.get_acl("/t/n");
    a.create_acl("/t/admin", "", vec![Acl::new(perms::ADMIN, "world", "anyone")], 0);
    a.set_acl("/t/admin", Acl::open_unsafe(), 4);
    a.set_acl("/t/admin", Acl::open_unsafe(), 0);
    a.get_acl("/t/missing");
});

story!(b34_system_nodes_always_exist on DEFAULTS, |s| {
    let mut a = s.client("a");
    a.get("/zookeeper", false);
    a.get("/zookeeper/quota", false);
    a.get_acl("/zookeeper/config");
    a.get_acl("/zookeeper/quota");
    a.children("/zookeeper", false);
    a.create("/zookeeper/mine", "", 0);
    a.create("/zookeeper/quota/mine", "", 0);
    a.delete("/zookeeper/mine", -1);
    a.set("/zookeeper/config", "x", -1);
    a.set_acl("/zookeeper/config", Acl::open_unsafe(), -1);
});

story!(b34_config_node_of_a_standalone_server on DEFAULTS, |s| {
    let mut a = s.client("a");
    a.exists("/zookeeper/config", false);
    a.get_acl("/zookeeper/config");
    let request = ReconfigRequest {
        joining_servers: None,
        leaving_servers: None,
        new_members: Some("server.1=127.0.0.1:1:2;3".into()),
        cur_config_id: -1,
    };
    a.call_raw(OpCode::Reconfig.as_i32(), &request.to_bytes(), "reconfig");
    a.ping();
});

story!(children_in_all_three_forms on PLAIN, |s| {
    let mut a = s.client("a");
    for path in ["/t/a", "/t/a/b", "/t/a/b/c", "/t/a/d", "/t/e"] {
        a.create(path, "", 0);
    }
    a.children("/t", false);
    a.children2("/t/a", false);
    a.children2("/t/e", false);
    a.all_children_number("/t");
    a.all_children_number("/t/a");
    a.all_children_number("/t/a/b/c");
    a.all_children_number("/t/missing");
    a.children("/t/missing", false);
    a.children2("/t/missing", false);
    let unreadable = vec![Acl::new(perms::ALL & !perms::READ, "world", "anyone")];
    a.set_acl("/t/a", unreadable, -1);
    a.children("/t/a", false);
    a.children2("/t/a", false);
    a.all_children_number("/t/a");
    a.all_children_number("/t");
});

story!(b25_sync_is_a_plain_read_here on PLAIN, |s| {
    let mut a = s.client("a");
    a.sync("/t");
    a.sync("/missing");
    a.sync("nonsense");
    let body = SyncRequest { path: None }.to_bytes();
    a.call_raw(OpCode::Sync.as_i32(), &body, "sync of the null path");
    a.ping();
});

story!(ephemerals_of_the_own_session on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create("/t/e1", "", 1);
    a.create("/t/e2", "", 1);
    a.create("/t/p", "", 0);
    a.create("/t/p/e3", "", 1);
    b.create("/t/p/e4", "", 1);
    a.ephemerals("/");
    a.ephemerals("/t/e");
    a.ephemerals("/t/p");
    a.ephemerals("/missing");
    a.ephemerals("relative");
    b.ephemerals("/t");
    a.delete("/t/e1", -1);
    b.delete("/t/e2", -1);
    a.ephemerals("/t/e");
    a.close();
    b.children("/t", false);
    b.children("/t/p", false);
});

story!(b20_sequence_suffix_counts_creates_of_the_parent on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/q", "", 0);
    a.create("/t/q/n-", "", 2);
    a.create("/t/q/n-", "", 2);
    a.create("/t/q/plain", "", 0);
    a.create("/t/q/n-", "", 2);
    a.delete("/t/q/n-0000000000", -1);
    a.create("/t/q/other", "", 3);
    a.create("/t/q/", "", 2);
    a.create2("/t/q/n-", "", 2);
    a.create_ttl("/t/q/ttl-", 6, 50_000);
    // A failed create does not count, ...
    a.create("/t/q/plain", "", 0);
    a.create("/t/q/x", "", 2);
    // ... and a taken name fails without counting.
    a.create("/t/q/y0000000010", "", 0);
    a.create("/t/q/y", "", 2);
    a.create("/t/q/z0000000012", "", 0);
    a.create("/t/q/z", "", 2);
    a.children("/t/q", false);
    a.exists("/t/q", false);
});

story!(sequence_of_a_slash_and_of_missing_parents on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/", "", 2);
    a.create("/t/m/", "", 2);
    a.create("/t/m/x", "", 2);
    a.create("/t/.", "", 2);
    a.create("/t/..", "", 2);
    a.create("", "", 2);
    a.create("/t//", "", 2);
});

story!(large_data_up_to_the_limit on PLAIN, |s| {
    let mut a = s.client("a");
    let bytes = "x".repeat(1_000_000);
    let body = CreateRequest {
        path: "/t/large".into(),
        data: text(&bytes),
        acl: Acl::open_unsafe(),
        flags: 0,
    };
    a.call_raw(OpCode::Create.as_i32(), &body.to_bytes(), "create /t/large with 1,000,000 bytes");
    let reply = a.get("/t/large", false).unwrap();
    s.note(format!("{} bytes", reply.body.len()));
    assert_eq!(&reply.body[4..1_000_004], bytes.as_bytes());
});

story!(delete_container_by_a_client on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/plain", "", 0);
    a.create_container("/t/c", 4);
    a.create("/t/full", "", 0);
    a.create("/t/full/child", "", 0);
    a.create("/t/e", "", 1);
    a.create_ttl("/t/ttl", 5, 100_000);
    for path in ["/t/plain", "/t/c", "/t/full", "/t/e", "/t/ttl", "/t/missing", "relative", "/"] {
        a.delete_container(path);
    }
    a.children("/t", false);
});

story!(op_codes_of_the_past_and_future on PLAIN, |s| {
    for op in [10, 23, 24, 99, 108, 1000, i32::MAX, i32::MIN, -2, -12] {
        let mut a = s.client("a");
        if a.call_raw(op, &[], format!("op {op}")).is_some() {
            a.expect_closed();
        }
    }
});

story!(b28_unknown_operations_end_the_connection on PLAIN, |s| {
    for op in [0, -1, 13] {
        let mut a = s.client("a");
        a.create("/t/before", "", 0);
        a.call_raw(op, &string_and_int("/t", -1), format!("op {op}"));
        a.expect_closed();
        // The session lives on.
        let mut again = s.reattach("again", &a);
        again.exists("/t", false);
        again.delete("/t/before", -1);
        again.close();
    }
});

story!(b30_fixed_xids_and_zxids on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/n", "", 0);
    a.call_xid(7, -2, OpCode::Ping, &[]);
    a.ping();
    a.auth("digest", "user:password");
    a.call_xid(0, 0, OpCode::Exists, &exists_body("/t/n"));
    a.call_xid(-17, -17, OpCode::Exists, &exists_body("/t/n"));
    a.call_xid(i32::MAX, i32::MAX, OpCode::Exists, &exists_body("/t/n"));
    a.set_watches(0, &[], &[], &[]);
    let mut b = s.client("b");
    b.set("/t/n", "x", -1);
    a.exists("/t/n", false);
});

story!(trailing_bytes_are_ignored on PLAIN, |s| {
    let mut a = s.client("a");
    let mut body = exists_body("/t");
    body.extend([1, 2, 3, 4, 5]);
    a.call_raw(OpCode::Exists.as_i32(), &body, "exists with trailing bytes");
});

fn exists_body(path: &str) -> Vec<u8> {
    let mut body = path.to_owned().to_bytes();
    body.push(0);
    body
}
