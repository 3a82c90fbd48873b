//! The core of `CommitProcessor`: which of a server's own requests may run, and with which commit.
//!
//! Requests and commits come in one sequence, and leave it in the order in which they run. Three
//! promises, each in Java too:
//!
//! - commits run in the order in which they come, which is that of their zxids, and never wait;
//! - a session's requests run in the order in which they came: behind a write that waits for its
//!   commit everything of its session waits;
//! - a session's requests wait for nothing but that session's writes.
//!
//! A commit belongs to the write at the head of its session's queue if the client's number and the
//! operation are the same; otherwise it is somebody else's: a write of the same session that was sent
//! through another server, or that of another session. A request reaches the matcher before its commit, because it
//! is put into the one queue before it is sent to the leader.
//!
//! Deliberate difference: Java compares a commit with the oldest write of all sessions only, and
//! holds commits back until the thread has come to that write. A write that is never committed
//! blocks all others there, and here its session alone. Java looks at the number only: when a client
//! moves and counts from the beginning again, the late commit of what it sent through the other
//! server may answer a request that has the same number by chance.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::proto::{OpCode, SessionId};

/// A request of this server, as the matcher sees it.
pub trait LocalRequest {
    /// Whose it is.
    fn session_id(&self) -> SessionId;
    /// The client's number of it.
    fn cxid(&self) -> i32;
    /// What it asks for; `None` fits the commit of anything.
    fn op(&self) -> Option<OpCode>;
    /// Whether it runs with a commit only (`needCommit`).
    fn needs_commit(&self) -> bool;
}

/// See the module.
#[derive(Debug)]
pub struct CommitMatcher<R> {
    /// Never empty queues; each begins with a write.
    pending: HashMap<SessionId, VecDeque<R>>,
    writes: usize,
    reads: usize,
}

impl<R> Default for CommitMatcher<R> {
    fn default() -> Self {
        CommitMatcher { pending: HashMap::new(), writes: 0, reads: 0 }
    }
}

impl<R: LocalRequest> CommitMatcher<R> {
    /// The next request of this server. Gives it back if it is to run now.
    #[must_use]
    pub fn request(&mut self, request: R) -> Option<R> {
        let needs_commit = request.needs_commit();
        match self.pending.entry(request.session_id()) {
            Entry::Vacant(_) if !needs_commit => return Some(request),
            entry => entry.or_default().push_back(request),
        }
        if needs_commit {
            self.writes += 1;
        } else {
            self.reads += 1;
        }
        None
    }

    /// The next commit, of a transaction of this type or of a sync. Gives the write of this server that it belongs to, if it does; the commit
    /// runs now in either case, and behind it what is appended to `released`.
    #[must_use]
    pub fn commit(
        &mut self,
        id: SessionId,
        cxid: i32,
        op: OpCode,
        released: &mut Vec<R>,
    ) -> Option<R> {
        let Entry::Occupied(mut entry) = self.pending.entry(id) else { return None };
        let queue = entry.get_mut();
        // The head is a write, always.
        let own = queue.pop_front_if(|head| head.cxid() == cxid && fits(head.op(), op))?;
        self.writes -= 1;
        while let Some(read) = queue.pop_front_if(|next| !next.needs_commit()) {
            self.reads -= 1;
            released.push(read);
        }
        if queue.is_empty() {
            entry.remove();
        }
        Some(own)
    }

    /// Sessions with requests that wait.
    #[must_use]
    pub fn pending_sessions(&self) -> usize {
        self.pending.len()
    }

    /// Requests of a session that wait.
    #[must_use]
    pub fn pending_requests(&self, id: SessionId) -> usize {
        self.pending.get(&id).map_or(0, VecDeque::len)
    }

    /// Writes that wait for their commits.
    #[must_use]
    pub fn pending_writes(&self) -> usize {
        self.writes
    }

    /// Reads that wait for a write of their session.
    #[must_use]
    pub fn pending_reads(&self) -> usize {
        self.reads
    }

    /// Ends it: everything that still waits, in each session's order. No commit will come.
    pub fn into_pending(self) -> impl Iterator<Item = R> {
        self.pending.into_values().flatten()
    }
}

/// Whether a request may have become a transaction of type `op`, or is the sync of which `op` tells.
fn fits(asked: Option<OpCode>, op: OpCode) -> bool {
    match asked {
        None => true,
        Some(OpCode::Sync) => op == OpCode::Sync,
        // Whatever was asked for may have failed.
        Some(asked) => op == asked || op == OpCode::Error,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Request {
        session: i64,
        cxid: i32,
        is_write: bool,
    }

    impl LocalRequest for Request {
        fn session_id(&self) -> SessionId {
            SessionId(self.session)
        }
        fn cxid(&self) -> i32 {
            self.cxid
        }
        fn op(&self) -> Option<OpCode> {
            None
        }
        fn needs_commit(&self) -> bool {
            self.is_write
        }
    }

    /// Feeds `w1.5` (write 5 of session 1), `r1.6` and `c1.5` (a commit); says what runs: `r1.6`,
    /// `w1.5` (a commit with its write), `c1.5` (somebody else's).
    fn run(story: &str) -> String {
        let mut matcher = CommitMatcher::<Request>::default();
        let mut ran = Vec::new();
        for word in story.split_whitespace() {
            let (kind, rest) = word.split_at(1);
            let (session, cxid) = rest.split_once('.').unwrap();
            let (session, cxid) = (session.parse().unwrap(), cxid.parse().unwrap());
            if kind == "c" {
                let mut released = Vec::new();
                let own = matcher.commit(SessionId(session), cxid, OpCode::SetData, &mut released);
                ran.push(format!("{}{rest}", if own.is_some() { "w" } else { "c" }));
                ran.extend(released.iter().map(|read| format!("r{}.{}", read.session, read.cxid)));
            } else if let Some(read) =
                matcher.request(Request { session, cxid, is_write: kind == "w" })
            {
                ran.push(format!("r{}.{}", read.session, read.cxid));
            }
        }
        ran.join(" ")
    }

    fn check(story: &str, expected: &str) {
        assert_eq!(run(story), expected, "{story}");
    }

    #[test]
    fn reads_run_at_once_unless_their_session_has_a_write() {
        check("r1.1 r2.1", "r1.1 r2.1");
        check("w1.1 r1.2 r2.1", "r2.1");
        check("w1.1 r1.2 r2.1 c1.1 r1.3", "r2.1 w1.1 r1.2 r1.3");
    }

    #[test]
    fn a_commit_releases_reads_up_to_the_next_write() {
        check("w1.1 r1.2 w1.3 r1.4 c1.1", "w1.1 r1.2");
        check("w1.1 r1.2 w1.3 r1.4 c1.1 c1.3", "w1.1 r1.2 w1.3 r1.4");
    }

    #[test]
    fn commits_of_others_run_at_once_and_release_nothing() {
        check("w1.5 r1.6 c2.1 c1.4 c9.5", "c2.1 c1.4 c9.5");
        check("w1.5 r1.6 c1.4 c1.5", "c1.4 w1.5 r1.6");
        // Its commit comes out of turn, which a leader never does: the second write is not it.
        check("w1.5 w1.6 c1.6 c1.5", "c1.6 w1.5");
    }

    #[test]
    fn numbers_may_repeat() {
        check("w1.0 w1.0 r1.0 c1.0 c1.0", "w1.0 w1.0 r1.0");
    }

    #[test]
    fn a_commit_is_of_the_operation_that_was_asked_for() {
        let check = |asked, op, expected| assert_eq!(fits(asked, op), expected, "{asked:?} {op:?}");
        check(Some(OpCode::SetData), OpCode::SetData, true);
        check(Some(OpCode::SetData), OpCode::Error, true);
        check(Some(OpCode::SetData), OpCode::Create, false);
        check(Some(OpCode::CreateSession), OpCode::CloseSession, false);
        check(Some(OpCode::Sync), OpCode::Sync, true);
        check(Some(OpCode::Sync), OpCode::Create, false);
        check(Some(OpCode::Sync), OpCode::Error, false);
        check(Some(OpCode::SetData), OpCode::Sync, false);
        check(None, OpCode::Create, true);
    }

    #[test]
    fn a_write_without_commit_holds_up_its_session_only() {
        check("w1.1 w2.1 w3.1 r3.2 c2.1 c3.1", "w2.1 w3.1 r3.2");
    }

    #[test]
    fn what_waits_is_counted_and_given_back() {
        let mut matcher = CommitMatcher::<Request>::default();
        for (session, cxid, is_write) in [(1, 1, true), (1, 2, false), (2, 1, true)] {
            assert_eq!(matcher.request(Request { session, cxid, is_write }), None);
        }
        let counts =
            (matcher.pending_sessions(), matcher.pending_writes(), matcher.pending_reads());
        assert_eq!(counts, (2, 2, 1));
        assert_eq!(matcher.pending_requests(SessionId(1)), 2);
        let own = matcher.commit(SessionId(2), 1, OpCode::SetData, &mut Vec::new());
        assert_eq!(own.unwrap().session, 2);
        assert_eq!(matcher.into_pending().map(|request| request.cxid).collect::<Vec<_>>(), [1, 2]);
    }

    /// What happens to the matcher: requests of sessions 0 to 2, whose writes are committed in the
    /// order in which they were forwarded, mixed with commits of other servers' writes.
    #[derive(Debug, Clone)]
    enum Event {
        Request { session: i64, is_write: bool },
        CommitOldest,
        CommitOther { session: i64 },
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => (0..3i64, any::<bool>())
                .prop_map(|(session, is_write)| Event::Request { session, is_write }),
            2 => Just(Event::CommitOldest),
            1 => (0..6i64).prop_map(|session| Event::CommitOther { session }),
        ];
        proptest::collection::vec(event, 0..200)
    }

    proptest! {
        #[test]
        fn every_order_that_is_promised_is_kept(events in events()) {
            let mut matcher = CommitMatcher::<Request>::default();
            let mut next_cxid = 1;
            let mut asked: Vec<Request> = Vec::new();
            let mut forwarded: VecDeque<Request> = VecDeque::new();
            let mut ran: Vec<Request> = Vec::new();
            // At the end everything that was forwarded is committed.
            let ends = events.iter().filter(|e| matches!(e, Event::Request { .. })).count();
            let ends = std::iter::repeat_n(Event::CommitOldest, ends);
            for event in events.into_iter().chain(ends) {
                let ran_before = ran.len();
                match event {
                    Event::Request { session, is_write } => {
                        let request = Request { session, cxid: next_cxid, is_write };
                        next_cxid += 1;
                        asked.push(request);
                        if is_write {
                            forwarded.push_back(request);
                        }
                        let waits = is_write || forwarded.iter().any(|w| w.session == session);
                        let now = matcher.request(request);
                        prop_assert_eq!(now.is_none(), waits, "a read waits for its own session only");
                        ran.extend(now);
                    }
                    Event::CommitOldest => {
                        let Some(write) = forwarded.pop_front() else { continue };
                        let mut released = Vec::new();
                        let id = SessionId(write.session);
                        prop_assert_eq!(matcher.commit(id, write.cxid, OpCode::SetData, &mut released), Some(write));
                        ran.push(write);
                        prop_assert!(released.iter().all(|read| !read.is_write));
                        ran.append(&mut released);
                    }
                    Event::CommitOther { session } => {
                        let mut released = Vec::new();
                        let own = matcher.commit(SessionId(session), -1, OpCode::SetData, &mut released);
                        prop_assert!(own.is_none() && released.is_empty());
                    }
                }
                // Nothing of another session is let go by a commit.
                let sessions: HashSet<i64> = ran[ran_before..].iter().map(|r| r.session).collect();
                prop_assert!(sessions.len() <= 1);
                prop_assert_eq!(matcher.pending_writes(), forwarded.len());
                prop_assert_eq!(matcher.pending_writes() + matcher.pending_reads() + ran.len(), asked.len());
            }
            prop_assert_eq!(matcher.pending_sessions(), 0, "nobody starves");
            for session in 0..3 {
                let of = |all: &[Request]| -> Vec<Request> {
                    all.iter().copied().filter(|r| r.session == session).collect()
                };
                prop_assert_eq!(of(&ran), of(&asked), "a session's order");
            }
        }
    }
}
