//! Links between servers that a test can cut: a TCP proxy for each direction, in front of each port,
//! so that no privileges are needed.
//!
//! Server A reaches B at the port of the link A → B. The first message of an election's connection
//! names the address at which the sender is to be called back; the proxy puts the port of the link
//! B → A there, so no connection passes it by.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::wait_until;

/// What becomes of bytes on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// They arrive.
    Open,
    /// Connections end, new ones too.
    Cut,
    /// Nothing arrives and nobody is told, until the link is open again.
    Frozen,
    /// As frozen, but what the server behind the link answers does arrive.
    FrozenThere,
    /// As frozen, but what is sent through the link does arrive.
    FrozenBack,
}

/// The way of bytes over a link's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
    /// A new connection needs both.
    Both,
}

impl LinkState {
    fn holds(self, way: Way) -> bool {
        match self {
            LinkState::Open | LinkState::Cut => false,
            LinkState::Frozen => true,
            LinkState::FrozenThere => way != Way::Back,
            LinkState::FrozenBack => way != Way::There,
        }
    }
}

/// One direction between two servers, for one of their ports.
pub struct Link {
    shared: Arc<Shared>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    target: SocketAddr,
    /// The port of the way back, for the election's first message.
    call_back_port: Option<u16>,
}

struct State {
    link: LinkState,
    is_over: bool,
    /// Both ends of each connection.
    connections: Vec<(TcpStream, TcpStream)>,
}

impl Link {
    /// Forwards from `port` to `target`, both local. With `call_back_port` the first message of each
    /// connection is an election's.
    pub fn new(port: u16, target: u16, call_back_port: Option<u16>) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let state = State { link: LinkState::Open, is_over: false, connections: Vec::new() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            target: (Ipv4Addr::LOCALHOST, target).into(),
            call_back_port,
        });
        let accepting = Arc::clone(&shared);
        let thread = thread::spawn(move || accept(&accepting, &listener));
        Link { shared, port, thread: Some(thread) }
    }

    /// Changes what becomes of bytes.
    pub fn set(&self, link: LinkState) {
        let mut state = self.shared.state.lock().unwrap();
        state.link = link;
        if link == LinkState::Cut {
            end(&mut state.connections);
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock().unwrap();
            state.is_over = true;
            end(&mut state.connections);
            self.shared.changed.notify_all();
        }
        // Wakes the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn end(connections: &mut Vec<(TcpStream, TcpStream)>) {
    for (near, far) in connections.drain(..) {
        // They may have ended by themselves.
        let _ = near.shutdown(Shutdown::Both);
        let _ = far.shutdown(Shutdown::Both);
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut pumps = Vec::new();
    while let Ok((near, _)) = listener.accept() {
        if shared.state.lock().unwrap().is_over {
            break;
        }
        let shared = Arc::clone(shared);
        pumps.push(thread::spawn(move || serve(&shared, near)));
        pumps.retain(|pump| !pump.is_finished());
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

/// Waits until bytes may pass; false when the connection is to end.
fn may_pass(shared: &Shared, way: Way) -> bool {
    let mut state = shared.state.lock().unwrap();
    while state.link.holds(way) && !state.is_over {
        state = shared.changed.wait(state).unwrap();
    }
    state.link != LinkState::Cut && !state.is_over
}

fn serve(shared: &Arc<Shared>, near: TcpStream) {
    if !may_pass(shared, Way::Both) {
        return;
    }
    // A connection that was accepted cannot be refused any more: without a proxy the server would
    // have tried again until the other one listens.
    let patience = Duration::from_secs(2);
    let Some(far) = wait_until(patience, || TcpStream::connect(shared.target).ok()) else {
        return;
    };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let copies = (near.try_clone().unwrap(), far.try_clone().unwrap());
    {
        let mut state = shared.state.lock().unwrap();
        if state.link == LinkState::Cut || state.is_over {
            return;
        }
        state.connections.push(copies);
    }
    let (back_in, back_out) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    let back = {
        let shared = Arc::clone(shared);
        thread::spawn(move || pump(&shared, Way::Back, back_in, back_out))
    };
    forward(shared, near, far);
    let _ = back.join();
}

fn forward(shared: &Shared, mut near: TcpStream, mut far: TcpStream) {
    if let Some(port) = shared.call_back_port
        && !pass_hello(&mut near, &mut far, port).is_ok_and(|()| true)
    {
        let _ = near.shutdown(Shutdown::Both);
        let _ = far.shutdown(Shutdown::Both);
        return;
    }
    pump(shared, Way::There, near, far);
}

/// `long version, long sid, int length, "host:port"`, with the port replaced.
fn pass_hello(near: &mut TcpStream, far: &mut TcpStream, port: u16) -> io::Result<()> {
    let mut head = [0; 20];
    near.read_exact(&mut head)?;
    let length = i32::from_be_bytes(head[16..].try_into().unwrap());
    let mut address = vec![0; usize::try_from(length).unwrap_or(0).min(4096)];
    near.read_exact(&mut address)?;
    let text = format!("127.0.0.1:{port}");
    let mut hello = head[..16].to_vec();
    hello.extend((text.len() as i32).to_be_bytes());
    hello.extend(text.as_bytes());
    far.write_all(&hello)
}

fn pump(shared: &Shared, way: Way, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if !may_pass(shared, way) || to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
