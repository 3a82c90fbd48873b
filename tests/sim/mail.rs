//! Notifications between servers, as `QuorumCnxManager` carries them: one connection for each pair,
//! one message that waits while there is none, and the last message sent once more on a new one.

use std::collections::BTreeMap;

use zabkeeper::quorum::zab::Vote;

use crate::net::{ConnId, NodeIx, Port, Process};
use crate::shared::{Event, Msg, Shared};

#[derive(Default)]
struct Letterbox {
    conn: Option<ConnId>,
    is_dialling: bool,
    /// Not sent yet; a newer one takes its place.
    waiting: Option<Vote>,
    last: Option<Vote>,
}

#[derive(Default)]
pub struct Mail {
    boxes: BTreeMap<NodeIx, Letterbox>,
}

impl Mail {
    pub fn send(&mut self, sh: &mut Shared, me: Process, to: NodeIx, vote: Vote) {
        let slot = self.boxes.entry(to).or_default();
        slot.last = Some(vote);
        match slot.conn {
            Some(conn) => sh.send(me.node, conn, Msg::Vote(vote)),
            None => {
                slot.waiting = Some(vote);
                dial(slot, sh, me, to);
            }
        }
    }

    /// Connects to all for whom something waits.
    pub fn dial_all(&mut self, sh: &mut Shared, me: Process) {
        for (to, slot) in &mut self.boxes {
            if slot.conn.is_none() && slot.waiting.is_some() {
                dial(slot, sh, me, *to);
            }
        }
    }

    /// Whether to some server everything was sent.
    pub fn has_delivered(&self) -> bool {
        self.boxes.values().any(|slot| slot.waiting.is_none())
    }

    pub fn on_dialled(&mut self, sh: &mut Shared, me: Process, to: NodeIx, conn: Option<ConnId>) {
        self.boxes.entry(to).or_default().is_dialling = false;
        if let Some(conn) = conn {
            self.on_connected(sh, me, to, conn);
        }
    }

    /// A new connection takes the place of an older one.
    pub fn on_connected(&mut self, sh: &mut Shared, me: Process, with: NodeIx, conn: ConnId) {
        let slot = self.boxes.entry(with).or_default();
        if let Some(old) = slot.conn.replace(conn) {
            sh.close(me.node, old);
        }
        if let Some(vote) = slot.waiting.take().or(slot.last) {
            sh.send(me.node, conn, Msg::Vote(vote));
        }
    }

    /// True when the connection was one of these.
    pub fn on_closed(&mut self, conn: ConnId) -> bool {
        let slot = self.boxes.values_mut().find(|slot| slot.conn == Some(conn));
        slot.map(|slot| slot.conn = None).is_some()
    }
}

fn dial(slot: &mut Letterbox, sh: &mut Shared, me: Process, to: NodeIx) {
    if !slot.is_dialling {
        slot.is_dialling = true;
        let delay = sh.stage_delay();
        sh.schedule(delay, Event::Dial { from: me, to, port: Port::Election });
    }
}
