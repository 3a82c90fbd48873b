//! `KeeperException.Code`: what a reply header says of a request.

use std::fmt;

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $value:literal, $java:literal;)*) => {
        /// An error code as sent to clients. `error-codes.tsv` of the reference says when.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Code { $($(#[$meta])* $name = $value),* }

        impl Code {
            /// The code of a number on the wire.
            pub fn from_i32(value: i32) -> Option<Code> {
                match value { $($value => Some(Code::$name),)* _ => None }
            }

            /// Java's name of the code.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $java),* }
            }
        }
    };
}

codes! {
    /// Success; also the header code of a failed multi, whose results carry the errors.
    Ok = 0, "OK";
    /// Elements of a multi behind the failing one.
    RuntimeInconsistency = -2, "RUNTIMEINCONSISTENCY";
    /// Data inconsistency; never sent.
    DataInconsistency = -3, "DATAINCONSISTENCY";
    /// Client side only.
    ConnectionLoss = -4, "CONNECTIONLOSS";
    /// The request cannot be decoded, or an unexpected failure in the pipeline.
    MarshallingError = -5, "MARSHALLINGERROR";
    /// Unknown operation, or one that this server does not offer.
    Unimplemented = -6, "UNIMPLEMENTED";
    /// Not sent by servers.
    OperationTimeout = -7, "OPERATIONTIMEOUT";
    /// Invalid path, flags, ttl, version or configuration.
    BadArguments = -8, "BADARGUMENTS";
    /// Internal to the session tracker.
    UnknownSession = -12, "UNKNOWNSESSION";
    /// Reconfiguration without a synced quorum of the new configuration.
    NewConfigNoQuorum = -13, "NEWCONFIGNOQUORUM";
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14, "RECONFIGINPROGRESS";
    /// The node, or on create its parent, does not exist.
    NoNode = -101, "NONODE";
    /// The ACL does not allow it.
    NoAuth = -102, "NOAUTH";
    /// The expected version is not the node's.
    BadVersion = -103, "BADVERSION";
    /// The parent is an ephemeral node.
    NoChildrenForEphemerals = -108, "NOCHILDRENFOREPHEMERALS";
    /// The node exists already.
    NodeExists = -110, "NODEEXISTS";
    /// The node has children.
    NotEmpty = -111, "NOTEMPTY";
    /// The session is closing or not known.
    SessionExpired = -112, "SESSIONEXPIRED";
    /// Client side only.
    InvalidCallback = -113, "INVALIDCALLBACK";
    /// Empty or invalid ACL.
    InvalidAcl = -114, "INVALIDACL";
    /// Authentication refused; the connection is closed.
    AuthFailed = -115, "AUTHFAILED";
    /// The session is owned by another server now.
    SessionMoved = -118, "SESSIONMOVED";
    /// A write on a read-only server.
    NotReadOnly = -119, "NOTREADONLY";
    /// An ephemeral node on a local session that may not be upgraded.
    EphemeralOnLocalSession = -120, "EPHEMERALONLOCALSESSION";
    /// No such watch.
    NoWatcher = -121, "NOWATCHER";
    /// Client side only.
    RequestTimeout = -122, "REQUESTTIMEOUT";
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123, "RECONFIGDISABLED";
    /// Authentication is enforced and missing; the connection is closed.
    SessionClosedRequireSaslAuth = -124, "SESSIONCLOSEDREQUIRESASLAUTH";
    /// A hard quota would be exceeded.
    QuotaExceeded = -125, "QUOTAEXCEEDED";
    /// The request waited too long and was not executed.
    ThrottledOp = -127, "THROTTLEDOP";
}

impl Code {
    /// The number on the wire.
    pub fn as_i32(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.as_i32())
    }
}

impl std::error::Error for Code {}
