//! Small ensembles and transactions for the tests of the pure state machines.

use std::sync::Arc;

use crate::proto::txn::ErrorTxn;
use crate::proto::{OpCode, SessionId, Txn, TxnHeader, TxnLogEntry, Zxid};
use crate::quorum::verifier::{QuorumVerifier, VerifierOptions};

/// A majority of these servers.
pub(crate) fn voters(ids: &[i64]) -> Arc<QuorumVerifier> {
    observers_and_voters(&[], ids)
}

/// A majority of `voters`; `observers` have no vote.
pub(crate) fn observers_and_voters(observers: &[i64], voters: &[i64]) -> Arc<QuorumVerifier> {
    let line = |id: &i64, role| format!("server.{id}=host{id}:2888:3888:{role}\n");
    let text: String = voters.iter().map(|id| line(id, "participant")).collect();
    let text = observers.iter().fold(text, |text, id| text + &line(id, "observer"));
    Arc::new(QuorumVerifier::from_config_text(&text, &VerifierOptions::default()).unwrap())
}

/// A transaction that changes nothing.
pub(crate) fn entry(zxid: i64) -> Arc<TxnLogEntry> {
    let header = TxnHeader {
        client_id: SessionId(1),
        cxid: 0,
        zxid: Zxid(zxid),
        time: 0,
        txn_type: OpCode::Error.as_i32(),
    };
    Arc::new(TxnLogEntry::new(header, Txn::Error(ErrorTxn { err: -101 }), None))
}
