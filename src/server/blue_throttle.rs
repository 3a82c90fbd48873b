//! How many clients may connect per time (`BlueThrottle`): a token bucket, and on top of it the BLUE
//! algorithm, which refuses at random with a chance that grows while the bucket is empty and shrinks
//! while it is full. Pure: time and random numbers are arguments.
//!
//! [`ConnectionThrottle`] puts a lock and a generator around it.

use log::{error, info, warn};

use crate::common::config::ServerConfig;
use crate::common::sync::{Mutex, Rank};
use crate::session::JavaRandom;

/// The settings `connection_throttle_*`, as configured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlueThrottleSettings {
    /// Size of the bucket; 0 switches everything off.
    pub tokens: i32,
    /// Refill period.
    pub fill_time_ms: i32,
    /// Tokens per period.
    pub fill_count: i32,
    /// Time between changes of the chance to be refused; -1 switches BLUE off.
    pub freeze_time_ms: i32,
    /// Added to the chance when the bucket is empty.
    pub drop_increase: f64,
    /// Taken off the chance when the bucket is nearly full.
    pub drop_decrease: f64,
    /// Share of the bucket that may be in use for it to count as nearly full.
    pub decrease_ratio: f64,
    /// Whether kinds of sessions cost different numbers of tokens; else each costs one.
    pub weight_enabled: bool,
    /// Cost of a new global session.
    pub global_session_weight: i32,
    /// Cost of a reconnect.
    pub renew_session_weight: i32,
    /// Cost of a new local session.
    pub local_session_weight: i32,
}

impl From<&ServerConfig> for BlueThrottleSettings {
    fn from(config: &ServerConfig) -> Self {
        BlueThrottleSettings {
            tokens: config.connection_throttle_tokens,
            fill_time_ms: config.connection_throttle_fill_time_ms,
            fill_count: config.connection_throttle_fill_count,
            freeze_time_ms: config.connection_throttle_freeze_time_ms,
            drop_increase: config.connection_throttle_drop_increase,
            drop_decrease: config.connection_throttle_drop_decrease,
            decrease_ratio: config.connection_throttle_decrease_ratio,
            weight_enabled: config.connection_throttle_weight_enabled,
            global_session_weight: config.connection_throttle_global_session_weight,
            renew_session_weight: config.connection_throttle_renew_session_weight,
            local_session_weight: config.connection_throttle_local_session_weight,
        }
    }
}

/// What a connecting client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// A new session known to the whole ensemble.
    Global,
    /// A new session of this server only.
    Local,
    /// To go on with a session.
    Renew,
}

/// The throttle's state. Times are milliseconds of the monotonic clock.
#[derive(Debug, Clone)]
pub struct BlueThrottle {
    weights: Option<Weights>,
    tokens_max: i32,
    fill_time_ms: i32,
    fill_count: i32,
    tokens: i32,
    last_time_ms: i64,
    freeze_time_ms: i32,
    last_freeze_ms: i64,
    drop_increase: f64,
    drop_decrease: f64,
    decrease_ratio: f64,
    drop_chance: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weights {
    global: i32,
    renew: i32,
    local: i32,
}

impl BlueThrottle {
    /// A full bucket. Weights that make no sense are replaced, with a warning, as in Java.
    #[must_use]
    pub fn new(settings: &BlueThrottleSettings, now_ms: i64) -> BlueThrottle {
        let weights = weights(settings);
        // The configured tokens are meant for global sessions.
        let factor = if settings.weight_enabled { weights.global } else { 1 };
        let tokens_max = settings.tokens.wrapping_mul(factor);
        if settings.weight_enabled {
            info!(
                "Weighed connection throttling is enabled, if connection throttling is: {weights:?}"
            );
        } else {
            info!("Weighed connection throttling is disabled");
        }
        BlueThrottle {
            weights: settings.weight_enabled.then_some(weights),
            tokens_max,
            fill_time_ms: settings.fill_time_ms,
            fill_count: settings.fill_count.wrapping_mul(factor),
            tokens: tokens_max,
            last_time_ms: now_ms,
            freeze_time_ms: settings.freeze_time_ms,
            last_freeze_ms: now_ms,
            drop_increase: settings.drop_increase,
            drop_decrease: settings.drop_decrease,
            decrease_ratio: settings.decrease_ratio,
            drop_chance: 0.0,
        }
    }

    /// Whether anything is ever refused.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.tokens_max != 0
    }

    /// The tokens that a client of this kind costs.
    #[must_use]
    pub fn required_tokens(&self, kind: SessionKind) -> i32 {
        self.weights.map_or(1, |weights| match kind {
            SessionKind::Global => weights.global,
            SessionKind::Local => weights.local,
            SessionKind::Renew => weights.renew,
        })
    }

    /// Whether a client that costs `need` tokens is accepted; it has then paid. `random` gives a
    /// number in 0.0..1.0 and is asked only if BLUE is on.
    pub fn check_limit(&mut self, need: i32, now_ms: i64, random: impl FnOnce() -> f64) -> bool {
        if !self.is_enabled() {
            return true;
        }
        self.refill(now_ms);
        if self.freeze_time_ms != -1 && !self.check_blue(now_ms, random) {
            return false;
        }
        if self.tokens < need {
            return false;
        }
        self.tokens -= need;
        true
    }

    /// Tokens in use (metric `connection_token_deficit`).
    #[must_use]
    pub fn deficit(&self) -> i32 {
        self.tokens_max.wrapping_sub(self.tokens)
    }

    /// The chance to be refused (metric `connection_drop_probability`).
    #[must_use]
    pub fn drop_chance(&self) -> f64 {
        self.drop_chance
    }

    fn refill(&mut self, now_ms: i64) {
        let elapsed_ms = now_ms.saturating_sub(self.last_time_ms);
        if elapsed_ms <= i64::from(self.fill_time_ms) {
            return;
        }
        // A period of 0 is a division by zero in Java, which refuses everybody.
        let refill = elapsed_ms
            .wrapping_mul(i64::from(self.fill_count))
            .checked_div(i64::from(self.fill_time_ms))
            .unwrap_or(i64::MAX);
        let tokens = i64::from(self.tokens).saturating_add(refill).min(i64::from(self.tokens_max));
        self.tokens = tokens as i32;
        if self.tokens < 0 {
            self.tokens = self.tokens_max;
            error!(
                "Throttle config values fill_time({}) and fill_count({}) are insane and cause long \
                 integer overflow after {elapsed_ms}ms",
                self.fill_time_ms, self.fill_count
            );
        }
        self.last_time_ms = now_ms;
    }

    fn check_blue(&mut self, now_ms: i64, random: impl FnOnce() -> f64) -> bool {
        let in_use = self.deficit();
        // Java: Math.round.
        let threshold = (f64::from(self.tokens_max) * self.decrease_ratio + 0.5).floor();
        if now_ms.saturating_sub(self.last_freeze_ms) > i64::from(self.freeze_time_ms) {
            if in_use == self.tokens_max && self.drop_chance < 1.0 {
                self.drop_chance = (self.drop_chance + self.drop_increase).min(1.0);
            } else if f64::from(in_use) <= threshold && self.drop_chance > 0.0 {
                self.drop_chance = (self.drop_chance - self.drop_decrease).max(0.0);
            }
            self.last_freeze_ms = now_ms;
        }
        random() >= self.drop_chance
    }
}

fn weights(settings: &BlueThrottleSettings) -> Weights {
    let local = settings.local_session_weight;
    let at_least_local = |name: &str, weight: i32, default: i32| {
        if weight <= 0 {
            warn!("Invalid {name} session weight {weight}. It should be larger than 0");
            default
        } else if weight < local {
            warn!(
                "The {name} session weight {weight} is less than the local session weight {local}. \
                 Use the local session weight."
            );
            local
        } else {
            weight
        }
    };
    let global = at_least_local("global", settings.global_session_weight, 3);
    let renew = at_least_local("renew", settings.renew_session_weight, 2);
    let local = if local <= 0 {
        warn!("Invalid local session weight {local}. It should be larger than 0");
        1
    } else {
        local
    };
    Weights { global, renew, local }
}

/// A [`BlueThrottle`] for all connection threads.
#[derive(Debug)]
pub struct ConnectionThrottle {
    state: Mutex<(BlueThrottle, JavaRandom)>,
}

impl ConnectionThrottle {
    /// `seed` starts the random numbers.
    #[must_use]
    pub fn new(settings: &BlueThrottleSettings, now_ms: i64, seed: i64) -> ConnectionThrottle {
        let state = (BlueThrottle::new(settings, now_ms), JavaRandom::new(seed));
        ConnectionThrottle { state: Mutex::new(Rank::Leaf, state) }
    }

    /// Whether a client is accepted, and the tokens in use afterwards.
    pub fn check_limit(&self, kind: SessionKind, now_ms: i64) -> (bool, i32) {
        let (throttle, random) = &mut *self.state.lock();
        let need = throttle.required_tokens(kind);
        let is_accepted = throttle.check_limit(need, now_ms, || random.next_double());
        (is_accepted, throttle.deficit())
    }

    /// See [`BlueThrottle::drop_chance`].
    #[must_use]
    pub fn drop_chance(&self) -> f64 {
        self.state.lock().0.drop_chance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BlueThrottleSettings {
        BlueThrottleSettings::from(&ServerConfig::default())
    }

    fn throttle(change: impl FnOnce(&mut BlueThrottleSettings)) -> BlueThrottle {
        let mut settings = settings();
        change(&mut settings);
        BlueThrottle::new(&settings, 0)
    }

    /// Accepts with certainty unless the chance to be refused is 1.
    fn luck() -> f64 {
        0.999
    }

    #[test]
    fn throttle_without_tokens_accepts_everybody() {
        let mut throttle = throttle(|_| ());
        assert!((0..1000).all(|_| throttle.check_limit(1, 0, luck)));
        assert_eq!(throttle.deficit(), 0);
    }

    #[test]
    fn bucket_is_emptied_and_refilled() {
        let mut throttle = throttle(|settings| {
            settings.tokens = 2;
            settings.fill_time_ms = 100;
        });
        let mut check = |now_ms, expected| {
            assert_eq!(throttle.check_limit(1, now_ms, luck), expected, "{now_ms}");
        };
        check(0, true);
        check(0, true);
        check(0, false);
        check(100, false);
        check(101, true);
        check(101, false);
        check(1000, true);
        check(1000, true);
        check(1000, false);
    }

    #[test]
    fn mad_refills_do_not_block_for_ever() {
        for (fill_time_ms, fill_count) in [(0, 1), (-1, 5), (1, i32::MAX), (1, -1)] {
            let mut throttle = throttle(|settings| {
                settings.tokens = 1;
                settings.fill_time_ms = fill_time_ms;
                settings.fill_count = fill_count;
            });
            assert!(throttle.check_limit(1, 1, luck));
            assert!(throttle.check_limit(1, i64::MAX, luck), "{fill_time_ms} {fill_count}");
        }
    }

    #[test]
    fn chance_to_be_refused_follows_the_bucket() {
        let mut throttle = throttle(|settings| {
            settings.tokens = 1;
            settings.fill_time_ms = 1_000_000;
            settings.freeze_time_ms = 10;
            settings.drop_increase = 0.75;
            settings.drop_decrease = 0.5;
        });
        assert!(throttle.check_limit(1, 0, luck));
        // Not within the freeze time.
        assert!(!throttle.check_limit(1, 10, luck));
        assert_eq!(throttle.drop_chance(), 0.0);
        assert!(!throttle.check_limit(1, 11, luck));
        assert_eq!(throttle.drop_chance(), 0.75);
        assert!(!throttle.check_limit(1, 22, luck));
        assert_eq!(throttle.drop_chance(), 1.0);
        // The bucket is full again, but chance refuses.
        assert!(!throttle.check_limit(1, 2_000_000, || 0.4));
        assert_eq!(throttle.drop_chance(), 0.5);
        assert!(throttle.check_limit(1, 2_000_001, || 0.5));
    }

    #[test]
    fn kinds_cost_what_is_configured() {
        let check = |weights: (i32, i32, i32), expected: (i32, i32, i32)| {
            let throttle = throttle(|settings| {
                settings.tokens = 10;
                settings.weight_enabled = true;
                (
                    settings.global_session_weight,
                    settings.renew_session_weight,
                    settings.local_session_weight,
                ) = weights;
            });
            let kinds = [SessionKind::Global, SessionKind::Renew, SessionKind::Local];
            let costs = kinds.map(|kind| throttle.required_tokens(kind));
            assert_eq!(costs, [expected.0, expected.1, expected.2], "{weights:?}");
            assert_eq!(throttle.tokens_max, 10 * expected.0);
        };
        check((3, 2, 1), (3, 2, 1));
        check((0, 0, 0), (3, 2, 1));
        check((2, 1, 5), (5, 5, 5));
        check((-1, 9, 4), (3, 9, 4));
        assert_eq!(throttle(|_| ()).required_tokens(SessionKind::Global), 1);
    }
}
