//! Clocks and the texts of times (Java: `o.a.z.common.Time`, `java.util.Date.toString`).

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of the monotonic clock, counted from an unspecified start (on Linux: the boot), as
/// Java's `System.nanoTime`. Session ids are made of it, so it must not start again with the process.
#[must_use]
pub fn elapsed_ms() -> i64 {
    elapsed_ns() / 1_000_000
}

/// Nanoseconds of the same clock as [`elapsed_ms`].
#[must_use]
pub fn elapsed_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec)
}

/// Milliseconds since the epoch, by the wall clock. It may jump.
#[must_use]
pub fn wall_ms() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.wrapping_mul(1000).wrapping_add(now.tv_nsec / 1_000_000)
}

/// The wall clock's time at `elapsed` of the monotonic clock (Java: `elapsedTimeToDate`).
#[must_use]
pub fn elapsed_to_wall_ms(elapsed: i64) -> i64 {
    wall_ms().wrapping_add(elapsed).wrapping_sub(elapsed_ms())
}

/// A time as `java.util.Date` prints it, in the local time zone: `Sun Nov 22 03:51:25 UTC 2026`.
///
/// The zone's abbreviation is the system's; Java has names of its own for some zones without one
/// (`BRT` where the system says `-03`).
#[must_use]
pub fn java_date(wall_ms: i64) -> String {
    java_date_in(wall_ms, &TimeZone::system())
}

fn java_date_in(wall_ms: i64, zone: &TimeZone) -> String {
    timestamp(wall_ms).to_zoned(zone.clone()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string()
}

/// A time as log4j's `%d{ISO8601}` prints it, in the local time zone: `2026-11-22 03:51:25,123`.
#[must_use]
pub fn iso8601(wall_ms: i64) -> String {
    let zoned = timestamp(wall_ms).to_zoned(TimeZone::system());
    format!("{},{:03}", zoned.strftime("%Y-%m-%d %H:%M:%S"), zoned.millisecond())
}

/// Times outside the years −9999 to 9999 are moved to that range's ends: no clock shows them.
fn timestamp(wall_ms: i64) -> Timestamp {
    let end = if wall_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_millis(wall_ms)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_is_printed_as_java_does() {
        assert_eq!(java_date_in(1_795_319_485_000, &TimeZone::UTC), "Sun Nov 22 03:51:25 UTC 2026");
        assert_eq!(java_date_in(0, &TimeZone::UTC), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(java_date_in(1_709_251_199_999, &TimeZone::UTC), "Thu Feb 29 23:59:59 UTC 2024");
    }

    #[test]
    fn no_time_is_too_far() {
        for ms in [i64::MIN, i64::MAX] {
            assert!(!java_date(ms).is_empty());
        }
    }

    #[test]
    fn monotonic_clock_does_not_go_back() {
        let before = elapsed_ns();
        assert!(elapsed_ns() >= before);
        assert!((elapsed_to_wall_ms(elapsed_ms()) - wall_ms()).abs() < 1000);
    }
}
