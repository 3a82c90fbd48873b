//! The way to the leader: one socket that many threads write to (`Learner.writePacket`,
//! `LearnerSender`).
//!
//! Packets are encoded into one buffer. Who finds nobody sending sends what is there, and what others
//! have added meanwhile; so no lock is held while the socket is written to, and packets that come
//! together leave together. With `learner.asyncSending` a thread of its own does the sending.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread, ServerListener};
use crate::jute::{Jute, OutputExt};
use crate::proto::Zxid;
use crate::proto::quorum::QuorumPacket;
use crate::quorum::packet_stream::PacketType;

/// A larger buffer is given back after it was sent.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// The socket's writing half. Closing it ends the reading half too.
pub struct LeaderLink {
    stream: TcpStream,
    state: Mutex<State>,
    /// Set once; what is added afterwards goes nowhere.
    is_closed: AtomicBool,
    /// Wakes the thread that sends, if there is one. Emptied to end it.
    wake: Mutex<Option<Sender<()>>>,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    is_sending: bool,
}

/// The thread of `learner.asyncSending`; ends when the link is closed.
pub struct LearnerSender {
    link: Arc<LeaderLink>,
    _thread: OwnedThread,
}

impl LeaderLink {
    /// Writes to `stream`, whose timeouts are set already.
    pub fn new(stream: TcpStream) -> Arc<LeaderLink> {
        Arc::new(LeaderLink {
            stream,
            state: Mutex::new(Rank::Inbox, State::default()),
            is_closed: AtomicBool::new(false),
            wake: Mutex::new(Rank::Leaf, None),
        })
    }

    /// From now on a thread named for this server sends.
    pub fn start_sending_thread(
        self: &Arc<Self>,
        server_id: i64,
        listener: &Arc<dyn ServerListener>,
    ) -> io::Result<LearnerSender> {
        // One token stands for any number of packets.
        let (wake, woken) = bounded(1);
        let link = Arc::clone(self);
        let name = format!("LearnerSender:{server_id}");
        let thread = thread::spawn_critical(name, thread::STACK_BYTES, listener, move || {
            link.send_when_woken(&woken);
            log::info!("LearnerSender exited");
            Ok(())
        })?;
        *self.wake.lock() = Some(wake);
        Ok(LearnerSender { link: Arc::clone(self), _thread: thread })
    }

    fn send_when_woken(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            self.send_pending();
        }
    }

    /// Sends packets, all at once. Never reports an error: the link is closed then, and who reads
    /// from the leader finds that.
    pub fn send(&self, packets: &[QuorumPacket]) {
        self.append(|buffer| packets.iter().for_each(|packet| packet.encode(buffer)));
    }

    /// ACKs, one for each: Java's leaders count them one by one.
    pub fn send_acks(&self, zxids: impl IntoIterator<Item = Zxid>) {
        self.append(|buffer| {
            for zxid in zxids {
                buffer.put_i32(PacketType::Ack.as_i32());
                buffer.put_i64(zxid.0);
                buffer.put_bytes(None);
                // No ids. Compat: Java writes the null list as -1; it reads both alike.
                buffer.put_i32(-1);
            }
        });
    }

    fn append(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.is_closed() {
            return;
        }
        {
            let mut state = self.state.lock();
            encode(&mut state.buffer);
            if state.is_sending {
                return; // It goes with the next write of who is sending.
            }
        }
        let wake = self.wake.lock().clone();
        match wake {
            // Full means that it is awake already.
            Some(wake) => drop(wake.try_send(())),
            None => self.send_pending(),
        }
    }

    fn send_pending(&self) {
        let mut taken = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                if state.is_sending && taken.is_empty() {
                    return;
                }
                taken.clear();
                if state.buffer.is_empty() || self.is_closed() {
                    state.is_sending = false;
                    if state.buffer.capacity() == 0 && taken.capacity() <= KEEP_BYTES_MAX {
                        state.buffer = taken;
                    }
                    return;
                }
                state.is_sending = true;
                std::mem::swap(&mut state.buffer, &mut taken);
            }
            if let Err(error) = (&self.stream).write_all(&taken) {
                log::warn!("Closing connection to leader, exception during packet send: {error}");
                self.close();
            }
        }
    }

    /// Whether [`LeaderLink::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Ends reading and writing. Any thread.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let _ = self.stream.shutdown(Shutdown::Both); // Already closed by the leader.
        let wake = self.wake.lock().take();
        drop(wake);
    }
}

impl Drop for LearnerSender {
    fn drop(&mut self) {
        self.link.close();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::common::exit_code::ExitCode;
    use crate::jute::Limits;
    use crate::quorum::packet_stream::PacketReader;

    struct NoListener;

    impl ServerListener for NoListener {
        fn notify_stopping(&self, thread: &str, _code: ExitCode, why: &str) {
            panic!("{thread}: {why}");
        }
    }

    fn pair() -> (Arc<LeaderLink>, PacketReader<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (leader, _) = listener.accept().unwrap();
        (LeaderLink::new(stream), PacketReader::new(leader, Limits::default()))
    }

    fn packets_arrive_whole_and_in_each_threads_order(
        link: &Arc<LeaderLink>,
        leader: &mut PacketReader<TcpStream>,
    ) {
        let threads: Vec<_> = (0..4i64)
            .map(|thread| {
                let link = Arc::clone(link);
                std::thread::spawn(move || {
                    for n in 0..200 {
                        let zxid = Zxid::new(thread, n);
                        if n % 2 == 0 {
                            link.send_acks([zxid]);
                        } else {
                            link.send(&[PacketType::Ping.packet(zxid.0, Some(Arc::from([7; 9])))]);
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        for _ in 0..800 {
            let packet = leader.read_packet().unwrap();
            let zxid = Zxid(packet.zxid);
            let thread = zxid.epoch() as usize;
            assert_eq!(zxid.counter(), next[thread]);
            assert_eq!(packet.data.is_none(), next[thread] % 2 == 0);
            next[thread] += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn many_threads_share_the_link() {
        let (link, mut leader) = pair();
        packets_arrive_whole_and_in_each_threads_order(&link, &mut leader);
        link.close();
        assert!(leader.read_packet().is_err());
        link.send_acks([Zxid(1)]);
    }

    #[test]
    fn a_thread_of_its_own_may_send() {
        let (link, mut leader) = pair();
        let listener: Arc<dyn ServerListener> = Arc::new(NoListener);
        let sender = link.start_sending_thread(1, &listener).unwrap();
        packets_arrive_whole_and_in_each_threads_order(&link, &mut leader);
        drop(sender);
        assert!(link.is_closed());
    }

    #[test]
    fn a_leader_that_is_gone_closes_the_link() {
        let (link, leader) = pair();
        drop(leader);
        while !link.is_closed() {
            link.send_acks([Zxid(1)]);
        }
    }
}
