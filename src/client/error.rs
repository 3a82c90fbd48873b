//! What can go wrong on the client's side of a connection.

use std::io;

use crate::jute::JuteError;
use crate::proto::Code;

/// A failed call of a client. A server's refusal is [`ClientError::Code`]; all else means that the
/// connection is of no further use, except [`ClientError::Timeout`] while reading.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error code.
    #[error("{0}")]
    Code(Code),
    /// The server answered with a number that is no known code.
    #[error("unknown error code {0}")]
    UnknownCode(i32),
    /// Nothing (or only a part of a frame) came in time. What came is kept for the next read.
    #[error("no answer in time")]
    Timeout,
    /// The server closed or reset the connection.
    #[error("connection closed by the server")]
    Closed,
    /// The session is gone: the server answered the connect request with session 0.
    #[error("session expired")]
    SessionExpired,
    /// A frame with an impossible length.
    #[error("frame of {0} bytes")]
    FrameLength(i32),
    /// A reply that does not decode, or not the one expected.
    #[error("bad reply: {0}")]
    BadReply(String),
    /// A reply that does not decode.
    #[error("bad reply: {0}")]
    Jute(#[from] JuteError),
    /// Any other failure of the socket.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Timeout,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => ClientError::Closed,
            _ => ClientError::Io(error),
        }
    }
}

impl ClientError {
    /// The error of a number in a reply header; 0 is no error.
    pub fn check(err: i32) -> Result<(), ClientError> {
        match Code::from_i32(err) {
            Some(Code::Ok) => Ok(()),
            Some(code) => Err(ClientError::Code(code)),
            None => Err(ClientError::UnknownCode(err)),
        }
    }

    /// The code that the server answered, if it did.
    pub fn code(&self) -> Option<Code> {
        match self {
            ClientError::Code(code) => Some(*code),
            _ => None,
        }
    }
}
