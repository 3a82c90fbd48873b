//! Elections over real sockets: several of ours in this process, ours and Java's servers, and
//! connections that mean no good. There are no roles behind the elections here: whoever is elected
//! only answers notifications.

mod hostile;
mod java;
mod ours;
mod raw;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use parking_lot::Mutex;
use zabkeeper::common::config::LearnerType;
use zabkeeper::common::exit_code::ExitCode;
use zabkeeper::common::thread::ServerListener;
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::proto::{ServerId, Zxid};
use zabkeeper::quorum::election::{ElectionPeer, ElectionSettings, FastLeaderElection};
use zabkeeper::quorum::verifier::{QuorumVerifier, VerifierOptions};
use zabkeeper::quorum::zab::{ServerState, Vote};

use crate::support::PATIENCE;

/// Ports are the same everywhere, because each test has a network of loopback addresses of its own.
pub const QUORUM_PORT: u16 = 2888;
pub const ELECTION_PORT: u16 = 3888;

/// A network of loopback addresses that nobody else uses: other processes that run these tests have
/// other numbers.
#[derive(Debug, Clone, Copy)]
pub struct Network(u8, u8);

impl Network {
    pub fn new() -> Network {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // 127.0 is where everybody else is.
        Network((process % 250 + 2) as u8, ((process / 250) * 40 + next) as u8)
    }

    pub fn host(self, sid: i64) -> String {
        format!("127.{}.{}.{sid}", self.0, self.1)
    }

    /// A configuration of voters and observers.
    pub fn config(self, voters: &[i64], observers: &[i64]) -> String {
        let line = |sid: &i64, role: &str| {
            format!("server.{sid}={}:{QUORUM_PORT}:{ELECTION_PORT}:{role}\n", self.host(*sid))
        };
        let voters = voters.iter().map(|sid| line(sid, "participant"));
        voters.chain(observers.iter().map(|sid| line(sid, "observer"))).collect()
    }
}

pub fn verifier(text: &str) -> Arc<QuorumVerifier> {
    let options = VerifierOptions { multi_address_enabled: true, ..VerifierOptions::default() };
    Arc::new(QuorumVerifier::from_config_text(text, &options).unwrap())
}

/// A server that does nothing but elect.
pub struct TestPeer {
    my_id: ServerId,
    settings: ElectionSettings,
    verifier: Arc<QuorumVerifier>,
    learner_type: LearnerType,
    state: Mutex<ServerState>,
    vote: Mutex<Vote>,
    zxid: AtomicI64,
    epoch: AtomicI64,
    is_running: AtomicBool,
    adopts_configs: bool,
    configs: Mutex<Vec<i64>>,
    looking: Mutex<Vec<ServerId>>,
    metrics: Arc<ServerMetrics>,
    /// The same as `deaths`, as the election wants it.
    listener: Arc<dyn ServerListener>,
    deaths: Arc<Deaths>,
}

#[derive(Default)]
pub struct Deaths(pub Mutex<Vec<(String, ExitCode)>>);

impl ServerListener for Deaths {
    fn notify_stopping(&self, thread: &str, code: ExitCode, _: &str) {
        self.0.lock().push((thread.to_owned(), code));
    }
}

impl TestPeer {
    pub fn new(sid: i64, config: &str) -> TestPeer {
        let verifier = verifier(config);
        let my_id = ServerId(sid);
        let learner_type =
            verifier.all_members().get(&my_id).map(|own| own.learner_type).unwrap_or_default();
        let deaths = Arc::new(Deaths::default());
        TestPeer {
            my_id,
            settings: ElectionSettings::default(),
            verifier,
            learner_type,
            state: Mutex::new(ServerState::Looking),
            vote: Mutex::new(Vote::looking(my_id, Zxid(0), 0, 0)),
            zxid: AtomicI64::new(0),
            epoch: AtomicI64::new(0),
            is_running: AtomicBool::new(true),
            adopts_configs: false,
            configs: Mutex::new(Vec::new()),
            looking: Mutex::new(Vec::new()),
            metrics: Arc::new(ServerMetrics::default()),
            listener: deaths.clone(),
            deaths,
        }
    }

    /// With a history.
    pub fn with(self, zxid: i64, epoch: i64) -> TestPeer {
        self.zxid.store(zxid, Ordering::SeqCst);
        self.epoch.store(epoch, Ordering::SeqCst);
        self
    }
}

impl ElectionPeer for TestPeer {
    fn my_id(&self) -> ServerId {
        self.my_id
    }
    fn election_settings(&self) -> &ElectionSettings {
        &self.settings
    }
    fn verifier_options(&self) -> VerifierOptions {
        VerifierOptions { multi_address_enabled: true, ..VerifierOptions::default() }
    }
    fn verifier(&self) -> Arc<QuorumVerifier> {
        Arc::clone(&self.verifier)
    }
    fn last_seen_verifier(&self) -> Option<Arc<QuorumVerifier>> {
        None
    }
    fn learner_type(&self) -> LearnerType {
        self.learner_type
    }
    fn server_state(&self) -> ServerState {
        *self.state.lock()
    }
    fn set_server_state(&self, state: ServerState) {
        *self.state.lock() = state;
    }
    fn current_vote(&self) -> Vote {
        *self.vote.lock()
    }
    fn set_current_vote(&self, vote: Vote) {
        *self.vote.lock() = vote;
    }
    fn last_logged_zxid(&self) -> Zxid {
        Zxid(self.zxid.load(Ordering::SeqCst))
    }
    fn current_epoch(&self) -> io::Result<i64> {
        Ok(self.epoch.load(Ordering::SeqCst))
    }
    fn on_config(&self, config: Arc<QuorumVerifier>) -> bool {
        self.configs.lock().push(config.version());
        self.adopts_configs
    }
    fn report_looking_sid(&self, sid: ServerId, _: bool) {
        self.looking.lock().push(sid);
    }
    fn is_running(&self) -> bool {
        self.is_running.load(Ordering::SeqCst)
    }
    fn metrics(&self) -> &Arc<ServerMetrics> {
        &self.metrics
    }
    fn listener(&self) -> &Arc<dyn ServerListener> {
        &self.listener
    }
}

/// A peer and its elections.
pub struct Node {
    pub peer: Arc<TestPeer>,
    pub election: Arc<FastLeaderElection>,
}

impl Node {
    pub fn start(peer: TestPeer) -> Node {
        // With RUST_LOG=debug the tests tell what happened; the first to start one wins.
        let _ = env_logger::builder().format_timestamp_millis().is_test(true).try_init();
        let peer = Arc::new(peer);
        let election = Arc::new(FastLeaderElection::start(peer.clone()).unwrap());
        Node { peer, election }
    }

    /// Begins to look for a leader, on a thread of its own as in a server.
    pub fn look(&self) -> Outcome {
        self.peer.set_server_state(ServerState::Looking);
        let (sender, receiver) = channel();
        let election = Arc::clone(&self.election);
        std::thread::spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send(election.look_for_leader());
        });
        Outcome(receiver)
    }

    pub fn state(&self) -> ServerState {
        self.peer.server_state()
    }
}

/// How an election will end.
pub struct Outcome(Receiver<Option<Vote>>);

impl Outcome {
    /// The vote it ends with.
    pub fn wait(&self) -> Option<Vote> {
        self.wait_for(PATIENCE).expect("the election ends")
    }

    pub fn wait_for(&self, limit: Duration) -> Option<Option<Vote>> {
        self.0.recv_timeout(limit).ok()
    }

    /// The leader it ends with.
    pub fn leader(&self) -> i64 {
        self.wait().expect("a leader").id.0
    }
}
