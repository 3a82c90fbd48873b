//! A data directory that goes from one server to the other and back: every node with data, stat and
//! ACL, every session and its ephemerals must be the same afterwards.

use std::sync::Arc;
use std::time::Duration;

use zabkeeper::jute::Jute;
use zabkeeper::proto::messages::{
    CreateRequest, CreateTtlRequest, DeleteRequest, ExistsRequest, GetEphemeralsRequest,
    SetAclRequest, SetDataRequest,
};
use zabkeeper::proto::multi::MultiOperationRecord;
use zabkeeper::proto::{Acl, OpCode, perms};

use crate::dump::{Dump, Session, assert_same};
use crate::skip;
use crate::support::both::SUPER_DIGEST;
use crate::support::peer::{Story, create, op_create, op_delete, op_set};
use crate::support::random::tell;
use crate::support::server::{Setup, Target, TestServer, exchange_targets, targets};
use crate::support::wait_until;
use crate::support::wire::{old_session, request_frame};

/// Who gets the directory after whom. With one server only it restarts on its own data.
fn routes() -> Vec<Vec<Target>> {
    match exchange_targets()[..] {
        [Target::Java, Target::Zabkeeper] => vec![
            vec![Target::Java, Target::Zabkeeper, Target::Java, Target::Zabkeeper],
            vec![Target::Zabkeeper, Target::Java, Target::Zabkeeper],
        ],
        [only] => {
            if only == Target::Zabkeeper {
                skip("exchange of data directories", "there is no Java server");
            }
            vec![vec![only; 3]]
        }
        _ => Vec::new(),
    }
}

fn setup(conf: &[&str], properties: &[&str]) -> Setup {
    let mut setup = Setup::new(
        &[
            "extendedTypesEnabled=true",
            "4lw.commands.whitelist=*",
            "minSessionTimeout=1000",
            "maxSessionTimeout=120000",
        ],
        &["znode.container.checkIntervalMs=3600000"],
    );
    setup.conf.extend(conf.iter().map(|line| (*line).to_owned()));
    setup.properties.extend(properties.iter().map(|property| (*property).to_owned()));
    setup
        .properties
        .push(format!("zookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"));
    setup
}

/// How a server ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Term,
    Kill,
}

/// A directory on its way.
struct Journey {
    setup: Setup,
    /// Owner of the directory: outlives the server that runs in it.
    home: TestServer,
    guest: Option<TestServer>,
}

impl Journey {
    fn begin(target: Target, setup: Setup) -> Journey {
        Journey { home: TestServer::start(target, &setup), guest: None, setup }
    }

    fn server(&mut self) -> &mut TestServer {
        self.guest.as_mut().unwrap_or(&mut self.home)
    }

    fn end(&mut self, end: End) {
        match end {
            End::Kill => self.server().kill(),
            End::Term => {
                self.server().stop();
            }
        }
    }

    fn go_on_with(&mut self, target: Target) {
        let mut guest = TestServer::on_data_of(&self.home, target, &self.setup);
        guest.restart();
        self.guest = Some(guest);
    }

    fn dump(&mut self) -> Dump {
        let mut session = Session::of_super_user(self.server());
        let dump = session.dump();
        session.close();
        dump
    }

    /// Digests that do not match what the log says are a bug of one of the two.
    fn assert_digests_match(&mut self) {
        let server = self.server();
        let mntr = server.word("mntr");
        if let Some(line) = mntr.lines().find(|line| line.starts_with("zk_digest_mismatches_count"))
        {
            assert!(line.ends_with("\t0"), "{}: {line}\n{}", server.target(), server.log_tail());
        }
    }
}

fn put(session: &mut Session, path: &str, data: Option<&[u8]>, acl: Vec<Acl>, flags: i32) {
    let data = data.map(Arc::from);
    let request = CreateRequest { path: path.into(), data, acl, flags };
    session.must(OpCode::Create, &request);
}

/// Some of everything, below `/stage-{n}`.
fn build(session: &mut Session, n: usize) {
    let root = format!("/stage-{n}");
    let open = Acl::open_unsafe;
    put(session, &root, Some(b"root of a stage"), open(), 0);
    put(session, &format!("{root}/null"), None, open(), 0);
    put(session, &format!("{root}/empty"), Some(b""), open(), 0);
    put(session, &format!("{root}/big"), Some(&[b'b'; 200_000]), open(), 0);
    put(session, &format!("{root}/\u{e4}\u{4e2d}"), Some("\u{fc}".as_bytes()), open(), 0);
    for _ in 0..20 {
        put(session, &format!("{root}/seq-"), Some(b"s"), open(), 2);
    }
    session.must(
        OpCode::Delete,
        &DeleteRequest { path: format!("{root}/seq-0000000007"), version: -1 },
    );
    session.auth("owner:pw");
    let acls = vec![
        Acl::new(perms::ALL, "auth", ""),
        Acl::new(perms::READ, "ip", "10.0.0.0/8"),
        Acl::new(perms::READ, "world", "anyone"),
    ];
    put(session, &format!("{root}/acl"), Some(b"a"), acls, 0);
    let path = format!("{root}/null");
    session.must(OpCode::SetAcl, &SetAclRequest { path, acl: Acl::read_unsafe(), version: 0 });
    for version in 0..5 {
        let path = format!("{root}/empty");
        let data = Some(Arc::from(version.to_string().into_bytes()));
        session.must(OpCode::SetData, &SetDataRequest { path, data, version });
    }
    session.must(OpCode::CreateContainer, &create(&format!("{root}/container"), "", open(), 4));
    put(session, &format!("{root}/container/x"), Some(b""), open(), 0);
    let path = format!("{root}/ttl");
    let ttl = CreateTtlRequest { path, data: None, acl: open(), flags: 5, ttl: 86_400_000 };
    session.must(OpCode::CreateTtl, &ttl);
    let ops = vec![
        op_create(&format!("{root}/multi"), 0),
        op_create(&format!("{root}/multi/x"), 0),
        op_set(&format!("{root}/multi"), "m", 0),
        op_delete(&format!("{root}/multi/x"), -1),
    ];
    session.must(OpCode::Multi, &MultiOperationRecord { ops });
    // Failures are in the log, too.
    let failing = vec![op_create(&format!("{root}/no"), 0), op_delete("/missing", -1)];
    session.must(OpCode::Multi, &MultiOperationRecord { ops: failing });
    let again = session.call(OpCode::Create, &create(&root, "", open(), 0));
    assert_eq!(again.header.err, -110);
    let quota = format!("/zookeeper/quota{root}");
    put(session, &quota, Some(b""), open(), 0);
    put(session, &format!("{quota}/zookeeper_limits"), Some(b"count=100000,bytes=-1"), open(), 0);
    put(session, &format!("{quota}/zookeeper_stats"), Some(b"count=0,bytes=0"), open(), 0);
}

/// The whole way: build, hand over, compare, build more, hand over, ...
fn travel(setup: &Setup, end: End, between: &dyn Fn(&TestServer)) {
    for route in routes() {
        let mut journey = Journey::begin(route[0], setup.clone());
        // A session with ephemerals stays open over all stages.
        let mut lasting = Session::open(journey.server(), 120_000);
        let (id, passwd) = (lasting.id, lasting.passwd);
        put(&mut lasting, "/lasting", Some(b"e"), Acl::open_unsafe(), 1);
        let mut before: Option<Dump> = None;
        for (n, &target) in route.iter().enumerate() {
            if let Some(before) = before.take() {
                journey.go_on_with(target);
                let after = journey.dump();
                assert_same(&before, &after, &format!("{route:?}: stage {n}, on {target}"));
                journey.assert_digests_match();
                let request = old_session(id, &passwd, 120_000);
                lasting = Session::connect(journey.server(), &request)
                    .unwrap_or_else(|| panic!("{route:?}: {target} has lost the session"));
                assert_eq!(lasting.passwd, passwd);
                let prefix_path = Some("/".to_owned());
                let reply =
                    lasting.must(OpCode::GetEphemerals, &GetEphemeralsRequest { prefix_path });
                // One from the beginning, one from each stage.
                assert_eq!(reply.body[..4], (n as i32 + 1).to_be_bytes(), "{target}: ephemerals");
            }
            let mut session = Session::open(journey.server(), 20_000);
            build(&mut session, n);
            session.close();
            put(&mut lasting, &format!("/lasting-{n}"), None, Acl::open_unsafe(), 1);
            before = Some(journey.dump());
            journey.assert_digests_match();
            journey.end(end);
            between(journey.server());
        }
    }
}

fn nothing(_: &TestServer) {}

#[test]
fn log_and_first_snapshot() {
    travel(&setup(&[], &[]), End::Term, &nothing);
}

#[test]
fn many_snapshots_and_logs_after_a_kill() {
    travel(&setup(&["snapCount=20", "preAllocSize=64"], &[]), End::Kill, &nothing);
}

#[test]
fn log_files_only() {
    let trusting = setup(&["snapshot.trust.empty=true"], &["zookeeper.snapshot.trust.empty=true"]);
    travel(&trusting, End::Kill, &|server| {
        let snapshots = std::fs::read_dir(server.version_dir()).unwrap().flatten();
        for file in snapshots {
            if file.file_name().to_string_lossy().starts_with("snapshot.") {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
    });
}

/// Asserts that a snapshot of this ending is there at every stage.
fn compressed(method: &str, ending: &str) {
    let conf = format!("snapshot.compression.method={method}");
    let ending = ending.to_owned();
    travel(&setup(&["snapCount=20", &conf], &[]), End::Term, &move |server| {
        let found = wait_until(Duration::from_secs(1), || {
            let files = std::fs::read_dir(server.version_dir()).unwrap().flatten();
            let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
            names.any(|name| name.starts_with("snapshot.") && name.ends_with(&ending)).then_some(())
        });
        assert!(found.is_some(), "no snapshot with {ending}");
    });
}

#[test]
fn gzip_snapshots() {
    compressed("gz", ".gz");
}

#[test]
fn snappy_snapshots() {
    compressed("snappy", ".snappy");
}

#[test]
fn b17_no_digests() {
    let off = setup(&[], &["zookeeper.digest.enabled=false"]);
    travel(&off, End::Term, &nothing);
}

#[test]
fn separate_log_directory_and_old_style_records() {
    // Without paths in closeSession and with the serialised zxid left out, as older servers do it.
    let old = setup(
        &["closeSessionTxn.enabled=false", "serializeLastProcessedZxid.enabled=false"],
        &["zookeeper.serializeLastProcessedZxid.enabled=false"],
    );
    travel(&old, End::Kill, &nothing);
}

/// Trees that nobody has thought of.
#[test]
fn random_trees() {
    for route in routes() {
        // Java 3.8 does not apply every part of a multi that the stories make: create2 is left out.
        if !route.iter().all(|target| targets().contains(target)) {
            continue;
        }
        let mut journey = Journey::begin(route[0], setup(&["snapCount=150"], &[]));
        let mut first = Session::open(journey.server(), 20_000);
        put(&mut first, "/t", None, Acl::open_unsafe(), 0);
        first.close();
        let mut before: Option<Dump> = None;
        for (n, &target) in route.iter().enumerate() {
            if let Some(before) = before.take() {
                journey.go_on_with(target);
                assert_same(
                    &before,
                    &journey.dump(),
                    &format!("{route:?}: stage {n}, on {target}"),
                );
                journey.assert_digests_match();
            }
            for seed in 0..3 {
                let story = Story::new(journey.server());
                tell(1000 + 3 * n as u64 + seed, &story);
                story.finish();
            }
            before = Some(journey.dump());
            if n == 0 && target == Target::Zabkeeper {
                journey.assert_digests_match();
            }
            journey.end(if n % 2 == 0 { End::Kill } else { End::Term });
        }
    }
}

/// A kill in the middle of a stream of writes: what was acknowledged is there for the next server,
/// and what is there has no hole.
#[test]
fn acknowledged_writes_survive_a_kill_and_a_change_of_server() {
    for route in routes() {
        let mut journey = Journey::begin(route[0], setup(&["snapCount=200"], &[]));
        let mut acknowledged = 0usize;
        for (n, &target) in route.iter().enumerate() {
            if n > 0 {
                journey.go_on_with(target);
                let dump = journey.dump();
                let count = dump.keys().filter(|path| path.starts_with("/w-")).count();
                assert!(
                    count >= acknowledged,
                    "{route:?}: {target} has {count} of {acknowledged} acknowledged nodes"
                );
                for number in 0..count {
                    assert!(dump.contains_key(&format!("/w-{number:010}")), "a hole at {number}");
                }
                acknowledged = count;
                journey.assert_digests_match();
            }
            let mut session = Session::open(journey.server(), 20_000);
            let body = create("/w-", "x", Acl::open_unsafe(), 2).to_bytes();
            let mut bytes = Vec::new();
            for xid in 1..=2000 {
                let frame = request_frame(xid, OpCode::Create.as_i32(), &body);
                bytes.extend((frame.len() as i32).to_be_bytes());
                bytes.extend(frame);
            }
            session.wire.send_raw(&bytes);
            for xid in 1..=700 {
                let packet = session.wire.packet();
                assert_eq!((packet.header.xid, packet.header.err), (xid, 0));
                acknowledged += 1;
            }
            journey.end(End::Kill);
            // What was on its way counts as well.
            while let crate::support::wire::Received::Frame(_) = session.wire.receive() {
                acknowledged += 1;
            }
        }
    }
}

/// Sessions whose clients do not come back end on the next server, with their ephemerals.
#[test]
fn forgotten_sessions_expire_on_the_next_server() {
    for route in routes() {
        let mut journey = Journey::begin(route[0], setup(&[], &[]));
        for (n, &target) in route.iter().enumerate().skip(1) {
            let mut lost = Session::open(journey.server(), 1000);
            put(&mut lost, &format!("/lost-{n}"), None, Acl::open_unsafe(), 1);
            journey.end(End::Kill);
            journey.go_on_with(target);
            let mut session = Session::open(journey.server(), 20_000);
            let request = ExistsRequest { path: format!("/lost-{n}"), watch: false };
            let gone = wait_until(Duration::from_secs(15), || {
                (session.call(OpCode::Exists, &request).header.err == -101).then_some(())
            });
            session.close();
            assert!(gone.is_some(), "{route:?}: {target} keeps the ephemeral");
            let request = old_session(lost.id, &lost.passwd, 1000);
            assert!(Session::connect(journey.server(), &request).is_none());
        }
    }
}
