//! How a connection comes by its session and its identities: connect requests, auth and SASL
//! packets (`ZooKeeperServer.processConnectRequest`, `finishSessionInit`, `processPacket`).

use std::sync::Arc;

use super::cnxn_thread::{self, Disconnect};
use super::server_cnxn::ServerCnxn;
use crate::auth::{AuthContext, AuthServer};
use crate::common::time;
use crate::jute::{Buffer, Input, Jute, JuteError};
use crate::proto::messages::{
    AuthPacket, ConnectRequest, ConnectResponse, GetSaslRequest, ReplyHeader, SetSaslResponse,
};
use crate::proto::{Code, SessionId};
use crate::server::request::Request;
use crate::server::request_body::RequestBody;
use crate::server::server_role::Revalidation;
use crate::server::zookeeper_server::ZooKeeperServer;
use crate::session::{Session, password};

/// Answers the first packet of a client: a new session through the chain, an old one at once.
pub fn process_connect_request(
    server: &Arc<ZooKeeperServer>,
    cnxn: &Arc<ServerCnxn>,
    frame: &[u8],
) -> Result<(), Disconnect> {
    let request = ConnectRequest::decode(&mut Input::new(frame, server.limits()))?;
    let id = SessionId(request.session_id);
    cnxn.set_has_read_only(request.read_only.is_some());
    if !server.admits_connection(id) {
        return Err(Disconnect::Throttled);
    }
    server.metrics().connection_request_count.increment();
    if request.read_only.is_none() {
        log::warn!(
            "Connection request from old client /{}; will be dropped if server is in r-o mode",
            cnxn.remote()
        );
    }
    let is_read_only_client = request.read_only == Some(true);
    if server.role().is_read_only() && !is_read_only_client {
        return Err(Disconnect::Refused(format!(
            "Refusing session request for not-read-only client /{}",
            cnxn.remote()
        )));
    }
    let last_zxid = server.db().last_processed_zxid();
    if request.last_zxid_seen > last_zxid.0 {
        return Err(Disconnect::Refused(format!(
            "Refusing session({id}) request for client /{} as it has seen zxid {:#x} our last zxid \
             is {last_zxid} client must try another server",
            cnxn.remote(),
            request.last_zxid_seen,
        )));
    }
    let config = server.config();
    let timeout_ms =
        request.timeout_ms.max(config.min_session_timeout_ms).min(config.max_session_timeout_ms);
    cnxn.set_session_timeout_ms(timeout_ms);
    if id.0 == 0 {
        return create_session(server, cnxn, timeout_ms);
    }
    server.role().validate_session(id).map_err(Disconnect::Refused)?;
    // An older connection of the session is closed even when the password turns out to be wrong.
    server.cnxns().close_session(id);
    server.metrics().connection_revalidate_count.increment();
    let revalidation = if password::check(id, request.passwd.as_deref().unwrap_or_default()) {
        server.role().revalidate_session(server, cnxn, id, timeout_ms)
    } else {
        log::warn!("Incorrect password from /{} for session {id}", cnxn.remote());
        Revalidation::Invalid
    };
    let session = match revalidation {
        Revalidation::Valid(session) => Some(session),
        Revalidation::Invalid => None,
        Revalidation::Later => return Ok(()),
    };
    if attach(server, cnxn, session) { Ok(()) } else { Err(Disconnect::AfterFlush) }
}

/// Binds the session that a client wanted back, and answers its connect request. False when there
/// is none: the connection ends with the answer.
fn attach(server: &ZooKeeperServer, cnxn: &Arc<ServerCnxn>, session: Option<Arc<Session>>) -> bool {
    let Some(session) = session else {
        log::info!("Invalid session for client /{}, probably expired", cnxn.remote());
        send_connect_response(server, cnxn, None);
        return false;
    };
    bind_session(server, cnxn, Arc::clone(&session));
    if session.is_closing() {
        // The final processor may have looked for the session's connection before we were it.
        let id = session.id();
        log::info!("Invalid session {id} for client /{}, it is being closed", cnxn.remote());
        send_connect_response(server, cnxn, None);
        return false;
    }
    send_connect_response(server, cnxn, Some(&session));
    true
}

/// The late answer to a client that wanted its session back. See
/// [`ZooKeeperServer::finish_session_init`].
pub fn finish_session_init(
    server: &ZooKeeperServer,
    cnxn: &Arc<ServerCnxn>,
    session: Option<Arc<Session>>,
) {
    if cnxn.is_stale() {
        return; // It is gone. Bound to the session it would push out the client's next one.
    }
    if attach(server, cnxn, session) {
        cnxn_thread::flush(server, cnxn);
        if cnxn.is_stale() {
            // It ended meanwhile, and its thread may have looked for its session before we bound it.
            server.cnxns().forget_session(cnxn);
        }
    } else {
        cnxn.close_after_flush();
        cnxn_thread::flush(server, cnxn);
        cnxn.stop_reading();
    }
}

fn create_session(
    server: &Arc<ZooKeeperServer>,
    cnxn: &Arc<ServerCnxn>,
    timeout_ms: i32,
) -> Result<(), Disconnect> {
    let session = server.tracker().create_session(timeout_ms);
    bind_session(server, cnxn, Arc::clone(&session));
    let body = RequestBody::CreateSession { timeout_ms };
    let mut request = Request::internal(session.id(), body, time::elapsed_ms());
    request.owner = Session::OWNER_ME;
    if server.forwards_writes() {
        request.bytes = timeout_ms.to_be_bytes().to_vec();
    }
    request.is_local_session = server.role().is_local(server, &request);
    if server.admit_and_enqueue(cnxn, &session, request) {
        Ok(())
    } else {
        Err(Disconnect::NotRunning)
    }
}

fn bind_session(server: &ZooKeeperServer, cnxn: &Arc<ServerCnxn>, session: Arc<Session>) {
    let id = session.id();
    cnxn.set_session(session);
    server.cnxns().add_session(id, cnxn);
}

/// Tells the client its session, or with `None` that it has none (`finishSessionInit`).
pub fn send_connect_response(
    server: &ZooKeeperServer,
    cnxn: &ServerCnxn,
    session: Option<&Session>,
) {
    let response = ConnectResponse {
        protocol_version: 0,
        timeout_ms: session.map_or(0, |_| cnxn.session_timeout_ms()),
        session_id: session.map_or(0, |session| session.id().0),
        passwd: session.map_or([0; 16], |session| password::generate(session.id())),
        read_only: cnxn.has_read_only().then(|| server.role().is_read_only()),
    };
    cnxn.send_packet(&response.to_bytes());
    cnxn.establish();
    server.stats().increment_packets_sent();
    if let Some(session) = session {
        log::debug!(
            "Established session {} with negotiated timeout {} for client /{}",
            session.id(),
            cnxn.session_timeout_ms(),
            cnxn.remote()
        );
    }
}

/// The view of the server that authentication providers get.
struct TreeView<'a>(&'a ZooKeeperServer);

impl AuthServer for TreeView<'_> {
    fn node_data(&self, path: &str) -> Buffer {
        self.0.db().tree().node(path).and_then(|node| node.data().clone())
    }
}

/// An auth packet: adds identities, or answers `AuthFailed` and closes.
pub fn process_auth(
    server: &Arc<ZooKeeperServer>,
    cnxn: &Arc<ServerCnxn>,
    xid: i32,
    input: &mut Input<'_>,
) -> Result<(), Disconnect> {
    log::info!("got auth packet /{}", cnxn.remote());
    let packet = AuthPacket::decode(input)?;
    let providers = server.acl_policy().providers();
    let mut ids = Vec::clone(&cnxn.auth_info());
    let mut code = Code::AuthFailed;
    if let Some(provider) = providers.provider(&packet.scheme) {
        let mut context = AuthContext {
            remote: cnxn.remote(),
            certificate_subject: None,
            server: &TreeView(server),
            ids: &mut ids,
            must_close: false,
        };
        code = provider.handle_authentication(&mut context, packet.auth.as_deref());
        if context.must_close {
            return Err(Disconnect::EndOfStream);
        }
    }
    if code == Code::Ok {
        log::info!(
            "Session {}: auth success for scheme {} and address /{}",
            cnxn.session_id(),
            packet.scheme,
            cnxn.remote()
        );
        cnxn.set_auth_info(ids);
        send_header(server, cnxn, xid, Code::Ok, |_| {});
        return Ok(());
    }
    if providers.provider(&packet.scheme).is_none() {
        log::warn!(
            "No authentication provider for scheme: {} has {}",
            packet.scheme,
            providers.list_providers()
        );
    } else {
        log::warn!("Authentication failed for scheme: {}", packet.scheme);
    }
    send_header(server, cnxn, xid, Code::AuthFailed, |_| {});
    Err(Disconnect::AfterFlush)
}

/// A SASL packet. Without a SASL server Java answers with no error and a null token.
pub fn process_sasl(
    server: &Arc<ZooKeeperServer>,
    cnxn: &Arc<ServerCnxn>,
    xid: i32,
    input: &mut Input<'_>,
) -> Result<(), Disconnect> {
    if GetSaslRequest::decode(input)?.token.is_none() {
        // Compat: a null token is a NullPointerException in `processSasl`, which ends the connection.
        return Err(JuteError::Null("token").into());
    }
    log::error!("cnxn.saslServer is null: cnxn object did not initialize its saslServer properly.");
    send_header(server, cnxn, xid, Code::Ok, |out| SetSaslResponse { token: None }.encode(out));
    Ok(())
}

/// Refuses a request of a client that must authenticate first.
pub fn refuse_unauthenticated(
    server: &ZooKeeperServer,
    cnxn: &Arc<ServerCnxn>,
    xid: i32,
) -> Disconnect {
    send_header(server, cnxn, xid, Code::SessionClosedRequireSaslAuth, |_| {});
    Disconnect::AfterFlush
}

/// A reply outside the chain; its zxid is 0.
fn send_header(
    server: &ZooKeeperServer,
    cnxn: &Arc<ServerCnxn>,
    xid: i32,
    code: Code,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let mut packet = ReplyHeader { xid, zxid: 0, err: code.as_i32() }.to_bytes();
    body(&mut packet);
    cnxn.send_packet(&packet);
    server.stats().increment_packets_sent();
    cnxn_thread::flush(server, cnxn);
}
