//! Requests chosen by bytes, judged by the rules of `PrepRequestProcessor`, applied to a tree.
//!
//! What must hold: the digest that was predicted is the tree's, a transaction that was judged good
//! applies, answers do not depend on how far applying lags behind, reads never fail to answer.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, LazyLock};

use zabkeeper::auth::{AclPolicy, AuthSettings, ProviderRegistry};
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::proto::messages::*;
use zabkeeper::proto::multi::{MultiOp, MultiOperationRecord};
use zabkeeper::proto::{Acl, Code, ExtendedTypes, Id, SessionId, Txn, TxnLogEntry, Zxid};
use zabkeeper::server::prep::{
    OutstandingChanges, PrepContext, PrepOptions, PrepRequest, PrepSessions, PrepState,
    PreparedTxn, prepare,
};
use zabkeeper::server::read_requests::{ReadContext, process_read};
use zabkeeper::server::request_body::RequestBody;
use zabkeeper::tree::{DataTree, NoWatches, TreeOptions};

static METRICS: LazyLock<Arc<ServerMetrics>> = LazyLock::new(Arc::default);
static ACL_POLICY: LazyLock<AclPolicy> = LazyLock::new(|| {
    let providers = ProviderRegistry::new(&AuthSettings::default(), &METRICS);
    AclPolicy::new(Arc::new(providers.expect("the default settings are valid")), false)
});

const REQUESTS_MAX: usize = 200;

/// Bytes as a row of choices; 0 once they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.next()) % from.len()]
    }

    /// Few names, so that requests meet; some wrong ones and some of the server's own.
    fn path(&mut self) -> String {
        const NAMES: [&str; 4] = ["a", "a", "b", "é"];
        const SPECIAL: [&str; 16] = [
            "",
            "/",
            "//",
            "/a/",
            "a",
            "/a/./b",
            "/a\u{1}",
            "/zookeeper",
            "/zookeeper/config",
            "/zookeeper/quota",
            "/zookeeper/quota/a",
            "/zookeeper/quota/a/zookeeper_limits",
            "/zookeeper/quota/a/zookeeper_stats",
            "/zookeeper/quota/a/b",
            "/zookeeper/quota/a/b/zookeeper_limits",
            "/zookeeper/quota/a/b/zookeeper_stats",
        ];
        let first = self.next();
        let depth = match first {
            0..0x90 => 1,
            0x90..0xd0 => 2,
            0xd0..0xe0 => 3,
            _ => return self.pick(&SPECIAL).to_owned(),
        };
        (0..depth).map(|_| format!("/{}", self.pick(&NAMES))).collect()
    }

    fn data(&mut self) -> Option<Arc<[u8]>> {
        const TEXTS: [&str; 8] = [
            "",
            "d",
            "count=2,bytes=10",
            "count=1,bytes=-1=;byteHardLimit=3;countHardLimit=1",
            "count=-1,bytes=-1",
            "count=x",
            "count=9223372036854775807,bytes=9223372036854775807",
            "some longer data that quotas count",
        ];
        let choice = self.next();
        (choice % 9 < 8).then(|| Arc::from(TEXTS[usize::from(choice % 9)].as_bytes()))
    }

    fn acl(&mut self) -> Vec<Acl> {
        let one = |perms, scheme: &str, id: &str| Acl { perms, id: Id::new(scheme, id) };
        match self.next() % 32 {
            0..=27 => Acl::open_unsafe(),
            28 => vec![one(1, "world", "anyone"), one(31, "ip", "127.0.0.1/8")],
            29 => vec![one(31, "auth", "")],
            30 => vec![one(31, "digest", "user:hash"), one(16, "world", "anyone")],
            _ => self
                .pick(&[&[][..], &[("world", "somebody")], &[("none", "x")]])
                .iter()
                .map(|(scheme, id)| one(31, scheme, id))
                .collect(),
        }
    }

    fn version(&mut self) -> i32 {
        self.pick(&[-1, -1, -1, -1, -1, 0, 0, 1, 2, i32::MAX, i32::MIN])
    }

    fn create(&mut self) -> CreateRequest {
        let flags = self.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 7]);
        CreateRequest { path: self.path(), data: self.data(), acl: self.acl(), flags }
    }

    fn create_ttl(&mut self) -> CreateTtlRequest {
        let CreateRequest { path, data, acl, .. } = self.create();
        let flags = self.pick(&[5, 6, 5, 6, 5, 0]);
        let ttl = self.pick(&[1, 1000, 1000, (1 << 40) - 1, 0, -1, 1 << 40, i64::MIN]);
        CreateTtlRequest { path, data, acl, flags, ttl }
    }

    fn multi(&mut self, reads: bool) -> MultiOperationRecord {
        let count = usize::from(self.next() % 5);
        let op = |choices: &mut Self| {
            let path = choices.path();
            if reads {
                return match choices.next() % 2 {
                    0 => MultiOp::GetData(GetDataRequest { path, watch: false }),
                    _ => MultiOp::GetChildren(GetChildrenRequest { path, watch: false }),
                };
            }
            match choices.next() % 7 {
                0 => MultiOp::Create(choices.create()),
                1 => MultiOp::Create2(choices.create()),
                2 => MultiOp::CreateContainer(choices.create()),
                3 => MultiOp::CreateTtl(choices.create_ttl()),
                4 => MultiOp::Delete(DeleteRequest { path, version: choices.version() }),
                5 => {
                    let (data, version) = (choices.data(), choices.version());
                    MultiOp::SetData(SetDataRequest { path, data, version })
                }
                _ => MultiOp::Check(CheckVersionRequest { path, version: choices.version() }),
            }
        };
        MultiOperationRecord { ops: (0..count).map(|_| op(self)).collect() }
    }

    fn request(&mut self) -> RequestBody {
        match self.next() % 48 {
            0..=9 => RequestBody::Create(self.create()),
            10 | 11 => RequestBody::Create2(self.create()),
            12 => RequestBody::CreateContainer(self.create()),
            13 | 14 => RequestBody::CreateTtl(self.create_ttl()),
            15..=20 => {
                RequestBody::Delete(DeleteRequest { path: self.path(), version: self.version() })
            }
            21 => RequestBody::DeleteContainer(DeleteContainerRequest { path: self.path() }),
            22..=28 => {
                let (path, data, version) = (self.path(), self.data(), self.version());
                RequestBody::SetData(SetDataRequest { path, data, version })
            }
            29 | 30 => {
                let (path, acl, version) = (self.path(), self.acl(), self.version());
                RequestBody::SetAcl(SetAclRequest { path, acl, version })
            }
            31..=39 => RequestBody::Multi(self.multi(false)),
            40 => RequestBody::MultiRead(self.multi(true)),
            41 => RequestBody::CloseSession,
            42 | 43 => RequestBody::CreateSession { timeout_ms: 4000 },
            44 => RequestBody::GetData(GetDataRequest { path: self.path(), watch: false }),
            45 => {
                RequestBody::GetChildren2(GetChildren2Request { path: self.path(), watch: false })
            }
            46 => RequestBody::GetAcl(GetAclRequest { path: self.path() }),
            _ => {
                RequestBody::GetAllChildrenNumber(GetAllChildrenNumberRequest { path: self.path() })
            }
        }
    }
}

#[derive(Default)]
struct Sessions {
    closing: RefCell<HashSet<SessionId>>,
}

impl PrepSessions for Sessions {
    fn check_session(&self, session: SessionId, _: u64) -> Result<(), Code> {
        if self.closing.borrow().contains(&session) { Err(Code::SessionExpired) } else { Ok(()) }
    }
    fn check_global_session(&self, session: SessionId, owner: u64) -> Result<(), Code> {
        self.check_session(session, owner)
    }
    fn track_session(&self, session: SessionId, _: i32, _: u64) {
        self.closing.borrow_mut().remove(&session);
    }
    fn set_session_closing(&self, session: SessionId) {
        self.closing.borrow_mut().insert(session);
    }
}

/// A server without threads, on which up to `lag` transactions stay outstanding.
struct Server {
    tree: DataTree,
    changes: OutstandingChanges,
    state: PrepState,
    sessions: Sessions,
    pending: VecDeque<PreparedTxn>,
}

impl Server {
    fn apply_all_but(&mut self, lag: usize) {
        while self.pending.len() > lag {
            let Some(prepared) = self.pending.pop_front() else { return };
            let PreparedTxn { header, txn, digest } = &prepared;
            let entry = TxnLogEntry::new(*header, txn.clone(), *digest);
            assert_eq!(TxnLogEntry::decode(&entry.bytes).as_ref(), Ok(&entry));
            let applied = self.tree.process_entry(&entry, &mut NoWatches);
            if !matches!(txn, Txn::Error(_) | Txn::Multi(_)) {
                assert_eq!(applied.code, Code::Ok, "{txn:?}");
            }
            assert_eq!(self.tree.digest_mismatches(), 0, "{prepared:?}");
            self.changes.remove_applied(header.zxid);
        }
    }
}

/// What comes of a story.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Why each request was refused, and its transaction.
    answers: Vec<(Option<Code>, Option<Txn>)>,
    /// The digest of the tree at the end.
    digest: u64,
}

/// Runs a story.
pub fn run(choices: &[u8], lag: usize) -> Outcome {
    let mut choices = Choices(choices);
    let options = PrepOptions {
        enforce_quota: choices.next() % 2 == 1,
        close_session_txn_enabled: choices.next() % 4 > 0,
        reconfig_enabled: false,
        max_buffer: 0xf_ffff,
    };
    let extended_types = ExtendedTypes { enabled: choices.next() % 4 > 0, emulate_353: false };
    let mut server = Server {
        tree: DataTree::new(TreeOptions { extended_types, ..TreeOptions::default() }),
        changes: OutstandingChanges::new(),
        state: PrepState::new(Zxid(0), options),
        sessions: Sessions::default(),
        pending: VecDeque::new(),
    };
    let auth = [Id::new("ip", "127.0.0.1"), Id::new("digest", "user:hash")];
    let mut answers = Vec::new();
    while !choices.0.is_empty() && answers.len() < REQUESTS_MAX {
        let session = SessionId(0x100 + i64::from(choices.next() % 3));
        let auth = if session.0 == 0x100 { &auth[..1] } else { &auth[..] };
        let body = choices.request();
        let now_ms = 1000 + answers.len() as i64;
        let mut context = PrepContext {
            state: &mut server.state,
            tree: &server.tree,
            changes: &mut server.changes,
            sessions: &server.sessions,
            acl_policy: &ACL_POLICY,
            metrics: &METRICS,
            wall_ms: now_ms,
            elapsed_ms: now_ms,
        };
        let prepared = prepare(&mut context, &PrepRequest::new(session, 1, &body, auth));
        assert_eq!(prepared.txn.is_some(), body.is_write());
        answers.push((prepared.error, prepared.txn.as_ref().map(|txn| txn.txn.clone())));
        server.pending.extend(prepared.txn);
        server.apply_all_but(lag);
        if !body.is_write() {
            let context = ReadContext {
                tree: &server.tree,
                acl_policy: &ACL_POLICY,
                metrics: &METRICS,
                session,
                auth,
                watcher: 1,
            };
            process_read(&context, &body, &mut Vec::new(), &mut |_, _| {});
        }
    }
    server.apply_all_but(0);
    super::check_tree(&server.tree);
    Outcome { answers, digest: server.tree.tree_digest() }
}
