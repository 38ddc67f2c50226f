//! When an endpoint that fails is spared, and when it is given up.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// An endpoint that has failed for this long without a success is given up.
pub const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// An endpoint is given up after no fewer failed attempts than this, so that one with few messages has had its chances.
pub const DISABLE_AFTER_ATTEMPTS: u32 = 20;

/// So many failures in a row open a breaker,
const FAILURES: usize = 10;

/// if they lie within this time.
const WINDOW: Duration = Duration::from_secs(60);

/// An open breaker permits one attempt in this time.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// Whether an endpoint must be disabled: both are counted from the first failure after the last success.
#[must_use]
pub fn must_disable(failing_for: Duration, failed_attempts: u32) -> bool {
    failing_for >= DISABLE_AFTER && failed_attempts >= DISABLE_AFTER_ATTEMPTS
}

/// Spares an endpoint that fails at every attempt, and the process that calls it: it opens after ten failures in a row within
/// a minute. Then it permits one attempt every thirty seconds, until one succeeds.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// When the last failures in a row came, the oldest first.
    failures: VecDeque<Instant>,
    /// While it is open: when the next attempt is permitted.
    probe_at: Option<Instant>,
}

impl Breaker {
    /// Whether an attempt is permitted.
    #[must_use]
    pub fn permits(&self, now: Instant) -> bool {
        self.probe_at.is_none_or(|at| at <= now)
    }

    /// Whether it permits only one attempt at a time.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.probe_at.is_some()
    }

    /// When an attempt is permitted: now, or at a later moment.
    #[must_use]
    pub fn next_permitted(&self, now: Instant) -> Instant {
        self.probe_at.map_or(now, |at| at.max(now))
    }

    /// Whether an attempt is permitted, which is then begun: while the breaker is open, no second one is permitted beside it.
    #[must_use]
    pub fn start(&mut self, now: Instant) -> bool {
        let permitted = self.permits(now);
        if permitted && self.probe_at.is_some() {
            self.probe_at = Some(now + PROBE_EVERY);
        }
        permitted
    }

    /// Takes the end of an attempt into account.
    pub fn record(&mut self, success: bool, now: Instant) {
        if success {
            *self = Self::default();
            return;
        }
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let within = self.failures.front().is_some_and(|first| now.saturating_duration_since(*first) <= WINDOW);
        if self.probe_at.is_some() || (self.failures.len() == FAILURES && within) {
            self.probe_at = Some(now + PROBE_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn failed(times: usize, gap: Duration) -> (Breaker, Instant) {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for time in 0..times {
            if time > 0 {
                now += gap;
            }
            breaker.record(false, now);
        }
        (breaker, now)
    }

    #[test]
    fn an_endpoint_is_given_up_after_days_and_attempts() {
        assert!(must_disable(5 * DAY, 20) && must_disable(9 * DAY, 99));
        assert!(!must_disable(4 * DAY, u32::MAX) && !must_disable(Duration::MAX, 19));
    }

    #[test]
    fn ten_failures_within_a_minute_open_it() {
        let (breaker, now) = failed(9, Duration::ZERO);
        assert!(breaker.permits(now));
        let gap = WINDOW / 9;
        let (breaker, now) = failed(10, gap);
        assert!(!breaker.permits(now) && breaker.is_open());
        assert_eq!(breaker.next_permitted(now), now + PROBE_EVERY);
        let (breaker, now) = failed(50, gap + Duration::from_millis(1));
        assert!(breaker.permits(now), "ten failures are more than a minute apart");
        assert_eq!(breaker.next_permitted(now), now);
    }

    #[test]
    fn an_open_one_permits_one_attempt_in_thirty_seconds() {
        let (mut breaker, now) = failed(10, Duration::ZERO);
        let probe = now + PROBE_EVERY;
        assert!(!breaker.permits(now + Duration::from_millis(29_999)) && breaker.permits(probe));
        assert!(!breaker.start(now) && breaker.start(probe) && !breaker.start(probe));
        assert_eq!(breaker.next_permitted(probe), probe + PROBE_EVERY);
        let late = probe + Duration::from_secs(10);
        breaker.record(false, late);
        assert_eq!(breaker.next_permitted(late), late + PROBE_EVERY, "one failure keeps it open");
        let much_later = late + DAY;
        breaker.record(false, much_later);
        assert!(!breaker.permits(much_later), "however long ago the others are");
    }

    #[test]
    fn a_success_closes_it_and_begins_the_count_anew() {
        let (mut breaker, now) = failed(10, Duration::ZERO);
        breaker.record(true, now);
        assert!(breaker.start(now) && breaker.start(now) && !breaker.is_open());
        for _ in 0..9 {
            breaker.record(false, now);
        }
        assert!(breaker.permits(now));
        breaker.record(true, now);
        breaker.record(false, now);
        assert!(breaker.permits(now));
    }

    proptest! {
        #[test]
        fn the_next_moment_is_the_first_permitted(results in proptest::collection::vec((any::<bool>(), 0_u64..40), 0..60)) {
            let (mut breaker, mut now) = (Breaker::default(), Instant::now());
            for (success, gap) in results {
                now += Duration::from_secs(gap);
                breaker.record(success, now);
                let next = breaker.next_permitted(now);
                prop_assert!(breaker.permits(next) && next <= now + PROBE_EVERY);
                prop_assert_eq!(next == now, breaker.permits(now));
                prop_assert!(!success || breaker.permits(now));
            }
        }
    }
}
