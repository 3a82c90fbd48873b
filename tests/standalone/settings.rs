//! What single settings change.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use zabkeeper::jute::Jute;
use zabkeeper::proto::{Acl, OpCode};

use crate::story;
use crate::support::both::{Flavor, check_lines};
use crate::support::peer::{Story, create};
use crate::support::server::{Setup, Target, TestServer, targets};
use crate::support::wire::{Wire, new_session, old_session, request_frame};
use crate::support::{PATIENCE, wait_until};

static ENFORCED_AUTH: Flavor =
    Flavor::bare(&["enforce.auth.enabled=true", "enforce.auth.schemes=digest"], &[]);
static SKIP_ACL: Flavor = Flavor::named("skip_acl");
static SHA_256: Flavor = Flavor::bare(
    &["closeSessionTxn.enabled=false", "4lw.commands.whitelist=*"],
    &["zookeeper.DigestAuthenticationProvider.digestAlg=SHA-256", "zookeeper.digest.enabled=false"],
);

story!(enforced_authentication on ENFORCED_AUTH, |s| {
    s.hide_zxids();
    let mut a = s.client_for("a", 8000);
    // Everything but auth ends the connection.
    // Java answers a ping of an unauthenticated client with the error, too.
    a.wire.send(-2, OpCode::Ping.as_i32(), &[]);
    s.note_raw("a", &mut a.wire);
    a.expect_closed();
    for op in [OpCode::Exists, OpCode::Create, OpCode::WhoAmI, OpCode::CloseSession] {
        let mut b = s.client_for("b", 8000);
        if b.call_raw(op.as_i32(), &[], op.name()).is_some() {
            b.expect_closed();
        }
    }
    let mut c = s.client_for("c", 8000);
    c.auth("digest", "u:p");
    c.create("/enforced", "", 1);
    c.exists("/enforced", false);
    c.ping();
    c.close();
    let mut d = s.client_for("d", 8000);
    if d.auth("ip", "x").is_some() {
        d.exists("/", false);
        d.expect_closed();
    }
    // A session of its own does not come back with its identities.
    let mut e = s.client_for("e", 8000);
    e.auth("digest", "u:p");
    e.cut();
    let mut again = s.reattach("again", &e);
    if again.exists("/x", false).is_some() {
        again.expect_closed();
    }
});

story!(b39_the_whitelist_names_words on SKIP_ACL, |s| {
    for word in ["ruok", "isro", "srvr", "stat", "conf", "mntr"] {
        let answer = s.server.word(word);
        let first = answer.lines().next().unwrap_or_default();
        s.note(format!("{word}: {}", first.split('-').next().unwrap_or_default()));
    }
});

story!(another_digest_algorithm on SHA_256, |s| {
    let mut a = s.client_for("a", 8000);
    a.auth("digest", "user:password");
    a.who_am_i();
    a.create_acl("/sha256", "x", vec![Acl::new(31, "auth", "")], 1);
    a.get_acl("/sha256");
    let mut b = s.client_for("b", 8000);
    b.get("/sha256", false);
    b.auth("digest", "user:password");
    b.get("/sha256", false);
    b.auth("digest", "super:secret");
    b.who_am_i();
    s.note(format!("hash: {:?}", s.server.word("hash")));
    a.close();
    b.exists("/sha256", false);
});

/// Whether the kernel probes the server's side of a client's connection: the timer 02 in
/// `/proc/net/tcp`.
fn is_kept_alive(wire: &Wire) -> bool {
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let (server, client) =
        (port(wire.stream().peer_addr().unwrap()), port(wire.stream().local_addr().unwrap()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap()
        + &std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let line = table.lines().find(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&server))
            && fields.next().is_some_and(|remote| remote.ends_with(&client))
    });
    line.and_then(|line| line.split_whitespace().nth(5))
        .is_some_and(|timer| timer.starts_with("02"))
}

#[test]
fn single_settings_of_connections_and_writes() {
    let setup = Setup::new(
        &[
            "flushDelay=3000",
            "maxWriteQueuePollTime=250",
            "clientTcpKeepAlive=true",
            "ensembleAuthName=one,two",
            "DigestAuthenticationProvider.enabled=false",
            "authProvider.1=org.apache.zookeeper.server.auth.KeyAuthenticationProvider",
            "authProvider.2=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider",
            "metricsProvider.className=org.apache.zookeeper.metrics.impl.NullMetricsProvider",
            "4lw.commands.whitelist=mntr",
            "pathStats.enabled=true",
        ],
        &["readonlymode.enabled=true"],
    );
    check_lines("single_settings_of_connections_and_writes", &|target| {
        let server = TestServer::start(target, &setup);
        let s = Story::new(&server);
        s.hide_zxids();
        let mut a = s.client("a");
        s.note(format!("keepalive: {}", is_kept_alive(&a.wire)));
        // Alone, a write waits for others until none has come for a while. The delay counts from the
        // last flush, that of the session: it is long, so that a busy machine does not eat it up.
        let wait = Duration::from_millis(240);
        let begin = Instant::now();
        a.create("/a", "", 0);
        s.note(format!("a write waits: {}", begin.elapsed() >= wait));
        // One of several, for the machine may be busy.
        let mut is_read_quick = || {
            let begin = Instant::now();
            a.exists("/a", false);
            begin.elapsed() < wait
        };
        let quick = [(); 3].map(|()| is_read_quick());
        s.note(format!("reads wait: {}", quick == [false; 3]));
        a.auth("ensemble", "two");
        a.who_am_i();
        let mut b = s.client("b");
        if b.auth("ensemble", "three").is_some() {
            b.expect_closed();
        }
        let mut c = s.client("c");
        if c.auth("digest", "u:p").is_some() {
            c.expect_closed();
        }
        let mut d = s.client("d");
        d.create_acl("/d", "", vec![Acl::new(31, "digest", "u:p")], 0);
        for line in server.word("mntr").lines() {
            s.note(line.split('\t').next().unwrap_or_default());
        }
        s.note(server.word("isro"));
        s.note(server.word("ruok").trim());
        let elsewhere = std::net::SocketAddr::from(([127, 0, 0, 2], server.addr().port()));
        s.note(format!("at another address: {}", TcpStream::connect(elsewhere).is_ok()));
        let log = server.log();
        s.note(format!("paths: {}", log.contains("Start the RequestPath collector")));
        s.finish()
    });
}

#[test]
fn ops_that_wait_for_too_long_are_throttled() {
    let setup = Setup::new(
        &[
            "request_throttle_max_requests=1",
            "request_throttle_stall_time=20",
            "throttled_op_wait_time=3",
            "4lw.commands.whitelist=mntr",
        ],
        &[],
    );
    check_lines("ops_that_wait_for_too_long_are_throttled", &|target| {
        let server = TestServer::start(target, &setup);
        let mut lines = Vec::new();
        let mut wires: Vec<Wire> = (0..4).map(|_| Wire::open(server.addr())).collect();
        for wire in &mut wires {
            assert!(wire.handshake(&new_session(20_000)).is_some());
        }
        let body = create("/n-", "", Acl::open_unsafe(), 2).to_bytes();
        for wire in &mut wires {
            let mut bytes = Vec::new();
            for xid in 1..=100 {
                let frame = request_frame(xid, OpCode::Create.as_i32(), &body);
                bytes.extend(zabkeeper::client::frame(&frame));
            }
            wire.send_raw(&bytes);
        }
        let (mut throttled, mut others) = (0, Vec::new());
        for wire in &mut wires {
            for xid in 1..=100 {
                let header = wire.packet().header;
                assert_eq!(header.xid, xid);
                match header.err {
                    0 => {}
                    -127 => throttled += 1,
                    other => others.push(other),
                }
            }
        }
        lines.push(format!("throttled: {}, others: {others:?}", throttled > 0));
        // Alone, one waits for nobody; the machine may be busy, though.
        let is_done = || {
            wires[0].send(1, OpCode::Create.as_i32(), &body);
            let code = wires[0].packet().header.err;
            throttled += i32::from(code == -127);
            (code == 0).then_some(())
        };
        lines.push(format!("done alone: {}", wait_until(PATIENCE, is_done).is_some()));
        let mntr = server.word("mntr");
        let metric = |name: &str| {
            let line = mntr.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
            line.unwrap_or("none").to_owned()
        };
        lines.push(format!("counted: {}", metric("zk_throttled_ops") == throttled.to_string()));
        lines.push(format!("waited: {}", metric("zk_request_throttle_wait_count") != "0"));
        lines
    });
}

#[test]
fn weights_of_the_connection_throttle() {
    let conf = [
        "connection_throttle_tokens=3",
        "connection_throttle_fill_time=600000",
        "connection_throttle_weight_enabled=true",
        "connection_throttle_global_session_weight=4",
        "connection_throttle_renew_session_weight=3",
    ];
    check_lines("weights_of_the_connection_throttle", &|target| {
        // 12 tokens, less 4 for the new session and 3 for each time that it comes again.
        let server = TestServer::start(target, &Setup::new(&conf, &[]));
        let mut wire = Wire::open(server.addr());
        let session = wire.handshake(&new_session(20_000)).expect("a session");
        let mut lines = Vec::new();
        for n in 1..=4 {
            wire = Wire::open(server.addr());
            let request = old_session(session.session_id, &session.passwd, 20_000);
            let answer = wire.handshake(&request);
            lines.push(format!("{n}: {:?}", answer.map(|a| a.session_id == session.session_id)));
        }
        lines
    });
}

#[test]
fn the_connection_throttle_raises_its_drop_chance() {
    let conf = [
        "connection_throttle_tokens=1",
        "connection_throttle_fill_time=600000",
        "connection_throttle_freeze_time=1",
        "connection_throttle_drop_increase=0.75",
        "4lw.commands.whitelist=mntr",
    ];
    check_lines("the_connection_throttle_raises_its_drop_chance", &|target| {
        let server = TestServer::start(target, &Setup::new(&conf, &[]));
        let chance = || {
            let mntr = server.word("mntr");
            let line = mntr.lines().find(|line| line.contains("connection_drop_probability"));
            line.unwrap_or("none").to_owned()
        };
        let mut lines = vec![chance()];
        for _ in 0..4 {
            let mut wire = Wire::open(server.addr());
            let has_session = wire.handshake(&new_session(20_000)).is_some();
            lines.push(format!("session: {has_session}, {}", chance()));
            // The chance changes at most once in a millisecond.
            let begin = Instant::now();
            wait_until(PATIENCE, || (begin.elapsed() > Duration::from_millis(5)).then_some(()));
        }
        lines
    });
}

#[test]
fn the_reaper_keeps_to_its_rate() {
    let setup = Setup::new(
        &[],
        &[
            "znode.container.checkIntervalMs=200",
            "znode.container.maxPerMinute=80",
            "znode.container.maxNeverUsedIntervalMs=1",
        ],
    );
    check_lines("the_reaper_keeps_to_its_rate", &|target| {
        let server = TestServer::start(target, &setup);
        let mut wire = Wire::open(server.addr());
        assert!(wire.handshake(&new_session(20_000)).is_some());
        let begin = Instant::now();
        for name in ["a", "b", "c"] {
            let body = create(&format!("/{name}"), "", Acl::open_unsafe(), 4).to_bytes();
            wire.send(1, OpCode::CreateContainer.as_i32(), &body);
            assert_eq!(wire.packet().header.err, 0);
        }
        let mut count = || {
            let mut body = "/".to_owned().to_bytes();
            body.push(0);
            wire.send(2, OpCode::GetChildren.as_i32(), &body);
            wire.packet().body[3]
        };
        // One each 750 ms; else all of them would go at the same time.
        let took = wait_until(PATIENCE, || (count() == 1).then(|| begin.elapsed())).unwrap();
        vec![format!("one after the other: {}", took >= Duration::from_millis(1400))]
    });
}

/// What the log names at the start; Java has no such lines.
#[test]
fn settings_without_effect_are_named_in_the_log() {
    if !targets().contains(&Target::Zabkeeper) {
        return;
    }
    let setup = Setup::new(
        &[
            "admin.serverPort=1",
            "audit.enable=true",
            "ssl.keyStore.location=/nowhere",
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
            "enableEagerACLCheck=true",
            "nio.numWorkerThreads=4",
            "maxResponseCacheSize=1",
            "commitLogCount=600",
            "some.key=x",
        ],
        &["zookeeper.nio.directBufferBytes=1"],
    );
    let server = TestServer::start(Target::Zabkeeper, &setup);
    let log = server.log();
    for line in [
        "Settings that are not yet in effect in this version: admin.serverPort, audit.enable, \
         metricsProvider.className=…PrometheusMetricsProvider, ssl.keyStore.location\n",
        "Settings of ensembles, without effect in standalone mode: commitLogCount, \
         enableEagerACLCheck\n",
        "Settings accepted but not needed by this server: maxResponseCacheSize, \
         nio.numWorkerThreads, zookeeper.nio.directBufferBytes\n",
        "Unknown settings, ignored: some.key\n",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
}
