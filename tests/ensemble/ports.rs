//! Ports that no other test takes, in this process or in another.

use std::sync::Mutex;

use zabkeeper::compare::port::Port;

/// Those of this process.
static CLAIMED: Mutex<Vec<Port>> = Mutex::new(Vec::new());

/// A port of this process until its end. Several listeners may use it one after the other.
pub fn claim() -> u16 {
    let port = Port::claim().unwrap();
    let number = port.number();
    CLAIMED.lock().unwrap().push(port);
    number
}
