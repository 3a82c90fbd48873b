//! Sessions: their table, their expiry, their passwords (`SessionTracker` and kin).

mod expiry_queue;
mod java_random;
pub mod password;
#[expect(clippy::module_inception, reason = "the file is named after its type, as all are")]
mod session;
mod session_tracker;
mod tracker;

pub use expiry_queue::ExpiryQueue;
pub use java_random::JavaRandom;
pub use session::Session;
pub use session_tracker::{
    Clock, SessionExpirer, SessionTrackerImpl, SessionTrackerSettings, SessionTrackerThread,
    initialize_next_session_id, validate_server_id,
};
pub use tracker::SessionTracker;
