//! Apache ZooKeeper's server in Rust.
//!
//! Layers, each seeing only those before it: [`jute`] · [`proto`] · [`common`], [`metrics`] ·
//! [`tree`] · [`persistence`] · [`session`], [`auth`] · [`server`] · [`quorum`] · [`run`]; beside
//! them [`client`] (jute, proto, common), [`mod@bench`] (client) and [`compare`] (client,
//! persistence, bench). `ARCHITECTURE.md` has the threads, the locks and the flow of a request; start reading at [`server`].

pub mod auth;
pub mod bench;
pub mod client;
pub mod common;
pub mod compare;
pub mod jute;
pub mod metrics;
pub mod persistence;
pub mod proto;
pub mod quorum;
pub mod run;
pub mod server;
pub mod session;
pub mod tree;
