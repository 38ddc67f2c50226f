//! This replica's part of the quota: a governor bucket in memory for each account and clock hour.
//!
//! It keeps a flood of requests away from the database, and is never stricter than the database, which counts over all
//! replicas. A bucket holds the hour's requests and does not refill within the hour. A request that the database did
//! not count returns its cell. Once the hour is full, one request a second still asks the database, so that a raised quota
//! takes effect.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, RateLimiter};

use crate::domain::{id::AccountId, quota::QuotaSnapshot};

/// The largest bucket. Governor counts one hour for each cell in 64 bits of nanoseconds, enough for five million cells.
/// A larger limit is counted only by the database.
const MAX_BUCKET: NonZeroU32 = NonZeroU32::new(5_000_000).unwrap();

/// How often a request of a full hour asks the database whether the quota was raised.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A clock hour of an account.
struct Window {
    /// Epoch second at which it ends, by the database's clock.
    reset: i64,
    /// The same moment by the clock of this process, or a slightly earlier one.
    ends: Instant,
    limit: NonZeroU32,
    /// None if the limit exceeds [`MAX_BUCKET`].
    bucket: Option<DefaultDirectRateLimiter>,
    /// Returned cells of requests that the database did not count.
    given_back: u32,
    /// Whether the database has reported a full hour.
    full: bool,
    /// When the database last reported a full hour, or a request was last let through to ask it.
    checked: Instant,
    /// Whether the audit log has recorded a full hour.
    is_reported: bool,
}

/// Every account's current window.
#[derive(Default)]
pub(super) struct LocalQuota {
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    by_account: HashMap<AccountId, Window>,
    sweep_at: usize,
}

/// The usage of an hour, as the database reported it.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    pub(super) reset: i64,
    pub(super) ends: Instant,
    pub(super) limit: NonZeroU32,
    /// None if the hour is full.
    pub(super) used: Option<u32>,
}

impl LocalQuota {
    /// Takes a cell for a request that is about to be counted.
    ///
    /// # Errors
    /// The hour is full, as far as this replica knows.
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
        if now.duration_since(window.checked) >= CHECK_EVERY {
            window.checked = now;
            return Ok(());
        }
        Err(QuotaSnapshot { limit: window.limit.get(), remaining: 0, reset: window.reset, retry_after: window.ends.duration_since(now) })
    }

    /// Returns the cell of a request that was not counted.
    pub(super) fn give_back(&self, account: AccountId) {
        if let Some(window) = self.lock().by_account.get_mut(&account) {
            window.given_back = window.given_back.saturating_add(1).min(window.limit.get());
        }
    }

    /// Updates the window with the usage that the database reported.
    pub(super) fn update(&self, account: AccountId, usage: Usage, now: Instant) {
        let mut windows = self.lock();
        // A limit that changes within the hour opens a new window, less what was used.
        let is_current = windows
            .by_account
            .get(&account)
            .is_some_and(|window| window.reset > usage.reset || (window.reset == usage.reset && window.limit == usage.limit));
        if !is_current {
            windows.sweep(now);
            windows.by_account.insert(account, Window::opened_at(usage, now));
        }
        if usage.used.is_none()
            && let Some(window) = windows.by_account.get_mut(&account).filter(|window| window.reset == usage.reset)
        {
            window.full = true;
            window.checked = now;
        }
    }

    /// Whether a full hour is to be reported. True once for each hour.
    pub(super) fn should_report(&self, account: AccountId) -> bool {
        self.lock().by_account.get_mut(&account).is_some_and(|window| !std::mem::replace(&mut window.is_reported, true))
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        // Nothing under the lock can panic halfway through a change.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn opened_at(usage: Usage, now: Instant) -> Self {
        // One cell refills in an hour, so none refills within this window.
        let quota = governor::Quota::with_period(Duration::from_secs(3600)).map(|quota| quota.allow_burst(usage.limit));
        let quota = quota.filter(|_| usage.limit <= MAX_BUCKET);
        let bucket = quota.map(RateLimiter::direct);
        // Takes the cells that all replicas have used so far.
        if let (Some(bucket), Some(used)) = (&bucket, usage.used.and_then(NonZeroU32::new)) {
            let _taken = bucket.check_n(used.min(usage.limit));
        }
        Self {
            reset: usage.reset,
            ends: usage.ends,
            limit: usage.limit,
            bucket,
            given_back: 0,
            full: false,
            checked: now,
            is_reported: false,
        }
    }
}

impl Windows {
    /// Removes windows that have ended, seldom enough to cost nothing.
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

    fn usage(used: Option<u32>, limit: u32, ends: Instant) -> Usage {
        Usage { reset: 3_600, ends, limit: NonZeroU32::new(limit).expect("above zero"), used }
    }

    fn admitted(local: &LocalQuota, account: AccountId, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| local.take(account, now).is_ok()).count()
    }

    #[test]
    fn an_unknown_window_admits_every_request() {
        assert_eq!(admitted(&LocalQuota::default(), AccountId::new(), Instant::now(), 5_000), 5_000);
    }

    #[test]
    fn a_single_replica_admits_exactly_the_limit() {
        let (local, account, now) = (LocalQuota::default(), AccountId::new(), Instant::now());
        let ends = now + Duration::from_secs(3_600);
        local.update(account, usage(Some(1), 1_000, ends), now);
        assert_eq!(admitted(&local, account, now, 5_000), 999);
    }

    #[test]
    fn only_the_database_counts_a_limit_beyond_the_largest_bucket() {
        let (local, account, now) = (LocalQuota::default(), AccountId::new(), Instant::now());
        local.update(account, usage(Some(1), u32::MAX, now + Duration::from_secs(3_600)), now);
        assert_eq!(admitted(&local, account, now, 100_000), 100_000);
        let (local, account) = (LocalQuota::default(), AccountId::new());
        local.update(account, usage(Some(4_999_990), MAX_BUCKET.get(), now + Duration::from_secs(3_600)), now);
        assert_eq!(admitted(&local, account, now, 100), 10);
    }

    #[test]
    fn a_limit_that_is_raised_within_the_hour_takes_effect_at_once() {
        let (local, account, now) = (LocalQuota::default(), AccountId::new(), Instant::now());
        let ends = now + Duration::from_secs(60);
        local.update(account, usage(Some(1), 10, ends), now);
        assert_eq!(admitted(&local, account, now, 4), 4);
        local.update(account, usage(Some(5), 20, ends), now);
        assert_eq!(admitted(&local, account, now, 100), 15);
    }

    #[test]
    fn requests_that_were_not_counted_give_their_cells_back() {
        let (local, account, now) = (LocalQuota::default(), AccountId::new(), Instant::now());
        local.update(account, usage(Some(1), 10, now + Duration::from_secs(60)), now);
        assert_eq!(admitted(&local, account, now, 100), 9);
        local.give_back(account);
        local.give_back(account);
        assert_eq!(admitted(&local, account, now, 100), 2);
    }

    #[test]
    fn a_full_hour_refuses_requests_until_it_ends() {
        let (local, account, now) = (LocalQuota::default(), AccountId::new(), Instant::now());
        let ends = now + Duration::from_secs(60);
        local.update(account, usage(None, 1_000, ends), now);
        let full = local.take(account, now).expect_err("full");
        assert_eq!((full.limit, full.remaining, full.reset), (1_000, 0, 3_600));
        local.give_back(account);
        let just_before = ends.checked_sub(Duration::from_millis(1)).expect("later than the epoch");
        assert_eq!(admitted(&local, account, just_before, 5_000), 1, "only the look of that second");
        assert!(local.take(account, ends).is_ok());
    }

    #[test]
    fn a_full_hour_asks_the_database_once_a_second() {
        let (local, account, now) = (LocalQuota::default(), AccountId::new(), Instant::now());
        let ends = now + Duration::from_secs(60);
        local.update(account, usage(None, 1_000, ends), now);
        assert_eq!(admitted(&local, account, now + Duration::from_millis(999), 5_000), 0);
        assert_eq!(admitted(&local, account, now + Duration::from_millis(1_000), 5_000), 1);
        assert_eq!(admitted(&local, account, now + Duration::from_millis(1_999), 5_000), 0);
        // The quota has been raised.
        local.update(account, usage(Some(1_001), 2_000, ends), now + Duration::from_millis(1_000));
        assert_eq!(admitted(&local, account, now + Duration::from_millis(1_001), 5_000), 999);
    }

    #[test]
    fn accounts_do_not_share_a_bucket() {
        let (local, now) = (LocalQuota::default(), Instant::now());
        let (full, other) = (AccountId::new(), AccountId::new());
        let ends = now + Duration::from_secs(60);
        local.update(full, usage(None, 10, ends), now);
        local.update(other, usage(Some(1), 10, ends), now);
        assert_eq!(admitted(&local, full, now, 10), 0);
        assert_eq!(admitted(&local, other, now, 100), 9);
    }
}
