//! The generator for idle sessions: pings at their time, and the time until each is answered.

use std::collections::VecDeque;
use std::io;

use super::control::Control;
use super::link::{Link, Received, Scratch, reply_xid_and_err};
use super::load::CpuMeter;
use super::outcome::Outcome;
use super::poller::{Poller, SLEEP_NANOS_MAX};
use super::sessions::{OpenSession, close_sessions};
use crate::client::{PING_XID, request_frame};
use crate::proto::OpCode;

/// How long the last pings may take.
const DRAIN_NANOS: u64 = 5_000_000_000;

/// A thread's part of the sessions.
pub struct IdleWorker {
    /// Open sessions.
    pub sessions: Vec<OpenSession>,
    /// Nanoseconds between the pings of a session.
    pub interval: u64,
}

struct Idler {
    link: Link,
    /// When the pings under way were to be sent.
    pinged: VecDeque<u64>,
    is_lost: bool,
}

impl IdleWorker {
    /// Runs to the end of the measured time, then closes the sessions.
    pub fn run(self, control: &Control) -> Outcome {
        let mut outcome = Outcome::default();
        let idlers = self.sessions.into_iter().map(|session| Idler {
            link: Link::new(session.stream),
            pinged: VecDeque::new(),
            is_lost: false,
        });
        let mut idlers: Vec<Idler> = idlers.collect();
        if let Err(error) = drive(&mut idlers, self.interval, control, &mut outcome) {
            outcome.lost(&error);
        }
        outcome.unanswered += idlers.iter().map(|idler| idler.pinged.len() as u64).sum::<u64>();
        let open = idlers.into_iter().filter(|idler| !idler.is_lost);
        close_sessions(open.map(|idler| idler.link.into_stream()).collect());
        outcome
    }
}

fn drive(
    idlers: &mut [Idler],
    interval: u64,
    control: &Control,
    outcome: &mut Outcome,
) -> io::Result<()> {
    let mut cpu = CpuMeter::default();
    let mut poller = Poller::new()?;
    let mut scratch = Scratch::default();
    for (index, idler) in idlers.iter().enumerate() {
        idler.link.stream().set_nonblocking(true)?;
        poller.add(idler.link.stream(), index, false)?;
    }
    let ping = request_frame(PING_XID, OpCode::Ping.as_i32(), &[]);
    // The pings of all sessions are spread evenly over the interval, round and round.
    let step = interval as f64 / idlers.len().max(1) as f64;
    let mut sent = 0u64;
    let mut last_answer = control.measure_from;
    loop {
        cpu.look(control, outcome);
        let now = control.now();
        let is_draining = now >= control.measure_until;
        if is_draining {
            let is_over = now >= control.measure_until.saturating_add(DRAIN_NANOS);
            if is_over || idlers.iter().all(|idler| idler.is_lost || idler.pinged.is_empty()) {
                return Ok(());
            }
        }
        let mut due = (sent as f64 * step) as u64;
        while due <= now && !is_draining {
            let index = (sent % idlers.len().max(1) as u64) as usize;
            if let Some(idler) = idlers.get_mut(index).filter(|idler| !idler.is_lost) {
                idler.link.out().extend_from_slice(&ping);
                idler.pinged.push_back(due);
                // Twelve bytes that do not fit into the socket are sent with the next ping.
                if let Err(error) = idler.link.flush() {
                    lose(idler, &poller, outcome, &error);
                }
            }
            sent += 1;
            due = (sent as f64 * step) as u64;
        }
        if idlers.iter().all(|idler| idler.is_lost) {
            return Ok(());
        }
        let sleep = if is_draining { SLEEP_NANOS_MAX } else { due.saturating_sub(now) };
        for ready in poller.wait(sleep)? {
            let Some(idler) = idlers.get_mut(ready.index).filter(|idler| !idler.is_lost) else {
                continue;
            };
            let now = control.now();
            let Idler { link, pinged, .. } = idler;
            let received = link.receive(&mut scratch, |frame| {
                let Some(began) = pinged.pop_front() else { return };
                match reply_xid_and_err(frame) {
                    Some((PING_XID, 0)) => {}
                    Some((_, err)) => outcome.error(err),
                    None => outcome.error(0),
                }
                if control.is_measured(began) {
                    outcome.latencies.record(now.saturating_sub(began));
                }
                if control.is_measured(now) {
                    outcome.completed += 1;
                    outcome.stall_max_ns =
                        outcome.stall_max_ns.max(now.saturating_sub(last_answer));
                    last_answer = now;
                }
                outcome.last_answer_ns = now;
                control.progress(1);
            });
            match received {
                Ok(Received::Open) => {}
                Ok(Received::Closed) => lose(idler, &poller, outcome, &"closed by the server"),
                Err(error) => lose(idler, &poller, outcome, &error),
            }
        }
    }
}

fn lose(idler: &mut Idler, poller: &Poller, outcome: &mut Outcome, why: &dyn std::fmt::Display) {
    idler.is_lost = true;
    poller.remove(idler.link.stream());
    outcome.lost(why);
}
