//! Limits per address on what fails: logins and tokens that are none. In memory, per replica.

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
use crate::{http::address::Source, service::error::Error};

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Tells a caller where the account stands in its hour.
pub(in crate::http) fn tell(headers: &mut HeaderMap, standing: &QuotaSnapshot) {
    headers.insert(LIMIT.clone(), standing.limit.into());
    headers.insert(REMAINING.clone(), standing.remaining.into());
    headers.insert(RESET.clone(), standing.reset.into());
}

/// So many failures a minute from one address, and then none are heard until the next is due.
/// Successes cost nothing.
pub(in crate::http) struct Failures {
    limiter: DefaultKeyedRateLimiter<Source>,
    clock: DefaultClock,
    silenced: Mutex<HashMap<Source, Instant>>,
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").finish_non_exhaustive()
    }
}

impl Failures {
    pub(in crate::http) fn per_minute(limit: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(limit)), clock: DefaultClock::default(), silenced: Mutex::default() }
    }

    /// Whether an address is heard.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`].
    pub(in crate::http) fn check(&self, source: Source, now: Instant) -> Result<(), Error> {
        match self.silenced().get(&source).and_then(|until| until.checked_duration_since(now)) {
            Some(retry_after) if !retry_after.is_zero() => Err(Error::TooManyAttempts { retry_after }),
            _ => Ok(()),
        }
    }

    /// Counts a failure.
    pub(in crate::http) fn count(&self, source: Source, now: Instant) {
        if let Err(until) = self.limiter.check_key(&source) {
            let wait = until.wait_time_from(self.clock.now());
            self.silenced().insert(source, now + wait);
        }
    }

    /// Forgets the addresses that have nothing held against them any more.
    pub(in crate::http) fn forget_the_recovered(&self, now: Instant) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.silenced().retain(|_, until| now < *until);
    }

    fn silenced(&self) -> MutexGuard<'_, HashMap<Source, Instant>> {
        self.silenced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often recovered addresses are forgotten.
pub(in crate::http) const SWEEP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn source(last: u8) -> Source {
        Source::of(SocketAddr::from(([10, 0, 0, last], 1)), &HeaderMap::new(), 0)
    }

    #[test]
    fn an_address_is_silenced_by_its_own_failures_and_heard_again_later() {
        let failures = Failures::per_minute(NonZeroU32::new(5).expect("above zero"));
        let now = Instant::now();
        for _ in 0..6 {
            assert!(failures.check(source(1), now).is_ok());
            failures.count(source(1), now);
        }
        let Err(Error::TooManyAttempts { retry_after }) = failures.check(source(1), now) else { panic!("still heard") };
        assert!(retry_after <= Duration::from_secs(12), "{retry_after:?}");
        assert!(failures.check(source(2), now).is_ok());
        assert!(failures.check(source(1), now + Duration::from_secs(12)).is_ok());
    }
}
