//! The exit codes of the server process (Java: `o.a.z.server.ExitCode`). Scripts and supervisors
//! rely on the numbers.

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// 0: ended normally.
    ExecutionFinished,
    /// 1: an unexpected error, an I/O error or a failed critical thread for example.
    UnexpectedError,
    /// 2: wrong arguments or an invalid configuration.
    InvalidInvocation,
    /// 3: the data directory is missing or cannot be used.
    UnableToAccessDatadir,
    /// 4: the admin server could not be started.
    ErrorStartingAdminServer,
    /// 10: a snapshot could not be taken.
    TxnlogErrorTakingSnapshot,
    /// 12: a COMMIT does not name the oldest pending proposal.
    UnmatchedTxnCommit,
    /// 13: an unexpected packet from the leader, or the log cannot be truncated.
    QuorumPacketError,
    /// 14: the election port could not be bound.
    UnableToBindQuorumPort,
}

impl ExitCode {
    /// The number the process ends with.
    #[must_use]
    pub const fn value(self) -> u8 {
        match self {
            Self::ExecutionFinished => 0,
            Self::UnexpectedError => 1,
            Self::InvalidInvocation => 2,
            Self::UnableToAccessDatadir => 3,
            Self::ErrorStartingAdminServer => 4,
            Self::TxnlogErrorTakingSnapshot => 10,
            Self::UnmatchedTxnCommit => 12,
            Self::QuorumPacketError => 13,
            Self::UnableToBindQuorumPort => 14,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.value())
    }
}
