//! Clients that write and read while a test hurts the ensemble, and what they must find.
//!
//! Each writer has a node of its own, whose data counts its writes, and a session that it takes with
//! it from server to server. What is checked while it runs: a write that was acknowledged is seen by
//! every later read of the same client; an unanswered write may count or not, but never a write that
//! was not sent; after a sync no read is older than what any client had been acknowledged before it,
//! unless leaders sleep or are cut off.
//! Afterwards: no acknowledged write is lost, and no session has expired.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zabkeeper::client::{ClientError, SessionCredentials, ZooKeeper};
use zabkeeper::proto::{Acl, CreateMode, Zxid};

use crate::cluster::{Cluster, ELECTION_PATIENCE};

/// Long enough to outlive every election.
const SESSION_MS: i32 = 40_000;

/// What all clients share.
struct Board {
    servers: Vec<SocketAddr>,
    is_over: AtomicBool,
    /// By writer: the greatest number that was acknowledged.
    acknowledged: Vec<AtomicU64>,
    /// The longest time without an acknowledged write of one writer, ms.
    outage_ms: AtomicU64,
    expired: AtomicU64,
    /// Whether a sync is expected to see what others were told before it. A leader that was replaced
    /// and has not noticed yet, paused or cut off, answers a sync from its own past, as Java's does.
    is_sync_exact: bool,
}

/// Running clients.
pub struct Load {
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Writes that were acknowledged.
    pub writes: u64,
    /// The longest time that a writer waited for the next acknowledgement.
    pub outage: Duration,
    /// Sessions that were told to have expired.
    pub expired: u64,
}

impl Load {
    /// Starts `writers` clients, spread over the servers of `cluster`.
    pub fn start(cluster: &Cluster, writers: usize, is_sync_exact: bool) -> Load {
        let board = Arc::new(Board {
            servers: cluster.ids().map(|id| cluster.node(id).addr()).collect(),
            is_over: AtomicBool::new(false),
            acknowledged: (0..writers).map(|_| AtomicU64::new(0)).collect(),
            outage_ms: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            is_sync_exact,
        });
        let threads = (0..writers)
            .map(|index| {
                let board = Arc::clone(&board);
                thread::spawn(move || Writer::new(&board, index).run())
            })
            .collect();
        Load { board, threads }
    }

    /// Waits until every writer has been acknowledged this many further writes.
    pub fn await_progress(&self, cluster: &Cluster, writes: u64) {
        let read = || -> Vec<u64> {
            self.board.acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect()
        };
        let before = read();
        cluster.await_that("all writers make progress", || {
            let all_run = self.threads.iter().all(|thread| !thread.is_finished());
            assert!(all_run, "a client has failed: {}", cluster.report());
            read().iter().zip(&before).all(|(now, then)| *now >= then + writes).then_some(())
        });
    }

    /// Ends the clients, and reads everything through every server.
    pub fn finish(self, cluster: &Cluster) -> Outcome {
        self.board.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                eprintln!("{}", cluster.report());
                std::panic::resume_unwind(panic);
            }
        }
        for id in cluster.ids() {
            let mut client = cluster.node(id).client(20_000);
            client.sync("/").unwrap();
            for (index, count) in self.board.acknowledged.iter().enumerate() {
                let wanted = count.load(Ordering::SeqCst);
                let found = number(&mut client, index).unwrap();
                assert!(
                    found >= wanted,
                    "server {id}: writer {index} was told of {wanted}, {found} is there: {}",
                    cluster.report()
                );
            }
        }
        let counts = self.board.acknowledged.iter().map(|count| count.load(Ordering::SeqCst));
        Outcome {
            writes: counts.sum(),
            outage: Duration::from_millis(self.board.outage_ms.load(Ordering::SeqCst)),
            expired: self.board.expired.load(Ordering::SeqCst),
        }
    }
}

fn path(index: usize) -> String {
    format!("/writer{index}")
}

/// The number in the node of a writer; 0 without one.
fn number(client: &mut ZooKeeper, index: usize) -> Result<u64, ClientError> {
    match client.get(&path(index), false) {
        Ok((data, _)) => {
            let text =
                data.map_or(String::new(), |data| String::from_utf8_lossy(&data).into_owned());
            Ok(text.parse().unwrap())
        }
        Err(ClientError::Code(zabkeeper::proto::Code::NoNode)) => Ok(0),
        Err(error) => Err(error),
    }
}

struct Writer<'a> {
    board: &'a Board,
    index: usize,
    turn: usize,
    session: Option<SessionCredentials>,
    last_zxid: Zxid,
    /// The greatest number that was sent.
    sent: u64,
    last_success: Instant,
}

impl<'a> Writer<'a> {
    fn new(board: &'a Board, index: usize) -> Writer<'a> {
        Writer {
            board,
            index,
            turn: index,
            session: None,
            last_zxid: Zxid(0),
            sent: 0,
            last_success: Instant::now(),
        }
    }

    fn run(mut self) {
        while !self.board.is_over.load(Ordering::SeqCst) {
            assert!(
                self.last_success.elapsed() < ELECTION_PATIENCE * 2,
                "writer {}: no server takes a write any more",
                self.index
            );
            match self.connect() {
                Ok(mut client) => {
                    let result = self.work(&mut client);
                    self.last_zxid = self.last_zxid.max(client.last_zxid());
                    if result.is_ok() {
                        let _ = client.close();
                        return;
                    }
                }
                Err(ClientError::SessionExpired) => {
                    self.board.expired.fetch_add(1, Ordering::SeqCst);
                    self.session = None;
                }
                Err(_) => thread::park_timeout(Duration::from_millis(20)),
            }
            self.turn += 1;
        }
    }

    fn connect(&mut self) -> Result<ZooKeeper, ClientError> {
        let addr = self.board.servers[self.turn % self.board.servers.len()];
        let patience = Duration::from_secs(10);
        let client = match &self.session {
            None => ZooKeeper::connect(addr, SESSION_MS, patience)?,
            Some(session) => {
                ZooKeeper::reattach(addr, SESSION_MS, session, self.last_zxid, patience)?
            }
        };
        self.session = Some(client.credentials());
        Ok(client)
    }

    /// Writes and reads until it is over, or the connection is.
    fn work(&mut self, client: &mut ZooKeeper) -> Result<(), ClientError> {
        let own = &self.board.acknowledged[self.index];
        // What became of the last write of the connection before this one is seen now.
        client.sync("/")?;
        let found = number(client, self.index)?;
        let wanted = own.load(Ordering::SeqCst);
        assert!(
            (wanted..=self.sent).contains(&found),
            "writer {}: {found} is there, acknowledged {wanted}, sent {}",
            self.index,
            self.sent
        );
        own.fetch_max(found, Ordering::SeqCst);
        while !self.board.is_over.load(Ordering::SeqCst) {
            self.sent += 1;
            let text = self.sent.to_string();
            match client.set(&path(self.index), Some(text.as_bytes()), -1) {
                Ok(_) => {}
                Err(ClientError::Code(zabkeeper::proto::Code::NoNode)) => {
                    let acl = Acl::open_unsafe();
                    let mode = CreateMode::Persistent;
                    client.create(&path(self.index), Some(text.as_bytes()), &acl, mode)?;
                }
                Err(error) => return Err(error),
            }
            own.store(self.sent, Ordering::SeqCst);
            let waited = self.last_success.elapsed().as_millis() as u64;
            self.board.outage_ms.fetch_max(waited, Ordering::SeqCst);
            self.last_success = Instant::now();
            // Own writes are read, and others' that were acknowledged before a sync.
            assert_eq!(number(client, self.index)?, self.sent, "writer {}", self.index);
            if self.sent.is_multiple_of(8) {
                let other = (self.index + 1) % self.board.acknowledged.len();
                let wanted = self.board.acknowledged[other].load(Ordering::SeqCst);
                client.sync("/")?;
                let found = number(client, other)?;
                assert!(
                    found >= wanted || !self.board.is_sync_exact,
                    "stale: {found} of writer {other} after {wanted}, at {}",
                    self.board.servers[self.turn % self.board.servers.len()]
                );
            }
        }
        Ok(())
    }
}
