//! What tests do with an ensemble more than once.

use zabkeeper::client::{ClientError, ZooKeeper};
use zabkeeper::proto::messages::CreateRequest;
use zabkeeper::proto::{Acl, CreateMode, OpCode, Zxid};

use crate::cluster::Cluster;

/// Creates a persistent node.
pub fn create(client: &mut ZooKeeper, path: &str, data: &[u8]) {
    try_create(client, path, data).unwrap_or_else(|error| panic!("create {path}: {error}"));
}

/// Creates a persistent node, if the server can.
pub fn try_create(client: &mut ZooKeeper, path: &str, data: &[u8]) -> Result<(), ClientError> {
    client.create(path, Some(data), &Acl::open_unsafe(), CreateMode::Persistent).map(|_| ())
}

/// Creates an ephemeral node.
pub fn create_ephemeral(client: &mut ZooKeeper, path: &str) {
    let mode = CreateMode::Ephemeral;
    client.create(path, None, &Acl::open_unsafe(), mode).unwrap();
}

/// The data of a node, if it is there.
pub fn read(client: &mut ZooKeeper, path: &str) -> Option<Vec<u8>> {
    client.get(path, false).ok().map(|(data, _)| data.map_or(Vec::new(), |data| data.to_vec()))
}

/// Sends a create and waits for no answer.
pub fn send_create(client: &mut ZooKeeper, path: &str) {
    let request = CreateRequest {
        path: path.to_owned(),
        data: Some(b"lost".as_slice().into()),
        acl: Acl::open_unsafe(),
        flags: 0,
    };
    client.send(OpCode::Create, &request).unwrap();
}

/// Starts 3 and 2, then the rest: 3 leads.
pub fn start_with_leader_3(cluster: &mut Cluster) {
    cluster.spawn(3);
    cluster.spawn(2);
    cluster.await_leader(&[3]);
    cluster.start_all();
}

/// Leaves a transaction in the log of the leader 3 that nobody else has: 1 and 2 are paused while
/// it is sent, and killed before they can read it. 3 is killed as well; 1 and 2 run again.
pub fn leave_behind_in_3(cluster: &mut Cluster, path: &str) {
    let mut client = cluster.node(3).client(20_000);
    let before = cluster.await_same_zxid(&[1, 2, 3]);
    for id in [1, 2] {
        cluster.node(id).pause();
    }
    send_create(&mut client, path);
    cluster.await_that("the leader has logged what nobody else has", || {
        (cluster.node(3).restored().zxid > before).then_some(())
    });
    for id in [1, 2, 3] {
        cluster.node_mut(id).kill();
    }
    assert!(cluster.node(3).restored().tree.node(path).is_some());
    for id in [1, 2] {
        assert!(cluster.node(id).restored().tree.node(path).is_none());
        cluster.spawn(id);
    }
}

/// Waits until all servers have the same zxid, ends them in order, and compares what their disks
/// hold. Returns the zxid.
pub fn stop_and_compare(cluster: &mut Cluster) -> Zxid {
    let ids: Vec<usize> = cluster.ids().collect();
    // Without a transaction in the new epoch servers differ by whether they have noticed it.
    retry(cluster, &ids, |client| client.set("/", Some(b"compared"), -1));
    let zxid = cluster.await_same_zxid(&ids);
    cluster.stop_all();
    let restored: Vec<_> = ids.iter().map(|id| cluster.node(*id).restored()).collect();
    for (id, one) in ids.iter().zip(&restored) {
        let first = &restored[0];
        // Counter 0 is a leader's beginning and no transaction: only a snapshot may tell of it.
        if zxid.counter() != 0 {
            assert_eq!(one.zxid, first.zxid, "server {id}");
        }
        assert_eq!(
            (one.digest, one.nodes, one.sessions),
            (first.digest, first.nodes, first.sessions),
            "server {id}: {}",
            cluster.report()
        );
    }
    zxid
}

/// Repeats a request on new connections until a server takes it.
pub fn retry<T>(
    cluster: &Cluster,
    ids: &[usize],
    mut request: impl FnMut(&mut ZooKeeper) -> Result<T, ClientError>,
) -> T {
    let mut turn = 0;
    cluster.await_that("a server takes the request", || {
        turn += 1;
        let mut client = cluster.node(ids[turn % ids.len()]).try_client(20_000).ok()?;
        request(&mut client).ok()
    })
}
