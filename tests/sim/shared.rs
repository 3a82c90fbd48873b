//! What every server reaches: clock, chance, links, checks, the trace, and the list of what comes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zabkeeper::auth::AclPolicy;
use zabkeeper::common::config::ServerConfig;
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::proto::{Code, SessionId, Zxid};
use zabkeeper::quorum::verifier::QuorumVerifier;
use zabkeeper::quorum::zab::Vote;
use zabkeeper::quorum::zab::learner_sync::LeaderPacket;
use zabkeeper::server::request_body::RequestBody;

use crate::check::Checker;
use crate::mutants::Mutant;
use crate::net::{Arrival, ConnId, Net, NodeIx, Port, Process};
use crate::rng::Rng;
use crate::trace::Trace;

/// What servers send each other.
#[derive(Debug)]
pub enum Msg {
    /// A notification of the election.
    Vote(Vote),
    /// From a leader; behind a SNAP comes the snapshot.
    ToLearner(LeaderPacket, Option<Stream>),
    /// From a learner.
    ToLeader(LearnerPacket),
}

/// A leader's snapshot.
#[derive(Debug, Clone)]
pub struct Stream {
    pub bytes: Arc<[u8]>,
    /// For the checks only: it may have parts of everything up to here.
    pub until: Zxid,
}

/// A packet of a learner, decoded.
#[derive(Debug, Clone)]
pub enum LearnerPacket {
    /// FOLLOWERINFO or OBSERVERINFO.
    Info {
        accepted_epoch: i64,
        is_follower: bool,
    },
    AckEpoch {
        last_zxid: Zxid,
        current_epoch: i32,
    },
    Ack(Zxid),
    Ping,
    Request(ClientRequest),
}

/// A request on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRequest {
    pub client: usize,
    pub session: SessionId,
    pub cxid: i32,
    pub body: RequestBody,
}

/// What a client hears.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    pub from: Process,
    pub client: usize,
    pub cxid: i32,
    pub code: Code,
}

/// What a server waits for. `u32`s are numbers that make earlier timers void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// The election's wait.
    Election(u32),
    /// A learner dials its leader.
    Dial(u32),
    /// Time limits of a role, pings.
    Tick(u32),
    /// The thread that logs takes what is queued.
    Sync(u32),
    /// The thread that applies takes what is queued.
    Apply(u32),
    /// A leader's handler brings its learner up to date.
    BeginSync(ConnId),
    /// It sends what the first step has prepared.
    StreamSync(ConnId),
}

#[derive(Debug)]
pub enum Event {
    Arrival(Arrival),
    Dial { from: Process, to: NodeIx, port: Port },
    Timer(Process, Timer),
    Restart(NodeIx),
    Client(usize),
    Fault,
    Rest,
}

/// Why a server does not go on with what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The process is dead.
    Crash,
    /// The role is over, and a new election begins.
    RoleOver(String),
}

pub type Step<T = ()> = Result<T, Stop>;

/// Shorthand for the end of a role.
pub fn role_over<T>(why: impl fmt::Display) -> Step<T> {
    Err(Stop::RoleOver(why.to_string()))
}

/// How the next crash comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashKind {
    /// Between two actions.
    BeforeAction,
    /// At so many changing calls to the disk after it.
    AtDiskCall(u64),
}

/// Which action of which server is its last: actions of all servers are counted.
#[derive(Debug, Default)]
pub struct CrashPlan {
    pub actions: u64,
    pub next: Option<(u64, CrashKind)>,
}

/// Times and sizes, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub tick_ms: u64,
    pub init_limit: u64,
    pub sync_limit: u64,
    pub snap_count: u64,
    pub stage_delay_ms_max: u64,
    /// `syncEnabled`.
    pub do_observers_log: bool,
}

pub struct Shared {
    pub now: u64,
    pub rng: Rng,
    pub net: Net<Msg>,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub check: Checker,
    pub trace: Trace,
    pub mutant: Option<Mutant>,
    pub crash: CrashPlan,
    pub replies: Vec<Reply>,
    pub settings: Settings,
    pub verifier: Arc<QuorumVerifier>,
    pub config: Arc<ServerConfig>,
    pub metrics: Arc<ServerMetrics>,
    pub acl_policy: AclPolicy,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "they are its parts")]
    pub fn new(
        rng: Rng,
        net: Net<Msg>,
        check: Checker,
        trace: Trace,
        mutant: Option<Mutant>,
        settings: Settings,
        verifier: Arc<QuorumVerifier>,
        config: Arc<ServerConfig>,
        metrics: Arc<ServerMetrics>,
        acl_policy: AclPolicy,
    ) -> Shared {
        Shared {
            now: 0,
            rng,
            net,
            events: BTreeMap::new(),
            next_event: 0,
            check,
            trace,
            mutant,
            crash: CrashPlan::default(),
            replies: Vec::new(),
            settings,
            verifier,
            config,
            metrics,
            acl_policy,
        }
    }

    pub fn schedule(&mut self, after_ms: u64, event: Event) {
        self.schedule_at(self.now + after_ms, event);
    }

    pub fn schedule_at(&mut self, at: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((at.max(self.now), self.next_event), event);
    }

    /// The next thing to happen; the clock goes on to it.
    pub fn next_event(&mut self) -> Option<Event> {
        for (at, arrival) in self.net.take_arrivals() {
            self.schedule_at(at, Event::Arrival(arrival));
        }
        let ((at, _), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }

    pub fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// A pause as one thread makes before it gets to what another has handed it.
    pub fn stage_delay(&mut self) -> u64 {
        self.rng.skewed(self.settings.stage_delay_ms_max)
    }

    pub fn timer(&mut self, process: Process, after_ms: u64, timer: Timer) {
        self.schedule(after_ms, Event::Timer(process, timer));
    }

    pub fn send(&mut self, from: NodeIx, conn: ConnId, message: Msg) {
        let (now, rng) = (self.now, &mut self.rng);
        self.net.send(now, rng, from, conn, message);
    }

    pub fn close(&mut self, node: NodeIx, conn: ConnId) {
        let loses = self.rng.is_one_in(2);
        let (now, rng) = (self.now, &mut self.rng);
        self.net.close(now, rng, node, conn, loses);
    }

    pub fn trace(&mut self, node: NodeIx, what: fmt::Arguments<'_>) {
        self.trace.line(self.now, format_args!("n{}", node + 1), what);
    }

    /// Counts an action of `node`. True when the process dies before it; otherwise the number of
    /// calls after which its disk fails, if it is to die at one.
    pub fn count_action(&mut self) -> Option<CrashKind> {
        let number = self.crash.actions;
        self.crash.actions += 1;
        let (at, kind) = self.crash.next?;
        (number >= at).then(|| {
            self.crash.next = None;
            kind
        })
    }
}
