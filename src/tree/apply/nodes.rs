//! The changes of single nodes: `createNode`, `deleteNode`, `setData`, `setACL`, `killSession`.

use crate::jute::Buffer;
use crate::proto::{Acl, Code, EventType, SessionId, Stat, StatPersisted, TxnHeader, Zxid};
use crate::tree::data_node::{DataNode, NodeId};
use crate::tree::data_tree::{DataTree, node_size};
use crate::tree::watch::{Table, WatchSink};

/// What is to be created.
pub(super) struct NewNode<'t> {
    pub(super) path: &'t str,
    pub(super) data: &'t Buffer,
    pub(super) acl: &'t [Acl],
    pub(super) owner: i64,
    /// The parent's new cversion; -1 means one more than it has.
    pub(super) parent_cversion: i32,
}

/// Parent and name of a path that a node can be created or deleted at. The root and names without
/// letters are none: Java's map takes some of them and then writes a snapshot that it cannot read.
fn split(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/')?;
    (!name.is_empty() && !parent.ends_with('/')).then_some((parent, name))
}

/// The path of the parent as events name it.
fn shown(parent: &str) -> &str {
    if parent.is_empty() { "/" } else { parent }
}

impl DataTree {
    pub(super) fn create_node(
        &mut self,
        header: &TxnHeader,
        new: NewNode<'_>,
        sink: &mut dyn WatchSink,
    ) -> Result<Stat, Code> {
        let zxid = header.zxid;
        let path = new.path;
        let Some((parent_path, name)) = split(path) else {
            if path == "/" {
                self.replace_acl(NodeId::ROOT, new.acl);
                return Err(Code::NodeExists);
            }
            log::warn!("Ignoring txn {zxid}: it creates {path:?}, which is no path");
            return Err(Code::BadArguments);
        };
        let parent = self.nodes.find(parent_path).ok_or(Code::NoNode)?;
        let hash = self.nodes.hash(path);
        if let Some(existing) = self.nodes.find_hashed(path, hash) {
            self.replace_acl(existing, new.acl);
            return Err(Code::NodeExists);
        }
        let is_watched = !self.watches.is_empty();
        let parent_acl = is_watched.then(|| self.acls.acl(self.nodes.node(parent).acl));

        if self.raise_cversion(parent, new.parent_cversion, zxid) {
            self.update_digest(parent, parent_path);
        }
        let stat = StatPersisted {
            czxid: zxid.0,
            mzxid: zxid.0,
            pzxid: zxid.0,
            ctime: header.time,
            mtime: header.time,
            ephemeral_owner: new.owner,
            ..StatPersisted::default()
        };
        let acl = self.acls.intern(new.acl);
        let node = DataNode::new(name, new.data.clone(), &stat, acl);
        let client_stat = node.stat(self.options.extended_types);
        let data_len = node.data_len();
        let id = self.nodes.insert(parent, node, hash);
        self.update_digest(id, path);
        self.node_data_size += node_size(path, data_len);
        self.ephemerals.add(new.owner, id, self.options.extended_types);

        self.quota_node_created(parent_path, name);
        self.update_quota(path, data_len as i64, 1);
        sink.written(path, data_len);
        if let Some(parent_acl) = parent_acl {
            let watches = &mut self.watches;
            watches.trigger(Table::Data, EventType::NodeCreated, path, zxid, new.acl, sink);
            let (event, parent) = (EventType::NodeChildrenChanged, shown(parent_path));
            watches.trigger(Table::Child, event, parent, zxid, &parent_acl, sink);
        }
        Ok(client_stat)
    }

    /// Sets a parent's cversion and pzxid unless they are ahead; true if they changed. A replay may
    /// create what was created and deleted before the snapshot saw the parent.
    pub(super) fn raise_cversion(&mut self, parent: NodeId, cversion: i32, zxid: Zxid) -> bool {
        let node = self.nodes.node_mut(parent);
        let cversion = if cversion == -1 { node.cversion.wrapping_add(1) } else { cversion };
        let is_ahead = cversion > node.cversion;
        if is_ahead {
            node.cversion = cversion;
            node.pzxid = zxid.0;
        }
        is_ahead
    }

    pub(super) fn delete_node(
        &mut self,
        path: &str,
        zxid: Zxid,
        sink: &mut dyn WatchSink,
    ) -> Result<(), Code> {
        let Some((parent_path, name)) = split(path) else {
            log::warn!("Ignoring txn {zxid}: it deletes {path:?}, which is no path");
            return Err(Code::BadArguments);
        };
        let parent = self.nodes.find(parent_path).ok_or(Code::NoNode)?;
        // Also if the child has gone: then a fuzzy snapshot saw it go, but not the parent change.
        let node = self.nodes.node_mut(parent);
        if zxid.0 > node.pzxid {
            node.pzxid = zxid.0;
            self.update_digest(parent, parent_path);
        }
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        let is_watched = !self.watches.is_empty();
        let acl_of = |tree: &DataTree, id| tree.acls.acl(tree.nodes.node(id).acl);
        let acls = is_watched.then(|| (acl_of(self, id), acl_of(self, parent)));

        self.remove_below(id);
        self.remove_node(id, path, parent_path, name);
        sink.written(path, 0);
        if let Some((acl, parent_acl)) = acls {
            let watches = &mut self.watches;
            watches.trigger_deleted(path, zxid, &acl, sink);
            let (event, parent) = (EventType::NodeChildrenChanged, shown(parent_path));
            watches.trigger(Table::Child, event, parent, zxid, &parent_acl, sink);
        }
        Ok(())
    }

    /// Removes what is left below a node that is deleted. Only a replay on a fuzzy snapshot meets
    /// this: the node was deleted, and it and its children were created again, before the walk came
    /// by. Java leaves such children in its map, out of reach; the creates that follow bring them
    /// back.
    fn remove_below(&mut self, top: NodeId) {
        if self.nodes.node(top).child_count() == 0 {
            return;
        }
        let below: Vec<NodeId> = self.nodes.subtree(top).skip(1).collect();
        for id in below.into_iter().rev() {
            let path = self.nodes.path(id);
            if let Some((parent, name)) = split(&path) {
                self.remove_node(id, &path, parent, name);
            }
        }
    }

    /// Takes a node without children out of everything that knows it.
    fn remove_node(&mut self, id: NodeId, path: &str, parent_path: &str, name: &str) {
        let node = self.nodes.node(id);
        let (acl, owner, digest) = (node.acl, node.ephemeral_owner, node.digest);
        let data_len = node.data_len();
        let hash = self.nodes.hash(path);
        self.nodes.remove(id, hash);
        self.digest.remove_digest(digest.into());
        self.acls.remove_usage(acl);
        self.node_data_size -= node_size(path, data_len);
        self.ephemerals.remove(owner, id, self.options.extended_types);
        self.quota_node_deleted(parent_path, name);
        self.update_quota(path, -(data_len as i64), -1);
    }

    pub(in crate::tree) fn set_data(
        &mut self,
        path: &str,
        data: &Buffer,
        version: i32,
        zxid: Zxid,
        time: i64,
        sink: &mut dyn WatchSink,
    ) -> Result<Stat, Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        let node = self.nodes.node_mut(id);
        let acl = node.acl;
        let last_len = node.data_len();
        node.data = data.clone();
        node.mtime = time;
        node.mzxid = zxid.0;
        node.version = version;
        let stat = node.stat(self.options.extended_types);
        let data_len = node.data_len();
        self.update_digest(id, path);

        let difference = data_len as i64 - last_len as i64;
        self.update_quota(path, difference, 0);
        self.node_data_size += difference;
        sink.written(path, data_len);
        if !self.watches.is_empty() {
            let acl = self.acls.acl(acl);
            let event = EventType::NodeDataChanged;
            self.watches.trigger(Table::Data, event, path, zxid, &acl, sink);
        }
        Ok(stat)
    }

    pub(in crate::tree) fn set_acl(
        &mut self,
        path: &str,
        acl: &[Acl],
        version: i32,
    ) -> Result<Stat, Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        self.replace_acl(id, acl);
        let node = self.nodes.node_mut(id);
        node.aversion = version;
        let stat = node.stat(self.options.extended_types);
        self.update_digest(id, path);
        Ok(stat)
    }

    /// Gives a node another ACL. Java counts the old one's use down first, and so may give an ACL
    /// that is set again a new id; here it keeps its id.
    fn replace_acl(&mut self, id: NodeId, acl: &[Acl]) {
        let new = self.acls.intern(acl);
        let old = std::mem::replace(&mut self.nodes.node_mut(id).acl, new);
        if self.nodes.is_walked() {
            self.acl_history.changed(id, self.acls.id(old));
        } else {
            self.acl_history.clear();
        }
        self.acls.remove_usage(old);
    }

    /// Deletes the ephemerals of a session: first `paths`, those that the transaction lists, then
    /// what the tree still has of the session. A server also calls this, without a list, for
    /// sessions that its files do not know any more.
    pub fn kill_session(
        &mut self,
        session: SessionId,
        zxid: Zxid,
        paths: &[String],
        sink: &mut dyn WatchSink,
    ) {
        let own = self.ephemerals.take(session).unwrap_or_default();
        for path in paths {
            if self.delete_node(path, zxid, sink).is_err() {
                log::debug!("No node {path} while removing ephemerals of dead session {session}");
            }
        }
        for id in own {
            let node = self.nodes.node(id);
            // Slots are not used again in between, so a live one is still the session's.
            if node.is_freed() || node.ephemeral_owner != session.0 {
                continue;
            }
            let path = self.nodes.path(id);
            if !paths.is_empty() {
                log::warn!("Unexpected path {path} of session {session}, not in txn {zxid}");
            }
            let _ = self.delete_node(&path, zxid, sink); // It is there.
        }
    }
}
