//! `LocalSessionTracker`: the sessions that only this server knows. They cost the ensemble no write,
//! own no ephemeral nodes, and end with the connection to this server.

use std::io;
use std::sync::Arc;

use crate::common::thread::ServerListener;
use crate::metrics::ServerMetrics;
use crate::proto::SessionId;
use crate::session::{
    Session, SessionExpirer, SessionTracker, SessionTrackerImpl, SessionTrackerSettings,
    SessionTrackerThread,
};

/// A tracker whose sessions are all local.
pub struct LocalSessionTracker(Arc<SessionTrackerImpl>);

impl LocalSessionTracker {
    /// Without sessions: local ones are in no file.
    #[must_use]
    pub fn new(settings: SessionTrackerSettings, metrics: Arc<ServerMetrics>) -> Self {
        LocalSessionTracker(Arc::new(SessionTrackerImpl::new(settings, [], metrics)))
    }

    /// Starts the thread that expires them.
    pub fn start(
        &self,
        expirer: Arc<dyn SessionExpirer>,
        listener: &Arc<dyn ServerListener>,
    ) -> io::Result<SessionTrackerThread> {
        self.0.start(expirer, listener)
    }

    /// What it is made of.
    pub fn tracker(&self) -> &SessionTrackerImpl {
        &self.0
    }

    /// Whether the session is one of these.
    #[must_use]
    pub fn is_local_session(&self, id: SessionId) -> bool {
        self.0.is_tracking_session(id)
    }

    /// Forgets a session that becomes a global one; its connection goes on with it.
    pub fn release(&self, id: SessionId) -> Option<Arc<Session>> {
        self.0.release(id)
    }

    /// The ids, in order.
    #[must_use]
    pub fn local_sessions(&self) -> Vec<SessionId> {
        self.0.global_sessions()
    }
}
