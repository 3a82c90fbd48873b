//! The rules against codes observed on Java's server 3.9.4, request by request in the same order.
//! Each story runs twice: with every transaction applied at once, and with all of them outstanding
//! until the end, which must give the same answers.

mod owners;
mod transcript;

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::*;
use crate::auth::{AuthSettings, ProviderRegistry};
use crate::jute::Buffer;
use crate::proto::messages::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteContainerRequest, DeleteRequest,
    GetDataRequest, ReconfigRequest, SetAclRequest, SetDataRequest,
};
use crate::proto::multi::{MultiOp, MultiOperationRecord};
use crate::proto::perms;
use crate::proto::txn::{CloseSessionTxn, CreateTxn, SetDataTxn};
use crate::proto::{ExtendedTypes, TxnLogEntry};
use crate::tree::{NoWatches, TreeOptions};

const EXTENDED: ExtendedTypes = ExtendedTypes { enabled: true, emulate_353: false };
const ALICE: SessionId = SessionId(0x100);
const BOB: SessionId = SessionId(0x200);

#[derive(Default)]
pub(super) struct Sessions {
    unknown: RefCell<HashSet<SessionId>>,
    closing: RefCell<HashSet<SessionId>>,
    owners: RefCell<std::collections::HashMap<SessionId, u64>>,
}

impl PrepSessions for Sessions {
    fn check_global_session(&self, session: SessionId, owner: u64) -> Result<(), Code> {
        self.check_session(session, owner).map_err(|code| match code {
            Code::UnknownSession => Code::SessionExpired,
            code => code,
        })
    }
    fn check_session(&self, session: SessionId, owner: u64) -> Result<(), Code> {
        let mut owners = self.owners.borrow_mut();
        if owner != 0 && *owners.entry(session).or_insert(owner) != owner {
            return Err(Code::SessionMoved);
        }
        if self.unknown.borrow().contains(&session) {
            Err(Code::UnknownSession)
        } else if self.closing.borrow().contains(&session) {
            Err(Code::SessionExpired)
        } else {
            Ok(())
        }
    }
    fn track_session(&self, session: SessionId, _: i32, _: u64) {
        self.unknown.borrow_mut().remove(&session);
    }
    fn set_session_closing(&self, session: SessionId) {
        self.closing.borrow_mut().insert(session);
    }
}

/// A server without threads. Up to `lag` transactions stay outstanding.
pub(super) struct Server {
    pub(super) tree: DataTree,
    pub(super) changes: OutstandingChanges,
    pub(super) state: PrepState,
    pub(super) sessions: Sessions,
    pub(super) acl_policy: AclPolicy,
    pub(super) metrics: Arc<ServerMetrics>,
    pub(super) pending: VecDeque<PreparedTxn>,
    pub(super) lag: usize,
    pub(super) time: i64,
    pub(super) auth: Vec<Id>,
}

impl Server {
    fn new(lag: usize) -> Server {
        Server::with_options(lag, |_| {})
    }

    pub(super) fn with_options(lag: usize, change: impl FnOnce(&mut PrepOptions)) -> Server {
        Server::with_types(lag, EXTENDED, change)
    }

    fn with_types(
        lag: usize,
        extended_types: ExtendedTypes,
        change: impl FnOnce(&mut PrepOptions),
    ) -> Server {
        let mut options = PrepOptions {
            enforce_quota: false,
            close_session_txn_enabled: true,
            reconfig_enabled: false,
            max_buffer: 0xf_ffff,
        };
        change(&mut options);
        let metrics = Arc::new(ServerMetrics::default());
        let providers = ProviderRegistry::new(&AuthSettings::default(), &metrics).unwrap();
        Server {
            tree: DataTree::new(TreeOptions { extended_types, ..TreeOptions::default() }),
            changes: OutstandingChanges::new(),
            state: PrepState::new(Zxid(0), options),
            sessions: Sessions::default(),
            acl_policy: AclPolicy::new(Arc::new(providers), false),
            metrics,
            pending: VecDeque::new(),
            lag,
            time: 1_000,
            auth: vec![Id::new("ip", "127.0.0.1")],
        }
    }

    fn prepare(&mut self, session: SessionId, body: &RequestBody) -> Prepared {
        self.time += 1;
        let mut context = PrepContext {
            state: &mut self.state,
            tree: &self.tree,
            changes: &mut self.changes,
            sessions: &self.sessions,
            acl_policy: &self.acl_policy,
            metrics: &self.metrics,
            wall_ms: self.time,
            elapsed_ms: self.time,
        };
        let request = PrepRequest::new(session, 1, body, &self.auth);
        let prepared = prepare(&mut context, &request);
        if let Some(txn) = &prepared.txn {
            // What was written must be what is read, by this server or another.
            let entry = TxnLogEntry::new(txn.header, txn.txn.clone(), txn.digest);
            assert_eq!(TxnLogEntry::decode(&entry.bytes).unwrap(), entry);
            self.pending.push_back(txn.clone());
            self.apply_all_but(self.lag);
        }
        prepared
    }

    fn apply_all_but(&mut self, lag: usize) {
        while self.pending.len() > lag {
            let prepared = self.pending.pop_front().unwrap();
            let zxid = prepared.header.zxid;
            let applied = self.tree.process_txn(&prepared.header, &prepared.txn, &mut NoWatches);
            if !matches!(prepared.txn, Txn::Error(_) | Txn::Multi(_)) {
                assert_eq!(applied.code, Code::Ok, "{:?}", prepared.txn);
            }
            if let Some(digest) = prepared.digest {
                assert_eq!(digest.tree_digest as u64, self.tree.tree_digest(), "{prepared:?}");
            }
            self.changes.remove_applied(zxid);
        }
    }

    /// The code that a client would see; a write takes one zxid whatever comes of it.
    fn code(&mut self, body: RequestBody) -> i32 {
        self.code_of(ALICE, body)
    }

    fn code_of(&mut self, session: SessionId, body: RequestBody) -> i32 {
        let before = self.state.last_zxid;
        let prepared = self.prepare(session, &body);
        if body.is_write() {
            assert_eq!(self.state.last_zxid, before.next());
            let txn = prepared.txn.unwrap();
            assert_eq!(txn.header.zxid, self.state.last_zxid);
            let is_error = prepared.error.is_some();
            assert_eq!(matches!(txn.txn, Txn::Error(_)), is_error);
            assert_eq!(txn.digest.is_none(), is_error);
        }
        prepared.error.map_or(0, Code::as_i32)
    }

    /// The codes of the results of a multi.
    fn multi(&mut self, ops: Vec<MultiOp>) -> Result<Vec<i32>, i32> {
        let prepared = self.prepare(ALICE, &RequestBody::Multi(MultiOperationRecord { ops }));
        if let Some(code) = prepared.error {
            return Err(code.as_i32());
        }
        let Some(PreparedTxn { txn: Txn::Multi(txns), .. }) = prepared.txn else { panic!() };
        let code = |txn: &Txn| match txn {
            Txn::Error(error) => error.err,
            _ => 0,
        };
        Ok(txns.iter().map(code).collect())
    }
}

fn data(bytes: &[u8]) -> Buffer {
    Some(bytes.into())
}

fn create_request(path: &str, flags: i32) -> CreateRequest {
    CreateRequest { path: path.into(), data: data(b"d"), acl: Acl::open_unsafe(), flags }
}

fn create(path: &str, flags: i32) -> RequestBody {
    RequestBody::Create(create_request(path, flags))
}

fn create_acl(path: &str, acl: Vec<Acl>) -> RequestBody {
    RequestBody::Create(CreateRequest { acl, ..create_request(path, 0) })
}

fn ttl_request(path: &str, flags: i32, ttl: i64) -> CreateTtlRequest {
    CreateTtlRequest { path: path.into(), data: data(b"d"), acl: Acl::open_unsafe(), flags, ttl }
}

fn create_ttl(path: &str, flags: i32, ttl: i64) -> RequestBody {
    RequestBody::CreateTtl(ttl_request(path, flags, ttl))
}

fn create_container(path: &str, flags: i32) -> RequestBody {
    RequestBody::CreateContainer(create_request(path, flags))
}

fn delete_request(path: &str, version: i32) -> DeleteRequest {
    DeleteRequest { path: path.into(), version }
}

fn delete(path: &str, version: i32) -> RequestBody {
    RequestBody::Delete(delete_request(path, version))
}

fn delete_container(path: &str) -> RequestBody {
    RequestBody::DeleteContainer(DeleteContainerRequest { path: path.into() })
}

fn set_request(path: &str, version: i32) -> SetDataRequest {
    SetDataRequest { path: path.into(), data: data(b"x"), version }
}

fn set_data(path: &str, version: i32) -> RequestBody {
    RequestBody::SetData(set_request(path, version))
}

fn set_bytes(path: &str, bytes: &[u8]) -> RequestBody {
    RequestBody::SetData(SetDataRequest { data: data(bytes), ..set_request(path, -1) })
}

fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> RequestBody {
    RequestBody::SetAcl(SetAclRequest { path: path.into(), acl, version })
}

fn reconfig() -> RequestBody {
    RequestBody::Reconfig(ReconfigRequest {
        joining_servers: None,
        leaving_servers: Some("1".into()),
        new_members: None,
        cur_config_id: -1,
    })
}

fn check_op(path: &str, version: i32) -> MultiOp {
    MultiOp::Check(CheckVersionRequest { path: path.into(), version })
}

fn acl(scheme: &str, id: &str) -> Vec<Acl> {
    vec![Acl::new(perms::ALL, scheme, id)]
}

/// Runs `story` with no transaction and with all of them outstanding.
fn check(story: impl Fn(&mut Server)) {
    for lag in [0, usize::MAX] {
        let mut server = Server::new(lag);
        story(&mut server);
        server.apply_all_but(0);
        assert!(server.changes.is_empty());
    }
}

fn expect(server: &mut Server, requests: Vec<(RequestBody, i32)>) {
    for (body, expected) in requests {
        let name = format!("{body:?}");
        assert_eq!(server.code(body), expected, "{name}");
    }
}

#[test]
fn create_checks_in_javas_order() {
    check(|server| {
        let no_rights = || vec![Acl::new(0, "world", "anyone")];
        expect(
            server,
            vec![
                (create("/a", 0), 0),
                (create("/a", 0), -110),
                (create("/", 0), -110),
                (create_acl("/", vec![]), -114),
                (create("", 0), -8),
                (create("a", 0), -8),
                (create("/m/x", 0), -101),
                (create("/m//x", 0), -101),
                (create("//x", 0), -8),
                (create("/a//x", 0), -101),
                (create("/a/", 0), -8),
                (create("/a/.", 0), -8),
                (create("/a/", 2), 0),
                (create("/m/", 0), -101),
                (create("/a\0b", 0), -8),
                (create("/m\0/b", 0), -8),
                (create("/a\u{1}b", 0), -8),
                (create_acl("/m/x", vec![]), -114),
                (create("x", 9), -8),
                (create("/q", -1), -8),
                (create("/e", 1), 0),
                (create("/e/x", 0), -108),
                (create("/e/..", 0), -8),
                (create("/e", 0), -110),
                (create_acl("/q", acl("foo", "bar")), -114),
                (create_acl("/q", acl("auth", "")), -114),
                (create_acl("/q", acl("ip", "zzz")), -114),
                (create_acl("/q", acl("digest", "nocolon")), -114),
                (create_acl("/q", acl("world", "x")), -114),
                (create_acl("/p0", no_rights()), 0),
                (create("/p0/x", 0), -102),
                (create("/p0/", 0), -102),
                (create("/p0/.", 0), -102),
                (set_data("/p0", -1), -102),
                (set_data("/p0", 7), -102),
                (delete("/p0", 3), -103),
                (delete("/p0", -1), 0),
            ],
        );
    });
}

#[test]
fn ttl_and_container_flags_are_judged_with_the_operation() {
    check(|server| {
        expect(
            server,
            vec![
                (create("/q", 5), -8),
                (create("q", 5), -8),
                (create("/cont1", 4), 0),
                (create_container("/cont0", 0), 0),
                (create_container("/conte", 1), 0),
                (create_container("/conts", 2), 0),
                (create_container("/cont5", 5), -8),
                (create_ttl("/ttl", 5, 1_000_000), 0),
                (create_ttl("/ttls", 6, 1_000_000), 0),
                (create_ttl("/ttl0", 5, 0), -8),
                (create_ttl("/ttl0", 5, -1), -8),
                (create_ttl("/ttlmax", 5, (1 << 40) - 1), 0),
                (create_ttl("/ttlmax1", 5, 1 << 40), -8),
                (create_ttl("/ttlx", 0, 5), -8),
                (create_ttl("/ttlx", 9, 5), -8),
            ],
        );
        // Here Java accepts and dies from applying it.
        for flags in 0..=4 {
            assert_eq!(server.code(create_ttl("/poison", flags, -1)), -8);
        }
    });
}

#[test]
fn without_extended_types_a_ttl_is_unimplemented_before_anything_else() {
    let mut server = Server::with_types(0, ExtendedTypes::default(), |_| {});
    expect(
        &mut server,
        vec![
            (create_ttl("/ttl", 5, 1000), -6),
            (create_ttl("ttl", 5, -1), -6),
            (create_ttl("/ttl", 0, 5), -8),
            (create("/ttl", 5), -6),
        ],
    );
}

#[test]
fn delete_checks_in_javas_order() {
    check(|server| {
        expect(
            server,
            vec![
                (create("/a", 0), 0),
                (create("/a/0", 0), 0),
                (create("/e", 1), 0),
                (delete("", -1), -8),
                (delete("a", -1), -8),
                (delete("/", -1), -8),
                (delete("/zookeeper", -1), -8),
                (delete("/zookeeper/quota", -1), -8),
                (delete("/zookeeper/config", -1), -8),
                (delete("/m/x", -1), -101),
                (delete("/a/", -1), -101),
                (delete("//a", -1), -101),
                (delete("/a//0", -1), -101),
                (delete("/m//", -1), -101),
                (delete("/a\0", -1), -8),
                (delete("/m", -1), -101),
                (delete("/a", -1), -111),
                (delete("/a", 5), -103),
                (delete("/a/0", 3), -103),
                (delete_container(""), -8),
                (delete_container("a"), -8),
                (delete_container("/"), -8),
                (delete_container("/zookeeper"), -8),
                (delete_container("/m"), -101),
                (delete_container("/a"), -111),
                (delete_container("/e"), -103),
                (delete_container("/a/0"), 0),
                (delete("/a", 0), 0),
                (delete("/a", 0), -101),
            ],
        );
    });
}

#[test]
fn set_data_and_set_acl_check_in_javas_order() {
    check(|server| {
        let open = Acl::open_unsafe;
        expect(
            server,
            vec![
                (create("/a", 0), 0),
                (set_data("", -1), -8),
                (set_data("a", -1), -8),
                (set_data("/m", -1), -101),
                (set_data("/m/", -1), -8),
                (set_data("//", -1), -8),
                (set_data("/a/", -1), -8),
                (set_data("/a", -1), 0),
                (set_data("/", -1), 0),
                (set_data("/", 1), 0),
                (create("/below-the-root", 0), 0),
                (set_data("/", 2), 0),
                (set_data("/zookeeper/config", -1), -102),
                (set_data("/zookeeper", -1), 0),
                (set_data("/zookeeper/quota", -1), 0),
                (set_data("/a\0", -1), -8),
                (set_data("/a", 1), 0),
                (set_data("/a", 1), -103),
                (set_data("/a", -2), -103),
                (set_acl("", open(), -1), -8),
                (set_acl("/m", vec![], -1), -114),
                (set_acl("/m", open(), -1), -101),
                (set_acl("m", vec![], -1), -8),
                (set_acl("/a", vec![], 9), -114),
                (set_acl("/a", open(), 9), -103),
                (set_acl("/a", open(), 0), 0),
                (set_acl("/a", open(), 0), -103),
                (set_acl("/", open(), -1), 0),
                (set_acl("/zookeeper/config", open(), -1), -102),
            ],
        );
    });
}

#[test]
fn a_new_acl_counts_for_the_requests_right_behind() {
    check(|server| {
        let read_only = vec![Acl::new(perms::READ, "world", "anyone")];
        expect(
            server,
            vec![
                (create("/a", 0), 0),
                (set_acl("/a", read_only, -1), 0),
                (set_data("/a", -1), -102),
                (create("/a/b", 0), -102),
            ],
        );
    });
}

#[test]
fn reconfig_of_a_standalone_server() {
    check(|server| assert_eq!(server.code(reconfig()), -123));
    let mut server = Server::with_options(0, |options| options.reconfig_enabled = true);
    assert_eq!(server.code(reconfig()), -6);
    server.sessions.closing.borrow_mut().insert(ALICE);
    assert_eq!(server.code(reconfig()), -112);
}

#[test]
fn a_malformed_write_takes_a_zxid_of_its_own() {
    // Behaviour 18: Java answers the same code under the zxid of the transaction before.
    check(|server| {
        for op in [OpCode::Create, OpCode::Delete, OpCode::SetData, OpCode::Multi] {
            assert_eq!(server.code(RequestBody::Malformed(op)), -5);
        }
    });
}

#[test]
fn a_closing_session_is_refused() {
    check(|server| {
        assert_eq!(server.code(RequestBody::CloseSession), 0);
        let get_data = GetDataRequest { path: "/".into(), watch: false };
        expect(
            server,
            vec![
                (create("/a", 0), -112),
                (create("a", 0), -112),
                (create("/a", 9), -8),
                (delete("/", -1), -112),
                (set_data("a", -1), -112),
                (set_acl("a", vec![], -1), -112),
                (delete_container("/none"), -101),
                (RequestBody::GetData(get_data), -112),
                (RequestBody::Ping, -112),
                (RequestBody::CloseSession, 0),
            ],
        );
        let ops = vec![MultiOp::Delete(delete_request("/a", -1))];
        assert_eq!(server.multi(ops), Ok(vec![-112]));
        assert_eq!(server.multi(vec![]), Ok(vec![]));
    });
}

#[test]
fn an_unknown_session_is_expired_for_ephemerals_only() {
    check(|server| {
        server.sessions.unknown.borrow_mut().insert(ALICE);
        expect(server, vec![(create("/a", 1), -112), (create("/a", 0), -12)]);
        assert_eq!(server.code(RequestBody::CreateSession { timeout_ms: 4000 }), 0);
        assert_eq!(server.code(create("/a", 1)), 0);
    });
}

fn created_path(prepared: Prepared) -> String {
    match prepared.txn.unwrap().txn {
        Txn::Create(txn) => txn.path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sequential_names_count_creates_and_wrap() {
    check(|server| {
        // Behaviour 20: deletes do not move the counter.
        expect(server, vec![(create("/p", 0), 0), (create("/p/x", 0), 0), (delete("/p/x", -1), 0)]);
        for suffix in ["0000000001", "0000000002"] {
            let prepared = server.prepare(ALICE, &create("/p/s-", 2));
            assert_eq!(created_path(prepared), format!("/p/s-{suffix}"));
        }
    });
    let name = |cversion: i32| format!("{}{:010}", "", cversion);
    assert_eq!(name(i32::MIN), "-2147483648");
    assert_eq!(name(-1), "-000000001");
}

#[test]
fn versions_skip_minus_one() {
    // ZOOKEEPER-4743.
    assert_eq!(check_and_inc_version(-2, -2), Ok(0));
    assert_eq!(check_and_inc_version(i32::MAX, -1), Ok(i32::MIN));
    assert_eq!(check_and_inc_version(-1, -1), Ok(0));
    assert_eq!(check_and_inc_version(3, 4), Err(Code::BadVersion));
}

#[test]
fn a_multi_sees_its_own_changes() {
    check(|server| {
        let results = server.multi(vec![
            MultiOp::Create(create_request("/z", 0)),
            MultiOp::Create(create_request("/z/a", 0)),
            MultiOp::SetData(set_request("/z/a", 0)),
            check_op("/z/a", 1),
            MultiOp::Delete(delete_request("/z/a", 1)),
            MultiOp::Delete(delete_request("/z", -1)),
        ]);
        assert_eq!(results, Ok(vec![0; 6]));
        assert_eq!(server.code(delete("/z", -1)), -101);
    });
}

#[test]
fn a_failed_multi_leaves_nothing_behind() {
    // Behaviour 27.
    check(|server| {
        expect(server, vec![(create("/p", 0), 0), (create("/p/1", 0), 0)]);
        expect(server, vec![(set_data("/p/1", 0), 0), (delete("/p/1", 1), 0)]);
        let results = server.multi(vec![
            MultiOp::Create(create_request("/p/", 2)),
            MultiOp::Create(create_request("/p/1", 0)),
            MultiOp::SetData(set_request("/p", -1)),
            MultiOp::SetData(set_request("/", -1)),
            check_op("/p/1", 5),
            MultiOp::Create(create_request("/p/2", 0)),
        ]);
        assert_eq!(results, Ok(vec![0, 0, 0, 0, -103, -2]));
        let prepared = server.prepare(ALICE, &create("/p/", 2));
        assert_eq!(created_path(prepared), "/p/0000000001");
        expect(
            server,
            vec![
                (set_data("/p/1", -1), -101),
                (create("/p/1", 0), 0),
                (set_data("/p", 0), 0),
                (set_data("/", 0), 0),
            ],
        );
    });
}

#[test]
fn the_flags_decide_over_a_create_in_a_multi() {
    let types = |server: &mut Server, op: MultiOp| match server
        .prepare(ALICE, &RequestBody::Multi(MultiOperationRecord { ops: vec![op] }))
    {
        Prepared { txn: Some(PreparedTxn { txn: Txn::Multi(txns), .. }), .. } => {
            txns.iter().map(|txn| txn.op_code().as_i32()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    check(|server| {
        let with = |path, flags| create_request(path, flags);
        let ttl = |path, flags, ttl| ttl_request(path, flags, ttl);
        assert_eq!(types(server, MultiOp::Create(with("/y1", 4))), [19]);
        assert_eq!(types(server, MultiOp::Create2(with("/y2", 4))), [19]);
        assert_eq!(types(server, MultiOp::CreateContainer(with("/y3", 0))), [19]);
        assert_eq!(types(server, MultiOp::CreateTtl(ttl("/y4", 0, 77))), [1]);
        assert_eq!(types(server, MultiOp::CreateTtl(ttl("/y5", 4, 77))), [19]);
        assert_eq!(types(server, MultiOp::CreateTtl(ttl("/y6", 5, 77))), [21]);
        let results = server
            .multi(vec![MultiOp::Create(with("/y7", 0)), MultiOp::CreateTtl(ttl("/y8", 9, 77))]);
        assert_eq!(results, Ok(vec![0, -8]));
        let results = server.multi(vec![MultiOp::CreateTtl(ttl("/y8", 5, -1))]);
        assert_eq!(results, Ok(vec![-8]));
        for flags in [5, 9] {
            let ops = vec![MultiOp::Create(with("/y7", 0)), MultiOp::Create(with("/y8", flags))];
            assert_eq!(server.multi(ops), Err(-5));
        }
        let read = GetDataRequest { path: "/".into(), watch: false };
        assert_eq!(server.multi(vec![MultiOp::GetData(read)]), Err(-5));
        assert_eq!(server.code(delete("/y7", -1)), -101);
    });
}

fn closed_paths(prepared: Prepared) -> Option<Vec<String>> {
    match prepared.txn.unwrap().txn {
        Txn::CloseSession(txn) => txn.map(|txn| {
            let mut paths = txn.paths_to_delete;
            paths.sort();
            paths
        }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn close_session_lists_what_the_session_will_own() {
    // Behaviour 19.
    for lag in [0, 1, 2, 3, 4, usize::MAX] {
        let mut server = Server::new(lag);
        expect(
            &mut server,
            vec![
                (create("/p", 0), 0),
                (create("/p/kept", 1), 0),
                (create("/p/changed", 1), 0),
                (create("/p/gone", 1), 0),
                (create("/p/stolen", 1), 0),
                (set_data("/p/changed", -1), 0),
                (delete("/p/gone", -1), 0),
                (delete("/p/stolen", -1), 0),
            ],
        );
        assert_eq!(server.code_of(BOB, create("/p/stolen", 1)), 0);
        assert_eq!(server.code_of(BOB, create("/p/other", 1)), 0);
        assert_eq!(server.code(create("/p/last", 3)), 0);
        let paths = closed_paths(server.prepare(ALICE, &RequestBody::CloseSession));
        let expected = ["/p/changed", "/p/kept", "/p/last0000000006"];
        assert_eq!(paths.unwrap(), expected, "lag {lag}");
        expect(&mut server, vec![(delete("/p/stolen", -1), -112)]);
        assert_eq!(server.code_of(BOB, delete("/p/stolen", -1)), 0);
        assert_eq!(server.code_of(BOB, delete("/p/other", -1)), 0);
        assert_eq!(server.code_of(BOB, delete("/p", -1)), 0);
        server.apply_all_but(0);
    }
}

#[test]
fn close_session_leaves_out_a_list_that_is_too_long_or_unwanted() {
    // ZOOKEEPER-4306; without the list the tree knows what goes.
    for lag in [0, usize::MAX] {
        for change in [(|options| options.max_buffer = 20) as fn(&mut PrepOptions), |options| {
            options.close_session_txn_enabled = false
        }] {
            let mut server = Server::with_options(lag, change);
            for index in 0..9 {
                assert_eq!(server.code(create(&format!("/e{index}"), 1)), 0);
            }
            let paths = closed_paths(server.prepare(ALICE, &RequestBody::CloseSession));
            assert_eq!(paths, None);
            server.apply_all_but(0);
            assert!(server.tree.node("/e0").is_none());
        }
    }
}

#[test]
fn hard_quotas_refuse_and_soft_ones_do_not() {
    let mut server = Server::with_options(0, |options| options.enforce_quota = true);
    let create_data = |path: &str, bytes: &[u8]| {
        RequestBody::Create(CreateRequest { data: data(bytes), ..create_request(path, 0) })
    };
    let limits = "/zookeeper/quota/qq/zookeeper_limits";
    let hard = b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3";
    let too_much = SetDataRequest { data: data(&[b'x'; 20]), ..set_request("/qq/1", 9) };
    expect(
        &mut server,
        vec![
            (create("/qq", 0), 0),
            (create("/zookeeper/quota/qq", 0), 0),
            (create_data("/zookeeper/quota/qq/zookeeper_stats", b""), 0),
            (create_data(limits, hard), 0),
            (create_data("/qq/1", b"12345"), 0),
            (create_data("/qq/2", b"12345"), -125),
            (create_data("/qq/2", b""), 0),
            (create_data("/qq/3", b""), -125),
            (set_bytes("/qq/1", b"123456"), 0),
            (set_bytes("/qq/1", b"xxxxx"), 0),
            (set_data("/qq/1", 9), -103),
            (RequestBody::SetData(too_much), -125),
            (create("/qq/1", 0), -110),
            (create("/qq/1/", 0), -8),
        ],
    );
    let ops = vec![
        MultiOp::Create(create_request("/qq/9", 0)),
        MultiOp::Create(create_request("/qq/8", 0)),
    ];
    assert_eq!(server.multi(ops), Ok(vec![-125, -2]));
    expect(&mut server, vec![(set_bytes(limits, b"garbage"), 0), (create("/qq/z", 0), -5)]);
    let ops = vec![
        MultiOp::Create(create_request("/mm", 0)),
        MultiOp::Create(create_request("/qq/z", 0)),
    ];
    assert_eq!(server.multi(ops), Err(-5));
    expect(
        &mut server,
        vec![
            (create("/mm", 0), 0),
            (set_bytes(limits, b""), 0),
            (create("/qq/z", 0), 0),
            (set_bytes(limits, b"count=1,bytes=1"), 0),
            (create("/qq/y", 0), 0),
        ],
    );
}

#[test]
fn digests_follow_the_pipeline() {
    // Behaviour 16; `apply_all_but` compares each digest with the tree's.
    let bodies = |step: usize| -> RequestBody {
        let path = format!("/d{}", step * 7 % 5);
        let child = format!("{path}/c{}", step * 3 % 4);
        match step % 11 {
            0 | 1 => create(&path, 0),
            2 => create(&child, 0),
            3 => create(&format!("{path}/s"), 2),
            4 => set_data(&path, -1),
            5 => set_acl(&path, Acl::open_unsafe(), -1),
            6 => delete(&child, -1),
            7 => create(&child, 1),
            8 => create_container(&format!("{child}c"), 0),
            9 => set_data("/", -1),
            _ => RequestBody::Multi(MultiOperationRecord {
                ops: vec![
                    MultiOp::Create(create_request(&format!("/m{step}"), 0)),
                    MultiOp::Delete(delete_request(&child, -1)),
                    MultiOp::SetData(set_request("/", -1)),
                ],
            }),
        }
    };
    for lag in [0, 1, 5, usize::MAX] {
        let mut server = Server::new(lag);
        for step in 0..400 {
            let session = if step % 3 == 0 { ALICE } else { BOB };
            let _ = server.prepare(session, &bodies(step));
        }
        let _ = server.prepare(BOB, &RequestBody::CloseSession);
        server.apply_all_but(0);
        assert!(server.changes.is_empty());
        assert!(server.metrics.outstanding_changes_queued.get() > 400);
    }
}

#[test]
fn records_hold_what_java_writes() {
    let mut server = Server::new(0);
    let prepared = server.prepare(ALICE, &create("/a", 1)).txn.unwrap();
    assert_eq!(prepared.header.txn_type, 1);
    assert_eq!(prepared.header.client_id, ALICE);
    assert_eq!(prepared.digest.unwrap().version, 2);
    let expected = CreateTxn {
        path: "/a".into(),
        data: data(b"d"),
        acl: Acl::open_unsafe(),
        ephemeral: true,
        parent_cversion: 1,
    };
    assert_eq!(prepared.txn, Txn::Create(expected));
    let prepared = server.prepare(ALICE, &set_data("/a", 0)).txn.unwrap();
    let expected = SetDataTxn { path: "/a".into(), data: data(b"x"), version: 1 };
    assert_eq!(prepared.txn, Txn::SetData(expected));
    let prepared = server.prepare(ALICE, &RequestBody::CloseSession).txn.unwrap();
    let expected = CloseSessionTxn { paths_to_delete: vec!["/a".into()] };
    assert_eq!(prepared.txn, Txn::CloseSession(Some(expected)));
    // A single error has 36 bytes and no digest.
    let prepared = server.prepare(BOB, &delete("/none", -1)).txn.unwrap();
    assert_eq!(prepared.header.txn_type, -1);
    let entry = TxnLogEntry::new(prepared.header, prepared.txn, prepared.digest);
    assert_eq!(entry.bytes.len(), 36);
}
