//! The quota's front: one governor bucket per account and clock hour, in memory, in this replica.
//!
//! It keeps a flood off the database and is never stricter than the hour's count: it holds the
//! hour's requests, none come back within the hour, and a cell that the database did not count
//! is given back. What it knows is this replica's part; the count over all is the database's.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, RateLimiter};

use crate::domain::{id::AccountId, quota::QuotaSnapshot};

/// The largest bucket. Governor counts an hour per cell in 64 bits of nanoseconds, which is enough
/// for five million; above that the database alone counts.
const MAX_BUCKET: NonZeroU32 = NonZeroU32::new(5_000_000).unwrap();

/// A window this replica knows of.
struct Window {
    /// Epoch second at which it ends, by the database's clock.
    reset: i64,
    /// The same moment by this process' clock, never later.
    ends: Instant,
    limit: NonZeroU32,
    /// None for a limit that is no limit.
    bucket: Option<DefaultDirectRateLimiter>,
    /// Cells taken by requests that the database did not count.
    given_back: u32,
    /// The database said so: no request of this hour will be admitted any more.
    full: bool,
    /// That it is full is in the trail.
    told: bool,
}

/// Every account's current window.
#[derive(Default)]
pub(super) struct Front {
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    by_account: HashMap<AccountId, Window>,
    sweep_at: usize,
}

/// What the database said of an hour.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) reset: i64,
    pub(super) ends: Instant,
    pub(super) limit: NonZeroU32,
    /// None: the hour was full.
    pub(super) used: Option<u32>,
}

impl Front {
    /// Takes a cell for a request that is about to be counted.
    ///
    /// # Errors
    /// The hour is known to be full.
    pub(super) fn take(&self, account: AccountId, now: Instant) -> Result<(), QuotaSnapshot> {
        let mut windows = self.lock();
        let Some(window) = windows.by_account.get_mut(&account).filter(|window| now < window.ends) else {
            return Ok(());
        };
        if !window.full && window.bucket.as_ref().is_none_or(|bucket| bucket.check().is_ok()) {
            return Ok(());
        }
        if !window.full && window.given_back > 0 {
            window.given_back -= 1;
            return Ok(());
        }
        Err(QuotaSnapshot { limit: window.limit.get(), remaining: 0, reset: window.reset, retry_after: window.ends.duration_since(now) })
    }

    /// Gives back the cell of a request that was not counted after all.
    pub(super) fn give_back(&self, account: AccountId) {
        if let Some(window) = self.lock().by_account.get_mut(&account) {
            window.given_back = window.given_back.saturating_add(1).min(window.limit.get());
        }
    }

    /// Learns from an answer of the database.
    pub(super) fn learn(&self, account: AccountId, seen: Seen, now: Instant) {
        let mut windows = self.lock();
        // A limit that was changed during the hour is a new window: what was used is taken from it again.
        let known = windows
            .by_account
            .get(&account)
            .is_some_and(|window| window.reset > seen.reset || (window.reset == seen.reset && window.limit == seen.limit));
        if !known {
            windows.sweep(now);
            windows.by_account.insert(account, Window::opened_at(seen));
        }
        if seen.used.is_none()
            && let Some(window) = windows.by_account.get_mut(&account).filter(|window| window.reset == seen.reset)
        {
            window.full = true;
        }
    }

    /// Whether a full hour is yet to be told of. True once an hour.
    pub(super) fn is_news(&self, account: AccountId) -> bool {
        self.lock().by_account.get_mut(&account).is_some_and(|window| !std::mem::replace(&mut window.told, true))
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        // Nothing under the lock can panic half way through a change.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn opened_at(seen: Seen) -> Self {
        // One cell comes back in an hour, and none in the window that is left of this one.
        let quota = governor::Quota::with_period(Duration::from_secs(3600)).map(|quota| quota.allow_burst(seen.limit));
        let quota = quota.filter(|_| seen.limit <= MAX_BUCKET);
        let bucket = quota.map(RateLimiter::direct);
        // What all replicas used so far is gone from this bucket as well.
        if let (Some(bucket), Some(used)) = (&bucket, seen.used.and_then(NonZeroU32::new)) {
            let _taken = bucket.check_n(used.min(seen.limit));
        }
        Self { reset: seen.reset, ends: seen.ends, limit: seen.limit, bucket, given_back: 0, full: false, told: false }
    }
}

impl Windows {
    /// Forgets ended windows, seldom enough to cost nothing.
    fn sweep(&mut self, now: Instant) {
        if self.by_account.len() >= self.sweep_at {
            self.by_account.retain(|_, window| now < window.ends);
            self.sweep_at = (self.by_account.len() * 2).max(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(used: Option<u32>, limit: u32, ends: Instant) -> Seen {
        Seen { reset: 3_600, ends, limit: NonZeroU32::new(limit).expect("above zero"), used }
    }

    fn admitted(front: &Front, account: AccountId, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| front.take(account, now).is_ok()).count()
    }

    #[test]
    fn an_unknown_window_lets_everything_through_to_be_counted() {
        assert_eq!(admitted(&Front::default(), AccountId::new(), Instant::now(), 5_000), 5_000);
    }

    #[test]
    fn one_replica_alone_admits_exactly_the_limit() {
        let (front, account, now) = (Front::default(), AccountId::new(), Instant::now());
        let ends = now + Duration::from_secs(3_600);
        front.learn(account, seen(Some(1), 1_000, ends), now);
        assert_eq!(admitted(&front, account, now, 5_000), 999);
    }

    #[test]
    fn a_limit_beyond_what_a_bucket_holds_is_left_to_the_database() {
        let (front, account, now) = (Front::default(), AccountId::new(), Instant::now());
        front.learn(account, seen(Some(1), u32::MAX, now + Duration::from_secs(3_600)), now);
        assert_eq!(admitted(&front, account, now, 100_000), 100_000);
        let (front, account) = (Front::default(), AccountId::new());
        front.learn(account, seen(Some(4_999_990), MAX_BUCKET.get(), now + Duration::from_secs(3_600)), now);
        assert_eq!(admitted(&front, account, now, 100), 10);
    }

    #[test]
    fn a_limit_that_is_raised_during_the_hour_holds_at_once() {
        let (front, account, now) = (Front::default(), AccountId::new(), Instant::now());
        let ends = now + Duration::from_secs(60);
        front.learn(account, seen(Some(1), 10, ends), now);
        assert_eq!(admitted(&front, account, now, 4), 4);
        front.learn(account, seen(Some(5), 20, ends), now);
        assert_eq!(admitted(&front, account, now, 100), 15);
    }

    #[test]
    fn what_was_not_counted_is_given_back() {
        let (front, account, now) = (Front::default(), AccountId::new(), Instant::now());
        front.learn(account, seen(Some(1), 10, now + Duration::from_secs(60)), now);
        assert_eq!(admitted(&front, account, now, 100), 9);
        front.give_back(account);
        front.give_back(account);
        assert_eq!(admitted(&front, account, now, 100), 2);
    }

    #[test]
    fn a_full_hour_is_refused_until_it_ends_and_not_after() {
        let (front, account, now) = (Front::default(), AccountId::new(), Instant::now());
        let ends = now + Duration::from_secs(60);
        front.learn(account, seen(None, 1_000, ends), now);
        let standing = front.take(account, now).expect_err("full");
        assert_eq!((standing.limit, standing.remaining, standing.reset), (1_000, 0, 3_600));
        front.give_back(account);
        assert!(front.take(account, ends.checked_sub(Duration::from_millis(1)).expect("later than the epoch")).is_err());
        assert!(front.take(account, ends).is_ok());
    }

    #[test]
    fn accounts_do_not_share_a_bucket() {
        let (front, now) = (Front::default(), Instant::now());
        let (full, other) = (AccountId::new(), AccountId::new());
        let ends = now + Duration::from_secs(60);
        front.learn(full, seen(None, 10, ends), now);
        front.learn(other, seen(Some(1), 10, ends), now);
        assert_eq!(admitted(&front, full, now, 10), 0);
        assert_eq!(admitted(&front, other, now, 100), 9);
    }
}
