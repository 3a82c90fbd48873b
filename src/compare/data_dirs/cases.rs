//! The ways in which a directory is written, left and changed before the other server gets it.

use super::log_files::Tear;
use crate::compare::launch::{SUPER_DIGEST, Setup};

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As asked to.
    Term,
    /// By `kill -9`.
    Kill,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A history, the end, the other server.
    HandOver,
    /// A stream of writes that a kill interrupts: what was acknowledged must be there.
    Stream,
    /// The same history on both servers: their logs must have the same records.
    Records,
}

/// A row of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// As `--case` takes it.
    pub name: &'static str,
    /// In one sentence.
    pub about: &'static str,
    /// What is done.
    pub kind: Kind,
    /// How the writing server ends.
    pub end: End,
    /// What is done to the last record of the log.
    pub tear: Option<Tear>,
    /// Whether all snapshots are removed.
    pub is_log_only: bool,
    /// The ending of a snapshot that must be there.
    pub snapshot_ending: Option<&'static str>,
    /// The entry of the deliberate differences for a server of Java that does not start with it.
    pub refused_by_java: Option<&'static str>,
    conf: &'static [&'static str],
    properties: &'static [&'static str],
}

const PLAIN: Case = Case {
    name: "",
    about: "",
    kind: Kind::HandOver,
    end: End::Term,
    tear: None,
    is_log_only: false,
    snapshot_ending: None,
    refused_by_java: None,
    conf: &[],
    properties: &[],
};

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        name: "snapshot-and-log",
        about: "a first snapshot and one log, ended orderly",
        ..PLAIN
    },
    Case {
        name: "log-only",
        about: "all snapshots removed, killed",
        end: End::Kill,
        is_log_only: true,
        conf: &["snapshot.trust.empty=true"],
        properties: &["zookeeper.snapshot.trust.empty=true"],
        ..PLAIN
    },
    Case {
        name: "many-files",
        about: "many snapshots and logs, killed",
        end: End::Kill,
        conf: &["snapCount=20", "preAllocSize=64"],
        ..PLAIN
    },
    Case {
        name: "gz",
        about: "snapshots compressed with gzip",
        snapshot_ending: Some(".gz"),
        conf: &["snapCount=20", "snapshot.compression.method=gz"],
        ..PLAIN
    },
    Case {
        name: "snappy",
        about: "snapshots compressed with snappy",
        snapshot_ending: Some(".snappy"),
        conf: &["snapCount=20", "snapshot.compression.method=snappy"],
        ..PLAIN
    },
    Case {
        name: "killed",
        about: "kill -9 in the middle of a stream of writes",
        kind: Kind::Stream,
        end: End::Kill,
        conf: &["snapCount=200"],
        ..PLAIN
    },
    Case {
        name: "torn-tail",
        about: "the log ends within its last record",
        end: End::Kill,
        tear: Some(Tear::Cut),
        ..PLAIN
    },
    Case {
        name: "unwritten-tail",
        about: "half of the last record of the log was never written",
        end: End::Kill,
        tear: Some(Tear::Zeros),
        ..PLAIN
    },
    Case {
        name: "damaged-tail",
        about: "the last record of the log does not fit its checksum",
        end: End::Kill,
        tear: Some(Tear::Flip),
        refused_by_java: Some("torn-tail"),
        ..PLAIN
    },
    Case {
        name: "no-digests",
        about: "without digests in log and snapshot",
        properties: &["zookeeper.digest.enabled=false"],
        ..PLAIN
    },
    Case {
        name: "old-style",
        about: "closeSession without paths, snapshots without the last zxid, as older servers write them",
        end: End::Kill,
        conf: &["closeSessionTxn.enabled=false", "serializeLastProcessedZxid.enabled=false"],
        properties: &["zookeeper.serializeLastProcessedZxid.enabled=false"],
        ..PLAIN
    },
    Case {
        name: "records",
        about: "the same history on both: equal records in the logs",
        kind: Kind::Records,
        ..PLAIN
    },
];

impl Case {
    /// The case of a name.
    pub fn named(name: &str) -> Option<&'static Case> {
        CASES.iter().find(|case| case.name == name)
    }

    /// What both servers are started with.
    pub fn setup(&self) -> Setup {
        let mut setup = Setup::new(
            &[
                "extendedTypesEnabled=true",
                "4lw.commands.whitelist=*",
                "minSessionTimeout=1000",
                "maxSessionTimeout=120000",
            ],
            &["znode.container.checkIntervalMs=3600000"],
        );
        setup.conf.extend(self.conf.iter().map(|line| (*line).to_owned()));
        setup.properties.extend(self.properties.iter().map(|line| (*line).to_owned()));
        setup
            .properties
            .push(format!("zookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"));
        setup
    }
}
