//! How the servers of a scenario are configured.

use super::launch::{SUPER_DIGEST, Setup};

/// A configuration with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Flavor {
    /// As scenarios name it.
    pub name: &'static str,
    conf: &'static [&'static str],
    properties: &'static [&'static str],
    tick_ms: u32,
}

impl Flavor {
    /// The flavour of a name.
    pub fn named(name: &str) -> Option<&'static Flavor> {
        FLAVORS.iter().find(|flavor| flavor.name == name)
    }

    /// What to start servers with: also the super user, whom the comparison needs.
    pub fn setup(&self) -> Setup {
        let mut setup = Setup::new(self.conf, self.properties).tick(self.tick_ms);
        setup
            .properties
            .push(format!("zookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"));
        setup
    }
}

/// Everything on: all four-letter words, TTL nodes, sessions up to a minute; the reaper hardly ever.
/// Servers that somebody else started are taken to be like it.
pub const PLAIN: &Flavor = &FLAVORS[0];

/// For random sequences: as plain, without waiting for the disk.
pub const RANDOM: &Flavor = &FLAVORS[1];

/// All of them.
pub const FLAVORS: &[Flavor] = &[
    Flavor {
        name: "plain",
        conf: &[
            "4lw.commands.whitelist=*",
            "extendedTypesEnabled=true",
            "minSessionTimeout=5000",
            "maxSessionTimeout=60000",
        ],
        properties: &["znode.container.checkIntervalMs=3600000"],
        tick_ms: 500,
    },
    Flavor {
        name: "random",
        conf: &[
            "4lw.commands.whitelist=*",
            "extendedTypesEnabled=true",
            "minSessionTimeout=1000",
            "maxSessionTimeout=60000",
            "enforceQuota=true",
            "forceSync=no",
            "snapCount=10000",
        ],
        properties: &["znode.container.checkIntervalMs=3600000"],
        tick_ms: 500,
    },
    // For undecodable writes: two transactions of one zxid bring Java's ensembles to a standstill.
    Flavor {
        name: "mangled",
        conf: &["extendedTypesEnabled=true"],
        properties: &["znode.container.checkIntervalMs=3600000"],
        tick_ms: 500,
    },
    // For one scenario alone, which reads the root: that remembers what ran before.
    Flavor {
        name: "fresh",
        conf: &[],
        properties: &["znode.container.checkIntervalMs=3600000"],
        tick_ms: 500,
    },
    Flavor {
        name: "defaults",
        conf: &[],
        properties: &["znode.container.checkIntervalMs=3600000"],
        tick_ms: 500,
    },
    // A small `jute.maxbuffer`. In zoo.cfg the key has no effect, for it has no `zookeeper.` prefix;
    // nor has the interval of the reaper.
    Flavor {
        name: "small",
        conf: &["jute.maxbuffer=200", "some.unknown.key=accepted"],
        properties: &["jute.maxbuffer=1000"],
        tick_ms: 500,
    },
    Flavor { name: "enforced", conf: &["enforceQuota=true"], properties: &[], tick_ms: 500 },
    Flavor {
        name: "reaping",
        conf: &["extendedTypesEnabled=true", "maxSessionTimeout=60000"],
        properties: &["znode.container.checkIntervalMs=300"],
        tick_ms: 500,
    },
    // Short sessions, so that expiry is seen soon.
    Flavor {
        name: "quick",
        conf: &["minSessionTimeout=400", "maxSessionTimeout=60000"],
        properties: &["zookeeper.nio.sessionlessCnxnTimeout=2000"],
        tick_ms: 200,
    },
    // Its server may not survive.
    Flavor { name: "poison", conf: &["extendedTypesEnabled=true"], properties: &[], tick_ms: 500 },
    Flavor {
        name: "skip_acl",
        conf: &["skipACL=yes", "reconfigEnabled=true", "4lw.commands.whitelist=ruok, isro"],
        properties: &[],
        tick_ms: 500,
    },
];
