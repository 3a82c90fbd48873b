//! `FourLetterCommands` and `CommandExecutor`: which words there are, which are enabled, and who
//! answers them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{connections, environment, monitor, watches};
use crate::common::config::ServerConfig;
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
}

/// Whether the whitelist has the word. `srvr` is always enabled, `isro` with read-only mode.
pub fn is_enabled(config: &ServerConfig, word: Word) -> bool {
    let whitelist = config.four_lw_commands_whitelist.as_deref().unwrap_or_default();
    word == Word::Srvr
        || (word == Word::Isro && config.readonlymode_enabled)
        || whitelist.split(',').map(str::trim).any(|name| name == "*" || name == word.name())
}

/// The answer to a word from `cnxn`. `mask` is what followed `stmk`. Between two roles of an
/// ensemble's member there is no server.
pub fn execute(
    server: Option<&ZooKeeperServer>,
    config: &ServerConfig,
    cnxn: &ServerCnxn,
    word: Word,
    mask: Option<i64>,
) -> String {
    if !is_enabled(config, word) {
        let name = word.name();
        log::debug!("Command {name} is not executed because it is not in the whitelist.");
        return format!("{name} is not executed because it is not in the whitelist.\n");
    }
    log::info!("Processing {} command from /{}", word.name(), cnxn.remote());
    let server = server.filter(|server| server.is_running());
    let mut out = String::new();
    match (word, server) {
        (Word::Ruok, _) => out.push_str("imok"),
        (Word::Isro, None) => out.push_str("null"),
        (Word::Isro, Some(server)) => {
            out.push_str(if server.role().is_read_only() { "ro" } else { "rw" });
        }
        (Word::Envi, _) => environment::envi(&mut out),
        (Word::Gtmk, _) => {
            let _ = write!(out, "{}", TRACE_MASK.load(Ordering::Relaxed)); // Never fails on a String.
        }
        (Word::Stmk, _) => {
            let mask = mask.unwrap_or(DEFAULT_TRACE_MASK);
            TRACE_MASK.store(mask, Ordering::Relaxed);
            let _ = write!(out, "{mask}"); // Never fails on a String.
        }
        (Word::TelnetClose, _) => {}
        // `hash` ends its line nowhere.
        (Word::Hash, None) => out.push_str(NOT_SERVING),
        (_, None) => {
            let _ = writeln!(out, "{NOT_SERVING}"); // Never fails on a String.
        }
        (Word::Srvr, Some(server)) => monitor::srvr(server, false, &mut out),
        (Word::Stat, Some(server)) => monitor::srvr(server, true, &mut out),
        (Word::Srst, Some(server)) => {
            server.stats().reset();
            server.role().reset_stats();
            out.push_str("Server stats reset.\n");
        }
        (Word::Mntr, Some(server)) => monitor::mntr(server, &mut out),
        (Word::Hash, Some(server)) => monitor::hash(server, &mut out),
        (Word::Cons, Some(server)) => connections::cons(server, &mut out),
        (Word::Crst, Some(server)) => {
            server.cnxns().all().iter().for_each(|cnxn| cnxn.reset_stats());
            out.push_str("Connection stats reset.\n");
        }
        (Word::Dump, Some(server)) => connections::dump(server, &mut out),
        (Word::Conf, Some(server)) => environment::conf(server, &mut out),
        (Word::Dirs, Some(server)) => environment::dirs(server, &mut out),
        (Word::Wchs, Some(server)) => watches::wchs(server, &mut out),
        (Word::Wchc, Some(server)) => watches::wchc(server, &mut out),
        (Word::Wchp, Some(server)) => watches::wchp(server, &mut out),
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
