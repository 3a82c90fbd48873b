//! Delivers watch events to connections (`NIOServerCnxn.process`).
//!
//! An event is encoded once; each watcher that may read the node gets a copy of the bytes in its
//! outbox, under the tree's write guard. Who has something to send is remembered, and flushed when
//! the guard is gone.

use std::sync::Arc;

use super::cnxn::cnxn_factory::CnxnTable;
use super::cnxn::server_cnxn::ServerCnxn;
use super::server_stats::ServerStats;
use crate::auth::AclPolicy;
use crate::common::path_utils::top_namespace;
use crate::jute::OutputExt;
use crate::metrics::ServerMetrics;
use crate::proto::{Acl, EventType, KeeperState, Zxid, perms};
use crate::tree::{WatchSink, WatcherId};

/// The xid of watch events.
const NOTIFICATION_XID: i32 = -1;

/// The frame of a watch event: length, reply header, `WatcherEvent`.
pub fn encode_event(event: EventType, path: &str, zxid: Zxid) -> Vec<u8> {
    let body = 16 + 8 + 4 + path.len();
    let mut frame = Vec::with_capacity(4 + body);
    frame.put_count(body);
    frame.put_i32(NOTIFICATION_XID);
    frame.put_i64(zxid.0);
    frame.put_i32(0);
    frame.put_i32(event as i32);
    frame.put_i32(KeeperState::SyncConnected as i32);
    frame.put_str(path);
    frame
}

/// Collects deliveries of one batch.
pub struct EventSink<'a> {
    cnxns: &'a CnxnTable,
    acl_policy: &'a AclPolicy,
    metrics: &'a ServerMetrics,
    stats: &'a ServerStats,
    touched: &'a mut Vec<Arc<ServerCnxn>>,
}

impl<'a> EventSink<'a> {
    /// `touched` gets each connection that has something new to send, once.
    pub fn new(
        cnxns: &'a CnxnTable,
        acl_policy: &'a AclPolicy,
        metrics: &'a ServerMetrics,
        stats: &'a ServerStats,
        touched: &'a mut Vec<Arc<ServerCnxn>>,
    ) -> Self {
        EventSink { cnxns, acl_policy, metrics, stats, touched }
    }

    /// The connection has something to send.
    pub fn touch(&mut self, cnxn: &Arc<ServerCnxn>) {
        if cnxn.claim_flush() {
            self.touched.push(Arc::clone(cnxn));
        }
    }
}

impl WatchSink for EventSink<'_> {
    fn deliver(
        &mut self,
        event: EventType,
        path: &str,
        zxid: Zxid,
        acl: &[Acl],
        watchers: &[WatcherId],
    ) {
        let frame = encode_event(event, path, zxid);
        let (acl_policy, touched) = (self.acl_policy, &mut *self.touched);
        let mut delivered = 0;
        self.cnxns.for_watchers(watchers, |cnxn| {
            let may_read =
                acl_policy.check_acl(acl, perms::READ, &cnxn.auth_info(), Some(path), None);
            if may_read.is_err() {
                log::trace!("Not delivering event to {} (filtered by ACL)", cnxn.session_id());
                return;
            }
            cnxn.send_events(&frame, 1);
            delivered += 1;
            if cnxn.claim_flush() {
                touched.push(Arc::clone(cnxn));
            }
        });
        self.stats.add_packets_sent(delivered);
        self.metrics.watch_bytes.add(delivered * (frame.len() as i64 - 4));
    }

    fn triggered(&mut self, event: EventType, count: usize) {
        let counter = match event {
            EventType::NodeCreated => &self.metrics.node_created_watch_count,
            EventType::NodeDeleted => &self.metrics.node_deleted_watch_count,
            EventType::NodeDataChanged => &self.metrics.node_changed_watch_count,
            EventType::NodeChildrenChanged => &self.metrics.node_children_watch_count,
            EventType::None => return,
        };
        counter.add(count as i64);
    }

    fn written(&mut self, path: &str, data_bytes: usize) {
        CountWrites(self.metrics).written(path, data_bytes);
    }
}

/// Drops all events, and counts what is written: where no client is served.
pub struct CountWrites<'a>(pub &'a ServerMetrics);

impl WatchSink for CountWrites<'_> {
    fn deliver(&mut self, _: EventType, _: &str, _: Zxid, _: &[Acl], _: &[WatcherId]) {}

    /// `DataTree.updateWriteStat`.
    fn written(&mut self, path: &str, data_bytes: usize) {
        if let Some(namespace) = top_namespace(path) {
            self.0.write_per_namespace.add(namespace, (path.len() + data_bytes) as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::{Input, Jute};
    use crate::proto::messages::{ReplyHeader, WatcherEvent};

    #[test]
    fn an_event_is_a_reply_with_xid_minus_one_and_the_zxid_of_its_transaction() {
        let frame = encode_event(EventType::NodeDataChanged, "/a", Zxid(0x55));
        let mut input = Input::unbounded(&frame);
        assert_eq!(input.read_i32().unwrap() as usize, frame.len() - 4);
        let header = ReplyHeader::decode(&mut input).unwrap();
        assert_eq!(header, ReplyHeader { xid: -1, zxid: 0x55, err: 0 });
        let event = WatcherEvent { event_type: 3, state: 3, path: "/a".into() };
        assert_eq!(WatcherEvent::decode(&mut input), Ok(event));
        assert!(input.is_empty());
    }
}
