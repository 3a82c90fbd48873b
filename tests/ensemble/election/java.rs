//! Ours among Java's servers: the same leader for all, whoever has the larger id.
//!
//! Behind ours there is no follower, so an ensemble works only as long as Java's servers are a
//! quorum by themselves.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use zabkeeper::compare::process::Process;

use super::*;
use crate::support::server::{Target, four_letter_word, java_home};
use crate::support::wait_until;

const CLIENT_PORT: u16 = 2181;
/// A Java server needs seconds to start on a busy machine.
const JAVA_PATIENCE: Duration = Duration::from_secs(60);

/// A member that runs Java's server, with a directory of its own. Dropping it kills it.
struct JavaMember {
    sid: i64,
    network: Network,
    dir: TempDir,
    running: Option<Process>,
}

impl JavaMember {
    /// Starts without waiting. `None` if there is no Java here.
    fn start(network: Network, sid: i64, config: &str, extra: &str) -> Option<JavaMember> {
        java_home()?;
        let dir = TempDir::with_prefix("zabkeeper-test-").unwrap();
        fs::create_dir_all(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/myid"), sid.to_string()).unwrap();
        let text = format!(
            "clientPort={CLIENT_PORT}\nclientPortAddress={}\ndataDir={}\ntickTime=500\ninitLimit=10\n\
             syncLimit=4\nadmin.enableServer=false\n4lw.commands.whitelist=*\n{extra}\n{config}",
            network.host(sid),
            dir.path().join("data").display()
        );
        fs::write(dir.path().join("zoo.cfg"), text).unwrap();
        let mut member = JavaMember { sid, network, dir, running: None };
        member.spawn();
        Some(member)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let conf = self.dir.path().join("zoo.cfg");
        let mut properties = Vec::new();
        if fs::read_to_string(&conf).unwrap().contains('|') {
            // The key of the file comes too late for the lines of the servers.
            properties.push("zookeeper.multiAddress.enabled=true".to_owned());
        }
        let mut java = Target::Java.command(&conf, &properties);
        java.current_dir(self.dir.path()).stdin(Stdio::null());
        java.stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(Process::spawn(&mut java, None).unwrap());
    }

    fn kill(&mut self) {
        self.running = None;
    }

    fn mode(&self) -> Option<String> {
        let addr = (self.network.host(self.sid), CLIENT_PORT);
        let addr = std::net::ToSocketAddrs::to_socket_addrs(&addr).unwrap().next().unwrap();
        let reply = four_letter_word(addr, "srvr").ok()?;
        reply.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }

    #[track_caller]
    fn wait_for_mode(&self, mode: &str) {
        let found = wait_until(JAVA_PATIENCE, || (self.mode()? == mode).then_some(()));
        assert!(found.is_some(), "{} is {:?}, not {mode}\n{}", self.sid, self.mode(), self.log());
    }

    #[track_caller]
    fn wait_for_log(&self, part: &str) {
        let found = wait_until(JAVA_PATIENCE, || self.log().contains(part).then_some(()));
        assert!(found.is_some(), "{} does not say {part}\n{}", self.sid, self.log());
    }

    fn log(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

/// Starts Java's members; `None` where there is no Java.
fn java(network: Network, sids: &[i64], config: &str, extra: &str) -> Option<Vec<JavaMember>> {
    sids.iter().map(|sid| JavaMember::start(network, *sid, config, extra)).collect()
}

fn leader_of(outcome: &Outcome) -> i64 {
    let vote = outcome.wait_for(JAVA_PATIENCE).expect("the election ends");
    vote.expect("a leader").id.0
}

/// Waits until one of two leads and the other one follows, and says who leads. The first two that
/// meet may have decided without the third, and anew if that took too long to come.
fn leader_among(members: &[JavaMember]) -> i64 {
    let found = wait_until(JAVA_PATIENCE, || {
        let modes: Vec<String> = members.iter().filter_map(JavaMember::mode).collect();
        let leader = modes.iter().position(|mode| mode == "leader")?;
        (modes.iter().filter(|mode| *mode == "follower").count() == 1).then_some(leader)
    });
    let logs = || members.iter().map(JavaMember::log).collect::<Vec<_>>().join("\n=====\n");
    members[found.unwrap_or_else(|| panic!("no ensemble\n{}", logs()))].sid
}

/// Our id is larger than both, so we make the connections.
#[test]
fn ours_with_the_largest_id_joins_javas_ensemble() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let Some(mut members) = java(network, &[1, 2], &config, "") else { return };
    members[1].wait_for_mode("leader");
    members[0].wait_for_mode("follower");
    let ours = Node::start(TestPeer::new(3, &config));
    assert_eq!(leader_of(&ours.look()), 2);
    assert_eq!(ours.state(), ServerState::Following);
    // A follower is killed. The leader steps down, all look, and find one when it is back.
    members[0].kill();
    members[1].wait_for_log("PeerState set to LOOKING");
    let outcome = ours.look();
    members[0].spawn();
    // What Java has logged since makes its candidates better than ours.
    assert_eq!(leader_of(&outcome), 2);
    members[1].wait_for_mode("leader");
    members[0].wait_for_mode("follower");
}

/// Our id is smaller than both, so they make the connections.
#[test]
fn ours_with_the_smallest_id_elects_together_with_java() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let ours = Node::start(TestPeer::new(1, &config));
    let outcome = ours.look();
    let Some(members) = java(network, &[2, 3], &config, "") else { return };
    let leader = leader_of(&outcome);
    assert_eq!(ours.state(), ServerState::Following);
    assert!([2, 3].contains(&leader));
    let leader = leader_among(&members);
    // A new one of ours finds the ensemble at work.
    ours.election.shutdown();
    let ours = Node::start(TestPeer::new(1, &config));
    assert_eq!(leader_of(&ours.look()), leader);
}

/// Between the two: one connection is made by each side. And Java elects ours, if it knows most.
#[test]
fn java_elects_ours_when_it_has_the_best_history() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let ours = Node::start(TestPeer::new(2, &config).with(0x7_0000_0001, 7));
    let outcome = ours.look();
    let Some(members) = java(network, &[1, 3], &config, "") else { return };
    assert_eq!(leader_of(&outcome), 2);
    assert_eq!(ours.state(), ServerState::Leading);
    // Nobody leads really, so who follows ours finds nobody to connect to, and looks anew in the next
    // round; there the two may make an ensemble of their own before the second one has heard of ours:
    // Java's servers say nothing to others once they have a leader. So only one must have followed,
    // and have read what ours says in the version and with the configuration that Java expects. In a
    // whole server our leader would have listened; left by both, it would have given up its round.
    let said = "n.leader:2, n.round:0x1, n.peerEpoch:0x7, n.zxid:0x700000001, message format \
                version:0x2, n.config version:0x0";
    let has_followed = |member: &JavaMember| {
        let log = member.log();
        log.contains("FOLLOWING - LEADER ELECTION TOOK") && log.contains(said)
    };
    let found = wait_until(JAVA_PATIENCE, || members.iter().any(has_followed).then_some(()));
    let logs = || members.iter().map(JavaMember::log).collect::<Vec<_>>().join("\n=====\n");
    assert!(found.is_some(), "nobody has followed ours\n{}", logs());
    assert!(!members.iter().any(|member| member.log().contains("Something went wrong")));
}

#[test]
fn observers_of_either_kind_learn_from_voters_of_the_other() {
    let network = Network::new();
    let config = network.config(&[1, 2, 4], &[3, 5]);
    let Some(members) = java(network, &[1, 2], &config, "") else { return };
    members[1].wait_for_mode("leader");
    // Ours votes with id 4, and observes with id 3.
    let voter = Node::start(TestPeer::new(4, &config));
    assert_eq!(leader_of(&voter.look()), 2);
    let observer = Node::start(TestPeer::new(3, &config));
    assert_eq!(leader_of(&observer.look()), 2);
    assert_eq!(observer.state(), ServerState::Observing);
    let java_observer = java(network, &[5], &config, "peerType=observer").unwrap();
    java_observer[0].wait_for_mode("observer");
    // Our voter was asked by it, and told it what Java's voters did.
    java_observer[0].wait_for_log("n.sid:4, n.state:FOLLOWING, n.leader:2");
}

/// Then the first message of a connection has another version and names all addresses.
#[test]
fn ours_and_java_find_each_other_by_several_addresses() {
    let network = Network::new();
    let line = |sid: i64| {
        let [first, second] =
            [sid, sid + 10].map(|n| format!("{}:{QUORUM_PORT}:{ELECTION_PORT}", network.host(n)));
        format!("server.{sid}={first}|{second}\n")
    };
    let config: String = [1, 2, 3].map(line).concat();
    let mut peer = TestPeer::new(1, &config);
    peer.settings.multi_address_enabled = true;
    let ours = Node::start(peer);
    let outcome = ours.look();
    let extra = "multiAddress.enabled=true\nmultiAddress.reachabilityCheckEnabled=false";
    let Some(members) = java(network, &[2, 3], &config, extra) else { return };
    let leader = leader_of(&outcome);
    assert!([2, 3].contains(&leader));
    leader_among(&members);
    for member in &members {
        member.wait_for_log("n.sid:1, n.state:");
    }
}

#[test]
fn a_hierarchy_with_java_elects_by_weight() {
    let network = Network::new();
    let servers = network.config(&[1, 2, 3], &[]);
    // Java's two are the only ones that count; ours has the best history and no weight.
    let config = format!("{servers}group.1=1:2:3\nweight.1=1\nweight.2=1\nweight.3=0\n");
    let ours = Node::start(TestPeer::new(3, &config).with(0x7_0000_0001, 7));
    let outcome = ours.look();
    let Some(members) = java(network, &[1, 2], &config, "") else { return };
    assert_eq!(leader_of(&outcome), 2);
    members[1].wait_for_mode("leader");
    members[0].wait_for_mode("follower");
}
