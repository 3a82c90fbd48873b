//! `zabkeeper bench`: a load generator for any ZooKeeper server, and the bare limits of the
//! machine beside it. `docs/BENCHMARK.md` says how to use it and what its figures mean.
//!
//! One thread (or a few) drives all sessions with epoll; requests are encoded beforehand, and
//! each session costs one read and one write per wake-up whatever its window. So the generator
//! takes little from a server on the same machine.
//!
//! [`LoadWorker`](load::LoadWorker) is everything that is request and reply; sessions, watches and
//! pings have loops of their own ([`connect`], [`watch`], [`idle`]). All count into an
//! [`Outcome`](outcome::Outcome) under one [`Control`](control::Control), and a
//! [`Report`](report::Report) shows it.

pub mod args;
pub mod connect;
pub mod control;
pub mod echo;
pub mod idle;
pub mod link;
pub mod load;
pub mod outage;
pub mod outcome;
pub mod poller;
pub mod report;
pub mod requests;
mod run;
pub mod sessions;
pub mod setup;
pub mod single;
pub mod sync_file;
pub mod usage;
pub mod watch;

pub use run::run;
