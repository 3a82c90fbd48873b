//! Learners that consist of packets: what our leader says to whom, and in which order.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::auth::{AuthenticationHelper, EnforceAuthSettings, ProviderRegistry};
use crate::common::config::{Configuration, SystemProperties};
use crate::common::exit_code::ExitCode;
use crate::common::thread::ServerListener;
use crate::jute::{Limits, OutputExt};
use crate::metrics::ServerMetrics;
use crate::persistence::disk::RealDisk;
use crate::persistence::{FileTxnSnapLog, SnapLogOptions};
use crate::proto::quorum::QuorumPacket;
use crate::proto::{OpCode, SessionId, TxnLogEntry, Zxid};
use crate::quorum::epoch_files::EpochFiles;
use crate::quorum::packet_stream::{PacketReader, PacketType, PacketWriter};
use crate::quorum::quorum_database::QuorumDatabase;
use crate::quorum::quorum_peer::{QuorumPeer, QuorumPeerParts, configured_verifiers};
use crate::quorum::quorum_peer_thread::RoleResult;
use crate::quorum::zab::testing::entry;
use crate::server::cnxn::server_cnxn_factory::ServerCnxnFactory;

const PATIENCE: Duration = Duration::from_secs(30);

struct Ignore;

impl ServerListener for Ignore {
    fn notify_stopping(&self, thread: &str, _: ExitCode, why: &str) {
        eprintln!("{thread}: {why}");
    }
}

/// Server 3 of three, which leads.
struct Leading {
    peer: Arc<QuorumPeer>,
    thread: Option<JoinHandle<RoleResult>>,
    port: u16,
    _factory: ServerCnxnFactory,
    _dir: tempfile::TempDir,
}

impl Leading {
    /// With these transactions in its log.
    fn start(history: &[i64], properties: &str) -> Leading {
        Leading::start_with(history, properties, "server.2=127.0.0.1:3:6")
    }

    /// Beside servers 1 and 3 the one of this line.
    fn start_with(history: &[i64], properties: &str, other: &str) -> Leading {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("myid"), "3").unwrap();
        let conf = dir.path().join("zoo.cfg");
        let text = format!(
            "tickTime=200\ninitLimit=100\nsyncLimit=50\ndataDir={}\nclientPort=1\n{properties}\n\
             server.1=127.0.0.1:2:5\n{other}\nserver.3=127.0.0.1:{port}:4\n",
            data.display()
        );
        std::fs::write(&conf, text).unwrap();
        let args = [conf.to_str().unwrap().to_owned()];
        let Configuration { server, quorum, .. } =
            Configuration::from_args(&args, &SystemProperties::default()).unwrap();
        let (config, settings) = (Arc::new(server), quorum.unwrap());
        let open = || {
            let trust_empty_snapshot = !history.is_empty();
            let options = SnapLogOptions { trust_empty_snapshot, ..SnapLogOptions::default() };
            FileTxnSnapLog::new(Arc::new(RealDisk), &data, &data, options).unwrap()
        };
        let mut log = open();
        history.iter().for_each(|zxid| log.append(&entry(*zxid)).unwrap());
        log.commit().unwrap();
        log.close().unwrap();
        let metrics = Arc::new(ServerMetrics::default());
        let (verifier, last_seen_verifier) = configured_verifiers(&settings).unwrap();
        let providers = Arc::new(ProviderRegistry::new(&(&*config).into(), &metrics).unwrap());
        let auth_helper =
            AuthenticationHelper::new(&EnforceAuthSettings::from(&*config), &providers).unwrap();
        let factory = ServerCnxnFactory::new(&config, &metrics).unwrap();
        let database = QuorumDatabase::load(open(), &config, &metrics, &verifier).unwrap();
        let last_logged_zxid = database.last_logged_zxid();
        let epochs = EpochFiles::load(database.snap_log.snap_dir(), last_logged_zxid).unwrap();
        let peer = QuorumPeer::new(QuorumPeerParts {
            config,
            settings,
            verifier,
            last_seen_verifier,
            epochs,
            last_logged_zxid,
            metrics,
            listener: Arc::new(Ignore),
            server_slot: Arc::clone(factory.slot()),
            providers,
            auth_helper,
        });
        let leading = Arc::clone(&peer);
        let thread = std::thread::spawn(move || lead(&leading, database));
        Leading { peer, thread: Some(thread), port, _factory: factory, _dir: dir }
    }

    fn connect(&self) -> Learner {
        let deadline = Instant::now() + PATIENCE;
        let socket = loop {
            match std::net::TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(socket) => break socket,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = PacketReader::new(socket.try_clone().unwrap(), Limits::UNBOUNDED);
        Learner { reader, writer: PacketWriter::new(socket), pings: 0 }
    }

    /// Follower `sid`, which has accepted and followed `epoch` and has logged up to `last`; led up to
    /// the promise.
    fn follower(&self, sid: i64, epoch: i64, last: i64) -> Learner {
        let mut learner = self.connect();
        learner.introduce(PacketType::FollowerInfo, sid, epoch);
        learner.expect(PacketType::LeaderInfo);
        learner.ack_epoch(epoch as i32, last);
        learner
    }

    /// A follower that needs nothing but an empty DIFF, led until it serves.
    fn synced(&self, sid: i64, epoch: i64, last: i64) -> Learner {
        let mut learner = self.follower(sid, epoch, last);
        assert_eq!(learner.expect(PacketType::Diff).zxid, last);
        let new_leader = learner.expect(PacketType::NewLeader).zxid;
        learner.send(PacketType::Ack, new_leader, None);
        learner.expect(PacketType::UpToDate);
        learner.send(PacketType::Ack, new_leader, None);
        learner
    }

    /// Waits for the end of the role.
    fn end(mut self) -> QuorumDatabase {
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.peer.shutdown().request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Learner {
    reader: PacketReader<std::net::TcpStream>,
    writer: PacketWriter<std::net::TcpStream>,
    pings: u32,
}

impl Learner {
    fn send(&mut self, kind: PacketType, zxid: i64, data: Option<&[u8]>) {
        self.writer.write(kind, zxid, data).unwrap();
        self.writer.flush().unwrap();
    }

    fn introduce(&mut self, kind: PacketType, sid: i64, accepted_epoch: i64) {
        let mut data = Vec::new();
        data.put_i64(sid);
        data.put_i32(0x10000);
        data.put_i64(0);
        self.send(kind, accepted_epoch << 32, Some(&data));
    }

    fn ack_epoch(&mut self, current_epoch: i32, last: i64) {
        self.send(PacketType::AckEpoch, last, Some(&current_epoch.to_be_bytes()));
    }

    /// The next packet that is no ping.
    fn next(&mut self) -> std::io::Result<QuorumPacket> {
        loop {
            let packet = self.reader.read_packet()?;
            if packet.packet_type != PacketType::Ping.as_i32() {
                return Ok(packet);
            }
            self.pings += 1;
            // Echoed with the sessions that were active: none.
            self.send(PacketType::Ping, packet.zxid, Some(&[]));
        }
    }

    #[track_caller]
    fn expect(&mut self, kind: PacketType) -> QuorumPacket {
        let packet = self.next().unwrap();
        assert_eq!(PacketType::from_i32(packet.packet_type), Some(kind), "{packet:?}");
        packet
    }

    #[track_caller]
    fn expect_zxids(&mut self, kind: PacketType, zxids: &[i64]) {
        for zxid in zxids {
            assert_eq!(self.expect(kind).zxid, *zxid);
        }
    }

    #[track_caller]
    fn expect_end(&mut self) {
        assert!(self.next().is_err());
    }

    fn request(&mut self, session: i64, cxid: i32, op: OpCode, body: &[u8]) {
        let mut data = Vec::new();
        data.put_i64(session);
        data.put_i32(cxid);
        data.put_i32(op.as_i32());
        data.extend_from_slice(body);
        self.send(PacketType::Request, -1, Some(&data));
    }

    fn create_session(&mut self, session: i64) {
        self.request(session, 0, OpCode::CreateSession, &30_000i32.to_be_bytes());
    }

    fn revalidate(&mut self, session: i64) -> bool {
        let mut data = Vec::new();
        data.put_i64(session);
        data.put_i32(30_000);
        self.send(PacketType::Revalidate, -1, Some(&data));
        let answer = self.expect(PacketType::Revalidate).data.unwrap();
        assert_eq!(answer[..8], session.to_be_bytes());
        answer[8] == 1
    }
}

const SESSION: i64 = 0x0100_0000_0000_0001;

#[test]
fn a_follower_is_led_from_the_first_packet_to_the_last() {
    let leading = Leading::start(&[], "");
    let mut follower = leading.synced(1, 0, 0);
    follower.create_session(SESSION);
    let proposal = follower.expect(PacketType::Proposal);
    assert_eq!(proposal.zxid, 0x1_0000_0001);
    let proposed = TxnLogEntry::decode(&proposal.data.unwrap()).unwrap();
    assert_eq!(proposed.header.client_id, SessionId(SESSION));
    // Not committed by the leader's disk alone: a sync is answered behind the commit.
    follower.request(SESSION, 1, OpCode::Sync, &[0, 0, 0, 1, b'/']);
    follower.send(PacketType::Ack, 0x1_0000_0001, None);
    follower.expect_zxids(PacketType::Commit, &[0x1_0000_0001]);
    follower.expect_zxids(PacketType::Sync, &[0]);
    assert!(follower.revalidate(SESSION));
    assert!(!follower.revalidate(SESSION + 1));
    follower.request(SESSION, 2, OpCode::CloseSession, &[]);
    follower.expect_zxids(PacketType::Proposal, &[0x1_0000_0002]);
    follower.send(PacketType::Ack, 0x1_0000_0002, None);
    follower.expect_zxids(PacketType::Commit, &[0x1_0000_0002]);
    assert!(!follower.revalidate(SESSION));
    assert_eq!(leading.peer.epochs().current_epoch(), 1);
    drop(follower);
    let database = leading.end();
    assert_eq!(database.last_logged_zxid(), Zxid(0x1_0000_0002));
}

#[test]
fn an_expired_session_is_told_so_once_that_is_committed() {
    let leading = Leading::start(&[], "");
    let mut follower = leading.synced(1, 0, 0);
    follower.create_session(SESSION);
    follower.expect(PacketType::Proposal);
    follower.send(PacketType::Ack, 0x1_0000_0001, None);
    follower.expect(PacketType::Commit);
    follower.request(SESSION, 1, OpCode::CloseSession, &[]);
    follower.expect(PacketType::Proposal);
    let mut data = Vec::new();
    data.put_i64(SESSION);
    data.put_i32(30_000);
    follower.send(PacketType::Revalidate, -1, Some(&data));
    // A session that does not exist is answered at once: the other question is still open.
    assert!(!follower.revalidate(SESSION + 1));
    follower.send(PacketType::Ack, 0x1_0000_0002, None);
    follower.expect(PacketType::Commit);
    let answer = follower.expect(PacketType::Revalidate).data.unwrap();
    assert_eq!((&answer[..8], answer[8]), (&SESSION.to_be_bytes()[..], 0));
}

#[test]
fn observers_are_informed_and_do_not_vote() {
    let leading = Leading::start(&[], "");
    let mut follower = leading.synced(1, 0, 0);
    let mut observer = leading.connect();
    observer.introduce(PacketType::ObserverInfo, 9, 0);
    observer.expect(PacketType::LeaderInfo);
    observer.ack_epoch(0, 0);
    observer.expect(PacketType::Diff);
    observer.expect(PacketType::NewLeader);
    observer.send(PacketType::Ack, 0x1_0000_0000, None);
    observer.expect(PacketType::UpToDate);
    follower.create_session(SESSION);
    let proposed = follower.expect(PacketType::Proposal);
    observer.send(PacketType::Ack, 0x1_0000_0001, None);
    // Answered behind everything: the acknowledgement has been looked at, and nothing committed.
    assert!(!observer.revalidate(SESSION + 1));
    follower.send(PacketType::Ack, 0x1_0000_0001, None);
    follower.expect(PacketType::Commit);
    let inform = observer.expect(PacketType::Inform);
    assert_eq!((inform.zxid, inform.data), (proposed.zxid, proposed.data));
}

#[test]
fn an_acknowledgement_may_overtake_that_of_the_history() {
    let leading = Leading::start(&[], "");
    let mut first = leading.synced(1, 0, 0);
    first.create_session(SESSION);
    first.expect(PacketType::Proposal);
    // Takes over nothing, but is sent what is outstanding.
    let mut second = leading.follower(2, 0, 0);
    let start = second.next().unwrap();
    assert_ne!(start.packet_type, PacketType::Proposal.as_i32());
    if start.packet_type == PacketType::Snap.as_i32() {
        second.skip_snapshot();
    }
    second.expect_zxids(PacketType::Proposal, &[0x1_0000_0001]);
    second.expect_zxids(PacketType::NewLeader, &[0x1_0000_0000]);
    second.send(PacketType::Ack, 0x1_0000_0001, None);
    second.send(PacketType::Ack, 0x1_0000_0000, None);
    let mut kinds = [second.next().unwrap().packet_type, second.next().unwrap().packet_type];
    kinds.sort_unstable();
    assert_eq!(kinds, [PacketType::Commit.as_i32(), PacketType::UpToDate.as_i32()]);
    first.expect_zxids(PacketType::Commit, &[0x1_0000_0001]);
}

impl Learner {
    /// Up to the signature.
    fn skip_snapshot(&mut self) {
        let mut tail = Vec::new();
        while !tail.ends_with(b"BenWasHere") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut self.reader, &mut byte).unwrap();
            tail.push(byte[0]);
        }
    }
}

#[test]
fn what_is_outstanding_follows_a_cut() {
    let history: Vec<i64> = (1..=5).map(|counter| 0x1_0000_0000 + counter).collect();
    let leading = Leading::start(&history, "");
    let mut first = leading.synced(1, 1, 0x1_0000_0005);
    first.create_session(SESSION);
    first.expect_zxids(PacketType::Proposal, &[0x2_0000_0001]);
    let mut second = leading.follower(2, 1, 0x1_0000_0007);
    second.expect_zxids(PacketType::Trunc, &[0x1_0000_0005]);
    second.expect_zxids(PacketType::Proposal, &[0x2_0000_0001]);
    second.expect_zxids(PacketType::NewLeader, &[0x2_0000_0000]);
    second.send(PacketType::Ack, 0x2_0000_0000, None);
    second.expect(PacketType::UpToDate);
    second.send(PacketType::Ack, 0x2_0000_0001, None);
    second.expect_zxids(PacketType::Commit, &[0x2_0000_0001]);
    first.expect_zxids(PacketType::Commit, &[0x2_0000_0001]);
}

#[test]
fn the_missing_part_of_the_history_is_sent() {
    let history: Vec<i64> = (1..=5).map(|counter| 0x1_0000_0000 + counter).collect();
    let leading = Leading::start(&history, "");
    let mut follower = leading.follower(1, 1, 0x1_0000_0003);
    follower.expect_zxids(PacketType::Diff, &[0x1_0000_0005]);
    for zxid in &history[3..] {
        follower.expect_zxids(PacketType::Proposal, &[*zxid]);
        follower.expect_zxids(PacketType::Commit, &[*zxid]);
    }
    follower.expect_zxids(PacketType::NewLeader, &[0x2_0000_0000]);
}

#[test]
fn who_is_ahead_is_refused_and_nothing_else_ends() {
    let leading = Leading::start(&[0x1_0000_0001], "");
    leading.follower(1, 1, 0x1_0000_0002).expect_end();
    leading.follower(1, 2, 0x1_0000_0001).expect_end();
    leading.synced(2, 1, 0x1_0000_0001);
}

#[test]
fn hostile_packets_end_their_own_connection_alone() {
    let leading = Leading::start(&[], "");
    let mut good = leading.synced(1, 0, 0);
    let check = |bytes: &[u8]| {
        let mut learner = leading.connect();
        learner.writer.write_raw(bytes).unwrap();
        learner.writer.flush().unwrap();
        learner.expect_end();
    };
    check(b"GET / HTTP/1.0\r\n\r\n----------------------------");
    // Another type, an absurd length, a later configuration.
    let packet = |kind: i32, data: Option<&[u8]>| {
        let mut bytes = Vec::new();
        bytes.put_i32(kind);
        bytes.put_i64(0);
        bytes.put_bytes(data);
        bytes.put_i32(0);
        bytes
    };
    check(&packet(3, None));
    check(&packet(99, None));
    check(&packet(11, Some(&[0; 2000])));
    let mut later = Vec::new();
    later.put_i64(1);
    later.put_i32(0x10000);
    later.put_i64(i64::MAX);
    check(&packet(11, Some(&later)));
    // The leader's own id.
    check(&packet(11, Some(&3i64.to_be_bytes())));
    // An accepted epoch that leaves none behind it comes too late to matter here: the promise is
    // made, and the ACKEPOCH has no data.
    let mut learner = leading.connect();
    learner.introduce(PacketType::FollowerInfo, 2, 0x7fff_ffff);
    learner.expect(PacketType::LeaderInfo);
    learner.send(PacketType::AckEpoch, 0, Some(&[1, 2]));
    learner.expect_end();
    // Once it follows: pieces of sessions, requests without a head.
    for (kind, data) in [
        (PacketType::Ping, &[1u8, 2, 3][..]),
        (PacketType::Revalidate, &[1, 2, 3]),
        (PacketType::Request, &[1, 2, 3]),
    ] {
        let mut learner = leading.follower(2, 0, 0);
        if learner.next().unwrap().packet_type == PacketType::Snap.as_i32() {
            learner.skip_snapshot();
        }
        learner.expect(PacketType::NewLeader);
        learner.send(PacketType::Ack, 0x1_0000_0000, None);
        learner.expect(PacketType::UpToDate);
        learner.send(kind, -1, Some(data));
        learner.expect_end();
    }
    // Unknown types and acknowledgements of nothing are borne.
    good.writer.write_raw(&packet(99, None)).unwrap();
    good.send(PacketType::Ack, i64::MAX, None);
    good.send(PacketType::Ack, 0x1_0000_0009, None);
    // An undecodable body is answered in its turn, with a zxid of its own.
    good.create_session(SESSION);
    good.request(SESSION, 1, OpCode::Create, &[1, 2, 3]);
    good.expect_zxids(PacketType::Proposal, &[0x1_0000_0001, 0x1_0000_0002]);
    good.send(PacketType::Ack, 0x1_0000_0001, None);
    good.send(PacketType::Ack, 0x1_0000_0002, None);
    good.expect_zxids(PacketType::Commit, &[0x1_0000_0001, 0x1_0000_0002]);
}

#[test]
fn a_newer_connection_of_a_server_ends_its_older_one() {
    let leading = Leading::start(&[], "");
    let mut first = leading.synced(1, 0, 0);
    let mut second = leading.follower(1, 0, 0);
    assert!(second.next().is_ok());
    first.expect_end();
}

#[test]
fn the_end_of_the_counter_is_a_hand_over() {
    let leading = Leading::start(&[], "testingonly.initialZxid=4294967292");
    let mut follower = leading.synced(1, 0, 0);
    for n in 0..3 {
        follower.create_session(SESSION + n);
    }
    follower.expect_zxids(PacketType::Proposal, &[0x1_ffff_fffd, 0x1_ffff_fffe]);
    follower.send(PacketType::Ack, 0x1_ffff_fffd, None);
    follower.send(PacketType::Ack, 0x1_ffff_fffe, None);
    follower.expect_zxids(PacketType::Commit, &[0x1_ffff_fffd, 0x1_ffff_fffe]);
    follower.expect_end();
    assert_eq!(leading.end().last_logged_zxid(), Zxid(0x1_ffff_fffe));
}

#[test]
fn a_flood_of_silent_connections_keeps_no_learner_out() {
    let leading = Leading::start(&[], "");
    let flood: Vec<Learner> = (0..600).map(|_| leading.connect()).collect();
    leading.synced(1, 0, 0);
    drop(flood);
}

#[test]
fn observers_that_come_at_once_are_refused_and_followers_are_not() {
    let properties = "forceSnapshotSync=true\nleader.maxConcurrentSnapSyncs=1";
    let leading = Leading::start(&[], properties);
    let observer = || {
        let mut observer = leading.connect();
        observer.introduce(PacketType::ObserverInfo, 9, 0);
        observer.expect(PacketType::LeaderInfo);
        observer.ack_epoch(0, 0);
        observer
    };
    let mut followers = [1, 2].map(|sid| leading.follower(sid, 0, 0));
    for follower in &mut followers {
        follower.expect(PacketType::Snap);
        follower.skip_snapshot();
        follower.expect(PacketType::NewLeader);
    }
    observer().expect_end();
    for follower in &mut followers {
        follower.send(PacketType::Ack, 0x1_0000_0000, None);
        follower.expect(PacketType::UpToDate);
    }
    observer().expect(PacketType::Snap);
}

#[test]
fn a_flood_of_strangers_keeps_no_learner_out() {
    let leading = Leading::start(&[], "");
    let mut info = Vec::new();
    info.put_i64(0);
    info.put_i32(0x10000);
    info.put_i64(0);
    let flood: Vec<Learner> = (0..600i64)
        .map(|n| {
            let mut stranger = leading.connect();
            info[..8].copy_from_slice(&(1000 + n).to_be_bytes());
            let _ = stranger.writer.write(PacketType::ObserverInfo, 0, Some(&info));
            let _ = stranger.writer.flush(); // It may have had to give way already.
            stranger
        })
        .collect();
    leading.synced(1, 0, 0);
    drop(flood);
}

#[test]
fn of_two_servers_one_leads_alone_if_the_oracle_says_so() {
    let oracle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(oracle.path(), "1").unwrap();
    let properties = format!("oraclePath={}", oracle.path().display());
    let leading = Leading::start_with(&[], &properties, "");
    let deadline = Instant::now() + PATIENCE;
    let server = loop {
        if let Some(server) = leading.peer.server_slot().server() {
            break server;
        }
        assert!(Instant::now() < deadline, "does not serve");
        std::thread::yield_now();
    };
    server.close_session(SessionId(SESSION));
    while server.db().last_processed_zxid() != Zxid(0x1_0000_0001) {
        assert!(Instant::now() < deadline, "does not commit");
        std::thread::yield_now();
    }
    drop(server);
    // Not any more: without a follower it gives up.
    std::fs::write(oracle.path(), "0").unwrap();
    assert_eq!(leading.end().last_logged_zxid(), Zxid(0x1_0000_0001));
}
