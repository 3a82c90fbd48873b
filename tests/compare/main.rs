//! `zabkeeper compare`, compared with itself and, where there is one, with Java's server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod data_dirs;
mod document;
mod engine;
mod middleman;
mod mutants;
mod replay;
mod report;
mod servers;
