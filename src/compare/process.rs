//! Child processes that end with this one.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A child that is killed when it is dropped, and when this process ends, even violently.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Its standard input ends with this process, however that ends; then it kills the child.
    watchdog: Child,
}

impl Process {
    /// Starts `command`. A violent end of this process also removes the directory `leaves`.
    pub fn spawn(command: &mut Command, leaves: Option<&Path>) -> io::Result<Process> {
        let mut child = command.spawn()?;
        let watchdog = Command::new("sh")
            .args(["-c", "read line && exit; kill -9 \"$1\"; rm -rf \"$2\"", "watchdog"])
            .arg(child.id().to_string())
            .arg(leaves.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Process { child, watchdog }),
            Err(error) => {
                let _ = child.kill(); // It may have ended by itself.
                let _ = child.wait(); // Likewise.
                Err(error)
            }
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended; `None` while it lives. An error of the system counts as living.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended by itself.
        if let Some(mut stdin) = self.watchdog.stdin.take() {
            let _ = stdin.write_all(b"done\n"); // It may be gone: then there is nothing to end.
        }
        let _ = self.watchdog.wait(); // Likewise.
        let _ = self.child.wait(); // Likewise.
    }
}
