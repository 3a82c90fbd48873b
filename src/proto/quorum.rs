//! `org.apache.zookeeper.server.quorum`: records between servers.
#![allow(missing_docs, reason = "field names are those of zookeeper.jute")]

use super::Id;
use crate::jute::Buffer;
use crate::records;

records! {
    LearnerInfo { server_id: i64, protocol_version: i32, config_version: i64 }
    QuorumPacket { packet_type: i32, zxid: i64, data: Buffer, authinfo: Vec<Id> }
    QuorumAuthPacket { magic: i64, status: i32, token: Buffer }
}
