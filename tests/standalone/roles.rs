//! The parts of a server put together as an ensemble's member does: roles that follow each other
//! over one database, and a chain whose commits come from elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use tempfile::TempDir;
use zabkeeper::auth::{AclPolicy, AuthenticationHelper, EnforceAuthSettings, ProviderRegistry};
use zabkeeper::client::{RawConnection, ZooKeeper, four_letter_word, new_session_request};
use zabkeeper::common::config::ServerConfig;
use zabkeeper::common::exit_code::ExitCode;
use zabkeeper::common::linked_blocking_queue;
use zabkeeper::common::thread::ServerListener;
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::persistence::disk::RealDisk;
use zabkeeper::persistence::{FileTxnSnapLog, SnapLogOptions};
use zabkeeper::proto::messages::{GetDataRequest, SetDataRequest, SyncRequest};
use zabkeeper::proto::txn::{CreateSessionTxn, CreateTxn, ErrorTxn, SetDataTxn};
use zabkeeper::proto::{
    Acl, Code, CreateMode, OpCode, SessionId, Txn, TxnHeader, TxnLogEntry, Zxid,
};
use zabkeeper::quorum::commit_processor::{Commit, CommitProcessor};
use zabkeeper::server::cnxn::accept_thread::bind_client_port;
use zabkeeper::server::cnxn::server_cnxn::ServerCnxn;
use zabkeeper::server::cnxn::server_cnxn_factory::ServerCnxnFactory;
use zabkeeper::server::committed_log::CommittedLog;
use zabkeeper::server::final_request_processor::FinalRequestProcessor;
use zabkeeper::server::prep::{PrepOptions, PrepState};
use zabkeeper::server::prep_request_processor;
use zabkeeper::server::request::Request;
use zabkeeper::server::request_body::RequestBody;
use zabkeeper::server::request_processor::RequestProcessor;
use zabkeeper::server::restore;
use zabkeeper::server::server_role::{Revalidation, ServerRole};
use zabkeeper::server::snapshot_taker::SnapshotTaker;
use zabkeeper::server::stage::Stage;
use zabkeeper::server::sync_request_processor::{self, SyncStage};
use zabkeeper::server::zk_database::ZkDatabase;
use zabkeeper::server::zookeeper_server::{Parts, State, ZooKeeperServer};
use zabkeeper::session::{SessionTrackerImpl, SessionTrackerSettings, password};

use crate::support::PATIENCE;

struct Listener;

impl ServerListener for Listener {
    fn notify_stopping(&self, thread: &str, _: ExitCode, why: &str) {
        panic!("{thread}: {why}");
    }
}

fn listener() -> Arc<dyn ServerListener> {
    Arc::new(Listener)
}

/// What lives as long as a member's process.
struct Process {
    _directory: TempDir,
    factory: ServerCnxnFactory,
    address: SocketAddr,
    db: Arc<ZkDatabase>,
    snap_log: Option<FileTxnSnapLog>,
}

impl Process {
    fn start(change: impl FnOnce(&mut ServerConfig)) -> Process {
        let directory = TempDir::with_prefix("zabkeeper-test-").unwrap();
        let mut config = ServerConfig {
            client_port: Some(0),
            client_port_address: Some(Ipv4Addr::LOCALHOST.into()),
            four_lw_commands_whitelist: Some("*".into()),
            ..ServerConfig::default()
        };
        change(&mut config);
        let (config, metrics) = (Arc::new(config), Arc::new(ServerMetrics::default()));
        let path = directory.path();
        let options = SnapLogOptions::default();
        let mut snap_log = FileTxnSnapLog::new(Arc::new(RealDisk), path, path, options).unwrap();
        let restored = restore::restore(&mut snap_log, &config, &metrics).unwrap();
        let db = ZkDatabase::new(restored.tree, restored.sessions)
            .with_committed_log(CommittedLog::new(500));
        let mut factory = ServerCnxnFactory::new(&config, &metrics).unwrap();
        let socket = bind_client_port(&config).unwrap().unwrap();
        let address = factory.listen(socket).unwrap();
        Process {
            _directory: directory,
            factory,
            address,
            db: Arc::new(db),
            snap_log: Some(snap_log),
        }
    }

    fn server(&self, role: impl ServerRole + 'static) -> Arc<ZooKeeperServer> {
        let slot = self.factory.slot();
        let (config, metrics) = (slot.config(), slot.metrics_arc());
        let providers = Arc::new(ProviderRegistry::new(&(&**config).into(), &metrics).unwrap());
        let enforced = EnforceAuthSettings::from(&**config);
        let settings = SessionTrackerSettings { tick_time_ms: 2000, server_id: role.server_id() };
        let tracker = Arc::new(SessionTrackerImpl::new(settings, self.db.sessions(), metrics));
        ZooKeeperServer::new(Parts {
            slot: Arc::clone(slot),
            role: Arc::new(role),
            snap_dir: config.data_dir.clone(),
            log_dir: config.data_dir.clone(),
            db: Arc::clone(&self.db),
            tracker,
            auth_helper: AuthenticationHelper::new(&enforced, &providers).unwrap(),
            acl_policy: AclPolicy::new(providers, false),
        })
    }

    fn word(&self, word: &str) -> String {
        four_letter_word(self.address, word, PATIENCE).unwrap()
    }

    fn client(&self) -> ZooKeeper {
        ZooKeeper::connect(self.address, 10_000, PATIENCE).unwrap()
    }
}

/// A leader whose quorum is itself.
struct Alone;

impl ServerRole for Alone {
    fn state(&self) -> &'static str {
        "leader"
    }
    fn server_id(&self) -> i64 {
        7
    }
    fn srvr_lines(&self, out: &mut String) {
        out.push_str("Proposal sizes last/min/max: 1/2/3\n");
    }
    fn dump_monitor_values(&self, sink: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        sink("peer_state", &"leading - broadcast");
    }
}

/// `ProposalRequestProcessor`: to the commit processor first, then to the log.
struct Propose(Arc<CommitProcessor>, Arc<SyncStage>);

impl RequestProcessor for Propose {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let mut to_log: Vec<_> = requests
            .iter()
            .filter_map(|request| request.entry.clone())
            .map(|entry| Box::new(Request::from_txn(entry, 0)))
            .collect();
        self.0.process_requests(requests);
        self.1.process_requests(&mut to_log);
    }
    fn shutdown(&self) {
        self.1.shutdown();
        self.0.shutdown();
    }
}

/// `AckRequestProcessor`, with a quorum of one.
struct Ack(Arc<CommitProcessor>);

impl RequestProcessor for Ack {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        self.0.commit(requests.drain(..).filter_map(|request| request.entry).map(Commit::Txn));
    }
    fn shutdown(&self) {}
}

struct Leading {
    server: Arc<ZooKeeperServer>,
    prep: Stage,
    sync: Arc<SyncStage>,
}

impl Leading {
    fn start(process: &mut Process) -> Leading {
        let server = process.server(Alone);
        let log = process.snap_log.take().unwrap();
        let snapshots = SnapshotTaker::new(Arc::clone(log.snap_log()), listener());
        let last = Arc::new(FinalRequestProcessor::new(Arc::clone(&server)));
        let commit = CommitProcessor::start(&server, &listener(), false, last).unwrap();
        let commit = Arc::new(commit);
        let ack = Arc::new(Ack(Arc::clone(&commit)));
        let sync = sync_request_processor::start(&server, &listener(), log, snapshots, ack);
        let sync = Arc::new(sync.unwrap());
        let options = PrepOptions {
            enforce_quota: false,
            close_session_txn_enabled: true,
            reconfig_enabled: false,
            max_buffer: 1 << 20,
        };
        let state = PrepState::new(server.db().last_processed_zxid(), options);
        let propose = Arc::new(Propose(commit, Arc::clone(&sync)));
        let prep = prep_request_processor::start(&server, &listener(), state, propose).unwrap();
        server.start_intake(prep.sender().unwrap());
        process.factory.slot().set_server(Arc::clone(&server));
        Leading { server, prep, sync }
    }

    fn shutdown(self, process: &mut Process) {
        self.server.set_state(State::Shutdown);
        self.server.stop_admission();
        process.factory.slot().clear();
        self.server.stop_intake();
        self.prep.shutdown();
        process.snap_log = Some(self.sync.take_log().unwrap());
    }
}

fn check_closed(address: SocketAddr) {
    let mut connection = RawConnection::connect(address, PATIENCE).unwrap();
    connection.send_connect(&new_session_request(10_000)).unwrap();
    connection.expect_closed().unwrap();
}

#[test]
fn without_a_server_only_words_are_answered() {
    let process = Process::start(|_| {});
    let not_serving = "This ZooKeeper instance is not currently serving requests";
    for word in ["srvr", "stat", "mntr", "cons", "dump", "conf", "wchs", "dirs", "srst", "crst"] {
        assert_eq!(process.word(word), format!("{not_serving}\n"), "{word}");
    }
    assert_eq!(process.word("hash"), not_serving);
    assert_eq!(process.word("ruok"), "imok");
    assert_eq!(process.word("isro"), "null");
    assert_eq!(process.word("gtmk"), "306");
    assert!(process.word("envi").starts_with("Environment:\nzookeeper.version="));
    check_closed(process.address);
    process.factory.shutdown();
}

#[test]
fn roles_follow_each_other_over_one_database() {
    let mut process = Process::start(|config| config.max_client_cnxns = 3);
    let acl = Acl::open_unsafe();
    let mut last_zxid = Zxid(0);
    for round in 0..3 {
        let role = Leading::start(&mut process);
        let mut clients: Vec<_> = (0..2).map(|_| process.client()).collect();
        let name = format!("/role-{round}");
        clients[0].create(&name, Some(b"x"), &acl, CreateMode::Persistent).unwrap();
        // Refused, and a transaction all the same.
        assert!(clients[1].create(&name, None, &acl, CreateMode::Persistent).is_err());
        for earlier in 0..=round {
            let (data, stat) = clients[1].get(&format!("/role-{earlier}"), false).unwrap();
            assert_eq!(data.as_deref(), Some(b"x".as_slice()));
            assert_eq!(stat.czxid > last_zxid.0, earlier == round);
        }
        assert_eq!(clients[0].session_id().0 >> 56, 7);
        last_zxid = process.db.last_processed_zxid();
        // Two sessions, a node and a refusal in each round.
        assert_eq!(last_zxid, Zxid(4 * (round + 1)));
        let committed = process.db.committed_log().read();
        assert_eq!((committed.min_zxid(), committed.max_zxid()), (Zxid(1), last_zxid));
        drop(committed);
        let srvr = process.word("srvr");
        assert!(srvr.contains("\nConnections: 3\n"), "limits count right: {srvr}");
        assert!(srvr.contains("\nMode: leader\n"), "{srvr}");
        assert!(srvr.ends_with("Proposal sizes last/min/max: 1/2/3\n"), "{srvr}");
        let mntr = process.word("mntr");
        let expected = "\nzk_server_state\tleader\nzk_peer_state\tleading - broadcast\n";
        assert!(mntr.contains(expected), "{mntr}");
        assert!(process.word("conf").contains("\nserverId=7\n"));

        role.shutdown(&mut process);
        for client in &mut clients {
            client.raw().expect_closed().unwrap();
        }
        assert!(process.factory.slot().cnxns().is_empty(), "their threads have forgotten them");
        assert!(process.word("srvr").starts_with("This ZooKeeper instance is not"));
        check_closed(process.address);
        let log = process.snap_log.as_ref().unwrap();
        assert_eq!(log.last_logged_zxid().unwrap(), last_zxid, "everything is in the log");
    }
    process.factory.shutdown();
}

/// A follower's server, whose leader is the test.
struct Following;

impl ServerRole for Following {
    fn state(&self) -> &'static str {
        "follower"
    }
    fn forwards_sync(&self) -> bool {
        true
    }
}

/// `FollowerRequestProcessor`: to the commit processor first, then to the leader.
struct Follower {
    server: Arc<ZooKeeperServer>,
    commit: Arc<CommitProcessor>,
    thread: std::thread::JoinHandle<()>,
    forwarded: Receiver<(SessionId, i32, OpCode, Vec<u8>)>,
    last_zxid: i64,
}

impl Follower {
    fn start(process: &Process) -> Follower {
        let server = process.server(Following);
        let last = Arc::new(FinalRequestProcessor::new(Arc::clone(&server)));
        let commit = CommitProcessor::start(&server, &listener(), true, last).unwrap();
        let commit = Arc::new(commit);
        let (first, requests) = linked_blocking_queue::unbounded::<Box<Request>>();
        let (forward, forwarded) = unbounded();
        let to_commit = Arc::clone(&commit);
        let thread = std::thread::spawn(move || {
            while let Ok(request) = requests.recv() {
                let op = request.body.op_code().unwrap();
                let packet = (request.session_id, request.cxid, op, request.bytes.clone());
                let is_forwarded = request.needs_commit(true);
                to_commit.process_requests(&mut vec![request]);
                if is_forwarded {
                    let _ = forward.send(packet); // The test has seen enough.
                }
            }
        });
        server.start_intake(first);
        process.factory.slot().set_server(Arc::clone(&server));
        Follower { server, commit, thread, forwarded, last_zxid: 0 }
    }

    fn next_forwarded(&self) -> (SessionId, i32, OpCode, Vec<u8>) {
        self.forwarded.recv_timeout(PATIENCE).unwrap()
    }

    fn commit(&mut self, client_id: SessionId, cxid: i32, txn: Txn) {
        self.last_zxid += 1;
        let zxid = Zxid(self.last_zxid);
        let txn_type = txn.op_code().as_i32();
        let header = TxnHeader { client_id, cxid, zxid, time: 0, txn_type };
        let entry = Arc::new(TxnLogEntry::new(header, txn, None));
        self.commit.commit([Commit::Txn(entry)]);
    }

    /// A connected client, with its session committed.
    fn client(&mut self, process: &Process) -> (RawConnection, SessionId) {
        let mut client = RawConnection::connect(process.address, PATIENCE).unwrap();
        client.send_connect(&new_session_request(10_000)).unwrap();
        let (session, cxid, op, bytes) = self.next_forwarded();
        assert_eq!((cxid, op, bytes), (0, OpCode::CreateSession, 10_000i32.to_be_bytes().into()));
        self.commit(session, 0, Txn::CreateSession(CreateSessionTxn { timeout_ms: 10_000 }));
        assert_eq!(client.read_connect_response().unwrap().session_id, session.0);
        (client, session)
    }

    fn shutdown(self, process: &Process) {
        self.server.set_state(State::Shutdown);
        self.server.stop_admission();
        process.factory.slot().clear();
        self.server.stop_intake();
        self.thread.join().unwrap();
        self.commit.shutdown();
    }
}

fn get(path: &str) -> GetDataRequest {
    GetDataRequest { path: path.into(), watch: false }
}

fn set(path: &str) -> SetDataRequest {
    SetDataRequest { path: path.into(), data: Some(b"new".as_slice().into()), version: -1 }
}

fn set_txn(path: &str) -> Txn {
    Txn::SetData(SetDataTxn { path: path.into(), data: Some(b"new".as_slice().into()), version: 1 })
}

fn check_reply(client: &mut RawConnection, xid: i32, code: Code) {
    let header = client.read_reply().unwrap().header;
    assert_eq!((header.xid, header.err), (xid, code.as_i32()));
}

#[test]
fn requests_wait_for_their_own_commits_only() {
    let process = Process::start(|_| {});
    let mut follower = Follower::start(&process);
    let (mut ann, ann_id) = follower.client(&process);
    let (mut bob, bob_id) = follower.client(&process);
    let create = CreateTxn {
        path: "/a".into(),
        data: None,
        acl: Acl::open_unsafe(),
        ephemeral: false,
        parent_cversion: 1,
    };
    // Somebody else's.
    follower.commit(SessionId(99), 1, Txn::Create(create));

    ann.send_request(1, OpCode::SetData.as_i32(), &set("/a")).unwrap();
    ann.send_request(2, OpCode::GetData.as_i32(), &get("/a")).unwrap();
    ann.send_request(3, OpCode::Sync.as_i32(), &SyncRequest { path: Some("/a".into()) }).unwrap();
    ann.send_request(4, OpCode::GetData.as_i32(), &get("/a")).unwrap();
    let (session, cxid, op, bytes) = follower.next_forwarded();
    assert_eq!((session, cxid, op), (ann_id, 1, OpCode::SetData));
    assert_eq!(bytes, zabkeeper::jute::Jute::to_bytes(&set("/a")), "as they came");
    assert_eq!(follower.next_forwarded().2, OpCode::Sync);
    // Nobody else waits, and commits of others, of the same session too, change nothing.
    bob.send_request(1, OpCode::GetData.as_i32(), &get("/")).unwrap();
    check_reply(&mut bob, 1, Code::Ok);
    follower.commit(bob_id, 77, Txn::Error(ErrorTxn { err: -101 }));
    follower.commit(ann_id, 77, Txn::Error(ErrorTxn { err: -101 }));
    assert!(ann.stays_silent(Duration::from_millis(50)).unwrap());

    follower.commit(ann_id, 1, set_txn("/a"));
    check_reply(&mut ann, 1, Code::Ok);
    let read = ann.read_reply().unwrap();
    assert_eq!((read.header.xid, read.header.zxid), (2, follower.last_zxid));
    assert_eq!(&read.body[..7], b"\0\0\0\x03new", "it sees its own write");
    assert!(ann.stays_silent(Duration::from_millis(50)).unwrap(), "sync waits for the leader");
    follower.commit.commit([Commit::Sync { session_id: ann_id, cxid: 3 }]);
    check_reply(&mut ann, 3, Code::Ok);
    check_reply(&mut ann, 4, Code::Ok);

    // What the leader refuses is an error here.
    ann.send_request(5, OpCode::SetData.as_i32(), &set("/a")).unwrap();
    follower.next_forwarded();
    follower.commit(ann_id, 5, Txn::Error(ErrorTxn { err: Code::BadVersion.as_i32() }));
    check_reply(&mut ann, 5, Code::BadVersion);
    // A moved session ends its connection without an answer.
    ann.send_request(6, OpCode::SetData.as_i32(), &set("/a")).unwrap();
    follower.next_forwarded();
    follower.commit(ann_id, 6, Txn::Error(ErrorTxn { err: Code::SessionMoved.as_i32() }));
    ann.expect_closed().unwrap();
    // An expiry at the leader closes the session's connection.
    follower.commit(bob_id, 0, Txn::CloseSession(None));
    bob.expect_closed().unwrap();
    follower.shutdown(&process);
    process.factory.shutdown();
}

/// Serves read-only clients, and has to ask for sessions.
struct ReadOnly(crossbeam_channel::Sender<(Arc<ServerCnxn>, SessionId)>);

impl ServerRole for ReadOnly {
    fn state(&self) -> &'static str {
        "read-only"
    }
    fn is_read_only(&self) -> bool {
        true
    }
    fn validate_session(&self, id: SessionId) -> Result<(), String> {
        if id.0 == 13 {
            Err("Refusing global session reconnection in RO mode".into())
        } else {
            Ok(())
        }
    }
    fn revalidate_session(
        &self,
        _: &ZooKeeperServer,
        cnxn: &Arc<ServerCnxn>,
        id: SessionId,
        _: i32,
    ) -> Revalidation {
        self.0.send((Arc::clone(cnxn), id)).unwrap();
        Revalidation::Later
    }
}

#[test]
fn a_read_only_server_refuses_other_clients_and_may_answer_late() {
    let process = Process::start(|_| {});
    let (ask, asked) = unbounded();
    let server = process.server(ReadOnly(ask));
    let (first, requests) = linked_blocking_queue::unbounded::<Box<Request>>();
    server.start_intake(first);
    process.factory.slot().set_server(Arc::clone(&server));
    assert_eq!(process.word("isro"), "ro");
    let srvr = process.word("srvr");
    assert_eq!(srvr.lines().nth(1), Some("READ-ONLY mode; serving only read-only clients"));
    check_closed(process.address);

    let reattach = |id: i64| {
        let mut request = new_session_request(10_000);
        request.read_only = Some(true);
        request.session_id = id;
        request.passwd = Some(password::generate(SessionId(id)).as_slice().into());
        let mut client = RawConnection::connect(process.address, PATIENCE).unwrap();
        client.send_connect(&request).unwrap();
        client
    };
    reattach(13).expect_closed().unwrap();

    let mut client = reattach(5);
    client.send_request(1, OpCode::GetData.as_i32(), &get("/")).unwrap();
    let (cnxn, id) = asked.recv_timeout(PATIENCE).unwrap();
    assert_eq!(id, SessionId(5));
    assert!(client.stays_silent(Duration::from_millis(50)).unwrap());
    server.tracker().track_session(id, 10_000);
    server.finish_session_init(&cnxn, server.tracker().session(id));
    let response = client.read_connect_response().unwrap();
    assert_eq!((response.session_id, response.read_only), (5, Some(true)));
    check_reply(&mut client, 1, Code::Ok);

    let mut refused = reattach(6);
    let (cnxn, _) = asked.recv_timeout(PATIENCE).unwrap();
    server.finish_session_init(&cnxn, None);
    let response = refused.read_connect_response().unwrap();
    assert_eq!((response.session_id, response.timeout_ms), (0, 0));
    refused.expect_closed().unwrap();

    // The second connection of a session takes it over, and an answer for the first one, which is
    // gone, does not take it back.
    let gone = reattach(5);
    let (late, _) = asked.recv_timeout(PATIENCE).unwrap();
    client.expect_closed().unwrap();
    gone.close();
    let mut newer = reattach(5);
    let (cnxn, _) = asked.recv_timeout(PATIENCE).unwrap();
    while !late.is_stale() {
        std::thread::yield_now();
    }
    server.finish_session_init(&cnxn, server.tracker().session(id));
    server.finish_session_init(&late, server.tracker().session(id));
    assert_eq!(newer.read_connect_response().unwrap().session_id, 5);
    newer.send_request(1, OpCode::GetData.as_i32(), &get("/")).unwrap();
    check_reply(&mut newer, 1, Code::Ok);

    // The role ends while a client waits.
    let mut waiting = reattach(5);
    asked.recv_timeout(PATIENCE).unwrap();
    server.set_state(State::Shutdown);
    server.stop_admission();
    process.factory.slot().clear();
    waiting.expect_closed().unwrap();
    assert!(requests.is_empty());
    process.factory.shutdown();
}

/// Hears of failures instead of failing the test.
struct Told(crossbeam_channel::Sender<(String, ExitCode)>);

impl ServerListener for Told {
    fn notify_stopping(&self, thread: &str, code: ExitCode, _: &str) {
        let _ = self.0.send((thread.to_owned(), code)); // The test has ended.
    }
}

/// Takes what was synced, and tells.
struct Synced(crossbeam_channel::Sender<Zxid>);

impl RequestProcessor for Synced {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        for request in requests.drain(..) {
            self.0.send(request.entry.unwrap().zxid()).unwrap();
        }
    }
    fn shutdown(&self) {}
}

/// Two owners of one log would write stretches twice (ZOOKEEPER-4712).
#[test]
fn a_log_that_goes_backwards_ends_the_process() {
    let mut process = Process::start(|_| {});
    let server = process.server(Alone);
    let log = process.snap_log.take().unwrap();
    let (tell, told) = unbounded();
    let tell: Arc<dyn ServerListener> = Arc::new(Told(tell));
    let (sync, synced) = unbounded();
    let snapshots = SnapshotTaker::new(Arc::clone(log.snap_log()), Arc::clone(&tell));
    let next = Arc::new(Synced(sync));
    let stage = sync_request_processor::start(&server, &tell, log, snapshots, next).unwrap();
    let log = |zxid| {
        let client_id = SessionId(1);
        let txn_type = OpCode::Error.as_i32();
        let header = TxnHeader { client_id, cxid: 1, zxid: Zxid(zxid), time: 0, txn_type };
        let entry = TxnLogEntry::new(header, Txn::Error(ErrorTxn { err: -1 }), None);
        stage.process_requests(&mut vec![Box::new(Request::from_txn(Arc::new(entry), 0))]);
    };
    log(5);
    assert_eq!(synced.recv_timeout(PATIENCE).unwrap(), Zxid(5));
    assert!(stage.take_log().is_none(), "the stage has it");
    log(5);
    let (thread, code) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((thread.as_str(), code), ("SyncThread:7", ExitCode::UnexpectedError));
    stage.shutdown();
    assert!(synced.is_empty() && stage.take_log().is_none());
    process.factory.shutdown();
}

#[test]
fn forwarded_requests_are_read_as_the_leader_does() {
    let limits = zabkeeper::jute::Limits::new(1 << 20, None);
    let packet = |op: i32, body: &[u8]| {
        let mut data = 0x55i64.to_be_bytes().to_vec();
        data.extend(9i32.to_be_bytes());
        data.extend(op.to_be_bytes());
        data.extend(body);
        data
    };
    let read = |data: &[u8]| Request::from_learner(data, Vec::new(), 12, limits, 0).unwrap();
    let request = read(&packet(OpCode::CreateSession.as_i32(), &4000i32.to_be_bytes()));
    assert_eq!(request.body, RequestBody::CreateSession { timeout_ms: 4000 });
    assert_eq!((request.session_id, request.cxid, request.owner), (SessionId(0x55), 9, 12));
    assert!(request.is_of_learner() && request.needs_commit(false));
    let request = read(&packet(OpCode::CloseSession.as_i32(), &[]));
    assert_eq!(request.body, RequestBody::CloseSession);
    // Poison is refused in its turn, not here.
    let request = read(&packet(OpCode::SetData.as_i32(), &[1, 2, 3]));
    assert_eq!(request.body, RequestBody::Malformed(OpCode::SetData));
    let request = read(&packet(OpCode::CreateSession.as_i32(), &[1]));
    assert_eq!(request.body, RequestBody::Malformed(OpCode::CreateSession));
    assert_eq!(read(&packet(12345, &[])).body, RequestBody::Unknown(12345));
    assert!(Request::from_learner(&[0; 15], Vec::new(), 12, limits, 0).is_err());
}
