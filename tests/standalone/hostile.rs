//! Packets that no client sends: each costs its own connection and nothing else.

use zabkeeper::jute::{Jute, OutputExt};
use zabkeeper::proto::OpCode;

use crate::PLAIN;
use crate::support::peer::Story;
use crate::support::server::{Setup, Target, TestServer, targets};
use crate::support::wire::{new_session, request_frame};

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_bytes(Some(bytes));
    frame
}

#[test]
fn b18_an_undecodable_write_leaves_the_server_working() {
    if !targets().contains(&Target::Zabkeeper) {
        return;
    }
    PLAIN.tell(Target::Zabkeeper, &|s| {
        let mut a = s.client("a");
        for op in [OpCode::Create, OpCode::Delete, OpCode::SetData, OpCode::SetAcl] {
            let before = a.ping().unwrap().header.zxid;
            let reply = a.call_raw(op.as_i32(), &[0, 0], op.name()).unwrap();
            assert_eq!(reply.header.err, -5);
            assert!(reply.header.zxid >= before);
            let next = a.create("/t/n", "", 0).unwrap();
            assert_eq!(next.header.err, 0);
            assert!(next.header.zxid > reply.header.zxid, "a zxid was used twice");
            a.delete("/t/n", -1);
        }
    });
}

// Known bug of Java, not copied: the reply is a connect response, and the timeout changes.
#[test]
fn create_session_by_a_client_is_refused() {
    if !targets().contains(&Target::Zabkeeper) {
        return;
    }
    PLAIN.tell(Target::Zabkeeper, &|s| {
        let mut a = s.client("a");
        let reply = a.call_raw(OpCode::CreateSession.as_i32(), &[0, 0, 0x10, 0], "createSession");
        assert_eq!(reply.unwrap().header.err, -6);
        a.expect_closed();
    });
}

// Known bug of Java, not copied: there the transaction is logged, and no start succeeds any more.
#[test]
fn create_ttl_without_a_ttl_flag_is_refused() {
    if !targets().contains(&Target::Zabkeeper) {
        return;
    }
    PLAIN.tell(Target::Zabkeeper, &|s| {
        let mut a = s.client("a");
        for flags in 0..=4 {
            let reply = a.create_ttl("/t/n", flags, -1).unwrap();
            assert_eq!(reply.header.err, -8, "flags {flags}");
        }
        a.children("/t", false);
    });
}

/// The thread of its connection must end, and so must the server when it is told to.
#[test]
fn a_client_that_closes_its_session_and_takes_no_reply_holds_nothing_up() {
    if !targets().contains(&Target::Zabkeeper) {
        return;
    }
    let reads: Vec<u8> = (2..40)
        .flat_map(|xid| {
            let mut body = "/big".to_owned().to_bytes();
            body.push(0);
            framed(&request_frame(xid, OpCode::GetData.as_i32(), &body))
        })
        .collect();
    let close = framed(&request_frame(99, OpCode::CloseSession.as_i32(), &[]));
    let big = Some(vec![7; 1_000_000].into());
    // Behind a write the reads are answered with it; without one they are stopped by what is unsent.
    for first in [framed(&request_frame(1, OpCode::Sync.as_i32(), &[0; 4])), {
        let (path, data, version) = ("/big".to_owned(), big.clone(), -1);
        let request = zabkeeper::proto::messages::SetDataRequest { path, data, version };
        framed(&request_frame(1, OpCode::SetData.as_i32(), &request.to_bytes()))
    }] {
        let mut server = TestServer::start(Target::Zabkeeper, &Setup::default());
        let story = Story::new(&server);
        assert_eq!(story.client("a").create_buffer("/big", big.clone()).unwrap().header.err, 0);
        let mut silent = story.raw();
        assert!(silent.handshake(&new_session(30_000)).is_some());
        silent.send_raw(&[&*first, &reads, &close].concat());
        // It is under way once the first reply has come.
        silent.packet();
        drop(story);
        assert!(server.stop().success());
        assert!(server.log().contains("Exiting normally"));
    }
}
