//! A session as the server sees it (`SessionTrackerImpl.SessionImpl`).
//!
//! Connections hold the `Arc` and touch their session with one atomic store; the tracker moves it
//! to a later bucket only when its old one comes due. Java takes the tracker's lock for each request.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::proto::SessionId;

/// A session, shared by its connection, the tracker and its requests under way.
pub struct Session {
    id: SessionId,
    /// Milliseconds. Written on reconnect, read at each touch; stands alone, hence relaxed.
    timeout_ms: AtomicI32,
    /// Set once, by the tracker under its lock or by the preparation of a closeSession.
    is_closing: AtomicBool,
    /// When the session expires unless touched, by the monotonic clock. Written by the connection,
    /// read by the tracker; a value read too early only costs one more look. Hence relaxed.
    deadline_ms: AtomicI64,
    /// Requests in the processor chain. Raised only by the thread that owns the connection, lowered
    /// (release) behind the reply, so that who reads 0 (acquire) sees everything they did.
    in_flight: AtomicU32,
    owner: AtomicU64,
}

impl Session {
    /// The owner of a session that no server has claimed: Java's null.
    pub const NO_OWNER: u64 = 0;
    /// The owner of a session whose client is connected to this very server (`ServerCnxn.me`).
    /// Greater numbers are those of learner handlers.
    pub const OWNER_ME: u64 = 1;

    /// A session that expires `timeout_ms` after `now_ms` (monotonic clock).
    #[must_use]
    pub fn new(id: SessionId, timeout_ms: i32, now_ms: i64) -> Session {
        Session {
            id,
            timeout_ms: AtomicI32::new(timeout_ms),
            is_closing: AtomicBool::new(false),
            deadline_ms: AtomicI64::new(now_ms.saturating_add(i64::from(timeout_ms))),
            in_flight: AtomicU32::new(0),
            owner: AtomicU64::new(Session::NO_OWNER),
        }
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The timeout negotiated by the session's latest connection.
    #[must_use]
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms.load(Ordering::Relaxed)
    }

    /// Puts the expiry off by the session's timeout from `now_ms` (monotonic clock). False if the
    /// session is closing: the request that touches must then be dropped, as in Java.
    ///
    /// A session may begin to close right after an answer of true; its request is then refused with
    /// `SessionExpired` when it is prepared, behind the closeSession.
    pub fn touch(&self, now_ms: i64) -> bool {
        let timeout_ms = i64::from(self.timeout_ms.load(Ordering::Relaxed));
        self.deadline_ms.store(now_ms.saturating_add(timeout_ms), Ordering::Relaxed);
        !self.is_closing()
    }

    /// Whether a closeSession is under way.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// When the session expires unless touched (monotonic clock), before rounding to a bucket.
    #[must_use]
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(Ordering::Relaxed)
    }

    /// A request of the session enters the processor chain. Only the thread that owns the session's
    /// connection calls this.
    pub fn request_started(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request of the session has left the chain: its reply is in the outbox, or it was dropped.
    /// Returns how many are left.
    pub fn request_finished(&self) -> u32 {
        let before = self.in_flight.fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "more requests of {:?} finished than started", self.id);
        before.wrapping_sub(1)
    }

    /// Requests in the processor chain. With 0, what they did and replied is visible.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Who serves the session's client; [`Session::NO_OWNER`] if nobody has claimed it.
    #[must_use]
    pub fn owner(&self) -> u64 {
        self.owner.load(Ordering::Relaxed)
    }

    /// Whether the client has moved to another server of the ensemble.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.owner() > Session::OWNER_ME
    }

    /// Who serves the session's client from now on. Only trackers call this.
    pub fn set_owner(&self, owner: u64) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// The timeout that was negotiated anew. Only trackers call this.
    pub fn set_timeout_ms(&self, timeout_ms: i32) {
        self.timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }

    /// When the session expires unless touched. Only trackers call this.
    pub fn set_deadline_ms(&self, deadline_ms: i64) {
        self.deadline_ms.store(deadline_ms, Ordering::Relaxed);
    }

    /// From now on requests of the session are dropped. Only trackers call this.
    pub fn set_closing(&self) {
        self.is_closing.store(true, Ordering::Release);
    }
}

/// As Java's `SessionImpl.toString`.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id, f)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("timeout_ms", &self.timeout_ms())
            .field("is_closing", &self.is_closing())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touch_puts_the_deadline_off() {
        let session = Session::new(SessionId(1), 4000, 100);
        assert_eq!(session.deadline_ms(), 4100);
        assert!(session.touch(5000));
        assert_eq!(session.deadline_ms(), 9000);
    }

    #[test]
    fn closing_session_refuses_to_be_touched() {
        let session = Session::new(SessionId(1), 4000, 100);
        session.set_closing();
        assert!(!session.touch(200));
    }

    #[test]
    fn no_timeout_overflows() {
        assert_eq!(Session::new(SessionId(1), i32::MAX, i64::MAX).deadline_ms(), i64::MAX);
        assert_eq!(Session::new(SessionId(1), i32::MIN, i64::MIN).deadline_ms(), i64::MIN);
    }

    #[test]
    fn requests_are_counted() {
        let session = Session::new(SessionId(1), 4000, 100);
        session.request_started();
        session.request_started();
        assert_eq!((session.request_finished(), session.in_flight()), (1, 1));
        assert_eq!((session.request_finished(), session.in_flight()), (0, 0));
    }

    #[test]
    fn id_is_shown_as_java_does() {
        assert_eq!(Session::new(SessionId(-1), 1, 0).to_string(), "0xffffffffffffffff");
        assert_eq!(Session::new(SessionId(0x100_0001), 1, 0).to_string(), "0x1000001");
    }
}
