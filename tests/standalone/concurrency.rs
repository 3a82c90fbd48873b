//! Many clients at once: what each of them may rely on, whatever the others do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zabkeeper::jute::{Input, Jute, OutputExt};
use zabkeeper::proto::messages::{
    CreateResponse, ExistsRequest, GetDataRequest, GetDataResponse, SetDataRequest,
};
use zabkeeper::proto::{Acl, OpCode};

use crate::support::both::Flavor;
use crate::support::peer::{create, text};
use crate::support::server::{TestServer, targets};
use crate::support::wire::{Packet, Received, Wire, new_session};
use crate::support::{PATIENCE, wait_until};

static CROWD: Flavor = Flavor::new(
    &["4lw.commands.whitelist=*", "maxClientCnxns=0", "maxSessionTimeout=60000", "snapCount=2000"],
    &[],
);

const CLIENTS: i32 = 8;

/// A session that checks what holds for every session: zxids in replies never go back.
struct Client {
    wire: Wire,
    xid: i32,
    last_zxid: i64,
    events: u32,
}

impl Client {
    fn open(server: &TestServer) -> Client {
        let mut wire = Wire::open(server.addr());
        assert!(wire.handshake(&new_session(20_000)).is_some_and(|r| r.session_id != 0));
        Client { wire, xid: 0, last_zxid: 0, events: 0 }
    }

    fn call(&mut self, op: OpCode, body: &impl Jute) -> Packet {
        self.xid += 1;
        self.wire.send(self.xid, op.as_i32(), &body.to_bytes());
        loop {
            let packet = self.wire.packet();
            assert!(packet.header.zxid >= self.last_zxid, "the server went back in time");
            self.last_zxid = packet.header.zxid;
            if packet.header.xid == -1 {
                self.events += 1;
                continue;
            }
            assert_eq!(packet.header.xid, self.xid);
            return packet;
        }
    }

    fn close(mut self) {
        self.wire.send(self.xid + 1, OpCode::CloseSession.as_i32(), &[]);
        while let Received::Frame(_) = self.wire.receive() {}
    }
}

fn get(client: &mut Client, path: &str, watch: bool) -> GetDataResponse {
    let packet = client.call(OpCode::GetData, &GetDataRequest { path: path.into(), watch });
    assert_eq!(packet.header.err, 0);
    GetDataResponse::decode(&mut Input::unbounded(&packet.body)).unwrap()
}

/// Runs `body` in a thread for each of the clients, on every target.
fn crowd(body: impl Fn(i32, &TestServer) + Sync, afterwards: impl Fn(&TestServer)) {
    for &target in targets() {
        CROWD.tell(target, &|s| {
            let server = s.server;
            let body = &body;
            thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..CLIENTS).map(|n| scope.spawn(move || body(n, server))).collect();
                for thread in threads {
                    thread.join().unwrap_or_else(|_| panic!("{target}: a client failed"));
                }
            });
            afterwards(server);
        });
    }
}

#[test]
fn conditional_writes_never_lose_an_update() {
    const EACH: i32 = 60;
    crowd(
        |_, server| {
            let mut client = Client::open(server);
            let mut done = 0;
            while done < EACH {
                let read = get(&mut client, "/t", false);
                let count: i32 = match read.data.as_deref() {
                    Some([]) | None => 0,
                    Some(bytes) => std::str::from_utf8(bytes).unwrap().parse().unwrap(),
                };
                let request = SetDataRequest {
                    path: "/t".into(),
                    data: text(&(count + 1).to_string()),
                    version: read.stat.version,
                };
                match client.call(OpCode::SetData, &request).header.err {
                    0 => done += 1,
                    -103 => {}
                    err => panic!("{err}"),
                }
            }
            client.close();
        },
        |server| {
            let mut client = Client::open(server);
            let read = get(&mut client, "/t", false);
            assert_eq!(read.data, text(&(EACH * CLIENTS).to_string()));
            assert_eq!(read.stat.version, EACH * CLIENTS);
            client.close();
        },
    );
}

#[test]
fn sequence_numbers_are_unique_and_without_a_gap() {
    const EACH: i32 = 150;
    crowd(
        |_, server| {
            let mut client = Client::open(server);
            let body = create("/t/n-", "", Acl::open_unsafe(), 2).to_bytes();
            let mut last = String::new();
            // Ten under way at any time.
            for xid in 1..=10 {
                client.wire.send(xid, OpCode::Create.as_i32(), &body);
            }
            for xid in 1..=EACH {
                let packet = client.wire.packet();
                assert_eq!((packet.header.xid, packet.header.err), (xid, 0));
                let reply = CreateResponse::decode(&mut Input::unbounded(&packet.body)).unwrap();
                assert!(reply.path > last, "a later create got an earlier number");
                last = reply.path;
                if xid + 10 <= EACH {
                    client.wire.send(xid + 10, OpCode::Create.as_i32(), &body);
                }
            }
            client.xid = EACH;
            client.close();
        },
        |server| {
            let mut client = Client::open(server);
            for number in [0, EACH * CLIENTS - 1] {
                let path = format!("/t/n-{number:010}");
                let reply = client.call(OpCode::Exists, &ExistsRequest { path, watch: false });
                assert_eq!(reply.header.err, 0, "number {number}");
            }
            let read = get(&mut client, "/t", false);
            assert_eq!(read.stat.num_children, EACH * CLIENTS);
            client.close();
        },
    );
}

// A watcher learns of a change before it can see the change.
#[test]
fn b23_no_read_shows_a_change_before_its_event() {
    let ended = AtomicBool::new(false);
    crowd(
        |n, server| {
            let mut client = Client::open(server);
            if n == 0 {
                ended.store(false, Ordering::SeqCst);
                // The readers never rest: on a busy machine few writes get through.
                let begin = Instant::now();
                let mut count = 0;
                while count < 20 || (count < 200 && begin.elapsed() < Duration::from_secs(2)) {
                    count += 1;
                    let request =
                        SetDataRequest { path: "/t".into(), data: text("x"), version: -1 };
                    assert_eq!(client.call(OpCode::SetData, &request).header.err, 0);
                }
                ended.store(true, Ordering::SeqCst);
                return client.close();
            }
            // Some readers are enough to share the cores with.
            while n < 4 && !ended.load(Ordering::SeqCst) {
                let events = client.events;
                let armed = get(&mut client, "/t", true).stat.version;
                if client.events != events {
                    // An earlier watch fired meanwhile: this one may have or not.
                    continue;
                }
                loop {
                    let seen = get(&mut client, "/t", false).stat.version;
                    if client.events != events {
                        break;
                    }
                    assert_eq!(seen, armed, "the change is seen, its event is not");
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                }
            }
            client.close();
        },
        |_| {},
    );
}

/// The value of a line of `mntr`.
fn mntr(server: &TestServer, name: &str) -> f64 {
    let text = server.word("mntr");
    let line = text.lines().find(|line| line.split('\t').next() == Some(name));
    line.and_then(|line| line.split('\t').nth(1)).unwrap_or("-1").parse().unwrap()
}

#[test]
fn sessions_come_and_go_without_leaving_anything() {
    crowd(
        |_, server| {
            for n in 0..60 {
                let mut client = Client::open(server);
                let body = create("/t/e-", "", Acl::open_unsafe(), 3);
                assert_eq!(client.call(OpCode::Create, &body).header.err, 0);
                get(&mut client, "/t", true);
                let mut body = "/t".to_owned().to_bytes();
                body.put_i32(1);
                client.wire.send(9, OpCode::AddWatch.as_i32(), &body);
                if n % 3 == 0 {
                    // Does not wait for any reply.
                    client.wire.send(10, OpCode::CloseSession.as_i32(), &[]);
                    client.wire.cut();
                } else {
                    client.close();
                }
            }
        },
        |server| {
            let settled = wait_until(PATIENCE, || {
                let left = [
                    mntr(server, "zk_ephemerals_count"),
                    mntr(server, "zk_watch_count"),
                    mntr(server, "zk_global_sessions"),
                    mntr(server, "zk_num_alive_connections") - 1.0,
                ];
                left.iter().all(|count| *count <= 0.0).then_some(())
            });
            let mntr = server.word("mntr");
            assert!(settled.is_some(), "{}: something is left\n{mntr}", server.target());
        },
    );
}
