//! `LeaderSessionTracker`: the global sessions of the ensemble, which the leader alone expires, and
//! the local sessions of its own clients.
//!
//! Deliberate difference: a client, here or at a learner, that wants a session back whose
//! closeSession is under way is answered when that is committed, not before. Java says "expired" at
//! once; if this leader has been replaced without knowing it, the session lives on elsewhere, with
//! its ephemeral nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use super::{UpgradeableSessionTracker, check_upgrade_session};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::ServerListener;
use crate::metrics::ServerMetrics;
use crate::proto::{Code, SessionId};
use crate::server::request::Request;
use crate::session::{
    Session, SessionExpirer, SessionTracker, SessionTrackerImpl, SessionTrackerSettings,
    SessionTrackerThread,
};

/// Told whether a session is alive. Must not block.
pub type RevalidationAnswer = Box<dyn FnOnce(bool) + Send>;

#[derive(Default)]
struct Waiting {
    /// Who wants a session back that is being closed.
    by_session: HashMap<SessionId, Vec<RevalidationAnswer>>,
    /// The session is closed: to be told so.
    due: Vec<RevalidationAnswer>,
}

/// See the module.
pub struct LeaderSessionTracker {
    global: Arc<SessionTrackerImpl>,
    upgradeable: UpgradeableSessionTracker,
    upgrading_enabled: bool,
    server_id: i64,
    waiting: Mutex<Waiting>,
}

impl LeaderSessionTracker {
    /// A tracker whose global sessions are `restored`: each gets its full timeout anew.
    #[must_use]
    pub fn new(
        settings: SessionTrackerSettings,
        local_sessions_enabled: bool,
        upgrading_enabled: bool,
        restored: impl IntoIterator<Item = (SessionId, i32)>,
        metrics: &Arc<ServerMetrics>,
    ) -> LeaderSessionTracker {
        LeaderSessionTracker {
            global: Arc::new(SessionTrackerImpl::new(settings, restored, Arc::clone(metrics))),
            upgradeable: UpgradeableSessionTracker::new(
                local_sessions_enabled,
                settings,
                Arc::clone(metrics),
            ),
            upgrading_enabled,
            server_id: settings.server_id,
            waiting: Mutex::new(Rank::Leaf, Waiting::default()),
        }
    }

    /// Starts the threads that expire sessions; they end when the owners are dropped. `global` may
    /// refuse to expire for a while, `local` is the server itself.
    pub fn start(
        &self,
        global: Arc<dyn SessionExpirer>,
        local: Arc<dyn SessionExpirer>,
        listener: &Arc<dyn ServerListener>,
    ) -> io::Result<Vec<SessionTrackerThread>> {
        let mut threads = vec![self.global.start(global, listener)?];
        threads.extend(self.upgradeable.start(local, listener)?);
        Ok(threads)
    }

    /// A learner's session was active (`LeaderZooKeeperServer.touch`).
    pub fn touch(&self, id: SessionId, timeout_ms: i32) -> bool {
        SessionTracker::touch_session(self, id, timeout_ms)
    }

    /// Whether a client may have its global session back through `owner`, which gets it then
    /// (`checkIfValidGlobalSession`, `setOwner`). The answer may come later, from the thread that
    /// calls [`deliver`](LeaderSessionTracker::deliver).
    pub fn revalidate(
        &self,
        id: SessionId,
        timeout_ms: i32,
        owner: u64,
        answer: RevalidationAnswer,
    ) {
        if self.global.touch_session(id, timeout_ms) {
            let is_valid = self.global.set_owner(id, owner).is_ok();
            if is_valid {
                answer(true);
                return;
            }
        }
        self.wait_for_end(id, answer);
    }

    /// Answers no once the session has ended.
    pub fn wait_for_end(&self, id: SessionId, answer: RevalidationAnswer) {
        self.waiting.lock().by_session.entry(id).or_default().push(answer);
        // Looked at behind that: who removes it afterwards finds the answer there.
        if self.global.session(id).is_none() {
            self.closed(id);
            self.deliver();
        }
    }

    /// Tells those who waited for the end of sessions that have ended. Not under any lock.
    pub fn deliver(&self) {
        let due = std::mem::take(&mut self.waiting.lock().due);
        for answer in due {
            answer(false);
        }
    }

    /// What must go before a client's request (`checkUpgradeSession`); the session is tracked as a
    /// global one from now on.
    ///
    /// Errors: `EphemeralOnLocalSession`.
    pub fn check_upgrade_session(&self, request: &Request) -> Result<Option<Request>, Code> {
        let upgrade = check_upgrade_session(&self.upgradeable, self.upgrading_enabled, request)?;
        if upgrade.is_some()
            && let Some(session) = self.upgradeable.upgrading_session(request.session_id)
        {
            self.global.adopt(session);
        }
        Ok(upgrade)
    }

    fn closed(&self, id: SessionId) {
        let mut waiting = self.waiting.lock();
        if let Some(answers) = waiting.by_session.remove(&id) {
            waiting.due.extend(answers);
        }
    }

    fn local(&self) -> Option<&SessionTrackerImpl> {
        self.upgradeable.local().map(|local| local.tracker())
    }

    /// The server in the top byte of a session's id.
    fn is_own(&self, id: SessionId) -> bool {
        id.0 >> 56 == self.server_id
    }
}

impl SessionTracker for LeaderSessionTracker {
    fn create_session(&self, timeout_ms: i32) -> Arc<Session> {
        match self.local() {
            Some(local) => local.create_session(timeout_ms),
            None => self.global.create_session(timeout_ms),
        }
    }

    fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.local().and_then(|local| local.session(id)).or_else(|| self.global.session(id))
    }

    fn track_session(&self, id: SessionId, timeout_ms: i32) -> bool {
        self.global.track_session(id, timeout_ms)
    }

    fn commit_session(&self, id: SessionId, timeout_ms: i32) -> bool {
        // Known since it was prepared; here again for one that this server only learned of.
        let is_added = self.global.track_session_if_absent(id, timeout_ms);
        drop(self.upgradeable.finished_upgrading(id));
        is_added
    }

    fn touch_session(&self, id: SessionId, timeout_ms: i32) -> bool {
        self.local().is_some_and(|local| local.touch_session(id, timeout_ms))
            || self.global.touch_session(id, timeout_ms)
    }

    fn check_session(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        if let Some(local) = self.local() {
            match local.check_session(id, owner) {
                // While it is upgraded a session can be both.
                Ok(()) if !self.is_global_session(id) => return Ok(()),
                Ok(()) | Err(Code::UnknownSession) => {}
                Err(code) => return Err(code),
            }
        }
        match self.global.check_session(id, owner) {
            Err(Code::UnknownSession) => {
                // It may be a local session of another server.
                if self.local().is_none() || self.is_own(id) {
                    Err(Code::SessionExpired)
                } else {
                    Ok(())
                }
            }
            other => other,
        }
    }

    fn check_global_session(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        self.global.check_global_session(id, owner)
    }

    fn set_owner(&self, id: SessionId, owner: u64) -> Result<(), Code> {
        if self.local().is_some_and(|local| local.set_owner(id, owner).is_ok()) {
            return Ok(());
        }
        self.global.set_owner(id, owner)
    }

    fn set_session_closing(&self, id: SessionId) {
        if let Some(local) = self.local() {
            local.set_session_closing(id);
        }
        self.global.set_session_closing(id);
    }

    fn remove_session(&self, id: SessionId) {
        if let Some(local) = self.local() {
            local.remove_session(id);
        }
        drop(self.upgradeable.finished_upgrading(id));
        self.global.remove_session(id);
        self.closed(id);
    }

    fn is_tracking_session(&self, id: SessionId) -> bool {
        self.is_local_session(id) || self.is_global_session(id)
    }

    fn is_global_session(&self, id: SessionId) -> bool {
        self.global.is_tracking_session(id)
    }

    fn is_local_session(&self, id: SessionId) -> bool {
        self.upgradeable.is_local_session(id)
    }

    fn is_local_sessions_enabled(&self) -> bool {
        self.upgradeable.local().is_some()
    }

    fn global_sessions(&self) -> Vec<SessionId> {
        self.global.global_sessions()
    }

    fn local_sessions(&self) -> Vec<SessionId> {
        self.upgradeable.local().map(|local| local.local_sessions()).unwrap_or_default()
    }

    fn global_session_count(&self) -> usize {
        self.global.global_session_count()
    }

    fn session_expiry_map(&self) -> BTreeMap<i64, BTreeSet<SessionId>> {
        let mut map = self.local().map(SessionTrackerImpl::session_expiry_map).unwrap_or_default();
        // Compat: `putAll`, so a bucket of local sessions gives way to a global one.
        map.extend(self.global.session_expiry_map());
        map
    }

    fn dump_sessions(&self, out: &mut String, date: &dyn Fn(i64) -> String) {
        if let Some(local) = self.local() {
            out.push_str("Local ");
            local.dump_sessions(out, date);
            out.push_str("Global ");
        }
        self.global.dump_sessions(out, date);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const ID: SessionId = SessionId(0x0200_0000_0000_0001);
    const HANDLER: u64 = 7;

    fn tracker(local: bool) -> LeaderSessionTracker {
        let settings = SessionTrackerSettings { tick_time_ms: 2000, server_id: 1 };
        LeaderSessionTracker::new(settings, local, true, [(ID, 10_000)], &Arc::default())
    }

    /// 1 for each answer of yes, 100 for each of no.
    fn ask(tracker: &LeaderSessionTracker, id: SessionId) -> Arc<AtomicU32> {
        let answers = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&answers);
        let answer = move |is_valid: bool| {
            told.fetch_add(if is_valid { 1 } else { 100 }, Ordering::SeqCst);
        };
        tracker.revalidate(id, 5_000, HANDLER, Box::new(answer));
        answers
    }

    #[test]
    fn a_session_is_expired_for_its_client_once_its_end_is_applied() {
        let tracker = tracker(false);
        assert_eq!(ask(&tracker, ID).load(Ordering::SeqCst), 1);
        assert_eq!(tracker.check_session(ID, HANDLER), Ok(()));
        assert_eq!(tracker.check_session(ID, Session::OWNER_ME), Err(Code::SessionMoved));
        assert_eq!(ask(&tracker, SessionId(9)).load(Ordering::SeqCst), 100);
        tracker.set_session_closing(ID);
        let answers = ask(&tracker, ID);
        assert_eq!(answers.load(Ordering::SeqCst), 0);
        tracker.remove_session(ID);
        tracker.deliver();
        tracker.deliver();
        assert_eq!(answers.load(Ordering::SeqCst), 100);
    }

    #[test]
    fn unknown_sessions_of_others_may_be_local_there() {
        let (own, other) = (SessionId(0x0100_0000_0000_0009), SessionId(0x0300_0000_0000_0009));
        let check = |local, id, expected| {
            assert_eq!(tracker(local).check_session(id, HANDLER), expected);
        };
        check(false, own, Err(Code::SessionExpired));
        check(false, other, Err(Code::SessionExpired));
        check(true, own, Err(Code::SessionExpired));
        check(true, other, Ok(()));
        assert_eq!(tracker(true).check_global_session(other, HANDLER), Err(Code::SessionExpired));
    }

    #[test]
    fn local_sessions_are_made_here_and_dumped_apart() {
        let tracker = tracker(true);
        let session = SessionTracker::create_session(&tracker, 4_000);
        assert!(tracker.is_local_session(session.id()) && !tracker.is_global_session(session.id()));
        assert!(tracker.is_global_session(ID));
        let mut out = String::new();
        tracker.dump_sessions(&mut out, &|_| String::new());
        assert!(out.starts_with("Local Session Sets (1)/(1):"), "{out}");
        assert!(out.contains("Global Session Sets (1)/(1):"), "{out}");
    }
}
