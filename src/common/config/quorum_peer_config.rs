//! Reading `zoo.cfg` (Java: `QuorumPeerConfig`, `ServerConfig.parse`).
//!
//! The keys that Java parses itself are checked here; every other key becomes the system property
//! `zookeeper.<key>` and wins over a `-D` of that name. Errors name the key and the value, which
//! Java's do not always.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use log::Level;

use super::error::ConfigError;
use super::options;
use super::quorum_server::{LearnerType, QuorumServer, check_roles};
use super::quorum_settings::QuorumSettings;
use super::server_config::ServerConfig;
use super::surroundings::{Machine, Nowhere, Surroundings};
use super::system_properties::SystemProperties;
use crate::common::java_number::{parse_boolean, parse_int, parse_long, trim};
use crate::common::properties;
use crate::proto::ServerId;

/// A checked configuration, and what there is to say about it in the log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Configuration {
    /// The settings.
    pub server: ServerConfig,
    /// The content of `myid`; shown in log lines, otherwise unused by a standalone server.
    pub server_id: Option<i64>,
    /// The settings of a member of an ensemble; `None` for a standalone server.
    pub quorum: Option<QuorumSettings>,
    /// Lines to log, in order. Parsing logs nothing itself, because the log is set up by what it
    /// finds.
    pub notes: Vec<(Level, String)>,
}

impl Configuration {
    /// Reads the arguments of `zabkeeper server`: a file, or port, directory and perhaps tick time
    /// and number of connections per client.
    pub fn from_args(args: &[String], system: &SystemProperties) -> Result<Self, ConfigError> {
        Self::from_args_on(args, system, &Machine)
    }

    pub(crate) fn from_args_on(
        args: &[String],
        system: &SystemProperties,
        surroundings: &dyn Surroundings,
    ) -> Result<Self, ConfigError> {
        match args {
            [file] => {
                let path = Path::new(file);
                let bytes = surroundings
                    .read_file(path)
                    .map_err(|error| ConfigError::config(error.to_string()))
                    .and_then(|bytes| {
                        bytes.ok_or_else(|| ConfigError::config(format!("{file} file is missing")))
                    })
                    .map_err(|error| error.in_file(file))?;
                let mut configuration = Self::from_file(&bytes, file, system, surroundings)?;
                let start = vec![
                    (Level::Info, format!("Reading configuration from: {file}")),
                    (Level::Warn, relative_path_warning(path).unwrap_or_default()),
                ];
                let notes = start.into_iter().chain(std::mem::take(&mut configuration.notes));
                configuration.notes = notes.filter(|(_, text)| !text.is_empty()).collect();
                Ok(configuration)
            }
            [port, directory, rest @ ..] if rest.len() <= 2 => {
                short_form(port, directory, rest, system, surroundings)
            }
            _ => Err(ConfigError::arguments(format!("Invalid number of arguments:{args:?}"))),
        }
    }

    /// Reads the text of a configuration file; `path` is for messages only.
    pub(crate) fn from_file(
        bytes: &[u8],
        path: &str,
        system: &SystemProperties,
        surroundings: &dyn Surroundings,
    ) -> Result<Self, ConfigError> {
        let mut parser = Parser::new(system.clone(), surroundings);
        parser.quorum.config_file = PathBuf::from(path);
        let configuration = parser.run(bytes).map_err(|error| error.in_file(path))?;
        Ok(configuration)
    }
}

/// Reads the text of a configuration file on a machine without files and names. For tests and
/// fuzzing: no input makes it panic.
pub fn parse_config(bytes: &[u8]) -> Result<Configuration, ConfigError> {
    Configuration::from_file(bytes, "zoo.cfg", &SystemProperties::default(), &Nowhere)
}

fn short_form(
    port: &str,
    directory: &str,
    rest: &[String],
    system: &SystemProperties,
    surroundings: &dyn Surroundings,
) -> Result<Configuration, ConfigError> {
    let wrong = |error: ConfigError| ConfigError::arguments(error.message);
    let mut server = ServerConfig {
        client_port: Some(parse_port("port", port).map_err(wrong)?),
        data_dir: PathBuf::from(directory),
        data_log_dir: PathBuf::from(directory),
        // Compat: not 60, as ServerConfig's field has no default.
        max_client_cnxns: 0,
        ..ServerConfig::default()
    };
    if let Some(tick_time) = rest.first() {
        server.tick_time_ms = parse("ticktime", tick_time).map_err(wrong)?;
        // Java takes any number here, divides by 0 later and never expires sessions below it.
        if server.tick_time_ms <= 0 {
            return Err(ConfigError::arguments(format!("ticktime={tick_time}: must be positive")));
        }
        server.min_session_timeout_ms = server.tick_time_ms.wrapping_mul(2);
        server.max_session_timeout_ms = server.tick_time_ms.wrapping_mul(20);
    }
    if let Some(connections) = rest.get(1) {
        server.max_client_cnxns = parse("maxcnxns", connections).map_err(wrong)?;
    }
    let mut notes = Vec::new();
    server.read_system_properties(system, surroundings, &mut notes)?;
    notes.extend(options::notes(&BTreeMap::new(), system, false));
    Ok(Configuration { server, notes, ..Configuration::default() })
}

/// The keys of the file that are not simply copied to [`ServerConfig`].
struct Parser<'a> {
    surroundings: &'a dyn Surroundings,
    system: SystemProperties,
    server: ServerConfig,
    notes: Vec<(Level, String)>,
    data_log_dir: Option<PathBuf>,
    client_port_address: Option<String>,
    secure_client_port_address: Option<String>,
    min_session_timeout_ms: i32,
    max_session_timeout_ms: i32,
    /// What the file says of the ensemble, used only if there is one.
    quorum: QuorumSettings,
    dynamic_config_file: Option<String>,
    standalone_enabled: bool,
    quorum_sasl: [bool; 3],
    /// Keys that ask for what only later versions have, with what an ensemble would lack.
    refused_in_ensemble: Vec<(&'static str, &'static str)>,
}

const MIN_SNAP_RETAIN_COUNT: i32 = 3;
const NEXT_DYNAMIC_CONFIG_SUFFIX: &str = ".dynamic.next";
const MAX_EXTENDED_SERVER_ID: i64 = 254;
const METRICS_PROVIDERS: [&str; 3] = [
    "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
    "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
    "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
];

impl<'a> Parser<'a> {
    fn new(system: SystemProperties, surroundings: &'a dyn Surroundings) -> Self {
        Self {
            surroundings,
            system,
            server: ServerConfig::default(),
            notes: Vec::new(),
            data_log_dir: None,
            client_port_address: None,
            secure_client_port_address: None,
            min_session_timeout_ms: -1,
            max_session_timeout_ms: -1,
            quorum: QuorumSettings::default(),
            dynamic_config_file: None,
            standalone_enabled: true,
            quorum_sasl: [false; 3],
            refused_in_ensemble: Vec::new(),
        }
    }

    fn run(&mut self, bytes: &[u8]) -> Result<Configuration, ConfigError> {
        let file = load(bytes)?;
        let given = self.system.clone();
        for (key, value) in &file {
            self.read_key(key, value, file.contains_key("dynamicConfigFile"))?;
        }
        self.check_keys()?;
        let members = match self.dynamic_config_file.clone() {
            None => file.clone(),
            Some(path) => self.read_dynamic_file(&path)?,
        };
        let (server_id, is_distributed) = self.check_members(&members)?;
        self.server.read_system_properties(&self.system, self.surroundings, &mut self.notes)?;
        self.check_tls()?;
        self.server.initial_config = String::from_utf8_lossy(bytes).into_owned();
        let quorum = match server_id {
            Some(server_id) if is_distributed => Some(self.ensemble(server_id, members)?),
            _ => None,
        };
        self.notes.extend(options::notes(&file, &given, is_distributed));
        Ok(Configuration {
            server: std::mem::take(&mut self.server),
            server_id,
            quorum,
            notes: std::mem::take(&mut self.notes),
        })
    }

    fn read_key(&mut self, key: &str, value: &str, is_dynamic: bool) -> Result<(), ConfigError> {
        let server = &mut self.server;
        match key {
            "dataDir" => server.data_dir = directory(key, value, &mut self.notes)?,
            "dataLogDir" => {
                self.data_log_dir = Some(directory(key, value, &mut self.notes)?);
            }
            "clientPort" => server.client_port = Some(parse_port(key, value)?),
            "clientPortAddress" => self.client_port_address = Some(value.to_owned()),
            "secureClientPort" => server.secure_client_port = Some(parse_port(key, value)?),
            "secureClientPortAddress" => self.secure_client_port_address = Some(value.to_owned()),
            "clientPortListenBacklog" => server.client_port_listen_backlog = parse(key, value)?,
            "tickTime" => server.tick_time_ms = parse(key, value)?,
            "maxClientCnxns" => server.max_client_cnxns = parse(key, value)?,
            "minSessionTimeout" => self.min_session_timeout_ms = parse(key, value)?,
            "maxSessionTimeout" => self.max_session_timeout_ms = parse(key, value)?,
            "initLimit" => self.quorum.init_limit = parse(key, value)?,
            "syncLimit" => self.quorum.sync_limit = parse(key, value)?,
            "connectToLearnerMasterLimit" => {
                self.quorum.connect_to_learner_master_limit = parse(key, value)?;
            }
            "autopurge.snapRetainCount" => server.autopurge_snap_retain_count = parse(key, value)?,
            "autopurge.purgeInterval" => {
                server.autopurge_purge_interval_hours = parse(key, value)?;
            }
            "quorum.cnxn.threads.size" => {
                let size = parse(key, value)?;
                self.quorum.quorum_cnxn_threads_size =
                    self.quorum.quorum_cnxn_threads_size.max(size);
            }
            "observerMasterPort" => {
                let port = parse(key, value)?;
                self.refuse_in_ensemble(port > 0, "observerMasterPort", "ObserverMaster");
            }
            "multiAddress.reachabilityCheckTimeoutMs" => {
                parse(key, value)?;
            }
            "electionAlg" => {
                if parse(key, value)? != 3 {
                    return Err(ConfigError::config(format!(
                        "Invalid electionAlg value. Only 3 is supported. (electionAlg={value})"
                    )));
                }
            }
            "peerType" => self.quorum.learner_type = LearnerType::parse(value)?,
            "dynamicConfigFile" => self.dynamic_config_file = Some(value.to_owned()),
            "standaloneEnabled" => self.standalone_enabled = strict_boolean(key, value)?,
            "reconfigEnabled" => {
                server.reconfig_enabled = strict_boolean(key, value)?;
                let is_enabled = server.reconfig_enabled;
                self.refuse_in_ensemble(is_enabled, "reconfigEnabled", "dynamic reconfiguration");
            }
            "localSessionsEnabled" => {
                self.quorum.local_sessions_enabled = strict_boolean(key, value)?;
            }
            "localSessionsUpgradingEnabled" => {
                self.quorum.local_sessions_upgrading_enabled = strict_boolean(key, value)?;
            }
            "quorumListenOnAllIPs" => {
                self.quorum.quorum_listen_on_all_ips = strict_boolean(key, value)?;
            }
            "syncEnabled" => self.quorum.sync_enabled = strict_boolean(key, value)?,
            "sslQuorum" => {
                let is_enabled = strict_boolean(key, value)?;
                self.refuse_in_ensemble(is_enabled, "sslQuorum", "TLS between servers");
            }
            "portUnification" => {
                let is_enabled = strict_boolean(key, value)?;
                self.refuse_in_ensemble(is_enabled, "portUnification", "TLS between servers");
            }
            "multiAddress.enabled" => {
                // Compat: the class that reads the lines looks at the system property only, and
                // the election's hello follows the file only. See `ensemble`.
                self.quorum.multi_address_enabled = strict_boolean(key, value)?;
            }
            "sslQuorumReloadCertFiles" | "multiAddress.reachabilityCheckEnabled" => {
                strict_boolean(key, value)?;
            }
            _ if is_dynamic && is_member_key(key) => {
                return Err(ConfigError::config(format!(
                    "parameter: {key} must be in a separate dynamic config file"
                )));
            }
            "quorum.auth.enableSasl" => {
                self.quorum_sasl[0] = strict_boolean(key, value)?;
                let is_enabled = self.quorum_sasl[0];
                self.refuse_in_ensemble(
                    is_enabled,
                    "quorum.auth.enableSasl",
                    "SASL between servers",
                );
            }
            "quorum.auth.serverRequireSasl" => self.quorum_sasl[1] = strict_boolean(key, value)?,
            "quorum.auth.learnerRequireSasl" => self.quorum_sasl[2] = strict_boolean(key, value)?,
            "quorum.auth.learner.saslLoginContext"
            | "quorum.auth.server.saslLoginContext"
            | "quorum.auth.kerberos.servicePrincipal" => {}
            "oraclePath" => self.quorum.oracle_path = Some(PathBuf::from(value)),
            "jvm.pause.monitor" => server.jvm_pause_monitor = strict_boolean(key, value)?,
            "jvm.pause.info-threshold.ms" => {
                server.jvm_pause_info_threshold_ms = long(key, value)?;
            }
            "jvm.pause.warn-threshold.ms" => {
                server.jvm_pause_warn_threshold_ms = long(key, value)?;
            }
            "jvm.pause.sleep.time.ms" => server.jvm_pause_sleep_time_ms = long(key, value)?,
            "metricsProvider.className" => {
                value.clone_into(&mut server.metrics_provider_class_name)
            }
            _ if key.starts_with("metricsProvider.") => {}
            // Java's last branch; the lines `server.N` and so on come here as well.
            _ => self.system.set(format!("zookeeper.{key}"), value),
        }
        Ok(())
    }

    /// The checks at the end of `parseProperties`, in Java's order.
    fn check_keys(&mut self) -> Result<(), ConfigError> {
        let [is_enabled, server_requires, learner_requires] = self.quorum_sasl;
        let disabled = |cause, effect| {
            Err(ConfigError::config(format!("{cause} is disabled, so cannot enable {effect}")))
        };
        if !is_enabled && server_requires {
            return disabled("quorum.auth.enableSasl", "quorum.auth.serverRequireSasl");
        }
        if !is_enabled && learner_requires {
            return disabled("quorum.auth.enableSasl", "quorum.auth.learnerRequireSasl");
        }
        if !learner_requires && server_requires {
            return disabled("quorum.auth.learnerRequireSasl", "quorum.auth.serverRequireSasl");
        }
        if self.server.autopurge_snap_retain_count < MIN_SNAP_RETAIN_COUNT {
            let warning = format!(
                "Invalid autopurge.snapRetainCount: {}. Defaulting to {MIN_SNAP_RETAIN_COUNT}",
                self.server.autopurge_snap_retain_count
            );
            self.note(Level::Warn, warning);
            self.server.autopurge_snap_retain_count = MIN_SNAP_RETAIN_COUNT;
        }
        if self.server.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::config("dataDir is not set"));
        }
        self.server.data_log_dir =
            self.data_log_dir.take().unwrap_or_else(|| self.server.data_dir.clone());
        self.check_address("clientPort", self.server.client_port, &self.client_port_address)
            .map(|address| self.server.client_port_address = address)?;
        match self.server.client_address_text() {
            Some(address) => self.note(Level::Info, format!("clientPortAddress is {address}")),
            None => self.note(Level::Info, "clientPort is not set".to_owned()),
        }
        self.check_address(
            "secureClientPort",
            self.server.secure_client_port,
            &self.secure_client_port_address,
        )
        .map(|address| self.server.secure_client_port_address = address)?;
        if self.server.tick_time_ms == 0 {
            return Err(ConfigError::config("tickTime is not set (tickTime=0)"));
        }
        // Java only stumbles over the timeouts it computes of a negative one.
        if self.server.tick_time_ms < 0 {
            return Err(ConfigError::config(format!(
                "tickTime={}: must be positive",
                self.server.tick_time_ms
            )));
        }
        let or_ticks = |timeout, ticks: i32| {
            // Wraps as in Java; whoever sets ticks of weeks may see it.
            if timeout == -1 { self.server.tick_time_ms.wrapping_mul(ticks) } else { timeout }
        };
        let (min, max) =
            (or_ticks(self.min_session_timeout_ms, 2), or_ticks(self.max_session_timeout_ms, 20));
        if min > max {
            return Err(ConfigError::config(format!(
                "minSessionTimeout must not be larger than maxSessionTimeout \
                 (minSessionTimeout={min}, maxSessionTimeout={max})"
            )));
        }
        (self.server.min_session_timeout_ms, self.server.max_session_timeout_ms) = (min, max);
        let class = &self.server.metrics_provider_class_name;
        if !METRICS_PROVIDERS.contains(&class.as_str()) {
            return Err(ConfigError::config(format!(
                "metrics provider class was not found (metricsProvider.className={class})"
            )));
        }
        Ok(())
    }

    /// Resolves the address that belongs to a port.
    fn check_address(
        &self,
        port_key: &str,
        port: Option<u16>,
        address: &Option<String>,
    ) -> Result<Option<IpAddr>, ConfigError> {
        let Some(host) = address else { return Ok(None) };
        if port.is_none() {
            return Err(ConfigError::config(format!(
                "{port_key}Address is set but {port_key} is not set ({port_key}Address={host})"
            )));
        }
        // Compat: InetAddress.getByName("") is the loopback address.
        let host = if host.is_empty() { "localhost" } else { host };
        let address = resolve(self.surroundings, &format!("{port_key}Address"), host)?;
        // All addresses of either family: Java's wildcard listens on both as well.
        Ok(Some(address).filter(|address| !address.is_unspecified()))
    }

    fn read_dynamic_file(&mut self, path: &str) -> Result<BTreeMap<String, String>, ConfigError> {
        let context =
            |reason: String| ConfigError::config(format!("dynamicConfigFile={path}: {reason}"));
        let bytes = self
            .surroundings
            .read_file(Path::new(path))
            .map_err(|error| context(error.to_string()))?
            .ok_or_else(|| context("No such file or directory".to_owned()))?;
        let members = load(&bytes)?;
        if members.contains_key("version") {
            return Err(ConfigError::config("dynamic file shouldn't have version inside"));
        }
        match members.keys().find(|key| !is_member_key(key)) {
            Some(key) => Err(context(format!("Unrecognised parameter: {key}"))),
            None => Ok(members),
        }
    }

    /// Java: `parseDynamicConfig`, `setupMyId`, `setupClientPort`, `setupPeerType`,
    /// `checkValidity`. The result is the server's id and whether this is an ensemble. Groups and
    /// weights are checked by the quorum's verifier.
    fn check_members(
        &mut self,
        members: &BTreeMap<String, String>,
    ) -> Result<(Option<i64>, bool), ConfigError> {
        let multi_address_enabled =
            self.system.get("zookeeper.multiAddress.enabled").is_some_and(parse_boolean);
        let mut servers = BTreeMap::new();
        for (key, line) in members {
            let Some(sid) = key.strip_prefix("server.") else { continue };
            let sid = parse_long(sid).ok_or_else(|| {
                ConfigError::config(format!("{key}={line}: {sid} is not a number"))
            })?;
            let server = QuorumServer::parse(ServerId(sid), line, multi_address_enabled)
                .map_err(|error| ConfigError { message: format!("{key}: {error}"), ..error })?;
            servers.insert(sid, server);
        }
        let voters = servers.values().filter(|server| server.is_participant()).count();
        let has_observers = voters < servers.len();
        check_roles(voters, has_observers, self.standalone_enabled)?;
        let is_distributed = voters > 1 || !self.standalone_enabled;
        if is_distributed && voters <= 2 {
            let text = "No server failure will be tolerated. You need at least 3 servers.";
            self.note(Level::Warn, text.to_owned());
        } else if is_distributed && voters.is_multiple_of(2) {
            let text = "Non-optimal configuration, consider an odd number of servers.";
            self.note(Level::Warn, text.to_owned());
        }
        if voters == 1 && !is_distributed {
            self.note(
                Level::Error,
                "Invalid configuration, only one server specified (ignoring)".to_owned(),
            );
        }
        let server_id = self.read_my_id()?;
        let own = server_id.and_then(|sid| servers.get(&sid));
        if let Some(client) = own.and_then(|server| server.client_addr.as_ref()) {
            self.take_client_address(&client.host, client.port)?;
        }
        let by_list = own.map_or(LearnerType::Participant, |server| server.learner_type);
        if by_list != self.quorum.learner_type {
            let warning = format!(
                "Peer type from servers list ({by_list}) doesn't match peerType ({}). Defaulting \
                 to servers list.",
                self.quorum.learner_type
            );
            self.note(Level::Warn, warning);
            self.quorum.learner_type = by_list;
        }
        if is_distributed {
            let limits =
                [("initLimit", self.quorum.init_limit), ("syncLimit", self.quorum.sync_limit)];
            for (key, limit) in limits {
                if limit == 0 {
                    return Err(ConfigError::config(format!("{key} is not set")));
                }
            }
            if server_id.is_none() {
                return Err(ConfigError::config("myid file is missing"));
            }
        }
        Ok((server_id, is_distributed))
    }

    /// What a member of an ensemble needs beside the settings of every server.
    fn ensemble(
        &mut self,
        server_id: i64,
        mut members: BTreeMap<String, String>,
    ) -> Result<QuorumSettings, ConfigError> {
        if let Some((key, what)) = self.refused_in_ensemble.first() {
            return Err(ConfigError::config(format!(
                "{key}: {what} is not yet in effect in this version; a server without it would be \
                 none of this ensemble"
            )));
        }
        members.retain(|key, _| is_member_key(key) || key == "version");
        let own_line = format!("server.{server_id}");
        if !members.contains_key(&own_line) {
            return Err(ConfigError::unexpected(format!("My id {server_id} not in the peer list")));
        }
        // Compat: EphemeralType.validateServerId. The id is in the top byte of session ids, and
        // 0xff there marks a time to live.
        if self.server.extended_types_enabled && server_id > MAX_EXTENDED_SERVER_ID {
            return Err(ConfigError::unexpected(format!(
                "extendedTypesEnabled is true but Server ID is too large. Cannot be larger than \
                 {MAX_EXTENDED_SERVER_ID}"
            )));
        }
        let mut quorum = std::mem::take(&mut self.quorum);
        let is_multi_address = quorum.multi_address_enabled;
        quorum.read_system_properties(&self.system)?;
        quorum.multi_address_enabled |= is_multi_address;
        if let Some(file) = &self.dynamic_config_file {
            if let Some(version) = version_from_file_name(file) {
                members.insert("version".to_owned(), version);
            }
            quorum.next_members = self.read_next_members(&quorum.config_file)?;
        }
        quorum.server_id = ServerId(server_id);
        quorum.standalone_enabled = self.standalone_enabled;
        quorum.members = members;
        Ok(quorum)
    }

    /// `<zoo.cfg>.dynamic.next`: a membership that was proposed when the server stopped.
    fn read_next_members(
        &mut self,
        config_file: &Path,
    ) -> Result<Option<BTreeMap<String, String>>, ConfigError> {
        let mut path = config_file.as_os_str().to_owned();
        path.push(NEXT_DYNAMIC_CONFIG_SUFFIX);
        match self.surroundings.read_file(Path::new(&path)) {
            Ok(bytes) => bytes.as_deref().map(load).transpose(),
            Err(error) => {
                let text = format!("NextQuorumVerifier is initiated to null: {error}");
                self.note(Level::Warn, text);
                Ok(None)
            }
        }
    }

    fn refuse_in_ensemble(&mut self, is_wanted: bool, key: &'static str, what: &'static str) {
        if is_wanted {
            self.refused_in_ensemble.push((key, what));
        }
    }

    fn read_my_id(&self) -> Result<Option<i64>, ConfigError> {
        let path = self.server.data_dir.join("myid");
        let bytes = self
            .surroundings
            .read_file(&path)
            .map_err(|error| ConfigError::config(format!("{}: {error}", path.display())))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let line = text.split(['\n', '\r']).next().unwrap_or_default();
        parse_long(line)
            .map(Some)
            .ok_or_else(|| ConfigError::config(format!("serverid {line} is not a number")))
    }

    /// The client address in the own line of the server list replaces `clientPort`; if both are
    /// set they must agree.
    fn take_client_address(&mut self, host: &str, port: u16) -> Result<(), ConfigError> {
        let address = resolve(self.surroundings, "server.N", host)?;
        let address = Some(address).filter(|address| !address.is_unspecified());
        if let Some(static_port) = self.server.client_port {
            let static_address = self.server.client_port_address;
            if static_port != port || (static_address.is_some() && static_address != address) {
                return Err(ConfigError::config(format!(
                    "client address for this server in static config file is {} and different from \
                     the client address in the list of servers: {host}:{port}",
                    self.server.client_address_text().unwrap_or_default()
                )));
            }
        }
        self.server.client_port = Some(port);
        self.server.client_port_address = address;
        Ok(())
    }

    /// Gap: no TLS yet. Serving less than asked for would be found out by clients only.
    fn check_tls(&self) -> Result<(), ConfigError> {
        let Some(port) = self.server.secure_client_port else { return Ok(()) };
        let factory = self.system.get("zookeeper.serverCnxnFactory").unwrap_or_default();
        if factory.ends_with("NettyServerCnxnFactory") {
            return Err(ConfigError::config(format!(
                "secureClientPort={port}: TLS is not yet in effect in this version"
            )));
        }
        Err(ConfigError::unexpected(format!(
            "secureClientPort={port}: SSL isn't supported in NIOServerCnxn"
        )))
    }

    fn note(&mut self, level: Level, text: String) {
        self.notes.push((level, text));
    }
}

/// The keys and values of a file, trimmed as Java does after reading.
fn load(bytes: &[u8]) -> Result<BTreeMap<String, String>, ConfigError> {
    let file = properties::load(bytes).map_err(|error| ConfigError::config(error.to_string()))?;
    Ok(file.iter().map(|(key, value)| (trim(key).to_owned(), trim(value).to_owned())).collect())
}

/// Java: `getVersionFromFilename`; `zoo.cfg.dynamic.1a` has version 1a.
fn version_from_file_name(path: &str) -> Option<String> {
    let (_, digits) = path.rsplit_once('.')?;
    i64::from_str_radix(digits, 16).ok().map(|version| format!("{version:x}"))
}

fn is_member_key(key: &str) -> bool {
    key.starts_with("server.") || key.starts_with("group") || key.starts_with("weight")
}

fn parse(key: &str, value: &str) -> Result<i32, ConfigError> {
    parse_int(value)
        .ok_or_else(|| ConfigError::config(format!("{key}={value}: not a number of 32 bits")))
}

fn long(key: &str, value: &str) -> Result<i64, ConfigError> {
    parse_long(value)
        .ok_or_else(|| ConfigError::config(format!("{key}={value}: not a number of 64 bits")))
}

fn parse_port(key: &str, value: &str) -> Result<u16, ConfigError> {
    let port = parse(key, value)?;
    u16::try_from(port)
        .map_err(|_| ConfigError::config(format!("{key}={value}: port out of range:{port}")))
}

fn strict_boolean(key: &str, value: &str) -> Result<bool, ConfigError> {
    if value.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(ConfigError::config(format!(
            "Invalid option {value} for {key}. Choose 'true' or 'false.'"
        )))
    }
}

/// A directory as written; nothing is expanded, also not `~`. Java crashes (code 1) on names of
/// less than two characters; here only the empty one is refused.
fn directory(
    key: &str,
    value: &str,
    notes: &mut Vec<(Level, String)>,
) -> Result<PathBuf, ConfigError> {
    if value.is_empty() {
        return Err(ConfigError::config(format!("{key} is empty")));
    }
    let path = PathBuf::from(value);
    notes.extend(relative_path_warning(&path).map(|warning| (Level::Warn, warning)));
    Ok(path)
}

fn relative_path_warning(path: &Path) -> Option<String> {
    let is_sure = path.is_absolute() || path.as_os_str().as_encoded_bytes().starts_with(b"./");
    let warning =
        || format!("{} is relative. Prepend ./ to indicate that you're sure!", path.display());
    (!is_sure).then(warning)
}

fn resolve(surroundings: &dyn Surroundings, key: &str, host: &str) -> Result<IpAddr, ConfigError> {
    surroundings
        .resolve(host)
        .map_err(|error| ConfigError::config(format!("{key}: {host}: {error}")))
}
