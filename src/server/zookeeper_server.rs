//! `ZooKeeperServer`: the state that all threads of a server share, and the ways into its chain.
//!
//! Composed, not inherited from: a role (standalone, leader, follower, observer, read-only) builds
//! the chain of processors and hands in its first one; where the roles differ otherwise, a
//! [`ServerRole`] answers. A change of role makes a new server over the same database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use super::blue_throttle::{BlueThrottleSettings, ConnectionThrottle, SessionKind};
use super::cnxn::cnxn_factory::CnxnTable;
use super::cnxn::cnxn_thread::Disconnect;
use super::cnxn::connect;
use super::cnxn::selector_thread::SelectorHandle;
use super::cnxn::server_cnxn::{Reply, ReplyBody, ServerCnxn};
use super::container_manager::{self, ContainerServer, ContainerSettings};
use super::eager_acl_check;
use super::final_request_processor::{self, ReadRequest};
use super::prep::OutstandingChanges;
use super::request::Request;
use super::request_body::RequestBody;
use super::request_path_metrics_collector::{PathStatsSettings, RequestPathMetricsCollector};
use super::request_throttler::{Admission, AdmissionSettings, Arrival, Decision};
use super::server_role::ServerRole;
use super::server_slot::ServerSlot;
use super::server_stats::{ServerStats, ServerStatsProvider};
use super::zk_database::ZkDatabase;
use crate::auth::{AclPolicy, AuthenticationHelper};
use crate::common::config::ServerConfig;
use crate::common::linked_blocking_queue::Sender;
use crate::common::sync::{Mutex, Rank};
use crate::common::time;
use crate::jute::{Input, Limits};
use crate::metrics::ServerMetrics;
use crate::proto::messages::DeleteContainerRequest;
use crate::proto::{Code, OpCode, SessionId, Zxid};
use crate::session::{Session, SessionExpirer, SessionTracker};

/// `ZooKeeperServer.State`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Built, the chain is not there yet.
    Initial = 0,
    /// Serving.
    Running = 1,
    /// Stopping or stopped.
    Shutdown = 2,
    /// A critical thread has died; the server is about to stop.
    Error = 3,
}

/// What a role gives a server to be built from.
pub struct Parts {
    /// The listener's side: settings, connections, selector threads.
    pub slot: Arc<ServerSlot>,
    /// What differs between the roles.
    pub role: Arc<dyn ServerRole>,
    /// Where the snapshots are.
    pub snap_dir: PathBuf,
    /// Where the logs are.
    pub log_dir: PathBuf,
    /// The state restored from disk.
    pub db: Arc<ZkDatabase>,
    /// The sessions.
    pub tracker: Arc<dyn SessionTracker>,
    /// Providers and the switch that turns checks off.
    pub acl_policy: AclPolicy,
    /// Enforced authentication.
    pub auth_helper: AuthenticationHelper,
}

/// See the module.
pub struct ZooKeeperServer {
    config: Arc<ServerConfig>,
    snap_dir: PathBuf,
    log_dir: PathBuf,
    limits: Limits,
    role: Arc<dyn ServerRole>,
    /// Copies of the role's answers, for each request asks.
    forwards_sync: bool,
    forwards_writes: bool,
    checks_writes_eagerly: bool,
    db: Arc<ZkDatabase>,
    tracker: Arc<dyn SessionTracker>,
    acl_policy: AclPolicy,
    auth_helper: AuthenticationHelper,
    metrics: Arc<ServerMetrics>,
    selectors: Vec<SelectorHandle>,
    stats: ServerStats,
    cnxns: Arc<CnxnTable>,
    /// Connections that a thread serves for this server. See [`ServerSlot`].
    serving: AtomicUsize,
    connection_throttle: ConnectionThrottle,
    admission: Admission,
    outstanding_changes: Mutex<OutstandingChanges>,
    /// `None` unless `pathStats.enabled` is set.
    path_stats: Option<Arc<RequestPathMetricsCollector>>,
    /// The queue of the first processor. Emptied by `stop_intake`.
    first_processor: ArcSwapOption<Sender<Box<Request>>>,
    client_port: u16,
    state: AtomicU8,
}

impl ZooKeeperServer {
    /// A server that does not serve yet.
    pub fn new(parts: Parts) -> Arc<ZooKeeperServer> {
        let (config, metrics) = (Arc::clone(parts.slot.config()), parts.slot.metrics_arc());
        let settings = AdmissionSettings::from(&*config);
        let limit = parts.role.global_outstanding_limit(settings.global_outstanding_limit);
        let settings = AdmissionSettings { global_outstanding_limit: limit, ..settings };
        Arc::new(ZooKeeperServer {
            snap_dir: parts.snap_dir,
            log_dir: parts.log_dir,
            limits: Limits::new(config.jute_maxbuffer, Some(config.jute_maxbuffer_extrasize)),
            db: parts.db,
            tracker: parts.tracker,
            acl_policy: parts.acl_policy,
            auth_helper: parts.auth_helper,
            selectors: parts.slot.selectors().to_vec(),
            stats: ServerStats::new(Arc::clone(&metrics)),
            cnxns: Arc::clone(parts.slot.cnxns()),
            serving: AtomicUsize::new(0),
            forwards_sync: parts.role.forwards_sync(),
            forwards_writes: parts.role.forwards_writes(),
            checks_writes_eagerly: config.enable_eager_acl_check
                && parts.role.checks_writes_eagerly(),
            role: parts.role,
            connection_throttle: ConnectionThrottle::new(
                &BlueThrottleSettings::from(&*config),
                time::elapsed_ms(),
                time::wall_ms(),
            ),
            admission: Admission::new(settings, Arc::clone(&metrics)),
            metrics,
            outstanding_changes: Mutex::new(
                Rank::OutstandingChanges,
                OutstandingChanges::default(),
            ),
            path_stats: config.path_stats_enabled.then(|| {
                Arc::new(RequestPathMetricsCollector::new(PathStatsSettings::from(&*config)))
            }),
            first_processor: ArcSwapOption::empty(),
            client_port: parts.slot.client_port(),
            state: AtomicU8::new(State::Initial as u8),
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// How long strings and buffers of a packet may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The tree and the sessions' table.
    pub fn db(&self) -> &Arc<ZkDatabase> {
        &self.db
    }

    /// The sessions.
    pub fn tracker(&self) -> &Arc<dyn SessionTracker> {
        &self.tracker
    }

    /// What differs between the roles.
    pub fn role(&self) -> &Arc<dyn ServerRole> {
        &self.role
    }

    /// Access control.
    pub fn acl_policy(&self) -> &AclPolicy {
        &self.acl_policy
    }

    /// Where to count.
    pub fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// A shared [`ZooKeeperServer::metrics`].
    pub fn metrics_arc(&self) -> Arc<ServerMetrics> {
        Arc::clone(&self.metrics)
    }

    /// What `srvr` shows.
    pub fn stats(&self) -> &ServerStats {
        &self.stats
    }

    /// The connections.
    pub fn cnxns(&self) -> &CnxnTable {
        &self.cnxns
    }

    /// What is prepared and not applied yet.
    pub fn outstanding_changes(&self) -> &Mutex<OutstandingChanges> {
        &self.outstanding_changes
    }

    /// What limits the chain.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The sample of the requests' paths, while that is switched on.
    pub fn path_stats(&self) -> Option<&Arc<RequestPathMetricsCollector>> {
        self.path_stats.as_ref()
    }

    /// The selector thread for a connection.
    pub fn selector(&self, cnxn: &ServerCnxn) -> Option<&SelectorHandle> {
        self.selectors.get(cnxn.id() as usize % self.selectors.len().max(1))
    }

    /// What `srvr` calls the mode (`getState`).
    pub fn server_state(&self) -> &'static str {
        self.role.state()
    }

    /// Whether requests keep the bytes they came in.
    pub fn forwards_writes(&self) -> bool {
        self.forwards_writes
    }

    /// Where the snapshots are: `dataDir/version-2`.
    pub fn snap_dir(&self) -> &Path {
        &self.snap_dir
    }

    /// Where the logs are: `dataLogDir/version-2`.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// The port of the listener for clients, 0 without one.
    pub fn client_port(&self) -> u16 {
        self.client_port
    }

    /// `ZooKeeperServer.isRunning`.
    pub fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == State::Running as u8
    }

    /// Moves on to `state`.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// A thread begins to serve a connection for this server. Only [`ServerSlot`] calls this.
    pub(super) fn enter(&self) {
        self.serving.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends [`ZooKeeperServer::enter`].
    pub(super) fn leave(&self) {
        self.serving.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a thread serves a connection for this server.
    pub(super) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire) > 0
    }

    /// From now on requests go to this queue.
    pub fn start_intake(&self, first: Sender<Box<Request>>) {
        self.first_processor.store(Some(Arc::new(first)));
        self.set_state(State::Running);
    }

    /// Nobody waits to get into the chain any more.
    pub fn stop_admission(&self) {
        self.admission.stop();
    }

    /// No request gets into the chain any more.
    pub fn stop_intake(&self) {
        self.first_processor.store(None);
    }

    /// Puts a request into the chain. It is counted by its connection and its session already.
    pub fn enqueue(&self, request: Request) {
        if !self.forwards_writes {
            self.metrics.prep_processor_request_queued.increment();
        }
        if let Some(first) = &*self.first_processor.load() {
            // In a box: it is handed from queue to queue, and blocks of a queue stay small.
            let _ = first.send(Box::new(request)); // The thread is gone: the server is stopping.
        }
    }

    /// Waits until a request of a client may enter the chain, and puts it there. False when it must
    /// not, and its connection is of no more use.
    pub fn admit_and_enqueue(
        &self,
        cnxn: &Arc<ServerCnxn>,
        session: &Arc<Session>,
        mut request: Request,
    ) -> bool {
        let arrival = Arrival {
            op: request.body.op_code(),
            xid: request.cxid,
            created_ms: request.created_ms,
            session_timeout_ms: session.timeout_ms(),
        };
        match self.admission.admit(cnxn.gate(), &arrival) {
            Decision::Proceed => {}
            Decision::Throttle => request.is_throttled = true,
            Decision::Drop | Decision::Stop => return false,
        }
        session.request_started();
        request.session = Some(Arc::clone(session));
        request.cnxn = Some(Arc::clone(cnxn));
        self.enqueue(request);
        true
    }

    /// The server's own request to close a session.
    pub fn close_session(&self, id: SessionId) {
        log::info!("Closing session {id}");
        self.enqueue_own(Request::internal(id, RequestBody::CloseSession, time::elapsed_ms()));
    }

    /// Puts a request of the server itself into the chain.
    fn enqueue_own(&self, mut request: Request) {
        request.is_local_session = self.role.is_local(self, &request);
        self.enqueue(request);
    }

    /// Puts requests that a learner forwarded into the chain (`submitLearnerRequest`).
    pub fn submit_learner_requests(&self, requests: &mut Vec<Request>) {
        self.metrics.prep_processor_request_queued.add(requests.len() as i64);
        match &*self.first_processor.load() {
            Some(first) => first.send_all(requests.drain(..).map(Box::new)),
            None => requests.clear(), // The server is stopping.
        }
    }

    /// What the session's server says of a client that wanted its session back, after
    /// [`Revalidation::Later`](super::server_role::Revalidation::Later) (`finishSessionInit`). Any thread.
    pub fn finish_session_init(&self, cnxn: &Arc<ServerCnxn>, session: Option<Arc<Session>>) {
        connect::finish_session_init(self, cnxn, session);
    }

    /// Whether the connection throttle lets a connect request for this session (0: a new one) in.
    pub fn admits_connection(&self, id: SessionId) -> bool {
        let kind = if id.0 == 0 { SessionKind::Global } else { SessionKind::Renew };
        let (is_admitted, deficit) = self.connection_throttle.check_limit(kind, time::elapsed_ms());
        if is_admitted {
            self.metrics.connection_token_deficit.add(deficit.into());
        }
        is_admitted
    }

    /// The chance of a connect request to be refused (`connection_drop_probability`).
    pub fn connection_drop_chance(&self) -> f64 {
        self.connection_throttle.drop_chance()
    }

    /// A request of a client that is no auth or SASL packet: answers it at once if nothing stands
    /// before it, else puts it into the chain. `Err` ends the connection.
    pub fn submit_request(
        self: &Arc<Self>,
        cnxn: &Arc<ServerCnxn>,
        xid: i32,
        op: i32,
        input: &mut Input<'_>,
        now_ms: i64,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Disconnect> {
        if !self.auth_helper.enforce_authentication(&cnxn.auth_info()) {
            return Err(connect::refuse_unauthenticated(self, cnxn, xid));
        }
        let bytes = input.rest();
        let body = RequestBody::decode(op, input);
        // Without a session nothing gets here; a closing one, or a request dropped before, means
        // that no answer is due.
        let Some(session) = cnxn.session() else { return Ok(()) };
        if cnxn.is_invalid() || !session.touch(now_ms) {
            log::debug!("Dropping request of session {}", session.id());
            return Ok(());
        }
        if let RequestBody::Unknown(op) = body {
            log::warn!("Received packet at server of unknown type {op} from /{}", cnxn.remote());
            let reply = Reply { xid, zxid: -1, last_op: "NA", created_ms: now_ms, now_ms };
            cnxn.send_reply(reply, Code::Unimplemented, &ReplyBody::default());
            return Err(Disconnect::AfterFlush);
        }
        if session.in_flight() == 0 && self.is_direct_read(&body) && !session.has_moved() {
            let request = ReadRequest {
                cnxn,
                session_id: session.id(),
                xid,
                body: &body,
                created_ms: now_ms,
            };
            let tree = self.db.tree();
            let auth = cnxn.auth_info();
            final_request_processor::answer_read(self, &tree, &request, &auth, scratch);
            return Ok(());
        }
        self.submit_to_chain(cnxn, session, xid, body, bytes, now_ms)
    }

    fn is_direct_read(&self, body: &RequestBody) -> bool {
        let is_forwarded_sync = self.forwards_sync && body.op_code() == Some(OpCode::Sync);
        !body.is_write() && !is_forwarded_sync
    }

    fn submit_to_chain(
        &self,
        cnxn: &Arc<ServerCnxn>,
        session: &Arc<Session>,
        xid: i32,
        body: RequestBody,
        bytes: &[u8],
        now_ms: i64,
    ) -> Result<(), Disconnect> {
        if self.checks_writes_eagerly
            && session.in_flight() == 0
            && !eager_acl_check::auth_write_request(self, cnxn, xid, &body, now_ms)
        {
            return Ok(());
        }
        let large_permit =
            self.admission.admit_size(bytes.len()).map_err(|_| Disconnect::LargeRequest)?;
        let keeps_bytes = self.forwards_writes && !self.is_direct_read(&body);
        let mut request = Request {
            cxid: xid,
            auth_info: cnxn.auth_info_full(),
            owner: Session::OWNER_ME,
            bytes: if keeps_bytes { bytes.to_vec() } else { Vec::new() },
            large_permit,
            ..Request::internal(session.id(), body, now_ms)
        };
        if request.body.is_write() {
            match self.role.check_upgrade_session(self, &request) {
                Ok(None) => {}
                Ok(Some(upgrade)) => self.enqueue(upgrade),
                Err(code) => request.error = Some(code),
            }
            request.is_local_session = matches!(request.body, RequestBody::CloseSession)
                && self.role.is_local(self, &request);
        }
        if self.admit_and_enqueue(cnxn, session, request) {
            return Ok(());
        }
        // After a dropped request all later ones must be dropped, to keep their order.
        cnxn.set_invalid();
        Err(Disconnect::EndOfStream)
    }

    /// A request has left the chain: its reply is in the outbox, or it was dropped.
    pub fn request_finished(&self, request: &Request) {
        if let Some(session) = &request.session {
            session.request_finished();
        }
        if let Some(cnxn) = &request.cnxn {
            self.admission.finish(cnxn.gate(), request.cxid);
        }
    }

    /// Forgets a connection that has ended, its watches included.
    pub fn remove_cnxn(&self, cnxn: &ServerCnxn) {
        // Stale first: a read in the chain that registers a watch looks at it afterwards, so
        // either it undoes its watch or we find it here.
        cnxn.set_stale();
        self.cnxns.remove(cnxn);
        self.db.tree().remove_watcher(cnxn.id());
    }
}

impl SessionExpirer for ZooKeeperServer {
    fn expire(&self, session: &Arc<Session>) {
        log::info!(
            "Expiring session {}, timeout of {}ms exceeded",
            session.id(),
            session.timeout_ms()
        );
        self.enqueue_own(Request::internal(
            session.id(),
            RequestBody::CloseSession,
            time::elapsed_ms(),
        ));
    }
}

impl ServerStatsProvider for ZooKeeperServer {
    fn outstanding_requests(&self) -> i64 {
        self.admission.in_process()
    }

    fn last_processed_zxid(&self) -> Zxid {
        self.db.last_processed_zxid()
    }

    fn state(&self) -> &'static str {
        self.server_state()
    }

    fn num_alive_connections(&self) -> usize {
        self.cnxns.len()
    }
}

impl ContainerServer for ZooKeeperServer {
    fn candidates(&self, settings: &ContainerSettings) -> Vec<String> {
        container_manager::candidates(&self.db.tree(), settings, time::wall_ms())
    }

    fn post_delete_request(&self, path: &str) {
        let body = RequestBody::DeleteContainer(DeleteContainerRequest { path: path.to_owned() });
        self.enqueue(Request::internal(SessionId(0), body, time::elapsed_ms()));
    }
}
