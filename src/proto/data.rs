//! `org.apache.zookeeper.data`.
#![allow(missing_docs, reason = "field names are those of zookeeper.jute")]

use super::SessionId;
use super::perms;
use crate::records;

records! {
    /// Who: an authentication scheme and an identity within it. A null string reads as empty.
    #[derive(Hash, PartialOrd, Ord)]
    Id { scheme: NullAsEmpty, id: NullAsEmpty }

    /// What `id` may do: bits of [`perms`].
    #[derive(Hash, PartialOrd, Ord)]
    Acl { perms: i32, id: Id }

    /// A node's statistics as a client sees them: `cversion` is `2 * stored - numChildren`, the
    /// owner of container and TTL nodes is 0 (`DataNode.copyStat`).
    #[derive(Copy, Default)]
    Stat {
        czxid: i64, mzxid: i64, ctime: i64, mtime: i64, version: i32, cversion: i32, aversion: i32,
        ephemeral_owner: i64, data_length: i32, num_children: i32, pzxid: i64,
    }

    /// A node's statistics as stored in snapshots and counted in digests: raw values.
    #[derive(Copy, Default)]
    StatPersisted {
        czxid: i64, mzxid: i64, ctime: i64, mtime: i64, version: i32, cversion: i32, aversion: i32,
        ephemeral_owner: i64, pzxid: i64,
    }

    /// One entry of the answer to `whoAmI`.
    ClientInfo { auth_scheme: String, user: String }
}

/// A string whose null form reads as "". An id with a null scheme is then refused as an unknown
/// scheme, with the code that Java answers for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NullAsEmpty(pub Box<str>);

impl crate::jute::Jute for NullAsEmpty {
    fn encode(&self, out: &mut Vec<u8>) {
        crate::jute::OutputExt::put_str(out, &self.0);
    }
    fn decode(input: &mut crate::jute::Input<'_>) -> Result<Self, crate::jute::JuteError> {
        let text = Option::<String>::decode(input)?.unwrap_or_default();
        Ok(NullAsEmpty(text.into_boxed_str()))
    }
}

impl std::ops::Deref for NullAsEmpty {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NullAsEmpty {
    fn from(text: &str) -> Self {
        NullAsEmpty(text.into())
    }
}

impl Id {
    /// From scheme and identity.
    pub fn new(scheme: &str, id: &str) -> Id {
        Id { scheme: scheme.into(), id: id.into() }
    }
}

impl Acl {
    /// `perms` for the identity `id` of `scheme`.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, id: Id::new(scheme, id) }
    }

    /// `ZooDefs.Ids.OPEN_ACL_UNSAFE`: everything for everybody.
    pub fn open_unsafe() -> Vec<Acl> {
        vec![Acl::new(perms::ALL, "world", "anyone")]
    }

    /// `ZooDefs.Ids.READ_ACL_UNSAFE`: reading for everybody.
    pub fn read_unsafe() -> Vec<Acl> {
        vec![Acl::new(perms::READ, "world", "anyone")]
    }
}

impl StatPersisted {
    /// The owner as a session, for nodes that have one.
    pub fn owner(&self) -> SessionId {
        SessionId(self.ephemeral_owner)
    }
}
