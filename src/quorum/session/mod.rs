//! The sessions of an ensemble's servers: local ones and global ones (Java: `LearnerSessionTracker`,
//! `LeaderSessionTracker` and what they share).

pub mod leader_session_tracker;
mod learner_session_tracker;
mod local_session_tracker;
mod upgradeable_session_tracker;

pub use learner_session_tracker::LearnerSessionTracker;
pub use local_session_tracker::LocalSessionTracker;
pub use upgradeable_session_tracker::{
    UpgradeableSessionTracker, check_upgrade_session, creates_ephemeral, upgrade_request,
};
