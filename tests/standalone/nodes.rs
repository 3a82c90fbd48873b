//! Creating, reading, changing and deleting nodes: results, stat fields, order of checks.

use zabkeeper::jute::Jute;
use zabkeeper::proto::messages::CreateRequest;
use zabkeeper::proto::{Acl, OpCode};

use crate::support::peer::{string_and_int, text};
use crate::{PLAIN, story};

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
