//! The table of sessions and their expiry (`SessionTrackerImpl`).
//!
//! Differences from Java: a request does not come here at all (its connection holds the
//! [`Session`]); a new id is never one that is already in use, which in Java it can be after the
//! machine, and with it the monotonic clock, was started again; the dump leaves out empty buckets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use log::{debug, trace};
use parking_lot::Mutex;

use super::{ExpiryQueue, Session};
use crate::proto::{Code, EphemeralType, ExtendedTypes, SessionId};

/// Is told which sessions have expired (`SessionTracker.SessionExpirer`).
pub trait SessionExpirer: Send + Sync {
    /// Submits the closeSession of `session`, which is marked as closing already. Called on the
    /// thread of the tracker, with no lock held.
    fn expire(&self, session: &Arc<Session>);
}

/// The sessions this server expires.
pub struct SessionTrackerImpl {
    state: Mutex<State>,
    /// Only uniqueness counts, hence relaxed.
    next_session_id: AtomicI64,
    clock: Clock,
}

/// Milliseconds of a monotonic clock.
pub type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

struct State {
    by_id: HashMap<SessionId, Arc<Session>>,
    queue: ExpiryQueue<SessionId>,
}

impl SessionTrackerImpl {
    /// A tracker whose sessions are `restored` (id and timeout, as loaded from disk): each gets its
    /// full timeout anew. `tick_time_ms` is the width of a bucket.
    #[must_use]
    pub fn new(
        restored: impl IntoIterator<Item = (SessionId, i32)>,
        tick_time_ms: i32,
        server_id: i64,
        clock: Clock,
    ) -> SessionTrackerImpl {
        let now_ms = clock();
        let state = State { by_id: HashMap::new(), queue: ExpiryQueue::new(tick_time_ms, now_ms) };
        let tracker = SessionTrackerImpl {
            state: Mutex::new(state),
            next_session_id: AtomicI64::new(initialize_next_session_id(server_id, now_ms)),
            clock,
        };
        for (id, timeout_ms) in restored {
            tracker.track_session(id, timeout_ms);
        }
        tracker
    }

    /// A new session with the next free id.
    pub fn create_session(&self, timeout_ms: i32) -> Arc<Session> {
        let now_ms = (self.clock)();
        let mut state = self.state.lock();
        loop {
            // The counter wraps into the bits of the server id after 2^56 sessions, as in Java.
            let id = SessionId(self.next_session_id.fetch_add(1, Ordering::Relaxed));
            if !is_reserved(id) && !state.by_id.contains_key(&id) {
                return state.add(id, timeout_ms, now_ms);
            }
        }
    }

    /// Makes the session known if it is not, and puts its expiry off by `timeout_ms`. True if it was
    /// not known.
    pub fn track_session(&self, id: SessionId, timeout_ms: i32) -> bool {
        let now_ms = (self.clock)();
        let mut state = self.state.lock();
        if let Some(session) = state.by_id.get(&id).cloned() {
            state.put_off(&session, timeout_ms, now_ms);
            false
        } else {
            state.add(id, timeout_ms, now_ms);
            true
        }
    }

    /// The session, if it is known. It may be closing.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.state.lock().by_id.get(&id).cloned()
    }

    /// Whether the session is known (`isTrackingSession`).
    #[must_use]
    pub fn is_tracking(&self, id: SessionId) -> bool {
        self.state.lock().by_id.contains_key(&id)
    }

    /// Puts the expiry off by `timeout_ms`, which is the session's timeout from now on: a
    /// reconnecting client negotiates it anew. False if the session is not known or is closing.
    pub fn touch_session(&self, id: SessionId, timeout_ms: i32) -> bool {
        let now_ms = (self.clock)();
        let mut state = self.state.lock();
        let Some(session) = state.by_id.get(&id).filter(|session| !session.is_closing()).cloned()
        else {
            trace!("Touch of unknown or closing session {id} with timeout {timeout_ms}");
            return false;
        };
        session.set_timeout_ms(timeout_ms);
        state.put_off(&session, timeout_ms, now_ms);
        true
    }

    /// Whether requests of the session may be executed: `UnknownSession` if it is not known,
    /// `SessionExpired` if it is closing.
    pub fn check_session(&self, id: SessionId) -> Result<(), Code> {
        self.state.lock().checked(id).map(drop)
    }

    /// As [`SessionTrackerImpl::check_session`], and `SessionMoved` if another than `owner` has
    /// claimed the session. An unclaimed session is claimed for `owner`.
    pub fn check_session_owner(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        let state = self.state.lock();
        let session = state.checked(id)?;
        if session.owner() == Session::NO_OWNER {
            session.set_owner(owner);
        } else if session.owner() != owner {
            return Err(Code::SessionMoved);
        }
        Ok(())
    }

    /// As [`SessionTrackerImpl::check_session`], but `SessionExpired` also for a session that is
    /// not known: what may own ephemeral nodes.
    pub fn check_global_session(&self, id: SessionId) -> Result<(), Code> {
        self.check_session(id).map_err(unknown_is_expired)
    }

    /// Hands the session over to `owner`. `SessionExpired` if it is not known or is closing.
    pub fn set_owner(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        let state = self.state.lock();
        state.checked(id).map_err(unknown_is_expired)?.set_owner(owner);
        Ok(())
    }

    /// From now on no request of the session is accepted. Nothing happens if it is not known.
    pub fn set_session_closing(&self, id: SessionId) {
        trace!("Session closing: {id}");
        if let Some(session) = self.state.lock().by_id.get(&id) {
            session.set_closing();
        }
    }

    /// Forgets the session, when its closeSession is applied.
    pub fn remove_session(&self, id: SessionId) {
        debug!("Removing session {id}");
        let mut state = self.state.lock();
        if let Some(session) = state.by_id.remove(&id) {
            state.queue.remove(id);
            // Whoever still holds it must not take it for a live one.
            session.set_closing();
        }
    }

    /// Sessions known to the whole ensemble (metric `global_sessions`).
    #[must_use]
    pub fn global_session_count(&self) -> usize {
        self.state.lock().by_id.len()
    }

    /// Sessions known to this server only (metric `local_sessions`): none.
    #[must_use]
    pub fn local_session_count(&self) -> usize {
        0
    }

    /// The ids of all sessions, in order.
    #[must_use]
    pub fn global_sessions(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.state.lock().by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The time of each bucket (monotonic clock) with the sessions that will expire then unless they
    /// are touched (`getSessionExpiryMap`).
    #[must_use]
    pub fn session_expiry_map(&self) -> BTreeMap<i64, BTreeSet<SessionId>> {
        let state = self.state.lock();
        state.queue.expiry_map(|id| state.deadline_ms(id))
    }

    /// The part of the word `dump` about sessions (`dumpSessions`). `date` prints a time of the
    /// monotonic clock as `java.util.Date` does.
    pub fn dump_sessions(&self, out: &mut String, date: impl Fn(i64) -> String) {
        let map = self.session_expiry_map();
        let sessions: usize = map.values().map(BTreeSet::len).sum();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "Session Sets ({})/({sessions}):", map.len());
        for (time_ms, ids) in map {
            let _ = writeln!(out, "{} expire at {}:", ids.len(), date(time_ms));
            for id in ids {
                let _ = writeln!(out, "\t{id}");
            }
        }
    }

    /// Marks the sessions that are due as closing and hands them to `expirer`. Returns the
    /// milliseconds until the next call is worthwhile.
    pub fn expire_due(&self, expirer: &dyn SessionExpirer) -> i64 {
        loop {
            let now_ms = (self.clock)();
            let mut state = self.state.lock();
            let wait_ms = state.queue.wait_time_ms(now_ms);
            if wait_ms > 0 {
                return wait_ms;
            }
            let expired = state.poll(now_ms);
            drop(state);
            for session in &expired {
                expirer.expire(session);
            }
        }
    }
}

impl State {
    fn add(&mut self, id: SessionId, timeout_ms: i32, now_ms: i64) -> Arc<Session> {
        debug!("Adding session {id}");
        let session = Arc::new(Session::new(id, timeout_ms, now_ms));
        self.queue.update(id, session.deadline_ms());
        self.by_id.insert(id, Arc::clone(&session));
        session
    }

    fn put_off(&mut self, session: &Session, timeout_ms: i32, now_ms: i64) {
        session.set_deadline_ms(now_ms.saturating_add(i64::from(timeout_ms)));
        self.queue.update(session.id(), session.deadline_ms());
    }

    fn checked(&self, id: SessionId) -> Result<&Session, Code> {
        let session = self.by_id.get(&id).ok_or(Code::UnknownSession)?;
        if session.is_closing() { Err(Code::SessionExpired) } else { Ok(session) }
    }

    fn deadline_ms(&self, id: SessionId) -> i64 {
        self.by_id.get(&id).map_or(i64::MIN, |session| session.deadline_ms())
    }

    fn poll(&mut self, now_ms: i64) -> Vec<Arc<Session>> {
        let State { by_id, queue } = self;
        let deadline_ms = |id| by_id.get(&id).map_or(i64::MIN, |session| session.deadline_ms());
        let expired = queue.poll(now_ms, deadline_ms);
        let sessions: Vec<_> = expired.iter().filter_map(|id| by_id.get(id)).cloned().collect();
        for session in &sessions {
            session.set_closing();
        }
        sessions
    }
}

fn unknown_is_expired(code: Code) -> Code {
    if code == Code::UnknownSession { Code::SessionExpired } else { code }
}

/// 0 is "no session", and the owner of containers must not be a session.
fn is_reserved(id: SessionId) -> bool {
    id.0 == 0 || id.0 == EphemeralType::CONTAINER_OWNER
}

/// The first session id of a server: its own id in the top byte, then five bytes of the monotonic
/// clock, then two zero bytes. Wraps as Java does (`initializeNextSessionId`).
#[must_use]
pub fn initialize_next_session_id(server_id: i64, now_ms: i64) -> i64 {
    // The unsigned shift keeps the clock out of the top byte (ZOOKEEPER-1622).
    let clock = ((now_ms << 24) as u64 >> 8) as i64;
    let id = clock | (server_id << 56);
    if id == EphemeralType::CONTAINER_OWNER { id + 1 } else { id }
}

/// The largest server id with extended types: 0xff in the top byte marks TTL nodes.
const MAX_EXTENDED_SERVER_ID: i64 = 0xfe;

/// Whether a server may have this id (`EphemeralType.validateServerId`). The error is Java's text.
pub fn validate_server_id(server_id: i64, types: ExtendedTypes) -> Result<(), String> {
    if types.enabled && server_id > MAX_EXTENDED_SERVER_ID {
        return Err(format!(
            "extendedTypesEnabled is true but Server ID is too large. \
             Cannot be larger than {MAX_EXTENDED_SERVER_ID}"
        ));
    }
    Ok(())
}
