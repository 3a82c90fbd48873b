//! setData, and check as an element of a multi.

use super::{Preparation, check_and_inc_version, validate_path};
use crate::proto::messages::{CheckVersionRequest, SetDataRequest};
use crate::proto::txn::{CheckVersionTxn, SetDataTxn, Txn};
use crate::proto::{Code, perms};

impl Preparation<'_, '_, '_> {
    pub(super) fn set_data(&mut self, request: &SetDataRequest) -> Result<Txn, Code> {
        self.check_session()?;
        let path = request.path.as_str();
        validate_path(path)?;
        let (mut node, old_len) = self.record_to_overwrite(path, &request.data)?;
        self.check_acl(&node.acl, perms::WRITE, path, None)?;
        self.check_quota(path, Some(old_len), &request.data)?;
        let version = check_and_inc_version(node.stat.version, request.version)?;
        node.stat.version = version;
        node.stat.mtime = self.header.time;
        node.stat.mzxid = self.header.zxid.0;
        self.change_node(path, node);
        let data = request.data.clone();
        Ok(Txn::SetData(SetDataTxn { path: path.to_owned(), data, version }))
    }

    pub(super) fn check(&mut self, request: &CheckVersionRequest) -> Result<Txn, Code> {
        self.check_session()?;
        let path = request.path.as_str();
        validate_path(path)?;
        let node = self.record_for_path(path)?;
        self.check_acl(&node.acl, perms::READ, path, None)?;
        // Compat: the version that the next change would make, as in Java; nobody reads it.
        let version = check_and_inc_version(node.stat.version, request.version)?;
        Ok(Txn::CheckVersion(CheckVersionTxn { path: path.to_owned(), version }))
    }
}
