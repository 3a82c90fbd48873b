//! What the four letter words of every server of an ensemble say beside a standalone server's (Java:
//! `QuorumZooKeeperServer.dumpConf`, `dumpMonitorValues`, `registerMetrics`).

use std::fmt::{Display, Write};
use std::sync::{Arc, Weak};

use super::quorum_peer::QuorumPeer;
use crate::common::config::LearnerType;
use crate::common::net_utils::MultipleAddresses;
use crate::metrics::MetricValue;

impl QuorumPeer {
    /// The end of `conf`; the last line has no newline.
    pub fn conf_lines(&self, out: &mut String) {
        self.conf_limits(out);
        // Writing to a `String` cannot fail.
        let _ = write!(out, "membership: \n{}", self.verifier());
    }

    /// The same on a read-only server, which leaves the membership out.
    pub fn conf_limits(&self, out: &mut String) {
        let settings = self.settings();
        let server = self.server(self.my_id());
        let (quorum, election) = server.map_or_else(Default::default, |server| {
            (ports(&server.addr), ports(&server.election_addr))
        });
        let _ = write!(
            out,
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={election}\n\
             quorumPort={quorum}\npeerType={}\n",
            settings.init_limit,
            settings.sync_limit,
            i32::from(settings.learner_type == LearnerType::Observer),
        );
    }

    /// The beginning of `mntr`.
    pub fn dump_monitor_values(&self, sink: &mut dyn FnMut(&str, &dyn Display)) {
        sink("peer_state", &self.state().detailed());
    }

    /// The gauges of a server of any role but the read-only one. They go with those of the server.
    pub fn register_gauges(self: &Arc<Self>) {
        let peer: Weak<QuorumPeer> = Arc::downgrade(self);
        self.metrics().gauges.register("quorum_size", move || {
            let peer = peer.upgrade()?;
            let voters = peer.verifier().voting_members().len();
            Some(MetricValue::Integer(i64::try_from(voters).unwrap_or(i64::MAX)))
        });
    }
}

/// Java: `getAllPorts`, joined.
fn ports(addresses: &MultipleAddresses) -> String {
    let mut ports: Vec<String> = Vec::new();
    for address in addresses.all_addresses() {
        let port = address.port.to_string();
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join("|")
}
