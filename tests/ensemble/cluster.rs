//! Ensembles of real processes: zabkeeper's, Java's, or both.
//!
//! Each server has its own directory and ports of its own. A test waits for what servers say of
//! themselves in four letter words or in their logs, never for time to pass. What is dropped is
//! killed; so is everything when the test process ends, however that happens.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use zabkeeper::client::{ClientError, ZooKeeper};
use zabkeeper::compare::port::Port;
use zabkeeper::compare::process::Process;
use zabkeeper::persistence::disk::RealDisk;
use zabkeeper::persistence::{FileTxnSnapLog, Sessions, SnapLogOptions};
use zabkeeper::proto::Zxid;
use zabkeeper::tree::{DataTree, TreeOptions};

use crate::netns::{Host, Hosts};
use crate::proxy::{Link, LinkState};
use crate::support::server::{Target, four_letter_word, java_home};
use crate::support::small_disk::SmallDisk;
use crate::support::wait_until;

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// How long an ensemble may take to serve: a Java machine under load is slow.
pub const ELECTION_PATIENCE: Duration = Duration::from_secs(60);

/// What an ensemble is made of.
#[derive(Debug, Clone, Default)]
pub struct ClusterSetup {
    voters: Vec<Target>,
    observers: Vec<Target>,
    /// Lines of every zoo.cfg.
    conf: Vec<String>,
    /// System properties of every server, `key=value`.
    properties: Vec<String>,
    tick_ms: u32,
    groups: Vec<String>,
    /// Where servers reach each other, if not at one.
    addresses: Vec<IpAddr>,
    has_links: bool,
    has_hosts: bool,
    /// The size of the disk of each server; none: all have the machine's.
    disk_bytes: Option<u64>,
    has_log_elsewhere: bool,
}

impl ClusterSetup {
    /// Voters 1, 2, … of these kinds.
    pub fn new(voters: &[Target]) -> ClusterSetup {
        ClusterSetup { voters: voters.to_vec(), tick_ms: 500, ..ClusterSetup::default() }
    }

    /// Observers behind the voters.
    pub fn observers(mut self, observers: &[Target]) -> ClusterSetup {
        self.observers = observers.to_vec();
        self
    }

    /// A line of every zoo.cfg.
    pub fn conf(mut self, line: &str) -> ClusterSetup {
        self.conf.push(line.to_owned());
        self
    }

    /// A system property of every server.
    pub fn property(mut self, property: &str) -> ClusterSetup {
        self.properties.push(property.to_owned());
        self
    }

    /// `tickTime`; 500 ms by default. `initLimit` is 20 ticks, `syncLimit` 8.
    pub fn tick(mut self, tick_ms: u32) -> ClusterSetup {
        self.tick_ms = tick_ms;
        self
    }

    /// A voting group, `1:2:3`.
    pub fn group(mut self, ids: &str) -> ClusterSetup {
        self.groups.push(ids.to_owned());
        self
    }

    /// Servers reach each other at these addresses of this machine, each with the same ports.
    pub fn addresses(mut self, addresses: &[IpAddr]) -> ClusterSetup {
        self.addresses = addresses.to_vec();
        self
    }

    /// Servers reach each other over links that can be cut.
    pub fn links(mut self) -> ClusterSetup {
        self.has_links = true;
        self
    }

    /// Each server has a machine of its own, as far as the network goes. For a test inside
    /// [`netns::within`] only.
    pub fn hosts(mut self) -> ClusterSetup {
        self.has_hosts = true;
        self
    }

    /// Each server has its `dataDir` on a disk of its own, of this size.
    pub fn disks(mut self, bytes: u64) -> ClusterSetup {
        self.disk_bytes = Some(bytes);
        self
    }

    /// `dataLogDir` is not on that disk.
    pub fn log_elsewhere(mut self) -> ClusterSetup {
        self.has_log_elsewhere = true;
        self
    }

    /// Whether the machine has what it needs; says so if not.
    pub fn is_possible(&self) -> bool {
        let has_java = self.voters.iter().chain(&self.observers).any(|t| *t == Target::Java);
        (!has_java || java_home().is_some())
            && (self.disk_bytes.is_none() || SmallDisk::is_possible())
    }
}

/// An ensemble. Servers have the ids 1, 2, …
pub struct Cluster {
    setup: ClusterSetup,
    nodes: Vec<Node>,
    /// From, to, and the links of the quorum and of the election port.
    links: Vec<(usize, usize, [Link; 2])>,
    /// Of the servers and the links.
    ports: Vec<Port>,
    hosts: Option<Hosts>,
    dir: TempDir,
}

/// A server of an ensemble.
pub struct Node {
    id: usize,
    target: Target,
    is_observer: bool,
    client_port: u16,
    quorum_port: u16,
    election_port: u16,
    dir: PathBuf,
    disk: Option<SmallDisk>,
    data_dir: PathBuf,
    /// Where it is not `data_dir`.
    log_dir: Option<PathBuf>,
    /// Where it is not this one.
    host: Option<Host>,
    /// For this server alone.
    properties: Vec<String>,
    running: Option<Process>,
}

impl Cluster {
    /// An ensemble of which nothing runs yet.
    pub fn prepare(setup: &ClusterSetup) -> Cluster {
        let dir = TempDir::with_prefix("zabkeeper-ensemble-").unwrap();
        let voters = setup.voters.iter().map(|target| (*target, false));
        let observers = setup.observers.iter().map(|target| (*target, true));
        let count = setup.voters.len() + setup.observers.len();
        let mut ports = Vec::new();
        let hosts = setup.has_hosts.then(|| Hosts::new(count));
        let nodes: Vec<Node> = voters
            .chain(observers)
            .enumerate()
            .map(|(index, (target, is_observer))| {
                let id = index + 1;
                let dir = dir.path().join(id.to_string());
                fs::create_dir_all(&dir).unwrap();
                let disk = setup.disk_bytes.map(SmallDisk::new);
                let data_dir = disk.as_ref().map_or(dir.as_path(), SmallDisk::path).join("data");
                fs::create_dir_all(&data_dir).unwrap();
                fs::write(data_dir.join("myid"), format!("{id}\n")).unwrap();
                let log_dir = setup.has_log_elsewhere.then(|| dir.join("log"));
                let host = hosts.as_ref().map(|hosts| hosts.host(id));
                let [client_port, quorum_port, election_port] = [(); 3].map(|()| claim(&mut ports));
                let (properties, running) = (Vec::new(), None);
                Node {
                    id,
                    target,
                    is_observer,
                    client_port,
                    quorum_port,
                    election_port,
                    dir,
                    disk,
                    data_dir,
                    log_dir,
                    host,
                    properties,
                    running,
                }
            })
            .collect();
        let (setup, links) = (setup.clone(), Vec::new());
        let mut cluster = Cluster { setup, nodes, links, ports, hosts, dir };
        cluster.connect();
        cluster
    }

    /// Starts all servers and waits until they serve.
    pub fn start(setup: &ClusterSetup) -> Cluster {
        let mut cluster = Cluster::prepare(setup);
        cluster.start_all();
        cluster
    }

    /// Makes the links and writes the configurations.
    fn connect(&mut self) {
        let mut addresses = Vec::new();
        if self.setup.has_links {
            let pairs: Vec<(usize, usize)> = self
                .ids()
                .flat_map(|from| self.ids().map(move |to| (from, to)))
                .filter(|(from, to)| from != to)
                .collect();
            addresses = pairs
                .iter()
                .map(|pair| (*pair, [(); 2].map(|()| claim(&mut self.ports))))
                .collect();
            let port = |from, to| {
                let found =
                    addresses.iter().find(|(pair, _): &&((usize, usize), _)| *pair == (from, to));
                found.unwrap().1
            };
            for (from, to) in pairs {
                let [quorum, election] = port(from, to);
                let target = &self.nodes[to - 1];
                let call_back = port(to, from)[1];
                let links = [
                    Link::new(quorum, target.quorum_port, None),
                    Link::new(election, target.election_port, Some(call_back)),
                ];
                self.links.push((from, to, links));
            }
        }
        for node in &self.nodes {
            let mut text = format!(
                "tickTime={}\ninitLimit=20\nsyncLimit=8\ndataDir={}\nclientPort={}\n\
                 clientPortAddress={}\nadmin.enableServer=false\n\
                 4lw.commands.whitelist=*\npreAllocSize=64\n",
                self.setup.tick_ms,
                node.data_dir().display(),
                node.client_port,
                node.addr().ip(),
            );
            if let Some(dir) = &node.log_dir {
                text.push_str(&format!("dataLogDir={}\n", dir.display()));
            }
            for line in &self.setup.conf {
                text.push_str(&format!("{line}\n"));
            }
            for other in &self.nodes {
                let [quorum, election] = addresses
                    .iter()
                    .find(|(pair, _)| *pair == (node.id, other.id))
                    .map_or([other.quorum_port, other.election_port], |(_, ports)| *ports);
                let role = if other.is_observer { ":observer" } else { "" };
                let mut ips = self.setup.addresses.clone();
                if ips.is_empty() {
                    ips.push(other.host.as_ref().map_or(LOCAL, |host| host.peer_ip).into());
                }
                let addresses: Vec<String> = ips
                    .iter()
                    .map(|ip| format!("{}:{election}{role}", SocketAddr::new(*ip, quorum)))
                    .collect();
                text.push_str(&format!("server.{}={}\n", other.id, addresses.join("|")));
            }
            for (index, group) in self.setup.groups.iter().enumerate() {
                text.push_str(&format!("group.{}={group}\n", index + 1));
            }
            fs::write(node.conf_path(), text).unwrap();
        }
    }

    /// 1, 2, …
    pub fn ids(&self) -> impl Iterator<Item = usize> + use<> {
        1..self.nodes.len() + 1
    }

    /// A server.
    pub fn node(&self, id: usize) -> &Node {
        &self.nodes[id - 1]
    }

    /// A server, to be changed before its next start.
    pub fn node_mut(&mut self, id: usize) -> &mut Node {
        &mut self.nodes[id - 1]
    }

    /// Starts what does not run, and waits until all serve.
    pub fn start_all(&mut self) {
        self.ids().for_each(|id| self.spawn(id));
        let ids: Vec<usize> = self.ids().collect();
        self.await_serving(&ids);
    }

    /// Starts servers without waiting.
    pub fn spawn(&mut self, id: usize) {
        let properties = self.setup.properties.clone();
        self.node_mut(id).spawn(&properties);
    }

    /// Starts a server and waits until it serves.
    pub fn start_node(&mut self, id: usize) {
        self.spawn(id);
        self.await_serving(&[id]);
    }

    /// Ends a server in order and starts it again.
    pub fn restart(&mut self, id: usize) {
        self.node_mut(id).stop();
        self.start_node(id);
    }

    /// Waits until these servers play a role.
    pub fn await_serving(&mut self, ids: &[usize]) {
        let nodes = &mut self.nodes;
        let mut ended = None;
        let served = wait_until(ELECTION_PATIENCE, || {
            ended = ids.iter().find(|id| !nodes[**id - 1].is_running());
            (ended.is_some() || ids.iter().all(|id| nodes[id - 1].mode().is_some())).then_some(())
        });
        if served.is_none() || ended.is_some() {
            panic!("not serving: {}", self.report());
        }
    }

    /// The one that leads now, by its own account.
    pub fn leader(&self) -> Option<usize> {
        self.ids().find(|id| self.node(*id).mode().as_deref() == Some("leader"))
    }

    /// Waits until one of these leads.
    pub fn await_leader(&self, among: &[usize]) -> usize {
        let found = wait_until(ELECTION_PATIENCE, || {
            let leads = |id: &&usize| self.node(**id).mode().as_deref() == Some("leader");
            among.iter().find(leads).copied()
        });
        found.unwrap_or_else(|| panic!("no leader among {among:?}: {}", self.report()))
    }

    /// Waits for a condition, and shows the ensemble when it does not come true.
    pub fn await_that<T>(&self, what: &str, probe: impl FnMut() -> Option<T>) -> T {
        wait_until(ELECTION_PATIENCE, probe)
            .unwrap_or_else(|| panic!("waited in vain: {what}: {}", self.report()))
    }

    /// Waits until these servers have applied the same transactions; the zxid.
    pub fn await_same_zxid(&self, ids: &[usize]) -> Zxid {
        self.await_that("the same zxid", || {
            let zxids: Vec<Option<Zxid>> = ids.iter().map(|id| self.node(*id).zxid()).collect();
            let first = zxids.first().copied().flatten()?;
            zxids.iter().all(|zxid| *zxid == Some(first)).then_some(first)
        })
    }

    /// Cuts all links between servers of different groups, and opens those within one.
    pub fn partition(&self, groups: &[&[usize]]) {
        self.set_links(LinkState::Cut, groups);
    }

    /// As [`partition`](Self::partition), but nobody is told: bytes do not arrive.
    pub fn freeze(&self, groups: &[&[usize]]) {
        if let Some(hosts) = &self.hosts {
            return hosts.separate(groups);
        }
        self.set_links(LinkState::Frozen, groups);
    }

    /// Nobody's connection to the quorum port of another server lasts, while `is_cut`.
    pub fn cut_quorum_ports(&self, is_cut: bool) {
        let state = if is_cut { LinkState::Cut } else { LinkState::Open };
        self.links.iter().for_each(|(_, _, [quorum, _])| quorum.set(state));
    }

    fn set_links(&self, between: LinkState, groups: &[&[usize]]) {
        assert!(self.setup.has_links, "an ensemble with links");
        let group = |id| groups.iter().position(|group| group.contains(id));
        for (from, to, links) in &self.links {
            let is_open = group(from) == group(to);
            for link in links {
                link.set(if is_open { LinkState::Open } else { between });
            }
        }
    }

    /// The disk of a server of an ensemble that has some.
    pub fn disk(&self, id: usize) -> &SmallDisk {
        self.node(id).disk.as_ref().expect("an ensemble with disks")
    }

    /// Nothing that `from` sends arrives at `to`, and nobody is told; what `to` sends does arrive.
    pub fn deafen(&self, from: usize, to: usize) {
        if let Some(hosts) = &self.hosts {
            return hosts.deafen(from, to);
        }
        assert!(self.setup.has_links, "an ensemble with links");
        for (near, far, links) in &self.links {
            let state = match (*near, *far) {
                pair if pair == (from, to) => LinkState::FrozenThere,
                pair if pair == (to, from) => LinkState::FrozenBack,
                _ => continue,
            };
            links.iter().for_each(|link| link.set(state));
        }
    }

    /// Opens all links.
    pub fn heal(&self) {
        if let Some(hosts) = &self.hosts {
            hosts.heal();
        }
        for (_, _, links) in &self.links {
            links.iter().for_each(|link| link.set(LinkState::Open));
        }
    }

    /// Ends all servers in order.
    pub fn stop_all(&mut self) {
        for id in self.ids() {
            self.node_mut(id).stop();
        }
    }

    /// The states, and the ends of all logs, for messages of failed tests.
    pub fn report(&self) -> String {
        let mut text = format!("in {}\n", self.dir.path().display());
        for node in &self.nodes {
            let mode = node.mode();
            text.push_str(&format!(
                "--- {} ({}) at {}: {mode:?}, zxid {:?}\n{}\n",
                node.id,
                node.target,
                node.addr(),
                node.zxid(),
                node.log_tail(30)
            ));
        }
        text
    }
}

impl Node {
    /// Its id.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Whose server.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Another implementation from the next start on.
    pub fn set_target(&mut self, target: Target) {
        assert!(self.running.is_none(), "stopped first");
        self.target = target;
    }

    /// A system property of this server alone, from the next start on.
    pub fn add_property(&mut self, property: &str) {
        self.properties.push(property.to_owned());
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        let ip = self.host.as_ref().map_or(LOCAL, |host| host.client_ip);
        SocketAddr::from((ip, self.client_port))
    }

    /// The port of the leader for learners.
    pub fn quorum_port(&self) -> u16 {
        self.quorum_port
    }

    /// The port of the election.
    pub fn election_port(&self) -> u16 {
        self.election_port
    }

    /// `dataDir`.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    /// Logs, snapshots and epochs; without the logs if those are elsewhere.
    pub fn version_dir(&self) -> PathBuf {
        self.data_dir.join("version-2")
    }

    /// Its zoo.cfg.
    pub fn conf_path(&self) -> PathBuf {
        self.dir.join("zoo.cfg")
    }

    fn spawn(&mut self, properties: &[String]) {
        if self.is_running() {
            return;
        }
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let properties = [properties, &self.properties].concat();
        let mut command = self.target.command(&self.conf_path(), &properties);
        if let Some(host) = &self.host {
            command = host.enter(&command);
        }
        command.current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = Process::spawn(&mut command, None)
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.target));
        self.running = Some(process);
    }

    /// Whether the process lives, paused or not.
    pub fn is_running(&mut self) -> bool {
        self.running.is_some() && self.ended().is_none()
    }

    /// How it has ended by itself.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.running.as_mut()?.ended()?;
        self.running = None;
        Some(status)
    }

    fn signal(&self, signal: Signal) {
        self.running.as_ref().expect("running").signal(signal).unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if !self.is_running() {
            return None;
        }
        self.signal(Signal::TERM);
        let status = wait_until(Duration::from_secs(30), || self.ended());
        if status.is_none() {
            let log = self.log_tail(60);
            self.kill();
            panic!("{} ({}) ignores SIGTERM\n{log}", self.id, self.target);
        }
        status
    }

    /// Waits for the end that a server comes to by itself.
    pub fn await_end(&mut self) -> Option<ExitStatus> {
        wait_until(ELECTION_PATIENCE, || self.ended())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// SIGSTOP, and waits until every thread has stopped: one may be in the disk's hands.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let pid = self.pid().expect("running");
        let is_stopped = |stat: &str| {
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with(['T', 't', 'Z']))
        };
        let all_stopped = wait_until(Duration::from_secs(20), || {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
            let stats = tasks.flatten().map(|task| fs::read_to_string(task.path().join("stat")));
            // A thread that has just ended has no file any more.
            stats.flatten().all(|stat| is_stopped(&stat)).then_some(())
        });
        assert!(all_stopped.is_some(), "{} does not stop", self.id);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// The process id.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Process::id)
    }

    /// What the kernel calls its threads: the first 15 bytes of their names.
    pub fn thread_names(&self) -> Vec<String> {
        let tasks = self.pid().and_then(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
        tasks.into_iter().flatten().flatten().filter_map(name).collect()
    }

    /// The answer to a four letter word, if there is one.
    pub fn word(&self, word: &str) -> Option<String> {
        self.running.as_ref()?;
        four_letter_word(self.addr(), word).ok()
    }

    fn srvr(&self, key: &str) -> Option<String> {
        let answer = self.word("srvr")?;
        let line = answer.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().to_owned())
    }

    /// `leader`, `follower`, `observer`, `read-only`; nothing while it does not serve.
    pub fn mode(&self) -> Option<String> {
        self.srvr("Mode:")
    }

    /// The last transaction applied.
    pub fn zxid(&self) -> Option<Zxid> {
        let text = self.srvr("Zxid:")?;
        i64::from_str_radix(text.trim_start_matches("0x"), 16).ok().map(Zxid)
    }

    /// A value of `mntr`, named without `zk_`.
    pub fn metric(&self, name: &str) -> Option<String> {
        let answer = self.word("mntr")?;
        answer.lines().find_map(|line| {
            let (key, value) = line.strip_prefix("zk_")?.split_once('\t')?;
            (key == name).then(|| value.to_owned())
        })
    }

    /// A client of this server, with a new session; tries for a while, for a server that has just
    /// begun to serve may refuse.
    pub fn client(&self, timeout_ms: i32) -> ZooKeeper {
        let mut last = None;
        let client = wait_until(Duration::from_secs(30), || {
            self.try_client(timeout_ms).map_err(|error| last = Some(error)).ok()
        });
        client
            .unwrap_or_else(|| panic!("no session at {}: {last:?}\n{}", self.id, self.log_tail(40)))
    }

    /// A client of this server, with a new session.
    pub fn try_client(&self, timeout_ms: i32) -> Result<ZooKeeper, ClientError> {
        ZooKeeper::connect(self.addr(), timeout_ms, Duration::from_secs(15))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Everything that the server printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log has a line with this text.
    pub fn await_log(&self, text: &str) {
        let found = wait_until(ELECTION_PATIENCE, || self.log().contains(text).then_some(()));
        assert!(found.is_some(), "{}: no line with {text:?}\n{}", self.id, self.log_tail(60));
    }

    /// The last lines.
    pub fn log_tail(&self, count: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// The epoch in one of the files `currentEpoch` and `acceptedEpoch`.
    pub fn epoch(&self, file: &str) -> Option<i64> {
        fs::read_to_string(self.version_dir().join(file)).ok()?.trim().parse().ok()
    }

    /// What a start would restore from a copy of the directory: also of a server that runs or was
    /// killed.
    pub fn restored(&self) -> Restored {
        let copy = TempDir::with_prefix("zabkeeper-restored-").unwrap();
        copy_files(&self.version_dir(), &copy.path().join("version-2"));
        if let Some(dir) = &self.log_dir {
            copy_files(&dir.join("version-2"), &copy.path().join("version-2"));
        }
        let options = SnapLogOptions { is_lost_tail_fatal: false, ..SnapLogOptions::default() };
        let mut snap_log =
            FileTxnSnapLog::new(Arc::new(RealDisk), copy.path(), copy.path(), options).unwrap();
        let mut tree =
            DataTree::new(TreeOptions { digest_enabled: true, ..TreeOptions::default() });
        let mut sessions = Sessions::new();
        snap_log
            .restore(&mut tree, &mut sessions, &mut |_| {})
            .unwrap_or_else(|error| panic!("{}: {error}", self.id));
        Restored {
            zxid: tree.last_processed_zxid(),
            digest: tree.tree_digest(),
            nodes: tree.node_count(),
            sessions: sessions.len(),
            tree,
        }
    }
}

/// What is in a data directory.
pub struct Restored {
    /// The last transaction.
    pub zxid: Zxid,
    /// The digest of the tree, as transactions carry it.
    pub digest: u64,
    /// The number of nodes.
    pub nodes: usize,
    /// The number of sessions.
    pub sessions: usize,
    /// The tree.
    pub tree: DataTree,
}

/// A port that nobody else is given as long as it is among these.
fn claim(ports: &mut Vec<Port>) -> u16 {
    let port = Port::claim().unwrap();
    let number = port.number();
    ports.push(port);
    number
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            // A log that is being written may vanish or grow; a sparse copy is not needed.
            let _ = fs::copy(entry.path(), to.join(entry.file_name()));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Before its disk goes.
        self.kill();
    }
}
