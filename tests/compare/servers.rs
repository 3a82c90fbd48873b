//! Which servers there are to compare.

use std::path::PathBuf;
use std::sync::OnceLock;

use zabkeeper::compare::launch::Implementation;

/// The binary under test.
pub fn zabkeeper() -> Implementation {
    Implementation::Zabkeeper { binary: PathBuf::from(env!("CARGO_BIN_EXE_zabkeeper")) }
}

/// Java's server of any release; says once why there is none, and fails when it must be there.
pub fn java() -> Option<&'static Implementation> {
    static JAVA: OnceLock<Option<Implementation>> = OnceLock::new();
    JAVA.get_or_init(|| match Implementation::java_from_environment() {
        Ok(java) => Some(java),
        Err(why) => {
            let is_required = std::env::var("ZABKEEPER_REQUIRE_JAVA").is_ok_and(|v| v == "1");
            assert!(!is_required, "ZABKEEPER_REQUIRE_JAVA=1, but {why}");
            eprintln!("no Java server to compare with: {why}");
            None
        }
    })
    .as_ref()
}

/// Java's server when it is of the release that is ported: then answers must be equal.
pub fn java_of_the_port() -> Option<&'static Implementation> {
    java().filter(|java| java.version().is_some_and(|version| version.starts_with("3.9.")))
}
