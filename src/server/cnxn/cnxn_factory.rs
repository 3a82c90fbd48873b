//! `NIOServerCnxnFactory`: the tables of connections, and the limits on them.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;

use super::server_cnxn::ServerCnxn;
use crate::common::sync::{Mutex, Rank, RwLock};
use crate::proto::SessionId;
use crate::tree::WatcherId;

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CnxnLimit {
    /// `maxCnxns`.
    #[error("Too many connections max allowed is {0}")]
    Total(usize),
    /// `maxClientCnxns`.
    #[error("Too many connections from {0} - max is {1}")]
    PerAddress(IpAddr, usize),
}

/// The connections of all listeners.
pub struct CnxnTable {
    by_id: RwLock<HashMap<WatcherId, Arc<ServerCnxn>>>,
    by_session: Mutex<HashMap<SessionId, Arc<ServerCnxn>>>,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    next_id: AtomicU32,
}

impl Default for CnxnTable {
    fn default() -> Self {
        CnxnTable {
            by_id: RwLock::new(Rank::Connections, HashMap::new()),
            by_session: Mutex::new(Rank::Connections, HashMap::new()),
            per_address: Mutex::new(Rank::Leaf, HashMap::new()),
            next_id: AtomicU32::new(1),
        }
    }
}

impl CnxnTable {
    /// The id of a new connection from `address`, if the limits (0 is none) let it in. Only the
    /// accept thread calls this, and [`CnxnTable::insert`] next.
    pub fn admit(
        &self,
        address: IpAddr,
        per_address_max: usize,
        total_max: usize,
    ) -> Result<WatcherId, CnxnLimit> {
        let by_id = self.by_id.read();
        if total_max > 0 && by_id.len() >= total_max {
            return Err(CnxnLimit::Total(total_max));
        }
        let count = self.per_address.lock().get(&address).copied().unwrap_or(0);
        if per_address_max > 0 && count >= per_address_max {
            return Err(CnxnLimit::PerAddress(address, per_address_max));
        }
        // Ids are not reused while their connection lives, however often the counter wraps.
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            if !by_id.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    /// Takes an admitted connection in.
    pub fn insert(&self, cnxn: &Arc<ServerCnxn>) {
        *self.per_address.lock().entry(cnxn.remote().ip()).or_insert(0) += 1;
        self.by_id.write().insert(cnxn.id(), Arc::clone(cnxn));
    }

    /// Drops a connection from all tables.
    pub fn remove(&self, cnxn: &ServerCnxn) {
        if self.by_id.write().remove(&cnxn.id()).is_none() {
            return;
        }
        let address = cnxn.remote().ip();
        let mut per_address = self.per_address.lock();
        if let Some(count) = per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                per_address.remove(&address);
            }
        }
        drop(per_address);
        self.forget_session(cnxn);
    }

    /// The connection does not serve its session any more, if it still does.
    pub fn forget_session(&self, cnxn: &ServerCnxn) {
        let mut by_session = self.by_session.lock();
        // A reconnect may have put its newer connection there.
        if by_session.get(&cnxn.session_id()).is_some_and(|other| other.id() == cnxn.id()) {
            by_session.remove(&cnxn.session_id());
        }
    }

    /// The session is served by this connection now (`addSession`), and by no other: of two that
    /// reconnect at once the earlier one is closed.
    pub fn add_session(&self, id: SessionId, cnxn: &Arc<ServerCnxn>) {
        let earlier = self.by_session.lock().insert(id, Arc::clone(cnxn));
        if let Some(earlier) = earlier {
            earlier.set_stale();
            earlier.close();
        }
    }

    /// Closes the connection that serves a session (`closeSession`); false when none does.
    pub fn close_session(&self, id: SessionId) -> bool {
        let cnxn = self.by_session.lock().remove(&id);
        match cnxn {
            Some(cnxn) => {
                cnxn.set_stale();
                cnxn.close();
                true
            }
            None => false,
        }
    }

    /// Calls `visit` with the connection of each watcher that still has one.
    pub fn for_watchers(&self, watchers: &[WatcherId], mut visit: impl FnMut(&Arc<ServerCnxn>)) {
        let by_id = self.by_id.read();
        for watcher in watchers {
            if let Some(cnxn) = by_id.get(watcher) {
                visit(cnxn);
            }
        }
    }

    /// The session of a watcher's connection, for reports.
    pub fn session_of(&self, watcher: WatcherId) -> Option<SessionId> {
        self.by_id.read().get(&watcher).map(|cnxn| cnxn.session_id())
    }

    /// All connections, in the order they came (as far as ids tell).
    pub fn all(&self) -> Vec<Arc<ServerCnxn>> {
        let mut all: Vec<_> = self.by_id.read().values().cloned().collect();
        all.sort_unstable_by_key(|cnxn| cnxn.id());
        all
    }

    /// Connections alive.
    pub fn len(&self) -> usize {
        self.by_id.read().len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes every connection; their threads see the end of their streams.
    pub fn close_all(&self) {
        for cnxn in self.all() {
            cnxn.set_stale();
            cnxn.close();
        }
    }
}

/// Refuses a connection the fast way (`fastCloseSock`): no lingering, the client sees a reset.
pub fn fast_close(socket: TcpStream) {
    let _ = socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)); // Best effort.
    drop(socket);
}
