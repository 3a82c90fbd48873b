//! Random sequences: several sessions, a small tree, every operation, one by one and in pipelines,
//! with a rough picture of the tree so that half of what is asked succeeds. The same seed makes the
//! same sequence, everywhere.
//!
//! Left out is what depends on timing in Java: a setACL ends a pipeline (what follows it would be
//! checked against the old list until the new one is on disk), and so does an auth packet, which
//! overtakes the replies before it, and each write once there is a hard quota (which counts what is
//! applied, so that a pipeline may go over it by as much as is on its way).

mod dice;
mod picture;

use std::sync::Arc;

pub use dice::Dice;
use picture::Picture;

use super::script::{
    Action, Call, Hello, Moment, Passwd, Request, Script, SetWatchesAt, Step, TIMEOUT_MS,
};
use crate::jute::Buffer;
use crate::proto::messages::{
    AddWatchRequest, CheckVersionRequest, CheckWatchesRequest, CreateRequest, CreateTtlRequest,
    DeleteContainerRequest, DeleteRequest, ExistsRequest, GetAclRequest,
    GetAllChildrenNumberRequest, GetChildrenRequest, GetDataRequest, GetEphemeralsRequest,
    RemoveWatchesRequest, SetAclRequest, SetDataRequest, SyncRequest,
};
use crate::proto::multi::MultiOp;
use crate::proto::{Acl, perms};

/// What a sequence is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Requests.
    pub ops: usize,
    /// Sessions at a time.
    pub sessions: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { ops: 200, sessions: 3 }
    }
}

/// The sequence of `seed`.
pub fn sequence(seed: u64, plan: Plan) -> Script {
    let mut author = Author {
        dice: Dice::new(seed),
        picture: Picture::default(),
        script: Script::default(),
        zxids: 0,
        has_hard_quota: false,
    };
    author.write(plan);
    author.script
}

struct Author {
    dice: Dice,
    picture: Picture,
    script: Script,
    /// About how many transactions there were.
    zxids: i64,
    /// A hard limit was set.
    has_hard_quota: bool,
}

/// Where a request stands in its pipeline.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Inside,
    Last,
}

impl Author {
    fn write(&mut self, plan: Plan) {
        let names: Vec<String> = (0..plan.sessions.max(1)).map(|n| format!("s{n}")).collect();
        for name in &names {
            self.act(name, Action::Open(Hello::new(TIMEOUT_MS)));
        }
        for (n, name) in names.iter().enumerate() {
            if self.dice.is_one_in(3) {
                let auth = if self.dice.is_one_in(6) {
                    super::stage::SUPER_TOKEN.to_owned()
                } else {
                    format!("u{n}:pw")
                };
                self.send(name, Request::Auth { scheme: "digest".into(), auth: text(&auth) });
            }
        }
        let mut written = 0;
        while written < plan.ops {
            let who = names.get(self.dice.roll(names.len())).cloned().unwrap_or_default();
            match self.dice.roll(80) {
                0 => self.reconnect(&who),
                1 => self.close(&who),
                2 => self.lose(&who),
                3 => self.steal(&who),
                4 => self.quota(&who),
                5 => {
                    let auth = self.dice.one_of(&["u0:pw", "u1:pw", "x:y", "u0:other"]);
                    let auth = Request::Auth { scheme: "digest".into(), auth: text(auth) };
                    self.send(&who, auth);
                }
                6..=40 => {
                    let length = (1 + self.dice.roll(40)).min(plan.ops - written);
                    self.pipeline(&who, length);
                    written += length;
                    continue;
                }
                _ => {
                    let request = self.request(Place::Alone);
                    let is_refused = matches!(request, Request::Check(_));
                    self.send(&who, request);
                    // An operation of multis only: it is answered, and then the connection ends.
                    if is_refused {
                        self.act(&who, Action::Ends);
                        self.reconnect(&who);
                    }
                }
            }
            written += 1;
        }
    }

    fn act(&mut self, who: &str, action: Action) {
        self.script.steps.push(Step::new(who, action));
    }

    fn send(&mut self, who: &str, request: Request) {
        self.script.steps.push(Step::send(who, request));
    }

    fn pipeline(&mut self, who: &str, length: usize) {
        for n in 1..=length {
            let place = if n == length { Place::Last } else { Place::Inside };
            let request = self.request(place);
            let is_last = place == Place::Last
                || matches!(request, Request::SetAcl(_))
                || (self.has_hard_quota && request.is_write());
            let call = Call { is_joined: !is_last, ..Call::new(request) };
            self.act(who, Action::Send(call));
        }
    }

    /// The session goes on over another connection, without its watches.
    fn reconnect(&mut self, who: &str) {
        self.act(who, Action::Take { from: who.to_owned(), hello: Hello::new(TIMEOUT_MS) });
    }

    fn close(&mut self, who: &str) {
        self.zxids += 2;
        self.send(who, Request::Ping);
        self.send(who, Request::CloseSession);
        self.act(who, Action::Ends);
        if self.dice.is_one_in(3) {
            // It is gone for good.
            self.act(who, Action::Take { from: who.to_owned(), hello: Hello::new(TIMEOUT_MS) });
        }
        self.act(who, Action::Open(Hello::new(TIMEOUT_MS)));
    }

    fn lose(&mut self, who: &str) {
        self.send(who, Request::Ping);
        let end = if self.dice.is_one_in(2) { Action::Cut } else { Action::Reset };
        self.act(who, end);
        self.reconnect(who);
        let since = Moment::Relative(self.moment());
        let mut lists = [const { Vec::new() }; 5];
        for list in &mut lists {
            for _ in 0..self.dice.roll(4) {
                list.push(self.picture.path(&mut self.dice));
            }
        }
        self.send(who, Request::SetWatches2(SetWatchesAt { since, lists }));
    }

    /// Another connection asks for the session with a wrong password: the old one ends, the session
    /// does not.
    fn steal(&mut self, who: &str) {
        let hello = Hello { passwd: Passwd::Wrong, ..Hello::new(TIMEOUT_MS) };
        self.act("thief", Action::Take { from: who.to_owned(), hello });
        self.act(who, Action::Ends);
        self.reconnect(who);
    }

    /// As zkCli's setquota: the nodes of the path, then limits and stats.
    fn quota(&mut self, who: &str) {
        let path = self.dice.one_of(&["/t/a", "/t/b", "/t", "/t/a/x"]);
        let limits = self.dice.one_of(&[
            "count=5,bytes=60",
            "count=-1,bytes=40,byteHardLimit=80,countHardLimit=-1",
            "count=3,bytes=-1=;byteHardLimit=-1;countHardLimit=6",
            "count=2,bytes=10;byteHardLimit=30;countHardLimit=4",
            "bytes=30",
            "",
        ]);
        self.has_hard_quota |= limits.contains("HardLimit");
        let mut at = String::from("/zookeeper/quota");
        for part in path.trim_start_matches('/').split('/') {
            at = format!("{at}/{part}");
            self.join(who, Request::Create(create(&at, text(""), Acl::open_unsafe(), 0)));
        }
        let stats = format!("{at}/zookeeper_stats");
        let limit = format!("{at}/zookeeper_limits");
        match self.dice.roll(5) {
            0 => {
                self.join(who, Request::Delete(DeleteRequest { path: limit, version: -1 }));
                let delete = DeleteRequest { path: stats.clone(), version: -1 };
                self.join(who, Request::Delete(delete));
            }
            1 => {
                let set = SetDataRequest { path: limit, data: text(limits), version: -1 };
                self.join(who, Request::SetData(set));
            }
            _ => {
                let create_limit = create(&limit, text(limits), Acl::open_unsafe(), 0);
                self.join(who, Request::Create(create_limit));
                let zero = create(&stats, text("count=0,bytes=0"), Acl::open_unsafe(), 0);
                self.join(who, Request::Create(zero));
            }
        }
        self.send(who, Request::GetData(GetDataRequest { path: stats, watch: false }));
    }

    fn join(&mut self, who: &str, request: Request) {
        self.act(who, Action::Send(Call { is_joined: true, ..Call::new(request) }));
    }

    /// A zxid of the past, now and then of the future.
    fn moment(&mut self) -> i64 {
        let past = usize::try_from(self.zxids).unwrap_or_default();
        i64::try_from(self.dice.roll(past + 3)).unwrap_or_default()
    }

    fn flags(&mut self) -> i32 {
        self.dice.one_of(&[0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5])
    }

    fn data(&mut self) -> Buffer {
        match self.dice.roll(12) {
            0 => None,
            1 => Some(vec![b'x'; 100 + self.dice.roll(900)].into()),
            2 => text("0123456789012345678901234567890123456789"),
            3 | 4 => text(""),
            5 => Some(Arc::from([0xff, 0, 0x80])),
            _ => text(self.dice.one_of(&["x", "yy", "some data", "é"])),
        }
    }

    fn acl(&mut self) -> Vec<Acl> {
        let anyone = |bits| vec![Acl::new(bits, "world", "anyone")];
        match self.dice.roll(24) {
            0 => anyone(perms::READ),
            1 => anyone(perms::ALL & !perms::READ),
            2 => anyone(perms::ALL & !perms::WRITE),
            3 => anyone(perms::ALL & !perms::CREATE),
            4 => anyone(perms::ALL & !perms::DELETE),
            5 => anyone(perms::ALL & !perms::ADMIN),
            6 => vec![Acl::new(perms::ALL, "auth", "")],
            7 => vec![Acl::new(perms::ALL, "ip", "127.0.0.0/8")],
            8 => vec![Acl::new(perms::READ, "ip", "10.0.0.1"), Acl::new(31, "world", "anyone")],
            9 => vec![],
            // u0:pw
            10 => vec![
                Acl::new(perms::ALL, "digest", "u0:xQYL0QvBy/fjFtdyEedzRg8Ebuw="),
                Acl::new(perms::READ, "world", "anyone"),
            ],
            11 => vec![Acl::new(perms::ALL, "nonsense", "x")],
            12 => anyone(self.dice.one_of(&[0, 32, -1])),
            _ => Acl::open_unsafe(),
        }
    }

    fn request(&mut self, place: Place) -> Request {
        let path = self.picture.path(&mut self.dice);
        let watch = self.dice.is_one_in(2);
        match self.dice.roll(100) {
            0..=21 => {
                let (path, flags) = (self.picture.new_path(&mut self.dice), self.flags());
                let request = create(&path, self.data(), self.acl(), flags);
                self.zxids += 1;
                self.picture.create(&path, flags);
                if self.dice.is_one_in(4) {
                    Request::Create2(request)
                } else {
                    Request::Create(request)
                }
            }
            22..=24 => {
                let path = self.picture.new_path(&mut self.dice);
                let flags = self.dice.one_of(&[4, 4, 4, 4, 0, 5]);
                self.zxids += 1;
                self.picture.create(&path, flags);
                Request::CreateContainer(create(&path, self.data(), self.acl(), flags))
            }
            25..=27 => {
                let path = self.picture.new_path(&mut self.dice);
                self.zxids += 1;
                let request = self.create_ttl(&path);
                self.picture.create(&path, request.flags);
                Request::CreateTtl(request)
            }
            28..=36 => {
                let version = self.version(&path);
                self.zxids += 1;
                self.picture.change(&path);
                Request::SetData(SetDataRequest { path, data: self.data(), version })
            }
            37..=46 => {
                let version = self.version(&path);
                self.zxids += 1;
                self.picture.delete(&path);
                Request::Delete(DeleteRequest { path, version })
            }
            47..=49 => Request::Exists(ExistsRequest { path, watch }),
            50..=53 => Request::GetData(GetDataRequest { path, watch }),
            54..=56 => Request::GetChildren(GetChildrenRequest { path, watch }),
            57..=59 => Request::GetChildren2(GetChildrenRequest { path, watch }),
            60 | 61 => Request::GetAcl(GetAclRequest { path }),
            62..=65 => {
                self.zxids += 1;
                let version =
                    if self.dice.is_one_in(2) { -1 } else { self.dice.one_of(&[0, 1, 2]) };
                Request::SetAcl(SetAclRequest { path, acl: self.acl(), version })
            }
            66..=73 => {
                self.zxids += 1;
                let count = self.dice.roll(7);
                Request::Multi((0..count).map(|_| self.multi_op()).collect())
            }
            74..=76 => {
                let count = self.dice.roll(5);
                Request::MultiRead((0..count).map(|_| self.multi_read_op()).collect())
            }
            77..=82 => {
                let mode = self.dice.one_of(&[0, 1, 1, 0, 1, 2]);
                Request::AddWatch(AddWatchRequest { path, mode })
            }
            83 | 84 => {
                let watcher_type = self.dice.one_of(&[1, 2, 3, 4, 5, 0]);
                Request::RemoveWatches(RemoveWatchesRequest { path, watcher_type })
            }
            85 | 86 => {
                let watcher_type = self.dice.one_of(&[1, 2, 3, 4, 5, 6]);
                Request::CheckWatches(CheckWatchesRequest { path, watcher_type })
            }
            87 | 88 => {
                let since = Moment::Relative(self.moment());
                let mut lists = [const { Vec::new() }; 5];
                for list in &mut lists {
                    for _ in 0..self.dice.roll(3) {
                        list.push(self.picture.path(&mut self.dice));
                    }
                }
                if self.dice.is_one_in(3) {
                    let [a, b, c, ..] = lists;
                    let lists = [a, b, c, Vec::new(), Vec::new()];
                    Request::SetWatches(SetWatchesAt { since, lists })
                } else {
                    Request::SetWatches2(SetWatchesAt { since, lists })
                }
            }
            89 | 90 => {
                let prefix = self.dice.one_of(&["/", "/t/a", "/t/b", ""]);
                Request::GetEphemerals(GetEphemeralsRequest { prefix_path: Some(prefix.into()) })
            }
            91 => Request::GetAllChildrenNumber(GetAllChildrenNumberRequest { path }),
            92 | 93 => {
                self.zxids += 1;
                self.picture.delete(&path);
                Request::DeleteContainer(DeleteContainerRequest { path })
            }
            94 => Request::Sync(SyncRequest { path: Some(path) }),
            95 => Request::WhoAmI,
            96 if place == Place::Alone => {
                Request::Check(CheckVersionRequest { path, version: self.dice.one_of(&[-1, 0]) })
            }
            _ => Request::Ping,
        }
    }

    fn version(&mut self, path: &str) -> i32 {
        match self.dice.roll(6) {
            0 => self.dice.one_of(&[0, 1, 2, 3, -2]),
            1..=3 => -1,
            _ => self.picture.version(path),
        }
    }

    fn create_ttl(&mut self, path: &str) -> CreateTtlRequest {
        CreateTtlRequest {
            path: path.to_owned(),
            data: self.data(),
            acl: self.acl(),
            flags: self.dice.one_of(&[5, 6, 5, 6, 5]),
            ttl: self.dice.one_of(&[1_000_000, 5_000_000, 1_000_000, 0, -1]),
        }
    }

    fn multi_op(&mut self) -> MultiOp {
        let path = self.picture.path(&mut self.dice);
        let new_path = self.picture.new_path(&mut self.dice);
        match self.dice.roll(16) {
            0..=3 => {
                let flags = self.dice.one_of(&[0, 0, 1, 2, 3]);
                MultiOp::Create(create(&new_path, self.data(), self.acl(), flags))
            }
            4 | 5 => {
                let flags = self.dice.one_of(&[0, 2, 1]);
                MultiOp::Create2(create(&new_path, self.data(), Acl::open_unsafe(), flags))
            }
            6 | 7 => MultiOp::Delete(DeleteRequest { version: self.version(&path), path }),
            8..=10 => {
                let (version, data) = (self.version(&path), self.data());
                MultiOp::SetData(SetDataRequest { path, data, version })
            }
            11 | 12 => MultiOp::Check(CheckVersionRequest { version: self.version(&path), path }),
            13 => MultiOp::CreateContainer(create(&new_path, text("c"), Acl::open_unsafe(), 4)),
            _ => MultiOp::CreateTtl(self.create_ttl(&new_path)),
        }
    }

    fn multi_read_op(&mut self) -> MultiOp {
        let path = self.picture.path(&mut self.dice);
        let watch = self.dice.is_one_in(4);
        if self.dice.is_one_in(2) {
            MultiOp::GetData(GetDataRequest { path, watch })
        } else {
            MultiOp::GetChildren(GetChildrenRequest { path, watch })
        }
    }
}

fn text(text: &str) -> Buffer {
    Some(Arc::from(text.as_bytes()))
}

fn create(path: &str, data: Buffer, acl: Vec<Acl>, flags: i32) -> CreateRequest {
    CreateRequest { path: path.to_owned(), data, acl, flags }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_sequence_and_it_survives_its_text() {
        for seed in 0..20 {
            let script = sequence(seed, Plan::default());
            assert_eq!(script, sequence(seed, Plan::default()));
            assert_eq!(script.to_string().parse::<Script>().unwrap(), script);
            assert!(script.steps.len() >= 200);
        }
        assert_ne!(sequence(1, Plan::default()), sequence(2, Plan::default()));
    }
}
