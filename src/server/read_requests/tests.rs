//! Reads against answers observed on Java's server 3.9.4.

use super::*;
use crate::auth::{AuthSettings, ProviderRegistry};
use crate::jute::{Buffer, Input};
use crate::proto::messages::{CheckVersionRequest, GetAclResponse, GetDataResponse};
use crate::proto::multi::{MultiResponse, MultiResult};
use crate::proto::txn::{CreateTxn, Txn, TxnHeader};
use crate::proto::{Stat, Zxid};
use crate::tree::{NoWatches, TreeOptions};

const ALICE: SessionId = SessionId(0x100);
const DIGEST_ID: &str = "u:Jq7wyA/w2VC5WIDAdku4OIIFEQ=";

struct Server {
    tree: DataTree,
    acl_policy: AclPolicy,
    metrics: Arc<ServerMetrics>,
    zxid: i64,
}

impl Server {
    fn new() -> Server {
        let metrics = Arc::new(ServerMetrics::default());
        let providers = ProviderRegistry::new(&AuthSettings::default(), &metrics).unwrap();
        let mut server = Server {
            tree: DataTree::new(TreeOptions::default()),
            acl_policy: AclPolicy::new(Arc::new(providers), false),
            metrics,
            zxid: 0,
        };
        server.create("/x1", Some(b"d"), Acl::open_unsafe(), false);
        server.create("/f1", Some(b""), Acl::open_unsafe(), true);
        server.create("/f20000000002", None, Acl::open_unsafe(), true);
        let digest = |perm| Acl::new(perm, "digest", DIGEST_ID);
        let anyone = |perm| Acl::new(perm, "world", "anyone");
        server.create("/masked", None, vec![digest(perms::ADMIN), anyone(perms::READ)], false);
        server.create("/hidden", None, vec![digest(perms::ADMIN)], false);
        server.create("/write", None, vec![anyone(perms::WRITE)], false);
        server
    }

    fn create(&mut self, path: &str, data: Option<&[u8]>, acl: Vec<Acl>, ephemeral: bool) {
        self.zxid += 1;
        let zxid = Zxid(self.zxid);
        let header = TxnHeader { client_id: ALICE, cxid: 0, zxid, time: 5, txn_type: 1 };
        let data: Buffer = data.map(Arc::from);
        let path = path.to_owned();
        let txn = CreateTxn { path, data, acl, ephemeral, parent_cversion: -1 };
        self.tree.process_txn(&header, &Txn::Create(txn), &mut NoWatches);
    }

    fn read_as(&self, auth: &[Id], body: &RequestBody) -> (ReadReply, Vec<u8>) {
        let context = ReadContext {
            tree: &self.tree,
            acl_policy: &self.acl_policy,
            metrics: &self.metrics,
            session: ALICE,
            auth,
            watcher: 7,
        };
        let mut out = b"head".to_vec();
        let reply = process_read(&context, body, &mut out, &mut |_, _| {});
        // Put the pieces together as the connection will.
        let mut whole = Vec::new();
        let mut from = 0;
        for splice in &reply.splices {
            whole.extend_from_slice(&out[from..splice.at]);
            whole.extend_from_slice(&splice.data);
            from = splice.at;
        }
        whole.extend_from_slice(&out[from..]);
        assert_eq!(whole.len(), out.len() + reply.spliced_len());
        assert_eq!(&whole[..4], b"head");
        (reply, whole[4..].to_vec())
    }

    fn read(&self, body: &RequestBody) -> (i32, Vec<u8>) {
        let (reply, bytes) = self.read_as(&[Id::new("ip", "127.0.0.1")], body);
        (reply.code.as_i32(), bytes)
    }
}

fn check(cases: &[(RequestBody, i32, usize)]) {
    let server = Server::new();
    for (body, code, len) in cases {
        let (found, bytes) = server.read(body);
        assert_eq!((found, bytes.len()), (*code, *len), "{body:?}");
    }
}

fn exists(path: &str, watch: bool) -> RequestBody {
    RequestBody::Exists(ExistsRequest { path: path.into(), watch })
}

fn get_data(path: &str, watch: bool) -> RequestBody {
    RequestBody::GetData(GetDataRequest { path: path.into(), watch })
}

fn get_acl(path: &str) -> RequestBody {
    RequestBody::GetAcl(GetAclRequest { path: path.into() })
}

fn get_children(path: &str, watch: bool) -> RequestBody {
    RequestBody::GetChildren(GetChildrenRequest { path: path.into(), watch })
}

fn get_children2(path: &str) -> RequestBody {
    RequestBody::GetChildren2(GetChildren2Request { path: path.into(), watch: false })
}

fn all_children(path: &str) -> RequestBody {
    RequestBody::GetAllChildrenNumber(GetAllChildrenNumberRequest { path: path.into() })
}

fn check_watch(path: &str, watcher_type: i32) -> RequestBody {
    RequestBody::CheckWatches(CheckWatchesRequest { path: path.into(), watcher_type })
}

fn remove_watch(path: &str, watcher_type: i32) -> RequestBody {
    RequestBody::RemoveWatches(RemoveWatchesRequest { path: path.into(), watcher_type })
}

fn add_watch(path: &str, mode: i32) -> RequestBody {
    RequestBody::AddWatch(AddWatchRequest { path: path.into(), mode })
}

#[test]
fn reads_do_not_validate_paths() {
    let mut cases = Vec::new();
    for path in ["", "/"] {
        cases.push((exists(path, false), 0, 68));
        cases.push((get_data(path, false), 0, 72));
        cases.push((get_acl(path), 0, 95));
    }
    for path in ["/none", "none", "/x1/", "//", "/\0", "/x1/none", "//x1", "/./x1"] {
        let is_nul = path.contains('\0');
        cases.push((exists(path, false), if is_nul { -8 } else { -101 }, 0));
        cases.push((get_data(path, false), -101, 0));
        cases.push((get_acl(path), -101, 0));
        cases.push((get_children(path, false), -101, 0));
        cases.push((get_children2(path), -101, 0));
        cases.push((all_children(path), -101, 0));
    }
    cases.push((get_data("/x1", false), 0, 73));
    cases.push((get_children("/x1", false), 0, 4));
    cases.push((get_children2("/zookeeper/config"), 0, 72));
    check(&cases);
}

#[test]
fn all_children_are_counted_as_java_does() {
    let server = Server::new();
    let number = |path| server.read(&all_children(path)).1;
    // Six nodes made here, /zookeeper and its two.
    assert_eq!(number("/"), 9_i32.to_be_bytes());
    assert_eq!(number(""), 10_i32.to_be_bytes());
    assert_eq!(number("/zookeeper"), 2_i32.to_be_bytes());
    assert_eq!(number("/x1"), 0_i32.to_be_bytes());
}

#[test]
fn watches_are_set_after_the_acl_check_and_by_exists_without_a_node() {
    check(&[
        (check_watch("/q", 3), -121, 0),
        (check_watch("/q", 9), -5, 0),
        (exists("/none", true), -101, 0),
        (check_watch("/none", 2), 0, 0),
        (get_data("/none2", true), -101, 0),
        (check_watch("/none2", 2), -121, 0),
        (get_children("/none3", true), -101, 0),
        (check_watch("/none3", 1), -121, 0),
        (exists("/hidden", true), -102, 0),
        (check_watch("/hidden", 2), -121, 0),
        (get_data("/hidden", true), -102, 0),
        (check_watch("/hidden", 3), -121, 0),
        (get_data("/x1", true), 0, 73),
        (check_watch("/x1", 2), 0, 0),
        (check_watch("/x1", 1), -121, 0),
        (get_children("/x1", true), 0, 4),
        (check_watch("/x1", 1), 0, 0),
        (add_watch("/nn", 0), 0, 4),
        (add_watch("nn/", 1), 0, 4),
        (add_watch("/nn", 2), -5, 0),
        (check_watch("/nn", 4), 0, 0),
        (check_watch("nn/", 5), 0, 0),
        (remove_watch("/nn", 3), 0, 0),
        (remove_watch("/nn", 3), -121, 0),
        (remove_watch("/nn", 0), -5, 0),
    ]);
}

#[test]
fn ephemerals_are_found_by_plain_prefix() {
    let server = Server::new();
    let find = |prefix: Option<&str>| {
        let prefix_path = prefix.map(str::to_owned);
        let body = RequestBody::GetEphemerals(GetEphemeralsRequest { prefix_path });
        let (code, bytes) = server.read(&body);
        assert_eq!(code, 0);
        let mut paths = Vec::<String>::decode(&mut Input::unbounded(&bytes)).unwrap();
        paths.sort();
        paths
    };
    let (f1, f2) = ("/f1", "/f20000000002");
    for prefix in [None, Some("/"), Some("/f"), Some(" "), Some(""), Some(" / ")] {
        assert_eq!(find(prefix), [f1, f2], "{prefix:?}");
    }
    assert_eq!(find(Some("/f2")), [f2]);
    for prefix in ["x", " /f1", "/f1/"] {
        assert!(find(Some(prefix)).is_empty(), "{prefix:?}");
    }
}

#[test]
fn get_acl_masks_hashes_without_admin() {
    let server = Server::new();
    let owner = [Id::new("digest", DIGEST_ID)];
    let ids = |auth: &[Id], path: &str| {
        let (reply, bytes) = server.read_as(auth, &get_acl(path));
        assert_eq!(reply.code, Code::Ok);
        let response = GetAclResponse::decode(&mut Input::unbounded(&bytes)).unwrap();
        response.acl.iter().map(|entry| entry.id.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&owner, "/masked"), [DIGEST_ID, "anyone"]);
    assert_eq!(ids(&[], "/masked"), ["u:x", "anyone"]);
    assert_eq!(ids(&owner, "/hidden"), [DIGEST_ID]);
    check(&[(get_acl("/hidden"), -102, 0), (get_acl("/write"), -102, 0)]);
}

#[test]
fn multi_read_goes_on_behind_an_error() {
    let server = Server::new();
    let get = |path: &str| MultiOp::GetData(GetDataRequest { path: path.into(), watch: true });
    let children =
        |path: &str| MultiOp::GetChildren(GetChildrenRequest { path: path.into(), watch: true });
    let read = |ops| server.read(&RequestBody::MultiRead(MultiOperationRecord { ops }));
    let results = |bytes: &[u8]| MultiResponse::decode(&mut Input::unbounded(bytes)).unwrap();

    assert_eq!(read(vec![]).0, 0);
    let (code, bytes) = read(vec![get("/x1"), children("/x1"), get("/none"), get("/hidden")]);
    assert_eq!(code, 0);
    match results(&bytes).results.as_slice() {
        [
            MultiResult::GetData { data, .. },
            MultiResult::GetChildren { children },
            MultiResult::Error(Code::NoNode),
            MultiResult::Error(Code::NoAuth),
        ] => {
            assert_eq!(data.as_deref(), Some(&b"d"[..]));
            assert!(children.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.read(&check_watch("/x1", 3)).0, -121);
    let check = CheckVersionRequest { path: "/x1".into(), version: -1 };
    let (code, bytes) = read(vec![MultiOp::Check(check)]);
    assert_eq!((code, results(&bytes)), (-5, MultiResponse::default()));
}

#[test]
fn long_data_are_not_copied() {
    let mut server = Server::new();
    let data = vec![b'x'; SPLICE_BYTES_MIN];
    server.create("/long", Some(&data), Acl::open_unsafe(), false);
    server.create("/short", Some(&data[1..]), Acl::open_unsafe(), false);
    for (path, splices, len) in [("/long", 1, data.len()), ("/short", 0, data.len() - 1)] {
        let (reply, bytes) = server.read_as(&[], &get_data(path, false));
        assert_eq!(reply.splices.len(), splices);
        let response = GetDataResponse::decode(&mut Input::unbounded(&bytes)).unwrap();
        assert_eq!(response.data.unwrap().len(), len);
        assert_eq!(response.stat, Stat { ..server.tree.node(path).unwrap().stat() });
    }
    let get = |path: &str| MultiOp::GetData(GetDataRequest { path: path.into(), watch: false });
    let ops = vec![get("/long"), get("/short"), get("/long")];
    let body = RequestBody::MultiRead(MultiOperationRecord { ops });
    let (reply, bytes) = server.read_as(&[], &body);
    assert_eq!(reply.splices.len(), 2);
    assert_eq!(MultiResponse::decode(&mut Input::unbounded(&bytes)).unwrap().results.len(), 3);
}

#[test]
fn the_rest_is_answered_plainly() {
    let sync =
        |path: Option<&str>| RequestBody::Sync(SyncRequest { path: path.map(str::to_owned) });
    check(&[
        (sync(None), 0, 4),
        (sync(Some("zz")), 0, 6),
        (RequestBody::Ping, 0, 0),
        (RequestBody::WhoAmI, 0, 23),
        (RequestBody::Malformed(OpCode::GetData), -5, 0),
        (RequestBody::Unknown(13), -6, 0),
    ]);
    let server = Server::new();
    let auth = [Id::new("ip", "127.0.0.1"), Id::new("digest", DIGEST_ID)];
    let (_, bytes) = server.read_as(&auth, &RequestBody::WhoAmI);
    assert_eq!(bytes.len(), 38);
    assert!(bytes.ends_with(b"\0\0\0\x06digest\0\0\0\x01u"));
}

#[test]
fn set_watches_tells_what_was_missed() {
    let server = Server::new();
    let request = SetWatches {
        relative_zxid: 0,
        data_watches: vec!["/x1".into(), "/gone".into()],
        exist_watches: vec!["/x1".into(), "/not-yet".into()],
        child_watches: vec!["/".into()],
    };
    let context = ReadContext {
        tree: &server.tree,
        acl_policy: &server.acl_policy,
        metrics: &server.metrics,
        session: ALICE,
        auth: &[],
        watcher: 7,
    };
    let mut events = Vec::new();
    let body = RequestBody::SetWatches(request);
    let mut fire = |event, path: &str| events.push((event, path.to_owned()));
    let reply = process_read(&context, &body, &mut Vec::new(), &mut fire);
    assert_eq!(reply.code, Code::Ok);
    let expected = [
        (EventType::NodeDataChanged, "/x1"),
        (EventType::NodeDeleted, "/gone"),
        (EventType::NodeCreated, "/x1"),
        (EventType::NodeChildrenChanged, "/"),
    ];
    assert_eq!(events, expected.map(|(event, path)| (event, path.to_owned())));
    assert_eq!(server.read(&check_watch("/not-yet", 2)).0, 0);
}
