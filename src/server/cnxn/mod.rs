//! Client connections: accepting, reading, sending.

pub mod outbox;
