//! The log: lines as Java's default configuration writes them, to standard output.
//!
//! `%d{ISO8601} [myid:%X{myid}] - %-5p [%t:%C{1}@%L] - %m%n`. The class is the name of the source
//! file in Java's spelling, which for most parts is the class it ports. Difference: control
//! characters in messages are escaped, so that no client can write lines of its own.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;

use env_logger::{Builder, Target};
use log::{LevelFilter, Record};

use crate::common::config::SystemProperties;
use crate::common::time;

/// Shown in every line, once known.
static MY_ID: OnceLock<i64> = OnceLock::new();

/// Sets the log up; later calls have no effect. What is logged is decided by the first of these
/// that is set: `RUST_LOG` (the syntax of `env_logger`), `ZK_LOG_LEVEL`, the system properties
/// `zookeeper.log.level` and `zookeeper.console.threshold`; else `info`.
pub fn init(system: &SystemProperties) {
    let mut builder = Builder::new();
    match std::env::var("RUST_LOG") {
        Ok(filters) if !filters.is_empty() => builder.parse_filters(&filters),
        _ => builder.filter_level(level(std::env::var("ZK_LOG_LEVEL").ok().as_deref(), system)),
    };
    builder.target(Target::Stdout).format(|out, record| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?");
        writeln!(out, "{}", line(record, &time::iso8601(time::wall_ms()), name))
    });
    let _ = builder.try_init(); // Fails if another log is set up: tests, embedding programs.
}

/// Shows the id of this server in all further lines.
pub fn set_my_id(id: i64) {
    let _ = MY_ID.set(id); // The first one stays.
}

fn level(from_environment: Option<&str>, system: &SystemProperties) -> LevelFilter {
    let names = [
        from_environment,
        system.get("zookeeper.log.level"),
        system.get("zookeeper.console.threshold"),
    ];
    let level = |name: &str| match name.trim().to_ascii_uppercase().as_str() {
        "OFF" => Some(LevelFilter::Off),
        "FATAL" | "ERROR" => Some(LevelFilter::Error),
        "WARN" | "WARNING" => Some(LevelFilter::Warn),
        "INFO" => Some(LevelFilter::Info),
        "DEBUG" => Some(LevelFilter::Debug),
        "TRACE" | "ALL" => Some(LevelFilter::Trace),
        _ => None,
    };
    names.into_iter().flatten().find_map(level).unwrap_or(LevelFilter::Info)
}

fn line(record: &Record<'_>, date: &str, thread: &str) -> String {
    let id = MY_ID.get().map(i64::to_string).unwrap_or_default();
    let class = class_name(record.file().unwrap_or(record.target()));
    let number = record.line().unwrap_or_default();
    let message = record.args().to_string();
    let message = escape(&message);
    format!("{date} [myid:{id}] - {:<5} [{thread}:{class}@{number}] - {message}", record.level())
}

/// `src/server/sync_request_processor.rs` is `SyncRequestProcessor`, `src/tree/mod.rs` is `Tree`.
fn class_name(file: &str) -> String {
    let file = file.strip_suffix(".rs").unwrap_or(file);
    let file = file.strip_suffix("/mod").unwrap_or(file);
    let stem = file.rsplit(['/', ':']).next().unwrap_or(file);
    let mut name = String::with_capacity(stem.len());
    for word in stem.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

fn escape(message: &str) -> Cow<'_, str> {
    if !message.chars().any(is_escaped) {
        return Cow::Borrowed(message);
    }
    let mut escaped = String::with_capacity(message.len() + 8);
    for c in message.chars() {
        if is_escaped(c) {
            let _ = write!(escaped, "{}", c.escape_default()); // A `String` takes everything.
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn is_escaped(c: char) -> bool {
    // U+2028 and U+2029 end lines in some viewers.
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    #[test]
    fn line_has_javas_layout() {
        let check = |level, file, message: &str, expected| {
            let args = format_args!("{message}");
            let record =
                Record::builder().level(level).file(Some(file)).line(Some(7)).args(args).build();
            assert_eq!(line(&record, "2026-11-22 03:51:25,123", "SyncThread:0"), expected);
        };
        check(
            Level::Warn,
            "src/server/sync_request_processor.rs",
            "slow",
            "2026-11-22 03:51:25,123 [myid:] - WARN  [SyncThread:0:SyncRequestProcessor@7] - slow",
        );
        check(
            Level::Error,
            "src/tree/mod.rs",
            "path /a\r\n2026 forged\tx\u{2028}",
            "2026-11-22 03:51:25,123 [myid:] - ERROR [SyncThread:0:Tree@7] - path \
             /a\\r\\n2026 forged\tx\\u{2028}",
        );
    }

    #[test]
    fn level_is_the_first_one_that_is_set() {
        let mut system = SystemProperties::default();
        assert_eq!(level(None, &system), LevelFilter::Info);
        system.set("zookeeper.console.threshold", "warn");
        assert_eq!(level(None, &system), LevelFilter::Warn);
        system.set("zookeeper.log.level", "ALL");
        assert_eq!(level(None, &system), LevelFilter::Trace);
        assert_eq!(level(Some("DEBUG"), &system), LevelFilter::Debug);
        assert_eq!(level(Some("nonsense"), &system), LevelFilter::Trace);
        assert_eq!(level(Some("off"), &system), LevelFilter::Off);
    }
}
