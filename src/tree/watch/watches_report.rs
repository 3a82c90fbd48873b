//! `WatchesSummary`, and the texts of the words `wchs`, `wchc` and `wchp`.

use std::fmt;

/// Numbers of the data watches. Java's words do not look at the child watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchesSummary {
    /// Connections that have, or had, watches.
    pub num_connections: usize,
    /// Paths with watches.
    pub num_paths: usize,
    /// Pairs of connection and path.
    pub num_total_watches: usize,
}

/// The answer to `wchs`, without a line end.
impl fmt::Display for WatchesSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} connections watching {} paths", self.num_connections, self.num_paths)?;
        write!(f, "Total watches:{}", self.num_total_watches)
    }
}
