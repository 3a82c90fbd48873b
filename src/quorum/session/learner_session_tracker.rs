//! `LearnerSessionTracker`: a learner's view of the sessions. The global ones are those of the
//! database, kept and expired by the leader; what is kept here is who was active, to be reported with
//! the next answer to a PING.
//!
//! Deliberate differences: a request touches its session, not a table; the activity is found by
//! comparing the sessions' deadlines with those of the last report. A session that was committed
//! counts as active on the server of its client only, in Java on all learners.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::UpgradeableSessionTracker;
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::ServerListener;
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::proto::{Code, SessionId};
use crate::server::zk_database::ZkDatabase;
use crate::session::{
    Session, SessionExpirer, SessionTracker, SessionTrackerSettings, SessionTrackerThread,
    initialize_next_session_id,
};

/// See the module.
pub struct LearnerSessionTracker {
    db: Arc<ZkDatabase>,
    upgradeable: UpgradeableSessionTracker,
    /// Only uniqueness counts, hence relaxed.
    next_session_id: AtomicI64,
    held: Mutex<HashMap<SessionId, Held>>,
}

/// A global session that a connection here has, or had a moment ago.
struct Held {
    session: Arc<Session>,
    /// Its deadline when it was last reported.
    reported_ms: i64,
}

/// Something that no deadline is.
const NEVER_REPORTED: i64 = i64::MIN;

impl Held {
    fn new(session: Arc<Session>) -> Held {
        Held { session, reported_ms: NEVER_REPORTED }
    }
}

impl LearnerSessionTracker {
    /// The global sessions are those of `db`.
    #[must_use]
    pub fn new(
        db: Arc<ZkDatabase>,
        settings: SessionTrackerSettings,
        local_sessions_enabled: bool,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        let first_id = initialize_next_session_id(settings.server_id, time::elapsed_ms());
        LearnerSessionTracker {
            db,
            upgradeable: UpgradeableSessionTracker::new(local_sessions_enabled, settings, metrics),
            next_session_id: AtomicI64::new(first_id),
            held: Mutex::new(Rank::Sessions, HashMap::new()),
        }
    }

    /// Starts the thread that expires local sessions, if there can be any.
    pub fn start(
        &self,
        expirer: Arc<dyn SessionExpirer>,
        listener: &Arc<dyn ServerListener>,
    ) -> io::Result<Option<SessionTrackerThread>> {
        self.upgradeable.start(expirer, listener)
    }

    /// The local sessions and their way up.
    pub fn upgradeable(&self) -> &UpgradeableSessionTracker {
        &self.upgradeable
    }

    /// The sessions that were active since the last call, with their timeouts (`snapshot`).
    pub fn snapshot(&self) -> Vec<(SessionId, i32)> {
        let mut touched = Vec::new();
        self.held.lock().retain(|id, held| {
            let deadline_ms = held.session.deadline_ms();
            if held.reported_ms == deadline_ms {
                // Nobody holds it but us: it need not be looked at any more.
                return Arc::strong_count(&held.session) > 1;
            }
            held.reported_ms = deadline_ms;
            touched.push((*id, held.session.timeout_ms()));
            true
        });
        touched
    }

    /// Takes over a session that becomes global: of a connection here its activity is reported.
    fn hold(&self, session: Arc<Session>) {
        self.held.lock().insert(session.id(), Held::new(session));
    }

    /// The leader says that the session is alive and its client is here now, with this timeout.
    pub fn attach(&self, id: SessionId, timeout_ms: i32) -> Arc<Session> {
        let now_ms = time::elapsed_ms();
        let mut held = self.held.lock();
        let session = match held.entry(id) {
            Entry::Occupied(entry) => Arc::clone(&entry.get().session),
            Entry::Vacant(entry) => {
                let session = Arc::new(Session::new(id, timeout_ms, now_ms));
                entry.insert(Held::new(Arc::clone(&session)));
                session
            }
        };
        session.set_timeout_ms(timeout_ms);
        session.touch(now_ms);
        session
    }

    fn held(&self, id: SessionId) -> Option<Arc<Session>> {
        self.held.lock().get(&id).map(|held| Arc::clone(&held.session))
    }
}

impl SessionTracker for LearnerSessionTracker {
    fn create_session(&self, timeout_ms: i32) -> Arc<Session> {
        if let Some(local) = self.upgradeable.local() {
            return local.tracker().create_session(timeout_ms);
        }
        loop {
            let id = SessionId(self.next_session_id.fetch_add(1, Ordering::Relaxed));
            // An id in use: the clock of the machine began anew.
            if id.0 != 0 && self.db.session_timeout_ms(id).is_none() && self.held(id).is_none() {
                let session = Arc::new(Session::new(id, timeout_ms, time::elapsed_ms()));
                self.hold(Arc::clone(&session));
                return session;
            }
        }
    }

    fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        let local = self.upgradeable.local().and_then(|local| local.tracker().session(id));
        if let Some(session) =
            local.or_else(|| self.upgradeable.upgrading_session(id)).or_else(|| self.held(id))
        {
            return Some(session);
        }
        self.db.session_timeout_ms(id).map(|timeout_ms| self.attach(id, timeout_ms))
    }

    /// A learner tracks no global session.
    fn track_session(&self, _id: SessionId, _timeout_ms: i32) -> bool {
        false
    }

    fn commit_session(&self, id: SessionId, _timeout_ms: i32) -> bool {
        match self.upgradeable.finished_upgrading(id) {
            Some(session) => {
                log::info!("Committing global session {id}");
                self.hold(session);
                true
            }
            None => false,
        }
    }

    fn touch_session(&self, id: SessionId, timeout_ms: i32) -> bool {
        if let Some(local) = self.upgradeable.local() {
            if local.tracker().touch_session(id, timeout_ms) {
                return true;
            }
            if !self.is_global_session(id) && !self.upgradeable.is_upgrading_session(id) {
                return false;
            }
        }
        match self.upgradeable.upgrading_session(id) {
            Some(session) => {
                session.set_timeout_ms(timeout_ms);
                session.touch(time::elapsed_ms())
            }
            None => self.attach(id, timeout_ms).touch(time::elapsed_ms()),
        }
    }

    /// Global sessions are the leader's to judge.
    fn check_session(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        let Some(local) = self.upgradeable.local() else { return Ok(()) };
        match local.tracker().check_session(id, owner) {
            Err(Code::UnknownSession) if self.is_global_session(id) => Ok(()),
            Err(Code::UnknownSession) => Err(Code::SessionExpired),
            other => other,
        }
    }

    /// Never asked of a learner, which prepares no transactions.
    fn check_global_session(&self, id: SessionId, _owner: u64) -> Result<(), Code> {
        if self.is_global_session(id) { Ok(()) } else { Err(Code::SessionExpired) }
    }

    fn set_owner(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        let Some(local) = self.upgradeable.local() else { return Ok(()) };
        match local.tracker().set_owner(id, owner) {
            Err(_) if self.is_global_session(id) => Ok(()),
            other => other,
        }
    }

    /// Global sessions are the leader's to close.
    fn set_session_closing(&self, id: SessionId) {
        if let Some(local) = self.upgradeable.local() {
            local.tracker().set_session_closing(id);
        }
    }

    fn remove_session(&self, id: SessionId) {
        if let Some(local) = self.upgradeable.local() {
            local.tracker().remove_session(id);
        }
        let upgrading = self.upgradeable.finished_upgrading(id);
        let held = self.held.lock().remove(&id).map(|held| held.session);
        for session in [upgrading, held].into_iter().flatten() {
            session.set_closing();
        }
    }

    fn is_tracking_session(&self, id: SessionId) -> bool {
        self.is_local_session(id) || self.is_global_session(id)
    }

    fn is_global_session(&self, id: SessionId) -> bool {
        self.db.session_timeout_ms(id).is_some()
    }

    fn is_local_session(&self, id: SessionId) -> bool {
        self.upgradeable.is_local_session(id)
    }

    fn is_local_sessions_enabled(&self) -> bool {
        self.upgradeable.local().is_some()
    }

    fn global_sessions(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.db.sessions().into_keys().collect();
        ids.sort_unstable();
        ids
    }

    fn local_sessions(&self) -> Vec<SessionId> {
        self.upgradeable.local().map(|local| local.local_sessions()).unwrap_or_default()
    }

    fn global_session_count(&self) -> usize {
        self.db.session_count()
    }

    fn session_expiry_map(&self) -> BTreeMap<i64, BTreeSet<SessionId>> {
        BTreeMap::new()
    }

    fn dump_sessions(&self, out: &mut String, date: &dyn Fn(i64) -> String) {
        if let Some(local) = self.upgradeable.local() {
            out.push_str("Local ");
            local.tracker().dump_sessions(out, date);
        }
        let sessions: BTreeMap<_, _> = self.db.sessions().into_iter().collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "Global Sessions({}):", sessions.len());
        for (id, timeout_ms) in sessions {
            let _ = writeln!(out, "{id}\t{timeout_ms}ms");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{DataTree, TreeOptions};

    fn tracker(local: bool, global: &[i64]) -> LearnerSessionTracker {
        let sessions = global.iter().map(|id| (SessionId(*id), 4000)).collect();
        let db = Arc::new(ZkDatabase::new(DataTree::new(TreeOptions::default()), sessions));
        let settings = SessionTrackerSettings { tick_time_ms: 100, server_id: 3 };
        LearnerSessionTracker::new(db, settings, local, Arc::default())
    }

    #[test]
    fn only_sessions_that_were_active_since_the_last_ping_are_reported() {
        let tracker = tracker(false, &[7]);
        let session = tracker.create_session(5000);
        assert_eq!(session.id().0 >> 56, 3);
        assert_eq!(tracker.snapshot(), [(session.id(), 5000)]);
        assert_eq!(tracker.snapshot(), []);
        session.touch(time::elapsed_ms() + 1);
        assert_eq!(tracker.snapshot(), [(session.id(), 5000)]);
        let moved_here = tracker.attach(SessionId(7), 6000);
        assert_eq!(tracker.snapshot(), [(SessionId(7), 6000)]);
        assert!(Arc::ptr_eq(&moved_here, &tracker.session(SessionId(7)).unwrap()));
        drop((session, moved_here));
        assert_eq!(tracker.snapshot(), []);
        assert!(tracker.held.lock().is_empty());
    }

    #[test]
    fn a_removed_session_is_closing_for_who_still_holds_it() {
        let tracker = tracker(false, &[7]);
        let session = tracker.attach(SessionId(7), 6000);
        tracker.remove_session(SessionId(7));
        assert!(session.is_closing());
        assert_eq!(tracker.snapshot(), []);
    }

    #[test]
    fn without_local_sessions_the_leader_judges() {
        let tracker = tracker(false, &[7]);
        assert_eq!(tracker.check_session(SessionId(9), 1), Ok(()));
        assert!(tracker.touch_session(SessionId(9), 4000));
        assert!(!tracker.is_local_sessions_enabled());
        let mut dump = String::new();
        tracker.dump_sessions(&mut dump, &|_| String::new());
        assert_eq!(dump, "Global Sessions(1):\n0x7\t4000ms\n");
    }

    #[test]
    fn local_sessions_become_global_when_their_createsession_is_committed() {
        let tracker = tracker(true, &[7]);
        let session = tracker.create_session(5000);
        let id = session.id();
        assert!(tracker.is_local_session(id) && !tracker.is_global_session(id));
        assert_eq!(tracker.check_session(id, 1), Ok(()));
        assert_eq!(tracker.check_session(SessionId(9), 1), Err(Code::SessionExpired));
        assert_eq!(tracker.check_session(SessionId(7), 1), Ok(()));
        assert!(!tracker.touch_session(SessionId(9), 4000));
        assert_eq!(tracker.snapshot(), []);
        assert!(tracker.upgradeable().upgrade_session(id).is_some());
        assert!(tracker.touch_session(id, 5000));
        tracker.db.commit_session(id, 5000);
        assert!(tracker.commit_session(id, 5000));
        assert!(!tracker.is_local_session(id) && tracker.is_global_session(id));
        assert_eq!(tracker.snapshot(), [(id, 5000)]);
        assert!(Arc::ptr_eq(&session, &tracker.session(id).unwrap()));
        assert!(!session.is_closing());
    }
}
