//! setACL.

use super::{Preparation, check_and_inc_version, validate_path};
use crate::proto::messages::SetAclRequest;
use crate::proto::txn::{SetAclTxn, Txn};
use crate::proto::{Code, perms};

impl Preparation<'_, '_, '_> {
    pub(super) fn set_acl(&mut self, request: &SetAclRequest) -> Result<Txn, Code> {
        self.check_session()?;
        let path = request.path.as_str();
        validate_path(path)?;
        let acl = self.fixup_acl(&request.acl)?;
        let mut node = self.record_for_path(path)?;
        self.check_acl(&node.acl, perms::ADMIN, path, Some(&acl))?;
        let version = check_and_inc_version(node.stat.aversion, request.version)?;
        node.stat.aversion = version;
        node.acl = self.context.state.share_acl(&acl);
        self.change_node(path, node);
        Ok(Txn::SetAcl(SetAclTxn { path: path.to_owned(), acl, version }))
    }
}
