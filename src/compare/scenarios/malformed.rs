//! Packets that no client sends: which connection each of them costs, and that it costs no other.

use super::Scenario;
use crate::client::{frame, new_session_request};
use crate::compare::flavor::{Flavor, PLAIN};
use crate::compare::script::{Action, Hello, Request, Script, Step};
use crate::compare::wire::request_bytes;
use crate::jute::{Jute, OutputExt};
use crate::proto::messages::{CreateRequest, DeleteRequest, GetAclRequest, SyncRequest};
use crate::proto::multi::MultiHeader;
use crate::proto::{Acl, OpCode};

/// What the group is about.
pub const ABOUT: &str =
    "Packets that no client sends: each costs its own connection and nothing else.";

/// Operations with a body that can be cut short.
const WITH_BODY: &[OpCode] = &[
    OpCode::Create,
    OpCode::Delete,
    OpCode::Exists,
    OpCode::GetData,
    OpCode::SetData,
    OpCode::GetAcl,
    OpCode::SetAcl,
    OpCode::GetChildren,
    OpCode::Sync,
    OpCode::GetChildren2,
    OpCode::Check,
    OpCode::Multi,
    OpCode::Create2,
    OpCode::Reconfig,
    OpCode::CheckWatches,
    OpCode::RemoveWatches,
    OpCode::CreateContainer,
    OpCode::DeleteContainer,
    OpCode::CreateTtl,
    OpCode::MultiRead,
    OpCode::SetWatches,
    OpCode::SetWatches2,
    OpCode::AddWatch,
    OpCode::GetEphemerals,
    OpCode::GetAllChildrenNumber,
];

/// All of them.
pub fn all() -> Vec<Scenario> {
    let mut all = vec![
        first_packets(),
        connections_that_end_early(),
        frames_without_a_header(),
        undecodable_auth_and_sasl(),
        null_strings_and_lists(),
        unknown_operations(),
        create_session_by_a_client(),
        null_lists_and_paths(),
        null_acl_in_a_multi(),
        characters_beyond_the_bmp(),
        limits_of_frames(),
    ];
    all.extend(WITH_BODY.iter().map(|op| undecodable_bodies(*op)));
    all
}

fn scenario(name: &str, script: Script) -> Scenario {
    on(PLAIN, name, script)
}

fn mangled() -> &'static Flavor {
    Flavor::named("mangled").unwrap_or(PLAIN)
}

fn on(flavor: &'static Flavor, name: &str, script: Script) -> Scenario {
    Scenario { group: "malformed", name: name.to_owned(), flavor, script }
}

/// Builds a script in which a witness must not notice anything.
#[derive(Default)]
struct Scene {
    script: Script,
    count: usize,
}

impl Scene {
    fn step(&mut self, who: &str, action: Action) {
        self.script.steps.push(Step::new(who, action));
    }

    fn begin(&mut self) -> String {
        if self.count == 0 {
            self.step("witness", Action::Open(Hello::new(20_000)));
        }
        self.count += 1;
        format!("c{}", self.count)
    }

    /// The first bytes of a connection.
    fn throw(&mut self, bytes: &[u8], then_end: bool) {
        let who = self.begin();
        self.step(&who, Action::Raw(bytes.to_vec()));
        if then_end {
            self.step(&who, Action::Half);
        }
        self.step(&who, Action::Receive);
        self.step(&who, Action::Cut);
        self.script.steps.push(Step::send("witness", Request::Ping));
    }

    /// Bytes on a connection with a session.
    fn after_hello(&mut self, bytes: &[u8]) {
        let who = self.begin();
        self.step(&who, Action::Open(Hello::new(5000)));
        self.step(&who, Action::Raw(bytes.to_vec()));
        self.step(&who, Action::Receive);
        // Is the connection still there, and is the session?
        self.script.steps.push(Step::send(&who, Request::Ping));
        self.script.steps.push(Step::send("witness", Request::Ping));
        self.step(&who, Action::Take { from: who.clone(), hello: Hello::new(5000) });
        self.script.steps.push(Step::send(&who, Request::CloseSession));
        self.step(&who, Action::Ends);
    }

    /// A request on a connection with a session, and what becomes of both.
    fn request(&mut self, op: i32, body: Vec<u8>) {
        self.request_and(op, body, |who| Step::send(who, Request::Ping));
    }

    /// As [`Scene::request`], for what is answered and then ends the connection: whether a ping comes
    /// through in between is a matter of chance.
    fn refused(&mut self, op: i32, body: Vec<u8>) {
        self.request_and(op, body, |who| Step::new(who, Action::Ends));
    }

    fn request_and(&mut self, op: i32, body: Vec<u8>, then: fn(&str) -> Step) {
        let who = self.begin();
        self.step(&who, Action::Open(Hello::new(5000)));
        self.script.steps.push(Step::send(&who, Request::Any { op, body }));
        self.script.steps.push(then(&who));
        self.script.steps.push(Step::send("witness", Request::Ping));
        self.step(&who, Action::Take { from: who.clone(), hello: Hello::new(5000) });
        self.script.steps.push(Step::send(&who, Request::CloseSession));
        self.step(&who, Action::Ends);
    }
}

fn first_packets() -> Scenario {
    let mut s = Scene::default();
    s.throw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", false);
    s.throw(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0], false);
    s.throw(b"SSH-2.0-OpenSSH_9.2\r\n", false);
    for length in [-5, i32::MIN, i32::MAX, 0x10_0000, 0] {
        s.throw(&length.to_be_bytes(), false);
    }
    s.throw(&frame(&[7]), false);
    s.throw(&frame(&[0; 10]), false);
    let connect = new_session_request(5000).to_bytes();
    for cut in [4, 12, 16, 24, 28, 40] {
        s.throw(&frame(connect.get(..cut).unwrap_or_default()), false);
    }
    // A password longer than the packet, and one of a negative length.
    for length in [1000, -7] {
        let mut bytes = connect.get(..24).unwrap_or_default().to_vec();
        bytes.put_i32(length);
        bytes.extend([0; 17]);
        s.throw(&frame(&bytes), false);
    }
    scenario("first_packets_that_are_no_connect_request", s.script)
}

fn connections_that_end_early() -> Scenario {
    let mut s = Scene::default();
    let connect = frame(&new_session_request(5000).to_bytes());
    s.throw(&[], true);
    s.throw(&[0, 0], true);
    s.throw(&44i32.to_be_bytes(), true);
    s.throw(connect.get(..20).unwrap_or_default(), true);
    scenario("connections_that_end_early", s.script)
}

fn frames_without_a_header() -> Scenario {
    let mut s = Scene::default();
    for bytes in [&[][..], &[1, 2, 3], &[0; 7]] {
        s.after_hello(&frame(bytes));
    }
    s.after_hello(&(-1i32).to_be_bytes());
    s.after_hello(&0x10_0000i32.to_be_bytes());
    s.after_hello(&frame(&new_session_request(5000).to_bytes()));
    s.after_hello(b"srvr");
    s.after_hello(b"GET / HTTP/1.1\r\n\r\n");
    s.after_hello(&frame(&request_bytes(5, OpCode::Ping.as_i32(), &[])));
    scenario("frames_without_a_header", s.script)
}

fn undecodable_bodies(op: OpCode) -> Scenario {
    let mut s = Scene::default();
    let mut half_a_path = Vec::new();
    half_a_path.put_i32(9);
    half_a_path.extend(b"/t");
    let mut whole_path = "/t".to_owned().to_bytes();
    let mut bodies = vec![
        Vec::new(),
        half_a_path,
        vec![0xff, 0xff, 0xff, 0xf0, 0],
        vec![0x7f, 0xff, 0xff, 0xff, 0],
        vec![0],
        whole_path.clone(),
    ];
    // A path, and half of what follows it.
    whole_path.push(0);
    bodies.push(whole_path.clone());
    whole_path.extend([0, 0, 9]);
    bodies.push(whole_path);
    for body in bodies {
        // A check is a part of a multi only.
        if op == OpCode::Check {
            s.refused(op.as_i32(), body);
        } else {
            s.request(op.as_i32(), body);
        }
    }
    let is_write = Request::Any { op: op.as_i32(), body: Vec::new() }.is_write();
    let flavor = if is_write { mangled() } else { PLAIN };
    on(flavor, &format!("undecodable_{}", op.name()), s.script)
}

fn undecodable_auth_and_sasl() -> Scenario {
    let mut s = Scene::default();
    for op in [OpCode::Auth, OpCode::Sasl] {
        for body in [vec![], vec![0, 0, 0, 0], vec![0, 0, 0, 0, 0, 0, 0, 9, b'x']] {
            s.after_hello(&frame(&request_bytes(-4, op.as_i32(), &body)));
        }
    }
    scenario("undecodable_auth_and_sasl", s.script)
}

fn null_strings_and_lists() -> Scenario {
    let mut s = Scene::default();
    for op in [
        OpCode::Exists,
        OpCode::GetData,
        OpCode::GetChildren,
        OpCode::GetChildren2,
        OpCode::GetAcl,
        OpCode::Sync,
        OpCode::GetEphemerals,
        OpCode::GetAllChildrenNumber,
        OpCode::CheckWatches,
        OpCode::RemoveWatches,
        OpCode::Delete,
        OpCode::Create,
        OpCode::Reconfig,
    ] {
        // Nulls and zeros for everything.
        let mut body = vec![0xff; 4];
        body.extend([0; 4]);
        s.request(op.as_i32(), body.clone());
        let mut nulls = vec![0xff; 12];
        nulls.extend([0; 8]);
        s.request(op.as_i32(), nulls);
        let mut lists = vec![0; 8];
        lists.extend([0xff; 20]);
        s.request(op.as_i32(), lists);
    }
    // A null path is the root's.
    on(Flavor::named("fresh").unwrap_or(PLAIN), "null_strings_and_lists", s.script)
}

/// Where Java and zabkeeper differ on purpose.
fn null_lists_and_paths() -> Scenario {
    let mut s = Scene::default();
    for op in [OpCode::SetData, OpCode::SetAcl, OpCode::AddWatch] {
        let mut body = vec![0xff; 4];
        body.extend([0; 8]);
        s.request(op.as_i32(), body);
    }
    for op in [OpCode::SetWatches, OpCode::SetWatches2] {
        let mut body = vec![0; 8];
        body.extend([0xff; 20]);
        s.request(op.as_i32(), body);
    }
    let mut null_acl = "/t/n".to_owned().to_bytes();
    null_acl.put_i32(0);
    null_acl.extend([0xff; 4]);
    null_acl.put_i32(0);
    s.request(OpCode::Create.as_i32(), null_acl);
    on(mangled(), "null_lists_and_paths", s.script)
}

fn null_acl_in_a_multi() -> Scenario {
    let mut s = Scene::default();
    let mut body = MultiHeader { op: OpCode::Create.as_i32(), done: false, err: -1 }.to_bytes();
    body.put_str("/t/n");
    body.put_i32(0);
    body.put_i32(-1);
    body.put_i32(0);
    MultiHeader { op: -1, done: true, err: -1 }.encode(&mut body);
    s.request(OpCode::Multi.as_i32(), body);
    on(mangled(), "null_acl_in_a_multi", s.script)
}

fn characters_beyond_the_bmp() -> Scenario {
    let mut s = Scene::default();
    let who = s.begin();
    s.step(&who, Action::Open(Hello::new(5000)));
    let path = Some("/t/\u{1f600}".to_owned());
    s.script.steps.push(Step::send(&who, Request::Sync(SyncRequest { path })));
    let acl = vec![Acl::new(31, "digest", "\u{1f600}:x"), Acl::new(31, "world", "anyone")];
    let create = CreateRequest { path: "/t/n".into(), data: None, acl, flags: 0 };
    s.script.steps.push(Step::send(&who, Request::Create(create)));
    let get = GetAclRequest { path: "/t/n".into() };
    s.script.steps.push(Step::send(&who, Request::GetAcl(get)));
    let delete = DeleteRequest { path: "/t/n".into(), version: -1 };
    s.script.steps.push(Step::send(&who, Request::Delete(delete)));
    scenario("characters_beyond_the_bmp", s.script)
}

fn unknown_operations() -> Scenario {
    let mut s = Scene::default();
    for op in [-1, 0, 10, 23, 50, 99, 108, 200, 1000, -2, -9, -12, -100, i32::MAX, i32::MIN] {
        s.refused(op, Vec::new());
        s.refused(op, "/t".to_owned().to_bytes());
    }
    scenario("unknown_operations", s.script)
}

fn create_session_by_a_client() -> Scenario {
    let mut s = Scene::default();
    // Without a witness, who would see the transactions that it costs Java.
    let who = "c1".to_owned();
    s.step(&who, Action::Open(Hello::new(5000)));
    let op = OpCode::CreateSession.as_i32();
    s.script.steps.push(Step::send(&who, Request::Any { op, body: vec![0, 0, 0x10, 0] }));
    s.step(&who, Action::Ends);
    scenario("create_session_by_a_client", s.script)
}

fn limits_of_frames() -> Scenario {
    let mut s = Scene::default();
    for bytes in [100, 201, 999, 1000, 1001, 1002, 5000] {
        let mut body = "/t".to_owned().to_bytes();
        body.push(0);
        body.resize(bytes - 8, 0);
        s.request(OpCode::Exists.as_i32(), body);
    }
    for bytes in [1000, 1001] {
        let mut connect = new_session_request(5000).to_bytes();
        connect.resize(bytes, 0);
        s.throw(&frame(&connect), false);
    }
    let small = Flavor::named("small").unwrap_or(PLAIN);
    on(small, "limits_of_frames", s.script)
}
