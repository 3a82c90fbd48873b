//! `org.apache.zookeeper.proto`: requests and replies of the client protocol.
#![allow(missing_docs, reason = "field names are those of zookeeper.jute")]

use super::data::{Acl, ClientInfo, Stat};
use crate::jute::{Buffer, Input, Jute, JuteError, OutputExt};
use crate::records;

records! {
    RequestHeader { xid: i32, op: i32 }
    #[derive(Copy)]
    ReplyHeader { xid: i32, zxid: i64, err: i32 }
    AuthPacket { op: i32, scheme: String, auth: Buffer }

    CreateRequest { path: String, data: Buffer, acl: Vec<Acl>, flags: i32 }
    CreateTtlRequest { path: String, data: Buffer, acl: Vec<Acl>, flags: i32, ttl: i64 }
    CreateResponse { path: String }
    Create2Response { path: String, stat: Stat }
    /// Hand-written in Java, where the path is a buffer: the same bytes as a string.
    DeleteContainerRequest { path: String }
    DeleteRequest { path: String, version: i32 }
    ExistsRequest { path: String, watch: bool }
    ExistsResponse { stat: Stat }
    GetDataRequest { path: String, watch: bool }
    GetDataResponse { data: Buffer, stat: Stat }
    SetDataRequest { path: String, data: Buffer, version: i32 }
    SetDataResponse { stat: Stat }
    GetAclRequest { path: String }
    GetAclResponse { acl: Vec<Acl>, stat: Stat }
    SetAclRequest { path: String, acl: Vec<Acl>, version: i32 }
    SetAclResponse { stat: Stat }
    GetChildrenRequest { path: String, watch: bool }
    GetChildrenResponse { children: Vec<String> }
    GetChildren2Request { path: String, watch: bool }
    GetChildren2Response { children: Vec<String>, stat: Stat }
    GetAllChildrenNumberRequest { path: String }
    GetAllChildrenNumberResponse { total_number: i32 }
    GetEphemeralsRequest { prefix_path: Option<String> }
    GetEphemeralsResponse { ephemerals: Vec<String> }
    CheckVersionRequest { path: String, version: i32 }
    SyncRequest { path: Option<String> }
    SyncResponse { path: Option<String> }
    ReconfigRequest {
        joining_servers: Option<String>, leaving_servers: Option<String>,
        new_members: Option<String>, cur_config_id: i64,
    }
    GetSaslRequest { token: Buffer }
    SetSaslResponse { token: Buffer }
    SetWatches {
        relative_zxid: i64, data_watches: Vec<String>, exist_watches: Vec<String>,
        child_watches: Vec<String>,
    }
    SetWatches2 {
        relative_zxid: i64, data_watches: Vec<String>, exist_watches: Vec<String>,
        child_watches: Vec<String>, persistent_watches: Vec<String>,
        persistent_recursive_watches: Vec<String>,
    }
    AddWatchRequest { path: String, mode: i32 }
    CheckWatchesRequest { path: String, watcher_type: i32 }
    RemoveWatchesRequest { path: String, watcher_type: i32 }
    ErrorResponse { err: i32 }
    WhoAmIResponse { client_info: Vec<ClientInfo> }
    WatcherEvent { event_type: i32, state: i32, path: String }
}

/// The first packet of a client. Clients before 3.4 end it without `read_only`, and are answered
/// without it (ZOOKEEPER-4814).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    pub protocol_version: i32,
    pub last_zxid_seen: i64,
    pub timeout_ms: i32,
    pub session_id: i64,
    pub passwd: Buffer,
    pub read_only: Option<bool>,
}

impl Jute for ConnectRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i32(self.protocol_version);
        out.put_i64(self.last_zxid_seen);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session_id);
        self.passwd.encode(out);
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        Ok(ConnectRequest {
            protocol_version: input.read_i32()?,
            last_zxid_seen: input.read_i64()?,
            timeout_ms: input.read_i32()?,
            session_id: input.read_i64()?,
            passwd: Buffer::decode(input)?,
            read_only: if input.is_empty() { None } else { Some(input.read_bool()?) },
        })
    }
}

/// The answer to [`ConnectRequest`]: 37 bytes, 36 without `read_only`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    pub protocol_version: i32,
    pub timeout_ms: i32,
    pub session_id: i64,
    pub passwd: [u8; 16],
    pub read_only: Option<bool>,
}

impl Jute for ConnectResponse {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i32(self.protocol_version);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session_id);
        out.put_bytes(Some(&self.passwd));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        Ok(ConnectResponse {
            protocol_version: input.read_i32()?,
            timeout_ms: input.read_i32()?,
            session_id: input.read_i64()?,
            passwd: input
                .read_bytes()?
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(JuteError::Null("passwd"))?,
            read_only: if input.is_empty() { None } else { Some(input.read_bool()?) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_packets_come_with_and_without_the_read_only_byte() {
        let mut response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 4000,
            session_id: 1,
            passwd: [7; 16],
            read_only: Some(false),
        };
        assert_eq!(response.to_bytes().len(), 37);
        response.read_only = None;
        let bytes = response.to_bytes();
        assert_eq!(bytes.len(), 36);
        assert_eq!(ConnectResponse::decode(&mut Input::unbounded(&bytes)), Ok(response));
    }
}
