//! createSession and closeSession.

use std::collections::BTreeMap;

use super::{Preparation, parent_path};
use crate::proto::Code;
use crate::proto::txn::{CloseSessionTxn, CreateSessionTxn, Txn};

impl Preparation<'_, '_, '_> {
    pub(super) fn create_session(&mut self, timeout_ms: i32) -> Txn {
        self.context.sessions.track_session(self.header.client_id, timeout_ms, self.owner);
        Txn::CreateSession(CreateSessionTxn { timeout_ms })
    }

    /// Lists the nodes that go with the session (behaviour 19): those of the tree, corrected by
    /// what is outstanding. The session is not checked: its expiry comes here too.
    pub(super) fn close_session(&mut self) -> Result<Txn, Code> {
        let paths = self.ephemerals();
        for path in &paths {
            let node = self.record_for_path(path)?;
            let parent_path = parent_path(path)?;
            let parent = self.record_for_path(parent_path)?;
            self.remove_child(parent_path, parent, path, &node);
        }
        self.context.sessions.set_session_closing(self.header.client_id);
        Ok(Txn::CloseSession(self.close_session_txn(paths)))
    }

    /// The nodes that the session will own when its closing is applied, sorted.
    fn ephemerals(&self) -> Vec<String> {
        let session = self.header.client_id;
        let changed: BTreeMap<&str, bool> = self.context.changes.ownership(session).collect();
        let applied = self.context.tree.ephemerals(session);
        let applied = applied.into_iter().filter(|path| !changed.contains_key(path.as_str()));
        let mut paths: Vec<String> = applied.collect();
        let owned = changed.iter().filter(|(_, is_owned)| **is_owned);
        paths.extend(owned.map(|(path, _)| (*path).to_owned()));
        paths.sort_unstable();
        paths
    }

    /// The list is left out when it is switched off, and when a server could not read it again
    /// (ZOOKEEPER-4306): without it, applying takes what the tree says, which is the same.
    fn close_session_txn(&self, paths_to_delete: Vec<String>) -> Option<CloseSessionTxn> {
        let options = &self.context.state.options;
        let encoded_len: usize = paths_to_delete.iter().map(|path| path.len() + 4).sum();
        let fits = encoded_len <= usize::try_from(options.max_buffer).unwrap_or(0);
        (options.close_session_txn_enabled && fits).then_some(CloseSessionTxn { paths_to_delete })
    }
}
