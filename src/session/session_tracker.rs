//! The table of sessions and their expiry (`SessionTrackerImpl`).
//!
//! Differences from Java: a request does not come here at all (its connection holds the
//! [`Session`]); a new id is never one that is already in use, which in Java it can be after the
//! machine, and with it the monotonic clock, was started again; the dump leaves out empty buckets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use log::{debug, info, trace};

use super::{ExpiryQueue, Session, SessionTracker};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread, ServerListener};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::proto::{Code, EphemeralType, ExtendedTypes, SessionId};

/// Is told which sessions have expired (`SessionTracker.SessionExpirer`).
pub trait SessionExpirer: Send + Sync {
    /// Submits the closeSession of `session`, which is marked as closing already. Called on the
    /// thread of the tracker, with no lock held.
    fn expire(&self, session: &Arc<Session>);

    /// Whether sessions may expire now. A leader without a quorum says no: its sessions may live on
    /// elsewhere.
    fn may_expire(&self) -> bool {
        true
    }
}

/// How long to wait until the expirer is asked again whether sessions may expire.
const MAY_NOT_EXPIRE_WAIT_MS: i64 = 100;

/// The sessions this server expires.
pub struct SessionTrackerImpl {
    state: Mutex<State>,
    /// Only uniqueness counts, hence relaxed.
    next_session_id: AtomicI64,
    clock: Clock,
    metrics: Arc<ServerMetrics>,
}

/// Milliseconds of a monotonic clock.
pub type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

/// The settings of a [`SessionTrackerImpl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTrackerSettings {
    /// Width of an expiry bucket: `tickTime`.
    pub tick_time_ms: i32,
    /// The server's id, the top byte of its session ids. A standalone server has 1.
    pub server_id: i64,
}

struct State {
    by_id: HashMap<SessionId, Arc<Session>>,
    queue: ExpiryQueue<SessionId>,
}

impl SessionTrackerImpl {
    /// A tracker whose sessions are `restored` (id and timeout in milliseconds, as loaded from
    /// disk): each gets its full timeout anew. Nothing expires before [`SessionTrackerImpl::start`].
    #[must_use]
    pub fn new(
        settings: SessionTrackerSettings,
        restored: impl IntoIterator<Item = (SessionId, i32)>,
        metrics: Arc<ServerMetrics>,
    ) -> SessionTrackerImpl {
        SessionTrackerImpl::with_clock(settings, restored, metrics, Box::new(time::elapsed_ms))
    }

    /// As [`SessionTrackerImpl::new`] with another clock, for tests.
    #[must_use]
    pub fn with_clock(
        settings: SessionTrackerSettings,
        restored: impl IntoIterator<Item = (SessionId, i32)>,
        metrics: Arc<ServerMetrics>,
        clock: Clock,
    ) -> SessionTrackerImpl {
        let now_ms = clock();
        let queue = ExpiryQueue::new(settings.tick_time_ms, now_ms);
        let first_id = initialize_next_session_id(settings.server_id, now_ms);
        let tracker = SessionTrackerImpl {
            state: Mutex::new(Rank::Sessions, State { by_id: HashMap::new(), queue }),
            next_session_id: AtomicI64::new(first_id),
            clock,
            metrics,
        };
        for (id, timeout_ms) in restored {
            tracker.track_session(id, timeout_ms);
        }
        tracker
    }

    /// Makes the session known if it is not. True if it was not known.
    pub fn track_session_if_absent(&self, id: SessionId, timeout_ms: i32) -> bool {
        let now_ms = (self.clock)();
        let mut state = self.state.lock();
        let is_absent = !state.by_id.contains_key(&id);
        if is_absent {
            state.add(id, timeout_ms, now_ms);
        }
        is_absent
    }

    /// Forgets the session without closing it: another tracker takes it over.
    pub fn release(&self, id: SessionId) -> Option<Arc<Session>> {
        let mut state = self.state.lock();
        let session = state.by_id.remove(&id)?;
        state.queue.remove(id);
        Some(session)
    }

    /// Takes over a session that another tracker has released; its timeout begins anew. False if
    /// the id is known here, and then this tracker's own session stays.
    pub fn adopt(&self, session: Arc<Session>) -> bool {
        let now_ms = (self.clock)();
        let mut state = self.state.lock();
        if state.by_id.contains_key(&session.id()) {
            return false;
        }
        let timeout_ms = session.timeout_ms();
        state.put_off(&session, timeout_ms, now_ms);
        state.by_id.insert(session.id(), session);
        true
    }

    /// Starts the thread that expires sessions. It ends when the returned owner is dropped.
    ///
    /// Errors: the kernel refused the thread.
    pub fn start(
        self: &Arc<Self>,
        expirer: Arc<dyn SessionExpirer>,
        listener: &Arc<dyn ServerListener>,
    ) -> io::Result<SessionTrackerThread> {
        let (stop, stopped) = bounded::<()>(0);
        let tracker = Arc::clone(self);
        let body = move || {
            loop {
                let wait_ms = tracker.expire_due(&*expirer);
                let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
                if stopped.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    info!("SessionTrackerImpl exited loop!");
                    return Ok(());
                }
            }
        };
        let thread = thread::spawn_critical("SessionTracker", thread::STACK_BYTES, listener, body)?;
        Ok(SessionTrackerThread { _stop: stop, _thread: thread })
    }

    /// Marks the sessions that are due as closing and hands them to `expirer`. Returns the
    /// milliseconds until the next call is worthwhile.
    pub fn expire_due(&self, expirer: &dyn SessionExpirer) -> i64 {
        loop {
            let now_ms = (self.clock)();
            let state = self.state.lock();
            let wait_ms = state.queue.wait_time_ms(now_ms);
            if wait_ms > 0 {
                return wait_ms;
            }
            drop(state);
            if !expirer.may_expire() {
                return MAY_NOT_EXPIRE_WAIT_MS;
            }
            let mut state = self.state.lock();
            let expired = state.poll(now_ms);
            drop(state);
            for session in &expired {
                self.metrics.stale_sessions_expired.increment();
                expirer.expire(session);
            }
        }
    }
}

impl SessionTracker for SessionTrackerImpl {
    fn create_session(&self, timeout_ms: i32) -> Arc<Session> {
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

    fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.state.lock().by_id.get(&id).cloned()
    }

    fn track_session(&self, id: SessionId, timeout_ms: i32) -> bool {
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

    /// Nothing to do: it is tracked since it was prepared, here as in Java.
    fn commit_session(&self, _id: SessionId, _timeout_ms: i32) -> bool {
        false
    }

    fn touch_session(&self, id: SessionId, timeout_ms: i32) -> bool {
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

    fn check_session(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        let state = self.state.lock();
        let session = state.checked(id)?;
        if owner == Session::NO_OWNER {
            return Ok(());
        }
        if session.owner() == Session::NO_OWNER {
            session.set_owner(owner);
        } else if session.owner() != owner {
            return Err(Code::SessionMoved);
        }
        Ok(())
    }

    fn check_global_session(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        self.check_session(id, owner).map_err(unknown_is_expired)
    }

    fn set_owner(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        let state = self.state.lock();
        state.checked(id).map_err(unknown_is_expired)?.set_owner(owner);
        Ok(())
    }

    fn set_session_closing(&self, id: SessionId) {
        trace!("Session closing: {id}");
        if let Some(session) = self.state.lock().by_id.get(&id) {
            session.set_closing();
        }
    }

    fn remove_session(&self, id: SessionId) {
        debug!("Removing session {id}");
        let mut state = self.state.lock();
        if let Some(session) = state.by_id.remove(&id) {
            state.queue.remove(id);
            // Whoever still holds it must not take it for a live one.
            session.set_closing();
        }
    }

    fn is_tracking_session(&self, id: SessionId) -> bool {
        self.state.lock().by_id.contains_key(&id)
    }

    fn global_sessions(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.state.lock().by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn global_session_count(&self) -> usize {
        self.state.lock().by_id.len()
    }

    fn session_expiry_map(&self) -> BTreeMap<i64, BTreeSet<SessionId>> {
        let state = self.state.lock();
        state.queue.expiry_map(|id| state.deadline_ms(id))
    }

    fn dump_sessions(&self, out: &mut String, date: &dyn Fn(i64) -> String) {
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
}

/// The running thread of a tracker; dropping it stops and joins the thread.
#[derive(Debug)]
pub struct SessionTrackerThread {
    // Declared first, so dropped first: the thread waits for it.
    _stop: Sender<()>,
    _thread: OwnedThread,
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

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::common::exit_code::ExitCode;

    const SETTINGS: SessionTrackerSettings =
        SessionTrackerSettings { tick_time_ms: 1000, server_id: 1 };

    const NONE: [i64; 0] = [];

    /// A tracker whose clock stands still until told otherwise.
    struct Fixture {
        clock: Arc<AtomicI64>,
        metrics: Arc<ServerMetrics>,
        tracker: SessionTrackerImpl,
    }

    fn fixture(restored: &[(i64, i32)]) -> Fixture {
        let clock = Arc::new(AtomicI64::new(0));
        let metrics = Arc::new(ServerMetrics::default());
        let restored = restored.iter().map(|(id, timeout)| (SessionId(*id), *timeout));
        let time = Arc::clone(&clock);
        let tracker = SessionTrackerImpl::with_clock(
            SETTINGS,
            restored,
            Arc::clone(&metrics),
            Box::new(move || time.load(Ordering::Relaxed)),
        );
        Fixture { clock, metrics, tracker }
    }

    impl Fixture {
        /// The sessions that expire when the clock shows `now_ms`.
        fn expired_at(&self, now_ms: i64) -> Vec<i64> {
            self.clock.store(now_ms, Ordering::Relaxed);
            let (sender, receiver) = unbounded();
            self.tracker.expire_due(&Expirer(sender));
            receiver.try_iter().collect()
        }
    }

    struct Expirer(Sender<i64>);

    impl SessionExpirer for Expirer {
        fn expire(&self, session: &Arc<Session>) {
            assert!(session.is_closing());
            self.0.send(session.id().0).unwrap();
        }
    }

    #[test]
    fn nothing_expires_while_the_expirer_says_no() {
        struct Never;
        impl SessionExpirer for Never {
            fn expire(&self, session: &Arc<Session>) {
                panic!("{session}");
            }
            fn may_expire(&self) -> bool {
                false
            }
        }
        let fixture = fixture(&[(5, 1000)]);
        fixture.clock.store(10_000, Ordering::Relaxed);
        assert_eq!(fixture.tracker.expire_due(&Never), MAY_NOT_EXPIRE_WAIT_MS);
        // Still alive: its client may be heard of before that changes.
        assert!(fixture.tracker.touch_session(SessionId(5), 1000));
        assert_eq!(fixture.expired_at(10_500), NONE);
        assert_eq!(fixture.expired_at(20_000), [5]);
    }

    #[test]
    fn first_ids_are_those_of_java() {
        for (server_id, now_ms, expected) in [
            (1, 0, 0x0100_0000_0000_0000_u64),
            (1, 123_456_789, 0x0100_075b_cd15_0000),
            (0, 123_456_789, 0x0000_075b_cd15_0000),
            (255, 0x7f_ffff_ffff, 0xff7f_ffff_ffff_0000),
            (-1, 1 << 40, 0xff00_0000_0000_0000),
            (128, 0, 0x8000_0000_0000_0001),
            (128, 1 << 40, 0x8000_0000_0000_0001),
            (256, 5, 0x0000_0000_0005_0000),
            (5, (1 << 40) - 1, 0x05ff_ffff_ffff_0000),
        ] {
            let id = initialize_next_session_id(server_id, now_ms);
            assert_eq!(id as u64, expected, "{server_id} {now_ms}");
        }
    }

    #[test]
    fn ids_follow_each_other_and_skip_what_is_taken() {
        let Fixture { tracker, .. } = fixture(&[(0x0100_0000_0000_0001, 1000)]);
        assert_eq!(tracker.create_session(1000).id(), SessionId(0x0100_0000_0000_0000));
        assert_eq!(tracker.create_session(1000).id(), SessionId(0x0100_0000_0000_0002));
        tracker.next_session_id.store(i64::MAX, Ordering::Relaxed);
        assert_eq!(tracker.create_session(1000).id(), SessionId(i64::MAX));
        // The owner of containers comes next.
        assert_eq!(tracker.create_session(1000).id(), SessionId(i64::MIN + 1));
        tracker.next_session_id.store(-1, Ordering::Relaxed);
        assert_eq!(tracker.create_session(1000).id(), SessionId(-1));
        assert_eq!(tracker.create_session(1000).id(), SessionId(1));
    }

    #[test]
    fn server_ids_are_limited_with_extended_types() {
        let on = ExtendedTypes { enabled: true, emulate_353: false };
        assert!(validate_server_id(0xfe, on).is_ok());
        assert!(validate_server_id(0xff, on).is_err());
        assert!(validate_server_id(0xff, ExtendedTypes::default()).is_ok());
    }

    #[test]
    fn sessions_expire_in_their_bucket_unless_touched() {
        let fixture = fixture(&[(5, 1500), (6, 1500), (7, 1500)]);
        assert_eq!(fixture.expired_at(1000), NONE);
        fixture.tracker.session(SessionId(6)).unwrap().touch(1000);
        assert!(fixture.tracker.touch_session(SessionId(7), 4000));
        assert_eq!(fixture.expired_at(1999), NONE);
        assert_eq!(fixture.expired_at(2000), [5]);
        assert_eq!(fixture.expired_at(3000), [6]);
        assert_eq!(fixture.expired_at(5000), NONE);
        // All buckets that have passed are looked at in one call.
        assert_eq!(fixture.expired_at(60_000), [7]);
        assert_eq!(fixture.metrics.stale_sessions_expired.get(), 3);
        // They stay known, as closing, until their closeSession is applied.
        assert!(fixture.tracker.is_tracking_session(SessionId(5)));
        assert!(!fixture.tracker.touch_session(SessionId(5), 1000));
        fixture.tracker.remove_session(SessionId(5));
        assert_eq!(fixture.tracker.global_sessions(), [SessionId(6), SessionId(7)]);
    }

    #[test]
    fn reconnect_changes_the_timeout() {
        let fixture = fixture(&[(5, 60_000)]);
        let session = fixture.tracker.session(SessionId(5)).unwrap();
        assert!(fixture.tracker.touch_session(SessionId(5), 1500));
        assert_eq!(session.timeout_ms(), 1500);
        assert_eq!(fixture.expired_at(1000), NONE);
        assert!(session.touch(1000));
        assert_eq!(fixture.expired_at(2999), NONE);
        assert_eq!(fixture.expired_at(3000), [5]);
    }

    #[test]
    fn closing_and_unknown_sessions_are_told_apart() {
        let Fixture { tracker, .. } = fixture(&[(5, 1000)]);
        let (known, unknown) = (SessionId(5), SessionId(6));
        assert_eq!(tracker.check_session(known, 1), Ok(()));
        assert_eq!(tracker.check_session(unknown, 1), Err(Code::UnknownSession));
        assert_eq!(tracker.check_global_session(unknown, 1), Err(Code::SessionExpired));
        tracker.set_session_closing(known);
        tracker.set_session_closing(unknown);
        assert_eq!(tracker.check_session(known, 1), Err(Code::SessionExpired));
        assert_eq!(tracker.check_global_session(known, 1), Err(Code::SessionExpired));
        assert!(!tracker.touch_session(unknown, 1000));
        assert_eq!(tracker.set_owner(unknown, 1), Err(Code::SessionExpired));
    }

    #[test]
    fn tracking_again_keeps_the_session() {
        let fixture = fixture(&[(5, 1000)]);
        let session = fixture.tracker.session(SessionId(5)).unwrap();
        assert!(!fixture.tracker.track_session(SessionId(5), 3000));
        assert!(fixture.tracker.track_session(SessionId(6), 3000));
        assert!(Arc::ptr_eq(&session, &fixture.tracker.session(SessionId(5)).unwrap()));
        assert_eq!(fixture.tracker.global_session_count(), 2);
        assert_eq!(fixture.expired_at(3999), NONE);
        assert_eq!(fixture.expired_at(4000), [5, 6]);
    }

    #[test]
    fn removed_session_is_closing_for_who_still_holds_it() {
        let Fixture { tracker, .. } = fixture(&[]);
        let session = tracker.create_session(1000);
        tracker.remove_session(session.id());
        assert!(!session.touch(1));
        assert_eq!(tracker.global_session_count(), 0);
    }

    #[test]
    fn owners_are_claimed_and_moved() {
        let Fixture { tracker, .. } = fixture(&[(5, 1000)]);
        let id = SessionId(5);
        assert_eq!(tracker.check_session(id, 1), Ok(()));
        assert_eq!(tracker.check_session(id, 2), Err(Code::SessionMoved));
        assert_eq!(tracker.set_owner(id, 2), Ok(()));
        assert_eq!(tracker.check_session(id, 2), Ok(()));
        assert_eq!(tracker.check_session(id, 1), Err(Code::SessionMoved));
        assert_eq!(tracker.check_session(id, Session::NO_OWNER), Ok(()));
    }

    #[test]
    fn dump_is_formatted_as_java_does() {
        let fixture = fixture(&[(0x5, 1500), (0x10, 1700), (0x6, 2500)]);
        fixture.tracker.session(SessionId(6)).unwrap().touch(1000);
        let mut dump = String::new();
        fixture.tracker.dump_sessions(&mut dump, &|time| format!("<{time}>"));
        assert_eq!(
            dump,
            "Session Sets (2)/(3):\n\
             2 expire at <2000>:\n\t0x5\n\t0x10\n\
             1 expire at <4000>:\n\t0x6\n"
        );
    }

    struct NoFailure;

    impl ServerListener for NoFailure {
        fn notify_stopping(&self, thread: &str, _: ExitCode, why: &str) {
            panic!("{thread}: {why}");
        }
    }

    #[test]
    fn thread_expires_sessions_and_ends_with_its_owner() {
        let settings = SessionTrackerSettings { tick_time_ms: 1, server_id: 1 };
        let tracker = Arc::new(SessionTrackerImpl::new(settings, [], Arc::default()));
        let (sender, receiver) = unbounded();
        let listener: Arc<dyn ServerListener> = Arc::new(NoFailure);
        let thread = tracker.start(Arc::new(Expirer(sender)), &listener).unwrap();
        let session = tracker.create_session(5);
        assert_eq!(receiver.recv(), Ok(session.id().0));
        drop(thread);
        // The thread held the only sender.
        assert!(receiver.recv().is_err());
    }
}
