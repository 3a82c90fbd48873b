//! `org.apache.zookeeper.server.persistence.FileHeader`: the first 16 bytes of logs and snapshots.
#![allow(missing_docs, reason = "field names are those of zookeeper.jute")]

use crate::records;

records! {
    #[derive(Copy)]
    FileHeader { magic: i32, version: i32, dbid: i64 }
}

/// "ZKLG".
pub const TXNLOG_MAGIC: i32 = 0x5a4b_4c47;
/// "ZKSN".
pub const SNAP_MAGIC: i32 = 0x5a4b_534e;
/// The version of both formats.
pub const FILE_VERSION: i32 = 2;
