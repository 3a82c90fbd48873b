//! A leader made of nothing but packets, against our learner on its own: the order of what is durable
//! and what is acknowledged, and everything that a leader must not send.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tempfile::TempDir;
use zabkeeper::auth::{AuthenticationHelper, EnforceAuthSettings, ProviderRegistry};
use zabkeeper::common::config::{Configuration, SystemProperties};
use zabkeeper::common::exit_code::ExitCode;
use zabkeeper::common::thread::{CriticalError, ServerListener};
use zabkeeper::jute::{Jute, Limits, OutputExt};
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::persistence::disk::RealDisk;
use zabkeeper::persistence::{FileTxnSnapLog, SnapLogOptions, SnapshotSource, TreeSnapshot};
use zabkeeper::proto::quorum::QuorumPacket;
use zabkeeper::proto::txn::{CreateTxn, TxnHeader};
use zabkeeper::proto::{Acl, OpCode, ServerId, SessionId, Txn, TxnLogEntry, Zxid};
use zabkeeper::quorum::epoch_files::EpochFiles;
use zabkeeper::quorum::learner::{follower, observer};
use zabkeeper::quorum::packet_stream::{PacketReader, PacketType, PacketWriter};
use zabkeeper::quorum::quorum_database::QuorumDatabase;
use zabkeeper::quorum::quorum_peer::{QuorumPeer, QuorumPeerParts, configured_verifiers};
use zabkeeper::quorum::zab::Vote;
use zabkeeper::server::cnxn::server_cnxn_factory::ServerCnxnFactory;
use zabkeeper::tree::{DataTree, NoWatches, TreeOptions};

/// Fails the test when a thread of a learner would end the process.
#[derive(Default)]
struct Listener(AtomicBool);

impl ServerListener for Listener {
    fn notify_stopping(&self, thread: &str, code: ExitCode, why: &str) {
        eprintln!("{thread} ends the process with {code:?}: {why}");
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The last zxid after the role; or what it ends the process with.
type Ended = Result<Zxid, CriticalError>;

/// A learner's directory and the port of its leader.
struct Learner {
    dir: TempDir,
    port: TcpListener,
    is_observer: bool,
    conf: &'static str,
}

/// One connection, from the leader's side.
struct Leader {
    reader: PacketReader<TcpStream>,
    writer: PacketWriter<TcpStream>,
}

impl Learner {
    fn new() -> Learner {
        let dir = TempDir::with_prefix("zabkeeper-learner-").unwrap();
        fs::write(dir.path().join("myid"), "1\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        Learner { dir, port, is_observer: false, conf: "" }
    }

    fn observer(conf: &'static str) -> Learner {
        Learner { is_observer: true, conf, ..Learner::new() }
    }

    /// Learns on a thread of its own; ends when the leader has closed.
    fn start(&self) -> JoinHandle<Ended> {
        let quorum_port = self.port.local_addr().unwrap().port();
        let role = if self.is_observer { ":observer" } else { "" };
        let text = format!(
            "tickTime=200\ninitLimit=25\nsyncLimit=10\ndataDir={}\nserver.1=127.0.0.1:1:2{role}\n\
             server.2=127.0.0.1:{quorum_port}:3\nserver.3=127.0.0.1:4:5\n{}\n",
            self.dir.path().display(),
            self.conf,
        );
        let path = self.dir.path().join("zoo.cfg");
        fs::write(&path, text).unwrap();
        let args = [path.display().to_string()];
        let configuration = Configuration::from_args(&args, &SystemProperties::default()).unwrap();
        let (config, settings) = (Arc::new(configuration.server), configuration.quorum.unwrap());
        let metrics = Arc::new(ServerMetrics::default());
        let providers = Arc::new(ProviderRegistry::new(&(&*config).into(), &metrics).unwrap());
        let auth_helper =
            AuthenticationHelper::new(&EnforceAuthSettings::from(&*config), &providers).unwrap();
        let factory = ServerCnxnFactory::new(&config, &metrics).unwrap();
        let (verifier, last_seen_verifier) = configured_verifiers(&settings).unwrap();
        let snap_log = FileTxnSnapLog::new(
            Arc::new(RealDisk),
            &config.data_log_dir,
            &config.data_dir,
            SnapLogOptions::default(),
        )
        .unwrap();
        let database = QuorumDatabase::load(snap_log, &config, &metrics, &verifier).unwrap();
        let last_logged_zxid = database.last_logged_zxid();
        let listener = Arc::new(Listener::default());
        let peer = QuorumPeer::new(QuorumPeerParts {
            config,
            settings,
            verifier,
            last_seen_verifier,
            epochs: EpochFiles::load(database.snap_log.snap_dir(), last_logged_zxid).unwrap(),
            last_logged_zxid,
            metrics,
            listener: Arc::clone(&listener) as _,
            server_slot: Arc::clone(factory.slot()),
            providers,
            auth_helper,
        });
        peer.state().set_current_vote(Vote::looking(ServerId(2), Zxid(0), 1, 0));
        let is_observer = self.is_observer;
        std::thread::spawn(move || {
            let role = if is_observer { observer::observe } else { follower::follow };
            let ended = role(&peer, database);
            assert!(!listener.0.load(Ordering::SeqCst));
            let ended = ended.map(|mut database| database.fast_forward().unwrap());
            assert!(factory.slot().server().is_none());
            factory.shutdown();
            ended
        })
    }

    /// Plays the leader until `story` ends, which closes the connection; the learner's last zxid.
    fn play(&self, story: impl FnOnce(&mut Leader)) -> Zxid {
        self.play_to_the_end(story).unwrap()
    }

    fn play_to_the_end(&self, story: impl FnOnce(&mut Leader)) -> Ended {
        let learner = self.start();
        let (stream, _) = self.port.accept().unwrap();
        stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
        let reader = PacketReader::new(stream.try_clone().unwrap(), Limits::default());
        let mut leader = Leader { reader, writer: PacketWriter::new(stream) };
        story(&mut leader);
        drop(leader);
        learner.join().unwrap()
    }

    fn epoch(&self, file: &str) -> i64 {
        let path = self.dir.path().join("version-2").join(file);
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }

    /// The zxids that a start would find now.
    fn on_disk(&self) -> Zxid {
        let copy = TempDir::new().unwrap();
        let to = copy.path().join("version-2");
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(self.dir.path().join("version-2")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
        restored(copy.path())
    }
}

fn restored(data_dir: &Path) -> Zxid {
    let options = SnapLogOptions::default();
    let mut snap_log =
        FileTxnSnapLog::new(Arc::new(RealDisk), data_dir, data_dir, options).unwrap();
    let mut tree = DataTree::new(TreeOptions::default());
    snap_log.restore(&mut tree, &mut Default::default(), &mut |_| {}).unwrap();
    tree.last_processed_zxid()
}

fn entry(epoch: i64, counter: i64) -> TxnLogEntry {
    let header = TxnHeader {
        client_id: SessionId(1),
        cxid: 1,
        zxid: Zxid::new(epoch, counter),
        time: 1,
        txn_type: OpCode::Create.as_i32(),
    };
    let txn = CreateTxn {
        path: format!("/n{epoch}-{counter}"),
        data: None,
        acl: Acl::open_unsafe(),
        ephemeral: false,
        parent_cversion: -1,
    };
    TxnLogEntry::new(header, Txn::Create(txn), None)
}

/// A stream as it follows a SNAP packet: a tree with these nodes.
fn snapshot(nodes: &[(i64, i64)]) -> Vec<u8> {
    let mut tree = DataTree::new(TreeOptions::default());
    for (epoch, counter) in nodes {
        tree.process_entry(&entry(*epoch, *counter), &mut NoWatches);
    }
    let mut bytes = Vec::new();
    bytes.put_i32(0);
    let mut source =
        TreeSnapshot::begin(|act: &mut dyn FnMut(&DataTree)| act(&tree), false).unwrap();
    while !source.next_chunk(&mut bytes).unwrap() {}
    bytes.put_str("BenWasHere");
    bytes
}

impl Leader {
    fn send(&mut self, kind: PacketType, epoch: i64, counter: i64) {
        self.writer.write(kind, Zxid::new(epoch, counter).0, None).unwrap();
        let _ = self.writer.flush(); // The learner may have closed, which the test then sees.
    }

    fn propose(&mut self, kind: PacketType, epoch: i64, counter: i64) {
        let entry = entry(epoch, counter);
        self.writer.write(kind, entry.zxid().0, Some(&entry.bytes)).unwrap();
        let _ = self.writer.flush();
    }

    fn raw(&mut self, bytes: &[u8]) {
        let _ = self.writer.get_ref().write_all(bytes);
    }

    fn receive(&mut self) -> QuorumPacket {
        self.reader.read_packet().unwrap()
    }

    fn expect(&mut self, kind: PacketType, epoch: i64, counter: i64) -> QuorumPacket {
        let packet = self.receive();
        let seen = (packet.packet_type, Zxid(packet.zxid));
        assert_eq!(seen, (kind.as_i32(), Zxid::new(epoch, counter)));
        packet
    }

    fn leader_info(&mut self, epoch: i64) {
        self.receive();
        let version = 0x10000i32.to_be_bytes();
        self.writer.write(PacketType::LeaderInfo, Zxid::new(epoch, 0).0, Some(&version)).unwrap();
        let _ = self.writer.flush();
    }

    /// Up to the point at which the way to synchronise is told.
    fn discover(&mut self, epoch: i64) -> QuorumPacket {
        self.leader_info(epoch);
        self.receive()
    }

    fn serve(&mut self, epoch: i64) {
        self.discover(epoch);
        self.send(PacketType::Diff, 0, 0);
        self.send(PacketType::NewLeader, epoch, 0);
        self.expect(PacketType::Ack, epoch, 0);
        self.send(PacketType::UpToDate, -1, 0);
        self.expect(PacketType::Ack, epoch, 0);
    }

    /// Until the learner has closed; what came before does not matter.
    fn await_end(&mut self) {
        while self.reader.read_packet().is_ok() {}
    }
}

#[test]
fn what_is_acknowledged_is_durable() {
    let learner = Learner::new();
    let zxid = learner.play(|leader| {
        let info = leader.receive();
        assert_eq!((info.packet_type, info.zxid), (PacketType::FollowerInfo.as_i32(), 0));
        let version = 0x10000i32.to_be_bytes();
        leader.writer.write(PacketType::LeaderInfo, Zxid::new(5, 0).0, Some(&version)).unwrap();
        leader.writer.flush().unwrap();
        let ack = leader.expect(PacketType::AckEpoch, 0, 0);
        assert_eq!(ack.data.as_deref(), Some(&[0; 4][..]));
        assert_eq!((learner.epoch("acceptedEpoch"), learner.epoch("currentEpoch")), (5, 0));
        leader.send(PacketType::Diff, 4, 2);
        for counter in [1, 2] {
            leader.propose(PacketType::Proposal, 4, counter);
            leader.send(PacketType::Commit, 4, counter);
        }
        leader.propose(PacketType::Proposal, 5, 1);
        leader.send(PacketType::NewLeader, 5, 0);
        leader.expect(PacketType::Ack, 5, 0);
        assert_eq!(learner.epoch("currentEpoch"), 5);
        assert_eq!(learner.on_disk(), Zxid::new(4, 2));
        leader.propose(PacketType::Proposal, 5, 2);
        leader.send(PacketType::Commit, 5, 1);
        leader.send(PacketType::UpToDate, -1, 0);
        for counter in [0, 1, 2] {
            leader.expect(PacketType::Ack, 5, counter);
        }
        assert_eq!(learner.on_disk(), Zxid::new(5, 2));
        leader.send(PacketType::Ping, 5, 2);
        let echo = leader.expect(PacketType::Ping, 5, 2);
        assert_eq!(echo.data.as_deref(), Some(&[][..]));
        for counter in 3..=1000 {
            leader.propose(PacketType::Proposal, 5, counter);
        }
        for counter in 3..=1000 {
            leader.expect(PacketType::Ack, 5, counter);
        }
        assert_eq!(learner.on_disk(), Zxid::new(5, 1000));
    });
    // Logged is logged, committed or not.
    assert_eq!(zxid, Zxid::new(5, 1000));
    // The epoch was accepted: it does not count a second time.
    let zxid = learner.play(|leader| {
        let ack = leader.discover(5);
        assert_eq!(Zxid(ack.zxid), Zxid::new(5, 1000));
        assert_eq!(ack.data.as_deref(), Some(&[0xff; 4][..]));
    });
    assert_eq!(zxid, Zxid::new(5, 1000));
    // The rest was never committed.
    let zxid = learner.play(|leader| {
        leader.discover(6);
        leader.send(PacketType::Trunc, 5, 7);
        leader.send(PacketType::NewLeader, 6, 0);
        leader.expect(PacketType::Ack, 6, 0);
        assert_eq!(learner.on_disk(), Zxid::new(5, 7));
    });
    assert_eq!(zxid, Zxid::new(5, 7));
}

#[test]
fn a_snapshot_is_on_the_disk_before_it_is_acknowledged() {
    let learner = Learner::new();
    let zxid = learner.play(|leader| {
        leader.discover(5);
        leader.send(PacketType::Snap, 4, 2);
        leader.raw(&snapshot(&[(4, 1), (4, 2)]));
        leader.propose(PacketType::Proposal, 4, 3);
        leader.send(PacketType::Commit, 4, 3);
        leader.send(PacketType::NewLeader, 5, 0);
        leader.expect(PacketType::Ack, 5, 0);
        assert_eq!(learner.on_disk(), Zxid::new(4, 3));
        assert_eq!(learner.epoch("currentEpoch"), 5);
    });
    assert_eq!(zxid, Zxid::new(4, 3));
    // One that is cut short leaves everything as it was.
    for whole in [snapshot(&[(7, 1)]), snapshot(&[])] {
        for length in [0, 3, 4, whole.len() / 2, whole.len() - 1] {
            let zxid = learner.play(|leader| {
                leader.discover(8);
                leader.send(PacketType::Snap, 7, 1);
                leader.raw(&whole[..length]);
            });
            assert_eq!(zxid, Zxid::new(4, 3));
        }
    }
    // So does one that was received and not written.
    let zxid = learner.play(|leader| {
        leader.discover(8);
        leader.send(PacketType::Snap, 7, 1);
        leader.raw(&snapshot(&[(7, 1)]));
        leader.propose(PacketType::Proposal, 7, 2);
        leader.send(PacketType::Commit, 7, 2);
    });
    assert_eq!((zxid, learner.on_disk()), (Zxid::new(4, 3), Zxid::new(4, 3)));
    assert_eq!(learner.epoch("currentEpoch"), 5);
}

#[test]
fn streams_that_are_no_snapshot_end_the_connection() {
    let learner = Learner::new();
    let mut wrong_signature = snapshot(&[(1, 1)]);
    let end = wrong_signature.len();
    wrong_signature[end - 1] = b'!';
    let cases: [&[u8]; 5] = [
        &wrong_signature,
        &[0xff; 4096],
        &[0x7f; 4096],
        // No sessions, then two billion ACLs.
        &[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff],
        &[0; 4096],
    ];
    for bytes in cases {
        let zxid = learner.play(|leader| {
            leader.discover(2);
            leader.send(PacketType::Snap, 1, 1);
            leader.raw(bytes);
            leader.writer.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
            leader.await_end();
        });
        assert_eq!(zxid, Zxid(0));
    }
}

#[test]
fn a_leader_that_breaks_the_protocol_is_left() {
    let learner = Learner::new();
    type Story = fn(&mut Leader);
    let during_discovery: [Story; 6] = [
        |leader| leader.send(PacketType::Diff, 1, 1),
        |leader| leader.send(PacketType::NewLeader, 1, 0),
        |leader| leader.send(PacketType::LeaderInfo, 1, 0),
        |leader| leader.raw(&[0xff; 64]),
        |leader| {
            // A packet of two gigabytes.
            let mut bytes = Vec::new();
            bytes.put_i32(PacketType::LeaderInfo.as_i32());
            bytes.put_i64(1 << 32);
            bytes.put_i32(i32::MAX);
            leader.raw(&bytes);
        },
        |leader| {
            // Two billion ids.
            let mut bytes = PacketType::LeaderInfo.packet(1 << 32, None).to_bytes();
            let end = bytes.len() - 4;
            bytes[end..].copy_from_slice(&i32::MAX.to_be_bytes());
            leader.raw(&bytes);
        },
    ];
    for story in during_discovery {
        let zxid = learner.play(|leader| {
            leader.receive();
            story(leader);
            leader.await_end();
        });
        assert_eq!(zxid, Zxid(0));
    }
    let after_discovery: [Story; 8] = [
        |leader| leader.send(PacketType::UpToDate, -1, 0),
        |leader| leader.propose(PacketType::Proposal, 1, 1),
        |leader| {
            leader.send(PacketType::Diff, 1, 2);
            leader.propose(PacketType::Proposal, 1, 2);
        },
        |leader| {
            leader.send(PacketType::Diff, 1, 2);
            leader.propose(PacketType::Proposal, 1, 1);
            leader.send(PacketType::Commit, 1, 2);
        },
        |leader| {
            leader.send(PacketType::Diff, 1, 2);
            leader.send(PacketType::NewLeader, 3, 0);
        },
        |leader| {
            leader.send(PacketType::Diff, 1, 2);
            leader.writer.write(PacketType::Proposal, 1, Some(&[1, 2, 3])).unwrap();
            leader.writer.flush().unwrap();
        },
        |leader| {
            leader.send(PacketType::Diff, 1, 2);
            leader.send(PacketType::UpToDate, -1, 0);
        },
        |leader| {
            leader.send(PacketType::Diff, 1, 2);
            leader.send(PacketType::Snap, 1, 2);
        },
    ];
    for story in after_discovery {
        let zxid = learner.play(|leader| {
            leader.discover(2);
            story(leader);
            leader.await_end();
        });
        assert_eq!(zxid, Zxid(0));
    }
    let while_serving: [Story; 5] = [
        |leader| leader.propose(PacketType::Proposal, 2, 2),
        |leader| leader.send(PacketType::Commit, 2, 1),
        |leader| leader.propose(PacketType::Proposal, 3, 1),
        |leader| leader.send(PacketType::Trunc, 1, 1),
        |leader| {
            leader.writer.write(PacketType::Revalidate, -1, Some(&[0; 4])).unwrap();
            leader.writer.flush().unwrap();
        },
    ];
    for story in while_serving {
        let zxid = learner.play(|leader| {
            leader.serve(2);
            story(leader);
            leader.await_end();
        });
        assert_eq!(zxid, Zxid(0));
    }
    // An older leader than the one that was accepted.
    let zxid = learner.play(|leader| {
        leader.leader_info(1);
        leader.await_end();
    });
    assert_eq!((zxid, learner.epoch("acceptedEpoch")), (Zxid(0), 2));
    // What nobody knows is ignored; a sync or session that nobody waits for, too.
    let zxid = learner.play(|leader| {
        leader.serve(3);
        for packet_type in [0, 1, 3, 11, 16, 18, 20, 99, -1, i32::MAX, i32::MIN] {
            let packet = QuorumPacket { packet_type, zxid: 7, data: None, authinfo: Vec::new() };
            leader.writer.write_packet(&packet).unwrap();
        }
        leader.send(PacketType::Sync, 0, 0);
        leader.writer.write(PacketType::Revalidate, -1, Some(&[1; 9])).unwrap();
        leader.send(PacketType::UpToDate, -1, 0);
        leader.propose(PacketType::Proposal, 3, 1);
        leader.expect(PacketType::Ack, 3, 1);
    });
    assert_eq!(zxid, Zxid::new(3, 1));
}

#[test]
fn a_log_that_cannot_be_cut_so_far_ends_the_process_and_stays_as_it_is() {
    let learner = Learner::new();
    let refused = |epoch, counter| {
        let ended = learner.play_to_the_end(|leader| {
            leader.discover(9);
            leader.send(PacketType::Trunc, epoch, counter);
            leader.await_end();
        });
        let error = ended.unwrap_err();
        assert_eq!(error.code, ExitCode::QuorumPacketError);
        let expected = format!("Not able to truncate the log to {}", Zxid::new(epoch, counter));
        assert!(error.why.starts_with(&expected), "{}", error.why);
    };
    // Nothing at all.
    refused(1, 5);
    // A snapshot and a log behind it.
    learner.play(|leader| {
        leader.discover(10);
        leader.send(PacketType::Snap, 4, 2);
        leader.raw(&snapshot(&[(4, 1), (4, 2)]));
        leader.send(PacketType::NewLeader, 10, 0);
        leader.expect(PacketType::Ack, 10, 0);
        leader.send(PacketType::UpToDate, -1, 0);
        leader.expect(PacketType::Ack, 10, 0);
        leader.propose(PacketType::Proposal, 10, 1);
        leader.expect(PacketType::Ack, 10, 1);
    });
    let refused = |epoch, counter| {
        let ended = learner.play_to_the_end(|leader| {
            leader.discover(11);
            leader.send(PacketType::Trunc, epoch, counter);
            leader.await_end();
        });
        assert_eq!(ended.unwrap_err().code, ExitCode::QuorumPacketError);
        assert_eq!(learner.on_disk(), Zxid::new(10, 1));
        assert_eq!(learner.epoch("currentEpoch"), 10);
    };
    refused(4, 1);
    refused(3, 7);
    // Twice, as by a supervisor that starts it again.
    refused(4, 1);
}

#[test]
fn a_silent_leader_is_left() {
    let learner = Learner { conf: "initLimit=2\nsyncLimit=2", ..Learner::new() };
    // Not a word, a word without end, nothing after it has begun to serve.
    learner.play(|leader| leader.await_end());
    learner.play(|leader| {
        leader.receive();
        leader.raw(&[0, 0, 0, 17, 0]);
        leader.await_end();
    });
    learner.play(|leader| {
        leader.serve(2);
        leader.await_end();
    });
}

#[test]
fn observers_are_informed() {
    let learner = Learner::observer("");
    let zxid = learner.play(|leader| {
        let info = leader.receive();
        assert_eq!(info.packet_type, PacketType::ObserverInfo.as_i32());
        let version = 0x10000i32.to_be_bytes();
        leader.writer.write(PacketType::LeaderInfo, Zxid::new(5, 0).0, Some(&version)).unwrap();
        leader.writer.flush().unwrap();
        leader.expect(PacketType::AckEpoch, 0, 0);
        leader.send(PacketType::Diff, 4, 2);
        leader.propose(PacketType::Proposal, 4, 1);
        leader.send(PacketType::Commit, 4, 1);
        leader.propose(PacketType::Inform, 4, 2);
        leader.send(PacketType::NewLeader, 5, 0);
        leader.expect(PacketType::Ack, 5, 0);
        assert_eq!((learner.on_disk(), learner.epoch("currentEpoch")), (Zxid::new(4, 2), 5));
        leader.propose(PacketType::Inform, 5, 1);
        leader.send(PacketType::UpToDate, -1, 0);
        leader.expect(PacketType::Ack, 5, 0);
        leader.propose(PacketType::Inform, 5, 2);
        // Nothing is acknowledged.
        leader.send(PacketType::Ping, 5, 2);
        leader.expect(PacketType::Ping, 5, 2);
    });
    assert_eq!((zxid, learner.on_disk()), (Zxid::new(5, 2), Zxid::new(5, 2)));
}

#[test]
fn an_observer_without_a_log_keeps_what_it_learned_until_it_ends() {
    let learner = Learner::observer("syncEnabled=false");
    let zxid = learner.play(|leader| {
        leader.discover(5);
        leader.send(PacketType::Diff, 4, 1);
        leader.propose(PacketType::Inform, 4, 1);
        leader.send(PacketType::NewLeader, 5, 0);
        leader.expect(PacketType::Ack, 5, 0);
        leader.send(PacketType::UpToDate, -1, 0);
        leader.expect(PacketType::Ack, 5, 0);
        leader.propose(PacketType::Inform, 5, 1);
        leader.send(PacketType::Ping, 5, 1);
        leader.expect(PacketType::Ping, 5, 1);
    });
    assert_eq!((zxid, learner.on_disk()), (Zxid::new(5, 1), Zxid(0)));
    assert_eq!((learner.epoch("acceptedEpoch"), learner.epoch("currentEpoch")), (5, 0));
}

#[test]
fn an_observer_without_a_log_goes_back_to_its_snapshot_when_it_has_to_cut() {
    let learner = Learner::observer("syncEnabled=false");
    let zxid = learner.play(|leader| {
        leader.discover(2);
        leader.send(PacketType::Trunc, 1, 5);
        leader.await_end();
    });
    assert_eq!(zxid, Zxid(0));
}
