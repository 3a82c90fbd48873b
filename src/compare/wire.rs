//! One client connection, byte by byte: no thread, no ping, no reconnect, so that a script decides
//! what is on the wire and when. Every read has a deadline. A [`RawConnection`] for which the end
//! of the connection, and even nonsense, is an answer.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::client::{ClientError, RawConnection, frame, new_session_request};
use crate::jute::Jute;
use crate::proto::messages::{ConnectRequest, RequestHeader};

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame without its length.
    Frame(Vec<u8>),
    /// The server ended the connection, orderly or by a reset.
    Closed,
    /// Nothing within the time.
    Nothing,
    /// Something that is no frame, or a failure of this machine.
    Broken(String),
}

/// A connection.
pub struct Wire {
    raw: RawConnection,
}

impl Wire {
    /// Connects, sends nothing.
    pub fn open(addr: SocketAddr, patience: Duration) -> Result<Wire, ClientError> {
        Ok(Wire { raw: RawConnection::connect(addr, patience)? })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.raw.stream()
    }

    /// Sends bytes as they are. A connection that the server has ended already is not an error:
    /// the following read will tell.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        match self.raw.send_bytes(bytes) {
            Ok(()) | Err(ClientError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next frame, waiting at most `limit`.
    pub fn receive(&mut self, limit: Duration) -> Received {
        if let Err(error) = self.raw.set_timeout(limit.max(Duration::from_millis(1))) {
            return Received::Broken(error.to_string());
        }
        match self.raw.read_frame() {
            Ok(frame) => Received::Frame(frame),
            Err(ClientError::Closed) => Received::Closed,
            Err(ClientError::Timeout) => Received::Nothing,
            Err(error) => Received::Broken(error.to_string()),
        }
    }

    /// Ends the connection without closing the session.
    pub fn cut(&mut self) {
        let _ = self.stream().shutdown(Shutdown::Both); // The server may have been first.
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        let _ = self.stream().shutdown(Shutdown::Write); // Likewise.
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let _ = self.raw.reset(); // Likewise.
    }
}

/// A request's frame without length.
pub fn request_bytes(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = RequestHeader { xid, op }.to_bytes();
    bytes.extend(body);
    bytes
}

/// A request's whole frame.
pub fn framed_request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    frame(&request_bytes(xid, op, body))
}

/// A connect request for a session that exists.
pub fn old_session(id: i64, passwd: &[u8; 16], timeout_ms: i32) -> ConnectRequest {
    ConnectRequest {
        session_id: id,
        passwd: Some(Arc::from(*passwd)),
        ..new_session_request(timeout_ms)
    }
}
