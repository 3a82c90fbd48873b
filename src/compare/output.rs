//! What goes to standard output. A reader that has seen enough (`| head`) is no failure of ours.

use std::fmt::Display;
use std::io::Write;

/// Writes `text` as it is.
pub fn print(text: impl Display) {
    // A closed pipe ends the output, not the comparison: its exit code still tells.
    let _ = write!(std::io::stdout(), "{text}");
}

/// Writes `text` and ends the line.
pub fn print_line(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
