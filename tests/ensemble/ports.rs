//! Ports that no other test takes, in this process or in another.
//!
//! They lie below those that the system gives to outgoing connections, and each is claimed by a
//! lock on a file, which ends with the process whatever happens to it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process;
use std::sync::Mutex;

use rustix::fs::{FlockOperation, flock};

const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// The locks of this process, and where to look next.
static CLAIMED: Mutex<(Vec<File>, u16)> = Mutex::new((Vec::new(), 0));

/// A port of this process until its end. Several listeners may use it one after the other.
pub fn claim() -> u16 {
    let folder = std::env::temp_dir().join("zabkeeper-test-ports");
    fs::create_dir_all(&folder).unwrap();
    let mut claimed = CLAIMED.lock().unwrap();
    if claimed.1 == 0 {
        claimed.1 = (process::id() % u32::from(COUNT)) as u16;
    }
    for _ in 0..COUNT {
        claimed.1 = (claimed.1 + 1) % COUNT;
        let port = FIRST + claimed.1;
        let options = File::options().create(true).append(true).open(folder.join(port.to_string()));
        let Ok(file) = options else { continue };
        let is_ours = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_ours && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            claimed.0.push(file);
            return port;
        }
    }
    panic!("no free port");
}
