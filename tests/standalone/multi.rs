//! multi and multiRead: all or nothing, one result for each operation.

use zabkeeper::jute::{Jute, OutputExt};
use zabkeeper::proto::messages::{CreateTtlRequest, DeleteRequest};
use zabkeeper::proto::multi::{MultiHeader, MultiOp, MultiOperationRecord};
use zabkeeper::proto::{Acl, OpCode, perms};

use crate::support::peer::{
    create, op_check, op_children, op_create, op_create2, op_delete, op_get, op_set, text,
};
use crate::{DEFAULTS, PLAIN, story};

fn op_ttl(path: &str, flags: i32, ttl: i64) -> MultiOp {
    MultiOp::CreateTtl(CreateTtlRequest {
        path: path.into(),
        data: text("m"),
        acl: Acl::open_unsafe(),
        flags,
        ttl,
    })
}

fn op_container(path: &str) -> MultiOp {
    MultiOp::CreateContainer(create(path, "m", Acl::open_unsafe(), 4))
}

story!(multi_of_every_kind on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/old", "", 0);
    a.multi(vec![
        op_check("/t/old", 0),
        op_create("/t/n", 0),
        op_create2("/t/n/child", 1),
        op_create("/t/seq-", 2),
        op_container("/t/c"),
        op_ttl("/t/ttl", 5, 100_000),
        op_set("/t/n", "changed", 0),
        op_set("/t/n", "again", 1),
        op_delete("/t/n/child", 0),
        op_delete("/t/old", -1),
        op_check("/t/n", 2),
    ]);
    for path in ["/t", "/t/n", "/t/c", "/t/ttl", "/t/old"] {
        a.get(path, false);
    }
    a.children("/t", false);
});

story!(b27_failed_multi_has_a_result_for_each_operation on PLAIN, |s| {
    let mut a = s.client("a");
    a.multi(vec![op_create("/t/n", 0), op_delete("/t/missing", -1), op_create("/t/m", 0)]);
    a.multi(vec![op_check("/t/missing", 0)]);
    a.multi(vec![op_create("/t/n", 0), op_set("/t/n", "x", 0), op_set("/t/n", "x", 0)]);
    a.multi(vec![op_create("/t/x/y", 0), op_create("/t/x", 0)]);
    a.multi(vec![op_create("/t/x", 0), op_create("/t/x/y", 0), op_delete("/t/x", -1)]);
    a.multi(vec![op_create("relative", 0), op_create("/t/x", 0)]);
    a.multi(vec![op_create("/t/x", 99), op_create("/t/x", 0)]);
    a.multi(vec![op_check("/t", 17), op_check("/t/missing", -1)]);
    a.children2("/t", false);
    // The pending changes of the failed ones are rolled back.
    a.create("/t/seq-", "", 2);
    a.multi(vec![op_create("/t/seq-", 2), op_create("/t/seq-", 2), op_check("/t", 99)]);
    a.create("/t/seq-", "", 2);
    a.exists("/t", false);
});

story!(b27_rollback_restores_what_is_pending on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/n", "", 0);
    // Sent in one go: the later ones are judged while the earlier are on their way to disk.
    let first = a.send(OpCode::SetData.as_i32(), &set_body("/t/n", 0), "setData /t/n 0");
    let ops = vec![op_set("/t/n", "m", 1), op_delete("/t/n", 7)];
    let body = MultiOperationRecord { ops }.to_bytes();
    let second = a.send(OpCode::Multi.as_i32(), &body, "multi that fails");
    let third = a.send(OpCode::SetData.as_i32(), &set_body("/t/n", 1), "setData /t/n 1");
    let fourth = a.send(OpCode::SetData.as_i32(), &set_body("/t/n", 1), "setData /t/n 1");
    a.receive_reply(OpCode::SetData.as_i32(), first);
    a.receive_reply(OpCode::Multi.as_i32(), second);
    a.receive_reply(OpCode::SetData.as_i32(), third);
    a.receive_reply(OpCode::SetData.as_i32(), fourth);
    a.get("/t/n", false);
});

fn set_body(path: &str, version: i32) -> Vec<u8> {
    let mut body = path.to_owned().to_bytes();
    body.put_bytes(Some(b"s"));
    body.put_i32(version);
    body
}

story!(b27_empty_multi_consumes_a_zxid on PLAIN, |s| {
    let mut a = s.client("a");
    a.multi(vec![]);
    a.multi(vec![]);
    a.ping();
});

story!(multi_checks_acls_and_quietly_differs_from_single_operations on PLAIN, |s| {
    let mut a = s.client("a");
    a.create_acl("/t/r", "", Acl::read_unsafe(), 0);
    a.create_acl("/t/x", "", vec![Acl::new(perms::CREATE, "world", "anyone")], 0);
    a.multi(vec![op_check("/t/r", 0), op_set("/t/r", "x", -1)]);
    a.multi(vec![op_check("/t/x", 0)]);
    a.multi(vec![op_create("/t/r/n", 0)]);
    a.multi(vec![op_create("/t/x/n", 0), op_delete("/t/x/n", -1)]);
    a.multi(vec![MultiOp::Create(create("/t/n", "", vec![], 0))]);
    a.multi(vec![op_check("/t/r", 5)]);
    a.multi(vec![op_check("relative", 5)]);
    a.multi(vec![op_create("/t/a", 0), op_create("/t/a", 0)]);
    a.multi(vec![op_create("/t/e", 1), op_create("/t/e/n", 0)]);
    a.multi(vec![op_delete("/", -1)]);
    a.multi(vec![op_ttl("/t/ttl", 5, -1)]);
    a.multi(vec![op_ttl("/t/ttl", 5, 0)]);
    a.multi(vec![op_create("/t/ttl", 5)]);
    a.multi_read(vec![op_get("/t/r"), op_get("/t/x"), op_children("/t/x"), op_children("/t/r")]);
});

story!(multi_ttl_without_extended_types on DEFAULTS, |s| {
    let mut a = s.client("a");
    a.multi(vec![op_create("/t/a", 0), op_ttl("/t/ttl", 5, 1000)]);
    a.multi(vec![op_container("/t/c")]);
    a.children("/t", false);
});

story!(multi_events_come_in_order_and_before_the_reply on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create("/t/n", "", 0);
    a.create("/t/d", "", 0);
    b.add_watch("/t", 1);
    a.exists("/t/new", true);
    a.get("/t/n", true);
    a.children("/t", true);
    a.multi(vec![
        op_create("/t/new", 0),
        op_set("/t/n", "x", -1),
        op_delete("/t/d", -1),
        op_create("/t/new/er", 0),
    ]);
    b.ping();
    // No event of a failed one.
    a.multi(vec![op_set("/t/n", "x", -1), op_check("/t/n", 99)]);
    b.ping();
});

story!(multi_read_mixes_results_and_errors on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/n", "data", 0);
    a.create("/t/n/c", "", 0);
    a.multi_read(vec![op_get("/t/n"), op_children("/t/n"), op_get("/t/missing"), op_children("/t/n/c")]);
    a.multi_read(vec![op_children("/missing")]);
    a.multi_read(vec![]);
    a.ping();
});

story!(multi_read_sets_watches on PLAIN, |s| {
    let mut a = s.client("a");
    let watch = |path: &str, op: OpCode| {
        let mut body = MultiHeader { op: op.as_i32(), done: false, err: -1 }.to_bytes();
        body.put_str(path);
        body.put_bool(true);
        body
    };
    let mut body = watch("/t", OpCode::GetData);
    body.extend(watch("/t", OpCode::GetChildren));
    body.extend(MultiHeader { op: -1, done: true, err: -1 }.to_bytes());
    a.call_raw(OpCode::MultiRead.as_i32(), &body, "multiRead watching /t twice");
    a.create("/t/n", "", 0);
    a.set("/t", "", -1);
});

story!(undecodable_elements_of_multi on PLAIN, |s| {
    let mut a = s.client("a");
    let end = MultiHeader { op: -1, done: true, err: -1 }.to_bytes();
    let header = |op: i32| MultiHeader { op, done: false, err: -1 }.to_bytes();
    let delete = DeleteRequest { path: "/t/n".into(), version: -1 }.to_bytes();
    for (what, op) in [("setACL", 7), ("exists", 3), ("nonsense", 99), ("error", -1), ("auth", 100)] {
        let mut body = header(op);
        body.extend(&delete);
        body.extend(&end);
        a.call_raw(OpCode::Multi.as_i32(), &body, format!("multi with {what}"));
        a.call_raw(OpCode::MultiRead.as_i32(), &body, format!("multiRead with {what}"));
    }
    let mut body = header(OpCode::Delete.as_i32());
    body.extend(&delete);
    a.call_raw(OpCode::Multi.as_i32(), &body, "multi without end");
    a.call_raw(OpCode::Multi.as_i32(), &[], "multi without anything");
    a.call_raw(OpCode::MultiRead.as_i32(), &[], "multiRead without anything");
    let reads_and_writes = MultiOperationRecord { ops: vec![op_get("/t"), op_delete("/t/n", -1)] };
    a.call_raw(OpCode::Multi.as_i32(), &reads_and_writes.to_bytes(), "multi of read and write");
    a.call_raw(OpCode::MultiRead.as_i32(), &reads_and_writes.to_bytes(), "multiRead of both");
    let reads = MultiOperationRecord { ops: vec![op_get("/t")] };
    a.call_raw(OpCode::Multi.as_i32(), &reads.to_bytes(), "multi of reads");
    let writes = MultiOperationRecord { ops: vec![op_delete("/t/n", -1)] };
    a.call_raw(OpCode::MultiRead.as_i32(), &writes.to_bytes(), "multiRead of writes");
    a.ping();
});
