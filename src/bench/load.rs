//! The generator for everything that is request and reply: one thread drives many sessions with
//! epoll, one read and one write per session and wake-up, requests encoded beforehand.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::link::{Link, Received, Scratch, reply_xid_and_err};
use super::outcome::Outcome;
use super::poller::{Poller, SLEEP_NANOS_MAX};
use super::requests::Template;
use super::sessions::OpenSession;
use super::usage::thread_cpu_ns;
use crate::client::{PING_XID, request_frame};
use crate::proto::OpCode;

/// How long the last replies may take when no more is sent.
const DRAIN_NANOS: u64 = 10_000_000_000;
/// A server that is asked and answers nothing for so long is given up.
const SILENCE_NANOS_MAX: u64 = 120_000_000_000;
/// How often sessions are looked through for one that needs a ping.
const PING_LOOK_NANOS: u64 = 1_000_000_000;

/// What one session sends, request by request.
#[derive(Debug, Clone)]
pub struct Source {
    /// The request, or the reads of a mixture.
    pub template: Arc<Template>,
    /// The writes of a mixture, and how many in a hundred requests are reads.
    pub mixture: Option<(Arc<Template>, u32)>,
    /// Which nodes.
    pub numbers: Numbers,
}

/// Which nodes a session's requests are about.
#[derive(Debug, Clone)]
pub enum Numbers {
    /// 0, 1, 2 and so on.
    Rising(u64),
    /// Any of so many, at random.
    Random {
        /// How many.
        nodes: u64,
        /// The generator's state; never 0.
        state: u64,
    },
}

/// A thread's part of a load.
pub struct LoadWorker {
    /// Sessions and what they send.
    pub sessions: Vec<(OpenSession, Source)>,
    /// Requests under way per session; for an open loop 0 is no bound.
    pub window: usize,
    /// This thread's requests per second, for an open loop.
    pub rate: Option<f64>,
}

struct Session {
    link: Link,
    source: Source,
    last_xid: i32,
    /// When each request under way was sent, or was to be sent; oldest first.
    started: VecDeque<u64>,
    /// When the requests that wait for the window were to be sent.
    backlog: VecDeque<u64>,
    last_sent: u64,
    ping_after: u64,
    wants_write: bool,
    is_lost: bool,
}

struct Driver<'a> {
    control: &'a Control,
    poller: Poller,
    scratch: Scratch,
    sessions: Vec<Session>,
    window: usize,
    outcome: Outcome,
    last_answer: u64,
    is_open_loop: bool,
    is_draining: bool,
}

impl Numbers {
    /// Random ones of `nodes`; different seeds give different sequences.
    pub fn random(nodes: u64, seed: u64) -> Numbers {
        // Odd multiplier and a set bit: no seed ends in the fixed point 0 of xorshift.
        Numbers::Random { nodes, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn next(&mut self) -> u64 {
        match self {
            Numbers::Rising(next) => {
                *next += 1;
                *next - 1
            }
            Numbers::Random { nodes, state } => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                ((u128::from(*state) * u128::from(*nodes)) >> 64) as u64
            }
        }
    }

    fn nodes(&self) -> u64 {
        match self {
            Numbers::Rising(_) => u64::MAX,
            Numbers::Random { nodes, .. } => *nodes,
        }
    }

    /// 0..100, from bits that [`Numbers::next`] does not use much.
    fn percent(&self) -> u32 {
        match self {
            Numbers::Rising(next) => (next % 100) as u32,
            Numbers::Random { state, .. } => (((state & 0xffff_ffff) * 100) >> 32) as u32,
        }
    }
}

impl Source {
    fn append(&mut self, out: &mut Vec<u8>, xid: i32) {
        let number = self.numbers.next();
        let template = match &self.mixture {
            // The low bits choose the kind, the high ones chose the node.
            Some((write, reads)) if self.numbers.percent() >= *reads => write,
            _ => &self.template,
        };
        template.append(out, xid, number, self.numbers.nodes());
    }
}

impl LoadWorker {
    /// Runs to the end of the measured time, then closes the sessions.
    pub fn run(self, control: &Control) -> Outcome {
        let is_alone = self.sessions.len() == 1 && self.rate.is_none();
        let (mut driver, first) = match Driver::new(self, control) {
            Ok(driver) => driver,
            Err(error) => {
                let mut outcome = Outcome::default();
                outcome.lost(&error);
                return outcome;
            }
        };
        let result = if is_alone { driver.drive_alone() } else { driver.drive(first) };
        if let Err(error) = result {
            driver.outcome.lost(&error);
        }
        driver.finish()
    }
}

impl Session {
    fn new((open, source): (OpenSession, Source)) -> Session {
        Session {
            link: Link::new(open.stream),
            source,
            last_xid: 0,
            started: VecDeque::new(),
            backlog: VecDeque::new(),
            last_sent: 0,
            // Java's client pings after a third of the timeout, too.
            ping_after: u64::try_from(open.timeout_ms).unwrap_or(0) * 1_000_000 / 3,
            wants_write: false,
            is_lost: false,
        }
    }

    fn append_request(&mut self, started: u64) {
        self.last_xid = if self.last_xid == i32::MAX { 1 } else { self.last_xid + 1 };
        self.source.append(self.link.out(), self.last_xid);
        self.started.push_back(started);
    }
}

impl<'a> Driver<'a> {
    /// The driver and, for an open loop, the time between requests.
    fn new(worker: LoadWorker, control: &'a Control) -> io::Result<(Self, Option<f64>)> {
        let poller = Poller::new()?;
        let is_alone = worker.sessions.len() == 1 && worker.rate.is_none();
        let sessions: Vec<Session> = worker.sessions.into_iter().map(Session::new).collect();
        for (index, session) in sessions.iter().enumerate() {
            let stream = session.link.stream();
            if is_alone {
                stream.set_read_timeout(Some(Duration::from_nanos(SLEEP_NANOS_MAX)))?;
            } else {
                stream.set_nonblocking(true)?;
                poller.add(stream, index, false)?;
            }
        }
        let window = match (worker.window, worker.rate) {
            (0, Some(_)) => usize::MAX,
            (window, _) => window.max(1),
        };
        let driver = Driver {
            control,
            poller,
            scratch: Scratch::default(),
            sessions,
            window,
            outcome: Outcome::default(),
            last_answer: control.measure_from,
            is_open_loop: worker.rate.is_some(),
            is_draining: false,
        };
        Ok((driver, worker.rate.map(|rate| 1e9 / rate)))
    }

    /// Drives one session without epoll: what a blocking client does, and nothing else.
    fn drive_alone(&mut self) -> io::Result<()> {
        let mut cpu = CpuMeter::default();
        self.refill(0, self.control.now());
        loop {
            cpu.look(self.control, &mut self.outcome);
            let now = self.control.now();
            self.check_end(now);
            if self.is_over(now) {
                return Ok(());
            }
            self.answer(0);
        }
    }

    /// Drives all sessions; `interval` is the time between the requests of an open loop.
    fn drive(&mut self, interval: Option<f64>) -> io::Result<()> {
        let mut cpu = CpuMeter::default();
        let mut arrivals = interval.map(|interval| Arrivals { interval, count: 0, session: 0 });
        let mut next_ping_look = PING_LOOK_NANOS;
        if arrivals.is_some() {
            // The default slack of 50 us would be part of every latency.
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZero::new(1));
        } else {
            for index in 0..self.sessions.len() {
                self.refill(index, self.control.now());
            }
        }
        loop {
            cpu.look(self.control, &mut self.outcome);
            let now = self.control.now();
            self.check_end(now);
            if self.is_over(now) {
                return Ok(());
            }
            let mut sleep = SLEEP_NANOS_MAX;
            if let Some(arrivals) = &mut arrivals
                && !self.is_draining
            {
                sleep = self.arrive(arrivals, now).min(sleep);
            }
            if now >= next_ping_look {
                next_ping_look = now + PING_LOOK_NANOS;
                self.ping_quiet_sessions(now);
            }
            for ready in self.poller.wait(sleep)? {
                if ready.write {
                    self.flush(ready.index);
                }
                if ready.read {
                    self.answer(ready.index);
                }
            }
        }
    }

    /// Reads a session's replies and sends what they made room for.
    fn answer(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index).filter(|session| !session.is_lost) else {
            return;
        };
        let control = self.control;
        let outcome = &mut self.outcome;
        let mut now = 0;
        let mut answered = 0;
        let mut out_of_turn = None;
        let Session { link, started: under_way, last_xid, .. } = session;
        let result = link.receive(&mut self.scratch, |frame| {
            if now == 0 {
                now = control.now();
            }
            match reply_xid_and_err(frame) {
                Some((xid, _)) if xid < 0 => {}
                Some((xid, err)) if oldest_xid(*last_xid, under_way.len()) == Some(xid) => {
                    let started = under_way.pop_front().unwrap_or(now);
                    if control.is_measured(started) {
                        outcome.latencies.record(now.saturating_sub(started));
                    }
                    answered += 1;
                    if err != 0 {
                        outcome.error(err);
                    }
                }
                other => out_of_turn = out_of_turn.or(Some(other)),
            }
        });
        let trouble = match (result, out_of_turn) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(Received::Closed), _) => Some("closed by the server".to_owned()),
            (Ok(Received::Open), Some(reply)) => Some(format!("reply out of turn: {reply:?}")),
            (Ok(Received::Open), None) => None,
        };
        if answered > 0 {
            if control.is_measured(now) {
                outcome.completed += answered;
                let stall = now.saturating_sub(self.last_answer);
                outcome.stall_max_ns = outcome.stall_max_ns.max(stall);
                self.last_answer = now;
            }
            outcome.last_answer_ns = now;
            control.progress(answered);
        }
        match trouble {
            Some(why) => self.lose(index, &why),
            None if answered > 0 => self.refill(index, now),
            None => {}
        }
    }

    /// Sends requests until the window is full.
    fn refill(&mut self, index: usize, now: u64) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let room = self.window.saturating_sub(session.started.len());
        if self.is_open_loop {
            for _ in 0..room.min(session.backlog.len()) {
                if let Some(intended) = session.backlog.pop_front() {
                    session.append_request(intended);
                }
            }
        } else if !self.is_draining {
            for _ in 0..self.control.take(room as u64) {
                session.append_request(now);
            }
        }
        session.last_sent = now;
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index).filter(|session| !session.is_lost) else {
            return;
        };
        let result = session.link.flush().map(|is_done| {
            if is_done == session.wants_write {
                session.wants_write = !is_done;
                // A session that is driven alone is not in the set; its writes block.
                let _ = self.poller.modify(session.link.stream(), index, !is_done);
            }
        });
        if let Err(error) = result {
            self.lose(index, &error.to_string());
        }
    }

    /// Lets the requests arrive that are due, and says how long until the next.
    fn arrive(&mut self, arrivals: &mut Arrivals, now: u64) -> u64 {
        let mut touched = Vec::new();
        loop {
            let due = arrivals.next();
            if due > now || due >= self.control.measure_until {
                for index in touched {
                    self.refill(index, now);
                }
                return due.saturating_sub(now);
            }
            if self.control.take(1) == 0 {
                return SLEEP_NANOS_MAX;
            }
            arrivals.count += 1;
            let index = arrivals.session;
            arrivals.session = (index + 1) % self.sessions.len().max(1);
            if let Some(session) = self.sessions.get_mut(index) {
                session.backlog.push_back(due);
                touched.push(index);
            }
        }
    }

    fn ping_quiet_sessions(&mut self, now: u64) {
        for index in 0..self.sessions.len() {
            let Some(session) = self.sessions.get_mut(index) else { return };
            if now.saturating_sub(session.last_sent) >= session.ping_after {
                let ping = request_frame(PING_XID, OpCode::Ping.as_i32(), &[]);
                session.link.out().extend_from_slice(&ping);
                session.last_sent = now;
                self.flush(index);
            }
        }
    }

    fn check_end(&mut self, now: u64) {
        self.is_draining |= now >= self.control.measure_until || self.control.is_used_up();
    }

    fn is_over(&self, now: u64) -> bool {
        let waits = |session: &Session| {
            !(session.is_lost || session.started.is_empty() && session.backlog.is_empty())
        };
        let silence = now.saturating_sub(self.outcome.last_answer_ns);
        if self.is_draining {
            let drained = now.saturating_sub(self.control.measure_until) >= DRAIN_NANOS;
            return drained || silence >= SILENCE_NANOS_MAX || !self.sessions.iter().any(waits);
        }
        self.sessions.iter().all(|session| session.is_lost)
            || (silence >= SILENCE_NANOS_MAX && self.sessions.iter().any(waits))
    }

    fn lose(&mut self, index: usize, why: &dyn std::fmt::Display) {
        let Some(session) = self.sessions.get_mut(index).filter(|session| !session.is_lost) else {
            return;
        };
        session.is_lost = true;
        self.poller.remove(session.link.stream());
        self.outcome.lost(why);
    }

    /// Counts what was never answered, with the time it has waited in vain, and closes.
    fn finish(mut self) -> Outcome {
        let now = self.control.now();
        let mut streams = Vec::new();
        for session in self.sessions {
            for started in session.started.iter().chain(&session.backlog) {
                self.outcome.unanswered += 1;
                if self.control.is_measured(*started) {
                    self.outcome.latencies.record(now.saturating_sub(*started));
                }
            }
            if !session.is_lost {
                streams.push(session.link.into_stream());
            }
        }
        super::sessions::close_sessions(streams);
        self.outcome
    }
}

/// The xid that the oldest of so many requests under way has.
fn oldest_xid(last_xid: i32, under_way: usize) -> Option<i32> {
    let behind = i64::try_from(under_way.checked_sub(1)?).ok()?;
    let xid = i64::from(last_xid) - behind;
    i32::try_from(if xid < 1 { xid + i64::from(i32::MAX) } else { xid }).ok()
}

/// The schedule of an open loop.
struct Arrivals {
    interval: f64,
    count: u64,
    session: usize,
}

impl Arrivals {
    fn next(&self) -> u64 {
        (self.count as f64 * self.interval) as u64
    }
}

/// Takes the thread's CPU time at both ends of the measured time.
#[derive(Debug, Default)]
pub struct CpuMeter {
    at_start: Option<u64>,
    is_done: bool,
}

impl CpuMeter {
    /// To be called often; costs a comparison at most times.
    pub fn look(&mut self, control: &Control, outcome: &mut Outcome) {
        let now = control.now();
        match self.at_start {
            None if now >= control.measure_from => self.at_start = Some(thread_cpu_ns()),
            Some(start)
                if !self.is_done && (now >= control.measure_until || control.is_used_up()) =>
            {
                outcome.generator_cpu_ns = thread_cpu_ns().saturating_sub(start);
                self.is_done = true;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_xid_is_found_round_the_end() {
        assert_eq!(oldest_xid(5, 0), None);
        assert_eq!(oldest_xid(5, 1), Some(5));
        assert_eq!(oldest_xid(5, 5), Some(1));
        assert_eq!(oldest_xid(2, 3), Some(i32::MAX));
    }

    #[test]
    fn random_numbers_cover_the_nodes_evenly() {
        let mut numbers = Numbers::random(10, 1);
        let mut counts = [0; 10];
        let mut reads = 0;
        for _ in 0..100_000 {
            counts[usize::try_from(numbers.next()).unwrap()] += 1;
            reads += u32::from(numbers.percent() < 90);
        }
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
        assert!((89_000..91_000).contains(&reads), "{reads}");
    }

    #[test]
    fn an_open_loop_keeps_to_its_schedule() {
        let arrivals = Arrivals { interval: 1e9 / 3.0, count: 3_000_000, session: 0 };
        assert_eq!(arrivals.next(), 1_000_000_000_000_000);
    }
}
