//! delete and deleteContainer.

use super::{PendingNode, Preparation, check_and_inc_version, parent_path};
use crate::proto::messages::DeleteRequest;
use crate::proto::txn::{DeleteTxn, Txn};
use crate::proto::{Code, perms};
use crate::tree::DataTree;

impl Preparation<'_, '_, '_> {
    pub(super) fn delete(&mut self, request: &DeleteRequest) -> Result<Txn, Code> {
        self.check_session()?;
        let path = request.path.as_str();
        let parent_path = deletable_parent_path(path)?;
        let parent = self.record_for_path(parent_path)?;
        self.check_acl(&parent.acl, perms::DELETE, path, None)?;
        let node = self.record_for_path(path)?;
        check_and_inc_version(node.stat.version, request.version)?;
        if node.child_count > 0 {
            return Err(Code::NotEmpty);
        }
        self.remove_child(parent_path, parent, path, &node);
        Ok(Txn::Delete(DeleteTxn { path: path.to_owned() }))
    }

    /// Neither session nor ACL is checked: the container manager sends these. Compat: any client
    /// may too, as in Java.
    pub(super) fn delete_container(&mut self, path: &str) -> Result<Txn, Code> {
        let parent_path = deletable_parent_path(path)?;
        let node = self.record_for_path(path)?;
        if node.child_count > 0 {
            return Err(Code::NotEmpty);
        }
        if self.is_ephemeral(&node) {
            return Err(Code::BadVersion);
        }
        let parent = self.record_for_path(parent_path)?;
        self.remove_child(parent_path, parent, path, &node);
        Ok(Txn::DeleteContainer(DeleteTxn { path: path.to_owned() }))
    }

    pub(super) fn remove_child(
        &mut self,
        parent_path: &str,
        mut parent: PendingNode,
        path: &str,
        node: &PendingNode,
    ) {
        parent.child_count = parent.child_count.saturating_sub(1);
        // Deleting never moves the counter of children (behaviour 20).
        parent.stat.pzxid = self.header.zxid.0;
        self.change_node(parent_path, parent);
        self.remove_node(path, node);
    }
}

/// `getParentPathAndValidate`: the parent's path, "" for the root's; `BadArguments` for nodes of the
/// server itself, which cannot be deleted.
pub fn deletable_parent_path(path: &str) -> Result<&str, Code> {
    if DataTree::is_special_path(path) {
        return Err(Code::BadArguments);
    }
    parent_path(path)
}
