//! Why a configuration is refused, and what Java prints and returns then.

use crate::common::exit_code::ExitCode;

/// Who is at fault, by Java's three ways out of `QuorumPeerMain.main`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigErrorKind {
    /// The configuration file (Java: `ConfigException`).
    Config,
    /// The command line, or a system property that a class checks itself (Java:
    /// `IllegalArgumentException`). The usage is printed.
    Arguments,
    /// A setting that makes a part fail while it is built (Java: any other exception).
    Unexpected,
}

/// A refused configuration. The message names the key and the value at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Who is at fault.
    pub kind: ConfigErrorKind,
    /// What is wrong.
    pub message: String,
}

/// What `zabkeeper server` takes, printed to standard error after wrong arguments.
pub const USAGE: &str = "Usage: zabkeeper server configfile | port datadir [ticktime] [maxcnxns]";

impl ConfigError {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self { kind: ConfigErrorKind::Config, message: message.into() }
    }

    pub(crate) fn arguments(message: impl Into<String>) -> Self {
        Self { kind: ConfigErrorKind::Arguments, message: message.into() }
    }

    pub(crate) fn unexpected(message: impl Into<String>) -> Self {
        Self { kind: ConfigErrorKind::Unexpected, message: message.into() }
    }

    /// Puts the name of the file in front.
    pub(crate) fn in_file(mut self, path: &str) -> Self {
        if self.kind == ConfigErrorKind::Config {
            self.message = format!("Error processing {path}: {}", self.message);
        }
        self
    }

    /// The code the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self.kind {
            ConfigErrorKind::Config | ConfigErrorKind::Arguments => ExitCode::InvalidInvocation,
            ConfigErrorKind::Unexpected => ExitCode::UnexpectedError,
        }
    }

    /// Java's line for the log; supervisors look for it.
    #[must_use]
    pub const fn headline(&self) -> &'static str {
        match self.kind {
            ConfigErrorKind::Config => "Invalid config, exiting abnormally",
            ConfigErrorKind::Arguments => "Invalid arguments, exiting abnormally",
            ConfigErrorKind::Unexpected => "Unexpected exception, exiting abnormally",
        }
    }

    /// What goes to standard error beside the log.
    #[must_use]
    pub const fn stderr_line(&self) -> Option<&'static str> {
        match self.kind {
            ConfigErrorKind::Config => Some("Invalid config, exiting abnormally"),
            ConfigErrorKind::Arguments => Some(USAGE),
            ConfigErrorKind::Unexpected => None,
        }
    }
}
