//! The one binary: subcommands, each a line into the library.

fn main() {}
