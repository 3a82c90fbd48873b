//! `SessionTracker`: what the server asks of whoever keeps its sessions.
//!
//! A standalone server and a leader keep and expire them (`SessionTrackerImpl` and what wraps it),
//! a learner keeps the table that the leader's transactions make, and its local sessions.
//! No request comes here: a connection holds its `Arc<Session>` and touches that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Session;
use crate::proto::{Code, SessionId};

/// The sessions of a server, whatever its role. All methods may be called from any thread; none
/// blocks on anything but the tracker's own lock (rank `Sessions`).
///
/// Java's `createSession` and `touchSession` hand out numbers and booleans; here they hand out the
/// shared [`Session`], which the connection keeps.
pub trait SessionTracker: Send + Sync {
    /// A new session of this server's id (`createSession`). A tracker with local sessions makes a
    /// local one. It is not known to anybody else until its createSession is applied.
    fn create_session(&self, timeout_ms: i32) -> Arc<Session>;

    /// The session, if it is known here; it may be closing. A learner makes one for a global session
    /// of the committed table that no connection asked for yet.
    fn session(&self, id: SessionId) -> Option<Arc<Session>>;

    /// Makes a global session known, if it is not, and puts its expiry off (`trackSession`): called
    /// while its createSession is prepared. True if it was not known.
    fn track_session(&self, id: SessionId, timeout_ms: i32) -> bool;

    /// A createSession was applied (`commitSession`). True if the session was not committed before.
    fn commit_session(&self, id: SessionId, timeout_ms: i32) -> bool;

    /// A client re-attaches with this timeout, or a learner reports it alive (`touchSession`): its
    /// timeout from now on. False if the session is not known or is closing.
    fn touch_session(&self, id: SessionId, timeout_ms: i32) -> bool;

    /// Whether requests that come through `owner` may be executed (`checkSession`):
    /// `UnknownSession`, `SessionExpired` if it is closing, or `SessionMoved` if another owner has
    /// the session. An unclaimed session is claimed; [`Session::NO_OWNER`] asks nothing of that.
    fn check_session(&self, id: SessionId, owner: u64) -> Result<(), Code>;

    /// As [`SessionTracker::check_session`], but `SessionExpired` also for what is not known as a
    /// global session (`checkGlobalSession`): what may own ephemeral nodes.
    fn check_global_session(&self, id: SessionId, owner: u64) -> Result<(), Code>;

    /// Hands the session over to `owner` (`setOwner`). `SessionExpired` if it is not known or closing.
    fn set_owner(&self, id: SessionId, owner: u64) -> Result<(), Code>;

    /// From now on no request of the session is accepted (`setSessionClosing`).
    fn set_session_closing(&self, id: SessionId);

    /// A closeSession was applied (`removeSession`). Who still holds the session finds it closing.
    fn remove_session(&self, id: SessionId);

    /// Whether the session is known (`isTrackingSession`).
    fn is_tracking_session(&self, id: SessionId) -> bool;

    /// Known to the whole ensemble.
    fn is_global_session(&self, id: SessionId) -> bool {
        self.is_tracking_session(id)
    }

    /// Known to this server only.
    fn is_local_session(&self, _id: SessionId) -> bool {
        false
    }

    /// Whether new sessions are local (`isLocalSessionsEnabled`).
    fn is_local_sessions_enabled(&self) -> bool {
        false
    }

    /// The ids of the global sessions, in order.
    fn global_sessions(&self) -> Vec<SessionId>;

    /// The ids of the local sessions, in order.
    fn local_sessions(&self) -> Vec<SessionId> {
        Vec::new()
    }

    /// How many global sessions there are.
    fn global_session_count(&self) -> usize {
        self.global_sessions().len()
    }

    /// How many local sessions there are (metric `local_sessions`).
    fn local_session_count(&self) -> usize {
        self.local_sessions().len()
    }

    /// The time of each bucket (monotonic clock) with the sessions that will expire then unless they
    /// are touched (`getSessionExpiryMap`). Empty where this server expires none.
    fn session_expiry_map(&self) -> BTreeMap<i64, BTreeSet<SessionId>>;

    /// The part of the word `dump` about sessions (`dumpSessions`). `date` prints a time of the
    /// monotonic clock as `java.util.Date` does.
    fn dump_sessions(&self, out: &mut String, date: &dyn Fn(i64) -> String);
}
