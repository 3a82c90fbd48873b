//! The generator for sessions: each place connects, opens a session, closes it, waits for the
//! server to close the connection, and begins again.

use std::io;
use std::net::{SocketAddr, TcpStream};

use super::control::Control;
use super::link::{Link, Received, Scratch, reply_xid_and_err};
use super::load::CpuMeter;
use super::outcome::Outcome;
use super::poller::{Poller, SLEEP_NANOS_MAX};
use crate::client::{frame, new_session_request, request_frame};
use crate::jute::{Input, Jute};
use crate::proto::OpCode;
use crate::proto::messages::ConnectResponse;

/// How long the last sessions may take to be closed.
const DRAIN_NANOS: u64 = 5_000_000_000;
/// A place that got nowhere for so long is counted as unanswered and begins again.
const STUCK_NANOS: u64 = 10_000_000_000;

/// A thread's part of the load.
pub struct ConnectWorker {
    /// Where to.
    pub servers: Vec<SocketAddr>,
    /// Sessions at a time.
    pub places: usize,
    /// Timeout to ask for.
    pub session_timeout_ms: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The connect request is sent or waits for the connection.
    Opening,
    /// closeSession is sent.
    Closing,
    /// It is answered; the server is to close.
    Closed,
}

struct Place {
    link: Link,
    stage: Stage,
    began: u64,
    opened: u64,
}

impl ConnectWorker {
    /// Runs to the end of the measured time.
    pub fn run(self, control: &Control) -> Outcome {
        let mut outcome = Outcome::default();
        if let Err(error) = self.drive(control, &mut outcome) {
            outcome.lost(&error);
        }
        outcome
    }

    fn drive(&self, control: &Control, outcome: &mut Outcome) -> io::Result<()> {
        let mut cpu = CpuMeter::default();
        let mut poller = Poller::new()?;
        let mut scratch = Scratch::default();
        let mut servers = self.servers.iter().cycle();
        let mut places: Vec<Option<Place>> = Vec::new();
        places.resize_with(self.places, || None);
        let mut last_answer = control.measure_from;
        let mut next_look = 0;
        loop {
            cpu.look(control, outcome);
            let now = control.now();
            let is_draining = now >= control.measure_until || control.is_used_up();
            let deadline = control.measure_until.saturating_add(DRAIN_NANOS);
            if is_draining && (places.iter().all(Option::is_none) || now >= deadline) {
                outcome.unanswered += places.iter().flatten().count() as u64;
                return Ok(());
            }
            if now >= next_look {
                next_look = now + SLEEP_NANOS_MAX;
                for (index, place) in places.iter_mut().enumerate() {
                    if place.as_ref().is_some_and(|p| now.saturating_sub(p.began) > STUCK_NANOS) {
                        outcome.unanswered += 1;
                        *place = None;
                    }
                    if place.is_none() && !is_draining && control.take(1) == 1 {
                        *place = self.begin(control, &poller, index, &mut servers, outcome);
                    }
                }
            }
            for ready in poller.wait(SLEEP_NANOS_MAX)? {
                let Some(slot) = places.get_mut(ready.index) else { continue };
                let Some(place) = slot.as_mut() else { continue };
                if ready.write {
                    let sent = place.link.flush();
                    // What is not sent now is tried again at the next wake-up.
                    if matches!(sent, Ok(true)) {
                        poller.modify(place.link.stream(), ready.index, false)?;
                    }
                }
                if !ready.read {
                    continue;
                }
                if place.advance(control, &mut scratch, outcome, &mut last_answer) {
                    // Closing the socket takes it out of the set.
                    *slot = None;
                    if control.now() < control.measure_until && control.take(1) == 1 {
                        *slot = self.begin(control, &poller, ready.index, &mut servers, outcome);
                    }
                }
            }
        }
    }

    fn begin<'a>(
        &self,
        control: &Control,
        poller: &Poller,
        index: usize,
        servers: &mut impl Iterator<Item = &'a SocketAddr>,
        outcome: &mut Outcome,
    ) -> Option<Place> {
        let began = control.now();
        let result = connect(servers.next()?).and_then(|stream| {
            let mut link = Link::new(stream);
            let request = new_session_request(self.session_timeout_ms);
            link.out().extend_from_slice(&frame(&request.to_bytes()));
            // Not connected yet is no error: the poller tells when it is.
            let is_sent = link.flush().unwrap_or(false);
            poller.add(link.stream(), index, !is_sent)?;
            Ok(link)
        });
        match result {
            Ok(link) => Some(Place { link, stage: Stage::Opening, began, opened: 0 }),
            Err(error) => {
                outcome.lost(&error);
                None
            }
        }
    }
}

impl Place {
    /// Takes what the server said; true when the place is free again.
    fn advance(
        &mut self,
        control: &Control,
        scratch: &mut Scratch,
        outcome: &mut Outcome,
        last_answer: &mut u64,
    ) -> bool {
        let now = control.now();
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let received = self.link.receive(scratch, |frame| frames.push(frame.to_vec()));
        for frame in frames {
            match self.stage {
                Stage::Opening => {
                    match ConnectResponse::decode(&mut Input::unbounded(&frame)) {
                        Ok(response) if response.session_id != 0 => {}
                        Ok(_) => {
                            outcome.lost(&"session refused");
                            return true;
                        }
                        Err(error) => {
                            outcome.lost(&error);
                            return true;
                        }
                    }
                    self.stage = Stage::Closing;
                    self.opened = now;
                    let close = request_frame(1, OpCode::CloseSession.as_i32(), &[]);
                    self.link.out().extend_from_slice(&close);
                    if let Err(error) = self.link.flush() {
                        outcome.lost(&error);
                        return true;
                    }
                }
                Stage::Closing => {
                    self.stage = Stage::Closed;
                    match reply_xid_and_err(&frame) {
                        Some((1, 0)) => {}
                        Some((1, err)) => outcome.error(err),
                        other => outcome.lost(&format!("answer out of turn: {other:?}")),
                    }
                    self.count(now, control, outcome, last_answer);
                }
                Stage::Closed => {}
            }
        }
        match (received, self.stage) {
            (Ok(Received::Open), _) => false,
            (_, Stage::Closed) => true,
            (Ok(Received::Closed), _) => {
                outcome.lost(&"closed by the server");
                true
            }
            (Err(error), _) => {
                outcome.lost(&error);
                true
            }
        }
    }

    fn count(&self, now: u64, control: &Control, outcome: &mut Outcome, last_answer: &mut u64) {
        if control.is_measured(self.began) {
            outcome.latencies.record(now.saturating_sub(self.began));
            outcome.part("open").record(self.opened.saturating_sub(self.began));
            outcome.part("close").record(now.saturating_sub(self.opened));
        }
        if control.is_measured(now) {
            outcome.completed += 1;
            let stall = now.saturating_sub(*last_answer);
            outcome.stall_max_ns = outcome.stall_max_ns.max(stall);
            *last_answer = now;
        }
        outcome.last_answer_ns = now;
        control.progress(1);
    }
}

/// Begins to connect; on the same machine it is often done at once.
fn connect(server: &SocketAddr) -> io::Result<TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(*server), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&(*server).into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}
