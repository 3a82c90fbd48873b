//! What all parts of a member share (Java: the fields of `QuorumPeer`; its thread is in
//! `quorum_peer_thread`).
//!
//! The handle has no thread and does no work of its own: roles, election and connections read the
//! settings and the membership here, tell what they do, and learn here that they shall end.
//!
//! Deliberate difference: [`Shutdown`] stands for Java's flags, interrupts and closed sockets.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::election::{ElectionPeer, ElectionSettings};
use super::epoch_files::EpochFiles;
use super::peer_state::{PeerState, ZabState};
use super::quorum_database::QuorumDatabase;
use super::shutdown::Shutdown;
use super::verifier::{FileOracle, Oracle, QuorumVerifier, VerifierOptions};
use super::zab::{ServerState, Vote};
use crate::auth::{AclPolicy, AuthenticationHelper, ProviderRegistry};
use crate::common::config::{ConfigError, LearnerType, QuorumServer, QuorumSettings, ServerConfig};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::ServerListener;
use crate::metrics::ServerMetrics;
use crate::proto::{ServerId, Zxid};
use crate::server::server_role::ServerRole;
use crate::server::server_slot::ServerSlot;
use crate::server::zk_database::ZkDatabase;
use crate::server::zookeeper_server::{Parts, ZooKeeperServer};
use crate::session::SessionTracker;

/// Logs and snapshots live in this directory below those of the configuration.
const VERSION_DIR: &str = "version-2";

/// Hears of a voter that looks for a leader, and whether in a later round than that of ours.
pub type OnLookingSid = Arc<dyn Fn(ServerId, bool) + Send + Sync>;

/// What a [`QuorumPeer`] is made of.
pub struct QuorumPeerParts {
    /// The settings of every server.
    pub config: Arc<ServerConfig>,
    /// The settings of a member.
    pub settings: QuorumSettings,
    /// The last committed membership.
    pub verifier: QuorumVerifier,
    /// The last proposed membership.
    pub last_seen_verifier: Option<QuorumVerifier>,
    /// The epochs on disk.
    pub epochs: EpochFiles,
    /// The last zxid in the log on disk.
    pub last_logged_zxid: Zxid,
    /// The numbers.
    pub metrics: Arc<ServerMetrics>,
    /// Is told what ends the process.
    pub listener: Arc<dyn ServerListener>,
    /// What accepted client connections are served by.
    pub server_slot: Arc<ServerSlot>,
    /// The schemes of clients.
    pub providers: Arc<ProviderRegistry>,
    /// The schemes that clients must use.
    pub auth_helper: AuthenticationHelper,
}

/// A member of an ensemble.
pub struct QuorumPeer {
    config: Arc<ServerConfig>,
    settings: QuorumSettings,
    election_settings: ElectionSettings,
    verifier_options: VerifierOptions,
    verifier: ArcSwap<QuorumVerifier>,
    last_seen_verifier: ArcSwapOption<QuorumVerifier>,
    state: PeerState,
    epochs: EpochFiles,
    /// Written by the thread of the peer before each election.
    last_logged_zxid: AtomicI64,
    /// The leader's ear for voters that look for another one.
    on_looking_sid: Mutex<Option<OnLookingSid>>,
    metrics: Arc<ServerMetrics>,
    listener: Arc<dyn ServerListener>,
    server_slot: Arc<ServerSlot>,
    providers: Arc<ProviderRegistry>,
    auth_helper: AuthenticationHelper,
    shutdown: Shutdown,
}

/// What reading a membership needs beside its text.
pub fn verifier_options(settings: &QuorumSettings) -> VerifierOptions {
    let oracle = settings.oracle_path.clone();
    VerifierOptions {
        multi_address_enabled: settings.multi_address_enabled,
        standalone_enabled: settings.standalone_enabled,
        oracle: oracle.map(|path| Arc::new(FileOracle::new(path)) as Arc<dyn Oracle>),
    }
}

/// The committed membership of the configuration, and the proposed one if there is any.
pub fn configured_verifiers(
    settings: &QuorumSettings,
) -> Result<(QuorumVerifier, Option<QuorumVerifier>), ConfigError> {
    let options = verifier_options(settings);
    let verifier = QuorumVerifier::parse(&settings.members, &options)?;
    verifier.check(settings.standalone_enabled)?;
    // Compat: the proposed one is read without its oracle.
    let options = VerifierOptions { oracle: None, ..options };
    let next = settings.next_members.as_ref();
    let next = next.map(|members| QuorumVerifier::parse(members, &options)).transpose()?;
    Ok((verifier, next))
}

impl QuorumPeer {
    /// Looking, with a vote for itself.
    pub fn new(parts: QuorumPeerParts) -> Arc<QuorumPeer> {
        let settings = parts.settings;
        let election_settings = election_settings(&settings, parts.config.tick_time_ms);
        let vote = Vote::looking(
            settings.server_id,
            parts.last_logged_zxid,
            0,
            parts.epochs.current_epoch(),
        );
        Arc::new(QuorumPeer {
            verifier_options: verifier_options(&settings),
            election_settings,
            config: parts.config,
            settings,
            verifier: ArcSwap::from_pointee(parts.verifier),
            last_seen_verifier: ArcSwapOption::new(parts.last_seen_verifier.map(Arc::new)),
            state: PeerState::new(vote),
            epochs: parts.epochs,
            last_logged_zxid: AtomicI64::new(parts.last_logged_zxid.0),
            on_looking_sid: Mutex::new(Rank::Leaf, None),
            metrics: parts.metrics,
            listener: parts.listener,
            server_slot: parts.server_slot,
            providers: parts.providers,
            auth_helper: parts.auth_helper,
            shutdown: Shutdown::default(),
        })
    }

    /// This server's id.
    pub fn my_id(&self) -> ServerId {
        self.settings.server_id
    }

    /// The settings of every server.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The settings of a member.
    pub fn settings(&self) -> &QuorumSettings {
        &self.settings
    }

    /// The unit of all limits, ms.
    pub fn tick_time_ms(&self) -> i32 {
        self.config.tick_time_ms
    }

    /// `ticks` in ms, at least 0.
    pub fn ticks_ms(&self, ticks: i32) -> u64 {
        let ms = i64::from(ticks).saturating_mul(self.config.tick_time_ms.into());
        u64::try_from(ms).unwrap_or(0)
    }

    /// Whether this server votes.
    pub fn learner_type(&self) -> LearnerType {
        self.settings.learner_type
    }

    /// Whether this server writes logs and snapshots: all but observers without `syncEnabled`.
    pub fn is_sync_enabled(&self) -> bool {
        self.settings.learner_type == LearnerType::Participant || self.settings.sync_enabled
    }

    /// The last committed membership.
    pub fn verifier(&self) -> Arc<QuorumVerifier> {
        self.verifier.load_full()
    }

    /// The last proposed membership.
    pub fn last_seen_verifier(&self) -> Option<Arc<QuorumVerifier>> {
        self.last_seen_verifier.load_full()
    }

    /// A member of the committed membership.
    pub fn server(&self, id: ServerId) -> Option<QuorumServer> {
        self.verifier.load().all_members().get(&id).cloned()
    }

    /// What this server does: role, phase, vote, leader.
    pub fn state(&self) -> &PeerState {
        &self.state
    }

    /// What this server does.
    pub fn server_state(&self) -> ServerState {
        self.state.server_state()
    }

    /// A new phase of the protocol.
    pub fn set_zab_state(&self, state: ZabState) {
        self.state.set_zab_state(state, &self.metrics);
    }

    /// The epochs on disk.
    pub fn epochs(&self) -> &EpochFiles {
        &self.epochs
    }

    /// The last zxid in the log on disk, as of the last election; -1 if this server may not vote.
    pub fn last_logged_zxid(&self) -> Zxid {
        Zxid(self.last_logged_zxid.load(Ordering::Acquire))
    }

    /// Set once the tree is the snapshot and the whole log.
    pub fn set_last_logged_zxid(&self, zxid: Zxid) {
        self.last_logged_zxid.store(zxid.0, Ordering::Release);
    }

    /// Who is told of voters that look for a leader while this server is not looking; a leader
    /// sets it, and takes it away at its end.
    pub fn set_on_looking_sid(&self, hook: Option<OnLookingSid>) {
        let old = std::mem::replace(&mut *self.on_looking_sid.lock(), hook);
        drop(old);
    }

    /// The numbers.
    pub fn metrics(&self) -> &Arc<ServerMetrics> {
        &self.metrics
    }

    /// Is told what ends the process.
    pub fn listener(&self) -> &Arc<dyn ServerListener> {
        &self.listener
    }

    /// What accepted client connections are served by. A role puts its server in, and takes it out
    /// before it ends.
    pub fn server_slot(&self) -> &Arc<ServerSlot> {
        &self.server_slot
    }

    /// A server of a role, for the slot.
    pub fn new_server(
        &self,
        role: Arc<dyn ServerRole>,
        tracker: Arc<dyn SessionTracker>,
        database: &QuorumDatabase,
    ) -> Arc<ZooKeeperServer> {
        self.new_server_over(role, tracker, &database.db)
    }

    /// As [`new_server`](Self::new_server), for who does not own the log.
    pub fn new_server_over(
        &self,
        role: Arc<dyn ServerRole>,
        tracker: Arc<dyn SessionTracker>,
        db: &Arc<ZkDatabase>,
    ) -> Arc<ZooKeeperServer> {
        ZooKeeperServer::new(Parts {
            slot: Arc::clone(&self.server_slot),
            role,
            snap_dir: self.config.data_dir.join(VERSION_DIR),
            log_dir: self.config.data_log_dir.join(VERSION_DIR),
            db: Arc::clone(db),
            tracker,
            acl_policy: AclPolicy::new(Arc::clone(&self.providers), self.config.skip_acl),
            auth_helper: self.auth_helper.clone(),
        })
    }

    /// Waits for a random time below `bound_ms`, or until the server shuts down.
    pub fn wait_at_random(&self, bound_ms: i64, before: &str) {
        let bound_ms = u64::try_from(bound_ms).unwrap_or(0);
        if bound_ms > 0 {
            let delay_ms = RandomState::new().hash_one(0u8) % bound_ms;
            log::info!("Waiting for {delay_ms} ms before {before}");
            self.shutdown.wait_for(Duration::from_millis(delay_ms));
        }
    }

    /// How everything learns that it shall end.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// False once the server shuts down.
    pub fn is_running(&self) -> bool {
        !self.shutdown.is_requested()
    }
}

impl ElectionPeer for QuorumPeer {
    fn my_id(&self) -> ServerId {
        self.settings.server_id
    }

    fn election_settings(&self) -> &ElectionSettings {
        &self.election_settings
    }

    fn verifier_options(&self) -> VerifierOptions {
        self.verifier_options.clone()
    }

    fn verifier(&self) -> Arc<QuorumVerifier> {
        self.verifier.load_full()
    }

    fn last_seen_verifier(&self) -> Option<Arc<QuorumVerifier>> {
        self.last_seen_verifier.load_full()
    }

    fn learner_type(&self) -> LearnerType {
        self.settings.learner_type
    }

    fn server_state(&self) -> ServerState {
        self.state.server_state()
    }

    fn set_server_state(&self, state: ServerState) {
        self.state.set_server_state(state);
    }

    fn current_vote(&self) -> Vote {
        self.state.current_vote()
    }

    fn set_current_vote(&self, vote: Vote) {
        self.state.set_current_vote(vote);
    }

    fn last_logged_zxid(&self) -> Zxid {
        QuorumPeer::last_logged_zxid(self)
    }

    fn current_epoch(&self) -> io::Result<i64> {
        Ok(self.epochs.current_epoch())
    }

    fn report_looking_sid(&self, sid: ServerId, has_left: bool) {
        let hook = self.on_looking_sid.lock().clone();
        if let Some(hook) = hook {
            hook(sid, has_left);
        }
    }

    fn is_running(&self) -> bool {
        QuorumPeer::is_running(self)
    }

    fn metrics(&self) -> &Arc<ServerMetrics> {
        &self.metrics
    }

    fn listener(&self) -> &Arc<dyn ServerListener> {
        &self.listener
    }
}

fn election_settings(settings: &QuorumSettings, tick_time_ms: i32) -> ElectionSettings {
    let by_ticks = tick_time_ms.saturating_mul(settings.sync_limit);
    ElectionSettings {
        min_notification_interval_ms: settings.min_notification_interval_ms,
        max_notification_interval_ms: settings.max_notification_interval_ms,
        cnx_timeout_ms: settings.cnx_timeout_ms,
        socket_timeout_ms: Some(settings.quorum_cnxn_timeout_ms)
            .filter(|timeout| *timeout > 0)
            .unwrap_or(by_ticks),
        quorum_listen_on_all_ips: settings.quorum_listen_on_all_ips,
        quorum_cnxn_threads_size: settings.quorum_cnxn_threads_size,
        election_port_bind_retry: settings.election_port_bind_retry,
        tcp_keep_alive: settings.tcp_keep_alive,
        multi_address_enabled: settings.multi_address_enabled,
    }
}
