//! One client connection, byte by byte: no thread, no ping, no reconnect, so that a test decides
//! what is on the wire and when. Every read has a deadline. The connection of `zabkeeper compare`,
//! for which the end is an answer; everything else that is unexpected fails the test.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub use zabkeeper::client::new_session_request as new_session;
use zabkeeper::client::{ClientError, Reply};
use zabkeeper::compare::wire;
pub use zabkeeper::compare::wire::{old_session, request_bytes as request_frame};
use zabkeeper::jute::{Input, Jute};
use zabkeeper::proto::messages::{ConnectRequest, ConnectResponse, ReplyHeader};

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
    raw: wire::Wire,
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
        Ok(Wire { raw: wire::Wire::open(addr, PATIENCE)? })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.raw.stream()
    }

    /// Sends bytes as they are. A connection that the server has ended already is not an error:
    /// the following read will tell.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if let Err(e) = self.raw.send(bytes) {
            panic!("sending {} bytes: {e}", bytes.len());
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
        match self.raw.receive(limit) {
            wire::Received::Frame(frame) => Received::Frame(frame),
            wire::Received::Closed => Received::Closed,
            wire::Received::Nothing => Received::Nothing,
            wire::Received::Broken(why) => panic!("reading: {why}"),
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
        self.raw.cut();
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
