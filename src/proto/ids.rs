//! Numbers that must not be mixed up.

use std::fmt;

use crate::jute::{Input, Jute, JuteError};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl Jute for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
            fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
                i64::decode(input).map($name)
            }
        }
    };
}

id! {
    /// A transaction id: the leader's epoch in the high, a counter in the low 32 bits.
    Zxid
}
id! {
    /// A session id: the id of the server that made it in the top byte. 0 is "no session".
    SessionId
}

/// The id of a server (`myid`, the N of `server.N`). Shown in decimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServerId(pub i64);

impl ServerId {
    /// What a server without a vote proposes as leader (Java: `Long.MIN_VALUE`).
    pub const NONE: ServerId = ServerId(i64::MIN);
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Jute for ServerId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        i64::decode(input).map(ServerId)
    }
}

impl Zxid {
    /// Java's -1: no such transaction, not initialised.
    pub const NONE: Zxid = Zxid(-1);

    /// The epoch in the high 32 bits (`ZxidUtils.getEpochFromZxid`).
    pub fn epoch(self) -> i64 {
        self.0 >> 32
    }

    /// The counter in the low 32 bits (`ZxidUtils.getCounterFromZxid`).
    pub fn counter(self) -> i64 {
        self.0 & 0xffff_ffff
    }

    /// The zxid of `counter` in `epoch` (`ZxidUtils.makeZxid`).
    pub fn new(epoch: i64, counter: i64) -> Zxid {
        Zxid((epoch << 32) | (counter & 0xffff_ffff))
    }

    /// The zxid that follows.
    pub fn next(self) -> Zxid {
        Zxid(self.0.wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::Zxid;

    #[test]
    fn a_zxid_is_epoch_and_counter() {
        let zxid = Zxid::new(5, 0xffff_fffe);
        assert_eq!((zxid.epoch(), zxid.counter()), (5, 0xffff_fffe));
        assert_eq!(zxid.to_string(), "0x5fffffffe");
        assert_eq!(zxid.next(), Zxid::new(5, 0xffff_ffff));
    }
}
