//! What this replica knows about attempts: which ones the database has blocked, and how many are in flight for each
//! email. It keeps most of a flood of attempts away from the database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    counter_key::{CounterKey, CounterKeys},
    decision::{Count, Verdict},
};
use crate::service::auth::hashers::Lane;

/// How long a block is cached before the database is asked again. A block that is lifted elsewhere, by an operator or
/// by a login on another replica, ends here after this time at the latest.
const CACHE_FOR: Duration = Duration::from_secs(60);

/// How long a new count overrides one that was read before it. No unit of work lasts longer.
const MAX_READ_TIME: Duration = Duration::from_secs(10);

/// The most cached blocks, about ten megabytes. Beyond it, the database is asked each time.
const MAX_BLOCKS: usize = 100_000;

/// A block that the database has reported.
#[derive(Clone, Copy)]
struct Block {
    ends_at: Instant,
    cached_until: Instant,
}

/// The attempts on one email from untrusted sources.
struct UntrustedAttempts {
    in_flight: u32,
    /// The last count.
    failures: u32,
    /// Until when the last count may be newer than one that a concurrent attempt has read.
    newer_until: Instant,
}

/// The blocked attempts and the attempts in flight of this replica.
#[derive(Default)]
pub(super) struct LocalAttempts(Mutex<State>);

#[derive(Default)]
struct State {
    blocks: HashMap<CounterKey, Block>,
    sweep_blocks_at: usize,
    untrusted: HashMap<CounterKey, UntrustedAttempts>,
    sweep_untrusted_at: usize,
}

/// An untrusted attempt that is in flight until this is dropped.
pub(super) struct InFlight {
    local: Arc<LocalAttempts>,
    key: CounterKey,
}

impl LocalAttempts {
    /// How long an attempt is blocked, according to the cache.
    pub(super) fn blocked_for(&self, keys: &CounterKeys, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let blocks = [keys.pair, keys.source].into_iter().filter_map(|key| state.blocks.get(&key));
        blocks.filter(|block| now < block.cached_until).map(|block| block.ends_at - now).max()
    }

    /// Caches the blocks of a verdict.
    pub(super) fn cache_blocks(&self, keys: &CounterKeys, verdict: Verdict, now: Instant) {
        if let Verdict::TooMany { retry_after, source_for } = verdict {
            let mut state = self.lock();
            state.block(keys.pair, retry_after, now);
            if let Some(wait) = source_for {
                state.block(keys.source, wait, now);
            }
        }
    }

    /// Decides on an attempt by the count that was read, or by a newer one of this replica. An untrusted attempt that is
    /// allowed is in flight before the lock is released, so that no two attempts can both be the last one.
    pub(super) fn decide(
        self: &Arc<Self>,
        untrusted: CounterKey,
        read: Count,
        now: Instant,
        decide: impl FnOnce(Count, u32) -> Verdict,
    ) -> (Verdict, Option<InFlight>) {
        let mut state = self.lock();
        let attempts = state.untrusted.get(&untrusted);
        let newer = attempts.filter(|attempts| now < attempts.newer_until).map_or(0, |attempts| attempts.failures);
        let count = Count { failures: read.failures.max(newer), ..read };
        let verdict = decide(count, attempts.map_or(0, |attempts| attempts.in_flight));
        if verdict != Verdict::Allowed(Lane::Untrusted) {
            return (verdict, None);
        }
        state.enter(untrusted, now);
        (verdict, Some(InFlight { local: Arc::clone(self), key: untrusted }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn block(&mut self, key: CounterKey, wait: Duration, now: Instant) {
        if self.blocks.len() >= self.sweep_blocks_at {
            self.blocks.retain(|_, block| now < block.cached_until);
            self.sweep_blocks_at = next_sweep(self.blocks.len());
        }
        if self.blocks.len() < MAX_BLOCKS {
            self.blocks.insert(key, Block { ends_at: now + wait, cached_until: now + wait.min(CACHE_FOR) });
        }
    }

    fn enter(&mut self, key: CounterKey, now: Instant) {
        if self.untrusted.len() >= self.sweep_untrusted_at {
            self.untrusted.retain(|_, attempts| attempts.in_flight > 0 || now < attempts.newer_until);
            self.sweep_untrusted_at = next_sweep(self.untrusted.len());
        }
        self.untrusted.entry(key).or_insert(UntrustedAttempts { in_flight: 0, failures: 0, newer_until: now }).in_flight += 1;
    }
}

/// The size at which to sweep next: rarely enough to cost nothing, often enough to bound the entries that have expired.
fn next_sweep(len: usize) -> usize {
    (len * 2).max(1024)
}

impl InFlight {
    /// Stores the new count of a failed attempt.
    pub(super) fn failed(&self, count: Count, now: Instant) {
        if let Some(attempts) = self.local.lock().untrusted.get_mut(&self.key) {
            let newest = if now < attempts.newer_until { attempts.failures.max(count.failures) } else { count.failures };
            attempts.failures = newest;
            attempts.newer_until = now + count.left.min(MAX_READ_TIME);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(attempts) = self.local.lock().untrusted.get_mut(&self.key) {
            attempts.in_flight = attempts.in_flight.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn keys(email: &str, source: &str) -> CounterKeys {
        CounterKeys::new(email, &source.to_owned().into())
    }

    const fn count(failures: u32) -> Count {
        Count { failures, left: MINUTE }
    }

    /// Allows attempts while failures and attempts in flight are below the limit.
    fn allow_below(limit: u32) -> impl Fn(Count, u32) -> Verdict {
        move |count, in_flight| {
            if count.failures + in_flight < limit { Verdict::Allowed(Lane::Untrusted) } else { Verdict::Deferred }
        }
    }

    #[test]
    fn a_block_applies_to_the_pair_and_to_the_source_only_if_the_source_is_full() {
        let (local, now) = (LocalAttempts::default(), Instant::now());
        let block = |source_for| Verdict::TooMany { retry_after: 2 * MINUTE, source_for };
        local.cache_blocks(&keys("a", "1"), block(None), now);
        assert_eq!(local.blocked_for(&keys("a", "1"), now), Some(2 * MINUTE));
        assert_eq!([keys("a", "2"), keys("b", "1")].map(|keys| local.blocked_for(&keys, now)), [None, None]);
        local.cache_blocks(&keys("a", "1"), block(Some(MINUTE)), now);
        assert_eq!(local.blocked_for(&keys("a", "1"), now), Some(2 * MINUTE));
        assert_eq!([keys("a", "2"), keys("b", "1")].map(|keys| local.blocked_for(&keys, now)), [None, Some(MINUTE)]);
    }

    #[test]
    fn a_long_block_is_checked_again_before_it_ends() {
        let (local, now) = (LocalAttempts::default(), Instant::now());
        for (email, wait) in [("short", MINUTE / 2), ("long", 60 * MINUTE)] {
            local.cache_blocks(&keys(email, "1"), Verdict::TooMany { retry_after: wait, source_for: None }, now);
        }
        let blocked = |email, after| local.blocked_for(&keys(email, "1"), now + after);
        assert_eq!(blocked("short", MINUTE / 2), None);
        assert_eq!(blocked("long", MINUTE / 2), Some(119 * MINUTE / 2));
        assert_eq!(blocked("long", CACHE_FOR), None);
    }

    #[test]
    fn blocks_are_bounded_and_expired_ones_are_evicted() {
        let (local, now) = (LocalAttempts::default(), Instant::now());
        let block = |number: usize, now| {
            local.cache_blocks(&keys("a", &number.to_string()), Verdict::TooMany { retry_after: MINUTE, source_for: None }, now);
        };
        for number in 0..MAX_BLOCKS + 500 {
            block(number, now);
        }
        assert_eq!(local.lock().blocks.len(), MAX_BLOCKS);
        local.lock().sweep_blocks_at = 0;
        block(0, now + MINUTE);
        assert_eq!(local.lock().blocks.len(), 1);
    }

    #[test]
    fn concurrent_attempts_are_limited_to_the_failures_that_are_left() {
        let (local, now, key) = (Arc::new(LocalAttempts::default()), Instant::now(), keys("a", "1").untrusted);
        let try_begin = |read| local.decide(key, count(read), now, allow_below(5)).1;
        let mut in_flight: Vec<InFlight> = (0..10).filter_map(|_| try_begin(2)).collect();
        assert_eq!(in_flight.len(), 3);
        // One succeeded: another is allowed.
        drop(in_flight.pop());
        in_flight.extend(try_begin(2));
        assert_eq!(in_flight.len(), 3);
        // The others failed. A count that was read before does not allow another attempt.
        for (attempt, failures) in in_flight.drain(..).zip(3..) {
            attempt.failed(count(failures), now);
        }
        assert!(try_begin(2).is_none());
        assert!(local.decide(key, count(0), now + MAX_READ_TIME, allow_below(5)).1.is_some(), "the old count still applies");
    }

    #[test]
    fn emails_without_attempts_are_evicted() {
        let (local, now) = (Arc::new(LocalAttempts::default()), Instant::now());
        let try_begin = |email: usize| local.decide(keys(&email.to_string(), "1").untrusted, count(0), now, allow_below(5)).1;
        let still_in_flight = try_begin(0);
        for email in 1..5_000 {
            drop(try_begin(email));
        }
        assert!(local.lock().untrusted.len() <= 1024);
        assert!(still_in_flight.is_some_and(|attempt| local.lock().untrusted.contains_key(&attempt.key)));
    }
}
