//! The proxy of `zabkeeper compare record`: stands between clients and a server, passes every byte
//! on at once and unchanged, and writes down each frame. No Java class.
//!
//! Threads: one accepts, two for each connection (one a direction), one writes the file. A frame is
//! handed to the writer before the bytes that complete it are passed on, so the order of the file is
//! an order of cause and effect over all connections: a request stands before its reply, and what a
//! client sent after it had seen a reply stands behind that reply.
//!
//! When the file cannot be written, the traffic goes on and the end of the recording is told.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::frame_splitter::{FrameSplitter, Piece};
use super::recording::{Kind, Record, RecordingWriter};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread};
use crate::common::time;

/// How long the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Records on their way to the file; beyond that the connections wait.
const RECORDS_MAX: usize = 1024;
/// Before the next try when the process is out of file descriptors.
const PAUSE_ACCEPT: Duration = Duration::from_millis(50);

/// A running proxy. Dropping it ends all connections and the recording.
pub struct RecordingProxy {
    addr: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    accept: Option<OwnedThread>,
    writer: Option<OwnedThread>,
    outcome: Receiver<io::Result<()>>,
}

/// What a recording has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Connections.
    pub connections: u64,
    /// Frames of both directions.
    pub frames: u64,
}

impl RecordingProxy {
    /// Listens at `listen`, passes on to `to` and records into the new file `out`.
    pub fn start(
        listen: impl ToSocketAddrs,
        to: impl ToSocketAddrs,
        out: &Path,
    ) -> io::Result<RecordingProxy> {
        let servers: Vec<SocketAddr> = to.to_socket_addrs()?.collect();
        let listener = Arc::new(TcpListener::bind(listen)?);
        let addr = listener.local_addr()?;
        let file = RecordingWriter::create(out, time::wall_ms())?;
        let (records, received) = bounded(RECORDS_MAX);
        let (outcome_sender, outcome) = bounded(1);
        let writer = thread::spawn("RecordWriter", thread::STACK_BYTES, move || {
            let _ = outcome_sender.send(write_all(file, &received)); // The proxy waits for it.
        })?;
        let shared = Arc::new(Shared {
            started: Instant::now(),
            servers,
            connections: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            open: Mutex::new(Rank::Leaf, Open::default()),
        });
        let (at, of) = (Arc::clone(&listener), Arc::clone(&shared));
        let accept = thread::spawn("RecordAccept", thread::STACK_BYTES, move || {
            accept_all(&at, &of, &records);
        })?;
        Ok(RecordingProxy {
            addr,
            listener,
            shared,
            accept: Some(accept),
            writer: Some(writer),
            outcome,
        })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was recorded so far.
    pub fn recorded(&self) -> Recorded {
        Recorded {
            connections: self.shared.connections.load(Ordering::Relaxed),
            frames: self.shared.frames.load(Ordering::Relaxed),
        }
    }

    /// Ends all connections, waits for the threads and for the disk. An error means that the file
    /// holds only the beginning.
    pub fn shutdown(mut self) -> io::Result<Recorded> {
        self.stop();
        let recorded = self.recorded();
        self.outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the writer has died")))?;
        Ok(recorded)
    }

    fn stop(&mut self) {
        let mut open = self.shared.open.lock();
        open.is_stopping = true;
        let sockets: Vec<Arc<TcpStream>> = open.sockets.values().flatten().cloned().collect();
        drop(open);
        // Ends a blocked `accept`.
        let _ = socket2::SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        for socket in sockets {
            let _ = socket.shutdown(Shutdown::Both); // It may have ended by itself.
        }
        drop(self.accept.take());
        // The last sender of records went with the threads.
        drop(self.writer.take());
    }
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shared {
    started: Instant,
    servers: Vec<SocketAddr>,
    /// Counted by the accepting thread.
    connections: AtomicU64,
    /// Counted by all; for progress only.
    frames: AtomicU64,
    open: Mutex<Open>,
}

/// The sockets to shut down at the end.
#[derive(Default)]
struct Open {
    is_stopping: bool,
    sockets: BTreeMap<u64, Vec<Arc<TcpStream>>>,
}

impl Shared {
    /// False when the proxy is ending: then nobody would shut the socket down.
    fn register(&self, connection: u64, socket: &Arc<TcpStream>) -> bool {
        let mut open = self.open.lock();
        if !open.is_stopping {
            open.sockets.entry(connection).or_default().push(Arc::clone(socket));
        }
        !open.is_stopping
    }

    fn forget(&self, connection: u64) {
        let gone = self.open.lock().sockets.remove(&connection);
        drop(gone);
    }

    fn is_stopping(&self) -> bool {
        self.open.lock().is_stopping
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address of the server");
        for server in &self.servers {
            match TcpStream::connect_timeout(server, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// One connection's way to the file.
#[derive(Clone)]
struct Notes {
    shared: Arc<Shared>,
    connection: u64,
    records: Sender<Record>,
}

impl Notes {
    fn note(&self, kind: Kind, payload: Vec<u8>) {
        let at_us = self.shared.started.elapsed().as_micros();
        let at_us = u64::try_from(at_us).unwrap_or(u64::MAX);
        if matches!(kind, Kind::ClientFrame | Kind::ServerFrame) {
            self.shared.frames.fetch_add(1, Ordering::Relaxed);
        }
        // The writer has given up: the traffic goes on, and `shutdown` tells.
        let _ = self.records.send(Record { kind, connection: self.connection, at_us, payload });
    }

    fn note_pieces(&self, from: End, pieces: impl IntoIterator<Item = Piece>) {
        for piece in pieces {
            match (from, piece) {
                (End::Client, Piece::Frame(bytes)) => self.note(Kind::ClientFrame, bytes),
                (End::Client, Piece::Bytes(bytes)) => self.note(Kind::ClientBytes, bytes),
                (End::Server, Piece::Frame(bytes)) => self.note(Kind::ServerFrame, bytes),
                (End::Server, Piece::Bytes(bytes)) => self.note(Kind::ServerBytes, bytes),
            }
        }
    }
}

/// Whose bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

fn write_all(
    mut file: RecordingWriter<std::fs::File>,
    records: &Receiver<Record>,
) -> io::Result<()> {
    while let Ok(first) = records.recv() {
        // What has come meanwhile goes with it.
        let mut batch = vec![first];
        batch.extend(records.try_iter().take(RECORDS_MAX));
        if let Err(error) = file.append(&batch) {
            log::error!("The recording ends here, the traffic goes on: {error}");
            return Err(error);
        }
    }
    file.sync()
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, records: &Sender<Record>) {
    let mut threads: Vec<OwnedThread> = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.is_stopping() {
            return;
        }
        threads.retain(|thread| !thread.is_finished());
        let client = match accepted {
            Ok((client, _)) => Arc::new(client),
            Err(error) => {
                log::warn!("A connection could not be accepted: {error}");
                std::thread::sleep(PAUSE_ACCEPT);
                continue;
            }
        };
        let connection = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let notes = Notes { shared: Arc::clone(shared), connection, records: records.clone() };
        if !shared.register(connection, &client) {
            return;
        }
        notes.note(Kind::Opened, Vec::new());
        let name = format!("RecordClient-{connection}");
        match thread::spawn(name, thread::STACK_BYTES, move || serve(client, notes)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                log::warn!("No thread for connection {connection}: {error}");
                shared.forget(connection);
            }
        }
    }
}

/// Both directions of a connection, until both have ended.
fn serve(client: Arc<TcpStream>, notes: Notes) {
    let connection = notes.connection;
    let shared = Arc::clone(&notes.shared);
    if let Err(error) = pass_on(&client, notes.clone()) {
        log::warn!("Connection {connection} has no server: {error}");
        notes.note(Kind::ServerClosed, Vec::new());
    }
    shared.forget(connection);
}

fn pass_on(client: &Arc<TcpStream>, notes: Notes) -> io::Result<()> {
    let server = Arc::new(notes.shared.connect()?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    if !notes.shared.register(notes.connection, &server) {
        return Ok(());
    }
    let is_word = Arc::new(AtomicBool::new(false));
    let name = format!("RecordServer-{}", notes.connection);
    let (from, to) = (Arc::clone(&server), Arc::clone(client));
    let (word, its_notes) = (Arc::clone(&is_word), notes.clone());
    let answers = thread::spawn(name, thread::STACK_BYTES, move || {
        pump(End::Server, &from, &to, &word, &its_notes);
    })?;
    pump(End::Client, client, &server, &is_word, &notes);
    answers.join();
    Ok(())
}

/// One direction, until it ends. The end is passed on as it came: a FIN ends one direction, a reset
/// both.
fn pump(end: End, from: &TcpStream, to: &TcpStream, is_word: &AtomicBool, notes: &Notes) {
    let mut splitter = FrameSplitter::new();
    let mut chunk = vec![0; 64 * 1024];
    let is_reset = loop {
        let bytes = match (&*from).read(&mut chunk) {
            Ok(0) => break false,
            Ok(count) => chunk.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break true,
        };
        // The client's word is known before the server has it, so before any byte of the answer.
        if end == End::Server && is_word.load(Ordering::Acquire) {
            splitter.make_raw();
        }
        let pieces = splitter.push(bytes);
        if end == End::Client && splitter.is_word() {
            is_word.store(true, Ordering::Release);
        }
        notes.note_pieces(end, pieces);
        if (&*to).write_all(bytes).is_err() {
            break true;
        }
    };
    notes.note_pieces(end, splitter.finish());
    let closed = if end == End::Client { Kind::ClientClosed } else { Kind::ServerClosed };
    notes.note(closed, Vec::new());
    if is_reset {
        // Closing with unsent bytes thrown away is a reset for the other end, too.
        let _ = socket2::SockRef::from(to).set_linger(Some(Duration::ZERO));
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    } else {
        let _ = to.shutdown(Shutdown::Write); // It may have ended by itself.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::recording::RecordingReader;

    fn bytes_until_end(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes); // A reset is an end as well.
        bytes
    }

    struct Stage {
        dir: tempfile::TempDir,
        server: TcpListener,
        proxy: RecordingProxy,
    }

    impl Stage {
        fn new() -> Stage {
            let dir = tempfile::tempdir().unwrap();
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = server.local_addr().unwrap();
            let out = dir.path().join("recording");
            let proxy = RecordingProxy::start("127.0.0.1:0", to, &out).unwrap();
            Stage { dir, server, proxy }
        }

        /// A client and the server's end of its connection.
        fn connect(&self) -> (TcpStream, TcpStream) {
            let client = TcpStream::connect(self.proxy.addr()).unwrap();
            (client, self.server.accept().unwrap().0)
        }

        /// The records without their times.
        fn end(self) -> Vec<(Kind, u64, Vec<u8>)> {
            self.proxy.shutdown().unwrap();
            RecordingReader::open(&self.dir.path().join("recording"))
                .unwrap()
                .map(|record| record.unwrap())
                .map(|record| (record.kind, record.connection, record.payload))
                .collect()
        }
    }

    #[test]
    fn frames_of_both_directions_pass_unchanged_and_are_recorded_in_their_order() {
        let stage = Stage::new();
        let (mut client, mut server) = stage.connect();
        client.write_all(b"\0\0\0\x02hi\0\0").unwrap();
        let mut seen = [0; 8];
        // Half a length is passed on as well.
        server.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"\0\0\0\x02hi\0\0");
        server.write_all(b"\0\0\0\x01y").unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        client.write_all(b"\0\x01z").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bytes_until_end(&mut server), b"\0\x01z");
        drop(server);
        assert_eq!(bytes_until_end(&mut client), b"");
        let expected: Vec<(Kind, u64, Vec<u8>)> = vec![
            (Kind::Opened, 1, vec![]),
            (Kind::ClientFrame, 1, b"hi".to_vec()),
            (Kind::ServerFrame, 1, b"y".to_vec()),
            (Kind::ClientFrame, 1, b"z".to_vec()),
            (Kind::ClientClosed, 1, vec![]),
            (Kind::ServerClosed, 1, vec![]),
        ];
        assert_eq!(stage.end(), expected);
    }

    #[test]
    fn words_and_their_answers_are_raw() {
        let stage = Stage::new();
        let (mut client, mut server) = stage.connect();
        client.write_all(b"ruok").unwrap();
        let mut word = [0; 4];
        server.read_exact(&mut word).unwrap();
        server.write_all(b"imok").unwrap();
        drop(server);
        assert_eq!(bytes_until_end(&mut client), b"imok");
        drop(client);
        let records = stage.end();
        assert!(records.contains(&(Kind::ClientBytes, 1, b"ruok".to_vec())), "{records:?}");
        assert!(records.contains(&(Kind::ServerBytes, 1, b"imok".to_vec())), "{records:?}");
    }

    #[test]
    fn a_reset_reaches_the_other_end() {
        let stage = Stage::new();
        let (mut client, server) = stage.connect();
        socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(bytes_until_end(&mut client), b"");
        drop(client);
        let kinds: Vec<Kind> = stage.end().into_iter().map(|(kind, ..)| kind).collect();
        assert!(kinds.contains(&Kind::ServerClosed), "{kinds:?}");
    }

    #[test]
    fn a_server_that_is_not_there_closes_the_connection() {
        let dir = tempfile::tempdir().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let out = dir.path().join("recording");
        let proxy = RecordingProxy::start("127.0.0.1:0", gone, &out).unwrap();
        let mut client = TcpStream::connect(proxy.addr()).unwrap();
        assert_eq!(bytes_until_end(&mut client), b"");
        assert_eq!(proxy.shutdown().unwrap(), Recorded { connections: 1, frames: 0 });
    }

    #[test]
    fn the_end_of_the_proxy_ends_open_connections() {
        let stage = Stage::new();
        let (mut client, mut server) = stage.connect();
        client.write_all(b"\0\0\0\x02h").unwrap();
        let mut seen = [0; 5];
        server.read_exact(&mut seen).unwrap();
        let records = stage.end();
        assert_eq!(bytes_until_end(&mut client), b"");
        assert!(records.contains(&(Kind::ClientBytes, 1, b"\0\0\0\x02h".to_vec())), "{records:?}");
    }
}
