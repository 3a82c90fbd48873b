//! The generator for watches: one session sets a node, all others are told.

use std::collections::VecDeque;
use std::io;

use super::args::WatchMode;
use super::control::Control;
use super::link::{Link, Received, Scratch, reply_xid_and_err};
use super::load::CpuMeter;
use super::outcome::Outcome;
use super::poller::{Poller, SLEEP_NANOS_MAX};
use super::requests::Template;
use super::sessions::{OpenSession, close_sessions};
use crate::client::{EVENT_XID, request_frame};
use crate::jute::Jute;
use crate::proto::messages::AddWatchRequest;
use crate::proto::{AddWatchMode, OpCode};

/// How long the last events, or a round of them, may take.
const STUCK_NANOS: u64 = 10_000_000_000;

/// The load, on one thread.
pub struct WatchWorker {
    /// The session that sets.
    pub setter: OpenSession,
    /// The sessions that watch.
    pub watchers: Vec<OpenSession>,
    /// The node.
    pub path: String,
    /// Data bytes of a set.
    pub size: usize,
    /// How they watch.
    pub mode: WatchMode,
    /// Sets under way.
    pub window: usize,
}

/// A set whose events or whose reply are not all there.
struct Round {
    sent: u64,
    events_left: usize,
    is_replied: bool,
    /// One-shot: watchers whose watch is not set again.
    rearms_left: usize,
}

struct Driver<'a> {
    control: &'a Control,
    poller: Poller,
    scratch: Scratch,
    /// The setter is number 0.
    links: Vec<Link>,
    /// Events that each watcher has had.
    events: Vec<u64>,
    rounds: VecDeque<Round>,
    /// Rounds that are over: the number of the first in `rounds`.
    first_round: u64,
    last_answer: u64,
    outcome: Outcome,
}

impl WatchWorker {
    /// Runs to the end of the measured time, then closes the sessions.
    pub fn run(self, control: &Control) -> Outcome {
        let window = if self.mode == WatchMode::OneShot { 1 } else { self.window.max(1) };
        let sessions = std::iter::once(self.setter).chain(self.watchers);
        let links: Vec<Link> = sessions.map(|session| Link::new(session.stream)).collect();
        let poller = match Poller::new() {
            Ok(poller) => poller,
            Err(error) => {
                let mut outcome = Outcome::default();
                outcome.lost(&error);
                return outcome;
            }
        };
        let mut driver = Driver {
            control,
            poller,
            scratch: Scratch::default(),
            events: vec![0; links.len()],
            links,
            rounds: VecDeque::new(),
            first_round: 0,
            last_answer: control.measure_from,
            outcome: Outcome::default(),
        };
        let arm = match self.mode {
            WatchMode::OneShot => {
                let mut arm = Vec::new();
                Template::get_and_watch(&self.path).append(&mut arm, 1, 0, 1);
                arm
            }
            WatchMode::Persistent => {
                let mode = AddWatchMode::Persistent as i32;
                let record = AddWatchRequest { path: self.path.clone(), mode };
                request_frame(1, OpCode::AddWatch.as_i32(), &record.to_bytes())
            }
        };
        let mut set = Vec::new();
        Template::set_one(&self.path, self.size).append(&mut set, 1, 0, 1);
        if let Err(error) = driver.drive(&set, &arm, self.mode, window) {
            driver.outcome.lost(&error);
        }
        close_sessions(driver.links.into_iter().map(Link::into_stream).collect());
        driver.outcome
    }
}

impl Driver<'_> {
    fn drive(&mut self, set: &[u8], arm: &[u8], mode: WatchMode, window: usize) -> io::Result<()> {
        let mut cpu = CpuMeter::default();
        let watchers = self.links.len() - 1;
        for (index, link) in self.links.iter_mut().enumerate() {
            link.stream().set_nonblocking(true)?;
            self.poller.add(link.stream(), index, false)?;
            if index > 0 {
                link.out().extend_from_slice(arm);
                link.flush()?;
            }
        }
        // Until every watcher is armed, a round without a set is under way.
        let armed = Round { sent: 0, events_left: 0, is_replied: true, rearms_left: watchers };
        self.rounds.push_back(armed);
        loop {
            cpu.look(self.control, &mut self.outcome);
            let now = self.control.now();
            let is_draining = now >= self.control.measure_until || self.control.is_used_up();
            if is_draining && self.rounds.is_empty() {
                return Ok(());
            }
            if let Some(round) = self.rounds.front()
                && now.saturating_sub(round.sent) > STUCK_NANOS
            {
                self.outcome.unanswered += round.events_left as u64;
                return Err(io::Error::other("watchers that were not told"));
            }
            let is_armed = self.first_round > 0;
            while is_armed && !is_draining && self.rounds.len() < window {
                if self.control.take(watchers as u64) == 0 {
                    break;
                }
                let rearms_left = if mode == WatchMode::OneShot { watchers } else { 0 };
                self.rounds.push_back(Round {
                    sent: now,
                    events_left: watchers,
                    is_replied: false,
                    rearms_left,
                });
                if let Some(setter) = self.links.first_mut() {
                    setter.out().extend_from_slice(set);
                    setter.flush()?;
                }
            }
            for ready in self.poller.wait(SLEEP_NANOS_MAX)? {
                self.receive(ready.index, if mode == WatchMode::OneShot { arm } else { &[] })?;
            }
            while self.rounds.front().is_some_and(Round::is_over) {
                self.rounds.pop_front();
                self.first_round += 1;
            }
        }
    }

    fn receive(&mut self, index: usize, rearm: &[u8]) -> io::Result<()> {
        let (Some(link), Some(events)) = (self.links.get_mut(index), self.events.get_mut(index))
        else {
            return Ok(());
        };
        let now = self.control.now();
        let (rounds, outcome) = (&mut self.rounds, &mut self.outcome);
        let mut rearms = 0;
        let mut told = 0;
        let received = link.receive(&mut self.scratch, |frame| match reply_xid_and_err(frame) {
            Some((EVENT_XID, _)) => {
                // The armed round is number 0, so the first event is of round 1.
                *events += 1;
                let round = events
                    .checked_sub(self.first_round)
                    .and_then(|number| rounds.get_mut(usize::try_from(number).ok()?));
                let Some(round) = round else { return };
                round.events_left = round.events_left.saturating_sub(1);
                if self.control.is_measured(round.sent) {
                    outcome.latencies.record(now.saturating_sub(round.sent));
                }
                told += 1;
                rearms += 1;
            }
            Some((_, err)) => {
                if err != 0 {
                    outcome.error(err);
                }
                if index == 0 {
                    if let Some(round) = rounds.iter_mut().find(|round| !round.is_replied) {
                        round.is_replied = true;
                        if self.control.is_measured(round.sent) {
                            outcome.part("set").record(now.saturating_sub(round.sent));
                        }
                    }
                } else if let Some(round) = rounds.iter_mut().find(|r| r.rearms_left > 0) {
                    round.rearms_left -= 1;
                }
            }
            None => outcome.error(0),
        })?;
        if told > 0 {
            if self.control.is_measured(now) {
                outcome.completed += told;
                let stall = now.saturating_sub(self.last_answer);
                outcome.stall_max_ns = outcome.stall_max_ns.max(stall);
                self.last_answer = now;
            }
            outcome.last_answer_ns = now;
            self.control.progress(told);
        }
        if received == Received::Closed {
            return Err(io::Error::other("closed by the server"));
        }
        if rearms > 0 && !rearm.is_empty() {
            link.out().extend_from_slice(rearm);
            // A request that does not fit goes with the next one.
            link.flush()?;
        }
        Ok(())
    }
}

impl Round {
    fn is_over(&self) -> bool {
        self.events_left == 0 && self.is_replied && self.rearms_left == 0
    }
}
