//! Opens many sessions, and closes them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::client::{frame, new_session_request, request_frame};
use crate::jute::{Input, Jute};
use crate::proto::OpCode;
use crate::proto::messages::ConnectResponse;

/// Sessions that are asked for at once: below the default backlog of 50 of Java's server.
const BATCH: usize = 32;
/// How long a server may take to accept and to open a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait for the sessions to be closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer answers to a connect request are garbage.
const CONNECT_RESPONSE_BYTES_MAX: usize = 1024;

/// An open session.
#[derive(Debug)]
pub struct OpenSession {
    /// Its connection, blocking, with a read timeout.
    pub stream: TcpStream,
    /// The timeout that the server granted.
    pub timeout_ms: i32,
}

/// Lifts the limit of open files to what the system allows: many sessions need many.
pub fn lift_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If it fails, opening the sessions will say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Opens `count` sessions, spread over the servers.
pub fn open_sessions(
    servers: &[SocketAddr],
    count: usize,
    timeout_ms: i32,
) -> anyhow::Result<Vec<OpenSession>> {
    let request = frame(&new_session_request(timeout_ms).to_bytes());
    let mut sessions = Vec::with_capacity(count);
    let mut servers = servers.iter().cycle();
    while sessions.len() < count {
        let mut batch = Vec::new();
        for _ in 0..BATCH.min(count - sessions.len()) {
            let server = servers.next().context("no servers")?;
            let mut stream = TcpStream::connect_timeout(server, OPEN_TIMEOUT)
                .with_context(|| format!("connecting session {} to {server}", sessions.len()))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(OPEN_TIMEOUT))?;
            stream.set_write_timeout(Some(OPEN_TIMEOUT))?;
            stream.write_all(&request)?;
            batch.push(stream);
        }
        for mut stream in batch {
            let response = read_connect_response(&mut stream)
                .with_context(|| format!("opening session {}", sessions.len()))?;
            ensure!(response.session_id != 0, "the server refused a session");
            sessions.push(OpenSession { stream, timeout_ms: response.timeout_ms });
        }
    }
    Ok(sessions)
}

/// Closes sessions; connections that broke, or that do not answer, are just dropped.
pub fn close_sessions(streams: Vec<TcpStream>) {
    let request = request_frame(i32::MAX, OpCode::CloseSession.as_i32(), &[]);
    let mut asked = Vec::new();
    for mut stream in streams {
        let sent = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(CLOSE_TIMEOUT)))
            .and_then(|()| stream.write_all(&request));
        if sent.is_ok() {
            asked.push(stream);
        }
    }
    let mut rest = [0; 4096];
    for mut stream in asked {
        while matches!(stream.read(&mut rest), Ok(count) if count > 0) {}
    }
}

fn read_connect_response(stream: &mut TcpStream) -> anyhow::Result<ConnectResponse> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix)?;
    let length = usize::try_from(i32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    ensure!(length <= CONNECT_RESPONSE_BYTES_MAX, "an answer of {length} bytes");
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(ConnectResponse::decode(&mut Input::unbounded(&payload))?)
}
