//! A whole tree as a client sees it: every node with data, all stat fields and ACL.

use std::collections::BTreeMap;

use zabkeeper::jute::{Buffer, Input, Jute};
use zabkeeper::proto::messages::{
    AuthPacket, GetAclRequest, GetAclResponse, GetChildrenRequest, GetChildrenResponse,
    GetDataRequest, GetDataResponse,
};
use zabkeeper::proto::{Acl, OpCode, Stat};

use crate::support::both::SUPER_TOKEN;
use crate::support::peer::text;
use crate::support::server::TestServer;
use crate::support::wire::{Packet, Received, Wire, new_session};

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Null and empty are kept apart.
    pub data: Buffer,
    /// As sent.
    pub stat: Stat,
    /// As the super user sees it.
    pub acl: Vec<Acl>,
}

/// Nodes by path.
pub type Dump = BTreeMap<String, Node>;

/// A session of the test itself.
pub struct Session {
    /// The connection.
    pub wire: Wire,
    /// The session's id.
    pub id: i64,
    /// The session's password.
    pub passwd: [u8; 16],
    xid: i32,
}

impl Session {
    /// A new session.
    pub fn open(server: &TestServer, timeout_ms: i32) -> Session {
        Session::connect(server, &new_session(timeout_ms)).expect("a session")
    }

    /// Sends a connect request; `None` when the session is refused.
    pub fn connect(
        server: &TestServer,
        request: &zabkeeper::proto::messages::ConnectRequest,
    ) -> Option<Session> {
        let mut wire = Wire::open(server.addr());
        let response = wire.handshake(request)?;
        (response.session_id != 0).then_some(Session {
            wire,
            id: response.session_id,
            passwd: response.passwd,
            xid: 0,
        })
    }

    /// A new session of the super user.
    pub fn of_super_user(server: &TestServer) -> Session {
        let mut session = Session::open(server, 20_000);
        session.auth(SUPER_TOKEN);
        session
    }

    /// Adds a digest identity.
    pub fn auth(&mut self, token: &str) {
        let auth = AuthPacket { op: 0, scheme: "digest".into(), auth: text(token) };
        self.wire.send(-4, OpCode::Auth.as_i32(), &auth.to_bytes());
        assert_eq!(self.wire.packet().header.err, 0);
    }

    /// A request and its reply.
    pub fn call(&mut self, op: OpCode, body: &impl Jute) -> Packet {
        self.xid += 1;
        self.wire.send(self.xid, op.as_i32(), &body.to_bytes());
        let packet = self.wire.packet();
        assert_eq!(packet.header.xid, self.xid);
        packet
    }

    /// A request that must succeed.
    pub fn must(&mut self, op: OpCode, body: &impl Jute) -> Packet {
        let packet = self.call(op, body);
        assert_eq!(packet.header.err, 0, "{}", op.name());
        packet
    }

    /// Closes the session.
    pub fn close(mut self) {
        self.wire.send(self.xid + 1, OpCode::CloseSession.as_i32(), &[]);
        while let Received::Frame(_) = self.wire.receive() {}
    }

    /// Every node.
    pub fn dump(&mut self) -> Dump {
        let mut nodes = Dump::new();
        let mut todo = vec!["/".to_owned()];
        while let Some(path) = todo.pop() {
            let watch = false;
            let data: GetDataResponse =
                decode(&self.must(OpCode::GetData, &GetDataRequest { path: path.clone(), watch }));
            let acl: GetAclResponse =
                decode(&self.must(OpCode::GetAcl, &GetAclRequest { path: path.clone() }));
            let request = GetChildrenRequest { path: path.clone(), watch };
            let list: GetChildrenResponse = decode(&self.must(OpCode::GetChildren, &request));
            for child in list.children {
                let slash = if path == "/" { "" } else { "/" };
                todo.push(format!("{path}{slash}{child}"));
            }
            let node = Node { data: data.data, stat: data.stat, acl: acl.acl };
            nodes.insert(path, node);
        }
        nodes
    }
}

fn decode<T: Jute>(packet: &Packet) -> T {
    T::decode(&mut Input::unbounded(&packet.body)).unwrap()
}

/// Fails with the differing nodes only.
pub fn assert_same(before: &Dump, after: &Dump, what: &str) {
    let mut differences = Vec::new();
    for path in before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))) {
        let (before, after) = (before.get(path), after.get(path));
        if before != after {
            differences.push(format!("{path}:\n  before {before:?}\n  after  {after:?}"));
        }
    }
    let shown = differences.len().min(10);
    assert!(
        differences.is_empty(),
        "{what}: {} nodes differ\n{}",
        differences.len(),
        differences[..shown].join("\n")
    );
}
