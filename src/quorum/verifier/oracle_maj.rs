//! Two voters of which one may go on alone if an oracle says so (Java: `QuorumOracleMaj`).
//!
//! The oracle is a file: its first character is `1` for "go on". It is read for each question.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::error;

use super::maj::QuorumMaj;
use super::members::Members;
use crate::proto::ServerId;

/// Says whether a server may go on without the other.
pub trait Oracle: Send + Sync {
    /// The answer now; false if there is none.
    fn ask(&self) -> bool;
}

/// The oracle of `oraclePath`.
#[derive(Debug, Clone)]
pub struct FileOracle {
    path: PathBuf,
}

impl FileOracle {
    /// An oracle that speaks through the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Oracle for FileOracle {
    fn ask(&self) -> bool {
        let mut first = [0];
        match File::open(&self.path).and_then(|mut file| file.read_exact(&mut first)) {
            Ok(()) => first == *b"1",
            Err(error) => {
                error!("Cannot read the oracle {}: {error}", self.path.display());
                false
            }
        }
    }
}

/// Decides by number, or by the oracle.
pub struct QuorumOracleMaj {
    maj: QuorumMaj,
    oracle: Arc<dyn Oracle>,
    /// Written by the leader's tick, read wherever a quorum is asked for; nothing else depends on
    /// it, so relaxed accesses do.
    needs_oracle: AtomicBool,
}

impl fmt::Debug for QuorumOracleMaj {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumOracleMaj").field("maj", &self.maj).finish_non_exhaustive()
    }
}

impl QuorumOracleMaj {
    /// A majority of the voters among `members`, or with two voters the oracle's word.
    #[must_use]
    pub fn new(members: Members, oracle: Arc<dyn Oracle>) -> Self {
        Self { maj: QuorumMaj::new(members), oracle, needs_oracle: AtomicBool::new(true) }
    }

    /// Whom it is about.
    #[must_use]
    pub const fn members(&self) -> &Members {
        self.maj.members()
    }

    pub(super) const fn oracle(&self) -> &Arc<dyn Oracle> {
        &self.oracle
    }

    /// Notes whether the leader has any follower; the oracle is needed if it has none of one.
    pub fn update_need_oracle(&self, has_followers: bool) -> bool {
        let needs = !has_followers && self.members().voting.len() == 2;
        self.needs_oracle.store(needs, Ordering::Relaxed);
        needs
    }

    /// Whether the oracle counts; true until a leader has had a follower.
    #[must_use]
    pub fn needs_oracle(&self) -> bool {
        self.needs_oracle.load(Ordering::Relaxed)
    }

    /// What the oracle says now.
    #[must_use]
    pub fn ask_oracle(&self) -> bool {
        self.oracle.ask()
    }

    /// Whether `acks` is a majority, or the oracle stands in for one.
    #[must_use]
    pub fn contains_quorum(&self, acks: &BTreeSet<ServerId>) -> bool {
        self.maj.contains_quorum(acks)
            || (self.members().voting.len() <= 2 && self.needs_oracle() && self.ask_oracle())
    }
}
