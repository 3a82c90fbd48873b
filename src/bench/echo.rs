//! The least a server can do: read frames, answer each with as many bytes as ZooKeeper would,
//! thread per connection, one read and one write per wake-up. With a log: one thread writes what
//! has arrived, syncs once, and then answers all of it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use super::sync_file::SyncFile;
use crate::client::NO_SESSION;
use crate::jute::{Input, Jute, OutputExt};
use crate::proto::messages::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use crate::proto::{OpCode, Stat};

/// Enough for the loop below.
const STACK_BYTES: usize = 128 * 1024;
/// Longer frames are no request of the generator.
const FRAME_BYTES_MAX: usize = 1 << 24;

/// The server; it stops when dropped.
pub struct EchoServer {
    addr: SocketAddr,
    is_stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// Requests of one connection that wait for the sync.
struct Batch {
    stream: Arc<TcpStream>,
    requests: Vec<u8>,
    replies: Vec<u8>,
    closes: bool,
}

/// What each answer looks like.
#[derive(Debug, Clone)]
struct Answers {
    data: Arc<[u8]>,
}

impl EchoServer {
    /// Listens on a free port of this machine. Gets are answered with `size` bytes of data.
    pub fn start(size: usize, log_dir: Option<&Path>) -> io::Result<EchoServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let sync = match log_dir {
            Some(dir) => Some(start_sync_thread(SyncFile::create(dir, true)?)?),
            None => None,
        };
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&is_stopping);
        let answers = Answers { data: super::requests::data(size) };
        let acceptor = spawn("echo-accept", move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let (answers, sync) = (answers.clone(), sync.clone());
                if let Ok(stream) = stream {
                    // Ends when the client closes; a connection without a thread is dropped.
                    let _ = spawn("echo", move || {
                        let _ = serve(Arc::new(stream), &answers, sync.as_ref());
                    });
                }
            }
        })?;
        Ok(EchoServer { addr, is_stopping, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then looks at the flag.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body)
}

fn serve(
    stream: Arc<TcpStream>,
    answers: &Answers,
    sync: Option<&Sender<Batch>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    let mut replies = Vec::new();
    let mut has_session = false;
    loop {
        let count = (&*stream).read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let (used, closes) = answers.answer(&received, &mut has_session, &mut replies)?;
        match sync {
            Some(sync) if used > 0 => {
                let requests = received.get(..used).unwrap_or_default().to_vec();
                let replies = std::mem::take(&mut replies);
                let batch = Batch { stream: Arc::clone(&stream), requests, replies, closes };
                if sync.send(batch).is_err() {
                    return Ok(());
                }
            }
            _ => {
                (&*stream).write_all(&replies)?;
                replies.clear();
                if closes {
                    return Ok(());
                }
            }
        }
        received.drain(..used);
    }
}

fn start_sync_thread(mut file: SyncFile) -> io::Result<Sender<Batch>> {
    let (sender, receiver): (Sender<Batch>, Receiver<Batch>) = crossbeam_channel::unbounded();
    spawn("echo-sync", move || {
        let mut log = Vec::new();
        while let Ok(first) = receiver.recv() {
            let batches: Vec<Batch> = std::iter::once(first).chain(receiver.try_iter()).collect();
            log.clear();
            for batch in &batches {
                log.extend_from_slice(&batch.requests);
            }
            if file.append(&log).is_err() {
                return;
            }
            for batch in batches {
                // A client that is gone needs no answer.
                let _ = (&*batch.stream).write_all(&batch.replies);
                if batch.closes {
                    let _ = batch.stream.shutdown(std::net::Shutdown::Both);
                }
            }
        }
    })?;
    Ok(sender)
}

impl Answers {
    /// Answers the whole frames in `received`: how many bytes they were, and whether the last
    /// of them closes the session.
    fn answer(
        &self,
        received: &[u8],
        has_session: &mut bool,
        replies: &mut Vec<u8>,
    ) -> io::Result<(usize, bool)> {
        let mut rest = received;
        let mut closes = false;
        while let Some((prefix, behind)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
            if length > FRAME_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some((frame, next)) = behind.split_at_checked(length) else { break };
            rest = next;
            let mut input = Input::unbounded(frame);
            let start = replies.len();
            replies.put_i32(0);
            if *has_session {
                let header = RequestHeader::decode(&mut input).map_err(io::Error::other)?;
                closes = header.op == OpCode::CloseSession.as_i32();
                self.reply(header, replies);
            } else {
                let request = ConnectRequest::decode(&mut input).map_err(io::Error::other)?;
                *has_session = true;
                connect_response(&request).encode(replies);
            }
            let length = (replies.len() - start - 4) as i32;
            if let Some(hole) = replies.get_mut(start..start + 4) {
                hole.copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok((received.len() - rest.len(), closes))
    }

    fn reply(&self, header: RequestHeader, out: &mut Vec<u8>) {
        ReplyHeader { xid: header.xid, zxid: 1, err: 0 }.encode(out);
        match OpCode::from_i32(header.op) {
            Some(OpCode::GetData) => {
                out.put_bytes(Some(&self.data));
                Stat::default().encode(out);
            }
            Some(OpCode::SetData) => Stat::default().encode(out),
            Some(OpCode::Create) => out.put_str("/zabkeeper-bench/create/s0000/n00000000"),
            _ => {}
        }
    }
}

fn connect_response(request: &ConnectRequest) -> ConnectResponse {
    ConnectResponse {
        protocol_version: 0,
        timeout_ms: request.timeout_ms,
        session_id: request.session_id.max(NO_SESSION + 1),
        passwd: [0; 16],
        read_only: request.read_only,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::ZooKeeper;

    fn check(log_dir: Option<&Path>) {
        let server = EchoServer::start(100, log_dir).unwrap();
        let mut zk = ZooKeeper::connect(server.addr(), 4000, Duration::from_secs(10)).unwrap();
        assert_eq!(zk.get("/any", false).unwrap().0.unwrap().len(), 100);
        zk.set("/any", Some(b"x"), -1).unwrap();
        zk.ping().unwrap();
        zk.close().unwrap();
    }

    #[test]
    fn the_echo_server_answers_like_zookeeper() {
        check(None);
    }

    #[test]
    fn with_a_log_too() {
        let dir = tempfile::tempdir().unwrap();
        check(Some(dir.path()));
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "the log has no name from the start");
    }
}
