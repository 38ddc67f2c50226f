//! Whether a login is heard. Pure.

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::service::auth::hashers::Lane;

/// How many failures are too many, over all replicas.
#[derive(Clone, Copy, Debug)]
pub struct LoginLimits {
    /// Of one email from one source, in ten minutes.
    pub per_email_and_source: NonZeroU32,
    /// Of one email from all sources together from which its user has not logged in lately, in an hour.
    pub per_email: NonZeroU32,
    /// From one source, whatever the emails, in an hour.
    pub per_source: NonZeroU32,
}

/// How long failures of one email from one source are counted together.
pub(super) const PAIR_WINDOW: Duration = Duration::from_secs(10 * 60);

/// How long failures of one email, and those from one source, are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(60 * 60);

/// For how long a login makes its source a known one.
pub(super) const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Where one counter stands. A window begins with its first failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Failures in the window.
    pub(super) failures: u32,
    /// What is left of the window.
    pub(super) left: Duration,
}

impl Count {
    /// What a stored counter is worth: nothing once its window has ended.
    pub(super) fn at(now: DateTime<Utc>, failures: i32, ends_at: DateTime<Utc>) -> Self {
        match (ends_at - now).to_std() {
            Ok(left) if !left.is_zero() => Self { failures: u32::try_from(failures).unwrap_or_default(), left },
            _ => Self::default(),
        }
    }
}

/// Whether a login that long ago still speaks for its source.
pub(super) fn is_known(now: DateTime<Utc>, last_login_at: DateTime<Utc>) -> bool {
    // The conversion fails for times beyond what the type holds, which thirty days are not.
    last_login_at > now - TimeDelta::from_std(KNOWN_FOR).unwrap_or_default()
}

/// Everything that a decision needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Whether the email's user has logged in from this source lately, and still may.
    pub(super) known: bool,
    /// Failures of this email from this source.
    pub(super) pair: Count,
    /// Failures of this email from strange sources.
    pub(super) strangers: Count,
    /// Failures from this source.
    pub(super) source: Count,
    /// Attempts on this email from strange sources that are being heard just now.
    pub(super) under_way: u32,
}

/// What is done about a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its password is looked at.
    Allowed(Lane),
    /// It is not, for so long.
    TooMany {
        /// Until the last window ends that is full.
        retry_after: Duration,
        /// No other email is heard from this source either, for so long.
        source_for: Option<Duration>,
    },
    /// Those under way may turn out to be the last that are allowed.
    Deferred,
}

/// Weighs a login. Who it names, and whether there is such a user, plays no part but that a user's
/// guessed-at email does not keep that user out from where they are known.
pub(super) fn judge(standing: &Standing, limits: &LoginLimits) -> Verdict {
    let full = |count: Count, limit: NonZeroU32| (count.failures >= limit.get()).then_some(count.left);
    let source = full(standing.source, limits.per_source);
    let strangers = full(standing.strangers, limits.per_email).filter(|_| !standing.known);
    let pair = full(standing.pair, limits.per_email_and_source);
    if let Some(retry_after) = source.max(strangers).max(pair) {
        return Verdict::TooMany { retry_after, source_for: source };
    }
    match standing.known {
        true => Verdict::Allowed(Lane::Known),
        false if standing.strangers.failures.saturating_add(standing.under_way) >= limits.per_email.get() => Verdict::Deferred,
        false => Verdict::Allowed(Lane::Stranger),
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

    /// Every combination of: known or not, each counter one short of its limit, at it or past it, and how many are under way.
    #[test]
    fn the_whole_grid() {
        let seconds = Duration::from_secs;
        for known in [true, false] {
            for pair in [0, 19, 20, 21] {
                for strangers in [0, 99, 100, 134] {
                    for source in [0, 999, 1_000, 1_001] {
                        for under_way in [0, 1, 100, u32::MAX] {
                            let standing = Standing {
                                known,
                                pair: count(pair, 30),
                                strangers: count(strangers, 20),
                                source: count(source, 10),
                                under_way,
                            };
                            let expected = match (pair >= 20, strangers >= 100 && !known, source >= 1_000) {
                                (true, _, source) => (Some(30), source),
                                (false, true, source) => (Some(20), source),
                                (false, false, true) => (Some(10), true),
                                (false, false, false) => (None, false),
                            };
                            let expected = match expected {
                                (Some(wait), source) => {
                                    Verdict::TooMany { retry_after: seconds(wait), source_for: source.then_some(seconds(10)) }
                                }
                                (None, _) if known => Verdict::Allowed(Lane::Known),
                                (None, _) if strangers == 99 && under_way > 0 => Verdict::Deferred,
                                (None, _) if under_way >= 100 => Verdict::Deferred,
                                (None, _) => Verdict::Allowed(Lane::Stranger),
                            };
                            assert_eq!(judge(&standing, &LIMITS), expected, "{standing:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_longest_block_is_the_one_that_is_told() {
        for (pair, strangers, source) in [(30, 20, 10), (10, 30, 20), (20, 10, 30)] {
            let standing = Standing {
                known: false,
                pair: count(20, pair),
                strangers: count(100, strangers),
                source: count(1_000, source),
                under_way: 0,
            };
            let expected = Verdict::TooMany { retry_after: Duration::from_secs(30), source_for: Some(Duration::from_secs(source)) };
            assert_eq!(judge(&standing, &LIMITS), expected);
        }
    }

    #[test]
    fn a_window_counts_until_it_ends() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let after = |seconds| now + TimeDelta::seconds(seconds);
        assert_eq!(Count::at(now, 7, after(1)), count(7, 1));
        assert_eq!(Count::at(now, 7, now), Count::default());
        assert_eq!(Count::at(now, 7, after(-1)), Count::default());
    }

    #[test]
    fn a_login_speaks_for_its_source_for_thirty_days() {
        let now = DateTime::from_timestamp(100_000_000, 0).expect("a time");
        let before = |seconds| now - TimeDelta::seconds(seconds);
        assert!(is_known(now, now) && is_known(now, before(30 * 86_400 - 1)));
        assert!(!is_known(now, before(30 * 86_400)));
    }
}
