//! The thread of one connection: reads frames, hands requests on, sends what replies it made.
//!
//! Java's NIO workers do this for whichever connection is ready. Here a connection keeps its
//! thread: a read that nothing stands before is answered without any other thread.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connect;
use super::frame::{FrameReader, Next};
use super::outbox::Flush;
use super::server_cnxn::ServerCnxn;
use crate::common::time;
use crate::jute::{Input, JuteError};
use crate::proto::OpCode;
use crate::server::command::four_letter_commands::{self, Word};
use crate::server::server_slot::{ServerSlot, Serving};
use crate::server::server_stats::ServerStats;
use crate::server::zookeeper_server::ZooKeeperServer;

/// How long a client may take to receive the answer to a four-letter word, or the last reply
/// before we close.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How often a connection that sends its last replies looks whether the server is stopping: a role
/// of an ensemble's member waits for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long we wait for a client to take notice that we ended the connection.
const LINGER: Duration = Duration::from_millis(200);

/// A buffer for reply bodies up to this capacity is kept while waiting for requests.
const SCRATCH_BYTES_MAX: usize = 4096;

/// Why a connection ends (`DisconnectReason` and the messages of `NIOServerCnxn`).
#[derive(Debug)]
pub enum Disconnect {
    /// The client closed it, or we did.
    EndOfStream,
    /// No session in time.
    Sessionless,
    /// The length of a frame is negative or over `jute.maxbuffer`.
    Length(i32, i32),
    /// The connect packet or a header cannot be decoded.
    Malformed(JuteError),
    /// `largeRequestMaxBytes` would be exceeded.
    LargeRequest,
    /// The server is starting or stopping.
    NotRunning,
    /// The connection throttle.
    Throttled,
    /// The client has seen a later state than ours, or wants what this server does not give.
    Refused(String),
    /// Nothing more is read; what is unsent is sent first.
    AfterFlush,
    /// A four-letter word was answered.
    Probe,
    /// The socket.
    Io(std::io::Error),
}

impl From<JuteError> for Disconnect {
    fn from(error: JuteError) -> Self {
        Disconnect::Malformed(error)
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disconnect::EndOfStream => f.write_str(
                "Unable to read additional data from client, it probably closed the socket",
            ),
            Disconnect::Sessionless => f.write_str("no session was established in time"),
            Disconnect::Length(length, max) => write!(
                f,
                "Len error. A message with advertised length of {length} is either a malformed \
                 message or too large to process (length is greater than jute.maxbuffer={max}){}",
                foreign_protocol(*length).unwrap_or_default()
            ),
            Disconnect::Malformed(error) => write!(f, "malformed packet: {error}"),
            Disconnect::LargeRequest => f.write_str("Rejecting large request"),
            Disconnect::NotRunning => f.write_str("ZooKeeperServer not running"),
            Disconnect::Throttled => f.write_str("connection throttle"),
            Disconnect::Refused(message) => f.write_str(message),
            Disconnect::AfterFlush => f.write_str("closed by the server"),
            Disconnect::Probe => f.write_str("responded to info probe"),
            Disconnect::Io(error) => write!(f, "{error}"),
        }
    }
}

/// What else the first four bytes look like, for the one who reads the log.
fn foreign_protocol(length: i32) -> Option<&'static str> {
    let head = length.to_be_bytes();
    match &head {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" | b"DELE" | b"CONN" | b"PATC" | b"PRI " => {
            Some(": this looks like HTTP")
        }
        [0x16, 0x03, ..] => Some(": this looks like TLS"),
        b"SSH-" => Some(": this looks like SSH"),
        _ => None,
    }
}

/// The whole life of a connection, served by the server that was in the slot when it came, if any.
pub fn run(slot: &ServerSlot, serving: Option<Serving>, cnxn: &Arc<ServerCnxn>) {
    let mut ended = Ended { slot, serving, cnxn };
    let mut frames = FrameReader::default();
    let Err(reason) = converse(&mut ended, &mut frames);
    drop(frames);
    report(slot, cnxn, &reason);
    // Also when the session was closed, and the client has not taken its last replies yet.
    if let Some(server) = &ended.serving
        && (matches!(reason, Disconnect::AfterFlush) || cnxn.outbox().is_closing())
    {
        finish_sending(server, cnxn);
    }
}

/// Forgets a connection at the end of its thread's work, a panic included.
struct Ended<'a> {
    slot: &'a ServerSlot,
    serving: Option<Serving>,
    cnxn: &'a Arc<ServerCnxn>,
}

impl Ended<'_> {
    fn remove(&self) {
        match &self.serving {
            Some(server) => server.remove_cnxn(self.cnxn),
            None => self.slot.cnxns().remove(self.cnxn),
        }
    }
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.remove();
        self.cnxn.close();
    }
}

fn converse(
    ended: &mut Ended<'_>,
    frames: &mut FrameReader,
) -> Result<std::convert::Infallible, Disconnect> {
    let (slot, cnxn) = (ended.slot, ended.cnxn);
    let timeout_ms = u64::try_from(slot.config().nio_sessionless_cnxn_timeout_ms).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(timeout_ms.max(1));
    while frames.buffered().len() < 4 {
        fill_until(cnxn, frames, deadline)?;
    }
    if let Some(word) = frames.buffered().first_chunk().and_then(Word::from_bytes) {
        return Err(answer_word(ended, frames, word, deadline)?);
    }
    let server = ended.serving.as_deref().ok_or(Disconnect::NotRunning)?;
    handshake(server, cnxn, frames, deadline)?;
    serve_requests(server, cnxn, frames)
}

fn report(slot: &ServerSlot, cnxn: &ServerCnxn, reason: &Disconnect) {
    let metrics = slot.metrics();
    let (remote, session) = (cnxn.remote(), cnxn.session_id());
    match reason {
        // We closed it, and said why then; or a probe.
        Disconnect::AfterFlush | Disconnect::Probe => {}
        Disconnect::EndOfStream if cnxn.is_stale() || cnxn.outbox().lock().is_closed() => {}
        Disconnect::EndOfStream => {
            metrics.connection_drop_count.increment();
            log::info!("{reason}: address = /{remote}, session = {session}");
        }
        Disconnect::Sessionless => {
            metrics.sessionless_connections_expired.increment();
            log::info!("Closing connection from /{remote}: {reason}");
        }
        Disconnect::Throttled => {
            metrics.connection_rejected.increment();
            log::warn!("Closing session {session} of /{remote}: {reason}");
        }
        // All clients at once come again and again while a leader is looked for.
        Disconnect::NotRunning => slot
            .accept_errors()
            .rate_limit_log(&format!("Close of session {session}: {reason}"), None),
        Disconnect::Refused(message) => log::info!("{message}"),
        _ => log::warn!("Close of session {session} of /{remote}: {reason}"),
    }
}

/// Sends the last replies of a connection that is not read any more.
fn finish_sending(server: &ZooKeeperServer, cnxn: &Arc<ServerCnxn>) {
    cnxn.set_stale();
    cnxn.close_after_flush();
    flush(server, cnxn);
    let deadline = Instant::now() + LAST_WORDS;
    // The final processor may have taken it out of the table already, so that the one who stops the
    // server does not find it.
    while cnxn.outbox().is_closing() && server.is_running() && Instant::now() < deadline {
        cnxn.outbox().wait_until_closed(LOOK_AGAIN);
    }
}

/// Up to the connect request, answered by the time the session is made.
fn handshake(
    server: &Arc<ZooKeeperServer>,
    cnxn: &Arc<ServerCnxn>,
    frames: &mut FrameReader,
    deadline: Instant,
) -> Result<(), Disconnect> {
    let length = loop {
        if let Some(length) = next_frame(server, frames)? {
            break length;
        }
        fill_until(cnxn, frames, deadline)?;
    };
    cnxn.socket().set_read_timeout(None).map_err(Disconnect::Io)?;
    count_received(server, cnxn, length);
    connect::process_connect_request(server, cnxn, frames.frame(length))?;
    frames.advance(length);
    flush(server, cnxn);
    Ok(())
}

fn fill_until(
    cnxn: &ServerCnxn,
    frames: &mut FrameReader,
    deadline: Instant,
) -> Result<(), Disconnect> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Disconnect::Sessionless);
    }
    cnxn.socket().set_read_timeout(Some(left)).map_err(Disconnect::Io)?;
    fill(cnxn, frames)
}

fn fill(cnxn: &ServerCnxn, frames: &mut FrameReader) -> Result<(), Disconnect> {
    loop {
        return match frames.fill(&mut cnxn.socket()) {
            Ok(0) => Err(Disconnect::EndOfStream),
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Disconnect::Sessionless),
                ErrorKind::ConnectionReset => Err(Disconnect::EndOfStream),
                _ => Err(Disconnect::Io(error)),
            },
        };
    }
}

/// The length of the next whole frame, if it is there.
fn next_frame(
    server: &ZooKeeperServer,
    frames: &mut FrameReader,
) -> Result<Option<usize>, Disconnect> {
    let length_max = server.config().jute_maxbuffer;
    match frames.next(length_max) {
        Next::More => {
            if let Some(length) = frames.expected()
                && server.admission().check_request_size(length).is_err()
            {
                return Err(Disconnect::LargeRequest);
            }
            Ok(None)
        }
        Next::BadLength(length) => Err(Disconnect::Length(length, length_max)),
        Next::Frame(length) => {
            if !server.is_running() {
                return Err(Disconnect::NotRunning);
            }
            Ok(Some(length))
        }
    }
}

fn count_received(server: &ZooKeeperServer, cnxn: &ServerCnxn, length: usize) {
    cnxn.packet_received();
    server.stats().increment_packets_received();
    server.metrics().bytes_received_count.add(4 + length as i64);
}

fn serve_requests(
    server: &Arc<ZooKeeperServer>,
    cnxn: &Arc<ServerCnxn>,
    frames: &mut FrameReader,
) -> Result<std::convert::Infallible, Disconnect> {
    let mut scratch = Vec::new();
    loop {
        let Some(length) = next_frame(server, frames)? else {
            if scratch.capacity() > SCRATCH_BYTES_MAX {
                scratch = Vec::new();
            }
            // All that came in is answered or handed on: one send for it all, then wait for more.
            flush(server, cnxn);
            cnxn.outbox().wait_until_drained();
            fill(cnxn, frames)?;
            continue;
        };
        count_received(server, cnxn, length);
        let result = process_packet(server, cnxn, frames.frame(length), &mut scratch);
        frames.advance(length);
        result?;
        if cnxn.outbox().is_full() {
            // A few bytes of requests can ask for any amount of replies.
            flush(server, cnxn);
            cnxn.outbox().wait_until_drained();
        }
    }
}

/// `ZooKeeperServer.processPacket`.
fn process_packet(
    server: &Arc<ZooKeeperServer>,
    cnxn: &Arc<ServerCnxn>,
    frame: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<(), Disconnect> {
    cnxn.wait_until_established();
    let mut input = Input::new(frame, server.limits());
    let (xid, op) = (input.read_i32()?, input.read_i32()?);
    match OpCode::from_i32(op) {
        Some(OpCode::Auth) => connect::process_auth(server, cnxn, xid, &mut input),
        Some(OpCode::Sasl) => connect::process_sasl(server, cnxn, xid, &mut input),
        _ => server.submit_request(cnxn, xid, op, &mut input, time::elapsed_ms(), scratch),
    }
}

/// Sends what is unsent; what the socket does not take goes to a selector thread.
pub fn flush(server: &ZooKeeperServer, cnxn: &Arc<ServerCnxn>) {
    if cnxn.flush() == Flush::Blocked
        && let Some(selector) = server.selector(cnxn)
    {
        selector.continue_sending(Arc::clone(cnxn));
    }
}

/// Answers a four-letter word and closes.
fn answer_word(
    ended: &mut Ended<'_>,
    frames: &mut FrameReader,
    word: Word,
    deadline: Instant,
) -> Result<Disconnect, Disconnect> {
    let (slot, cnxn) = (ended.slot, ended.cnxn);
    let count = |stats: fn(&ServerStats), ended: &Ended<'_>| {
        if let Some(server) = &ended.serving {
            stats(server.stats());
        }
    };
    frames.consume(4);
    cnxn.packet_received();
    count(ServerStats::increment_packets_received, ended);
    slot.metrics().bytes_received_count.add(4);
    let mut mask = None;
    if word.takes_mask() && four_letter_commands::is_enabled(slot.config(), word) {
        while frames.buffered().len() < 8 {
            fill_until(cnxn, frames, deadline)?;
        }
        mask = frames.buffered().first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
    }
    let server = ended.serving.as_deref().map(|server| &**server);
    let answer = four_letter_commands::execute(server, slot.config(), cnxn, word, mask);
    let mut socket = cnxn.socket();
    let written = socket
        .set_write_timeout(Some(LAST_WORDS))
        .and_then(|()| socket.write_all(answer.as_bytes()));
    count(ServerStats::increment_packets_sent, ended);
    // Before the client sees the end: who asks again must not find this connection counted. From
    // here on the server is not needed, nor held up when its role ends.
    ended.remove();
    ended.serving = None;
    let result = written.and_then(|()| socket.shutdown(Shutdown::Write));
    if result.is_ok() {
        // A newline behind the word, left unread, would turn our close into a reset and could cost
        // the client the answer.
        let linger = Instant::now() + LINGER;
        frames.consume(usize::MAX);
        while fill_until(cnxn, frames, linger).is_ok() {
            frames.consume(usize::MAX);
        }
    }
    Ok(Disconnect::Probe)
}
