//! Limits per address on failed logins and invalid tokens, in memory and per replica.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::domain::quota::QuotaSnapshot;
use crate::{http::address::ClientAddress, service::error::Error};

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Sets the headers that report the account's quota.
pub(in crate::http) fn set_headers(headers: &mut HeaderMap, quota: &QuotaSnapshot) {
    headers.insert(LIMIT.clone(), quota.limit.into());
    headers.insert(REMAINING.clone(), quota.remaining.into());
    headers.insert(RESET.clone(), quota.reset.into());
}

/// Limits failures per minute and address. Past the limit the address is blocked until another failure fits.
/// Successes do not count.
pub(in crate::http) struct FailureLimiter {
    limiter: DefaultKeyedRateLimiter<ClientAddress>,
    clock: DefaultClock,
    blocked: Mutex<HashMap<ClientAddress, Instant>>,
}

impl fmt::Debug for FailureLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureLimiter").finish_non_exhaustive()
    }
}

impl FailureLimiter {
    pub(in crate::http) fn per_minute(limit: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(limit)), clock: DefaultClock::default(), blocked: Mutex::default() }
    }

    /// Checks that an address is not blocked.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`].
    pub(in crate::http) fn check(&self, source: ClientAddress, now: Instant) -> Result<(), Error> {
        match self.blocked().get(&source).and_then(|until| until.checked_duration_since(now)) {
            Some(retry_after) if !retry_after.is_zero() => Err(Error::TooManyAttempts { retry_after }),
            _ => Ok(()),
        }
    }

    /// Counts a failure.
    pub(in crate::http) fn count(&self, source: ClientAddress, now: Instant) {
        if let Err(until) = self.limiter.check_key(&source) {
            let wait = until.wait_time_from(self.clock.now());
            self.blocked().insert(source, now + wait);
        }
    }

    /// Removes the addresses that have recovered.
    pub(in crate::http) fn remove_expired(&self, now: Instant) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.blocked().retain(|_, until| now < *until);
    }

    fn blocked(&self) -> MutexGuard<'_, HashMap<ClientAddress, Instant>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often recovered addresses are removed.
pub(in crate::http) const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::Networks;

    fn source(last: u8) -> ClientAddress {
        ClientAddress::of(SocketAddr::from(([10, 0, 0, last], 1)), &HeaderMap::new(), &Networks::default())
    }

    #[test]
    fn an_address_is_blocked_by_its_own_failures_and_recovers() {
        let failures = FailureLimiter::per_minute(NonZeroU32::new(5).expect("above zero"));
        let now = Instant::now();
        for _ in 0..6 {
            assert!(failures.check(source(1), now).is_ok());
            failures.count(source(1), now);
        }
        let Err(Error::TooManyAttempts { retry_after }) = failures.check(source(1), now) else { panic!("not blocked") };
        assert!(retry_after <= Duration::from_secs(12), "{retry_after:?}");
        assert!(failures.check(source(2), now).is_ok());
        assert!(failures.check(source(1), now + Duration::from_secs(12)).is_ok());
    }
}
