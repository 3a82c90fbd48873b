//! Four-letter words: text for operators, asked for by the first four bytes of a connection.

mod connections;
mod environment;
pub mod four_letter_commands;
mod monitor;
mod watches;

pub use environment::environment;
