//! `ZooKeeper`: a typed session over one connection, without threads.
//!
//! Differences from Java's client: every call blocks and none is retried; pings are sent only by
//! [`ZooKeeper::ping`]; watches are kept by the server only, so that after a reattachment the
//! caller says with [`ZooKeeper::set_watches`] what it still watches; there is no chroot.

use std::collections::VecDeque;
use std::net::ToSocketAddrs;
use std::time::Duration;

use super::raw::{AUTH_XID, PING_XID, RawConnection, Reply, SET_WATCHES_XID, new_session_request};
use super::{ClientError, NO_SESSION};
use crate::jute::{Buffer, Jute};
use crate::proto::messages::{
    AddWatchRequest, CheckWatchesRequest, ConnectRequest, ConnectResponse, Create2Response,
    CreateRequest, CreateResponse, CreateTtlRequest, DeleteRequest, ErrorResponse, ExistsRequest,
    ExistsResponse, GetAclRequest, GetAclResponse, GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse, GetChildrenRequest, GetChildrenResponse, GetDataRequest,
    GetDataResponse, GetEphemeralsRequest, GetEphemeralsResponse, RemoveWatchesRequest,
    SetAclRequest, SetAclResponse, SetDataRequest, SetDataResponse, SetWatches, SetWatches2,
    SyncRequest, SyncResponse, WatcherEvent, WhoAmIResponse,
};
use crate::proto::multi::{MultiOp, MultiOperationRecord, MultiResponse, MultiResult};
use crate::proto::{
    Acl, AddWatchMode, ClientInfo, Code, CreateMode, OpCode, SessionId, Stat, WatcherType, Zxid,
};

/// A session with a server.
pub struct ZooKeeper {
    connection: RawConnection,
    session: ConnectResponse,
    last_xid: i32,
    last_zxid: Zxid,
    /// The xid of the reply read last: where in the stream an event stood.
    last_reply_xid: Option<i32>,
    events: VecDeque<SessionEvent>,
}

/// A watch event and its place in the stream of replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEvent {
    /// Type, state and path as they came.
    pub event: WatcherEvent,
    /// The zxid of the header: the transaction since 3.9, -1 for catch-up by setWatches.
    pub zxid: Zxid,
    /// The xid of the last reply before the event; `None` when there was none.
    pub after_xid: Option<i32>,
}

/// What a reattachment needs (`getSessionId`, `getSessionPasswd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCredentials {
    /// The session.
    pub id: SessionId,
    /// Its password.
    pub passwd: [u8; 16],
    /// The number of its last request: it is counted on, as Java's client does. A server tells the
    /// requests of a session by it.
    pub last_xid: i32,
}

impl ZooKeeper {
    /// Connects and opens a new session. `timeout` bounds the connect and every later call.
    pub fn connect(
        addr: impl ToSocketAddrs,
        session_timeout_ms: i32,
        timeout: Duration,
    ) -> Result<ZooKeeper, ClientError> {
        ZooKeeper::connect_with(addr, &new_session_request(session_timeout_ms), timeout)
    }

    /// Connects and takes up a session again, on this or another server.
    /// [`ClientError::SessionExpired`] when the server no longer has it.
    pub fn reattach(
        addr: impl ToSocketAddrs,
        session_timeout_ms: i32,
        session: &SessionCredentials,
        last_zxid_seen: Zxid,
        timeout: Duration,
    ) -> Result<ZooKeeper, ClientError> {
        let request = ConnectRequest {
            last_zxid_seen: last_zxid_seen.0,
            session_id: session.id.0,
            passwd: Some(session.passwd[..].into()),
            ..new_session_request(session_timeout_ms)
        };
        let mut zk = ZooKeeper::connect_with(addr, &request, timeout)?;
        zk.last_xid = session.last_xid;
        Ok(zk)
    }

    /// Connects with a connect request of any content.
    pub fn connect_with(
        addr: impl ToSocketAddrs,
        request: &ConnectRequest,
        timeout: Duration,
    ) -> Result<ZooKeeper, ClientError> {
        let mut connection = RawConnection::connect(addr, timeout)?;
        let session = connection.handshake(request)?;
        if session.session_id == NO_SESSION {
            return Err(ClientError::SessionExpired);
        }
        Ok(ZooKeeper {
            connection,
            session,
            last_xid: 0,
            last_zxid: Zxid(request.last_zxid_seen),
            last_reply_xid: None,
            events: VecDeque::new(),
        })
    }

    /// The session's id.
    pub fn session_id(&self) -> SessionId {
        SessionId(self.session.session_id)
    }

    /// Id and password, for [`ZooKeeper::reattach`].
    pub fn credentials(&self) -> SessionCredentials {
        SessionCredentials {
            id: self.session_id(),
            passwd: self.session.passwd,
            last_xid: self.last_xid,
        }
    }

    /// The answer to the connect request.
    pub fn connect_response(&self) -> &ConnectResponse {
        &self.session
    }

    /// The highest zxid in any reply.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The connection, for what is not offered here.
    pub fn raw(&mut self) -> &mut RawConnection {
        &mut self.connection
    }

    /// Leaves the connection without closing the session.
    pub fn into_raw(self) -> RawConnection {
        self.connection
    }

    /// `create`: the path made, with the suffix of a sequential node.
    pub fn create(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        mode: CreateMode,
    ) -> Result<String, ClientError> {
        let request = create_request(path, data, acl, mode);
        Ok(self.call::<CreateResponse>(OpCode::Create, &request)?.path)
    }

    /// `create2`: the path made and its stat.
    pub fn create2(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        mode: CreateMode,
    ) -> Result<(String, Stat), ClientError> {
        let request = create_request(path, data, acl, mode);
        let response: Create2Response = self.call(OpCode::Create2, &request)?;
        Ok((response.path, response.stat))
    }

    /// `createTTL`: a node with a time to live in milliseconds; `mode` is one of the two TTL modes.
    pub fn create_ttl(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        mode: CreateMode,
        ttl_ms: i64,
    ) -> Result<(String, Stat), ClientError> {
        let CreateRequest { path, data, acl, flags } = create_request(path, data, acl, mode);
        let request = CreateTtlRequest { path, data, acl, flags, ttl: ttl_ms };
        let response: Create2Response = self.call(OpCode::CreateTtl, &request)?;
        Ok((response.path, response.stat))
    }

    /// `createContainer`: a node that goes when its last child has gone.
    pub fn create_container(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
    ) -> Result<(String, Stat), ClientError> {
        let request = create_request(path, data, acl, CreateMode::Container);
        let response: Create2Response = self.call(OpCode::CreateContainer, &request)?;
        Ok((response.path, response.stat))
    }

    /// `delete`; version -1 matches any.
    pub fn delete(&mut self, path: &str, version: i32) -> Result<(), ClientError> {
        self.call_empty(OpCode::Delete, &DeleteRequest { path: path.to_owned(), version })
    }

    /// `getData`.
    pub fn get(&mut self, path: &str, watch: bool) -> Result<(Buffer, Stat), ClientError> {
        let request = GetDataRequest { path: path.to_owned(), watch };
        let response: GetDataResponse = self.call(OpCode::GetData, &request)?;
        Ok((response.data, response.stat))
    }

    /// `setData`; version -1 matches any.
    pub fn set(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
    ) -> Result<Stat, ClientError> {
        let request = SetDataRequest { path: path.to_owned(), data: data.map(Into::into), version };
        Ok(self.call::<SetDataResponse>(OpCode::SetData, &request)?.stat)
    }

    /// `exists`: `None` when there is no such node.
    pub fn exists(&mut self, path: &str, watch: bool) -> Result<Option<Stat>, ClientError> {
        let request = ExistsRequest { path: path.to_owned(), watch };
        match self.call::<ExistsResponse>(OpCode::Exists, &request) {
            Ok(response) => Ok(Some(response.stat)),
            Err(ClientError::Code(Code::NoNode)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `getChildren`.
    pub fn children(&mut self, path: &str, watch: bool) -> Result<Vec<String>, ClientError> {
        let request = GetChildrenRequest { path: path.to_owned(), watch };
        Ok(self.call::<GetChildrenResponse>(OpCode::GetChildren, &request)?.children)
    }

    /// `getACL`.
    pub fn acl(&mut self, path: &str) -> Result<(Vec<Acl>, Stat), ClientError> {
        let request = GetAclRequest { path: path.to_owned() };
        let response: GetAclResponse = self.call(OpCode::GetAcl, &request)?;
        Ok((response.acl, response.stat))
    }

    /// `setACL`; the version is that of the ACL, -1 matches any.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, ClientError> {
        let request = SetAclRequest { path: path.to_owned(), acl: acl.to_vec(), version };
        Ok(self.call::<SetAclResponse>(OpCode::SetAcl, &request)?.stat)
    }

    /// `multi`: one result for each operation. When one fails nothing is done and every result is
    /// a [`MultiResult::Error`].
    pub fn multi(&mut self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, ClientError> {
        let request = MultiOperationRecord { ops };
        Ok(self.call::<MultiResponse>(OpCode::Multi, &request)?.results)
    }

    /// `multiRead`: one result for each operation, failed ones beside the others.
    pub fn multi_read(&mut self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, ClientError> {
        let request = MultiOperationRecord { ops };
        Ok(self.call::<MultiResponse>(OpCode::MultiRead, &request)?.results)
    }

    /// `sync`: the path as the server echoes it.
    pub fn sync(&mut self, path: &str) -> Result<Option<String>, ClientError> {
        let request = SyncRequest { path: Some(path.to_owned()) };
        Ok(self.call::<SyncResponse>(OpCode::Sync, &request)?.path)
    }

    /// `addAuthInfo`. A server that refuses closes the connection behind its answer.
    pub fn auth(&mut self, scheme: &str, auth: &[u8]) -> Result<(), ClientError> {
        self.connection.send_auth(scheme, auth)?;
        let reply = self.receive(AUTH_XID)?;
        ClientError::check(reply.header.err)
    }

    /// `addWatch`: a persistent watch.
    pub fn add_watch(&mut self, path: &str, mode: AddWatchMode) -> Result<(), ClientError> {
        let request = AddWatchRequest { path: path.to_owned(), mode: mode as i32 };
        let response: ErrorResponse = self.call(OpCode::AddWatch, &request)?;
        ClientError::check(response.err)
    }

    /// `checkWatches`: [`Code::NoWatcher`] when there is no such watch.
    pub fn check_watches(
        &mut self,
        path: &str,
        watcher_type: WatcherType,
    ) -> Result<(), ClientError> {
        let path = path.to_owned();
        let request = CheckWatchesRequest { path, watcher_type: watcher_type as i32 };
        self.call_empty(OpCode::CheckWatches, &request)
    }

    /// `removeWatches`: [`Code::NoWatcher`] when there is no such watch.
    pub fn remove_watches(
        &mut self,
        path: &str,
        watcher_type: WatcherType,
    ) -> Result<(), ClientError> {
        let path = path.to_owned();
        let request = RemoveWatchesRequest { path, watcher_type: watcher_type as i32 };
        self.call_empty(OpCode::RemoveWatches, &request)
    }

    /// `setWatches`: watches of a former connection; what they missed comes as events before the
    /// reply.
    pub fn set_watches(&mut self, watches: &SetWatches) -> Result<(), ClientError> {
        self.call_with_xid(SET_WATCHES_XID, OpCode::SetWatches, watches)
    }

    /// `setWatches2`: with the persistent ones.
    pub fn set_watches2(&mut self, watches: &SetWatches2) -> Result<(), ClientError> {
        self.call_with_xid(SET_WATCHES_XID, OpCode::SetWatches2, watches)
    }

    /// `whoAmI`.
    pub fn who_am_i(&mut self) -> Result<Vec<ClientInfo>, ClientError> {
        let xid = self.send_bytes(OpCode::WhoAmI, &[])?;
        Ok(self.receive(xid)?.decode::<WhoAmIResponse>()?.client_info)
    }

    /// `getEphemerals`: this session's ephemeral nodes whose paths start with `prefix`.
    pub fn ephemerals(&mut self, prefix: &str) -> Result<Vec<String>, ClientError> {
        let request = GetEphemeralsRequest { prefix_path: Some(prefix.to_owned()) };
        Ok(self.call::<GetEphemeralsResponse>(OpCode::GetEphemerals, &request)?.ephemerals)
    }

    /// `getAllChildrenNumber`: the number of nodes below `path`.
    pub fn all_children_number(&mut self, path: &str) -> Result<i32, ClientError> {
        let request = GetAllChildrenNumberRequest { path: path.to_owned() };
        let response: GetAllChildrenNumberResponse =
            self.call(OpCode::GetAllChildrenNumber, &request)?;
        Ok(response.total_number)
    }

    /// Sends a ping and waits for its reply.
    pub fn ping(&mut self) -> Result<(), ClientError> {
        self.connection.send_ping()?;
        let reply = self.receive(PING_XID)?;
        ClientError::check(reply.header.err)
    }

    /// `close`: closes the session and waits for the server to close the connection.
    pub fn close(mut self) -> Result<(), ClientError> {
        let xid = self.send_bytes(OpCode::CloseSession, &[])?;
        ClientError::check(self.receive(xid)?.header.err)?;
        self.connection.expect_closed()
    }

    /// The next event, of those already read or, within `timeout`, from the connection. `None`
    /// when none came.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<SessionEvent>, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        let usual = self.connection.timeout();
        self.connection.set_timeout(timeout)?;
        let result = self.read();
        self.connection.set_timeout(usual)?;
        match result {
            Ok(None) => Ok(self.events.pop_front()),
            Ok(Some(reply)) => Err(ClientError::BadReply(format!("unasked: {:?}", reply.header))),
            Err(ClientError::Timeout) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request without waiting and answers its xid: pipelining, with
    /// [`ZooKeeper::receive`] for the reply.
    pub fn send(&mut self, op: OpCode, record: &impl Jute) -> Result<i32, ClientError> {
        self.send_bytes(op, &record.to_bytes())
    }

    /// Reads up to the reply with this xid; events before it are queued. Any other reply first is
    /// an error: replies come in the order of requests.
    pub fn receive(&mut self, xid: i32) -> Result<Reply, ClientError> {
        loop {
            if let Some(reply) = self.read()? {
                if reply.header.xid != xid {
                    let found = reply.header.xid;
                    return Err(ClientError::BadReply(format!("xid {found} in place of {xid}")));
                }
                return Ok(reply);
            }
        }
    }

    /// Sends a request and decodes its reply.
    pub fn call<T: Jute>(&mut self, op: OpCode, record: &impl Jute) -> Result<T, ClientError> {
        let xid = self.send(op, record)?;
        self.receive(xid)?.decode()
    }

    /// Sends a request whose reply has no body.
    pub fn call_empty(&mut self, op: OpCode, record: &impl Jute) -> Result<(), ClientError> {
        let xid = self.send(op, record)?;
        ClientError::check(self.receive(xid)?.header.err)
    }

    fn call_with_xid(
        &mut self,
        xid: i32,
        op: OpCode,
        record: &impl Jute,
    ) -> Result<(), ClientError> {
        self.connection.send_request(xid, op.as_i32(), record)?;
        ClientError::check(self.receive(xid)?.header.err)
    }

    fn send_bytes(&mut self, op: OpCode, body: &[u8]) -> Result<i32, ClientError> {
        self.last_xid = self.last_xid.wrapping_add(1).max(1);
        self.connection.send_request_bytes(self.last_xid, op.as_i32(), body)?;
        Ok(self.last_xid)
    }

    /// Reads one frame: a reply, or an event, which is queued.
    fn read(&mut self) -> Result<Option<Reply>, ClientError> {
        let reply = self.connection.read_reply()?;
        let zxid = Zxid(reply.header.zxid);
        if let Some(event) = reply.event()? {
            let after_xid = self.last_reply_xid;
            self.events.push_back(SessionEvent { event, zxid, after_xid });
            return Ok(None);
        }
        self.last_reply_xid = Some(reply.header.xid);
        self.last_zxid = self.last_zxid.max(zxid);
        Ok(Some(reply))
    }
}

fn create_request(path: &str, data: Option<&[u8]>, acl: &[Acl], mode: CreateMode) -> CreateRequest {
    CreateRequest {
        path: path.to_owned(),
        data: data.map(Into::into),
        acl: acl.to_vec(),
        flags: mode as i32,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::client::frame;
    use crate::proto::messages::ReplyHeader;

    const SOON: Duration = Duration::from_secs(10);

    fn reply(xid: i32, zxid: i64, err: i32, record: Option<&WatcherEvent>) -> Vec<u8> {
        let mut bytes = ReplyHeader { xid, zxid, err }.to_bytes();
        if let Some(record) = record {
            record.encode(&mut bytes);
        }
        frame(&bytes)
    }

    /// A session with a server that answers the handshake, then sends `script` whatever it is asked.
    fn session(script: Vec<u8>) -> ZooKeeper {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.read_exact(&mut [0; 49]).unwrap();
            let response = ConnectResponse {
                protocol_version: 0,
                timeout_ms: 4000,
                session_id: 5,
                passwd: [3; 16],
                read_only: Some(false),
            };
            stream.write_all(&frame(&response.to_bytes())).unwrap();
            stream.write_all(&script).unwrap();
            // Reads to the client's close, so that no reset overtakes the script.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        ZooKeeper::connect(addr, 4000, SOON).unwrap()
    }

    #[test]
    fn events_keep_their_place_among_replies() {
        let event = WatcherEvent { event_type: 3, state: 3, path: "/a".into() };
        let mut script = reply(-1, 7, 0, Some(&event));
        script.extend(reply(1, 8, 0, None));
        script.extend(reply(-1, 9, 0, Some(&event)));
        let mut zk = session(script);
        zk.delete("/b", -1).unwrap();
        let first = zk.next_event(SOON).unwrap().unwrap();
        let second = zk.next_event(SOON).unwrap().unwrap();
        assert_eq!((first.after_xid, first.zxid), (None, Zxid(7)));
        assert_eq!((second.after_xid, second.zxid), (Some(1), Zxid(9)));
        assert_eq!(zk.next_event(Duration::from_millis(5)).unwrap(), None);
        assert_eq!((zk.last_zxid(), zk.session_id()), (Zxid(8), SessionId(5)));
    }

    #[test]
    fn an_error_code_is_the_result() {
        let mut zk = session(reply(1, 1, Code::NoNode.as_i32(), None));
        assert_eq!(zk.exists("/none", false).unwrap(), None);
        let mut zk = session(reply(1, 1, Code::NoAuth.as_i32(), None));
        assert_eq!(zk.get("/secret", false).unwrap_err().code(), Some(Code::NoAuth));
    }

    #[test]
    fn a_reply_out_of_turn_is_an_error() {
        let mut zk = session(reply(2, 1, 0, None));
        assert!(matches!(zk.delete("/a", -1), Err(ClientError::BadReply(_))));
    }
}
