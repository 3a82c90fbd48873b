//! A warning that may come very often is logged at its first time and then once per interval, with
//! how often it came (Java: `RateLogger`).

use log::warn;

use crate::common::sync::{Mutex, Rank};
use crate::common::time;

/// Java's interval.
const INTERVAL_MS: i64 = 100;

/// Limits one kind of warning; may be shared by threads.
#[derive(Debug)]
pub struct RateLogger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    interval_ms: i64,
    message: Option<String>,
    since_ms: i64,
    count: u64,
    value: Option<String>,
}

impl Default for RateLogger {
    fn default() -> Self {
        Self::new(INTERVAL_MS)
    }
}

impl RateLogger {
    /// Logs a repeated message at most once in this time.
    #[must_use]
    pub const fn new(interval_ms: i64) -> Self {
        let state = State { interval_ms, message: None, since_ms: 0, count: 0, value: None };
        Self(Mutex::new(Rank::Leaf, state))
    }

    /// Logs the message, or counts it if it is the last one again. Of the values that differ, the
    /// last is logged.
    pub fn rate_limit_log(&self, message: &str, value: Option<&str>) {
        let lines = self.0.lock().on_message(time::elapsed_ms(), message, value);
        for line in lines {
            warn!("{line}");
        }
    }

    /// Logs what was counted and not yet logged.
    pub fn flush(&self) {
        let line = self.0.lock().flush();
        if let Some(line) = line {
            warn!("{line}");
        }
    }
}

impl State {
    fn on_message(&mut self, now_ms: i64, message: &str, value: Option<&str>) -> Vec<String> {
        let value = value.map(str::to_owned);
        if self.message.as_deref() != Some(message) {
            let mut lines = Vec::from_iter(self.flush());
            let shown = value.as_deref().unwrap_or("null");
            lines.push(format!("Message:{message} Value:{shown}"));
            (self.message, self.value, self.since_ms) = (Some(message.to_owned()), value, now_ms);
            return lines;
        }
        self.count += 1;
        self.value = value;
        if now_ms.wrapping_sub(self.since_ms) < self.interval_ms {
            return Vec::new();
        }
        let last = self.value.clone();
        let lines = Vec::from_iter(self.flush());
        (self.message, self.value, self.since_ms) = (Some(message.to_owned()), last, now_ms);
        lines
    }

    fn flush(&mut self) -> Option<String> {
        let (message, value) = (self.message.take(), self.value.take());
        let count = std::mem::take(&mut self.count);
        let message = message.filter(|_| count > 0)?;
        let times = if count > 1 { format!("[{count} times] ") } else { String::new() };
        let value = value.map(|value| format!(" Last value:{value}")).unwrap_or_default();
        Some(format!("{times}Message: {message}{value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_message_is_logged_once_per_interval() {
        let mut state = State { interval_ms: 100, ..State::default() };
        let mut check = |now, message, value, expected: &[&str]| {
            assert_eq!(state.on_message(now, message, value), expected, "{now}");
        };
        check(0, "a", None, &["Message:a Value:null"]);
        check(1, "a", Some("x"), &[]);
        check(99, "a", Some("y"), &[]);
        check(100, "a", Some("z"), &["[3 times] Message: a Last value:z"]);
        check(101, "b", Some("1"), &["Message:b Value:1"]);
        check(102, "b", None, &[]);
        check(103, "a", None, &["Message: b", "Message:a Value:null"]);
        assert_eq!(state.flush(), None);
    }
}
