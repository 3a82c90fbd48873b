//! The two roles that follow a leader: follower and observer (Java: `Learner` and its kin).

pub mod leader_packet;
