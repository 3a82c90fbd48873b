//! Watches: who is told what, when, and in which order against replies.

use zabkeeper::proto::{Acl, perms};

use crate::{PLAIN, story};

story!(b23_event_precedes_the_reply_of_the_write_that_fired_it on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create("/t/n", "", 0);
    a.get("/t/n", true);
    b.exists("/t/n", true);
    a.set("/t/n", "x", -1);
    b.get("/t/n", false);
    a.children("/t", true);
    a.exists("/t/m", true);
    a.create("/t/m", "", 0);
    a.get("/t/m", true);
    a.children("/t/m", true);
    a.children("/t", true);
    a.delete("/t/m", -1);
    a.ping();
    b.ping();
});

story!(standard_watches_fire_once on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    b.create("/t/n", "", 0);
    a.get("/t/n", true);
    a.get("/t/n", true);
    a.exists("/t/n", true);
    b.set("/t/n", "1", -1);
    b.set("/t/n", "2", -1);
    a.ping();
    a.children("/t", true);
    a.children2("/t", true);
    b.create("/t/x", "", 0);
    b.create("/t/y", "", 0);
    a.ping();
    // A setACL and a change below do not fire a data watch.
    a.get("/t/n", true);
    b.set_acl("/t/n", Acl::open_unsafe(), -1);
    b.create("/t/n/c", "", 0);
    a.ping();
    b.delete("/t/n/c", -1);
    b.delete("/t/n", -1);
    a.ping();
});

story!(reads_of_missing_nodes_watch_only_with_exists on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.get("/t/m", true);
    a.children("/t/m", true);
    b.create("/t/m", "", 0);
    a.ping();
    a.exists("/t/o", true);
    b.create("/t/o", "", 0);
    a.ping();
    // A refused read does not watch.
    b.create_acl("/t/secret", "", vec![Acl::new(perms::WRITE, "world", "anyone")], 0);
    a.get("/t/secret", true);
    a.children("/t/secret", true);
    b.set("/t/secret", "", -1);
    b.delete("/t/secret", -1);
    a.ping();
});

story!(b32_deleted_comes_once_for_data_and_child_watch on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    b.create("/t/n", "", 0);
    a.get("/t/n", true);
    a.children("/t/n", true);
    a.add_watch("/t/n", 0);
    b.delete("/t/n", -1);
    a.ping();
    b.create("/t/n", "", 0);
    a.ping();
    a.children("/t/n", true);
    b.delete("/t/n", -1);
    a.ping();
});

story!(b32_several_modes_on_one_path_give_one_event on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    b.create("/t/n", "", 0);
    a.get("/t/n", true);
    a.add_watch("/t/n", 0);
    a.add_watch("/t/n", 1);
    a.add_watch("/t", 1);
    b.set("/t/n", "1", -1);
    a.ping();
    b.set("/t/n", "2", -1);
    a.ping();
    b.create("/t/n/c", "", 0);
    a.ping();
    a.check_watches("/t/n", 2);
    a.check_watches("/t/n", 4);
    a.check_watches("/t/n", 5);
    b.delete("/t/n/c", -1);
    a.ping();
});

story!(b32_recursive_watches_never_see_children_changed on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.add_watch("/t", 1);
    b.create("/t/n", "", 0);
    b.create("/t/n/deep", "", 0);
    b.create("/t/n/deep/er", "", 0);
    b.set("/t/n/deep", "x", -1);
    b.delete("/t/n/deep/er", -1);
    b.set("/t", "root of it", -1);
    a.ping();
    b.delete("/t/n/deep", -1);
    a.ping();
});

story!(persistent_watches_see_data_and_children on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.add_watch("/t/n", 0);
    b.create("/t/n", "", 0);
    b.create("/t/n/c", "", 0);
    b.set("/t/n/c", "not seen", -1);
    b.create("/t/n/c/d", "not seen", 0);
    b.set("/t/n", "x", -1);
    b.delete("/t/n/c/d", -1);
    b.delete("/t/n/c", -1);
    b.delete("/t/n", -1);
    b.create("/t/n", "", 0);
    a.ping();
    a.add_watch("/t/n", 2);
    a.add_watch("/t/n", -1);
    a.add_watch("relative", 0);
    a.add_watch("", 1);
    a.remove_watches("/t/n", 3);
    a.add_watch("/missing/but/fine", 0);
    a.ping();
});

story!(recursive_watch_on_the_root on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.add_watch("/", 1);
    b.create("/t/n", "", 0);
    b.set("/t/n", "", 0);
    b.delete("/t/n", -1);
    a.ping();
    a.remove_watches("/", 5);
    b.create("/t/n", "", 0);
    a.ping();
});

story!(b31_events_are_filtered_by_read_permission on PLAIN, |s| {
    let mut a = s.client("a");
    let mut owner = s.client("owner");
    owner.auth("digest", "owner:pw");
    let own = vec![Acl::new(perms::ALL, "auth", "")];
    a.exists("/t/n", true);
    owner.create_acl("/t/n", "", own.clone(), 0);
    a.ping();
    // Used up nevertheless.
    owner.set_acl("/t/n", Acl::open_unsafe(), -1);
    owner.set("/t/n", "x", -1);
    a.ping();
    // Registered while readable, fired when not.
    a.get("/t/n", true);
    a.children("/t/n", true);
    owner.set_acl("/t/n", own, -1);
    owner.set("/t/n", "x", -1);
    owner.create("/t/n/c", "", 0);
    owner.delete("/t/n/c", -1);
    owner.delete("/t/n", -1);
    a.ping();
    // Recursive: filtered node by node, and the parent's children change is seen.
    a.add_watch("/t", 1);
    a.children("/t", true);
    owner.create_acl("/t/p", "", vec![Acl::new(perms::ALL, "auth", "")], 0);
    owner.create("/t/p/open", "", 0);
    owner.delete("/t/p/open", -1);
    owner.delete("/t/p", -1);
    a.ping();
});

story!(check_and_remove_watches_by_kind on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    b.create("/t/n", "", 0);
    for kind in 1..=5 {
        a.check_watches("/t/n", kind);
        a.remove_watches("/t/n", kind);
    }
    a.get("/t/n", true);
    a.children("/t/n", true);
    for kind in 0..=6 {
        a.check_watches("/t/n", kind);
    }
    a.check_watches("/t/missing", 3);
    b.check_watches("/t/n", 3);
    b.remove_watches("/t/n", 3);
    a.remove_watches("/t/n", 1);
    a.check_watches("/t/n", 1);
    a.check_watches("/t/n", 3);
    a.remove_watches("/t/n", 4);
    a.remove_watches("/t/n", 2);
    a.check_watches("/t/n", 3);
    b.set("/t/n", "", -1);
    b.create("/t/n/c", "", 0);
    a.ping();
    a.add_watch("/t/n", 0);
    a.get("/t/n", true);
    for kind in 1..=5 {
        a.check_watches("/t/n", kind);
    }
    a.remove_watches("/t/n", 4);
    for kind in 1..=5 {
        a.check_watches("/t/n", kind);
    }
    b.set("/t/n", "", -1);
    a.ping();
    a.add_watch("/t/n", 1);
    a.add_watch("/t/n", 0);
    a.get("/t/n", true);
    a.children("/t/n", true);
    a.remove_watches("/t/n", 2);
    for kind in 1..=5 {
        a.check_watches("/t/n", kind);
    }
    a.remove_watches("/t/n", 5);
    for kind in 1..=5 {
        a.check_watches("/t/n", kind);
    }
    a.remove_watches("/t/n", 3);
    for kind in 1..=5 {
        a.check_watches("/t/n", kind);
    }
    b.set("/t/n", "", -1);
    a.ping();
    a.remove_watches("/t/n", 0);
    a.remove_watches("/t/n", 9);
    a.remove_watches("relative", 3);
});

story!(b30_set_watches_catches_up_first on PLAIN, |s| {
    let mut b = s.client("b");
    for path in ["/t/same", "/t/changed", "/t/deleted", "/t/kids", "/t/kids/x", "/t/quiet"] {
        b.create(path, "", 0);
    }
    let mut a = s.client("a");
    b.set("/t/changed", "x", -1);
    b.delete("/t/deleted", -1);
    b.create("/t/created", "", 0);
    b.create("/t/kids/y", "", 0);
    a.set_watches(
        7,
        &["/t/same", "/t/changed", "/t/deleted"],
        &["/t/created", "/t/never", "/t/same"],
        &["/t/kids", "/t/quiet", "/t/deleted"],
    );
    // What did not fire is set.
    b.set("/t/same", "x", -1);
    b.create("/t/never", "", 0);
    b.create("/t/quiet/x", "", 0);
    b.set("/t/changed", "y", -1);
    a.ping();
    // An older zxid fires for what was created since.
    a.set_watches(0, &["/t/same"], &[], &["/t/quiet"]);
    // A newer one sets all.
    a.set_watches(1_000_000, &["/t/same", "/t/missing"], &["/t/same"], &["/t/quiet", "/t/missing"]);
    b.set("/t/same", "z", -1);
    a.ping();
});

story!(set_watches2_sets_persistent_ones_without_catching_up on PLAIN, |s| {
    let mut b = s.client("b");
    b.create("/t/n", "", 0);
    let mut a = s.client("a");
    b.set("/t/n", "x", -1);
    a.set_watches2(0, [&[], &[], &[], &["/t/n", "/t/missing"], &["/t"]]);
    b.set("/t/n", "y", -1);
    b.create("/t/n/c", "", 0);
    b.create("/t/missing", "", 0);
    a.ping();
    a.check_watches("/t/n", 4);
    a.check_watches("/t", 5);
    a.set_watches2(0, [&["/t/n"], &["/t/n", "/t/o"], &["/t/n"], &[], &[]]);
    b.create("/t/o", "", 0);
    a.ping();
});

story!(set_watches_registers_without_permission on PLAIN, |s| {
    let mut owner = s.client("owner");
    owner.auth("digest", "owner:pw");
    owner.create_acl("/t/n", "", vec![Acl::new(perms::ALL, "auth", "")], 0);
    let mut a = s.client("a");
    a.set_watches(1_000_000, &["/t/n"], &["/t/m"], &["/t/n"]);
    owner.set("/t/n", "x", -1);
    a.ping();
    owner.delete("/t/n", -1);
    a.ping();
    a.set_watches(0, &["/t/n"], &[], &["/t/n"]);
});

story!(watches_end_with_their_connection on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.get("/t", true);
    a.add_watch("/t", 1);
    a.cut();
    let mut again = s.reattach("again", &a);
    b.create("/t/n", "", 0);
    b.set("/t", "", -1);
    again.ping();
    again.check_watches("/t", 3);
});

story!(ephemerals_of_a_closed_session_fire_watches on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create("/t/e", "", 1);
    b.get("/t/e", true);
    b.children("/t", true);
    b.exists("/t/e2", true);
    a.create("/t/e2", "", 1);
    b.ping();
    b.exists("/t/e2", true);
    a.close();
    b.ping();
    b.children("/t", false);
});

story!(a_client_sees_the_events_of_its_own_pipeline_in_order on PLAIN, |s| {
    use zabkeeper::jute::{Jute, OutputExt};
    use zabkeeper::proto::OpCode;
    let mut a = s.client("a");
    a.create("/t/n", "", 0);
    let read = |path: &str| {
        let mut body = path.to_owned().to_bytes();
        body.put_bool(true);
        body
    };
    let write = |path: &str| {
        let mut body = path.to_owned().to_bytes();
        body.put_bytes(Some(b"x"));
        body.put_i32(-1);
        body
    };
    let mut sent = Vec::new();
    for _ in 0..5 {
        for (op, body) in [(OpCode::GetData, read("/t/n")), (OpCode::SetData, write("/t/n"))] {
            sent.push((op.as_i32(), a.send(op.as_i32(), &body, op.name())));
        }
    }
    for (op, xid) in sent {
        a.receive_reply(op, xid);
    }
});
