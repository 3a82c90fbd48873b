//! What Java 3.9.4 said to the same configurations: exit codes, refusals, effective values.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;

use super::options::{OPTIONS, Status, find, options_markdown};
use super::surroundings::Surroundings;
use super::*;
use crate::common::exit_code::ExitCode;

/// A machine with a few files and one name.
struct Fake(&'static [(&'static str, &'static str)]);

impl Surroundings for Fake {
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let found = self.0.iter().find(|(name, _)| path == Path::new(name));
        Ok(found.map(|(_, text)| text.as_bytes().to_vec()))
    }

    fn resolve(&self, host: &str) -> io::Result<IpAddr> {
        if host == "localhost" { "127.0.0.1" } else { host }
            .parse()
            .map_err(|_| io::Error::other("Name or service not known"))
    }

    fn cores(&self) -> usize {
        32
    }
}

const BASE: &str = "dataDir=/data\nclientPort=2181\n";

fn parse_on(files: &'static [(&str, &str)], text: &str) -> Result<Configuration, ConfigError> {
    let system = SystemProperties::default();
    Configuration::from_file(text.as_bytes(), "zoo.cfg", &system, &Fake(files))
}

fn parse(text: &str) -> ServerConfig {
    parse_on(&[], &format!("{BASE}{text}")).unwrap().server
}

fn check_refused(text: &str, code: ExitCode, part: &str) {
    check_text_refused(&format!("{BASE}{text}"), code, part);
}

fn check_text_refused(text: &str, code: ExitCode, part: &str) {
    let error = parse_on(&[], text).unwrap_err();
    assert_eq!(error.exit_code(), code, "{text}: {error}");
    assert!(error.message.contains(part), "{text}: {error}");
}

#[test]
fn defaults_are_javas() {
    let config = parse("");
    let expected = ServerConfig {
        data_dir: "/data".into(),
        data_log_dir: "/data".into(),
        client_port: Some(2181),
        initial_config: BASE.to_owned(),
        nio_num_selector_threads: 4,
        system_properties: [("zookeeper.dummy".to_owned(), String::new())].into(),
        ..ServerConfig::default()
    };
    assert_eq!(
        ServerConfig { system_properties: expected.system_properties.clone(), ..config },
        expected
    );
}

#[test]
fn invalid_files_end_with_code_2() {
    for (text, part) in [
        ("tickTime=0", "tickTime is not set"),
        ("tickTime=-5", "must be positive"),
        ("tickTime=abc", "tickTime=abc"),
        ("tickTime=0x10", "tickTime=0x10"),
        ("minSessionTimeout=100\nmaxSessionTimeout=50", "minSessionTimeout must not be larger"),
        ("electionAlg=2", "Only 3 is supported"),
        ("syncEnabled=yes", "Invalid option yes for syncEnabled. Choose 'true' or 'false.'"),
        (
            "clientPortAddress=no.such.host.invalid",
            "no.such.host.invalid: Name or service not known",
        ),
        ("clientPort=70000", "port out of range:70000"),
        ("clientPort=-1", "port out of range:-1"),
        ("secureClientPortAddress=::1", "secureClientPort is not set"),
        ("metricsProvider.className=foo.Bar", "metrics provider class was not found"),
        ("server.1=localhost", "does not have the form"),
        ("server.x=localhost:2888:3888", "x is not a number"),
        ("server.1=localhost:2888:3888:observer", "Observers w/o participants"),
        ("server.1=h:2888:3888\nserver.2=h:2889:3889:observer", "Observers w/o quorum"),
        ("server.1=h:2888:3888\nserver.2=h:2889:3889", "initLimit is not set"),
        ("initLimit=1\nserver.1=h:1:2\nserver.2=h:3:4", "syncLimit is not set"),
        ("initLimit=1\nsyncLimit=1\nserver.1=h:1:2\nserver.2=h:3:4", "myid file is missing"),
        ("standaloneEnabled=false", "number of participants should be >0"),
        ("foo=\\u12", "Malformed \\uxxxx encoding."),
        ("peerType=king", "Unrecognised peertype: king"),
        ("quorum.auth.serverRequireSasl=true", "quorum.auth.enableSasl is disabled"),
        ("quorum.auth.learnerRequireSasl=true", "quorum.auth.enableSasl is disabled"),
        (
            "quorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true",
            "learnerRequireSasl is disabled",
        ),
        ("autopurge.purgeInterval=x", "autopurge.purgeInterval=x"),
        ("dynamicConfigFile=/none", "/none: No such file or directory"),
        (
            "dynamicConfigFile=/none\nserver.1=h:1:2",
            "server.1 must be in a separate dynamic config file",
        ),
        ("enforce.auth.enabled=true", "zookeeper.enforce.auth.schemes must be"),
        ("dataDir=", "dataDir is empty"),
    ] {
        check_refused(text, ExitCode::InvalidInvocation, part);
    }
    let code = ExitCode::InvalidInvocation;
    check_text_refused("clientPort=2181", code, "zoo.cfg: dataDir is not set");
    check_text_refused("dataDir=/d\nclientPortAddress=::1", code, "clientPort is not set");
}

#[test]
fn settings_that_break_a_part_end_with_code_1() {
    for (text, part) in [
        ("secureClientPort=2281", "SSL isn't supported in NIOServerCnxn"),
        ("intBufferStartingSizeBytes=31", "Buffer starting size (31)"),
        ("watchManagerName=foo", "Couldn't instantiate zookeeper.watchManagerName=foo"),
        ("serverCnxnFactory=foo", "Couldn't instantiate zookeeper.serverCnxnFactory=foo"),
        ("nio.numSelectorThreads=0", "numSelectorThreads must be at least 1"),
        ("connection_throttle_drop_increase=abc", "connection_throttle_drop_increase=abc"),
    ] {
        check_refused(text, ExitCode::UnexpectedError, part);
    }
}

#[test]
fn errors_have_javas_lines() {
    let error = parse_on(&[], "").unwrap_err();
    assert_eq!(error.headline(), "Invalid config, exiting abnormally");
    assert_eq!(error.stderr_line(), Some("Invalid config, exiting abnormally"));
    let error = Configuration::from_args(&[], &SystemProperties::default()).unwrap_err();
    assert_eq!(error.headline(), "Invalid arguments, exiting abnormally");
    assert_eq!(
        (error.stderr_line(), error.exit_code()),
        (Some(USAGE), ExitCode::InvalidInvocation)
    );
}

#[test]
fn keys_of_the_file_are_read_as_java_does() {
    let config = parse("tickTime=+2000\nmaxClientCnxns=-1\nsyncEnabled=TRUE");
    assert_eq!((config.tick_time_ms, config.max_client_cnxns), (2000, -1));
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (4000, 40_000));
    let config = parse("minSessionTimeout=1\nmaxSessionTimeout=5\ndataLogDir=/log\nfoo=bar");
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (1, 5));
    assert_eq!(config.data_log_dir, Path::new("/log"));
    assert_eq!(config.system_properties.get("zookeeper.foo").map(String::as_str), Some("bar"));
    let config = parse("clientPortAddress=localhost\njvm.pause.sleep.time.ms=50000000000");
    assert_eq!(config.client_address_text().as_deref(), Some("127.0.0.1:2181"));
    assert_eq!(config.jvm_pause_sleep_time_ms, 50_000_000_000);
    assert_eq!(parse("clientPortAddress=0.0.0.0").client_port_address, None);
    assert_eq!(parse("clientPortAddress=::1").client_address_text().as_deref(), Some("[::1]:2181"));
    assert_eq!(parse("autopurge.snapRetainCount=1").autopurge_snap_retain_count, 3);
    assert_eq!(parse("clientPort : 0 ").client_port, Some(0));
    assert_eq!(parse_on(&[], "dataDir=~/d").unwrap().server.client_port, None);
}

#[test]
fn odd_numbers_are_read_as_java_does() {
    let config = parse(
        "snapCount=0x10\ncommitLogCount=abc\nsnapshotSizeFactor=zz\npreAllocSize=qq\n\
         largeRequestMaxBytes=-1\nlargeRequestThreshold=-7\nmaxBatchSize=010\nflushDelay=9",
    );
    assert_eq!(
        (config.snap_count, config.commit_log_count, config.pre_alloc_size_kb),
        (16, 500, 65_536)
    );
    assert_eq!(
        (config.large_request_max_bytes, config.large_request_threshold_bytes),
        (104_857_600, -1)
    );
    assert_eq!((config.max_batch_size, config.flush_delay_ms), (8, 9));
    assert_eq!(config.max_write_queue_poll_time_ms, 3);
    assert_eq!(config.snapshot_size_factor.to_bits(), 0.33_f64.to_bits());
    let config = parse("snapCount=1\nsnapshotSizeFactor=-1\ncommitLogCount=600\nforceSync=NO");
    assert_eq!((config.snap_count, config.commit_log_count, config.force_sync), (2, 600, true));
    assert!(config.snapshot_size_factor < 0.0);
    let config = parse("forceSync=no\nskipACL=yes\ndigest.enabled=on\nextendedTypesEnabled=True");
    assert!(!config.force_sync && config.skip_acl && !config.digest_enabled);
    assert!(config.extended_types_enabled);
    let config = parse("snapshot.compression.method=GZ\njute.maxbuffer.extrasize=5");
    assert_eq!(config.snapshot_compression_method, SnapshotCompression::Gz);
    assert_eq!(config.jute_maxbuffer_extrasize, 1024);
    let config = parse(
        "connection_throttle_local_session_weight=5\nconnection_throttle_renew_session_weight=-1",
    );
    assert_eq!(config.connection_throttle_global_session_weight, 5);
    assert_eq!(config.connection_throttle_local_session_weight, 5);
    assert_eq!(config.connection_throttle_renew_session_weight, 2);
}

fn with_flags(flags: &str, text: &str) -> Configuration {
    let mut system = SystemProperties::default();
    system.take_flags(split_words(flags));
    let text = format!("{BASE}{text}");
    Configuration::from_file(text.as_bytes(), "zoo.cfg", &system, &Fake(&[])).unwrap()
}

#[test]
fn file_wins_over_flags_but_cannot_set_unprefixed_ones() {
    let config = with_flags("-Dzookeeper.snapCount=88 -Dzookeeper.maxBatchSize=33", "snapCount=77");
    assert_eq!((config.server.snap_count, config.server.max_batch_size), (77, 33));
    let text = "readonlymode.enabled=true\njute.maxbuffer=5\nznode.container.checkIntervalMs=1";
    let config = with_flags("", text).server;
    assert_eq!((config.readonlymode_enabled, config.jute_maxbuffer), (false, 0xf_ffff));
    assert_eq!(config.znode_container_check_interval_ms, 60_000);
    let flags = "-Dreadonlymode.enabled=true -Djute.maxbuffer=0x5 -Dfsync.warningthresholdms=7 \
                 -Dznode.container.checkIntervalMs=1 -Dzookeeper.authProvider.1=a.B";
    let config = with_flags(flags, "").server;
    assert_eq!((config.readonlymode_enabled, config.jute_maxbuffer), (true, 5));
    assert_eq!(config.znode_container_check_interval_ms, 1);
    assert_eq!(config.fsync_warning_threshold_ms, 7);
    assert_eq!(config.auth_providers, [("1".to_owned(), "a.B".to_owned())]);
}

#[test]
fn one_server_line_is_a_standalone_server() {
    let files = &[("/data/myid", "1\n")];
    let text = format!("{BASE}server.1=localhost:2888:3888");
    let configuration = parse_on(files, &text).unwrap();
    assert_eq!(configuration.server_id, Some(1));
    assert!(configuration.notes.iter().any(|(_, text)| text.contains("only one server specified")));
    let line = "dataDir=/data\nserver.1=h:2888:3888;localhost:2182";
    let config = parse_on(files, line).unwrap().server;
    assert_eq!(config.client_address_text().as_deref(), Some("127.0.0.1:2182"));
    let error = parse_on(files, &format!("clientPort=2181\n{line}")).unwrap_err();
    assert!(error.message.contains("different"), "{error}");
    assert!(
        parse_on(&[("/data/myid", " 1")], &text)
            .unwrap_err()
            .message
            .contains("serverid  1 is not")
    );
}

const LIMITS: &str = "initLimit=5\nsyncLimit=2\n";

fn ensemble(files: &'static [(&str, &str)], text: &str) -> Result<Configuration, ConfigError> {
    parse_on(files, &format!("{BASE}{LIMITS}{text}"))
}

#[test]
fn ensemble_has_settings_of_its_own() {
    let files = &[
        ("/data/myid", "2"),
        ("/dyn.1A", "server.1=h:1:2;0.0.0.0:2181\nserver.2=h:3:4;2181\ngroup.1=1:2"),
        ("zoo.cfg.dynamic.next", "server.9=h:1:2\nversion=5"),
    ];
    let text = "server.1=h:1:2\nserver.2=h:3:4:observer\nserver.3=h:5:6\npeerType=participant\n\
                localSessionsEnabled=true\nquorum.cnxn.threads.size=3\noraclePath=/oracle\n\
                connectToLearnerMasterLimit=7\nsyncEnabled=false\nleaderServes=no";
    let configuration = ensemble(files, text).unwrap();
    let quorum = configuration.quorum.unwrap();
    assert_eq!((quorum.server_id.0, quorum.init_limit, quorum.sync_limit), (2, 5, 2));
    assert_eq!(quorum.learner_type, LearnerType::Observer);
    assert_eq!(quorum.connect_to_learner_master_limit, 7);
    assert!(quorum.local_sessions_enabled && !quorum.sync_enabled);
    assert!(!quorum.leader_serves);
    assert_eq!(quorum.quorum_cnxn_threads_size, 20);
    assert_eq!(quorum.members.keys().collect::<Vec<_>>(), ["server.1", "server.2", "server.3"]);
    assert_eq!((quorum.config_file.as_path(), quorum.next_members), (Path::new("zoo.cfg"), None));

    let quorum = ensemble(files, "dynamicConfigFile=/dyn.1A").unwrap().quorum.unwrap();
    assert!(quorum.members.contains_key("group.1"));
    assert_eq!(quorum.members.get("version").map(String::as_str), Some("1a"));
    assert!(quorum.next_members.unwrap().contains_key("server.9"));

    // Without a standalone mode one voter is an ensemble.
    let text = "standaloneEnabled=false\nserver.2=h:1:2";
    assert!(ensemble(files, text).unwrap().quorum.is_some());
    assert!(ensemble(files, "server.2=h:1:2").unwrap().quorum.is_none());
}

#[test]
fn ensemble_warns_of_numbers_that_help_nobody() {
    let files = &[("/data/myid", "1")];
    let line = |n: u8| format!("server.{n}=h:{n}:1{n}\n");
    for (voters, expected) in [(2, "No server failure"), (3, ""), (4, "Non-optimal"), (5, "")] {
        let text: String = (1..=voters).map(line).collect();
        let notes = ensemble(files, &text).unwrap().notes;
        let has = |part| notes.iter().any(|(_, note)| note.starts_with(part));
        assert_eq!(has("No server failure"), expected == "No server failure", "{voters}");
        assert_eq!(has("Non-optimal"), expected == "Non-optimal", "{voters}");
        assert!(!has("Settings of ensembles"));
    }
}

#[test]
fn ensemble_refuses_what_it_cannot_do() {
    let files = &[("/data/myid", "1")];
    let (config, start) = (ExitCode::InvalidInvocation, ExitCode::UnexpectedError);
    for (text, code, part) in [
        ("sslQuorum=true", config, "sslQuorum: TLS between servers is not yet in effect"),
        ("portUnification=true", config, "portUnification: TLS between servers is not yet"),
        ("reconfigEnabled=true", config, "reconfigEnabled: dynamic reconfiguration is not yet"),
        ("quorum.auth.enableSasl=true", config, "quorum.auth.enableSasl: SASL between servers"),
        ("observerMasterPort=3999", config, "observerMasterPort: ObserverMaster is not yet"),
        ("commitProcessor.maxCommitBatchSize=0", start, "maxCommitBatchSize must be positive"),
    ] {
        let members = "server.1=h:1:2\nserver.2=h:3:4\n";
        let error = ensemble(files, &format!("{members}{text}")).unwrap_err();
        assert_eq!(error.exit_code(), code, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
        // A standalone server goes on without.
        parse_on(files, &format!("{BASE}{text}")).unwrap();
    }
    let error = ensemble(files, "server.3=h:1:2\nserver.2=h:3:4").unwrap_err();
    assert_eq!(error.exit_code(), start);
    assert!(error.message.contains("My id 1 not in the peer list"), "{error}");
    let text = "server.255=h:1:2\nserver.2=h:3:4\nextendedTypesEnabled=true";
    let error = ensemble(&[("/data/myid", "255")], text).unwrap_err();
    assert!(error.message.contains("Cannot be larger than 254"), "{error}");
}

#[test]
fn short_form_is_port_directory_tick_and_connections() {
    let check = |args: &[&str]| {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Configuration::from_args_on(&args, &SystemProperties::default(), &Fake(&[]))
            .map(|configuration| configuration.server)
            .map_err(|error| (error.kind, error.message))
    };
    let config = check(&["2181", "d"]).unwrap();
    assert_eq!((config.client_port, config.max_client_cnxns), (Some(2181), 0));
    assert_eq!((config.tick_time_ms, config.max_session_timeout_ms), (3000, 60_000));
    assert_eq!(
        (config.data_dir.as_path(), config.data_log_dir.as_path()),
        (Path::new("d"), Path::new("d"))
    );
    let config = check(&["2181", "d", "100", "7"]).unwrap();
    assert_eq!((config.min_session_timeout_ms, config.max_client_cnxns), (200, 7));
    for (args, part) in [
        (&["x", "d"][..], "port=x"),
        (&["1", "d", "0"], "ticktime=0"),
        (&["1", "d", "3", "x"], "maxcnxns=x"),
        (&[], "Invalid number of arguments:[]"),
        (&["1", "2", "3", "4", "5"], "Invalid number of arguments"),
    ] {
        let (kind, message) = check(args).unwrap_err();
        assert_eq!(kind, ConfigErrorKind::Arguments);
        assert!(message.contains(part), "{message}");
    }
    let (kind, message) = check(&["none.cfg"]).unwrap_err();
    assert_eq!(
        (kind, message.as_str()),
        (ConfigErrorKind::Config, "Error processing none.cfg: none.cfg file is missing")
    );
}

#[test]
fn notes_name_what_has_no_effect() {
    let text = "admin.serverPort=8080\naudit.enable=false\ninitLimit=5\nnio.numWorkerThreads=2\n\
                jute.maxbuffer=5\nfoo=1\nssl.keyStore.password=secret";
    let notes: Vec<_> = with_flags("-Dzookeeper.audit.impl.class=x", text)
        .notes
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let expected = [
        "clientPortAddress is 0.0.0.0:2181",
        "Settings that are not yet in effect in this version: admin.serverPort, \
         ssl.keyStore.password, zookeeper.audit.impl.class",
        "Settings of ensembles, without effect in standalone mode: initLimit",
        "Settings accepted but not needed by this server: nio.numWorkerThreads",
        "Settings without effect in a configuration file: jute.maxbuffer (set -Djute.maxbuffer)",
        "Unknown settings, ignored: foo",
    ];
    assert_eq!(notes, expected);
    let class = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
    let text = format!("metricsProvider.className={class}\nmetricsProvider.httpPort=7000");
    let notes = with_flags("", &text).notes;
    let (_, last) = notes.last().unwrap();
    assert_eq!(
        last,
        "Settings that are not yet in effect in this version: \
         metricsProvider.className=…PrometheusMetricsProvider, metricsProvider.httpPort"
    );
}

#[test]
fn table_is_well_formed() {
    let rows = include_str!("options.tsv").lines().count() - 1;
    assert_eq!(OPTIONS.len(), rows);
    let keys: BTreeSet<_> = OPTIONS.iter().map(|option| option.key).collect();
    assert_eq!(keys.len(), rows);
    assert_eq!(find("server.12").map(|option| option.key), Some("server.N"));
    assert_eq!(find("metricsProvider.x").map(|option| option.key), Some("metricsProvider.*"));
    assert_eq!(
        find("metricsProvider.httpHost").map(|option| option.key),
        Some("metricsProvider.httpHost")
    );
    assert_eq!((find("servers"), find("server.")), (None, find("server.1")));
    assert_eq!(options_markdown().lines().count(), rows + 2);
}

/// Every property the code reads is in effect by the table, and the other way round.
#[test]
fn table_and_code_agree() {
    let code = concat!(include_str!("server_config.rs"), include_str!("quorum_settings.rs"));
    let read = |option: &super::options::ConfigOption| {
        option
            .property
            .is_some_and(|name| code.contains(&format!("\"{}\"", name.trim_end_matches("<n>"))))
    };
    for option in OPTIONS.iter() {
        match option.status {
            Status::InEffect if option.property.is_some() => {
                assert!(read(option), "{}", option.key)
            }
            Status::InEffect => {
                let parser = include_str!("quorum_peer_config.rs");
                let name = option.key.trim_end_matches('N').trim_end_matches('.');
                let is_read =
                    ["", "."].iter().any(|dot| parser.contains(&format!("\"{name}{dot}\"")));
                assert!(is_read, "{}", option.key);
            }
            Status::NoEffect(reason) => {
                assert_eq!(
                    read(option),
                    reason.starts_with("checked only") && option.key != "electionAlg",
                    "{}",
                    option.key
                );
            }
            // Fields that wait for their part.
            Status::NotYet => {
                let waits = option.key == "allowSaslFailedClients";
                assert_eq!(read(option), waits, "{}", option.key);
            }
            Status::OtherVersion | Status::Client | Status::Scripts => {
                assert!(!read(option), "{}", option.key)
            }
        }
    }
}

#[test]
fn sample_file_is_valid() {
    let text = include_str!("../../../conf/zoo_sample.cfg");
    let config = parse_on(&[], text).unwrap().server;
    assert_eq!((config.tick_time_ms, config.client_port), (2000, Some(2181)));
}

proptest! {
    #[test]
    fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_config(&bytes);
    }

    #[test]
    fn no_value_panics(index in 0..OPTIONS.len(), value in "\\PC{0,12}|-?[0-9]{1,20}|[a-z:;|\\[\\]0-9]{0,20}") {
        let key = OPTIONS[index].key.replace('N', "1").replace("<n>", "1").replace('*', "x");
        let _ = parse_config(format!("{BASE}{key}={value}").as_bytes());
    }
}
