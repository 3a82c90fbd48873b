//! Links between servers: connections that keep the order of what they carry, with delays, cuts
//! of one or both directions, and resets that lose what was under way.
//!
//! A cut holds up what is sent, as TCP does: it arrives when the link is healed, unless one end has
//! closed the connection by then. Only between connections does the order change.

use std::collections::{BTreeMap, VecDeque};

use crate::rng::Rng;

/// A server's place in the world's list.
pub type NodeIx = usize;

/// A process of a server: a restarted one is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub node: NodeIx,
    pub incarnation: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Election,
    Quorum,
}

/// What comes out at an end.
#[derive(Debug)]
pub enum Item<M> {
    Message(M),
    /// The other end has closed, or died.
    End,
}

struct Direction<M> {
    queue: VecDeque<(u64, Item<M>)>,
    /// Nothing arrives before what was sent earlier.
    last_arrival: u64,
    /// The reader is still there.
    is_read: bool,
}

struct Conn<M> {
    port: Port,
    /// Who dialled, who accepted.
    ends: [Process; 2],
    /// Towards the end of that index.
    towards: [Direction<M>; 2],
}

/// A message is to be looked for at this time at that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub conn: ConnId,
    pub end: usize,
}

pub struct Net<M> {
    conns: BTreeMap<ConnId, Conn<M>>,
    next_conn: u64,
    /// `(from, to)` that is cut.
    cuts: Vec<(NodeIx, NodeIx)>,
    delay_ms_max: u64,
    /// What the caller has to schedule.
    arrivals: Vec<(u64, Arrival)>,
}

impl<M> Net<M> {
    pub fn new(delay_ms_max: u64) -> Net<M> {
        Net {
            conns: BTreeMap::new(),
            next_conn: 0,
            cuts: Vec::new(),
            delay_ms_max,
            arrivals: Vec::new(),
        }
    }

    fn delay(&self, rng: &mut Rng) -> u64 {
        rng.skewed(self.delay_ms_max)
    }

    pub fn set_delay_max(&mut self, delay_ms_max: u64) {
        self.delay_ms_max = delay_ms_max;
    }

    /// What is to be scheduled since the last call.
    pub fn take_arrivals(&mut self) -> Vec<(u64, Arrival)> {
        std::mem::take(&mut self.arrivals)
    }

    pub fn is_cut(&self, from: NodeIx, to: NodeIx) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Whether a connection can be made: that takes packets in both directions.
    pub fn can_connect(&self, a: NodeIx, b: NodeIx) -> bool {
        !self.is_cut(a, b) && !self.is_cut(b, a)
    }

    pub fn cut(&mut self, from: NodeIx, to: NodeIx) {
        if !self.is_cut(from, to) {
            self.cuts.push((from, to));
        }
    }

    /// What was held up arrives from now on.
    pub fn heal(&mut self, now: u64, rng: &mut Rng) {
        self.cuts.clear();
        let held: Vec<Arrival> = self
            .conns
            .iter()
            .flat_map(|(conn, state)| {
                (0..2)
                    .filter(|end| !state.towards[*end].queue.is_empty())
                    .map(|end| Arrival { conn: *conn, end })
            })
            .collect();
        for arrival in held {
            let delay = self.delay(rng);
            self.arrivals.push((now + delay, arrival));
        }
    }

    pub fn connect(&mut self, port: Port, dialler: Process, acceptor: Process) -> ConnId {
        self.next_conn += 1;
        let id = ConnId(self.next_conn);
        let direction = || Direction { queue: VecDeque::new(), last_arrival: 0, is_read: true };
        let towards = [direction(), direction()];
        self.conns.insert(id, Conn { port, ends: [dialler, acceptor], towards });
        id
    }

    /// Which end `node` is; `None` when the connection is gone.
    fn end_of(&self, conn: ConnId, node: NodeIx) -> Option<usize> {
        self.conns.get(&conn)?.ends.iter().position(|end| end.node == node)
    }

    /// Puts a message behind all that was sent before. Into a closed connection it is lost.
    pub fn send(&mut self, now: u64, rng: &mut Rng, from: NodeIx, conn: ConnId, message: M) {
        self.push(now, rng, from, conn, Item::Message(message));
    }

    fn push(&mut self, now: u64, rng: &mut Rng, from: NodeIx, conn: ConnId, item: Item<M>) {
        let delay = self.delay(rng);
        let Some(end) = self.end_of(conn, from) else { return };
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let direction = &mut state.towards[1 - end];
        if !direction.is_read {
            return;
        }
        let arrival = (now + delay).max(direction.last_arrival);
        direction.last_arrival = arrival;
        direction.queue.push_back((arrival, item));
        self.arrivals.push((arrival, Arrival { conn, end: 1 - end }));
    }

    /// `node` closes its end. What it has sent may still arrive (`loses` false) or not.
    pub fn close(&mut self, now: u64, rng: &mut Rng, node: NodeIx, conn: ConnId, loses: bool) {
        let Some(end) = self.end_of(conn, node) else { return };
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.towards[end].is_read = false;
        state.towards[end].queue.clear();
        let out = &mut state.towards[1 - end];
        if loses && out.is_read {
            let kept = rng.below(out.queue.len() as u64 + 1) as usize;
            out.queue.truncate(kept);
        }
        self.push(now, rng, node, conn, Item::End);
        self.drop_if_over(conn);
    }

    /// Something in between cuts the connection: both ends learn of it, what was under way is lost.
    pub fn reset(&mut self, now: u64, rng: &mut Rng, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let ends = [state.ends[0].node, state.ends[1].node];
        for end in 0..2 {
            let queue = &mut state.towards[end].queue;
            let kept = rng.below(queue.len() as u64 + 1) as usize;
            queue.truncate(kept);
        }
        for end in 0..2 {
            self.push(now, rng, ends[1 - end], conn, Item::End);
        }
    }

    /// The connections that a process has, for when it dies.
    pub fn conns_of(&self, process: Process) -> Vec<ConnId> {
        let conns = self.conns.iter().filter(|(_, state)| state.ends.contains(&process));
        conns.map(|(id, _)| *id).collect()
    }

    /// The connections to a port.
    pub fn all(&self, port: Port) -> Vec<ConnId> {
        let conns = self.conns.iter().filter(|(_, state)| state.port == port);
        conns.map(|(id, _)| *id).collect()
    }

    /// Who reads at that end.
    pub fn reader(&self, arrival: Arrival) -> Option<NodeIx> {
        Some(self.conns.get(&arrival.conn)?.ends[arrival.end].node)
    }

    /// What has arrived now, and for which process. `None`: nothing yet, or it is held up.
    pub fn receive(&mut self, now: u64, arrival: Arrival) -> Option<(Process, NodeIx, Item<M>)> {
        let state = self.conns.get_mut(&arrival.conn)?;
        let (to, from) = (state.ends[arrival.end], state.ends[1 - arrival.end].node);
        if self.cuts.contains(&(from, to.node)) {
            return None;
        }
        let direction = &mut state.towards[arrival.end];
        if direction.queue.front().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, item) = direction.queue.pop_front()?;
        if direction.queue.front().is_some_and(|(at, _)| *at <= now) {
            // Held up by a cut: the others follow at once.
            self.arrivals.push((now, arrival));
        }
        if matches!(item, Item::End) {
            direction.is_read = false;
            direction.queue.clear();
            self.drop_if_over(arrival.conn);
        }
        Some((to, from, item))
    }

    fn drop_if_over(&mut self, conn: ConnId) {
        let is_over = self
            .conns
            .get(&conn)
            .is_some_and(|state| state.towards.iter().all(|direction| !direction.is_read));
        if is_over {
            self.conns.remove(&conn);
        }
    }
}
