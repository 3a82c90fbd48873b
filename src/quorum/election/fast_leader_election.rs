//! Finding a leader (Java: `FastLeaderElection`): the thread that looks runs the rounds of
//! `zab::election`; `WorkerReceiver` answers who asks, whether we are looking or not.
//!
//! Different from Java: there is no `WorkerSender`, because sending never blocks.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::election_peer::ElectionPeer;
use super::listener;
use super::notification::{self, NotificationMessage};
use super::quorum_cnx_manager::QuorumCnxManager;
use super::recv_worker::Message;
use crate::common::circular_blocking_queue::{CircularBlockingQueue, Polled};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread};
use crate::proto::ServerId;
use crate::quorum::verifier::QuorumVerifier;
use crate::quorum::zab::election::{
    ElectionAction, ElectionCore, ElectionEvent, ElectionView, Notification, OwnHistory,
};
use crate::quorum::zab::election_replies::{Standing, adopts_config, react};
use crate::quorum::zab::{Candidate, ServerState, Vote};

/// Notifications that wait for the thread that looks; the oldest go.
const INBOX_CAPACITY: usize = 1000;

/// The elections of one server, with all their threads and connections.
pub struct FastLeaderElection {
    shared: Arc<Shared>,
    /// Taken and joined by the shutdown.
    threads: Mutex<Vec<OwnedThread>>,
}

struct Shared {
    peer: Arc<dyn ElectionPeer>,
    manager: Arc<QuorumCnxManager>,
    inbox: Arc<CircularBlockingQueue<Inbox>>,
    /// Taken out by the thread that looks, for the time it does.
    core: Mutex<Option<ElectionCore>>,
    /// The round and the proposal, for the answers. Written by the thread that looks before it
    /// sends anything. Held by whoever sends, from the moment on at which it knows what: only the
    /// newest message for a server counts, and an answer that was true a moment ago must not take
    /// the place of the vote that has come after it. Java can lose a vote so.
    published: Mutex<(i64, Candidate)>,
}

enum Inbox {
    Notification(Notification),
    /// A server that does not run.
    Unreachable(ServerId),
    /// A new configuration: the election has to begin anew.
    Abandon,
}

impl FastLeaderElection {
    /// Listens on the election port, from now until the [shutdown](Self::shutdown). When no own
    /// address can be bound, the listener of `peer` is told (code 14).
    ///
    /// Errors: the system gives no threads or file descriptors.
    pub fn start(peer: Arc<dyn ElectionPeer>) -> io::Result<Self> {
        let settings = peer.election_settings();
        let core = ElectionCore::new(
            peer.my_id(),
            settings.min_notification_interval_ms,
            settings.max_notification_interval_ms,
        );
        let inbox = Arc::new(CircularBlockingQueue::new(INBOX_CAPACITY));
        let absent = Arc::clone(&inbox);
        let on_refused = Box::new(move |sid| absent.offer(Inbox::Unreachable(sid)));
        let manager = Arc::new(QuorumCnxManager::new(Arc::clone(&peer), on_refused)?);
        let published = (core.clock(), core.proposal());
        let shared = Arc::new(Shared {
            peer,
            manager,
            inbox,
            core: Mutex::new(Rank::Leaf, Some(core)),
            published: Mutex::new(Rank::Inbox, published),
        });
        let election =
            Self { threads: Mutex::new(Rank::Leaf, Vec::new()), shared: Arc::clone(&shared) };
        let name = format!("WorkerReceiver[myid={}]", shared.peer.my_id());
        let listener = Arc::clone(shared.peer.listener());
        let receiving = Arc::clone(&shared);
        let receiver = thread::spawn_critical(name, thread::STACK_BYTES, &listener, move || {
            receiving.receive();
            Ok(())
        })?;
        election.threads.lock().push(receiver);
        let handlers = listener::start(&shared.manager)?;
        election.threads.lock().extend(handlers);
        Ok(election)
    }

    /// Looks for a leader; blocks until there is one. Before it returns, the peer's vote and state
    /// are set. `None`: the server shuts down, a new configuration was adopted (call again), or the
    /// peer is not looking.
    #[must_use]
    pub fn look_for_leader(&self) -> Option<Vote> {
        let mut core = self.shared.core.lock().take()?;
        let vote = self.shared.look_for_leader(&mut core);
        *self.shared.core.lock() = Some(core);
        vote
    }

    /// Ends a running [`look_for_leader`](Self::look_for_leader), closes the port and all
    /// connections, and waits for all threads. Later calls do nothing.
    pub fn shutdown(&self) {
        self.shared.inbox.close();
        self.shared.manager.halt();
        let threads = std::mem::take(&mut *self.threads.lock());
        drop(threads);
        // The listeners may have started workers until they ended.
        self.shared.manager.halt();
    }
}

impl Drop for FastLeaderElection {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    fn view(&self) -> ElectionView {
        ElectionView { verifier: self.peer.verifier(), last_seen: self.peer.last_seen_verifier() }
    }

    fn look_for_leader(&self, core: &mut ElectionCore) -> Option<Vote> {
        let current_epoch = match self.peer.current_epoch() {
            Ok(epoch) => epoch,
            Err(error) => {
                log::error!("Cannot read the current epoch: {error}");
                return None;
            }
        };
        let history = OwnHistory {
            learner_type: self.peer.learner_type(),
            last_logged_zxid: self.peer.last_logged_zxid(),
            current_epoch,
        };
        log::info!(
            "New election. My id = {}, proposed zxid={}",
            self.peer.my_id(),
            history.last_logged_zxid
        );
        // Who did not run some time ago may run now.
        for item in self.inbox.drain() {
            if let Inbox::Notification(_) = item {
                self.inbox.offer(item);
            }
        }
        let mut event = ElectionEvent::Start(history);
        let (mut wait_ms, mut deadline) = (0, None);
        while self.peer.is_running() && self.peer.server_state() == ServerState::Looking {
            let actions = core.on_event(&self.view(), event);
            let mut published = self.published.lock();
            *published = (core.clock(), core.proposal());
            for action in actions {
                match action {
                    ElectionAction::Broadcast(vote) => self.broadcast(&vote),
                    ElectionAction::Answer { sid, vote } => self.send(sid, &vote),
                    ElectionAction::Reconnect => self.manager.connect_all(),
                    ElectionAction::SetTimer { after_ms } => {
                        wait_ms = after_ms;
                        deadline = Instant::now().checked_add(Duration::from_millis(after_ms));
                    }
                    ElectionAction::Decided { vote, state, answer } => {
                        self.leave(&vote, state, answer);
                        return Some(vote);
                    }
                }
            }
            drop(published);
            // An event that sets no timer leaves the one that runs.
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            event = match self.inbox.poll(left) {
                Polled::Item(Inbox::Notification(notification)) => {
                    ElectionEvent::Notification(notification)
                }
                Polled::Item(Inbox::Unreachable(sid)) => ElectionEvent::Unreachable(sid),
                Polled::Item(Inbox::Abandon) | Polled::Closed => return None,
                Polled::TimedOut => {
                    log::info!("Notification time out: {wait_ms} ms");
                    ElectionEvent::Timeout { has_delivered: self.manager.have_delivered() }
                }
            };
        }
        None
    }

    /// The peer changes its state, and who asked too late is told.
    fn leave(&self, vote: &Vote, state: ServerState, mut answer: BTreeSet<ServerId>) {
        log::info!(
            "About to leave FLE instance: leader={}, zxid={}, my id={}, my state={state}",
            vote.id,
            vote.zxid,
            self.peer.my_id()
        );
        self.peer.set_current_vote(*vote);
        self.peer.set_server_state(state);
        answer.extend(self.inbox.drain().into_iter().filter_map(|item| match item {
            Inbox::Notification(Notification { sid, vote }) => {
                (vote.state == ServerState::Looking).then_some(sid)
            }
            Inbox::Unreachable(_) | Inbox::Abandon => None,
        }));
        let outcome = Vote { state, ..*vote };
        self.manager.supersede(&notification::encode(&outcome, &self.peer.verifier().to_string()));
        for sid in answer {
            self.send(sid, &outcome);
        }
    }

    fn broadcast(&self, vote: &Vote) {
        let message = notification::encode(vote, &self.peer.verifier().to_string());
        let my_id = self.peer.my_id();
        for sid in self.view().voters().into_iter().filter(|sid| *sid != my_id) {
            log::debug!(
                "Sending Notification: {} (n.leader), {} (n.zxid), {:#x} (n.peerEpoch), {:#x} \
                 (n.round), {sid} (recipient), {my_id} (myid)",
                vote.id,
                vote.zxid,
                vote.peer_epoch,
                vote.election_epoch
            );
            self.manager.to_send(sid, &message);
        }
    }

    fn send(&self, sid: ServerId, vote: &Vote) {
        let message = notification::encode(vote, &self.peer.verifier().to_string());
        self.manager.to_send(sid, &message);
    }

    /// The thread `WorkerReceiver`: until the queue is closed.
    fn receive(&self) {
        while let Polled::Item(message) = self.manager.recv_queue().poll(None) {
            self.receive_message(&message);
        }
        log::info!("WorkerReceiver is down");
    }

    fn receive_message(&self, message: &Message) {
        let sid = message.sid;
        let received = match notification::decode(&message.bytes) {
            Ok(received) => received,
            Err(error) => {
                log::warn!("Skipping the processing of a message sent by sid={sid}: {error}");
                return;
            }
        };
        let config = received.config.as_deref().and_then(|text| self.read_config(sid, text));
        if let Some(config) = &config
            && adopts_config(self.peer.server_state(), &self.peer.verifier(), config)
        {
            log::info!(
                "{} Received version: {:x} my version: {:x}",
                self.peer.my_id(),
                config.version(),
                self.peer.verifier().version()
            );
            if self.peer.on_config(Arc::clone(config)) {
                log::info!("restarting leader election");
                self.inbox.offer(Inbox::Abandon);
                return;
            }
        }
        self.react(sid, &received, config.as_deref());
    }

    fn read_config(&self, sid: ServerId, text: &str) -> Option<Arc<QuorumVerifier>> {
        let own = self.peer.verifier();
        if own.to_string() == text {
            return Some(own);
        }
        match QuorumVerifier::from_config_text(text, &self.peer.verifier_options()) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                log::error!(
                    "Something went wrong while processing config received from {sid}: {error}"
                );
                None
            }
        }
    }

    fn react(
        &self,
        sid: ServerId,
        received: &NotificationMessage,
        config: Option<&QuorumVerifier>,
    ) {
        let view = self.view();
        let vote = &received.vote;
        let published = self.published.lock();
        let (clock, proposal) = *published;
        let state = self.peer.server_state();
        let own = Standing { state, current_vote: self.peer.current_vote(), clock, proposal };
        let reaction = react(&view, &own, sid, received.state, *vote);
        if let Some(answer) = reaction.answer {
            self.send(sid, &answer);
        }
        if let Some(notification) = reaction.deliver {
            // Before the election ends, which answers what is in there, or not at all.
            self.inbox.offer(Inbox::Notification(notification));
        }
        drop(published);
        if view.is_voter(sid)
            && let Some(sender) = received.state
        {
            log::info!(
                "Notification: my state:{state}; n.sid:{sid}, n.state:{sender}, n.leader:{}, \
                 n.round:{:#x}, n.peerEpoch:{:#x}, n.zxid:{}, message format version:{:#x}, \
                 n.config version:{:#x}",
                vote.id,
                vote.election_epoch,
                vote.peer_epoch,
                vote.zxid,
                vote.version,
                config.map_or(0, QuorumVerifier::version)
            );
        }
        if reaction.report_looking {
            self.peer.report_looking_sid(sid, reaction.has_left);
        }
    }
}
