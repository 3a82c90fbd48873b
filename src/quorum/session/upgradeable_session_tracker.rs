//! `UpgradeableSessionTracker`: what the trackers of leaders and learners share, namely local
//! sessions and their way to global ones; and when a request takes that way
//! (`QuorumZooKeeperServer.checkUpgradeSession`).
//!
//! Deliberate difference: a session is upgraded on the thread of its connection, before its request
//! enters the chain, and keeps its identity: requests under way still count as its own.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::LocalSessionTracker;
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::ServerListener;
use crate::common::time;
use crate::jute::OutputExt;
use crate::metrics::ServerMetrics;
use crate::proto::multi::MultiOp;
use crate::proto::{Code, CreateMode, SessionId};
use crate::server::request::Request;
use crate::server::request_body::RequestBody;
use crate::session::{Session, SessionExpirer, SessionTrackerSettings, SessionTrackerThread};

/// The local half of a tracker; `None`s inside while `localSessionsEnabled` is off.
pub struct UpgradeableSessionTracker {
    local: Option<LocalSessionTracker>,
    /// Upgraded here, and the createSession is not committed yet: neither local nor global.
    upgrading: Mutex<HashMap<SessionId, Arc<Session>>>,
}

impl UpgradeableSessionTracker {
    /// With local sessions or without.
    #[must_use]
    pub fn new(
        local_sessions_enabled: bool,
        settings: SessionTrackerSettings,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        UpgradeableSessionTracker {
            local: local_sessions_enabled.then(|| LocalSessionTracker::new(settings, metrics)),
            upgrading: Mutex::new(Rank::Sessions, HashMap::new()),
        }
    }

    /// Starts the thread that expires local sessions, if there can be any.
    pub fn start(
        &self,
        expirer: Arc<dyn SessionExpirer>,
        listener: &Arc<dyn ServerListener>,
    ) -> io::Result<Option<SessionTrackerThread>> {
        self.local.as_ref().map(|local| local.start(expirer, listener)).transpose()
    }

    /// The local sessions; `None` while they are off.
    pub fn local(&self) -> Option<&LocalSessionTracker> {
        self.local.as_ref()
    }

    /// Whether the session is a local one.
    #[must_use]
    pub fn is_local_session(&self, id: SessionId) -> bool {
        self.local.as_ref().is_some_and(|local| local.is_local_session(id))
    }

    /// Whether the session was upgraded and is not committed yet.
    #[must_use]
    pub fn is_upgrading_session(&self, id: SessionId) -> bool {
        self.local.is_some() && self.upgrading.lock().contains_key(&id)
    }

    /// A session that is being upgraded.
    #[must_use]
    pub fn upgrading_session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.upgrading.lock().get(&id).cloned()
    }

    /// Makes a local session one that is being upgraded (`upgradeSession`). `None` if it is not
    /// local, or another thread was faster.
    #[must_use]
    pub fn upgrade_session(&self, id: SessionId) -> Option<Arc<Session>> {
        let session = self.local.as_ref()?.release(id)?;
        log::info!("Upgrading session {id}");
        self.upgrading.lock().insert(id, Arc::clone(&session));
        Some(session)
    }

    /// The session's createSession is committed (`finishedUpgrading`), or the session is closed: it
    /// is local no more. What its connection holds, if it was local or upgrading here.
    pub fn finished_upgrading(&self, id: SessionId) -> Option<Arc<Session>> {
        let local = self.local.as_ref()?;
        let upgraded = self.upgrading.lock().remove(&id);
        // It may have moved while it was upgraded elsewhere, and be local here again.
        local.release(id).or(upgraded)
    }
}

/// What must go before a client's request, if its session is local and it needs a global one
/// (`checkUpgradeSession`). Connection's thread.
///
/// Errors: `EphemeralOnLocalSession` when upgrading is switched off.
pub fn check_upgrade_session(
    tracker: &UpgradeableSessionTracker,
    upgrading_enabled: bool,
    request: &Request,
) -> Result<Option<Request>, Code> {
    let id = request.session_id;
    if request.is_throttled || !tracker.is_local_session(id) || !creates_ephemeral(&request.body)? {
        return Ok(None);
    }
    if !upgrading_enabled {
        return Err(Code::EphemeralOnLocalSession);
    }
    Ok(tracker.upgrade_session(id).map(|session| upgrade_request(&session)))
}

/// Whether the request of a local session makes an ephemeral node. Compat: of create, create2 and
/// multi alone are looked at, and flags that no mode has are an error even then.
pub fn creates_ephemeral(body: &RequestBody) -> Result<bool, Code> {
    let is_ephemeral = |flags: i32| CreateMode::from_flag(flags).map(CreateMode::is_ephemeral);
    match body {
        RequestBody::Create(create) | RequestBody::Create2(create) => is_ephemeral(create.flags),
        RequestBody::Multi(multi) => {
            for op in &multi.ops {
                if let MultiOp::Create(create) | MultiOp::Create2(create) = op
                    && is_ephemeral(create.flags)?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// The createSession that makes a session known to the ensemble, to go before the request that
/// needs it (`makeUpgradeRequest`).
#[must_use]
pub fn upgrade_request(session: &Session) -> Request {
    let timeout_ms = session.timeout_ms();
    let body = RequestBody::CreateSession { timeout_ms };
    let mut request = Request::internal(session.id(), body, time::elapsed_ms());
    request.bytes.put_i32(timeout_ms);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::messages::{CreateRequest, CreateTtlRequest};
    use crate::proto::multi::MultiOperationRecord;
    use crate::session::SessionTracker;

    fn create(flags: i32) -> CreateRequest {
        CreateRequest { path: "/a".into(), data: None, acl: Vec::new(), flags }
    }

    #[test]
    fn only_ephemeral_creates_upgrade() {
        let check = |body, expected| assert_eq!(creates_ephemeral(&body), expected, "{body:?}");
        for (flags, expected) in [(0, Ok(false)), (1, Ok(true)), (2, Ok(false)), (3, Ok(true))] {
            check(RequestBody::Create(create(flags)), expected);
            check(RequestBody::Create2(create(flags)), expected);
        }
        check(RequestBody::Create(create(7)), Err(Code::BadArguments));
        let ttl =
            CreateTtlRequest { path: "/a".into(), data: None, acl: Vec::new(), flags: 1, ttl: 1 };
        check(RequestBody::CreateTtl(ttl), Ok(false));
        check(RequestBody::CreateContainer(create(1)), Ok(false));
        let multi = |flags: &[i32]| {
            let ops = flags.iter().map(|flags| MultiOp::Create2(create(*flags))).collect();
            RequestBody::Multi(MultiOperationRecord { ops })
        };
        check(multi(&[0, 2]), Ok(false));
        check(multi(&[0, 3]), Ok(true));
        check(multi(&[1, 9]), Ok(true));
        check(multi(&[9, 1]), Err(Code::BadArguments));
    }

    #[test]
    fn a_session_is_upgraded_once_and_keeps_its_identity() {
        let settings = SessionTrackerSettings { tick_time_ms: 100, server_id: 1 };
        let tracker = UpgradeableSessionTracker::new(true, settings, Arc::default());
        let session = tracker.local().unwrap().tracker().create_session(5000);
        let id = session.id();
        assert!(tracker.is_local_session(id));
        let upgraded = tracker.upgrade_session(id).unwrap();
        assert!(Arc::ptr_eq(&session, &upgraded) && !session.is_closing());
        assert!(tracker.upgrade_session(id).is_none());
        assert!(!tracker.is_local_session(id) && tracker.is_upgrading_session(id));
        assert!(Arc::ptr_eq(&tracker.finished_upgrading(id).unwrap(), &session));
        assert!(!tracker.is_upgrading_session(id));
        let request = upgrade_request(&session);
        let check = |enabled, id| {
            let body = RequestBody::Create(create(1));
            let request = check_upgrade_session(&tracker, enabled, &Request::internal(id, body, 0));
            request.map(|request| request.map(|request| request.session_id))
        };
        let other = tracker.local().unwrap().tracker().create_session(5000).id();
        assert_eq!(check(true, id), Ok(None));
        assert_eq!(check(false, other), Err(Code::EphemeralOnLocalSession));
        assert_eq!(check(true, other), Ok(Some(other)));
        assert_eq!(check(true, other), Ok(None));
        assert_eq!(request.bytes, 5000i32.to_be_bytes());
        assert_eq!((request.session_id, request.cxid), (id, 0));
    }
}
