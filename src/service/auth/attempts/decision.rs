//! Decides whether a login attempt is allowed. Pure.

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::service::auth::hashers::Lane;

/// The limits on failed logins, over all replicas.
#[derive(Clone, Copy, Debug)]
pub struct LoginLimits {
    /// For one email from one source, in ten minutes.
    pub per_email_and_source: NonZeroU32,
    /// For one email from all untrusted sources together, in an hour.
    pub per_email: NonZeroU32,
    /// From one source, for all emails together, in an hour.
    pub per_source: NonZeroU32,
}

/// The window of failures for one email from one source.
pub(super) const PAIR_WINDOW: Duration = Duration::from_secs(10 * 60);

/// The window of failures for one email, and of failures from one source.
pub(super) const WINDOW: Duration = Duration::from_secs(60 * 60);

/// How long a successful login makes its source trusted.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The value of a counter. Its window begins with the first failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Failures in the window.
    pub(super) failures: u32,
    /// The time until the window ends.
    pub(super) left: Duration,
}

impl Count {
    /// The value of a stored counter: zero once its window has ended.
    pub(super) fn at(now: DateTime<Utc>, failures: i32, ends_at: DateTime<Utc>) -> Self {
        match (ends_at - now).to_std() {
            Ok(left) if !left.is_zero() => Self { failures: u32::try_from(failures).unwrap_or_default(), left },
            _ => Self::default(),
        }
    }
}

/// Whether a source is still trusted because of its last login.
pub(super) fn is_trusted(now: DateTime<Utc>, last_login_at: DateTime<Utc>) -> bool {
    // The conversion cannot fail: thirty days are within the range of the type.
    last_login_at > now - TimeDelta::from_std(TRUSTED_FOR).unwrap_or_default()
}

/// What a decision depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptState {
    /// Whether the user is enabled and trusts this source.
    pub(super) trusted: bool,
    /// Failures for this email from this source.
    pub(super) pair: Count,
    /// Failures for this email from untrusted sources.
    pub(super) untrusted: Count,
    /// Failures from this source.
    pub(super) source: Count,
    /// Attempts in flight on this replica, for this email from untrusted sources.
    pub(super) in_flight: u32,
}

/// The decision on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its password is verified, in this lane.
    Allowed(Lane),
    /// It is blocked.
    TooMany {
        /// The time until the last full window ends.
        retry_after: Duration,
        /// How long all other emails are blocked from this source too. None if the window of the source is not full.
        source_for: Option<Duration>,
    },
    /// Attempts in flight may use up what is allowed.
    Deferred,
}

/// Decides on an attempt. Failures from untrusted sources do not block a trusted one: guesses cannot lock a user out.
/// Otherwise the decision does not depend on whether the user exists.
pub(super) fn decide(state: &AttemptState, limits: &LoginLimits) -> Verdict {
    let full = |count: Count, limit: NonZeroU32| (count.failures >= limit.get()).then_some(count.left);
    let source = full(state.source, limits.per_source);
    let untrusted = full(state.untrusted, limits.per_email).filter(|_| !state.trusted);
    let pair = full(state.pair, limits.per_email_and_source);
    if let Some(retry_after) = source.max(untrusted).max(pair) {
        return Verdict::TooMany { retry_after, source_for: source };
    }
    match state.trusted {
        true => Verdict::Allowed(Lane::Trusted),
        false if state.untrusted.failures.saturating_add(state.in_flight) >= limits.per_email.get() => Verdict::Deferred,
        false => Verdict::Allowed(Lane::Untrusted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LoginLimits = LoginLimits {
        per_email_and_source: NonZeroU32::new(20).unwrap(),
        per_email: NonZeroU32::new(100).unwrap(),
        per_source: NonZeroU32::new(1_000).unwrap(),
    };

    const fn count(failures: u32, left: u64) -> Count {
        Count { failures, left: Duration::from_secs(left) }
    }

    /// Combines trusted and untrusted, each counter at zero, below, at and above its limit, and attempts in flight.
    #[test]
    fn every_combination_is_decided_as_specified() {
        let seconds = Duration::from_secs;
        for trusted in [true, false] {
            for pair in [0, 19, 20, 21] {
                for untrusted in [0, 99, 100, 134] {
                    for source in [0, 999, 1_000, 1_001] {
                        for in_flight in [0, 1, 100, u32::MAX] {
                            let state = AttemptState {
                                trusted,
                                pair: count(pair, 30),
                                untrusted: count(untrusted, 20),
                                source: count(source, 10),
                                in_flight,
                            };
                            let expected = match (pair >= 20, untrusted >= 100 && !trusted, source >= 1_000) {
                                (true, _, source) => (Some(30), source),
                                (false, true, source) => (Some(20), source),
                                (false, false, true) => (Some(10), true),
                                (false, false, false) => (None, false),
                            };
                            let expected = match expected {
                                (Some(wait), source) => {
                                    Verdict::TooMany { retry_after: seconds(wait), source_for: source.then_some(seconds(10)) }
                                }
                                (None, _) if trusted => Verdict::Allowed(Lane::Trusted),
                                (None, _) if untrusted == 99 && in_flight > 0 => Verdict::Deferred,
                                (None, _) if in_flight >= 100 => Verdict::Deferred,
                                (None, _) => Verdict::Allowed(Lane::Untrusted),
                            };
                            assert_eq!(decide(&state, &LIMITS), expected, "{state:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn retry_after_is_the_longest_block() {
        for (pair, untrusted, source) in [(30, 20, 10), (10, 30, 20), (20, 10, 30)] {
            let state = AttemptState {
                trusted: false,
                pair: count(20, pair),
                untrusted: count(100, untrusted),
                source: count(1_000, source),
                in_flight: 0,
            };
            let expected = Verdict::TooMany { retry_after: Duration::from_secs(30), source_for: Some(Duration::from_secs(source)) };
            assert_eq!(decide(&state, &LIMITS), expected);
        }
    }

    #[test]
    fn a_counter_is_zero_once_its_window_has_ended() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let after = |seconds| now + TimeDelta::seconds(seconds);
        assert_eq!(Count::at(now, 7, after(1)), count(7, 1));
        assert_eq!(Count::at(now, 7, now), Count::default());
        assert_eq!(Count::at(now, 7, after(-1)), Count::default());
    }

    #[test]
    fn a_login_makes_its_source_trusted_for_thirty_days() {
        let now = DateTime::from_timestamp(100_000_000, 0).expect("a time");
        let before = |seconds| now - TimeDelta::seconds(seconds);
        assert!(is_trusted(now, now) && is_trusted(now, before(30 * 86_400 - 1)));
        assert!(!is_trusted(now, before(30 * 86_400)));
    }
}
