//! Client connections: accepting, reading, sending.

pub mod accept_thread;
pub mod cnxn_factory;
pub mod cnxn_stats;
pub mod cnxn_thread;
pub mod connect;
pub mod frame;
pub mod outbox;
pub mod selector_thread;
pub mod server_cnxn;
pub mod server_cnxn_factory;
