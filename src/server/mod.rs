//! The server: connections, the processor chain, the words. See ARCHITECTURE.md for the threads.

pub mod cnxn;
pub mod request_body;
