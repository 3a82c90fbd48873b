//! What the two servers are asked: steps of several sessions, one a line.
//!
//! ```text
//! a open 20000
//! b open 20000
//! b getData "/t" watch
//! a create "/t/n" "data" (31 world:anyone) 0 &
//! a setData "/t/n" "more" 0
//! b take a
//! a ends
//! ```
//!
//! A request that ends in `&` is sent together with the next line's of the same session. A
//! [`Script`] is parsed and printed without loss, so that a shrunk sequence is a file that replays.

mod lexer;
mod parse;
mod print;
mod request;

use std::time::Duration;

pub use parse::{Bad, ScriptError};
pub use print::{acl_text, data_text};
pub use request::{Request, SetWatchesAt};

use crate::jute::Buffer;

/// Steps in the order in which they are taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One line: who does what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// A session or connection, by a name of the script's own.
    pub who: String,
    /// What is done.
    pub action: Action,
}

/// What a session does in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `open TIMEOUT [KEY=VALUE…]`: a new connection that asks for a new session.
    Open(Hello),
    /// `take WHO [TIMEOUT] [KEY=VALUE…]`: a new connection that asks for the session of another.
    Take {
        /// Whose session.
        from: String,
        /// The rest of the connect request.
        hello: Hello,
    },
    /// `[xid=N] [reply=N] REQUEST [&]`.
    Send(Call),
    /// `raw HEX|"TEXT"`: bytes as they are; on a new connection without a session when there is none.
    Raw(Vec<u8>),
    /// `receive`: waits for one frame or the end of the connection.
    Receive,
    /// `ends`: waits for the end of the connection; whatever comes before it is shown.
    Ends,
    /// `event MS`: waits for one event for so long at most.
    Event(Duration),
    /// `cut`: ends the connection without closing the session.
    Cut,
    /// `reset`: likewise, with a reset.
    Reset,
    /// `half`: says that nothing more will be sent, and goes on reading.
    Half,
    /// `word "TEXT"`: a four-letter word on a connection of its own; the whole answer, masked.
    Word(String),
    /// `wait MS`: does nothing for so long.
    Wait(Duration),
}

/// The fields of a connect request that a script may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The session timeout asked for, in ms.
    pub timeout_ms: i32,
    /// `protocol=N`.
    pub protocol: i32,
    /// `zxid=+N` relative to the script's first, or `zxid=N` as it is.
    pub last_zxid: Moment,
    /// `session=HEX`: in place of 0, or of the session that is taken.
    pub session: Option<i64>,
    /// `passwd=…`.
    pub passwd: Passwd,
    /// `readOnly=none|true|false`: the last byte, which old clients leave out.
    pub read_only: Option<bool>,
    /// `more=HEX`: bytes behind the request, in its frame.
    pub more: Vec<u8>,
}

/// A zxid in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// `N`: the number itself.
    Absolute(i64),
    /// `+N`: relative to the script's first zxid.
    Relative(i64),
}

/// The password of a connect request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passwd {
    /// Sixteen zeros for a new session, its own for one that is taken.
    Right,
    /// `passwd=wrong`: the right one with its first bit turned.
    Wrong,
    /// `passwd=null` or `passwd=hex:…`.
    Bytes(Buffer),
}

/// A request and how it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The request.
    pub request: Request,
    /// `xid=N` in place of the session's next.
    pub xid: Option<i32>,
    /// `reply=N`: the xid that the reply is expected to have, when it is another.
    pub reply: Option<i32>,
    /// `&`: sent together with the next request of the session.
    pub is_joined: bool,
}

impl Hello {
    /// A modern client that asks for `timeout_ms`.
    pub fn new(timeout_ms: i32) -> Hello {
        Hello {
            timeout_ms,
            protocol: 0,
            last_zxid: Moment::Absolute(0),
            session: None,
            passwd: Passwd::Right,
            read_only: Some(false),
            more: Vec::new(),
        }
    }
}

impl Call {
    /// Sent by itself, with the next xid.
    pub fn new(request: Request) -> Call {
        Call { request, xid: None, reply: None, is_joined: false }
    }
}

impl Step {
    /// A step of `who`.
    pub fn new(who: &str, action: Action) -> Step {
        Step { who: who.to_owned(), action }
    }

    /// A request of `who`, sent by itself.
    pub fn send(who: &str, request: Request) -> Step {
        Step::new(who, Action::Send(Call::new(request)))
    }
}

impl Script {
    /// The number of steps that a server answers, or acts upon.
    pub fn operations(&self) -> usize {
        self.steps.iter().filter(|step| !matches!(step.action, Action::Wait(_))).count()
    }
}

/// The timeout of sessions whose script does not say.
pub const TIMEOUT_MS: i32 = 20_000;

#[cfg(test)]
mod tests;
