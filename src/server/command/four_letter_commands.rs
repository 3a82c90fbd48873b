//! `FourLetterCommands` and `CommandExecutor`: which words there are, which are enabled, and who
//! answers them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{connections, environment, monitor, watches};
use crate::server::cnxn::server_cnxn::ServerCnxn;
use crate::server::zookeeper_server::ZooKeeperServer;

/// What every word that needs a serving server says of one that is not (`ZK_NOT_SERVING`).
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";
/// `ZooTrace`'s default: client requests, session events, watch events, warnings.
const DEFAULT_TRACE_MASK: i64 = 306;
/// What telnet sends on ^C.
const TELNET_CLOSE: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];

static TRACE_MASK: AtomicI64 = AtomicI64::new(DEFAULT_TRACE_MASK);

macro_rules! words {
    ($($name:ident = $text:literal;)*) => {
        /// A known word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "named as they are sent")]
        pub enum Word { $($name,)* TelnetClose }

        impl Word {
            /// The word that begins a connection, if it does.
            pub fn from_bytes(bytes: &[u8; 4]) -> Option<Word> {
                $(if bytes == $text.as_bytes() { return Some(Word::$name); })*
                (*bytes == TELNET_CLOSE).then_some(Word::TelnetClose)
            }

            /// Its name, as in the whitelist.
            pub fn name(self) -> &'static str {
                match self { $(Word::$name => $text,)* Word::TelnetClose => "telnet close" }
            }
        }
    };
}

words! {
    Conf = "conf"; Cons = "cons"; Crst = "crst"; Dirs = "dirs"; Dump = "dump"; Envi = "envi";
    Gtmk = "gtmk"; Ruok = "ruok"; Stmk = "stmk"; Srst = "srst"; Srvr = "srvr"; Stat = "stat";
    Wchc = "wchc"; Wchp = "wchp"; Wchs = "wchs"; Mntr = "mntr"; Isro = "isro"; Hash = "hash";
}

impl Word {
    /// Eight more bytes follow: a big-endian mask.
    pub fn takes_mask(self) -> bool {
        self == Word::Stmk
    }

    /// Answered whether the server is serving or not.
    fn needs_no_server(self) -> bool {
        matches!(
            self,
            Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Isro | Word::TelnetClose
        )
    }
}

/// Whether the whitelist has the word. `srvr` is always enabled, `isro` with read-only mode.
pub fn is_enabled(server: &ZooKeeperServer, word: Word) -> bool {
    let config = server.config();
    let whitelist = config.four_lw_commands_whitelist.as_deref().unwrap_or_default();
    word == Word::Srvr
        || (word == Word::Isro && config.readonlymode_enabled)
        || whitelist.split(',').map(str::trim).any(|name| name == "*" || name == word.name())
}

/// The answer to a word from `cnxn`. `mask` is what followed `stmk`.
pub fn execute(
    server: &ZooKeeperServer,
    cnxn: &ServerCnxn,
    word: Word,
    mask: Option<i64>,
) -> String {
    if !is_enabled(server, word) {
        let name = word.name();
        log::debug!("Command {name} is not executed because it is not in the whitelist.");
        return format!("{name} is not executed because it is not in the whitelist.\n");
    }
    log::info!("Processing {} command from /{}", word.name(), cnxn.remote());
    if !server.is_running() && !word.needs_no_server() {
        // `hash` ends its line nowhere.
        let end = if word == Word::Hash { "" } else { "\n" };
        return format!("{NOT_SERVING}{end}");
    }
    let mut out = String::new();
    match word {
        Word::Ruok => out.push_str("imok"),
        Word::Isro => out.push_str(if server.is_running() { "rw" } else { "null" }),
        Word::Gtmk => {
            let _ = write!(out, "{}", TRACE_MASK.load(Ordering::Relaxed)); // Never fails on a String.
        }
        Word::Stmk => {
            let mask = mask.unwrap_or(DEFAULT_TRACE_MASK);
            TRACE_MASK.store(mask, Ordering::Relaxed);
            let _ = write!(out, "{mask}"); // Never fails on a String.
        }
        Word::Srvr => monitor::srvr(server, false, &mut out),
        Word::Stat => monitor::srvr(server, true, &mut out),
        Word::Srst => {
            server.stats().reset();
            out.push_str("Server stats reset.\n");
        }
        Word::Mntr => monitor::mntr(server, &mut out),
        Word::Hash => monitor::hash(server, &mut out),
        Word::Cons => connections::cons(server, &mut out),
        Word::Crst => {
            server.cnxns().all().iter().for_each(|cnxn| cnxn.reset_stats());
            out.push_str("Connection stats reset.\n");
        }
        Word::Dump => connections::dump(server, &mut out),
        Word::Conf => environment::conf(server, &mut out),
        Word::Dirs => environment::dirs(server, &mut out),
        Word::Envi => environment::envi(&mut out),
        Word::Wchs => watches::wchs(server, &mut out),
        Word::Wchc => watches::wchc(server, &mut out),
        Word::Wchp => watches::wchp(server, &mut out),
        Word::TelnetClose => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_by_their_bytes() {
        assert_eq!(Word::from_bytes(b"ruok"), Some(Word::Ruok));
        assert_eq!(Word::from_bytes(b"RUOK"), None);
        assert_eq!(Word::from_bytes(&[0xff, 0xf4, 0xff, 0xfd]), Some(Word::TelnetClose));
        assert_eq!(Word::from_bytes(&[0, 0, 0, 44]), None);
    }
}
