//! A whole ensemble in one thread: servers, clients, and what goes wrong, all from one seed.
//!
//! A run has three parts: faults for a while; then everything is repaired, and the ensemble has to
//! elect, to serve and to commit within bounded time; then clients stop, and all servers must come
//! to the same state.

use std::sync::Arc;

use zabkeeper::auth::{AclPolicy, AuthSettings, ProviderRegistry};
use zabkeeper::common::config::ServerConfig;
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::persistence::sim_disk::{SimDisk, Unsynced};
use zabkeeper::quorum::verifier::{QuorumVerifier, VerifierOptions};
use zabkeeper::server::restore::tree_options;
use zabkeeper::tree::DataTree;

use crate::check::{Checker, Counts, Violation};
use crate::client::Client;
use crate::mutants::Mutant;
use crate::net::{Net, NodeIx, Port, Process};
use crate::node::Peer;
use crate::rng::Rng;
use crate::shared::{CrashKind, Event, Settings, Shared, Step, Stop};
use crate::store::Store;
use crate::trace::Trace;

/// After the last fault so much time may pass until all serve, and again until all are equal.
const RECOVERY_MS_MAX: u64 = 60_000;

/// How a run is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub is_traced: bool,
    pub mutant: Option<Mutant>,
    /// See [`Checker`].
    pub is_global_only: bool,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// The last lines of the trace, if there was one.
    pub tail: Vec<String>,
    pub fingerprint: u64,
    pub lines: u64,
    pub actions: u64,
    pub crashes: u64,
    pub counts: Counts,
}

struct Node {
    disk: SimDisk,
    peer: Option<Box<Peer>>,
    incarnation: u32,
    paused_until: u64,
    is_voter: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Faults,
    Recovery,
    Rest,
}

pub struct World {
    nodes: Vec<Node>,
    clients: Vec<Client>,
    sh: Shared,
    part: Part,
    part_began: u64,
    crashes: u64,
    /// Longest pause of a client between two requests.
    client_pause_ms: u64,
    is_over: bool,
}

/// Runs one seed to its end.
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    while world.sh.check.violation().is_none() && !world.is_over {
        world.step();
    }
    let violation = world.sh.check.violation().cloned();
    if let Some(violation) = &violation {
        world.sh.trace.line(world.sh.now, "--", format_args!("VIOLATION: {violation}"));
    }
    let trace = &world.sh.trace;
    Outcome {
        tail: if violation.is_some() { trace.tail().map(str::to_owned).collect() } else { vec![] },
        violation,
        fingerprint: trace.fingerprint(),
        lines: trace.lines(),
        actions: world.sh.crash.actions,
        crashes: world.crashes,
        counts: world.sh.check.counts,
    }
}

impl World {
    fn new(seed: u64, options: Options) -> World {
        let mut rng = Rng::new(seed);
        let voters = rng.pick(&[3, 3, 3, 5, 5]);
        let observers = rng.pick(&[0, 0, 1, 2]);
        let is_hierarchical = voters == 5 && rng.is_one_in(3);
        let count = voters + observers;
        let text = ensemble(voters, observers, is_hierarchical);
        let verifier =
            Arc::new(QuorumVerifier::from_config_text(&text, &VerifierOptions::default()).unwrap());
        let settings = Settings {
            tick_ms: 200,
            init_limit: 10,
            sync_limit: 5,
            snap_count: rng.between(5, 40),
            stage_delay_ms_max: rng.pick(&[1, 4, 20]),
            do_observers_log: !rng.is_one_in(4),
        };
        let net = Net::new(rng.pick(&[2, 10, 50]));
        let config = Arc::new(ServerConfig::default());
        let metrics = Arc::new(ServerMetrics::default());
        let providers = ProviderRegistry::new(&AuthSettings::default(), &metrics).unwrap();
        let empty = DataTree::new(tree_options(&config)).tree_digest();
        let mut trace = Trace::new(options.is_traced);
        trace.line(0, "--", format_args!("seed {seed}: {}", text.replace('\n', " ")));
        let clients = rng.between(1, 4) as usize;
        let window = rng.between(1, 5) as usize;
        let mut sh = Shared::new(
            rng,
            net,
            Checker::new(Arc::clone(&verifier), empty, options.is_global_only),
            trace,
            options.mutant,
            settings,
            verifier,
            config,
            metrics,
            AclPolicy::new(Arc::new(providers), true),
        );
        let node = |index| Node {
            disk: SimDisk::default(),
            peer: None,
            incarnation: 0,
            paused_until: 0,
            is_voter: index < voters,
        };
        let nodes: Vec<Node> = (0..count).map(node).collect();
        for index in 0..nodes.len() {
            let delay = sh.rng.skewed(500);
            sh.schedule(delay, Event::Restart(index));
        }
        for index in 0..clients {
            sh.schedule(100, Event::Client(index));
        }
        let calm = sh.rng.skewed(4000);
        sh.schedule(calm, Event::Fault);
        let faults = sh.rng.between(3000, 12_000);
        let client_pause_ms = sh.rng.pick(&[40, 200, 400]);
        sh.schedule(faults, Event::Rest);
        World {
            nodes,
            clients: (0..clients).map(|index| Client::new(index, window)).collect(),
            sh,
            part: Part::Faults,
            part_began: 0,
            crashes: 0,
            client_pause_ms,
            is_over: false,
        }
    }

    fn step(&mut self) {
        let Some(event) = self.sh.next_event() else {
            self.sh.check.fail(None, "nothing happens any more".to_owned());
            return;
        };
        match event {
            Event::Arrival(arrival) => {
                let Some(to) = self.sh.net.reader(arrival) else { return };
                if self.defers(to) {
                    let until = self.nodes[to].paused_until;
                    return self.sh.schedule_at(until, Event::Arrival(arrival));
                }
                let Some((to, from, item)) = self.sh.net.receive(self.sh.now, arrival) else {
                    return;
                };
                self.with_peer(to, |peer, sh| peer.on_item(sh, arrival.conn, from, item));
            }
            Event::Dial { from, to, port } => self.dial(from, to, port),
            Event::Timer(process, timer) => {
                if self.defers(process.node) {
                    let until = self.nodes[process.node].paused_until;
                    return self.sh.schedule_at(until, Event::Timer(process, timer));
                }
                self.with_peer(process, |peer, sh| peer.on_timer(sh, timer));
            }
            Event::Restart(node) => self.start(node),
            Event::Client(client) => self.client(client),
            Event::Fault => self.fault(),
            Event::Rest => self.rest(),
        }
        for reply in std::mem::take(&mut self.sh.replies) {
            let client = &mut self.clients[reply.client];
            if client.connection.is_some_and(|(process, _)| process == reply.from) {
                client.replied(&reply);
            }
        }
    }

    fn defers(&self, node: NodeIx) -> bool {
        self.nodes[node].paused_until > self.sh.now
    }

    /// Lets a process do something, if it is still that process; it may die from it.
    fn with_peer(&mut self, process: Process, act: impl FnOnce(&mut Peer, &mut Shared) -> Step) {
        let node = &mut self.nodes[process.node];
        if node.incarnation != process.incarnation {
            return;
        }
        let Some(peer) = &mut node.peer else { return };
        if act(peer, &mut self.sh) == Err(Stop::Crash) {
            self.crash(process.node);
        }
    }

    fn process(&self, node: NodeIx) -> Process {
        Process { node, incarnation: self.nodes[node].incarnation }
    }

    fn start(&mut self, index: NodeIx) {
        if self.nodes[index].peer.is_some() {
            return;
        }
        let node = &mut self.nodes[index];
        node.incarnation += 1;
        let sh = &mut self.sh;
        let me = Process { node: index, incarnation: node.incarnation };
        let store = match Store::open(&node.disk, &sh.config, &sh.metrics, &sh.verifier) {
            Ok(store) => store,
            Err(error) => return sh.check.fail(index, format!("does not start: {error}")),
        };
        match Peer::start(sh, me, store) {
            Ok(peer) => node.peer = Some(Box::new(peer)),
            Err(_) => self.crash(index),
        }
    }

    /// The process dies. Its disk keeps what was synced, and some of the rest.
    fn crash(&mut self, index: NodeIx) {
        self.crashes += 1;
        let me = self.process(index);
        let node = &mut self.nodes[index];
        node.peer = None;
        node.paused_until = 0;
        let sh = &mut self.sh;
        let (disk, what) = match sh.rng.below(6) {
            0 | 1 => (node.disk.after_kill(), "killed".to_owned()),
            other => {
                let unsynced = match other {
                    2 => Unsynced::Lost,
                    3 => Unsynced::Kept,
                    4 => Unsynced::Torn(sh.rng.below(1000) as u32),
                    _ => Unsynced::Holes(sh.rng.below(u64::MAX)),
                };
                (node.disk.after_power_loss(unsynced), format!("loses power, {unsynced:?}"))
            }
        };
        node.disk = disk;
        sh.trace(index, format_args!("{what}"));
        for conn in sh.net.conns_of(me) {
            sh.close(index, conn);
        }
        let down = if self.part == Part::Faults { sh.rng.skewed(6000) } else { 100 };
        sh.schedule(down, Event::Restart(index));
    }

    fn dial(&mut self, from: Process, to: NodeIx, port: Port) {
        if self.defers(from.node) {
            let until = self.nodes[from.node].paused_until;
            return self.sh.schedule_at(until, Event::Dial { from, to, port });
        }
        if self.nodes[from.node].incarnation != from.incarnation {
            return;
        }
        let target = self.process(to);
        let accepts = self.nodes[to].peer.as_ref().is_some_and(|peer| peer.accepts(port));
        let conn = (accepts && self.sh.net.can_connect(from.node, to))
            .then(|| self.sh.net.connect(port, from, target));
        if let Some(conn) = conn {
            self.with_peer(target, |peer, sh| {
                peer.on_accepted(sh, from.node, port, conn);
                Ok(())
            });
        }
        self.with_peer(from, |peer, sh| peer.on_dialled(sh, to, port, conn));
    }

    // Clients.

    fn client(&mut self, index: usize) {
        let pause = self.sh.rng.between(1, self.client_pause_ms);
        self.sh.schedule(pause, Event::Client(index));
        if let Some((process, generation)) = self.clients[index].connection {
            let node = &mut self.nodes[process.node];
            let serving = node.peer.as_mut().and_then(|peer| peer.serving());
            if node.incarnation != process.incarnation || serving != Some(generation) {
                self.clients[index].disconnected();
            } else if self.sh.rng.is_one_in(200) {
                // It goes elsewhere with requests under way.
                self.clients[index].disconnected();
            }
        }
        if self.clients[index].connection.is_none() {
            let at = self.sh.rng.below(self.nodes.len() as u64) as usize;
            let session = self.clients[index].session();
            let process = self.process(at);
            let Some(peer) = &mut self.nodes[at].peer else { return };
            let Some(generation) = peer.serving() else { return };
            let knows = peer.has_session(session);
            self.clients[index].connected((process, generation), knows);
        }
        let Some((process, _)) = self.clients[index].connection else { return };
        if self.defers(process.node) {
            return;
        }
        if let Some(request) = self.clients[index].next_request(&mut self.sh.rng) {
            self.with_peer(process, |peer, sh| peer.submit(sh, request));
        }
    }

    // What goes wrong.

    fn fault(&mut self) {
        if self.part != Part::Faults {
            return;
        }
        let pause = self.sh.rng.between(50, 1500);
        self.sh.schedule(pause, Event::Fault);
        let count = self.nodes.len() as u64;
        let node = self.sh.rng.below(count) as usize;
        match self.sh.rng.below(16) {
            0..6 => {
                let at = self.sh.crash.actions + self.sh.rng.skewed(300);
                let kind = match self.sh.rng.below(2) {
                    0 => CrashKind::BeforeAction,
                    _ => CrashKind::AtDiskCall(self.sh.rng.below(8)),
                };
                self.sh.crash.next = Some((at, kind));
            }
            6 => self.crash_if_running(node),
            7 => {
                if self.sh.rng.is_one_in(3) {
                    self.sh.trace.line(self.sh.now, "--", format_args!("all lose power"));
                    (0..self.nodes.len()).for_each(|node| self.crash_if_running(node));
                } else if !self.nodes[node].is_voter && self.sh.rng.is_one_in(2) {
                    self.crash_if_running(node);
                    self.nodes[node].disk = SimDisk::default();
                    self.sh.check.disk_lost(node);
                    self.sh.trace(node, format_args!("its disk is replaced by an empty one"));
                }
            }
            8 | 9 => self.partition(node),
            10 | 11 => {
                let (now, rng) = (self.sh.now, &mut self.sh.rng);
                self.sh.net.heal(now, rng);
                self.sh.trace.line(self.sh.now, "--", format_args!("links healed"));
            }
            12 | 13 => {
                let ports = [Port::Election, Port::Quorum, Port::Quorum, Port::Quorum];
                let port = self.sh.rng.pick(&ports);
                let conns = self.sh.net.all(port);
                let (now, part) = (self.sh.now, self.sh.rng.between(1, 3));
                for conn in conns {
                    if self.sh.rng.is_one_in(part) {
                        self.sh.net.reset(now, &mut self.sh.rng, conn);
                        self.sh.trace.line(now, "--", format_args!("{conn:?} reset"));
                    }
                }
            }
            14 => {
                let pause = self.sh.rng.skewed(4000);
                self.nodes[node].paused_until = self.sh.now + pause;
                self.sh.trace(node, format_args!("pauses for {pause} ms"));
            }
            _ => {
                let delay = self.sh.rng.pick(&[2, 10, 50, 300]);
                self.sh.net.set_delay_max(delay);
            }
        }
    }

    fn crash_if_running(&mut self, node: NodeIx) {
        if self.nodes[node].peer.is_some() {
            self.crash(node);
        }
    }

    fn partition(&mut self, node: NodeIx) {
        let count = self.nodes.len();
        let is_one_way = self.sh.rng.is_one_in(3);
        let mut side: Vec<bool> = (0..count).map(|_| self.sh.rng.is_one_in(2)).collect();
        if self.sh.rng.is_one_in(2) {
            side = (0..count).map(|other| other == node).collect();
        }
        for from in 0..count {
            for to in 0..count {
                if side[from] && !side[to] {
                    self.sh.net.cut(from, to);
                    if !is_one_way {
                        self.sh.net.cut(to, from);
                    }
                }
            }
        }
        let cut: Vec<usize> = (0..count).filter(|node| side[*node]).map(|node| node + 1).collect();
        self.sh.trace.line(
            self.sh.now,
            "--",
            format_args!("{cut:?} cut off{}", if is_one_way { ", one way" } else { "" }),
        );
    }

    // The end.

    fn rest(&mut self) {
        self.sh.schedule(50, Event::Rest);
        match self.part {
            Part::Faults => {
                self.begin(Part::Recovery);
                self.sh.crash.next = None;
                let (now, rng) = (self.sh.now, &mut self.sh.rng);
                self.sh.net.set_delay_max(10);
                self.sh.net.heal(now, rng);
                for index in 0..self.nodes.len() {
                    self.nodes[index].paused_until = 0;
                    self.sh.schedule(0, Event::Restart(index));
                }
                self.clients.iter_mut().for_each(|client| client.replies = 0);
            }
            Part::Recovery => {
                let have_written = self.clients.iter().all(|client| client.replies > 2);
                if have_written && self.do_all_serve() {
                    self.begin(Part::Rest);
                    self.clients.iter_mut().for_each(|client| client.is_stopped = true);
                } else {
                    self.give_up_late("no progress");
                }
            }
            Part::Rest => {
                if self.is_quiet() && self.do_all_serve() {
                    let trees = self.trees();
                    self.sh.check.at_rest(&trees);
                    self.is_over = true;
                } else {
                    self.give_up_late("does not come to rest");
                }
            }
        }
    }

    fn begin(&mut self, part: Part) {
        self.part = part;
        self.part_began = self.sh.now;
        self.sh.trace.line(self.sh.now, "--", format_args!("{part:?}"));
    }

    fn give_up_late(&mut self, what: &str) {
        if self.sh.now - self.part_began < RECOVERY_MS_MAX {
            return;
        }
        let states: Vec<String> = self
            .nodes
            .iter()
            .map(|node| node.peer.as_ref().map_or("down".to_owned(), |peer| peer.describe()))
            .collect();
        self.sh.check.fail(None, format!("{what} after {RECOVERY_MS_MAX} ms: {states:?}"));
    }

    fn do_all_serve(&mut self) -> bool {
        let leading = |node: &Node| node.peer.as_ref().is_some_and(|peer| peer.is_leading());
        let Some(leader) = self.nodes.iter().find(|node| leading(node)) else { return false };
        let epoch = leader.peer.as_ref().map_or(-1, |peer| peer.epoch());
        self.nodes.iter_mut().all(|node| {
            let peer = node.peer.as_mut();
            peer.is_some_and(|peer| peer.serving().is_some() && peer.epoch() == epoch)
        })
    }

    fn trees(&self) -> Vec<(NodeIx, zabkeeper::proto::Zxid, u64)> {
        let running = self.nodes.iter().enumerate();
        running
            .filter_map(|(index, node)| {
                let (zxid, digest) = node.peer.as_ref()?.tree();
                Some((index, zxid, digest))
            })
            .collect()
    }

    /// Nothing is under way, and all have the same.
    fn is_quiet(&mut self) -> bool {
        let are_idle =
            self.nodes.iter_mut().all(|node| node.peer.as_mut().is_some_and(|peer| peer.is_idle()));
        let trees = self.trees();
        let last = self.sh.check.last_committed();
        are_idle && trees.iter().all(|(_, zxid, _)| self.sh.check.transaction(*zxid) == last)
    }
}

/// The configuration as text: voters first, then observers.
fn ensemble(voters: usize, observers: usize, is_hierarchical: bool) -> String {
    let line = |index: usize| {
        let role = if index < voters { "participant" } else { "observer" };
        format!("server.{}=h{index}:2888:3888:{role}", index + 1)
    };
    let mut text: Vec<String> = (0..voters + observers).map(line).collect();
    if is_hierarchical {
        text.extend(["group.1=1:2:3", "group.2=4", "group.3=5"].map(str::to_owned));
        text.extend((1..=voters).map(|sid| format!("weight.{sid}=1")));
    }
    text.join("\n")
}
