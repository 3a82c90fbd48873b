//! Client connections: accepting, reading, sending.

pub mod frame;
pub mod outbox;
