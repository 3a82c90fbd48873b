//! `RequestProcessor`: a stage of the chain.

use super::request::Request;

/// A stage takes requests in batches, in order, and hands them on in the same order. Roles compose
/// their chains of these: the standalone server Prep → Sync → Final.
pub trait RequestProcessor: Send + Sync {
    /// Takes everything out of `requests`. Never blocks on a client.
    fn process_requests(&self, requests: &mut Vec<Box<Request>>);

    /// Ends the stage: what it holds is handed on, its thread is joined, then the next one ends.
    fn shutdown(&self);
}
