//! One client connection, byte by byte: no thread, no ping, no reconnect, so that a test decides
//! what is on the wire and when. Every read has a deadline. A `RawConnection` for which the end of
//! the connection is an answer, and everything else unexpected fails the test.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use zabkeeper::client::{ClientError, RawConnection, Reply};
use zabkeeper::jute::{Input, Jute};
use zabkeeper::proto::messages::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};

use super::PATIENCE;

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame without its length.
    Frame(Vec<u8>),
    /// The server ended the connection, orderly or by a reset.
    Closed,
    /// Nothing within the time.
    Nothing,
}

/// A connection.
pub struct Wire {
    raw: RawConnection,
}

/// A reply or event: header and the bytes behind it.
pub type Packet = Reply;

/// Splits a frame.
pub fn parse_packet(frame: &[u8]) -> Packet {
    let mut input = Input::unbounded(frame);
    let header = ReplyHeader::decode(&mut input)
        .unwrap_or_else(|e| panic!("a reply without header: {e}: {frame:02x?}"));
    Packet { header, body: input.rest().to_vec() }
}

impl Wire {
    /// Connects, sends nothing.
    pub fn open(addr: SocketAddr) -> Wire {
        Wire::try_open(addr).unwrap_or_else(|e| panic!("connecting to {addr}: {e}"))
    }

    /// As [`Self::open`], for servers that may refuse.
    pub fn try_open(addr: SocketAddr) -> Result<Wire, ClientError> {
        Ok(Wire { raw: RawConnection::connect(addr, PATIENCE)? })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.raw.stream()
    }

    /// Sends bytes as they are. A connection that the server has ended already is not an error:
    /// the following read will tell.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        match self.raw.send_bytes(bytes) {
            Ok(()) | Err(ClientError::Closed) => {}
            Err(e) => panic!("sending {} bytes: {e}", bytes.len()),
        }
    }

    /// Sends length and body.
    pub fn send_frame(&mut self, body: &[u8]) {
        self.send_raw(&zabkeeper::client::frame(body));
    }

    /// Sends a request.
    pub fn send(&mut self, xid: i32, op: i32, body: &[u8]) {
        self.send_frame(&request_frame(xid, op, body));
    }

    /// The next frame, waiting at most `limit`.
    pub fn receive_within(&mut self, limit: Duration) -> Received {
        self.raw.set_timeout(limit.max(Duration::from_millis(1))).unwrap();
        match self.raw.read_frame() {
            Ok(frame) => Received::Frame(frame),
            Err(ClientError::Closed) => Received::Closed,
            Err(ClientError::Timeout) => Received::Nothing,
            Err(e) => panic!("reading: {e}"),
        }
    }

    /// The next frame or the end.
    pub fn receive(&mut self) -> Received {
        self.receive_within(PATIENCE)
    }

    /// The next packet; anything else fails the test.
    pub fn packet(&mut self) -> Packet {
        match self.receive() {
            Received::Frame(frame) => parse_packet(&frame),
            other => panic!("a packet was expected: {other:?}"),
        }
    }

    /// True when the server ends the connection without sending another frame.
    pub fn is_closed_by_server(&mut self) -> bool {
        self.receive() == Received::Closed
    }

    /// Ends the connection without closing the session.
    pub fn cut(&mut self) {
        let _ = self.stream().shutdown(Shutdown::Both); // The server may have been first.
    }

    /// Sends a connect request and reads the answer; `None` when the server just closes.
    pub fn handshake(&mut self, request: &ConnectRequest) -> Option<ConnectResponse> {
        self.send_frame(&request.to_bytes());
        match self.receive() {
            Received::Frame(frame) => {
                Some(ConnectResponse::decode(&mut Input::unbounded(&frame)).unwrap())
            }
            Received::Closed => None,
            Received::Nothing => panic!("no answer to the connect request"),
        }
    }
}

/// A request's frame without length.
pub fn request_frame(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = RequestHeader { xid, op }.to_bytes();
    frame.extend(body);
    frame
}

/// A connect request for a new session.
pub fn new_session(timeout_ms: i32) -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms,
        session_id: 0,
        passwd: Some(Arc::from([0; 16])),
        read_only: Some(false),
    }
}

/// A connect request for a session that exists.
pub fn old_session(id: i64, passwd: &[u8; 16], timeout_ms: i32) -> ConnectRequest {
    ConnectRequest { session_id: id, passwd: Some(Arc::from(*passwd)), ..new_session(timeout_ms) }
}
