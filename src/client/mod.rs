//! A small blocking client: for tests and the load generator now, for the command line and the
//! side-by-side comparison later. Java's `ZooKeeper` and `ClientCnxn` without their threads:
//! nothing is sent and nothing is read unless the caller asks.
//!
//! [`RawConnection`] hides nothing: it sends any bytes, well-formed or not, and hands back whole
//! frames. [`ZooKeeper`] is a typed session on top of it.

mod error;
mod raw;
mod zookeeper;

pub use error::ClientError;
pub use raw::{
    AUTH_XID, EVENT_XID, NO_SESSION, PING_XID, RawConnection, Reply, SET_WATCHES_XID,
    four_letter_word, frame, new_session_request, request_frame,
};
pub use zookeeper::{SessionCredentials, SessionEvent, ZooKeeper};
