//! Through whom a request came, local sessions, and errors that were found before.

use super::*;

/// The handler that Alice's requests come through, and another.
const HANDLER: u64 = 5;
const OTHER: u64 = 6;

impl Server {
    /// The code, and the transaction's operation.
    fn outcome(&mut self, request: &PrepRequest<'_>) -> (i32, Option<OpCode>) {
        let mut context = PrepContext {
            state: &mut self.state,
            tree: &self.tree,
            changes: &mut self.changes,
            sessions: &self.sessions,
            acl_policy: &self.acl_policy,
            metrics: &self.metrics,
            wall_ms: 1,
            elapsed_ms: 1,
        };
        let Prepared { txn, error } = prepare(&mut context, request);
        (error.map_or(0, Code::as_i32), txn.map(|txn| txn.txn.op_code()))
    }
}

fn check(
    change: impl FnOnce(&mut PrepRequest<'_>),
    body: &RequestBody,
    expected: (Code, Option<OpCode>),
) {
    let mut server = Server::new(0);
    let claim = PrepRequest { owner: HANDLER, ..PrepRequest::new(ALICE, 1, body, &[]) };
    assert_eq!(server.outcome(&PrepRequest { body: &RequestBody::Ping, ..claim }), (0, None));
    server.sessions.unknown.borrow_mut().insert(BOB);
    let mut request = claim;
    change(&mut request);
    let (code, op) = expected;
    assert_eq!(server.outcome(&request), (code.as_i32(), op), "{body:?}");
}

#[test]
fn requests_of_a_moved_session_are_refused_by_their_owner() {
    let moved = |request: &mut PrepRequest<'_>| request.owner = OTHER;
    let refused = (Code::SessionMoved, Some(OpCode::Error));
    check(|_| {}, &create("/a", 0), (Code::Ok, Some(OpCode::Create)));
    check(moved, &create("/a", 0), refused);
    check(moved, &create("/a", 1), refused);
    check(moved, &delete("/a", -1), refused);
    check(moved, &RequestBody::Ping, (Code::SessionMoved, None));
    // The server's own requests come through nobody.
    check(|request| request.owner = 0, &create("/a", 0), (Code::Ok, Some(OpCode::Create)));
    // The last request of a session is never refused.
    check(moved, &RequestBody::CloseSession, (Code::Ok, Some(OpCode::CloseSession)));
}

/// It fails as a multi does, but whoever answers has to know.
#[test]
fn a_multi_of_a_moved_session_says_so() {
    let ops = vec![MultiOp::Create(create_request("/a", 0))];
    let multi = RequestBody::Multi(MultiOperationRecord { ops });
    let expected = (Code::SessionMoved, Some(OpCode::Multi));
    check(|request| request.owner = OTHER, &multi, expected);
    check(|_| {}, &multi, (Code::Ok, Some(OpCode::Multi)));
}

#[test]
fn only_global_sessions_own_nodes() {
    let bob = |request: &mut PrepRequest<'_>| request.session = BOB;
    let failed = |code| (code, Some(OpCode::Error));
    check(bob, &create("/a", 0), failed(Code::UnknownSession));
    check(bob, &create("/a", 1), failed(Code::SessionExpired));
    // Its upgrade failed: what it may do without, it may do.
    let code = Code::EphemeralOnLocalSession;
    let known = |request: &mut PrepRequest<'_>| request.error = Some(code);
    check(known, &create("/a", 1), failed(code));
    check(known, &create("/a", 0), (Code::Ok, Some(OpCode::Create)));
}

#[test]
fn local_sessions_come_and_go_without_a_transaction() {
    let local = |request: &mut PrepRequest<'_>| request.is_local_session = true;
    check(local, &RequestBody::CreateSession { timeout_ms: 5 }, (Code::Ok, None));
    check(local, &RequestBody::CloseSession, (Code::Ok, None));
    check(local, &create("/a", 0), (Code::Ok, Some(OpCode::Create)));
}
