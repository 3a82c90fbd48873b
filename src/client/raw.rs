//! A connection without manners: sends what it is told to, reads whole frames, waits no longer
//! than it is told to. No Java class; the part of `ClientCnxnSocket` below the protocol's rules.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::ClientError;
use crate::jute::{Input, Jute, OutputExt};
use crate::proto::messages::{
    AuthPacket, ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent,
};
use crate::proto::{Code, OpCode};

/// The xid of watch events.
pub const EVENT_XID: i32 = -1;
/// The xid of pings and their replies.
pub const PING_XID: i32 = -2;
/// The xid of auth packets and their replies.
pub const AUTH_XID: i32 = -4;
/// The xid of setWatches and its reply.
pub const SET_WATCHES_XID: i32 = -8;
/// The session id of a connect request that asks for a new session.
pub const NO_SESSION: i64 = 0;

/// No reply is longer than this; a longer length field is garbage.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// One TCP connection. Every read ends after [`RawConnection::set_timeout`]'s time at the latest,
/// with [`ClientError::Timeout`]; a half-read frame is kept and completed by the next read.
pub struct RawConnection {
    stream: TcpStream,
    timeout: Duration,
    /// Bytes received and not handed out yet.
    received: Vec<u8>,
}

/// A reply, or a watch event: a header and the bytes behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Xid, zxid and error code.
    pub header: ReplyHeader,
    /// The bytes behind the header, as they came.
    pub body: Vec<u8>,
}

impl RawConnection {
    /// Connects within `timeout`, which then holds for every read and write.
    pub fn connect(addr: impl ToSocketAddrs, timeout: Duration) -> Result<Self, ClientError> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for addr in addr.to_socket_addrs().map_err(ClientError::Io)? {
            match TcpStream::connect_timeout(&addr, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let mut connection = RawConnection { stream, timeout, received: Vec::new() };
                    connection.set_timeout(timeout)?;
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(ClientError::Io(last))
    }

    /// Connects and opens a new session.
    pub fn open(
        addr: impl ToSocketAddrs,
        session_timeout_ms: i32,
        timeout: Duration,
    ) -> Result<(Self, ConnectResponse), ClientError> {
        let mut connection = RawConnection::connect(addr, timeout)?;
        let response = connection.handshake(&new_session_request(session_timeout_ms))?;
        Ok((connection, response))
    }

    /// How long each read and write may take from now on.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<(), ClientError> {
        self.timeout = timeout;
        // A zero timeout would mean "for ever" to the kernel.
        self.stream.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        Ok(())
    }

    /// How long each read and write may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The socket, for what is not offered here.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// This end's address.
    pub fn local_addr(&self) -> Result<SocketAddr, ClientError> {
        Ok(self.stream.local_addr()?)
    }

    /// Sends the bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends a length and the bytes.
    pub fn send_frame(&mut self, payload: &[u8]) -> Result<(), ClientError> {
        self.send_bytes(&frame(payload))
    }

    /// Sends a connect request with any content.
    pub fn send_connect(&mut self, request: &ConnectRequest) -> Result<(), ClientError> {
        self.send_frame(&request.to_bytes())
    }

    /// Sends a request header with any xid and operation, and a record. An operation without a record takes
    /// [`RawConnection::send_request_bytes`] with an empty slice.
    pub fn send_request(
        &mut self,
        xid: i32,
        op: i32,
        record: &impl Jute,
    ) -> Result<(), ClientError> {
        self.send_bytes(&request_frame(xid, op, &record.to_bytes()))
    }

    /// Sends a request header with any xid and operation, and any bytes behind it.
    pub fn send_request_bytes(
        &mut self,
        xid: i32,
        op: i32,
        body: &[u8],
    ) -> Result<(), ClientError> {
        self.send_bytes(&request_frame(xid, op, body))
    }

    /// Sends a ping; its reply has the xid [`PING_XID`].
    pub fn send_ping(&mut self) -> Result<(), ClientError> {
        self.send_request_bytes(PING_XID, OpCode::Ping.as_i32(), &[])
    }

    /// Sends an auth packet; its reply has the xid [`AUTH_XID`].
    pub fn send_auth(&mut self, scheme: &str, auth: &[u8]) -> Result<(), ClientError> {
        let packet = AuthPacket { op: 0, scheme: scheme.to_owned(), auth: Some(auth.into()) };
        self.send_request(AUTH_XID, OpCode::Auth.as_i32(), &packet)
    }

    /// Sends closeSession; its reply is the last frame before the server closes.
    pub fn send_close_session(&mut self, xid: i32) -> Result<(), ClientError> {
        self.send_request_bytes(xid, OpCode::CloseSession.as_i32(), &[])
    }

    /// Sends the connect request and reads its answer. A session id of 0 in the answer (the
    /// session is expired) is handed back as it came.
    pub fn handshake(&mut self, request: &ConnectRequest) -> Result<ConnectResponse, ClientError> {
        self.send_connect(request)?;
        self.read_connect_response()
    }

    /// Reads the answer to a connect request.
    pub fn read_connect_response(&mut self) -> Result<ConnectResponse, ClientError> {
        let payload = self.read_frame()?;
        Ok(ConnectResponse::decode(&mut Input::unbounded(&payload))?)
    }

    /// Reads the next frame, whatever it is, without its length.
    pub fn read_frame(&mut self) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            if let Some(prefix) = self.received.first_chunk::<4>() {
                let length = i32::from_be_bytes(*prefix);
                let bytes = usize::try_from(length)
                    .ok()
                    .filter(|bytes| *bytes <= FRAME_BYTES_MAX)
                    .ok_or(ClientError::FrameLength(length))?;
                if let Some(payload) = self.received.get(4..4 + bytes) {
                    let payload = payload.to_vec();
                    self.received.drain(..4 + bytes);
                    return Ok(payload);
                }
            }
            if self.receive(deadline)? == 0 {
                return Err(ClientError::Closed);
            }
        }
    }

    /// Reads the next reply or watch event.
    pub fn read_reply(&mut self) -> Result<Reply, ClientError> {
        let payload = self.read_frame()?;
        let mut input = Input::unbounded(&payload);
        let header = ReplyHeader::decode(&mut input)?;
        Ok(Reply { header, body: input.rest().to_vec() })
    }

    /// Sends a request and reads the next frame, which must be its reply.
    pub fn call(&mut self, xid: i32, op: OpCode, record: &impl Jute) -> Result<Reply, ClientError> {
        self.send_request(xid, op.as_i32(), record)?;
        let reply = self.read_reply()?;
        if reply.header.xid != xid {
            let found = reply.header.xid;
            return Err(ClientError::BadReply(format!("xid {found} in place of {xid}")));
        }
        Ok(reply)
    }

    /// Reads until the server closes the connection: four-letter words.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + self.timeout;
        while self.receive(deadline)? > 0 {}
        Ok(std::mem::take(&mut self.received))
    }

    /// Waits until the server has closed or reset the connection; any byte it sends before is an
    /// error.
    pub fn expect_closed(&mut self) -> Result<(), ClientError> {
        match self.read_to_end() {
            Ok(bytes) if bytes.is_empty() => Ok(()),
            Ok(bytes) => {
                Err(ClientError::BadReply(format!("{} bytes before the close", bytes.len())))
            }
            Err(ClientError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// True when nothing at all comes within `time`; false for bytes and for a close.
    pub fn stays_silent(&mut self, time: Duration) -> Result<bool, ClientError> {
        if !self.received.is_empty() {
            return Ok(false);
        }
        match self.receive(Instant::now() + time) {
            Err(ClientError::Timeout) => Ok(true),
            Ok(_) | Err(ClientError::Closed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says that nothing more will be sent (FIN); reading goes on.
    pub fn half_close(&mut self) -> Result<(), ClientError> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Closes with a FIN. Dropping does the same.
    pub fn close(self) {}

    /// Closes with a reset (RST), as a crashed machine's peer sees it.
    pub fn reset(self) -> Result<(), ClientError> {
        Ok(socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?)
    }

    /// Reads what is there, waiting until `deadline` for the first byte. 0 is the end.
    fn receive(&mut self, deadline: Instant) -> Result<usize, ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::Timeout);
        }
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(count) => {
                    self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Reply {
    /// The error code; `None` for a number that is no known code.
    pub fn code(&self) -> Option<Code> {
        Code::from_i32(self.header.err)
    }

    /// The record in the body, if the header says success.
    pub fn decode<T: Jute>(&self) -> Result<T, ClientError> {
        ClientError::check(self.header.err)?;
        Ok(T::decode(&mut Input::unbounded(&self.body))?)
    }

    /// The watch event, if this is one.
    pub fn event(&self) -> Result<Option<WatcherEvent>, ClientError> {
        if self.header.xid != EVENT_XID {
            return Ok(None);
        }
        Ok(Some(WatcherEvent::decode(&mut Input::unbounded(&self.body))?))
    }
}

/// The connect request of a client that wants a new session.
pub fn new_session_request(timeout_ms: i32) -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms,
        session_id: NO_SESSION,
        passwd: Some([0; 16][..].into()),
        read_only: Some(false),
    }
}

/// A length and the payload.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + payload.len());
    out.put_bytes(Some(payload));
    out
}

/// A whole frame: length, request header, body.
pub fn request_frame(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(12 + body.len());
    out.put_count(8 + body.len());
    RequestHeader { xid, op }.encode(&mut out);
    out.extend_from_slice(body);
    out
}

/// Sends a four-letter word and reads the whole answer (`FourLetterWordMain`).
pub fn four_letter_word(
    addr: impl ToSocketAddrs,
    word: &str,
    timeout: Duration,
) -> Result<String, ClientError> {
    let mut connection = RawConnection::connect(addr, timeout)?;
    connection.send_bytes(word.as_bytes())?;
    let answer = connection.read_to_end()?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A connection to a listener, and the listener's end of it.
    fn pair(timeout: Duration) -> (RawConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = thread::spawn(move || listener.accept().unwrap().0);
        (RawConnection::connect(addr, timeout).unwrap(), server.join().unwrap())
    }

    #[test]
    fn a_frame_that_comes_in_pieces_survives_a_timeout() {
        let (mut client, mut server) = pair(Duration::from_millis(30));
        server.write_all(&[0, 0, 0, 2, 7]).unwrap();
        assert!(matches!(client.read_frame(), Err(ClientError::Timeout)));
        server.write_all(&[8, 0, 0, 0, 0]).unwrap();
        client.set_timeout(SOON).unwrap();
        assert_eq!(client.read_frame().unwrap(), [7, 8]);
        assert_eq!(client.read_frame().unwrap(), [0u8; 0]);
    }

    #[test]
    fn requests_are_framed_as_in_java() {
        let (mut client, mut server) = pair(SOON);
        client.send_ping().unwrap();
        let mut bytes = [0; 12];
        server.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11]);
    }

    #[test]
    fn the_connect_request_has_forty_five_bytes_with_the_read_only_byte() {
        let mut request = new_session_request(4000);
        assert_eq!(request.to_bytes().len(), 45);
        request.read_only = None;
        assert_eq!(request.to_bytes().len(), 44);
    }

    #[test]
    fn a_close_is_told_from_silence_and_from_a_reply() {
        let (mut client, mut server) = pair(SOON);
        assert!(client.stays_silent(Duration::from_millis(10)).unwrap());
        server.write_all(&[0, 0, 0, 1, 9]).unwrap();
        assert!(!client.stays_silent(SOON).unwrap());
        assert_eq!(client.read_frame().unwrap(), [9]);
        drop(server);
        assert!(!client.stays_silent(SOON).unwrap());
        client.expect_closed().unwrap();
        assert!(matches!(client.read_frame(), Err(ClientError::Closed)));
    }

    #[test]
    fn impossible_lengths_are_reported() {
        let (mut client, mut server) = pair(SOON);
        server.write_all(&[0xff, 0, 0, 0]).unwrap();
        assert!(matches!(client.read_frame(), Err(ClientError::FrameLength(_))));
    }

    #[test]
    fn a_reset_reaches_the_server_as_one() {
        let (client, mut server) = pair(SOON);
        client.reset().unwrap();
        let error = server.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
