//! What the server says it is. Tools parse the version, so it is that of the ported release, with
//! our own name where Java has its git revision.

/// The release of Apache ZooKeeper whose behaviour this is.
pub const ZOOKEEPER_VERSION: &str = "3.9.4";

/// `Version.getFullVersion`: `3.9.4-zabkeeper-0.1.0, built on …`.
pub fn full() -> String {
    format!(
        "{ZOOKEEPER_VERSION}-zabkeeper-{}, built on {}",
        env!("CARGO_PKG_VERSION"),
        env!("ZABKEEPER_BUILT_ON")
    )
}
