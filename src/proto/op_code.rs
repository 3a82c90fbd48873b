//! `ZooDefs.OpCode`: the operations of the client protocol and the types of transactions.

macro_rules! op_codes {
    ($($name:ident = $value:literal, $java:literal;)*) => {
        /// An operation. The numbers are also those of transaction types.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        #[allow(missing_docs, reason = "named as in ZooDefs.OpCode")]
        pub enum OpCode { $($name = $value),* }

        impl OpCode {
            /// The operation of a number on the wire.
            pub fn from_i32(value: i32) -> Option<OpCode> {
                match value { $($value => Some(OpCode::$name),)* _ => None }
            }

            /// Java's name of the operation.
            pub fn name(self) -> &'static str {
                match self { $(OpCode::$name => $java),* }
            }
        }
    };
}

op_codes! {
    Notification = 0, "notification";
    Create = 1, "create";
    Delete = 2, "delete";
    Exists = 3, "exists";
    GetData = 4, "getData";
    SetData = 5, "setData";
    GetAcl = 6, "getACL";
    SetAcl = 7, "setACL";
    GetChildren = 8, "getChildren";
    Sync = 9, "sync";
    Ping = 11, "ping";
    GetChildren2 = 12, "getChildren2";
    Check = 13, "check";
    Multi = 14, "multi";
    Create2 = 15, "create2";
    Reconfig = 16, "reconfig";
    CheckWatches = 17, "checkWatches";
    RemoveWatches = 18, "removeWatches";
    CreateContainer = 19, "createContainer";
    DeleteContainer = 20, "deleteContainer";
    CreateTtl = 21, "createTTL";
    MultiRead = 22, "multiRead";
    Auth = 100, "auth";
    SetWatches = 101, "setWatches";
    Sasl = 102, "sasl";
    GetEphemerals = 103, "getEphemerals";
    GetAllChildrenNumber = 104, "getAllChildrenNumber";
    SetWatches2 = 105, "setWatches2";
    AddWatch = 106, "addWatch";
    WhoAmI = 107, "whoAmI";
    CreateSession = -10, "createSession";
    CloseSession = -11, "closeSession";
    Error = -1, "error";
}

impl OpCode {
    /// The number on the wire.
    pub fn as_i32(self) -> i32 {
        self as i32
    }

    /// Asks for a change of the tree or of the ensemble: becomes a transaction, also when it fails.
    /// Without the beginning and the end of sessions, and without the check, a part of a multi.
    pub fn is_change(self) -> bool {
        matches!(
            self,
            OpCode::Create
                | OpCode::Create2
                | OpCode::CreateContainer
                | OpCode::CreateTtl
                | OpCode::Delete
                | OpCode::DeleteContainer
                | OpCode::SetData
                | OpCode::SetAcl
                | OpCode::Multi
                | OpCode::Reconfig
        )
    }
}
