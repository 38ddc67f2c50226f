//! What this replica remembers of guesses, so that most of a flood costs the database nothing: whom
//! the database said to be blocked, and how many guesses at an email are being heard just now.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    decision::{Count, Verdict},
    key::{Key, Keys},
};
use crate::service::auth::hashers::Lane;

/// How long a block is believed before the database is asked again. What lifts one (an operator, a
/// login that another replica was already hearing) counts here after that at the latest.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// How long a count is remembered that a read may have missed: no unit of work lasts longer.
const READ_AT_MOST: Duration = Duration::from_secs(10);

/// The most blocks remembered, some ten megabytes of them. Past it the database says it each time.
const MOST_BLOCKS: usize = 100_000;

/// A block the database told of.
#[derive(Clone, Copy)]
struct Block {
    until: Instant,
    believed_until: Instant,
}

/// The guesses at one email from strange sources.
struct Guesses {
    /// How many are being heard.
    under_way: u32,
    /// The last count, and how long it may be newer than what somebody has read.
    failures: u32,
    counted_until: Instant,
}

/// Everything remembered.
#[derive(Default)]
pub(super) struct Memory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    blocked: HashMap<Key, Block>,
    sweep_blocked_at: usize,
    guesses: HashMap<Key, Guesses>,
    sweep_guesses_at: usize,
}

/// A guess from a strange source that is being heard, until this is dropped.
pub(super) struct UnderWay {
    memory: Arc<Memory>,
    key: Key,
}

impl Memory {
    /// For how long an attempt is known to be blocked.
    pub(super) fn blocked(&self, keys: &Keys, now: Instant) -> Option<Duration> {
        let remembered = self.lock();
        let blocks = [keys.pair, keys.source].into_iter().filter_map(|key| remembered.blocked.get(&key));
        blocks.filter(|block| now < block.believed_until).map(|block| block.until - now).max()
    }

    /// Remembers what a verdict holds against later attempts.
    pub(super) fn learn(&self, keys: &Keys, verdict: Verdict, now: Instant) {
        if let Verdict::TooMany { retry_after, source_for } = verdict {
            let mut remembered = self.lock();
            remembered.block(keys.pair, retry_after, now);
            if let Some(wait) = source_for {
                remembered.block(keys.source, wait, now);
            }
        }
    }

    /// Has an attempt on an email judged by what was read of it and by what is newer here. Heard from a
    /// strange source, it is under way in the same moment: no two can both be the last one.
    pub(super) fn weigh(
        self: &Arc<Self>,
        strangers: Key,
        read: Count,
        now: Instant,
        judge: impl FnOnce(Count, u32) -> Verdict,
    ) -> (Verdict, Option<UnderWay>) {
        let mut remembered = self.lock();
        let guesses = remembered.guesses.get(&strangers);
        let newer = guesses.filter(|guesses| now < guesses.counted_until).map_or(0, |guesses| guesses.failures);
        let count = Count { failures: read.failures.max(newer), ..read };
        let verdict = judge(count, guesses.map_or(0, |guesses| guesses.under_way));
        if verdict != Verdict::Allowed(Lane::Stranger) {
            return (verdict, None);
        }
        remembered.enter(strangers, now);
        (verdict, Some(UnderWay { memory: Arc::clone(self), key: strangers }))
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Nothing under the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn block(&mut self, key: Key, wait: Duration, now: Instant) {
        if self.blocked.len() >= self.sweep_blocked_at {
            self.blocked.retain(|_, block| now < block.believed_until);
            self.sweep_blocked_at = next_sweep(self.blocked.len());
        }
        if self.blocked.len() < MOST_BLOCKS {
            self.blocked.insert(key, Block { until: now + wait, believed_until: now + wait.min(BELIEVED_FOR) });
        }
    }

    fn enter(&mut self, key: Key, now: Instant) {
        if self.guesses.len() >= self.sweep_guesses_at {
            self.guesses.retain(|_, guesses| guesses.under_way > 0 || now < guesses.counted_until);
            self.sweep_guesses_at = next_sweep(self.guesses.len());
        }
        self.guesses.entry(key).or_insert(Guesses { under_way: 0, failures: 0, counted_until: now }).under_way += 1;
    }
}

/// Seldom enough that sweeping costs nothing, often enough that what is over does not pile up.
fn next_sweep(len: usize) -> usize {
    (len * 2).max(1024)
}

impl UnderWay {
    /// The guess was wrong and has been counted; this is where its counter stands now.
    pub(super) fn counted(&self, count: Count, now: Instant) {
        if let Some(guesses) = self.memory.lock().guesses.get_mut(&self.key) {
            let newest = if now < guesses.counted_until { guesses.failures.max(count.failures) } else { count.failures };
            guesses.failures = newest;
            guesses.counted_until = now + count.left.min(READ_AT_MOST);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(guesses) = self.memory.lock().guesses.get_mut(&self.key) {
            guesses.under_way = guesses.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn keys(email: &str, source: &str) -> Keys {
        Keys::of(email, &source.to_owned().into())
    }

    const fn count(failures: u32) -> Count {
        Count { failures, left: MINUTE }
    }

    /// Heard while failures and those under way stay below the limit.
    fn up_to(limit: u32) -> impl Fn(Count, u32) -> Verdict {
        move |count, under_way| {
            if count.failures + under_way < limit { Verdict::Allowed(Lane::Stranger) } else { Verdict::Deferred }
        }
    }

    #[test]
    fn a_block_is_the_pair_s_and_the_source_s_only_if_the_source_is_full() {
        let (memory, now) = (Memory::default(), Instant::now());
        let block = |source_for| Verdict::TooMany { retry_after: 2 * MINUTE, source_for };
        memory.learn(&keys("a", "1"), block(None), now);
        assert_eq!(memory.blocked(&keys("a", "1"), now), Some(2 * MINUTE));
        assert_eq!([keys("a", "2"), keys("b", "1")].map(|keys| memory.blocked(&keys, now)), [None, None]);
        memory.learn(&keys("a", "1"), block(Some(MINUTE)), now);
        assert_eq!(memory.blocked(&keys("a", "1"), now), Some(2 * MINUTE));
        assert_eq!([keys("a", "2"), keys("b", "1")].map(|keys| memory.blocked(&keys, now)), [None, Some(MINUTE)]);
    }

    #[test]
    fn a_block_ends_with_its_time_and_is_asked_after_before_that() {
        let (memory, now) = (Memory::default(), Instant::now());
        for (email, wait) in [("short", MINUTE / 2), ("long", 60 * MINUTE)] {
            memory.learn(&keys(email, "1"), Verdict::TooMany { retry_after: wait, source_for: None }, now);
        }
        let blocked = |email, after| memory.blocked(&keys(email, "1"), now + after);
        assert_eq!(blocked("short", MINUTE / 2), None);
        assert_eq!(blocked("long", MINUTE / 2), Some(119 * MINUTE / 2));
        assert_eq!(blocked("long", BELIEVED_FOR), None);
    }

    #[test]
    fn blocks_are_bounded_and_make_room_when_they_are_over() {
        let (memory, now) = (Memory::default(), Instant::now());
        let block = |number: usize, now| {
            memory.learn(&keys("a", &number.to_string()), Verdict::TooMany { retry_after: MINUTE, source_for: None }, now);
        };
        for number in 0..MOST_BLOCKS + 500 {
            block(number, now);
        }
        assert_eq!(memory.lock().blocked.len(), MOST_BLOCKS);
        memory.lock().sweep_blocked_at = 0;
        block(0, now + MINUTE);
        assert_eq!(memory.lock().blocked.len(), 1);
    }

    #[test]
    fn of_guesses_at_once_no_more_are_heard_than_may_fail() {
        let (memory, now, key) = (Arc::new(Memory::default()), Instant::now(), keys("a", "1").strangers);
        let weigh = |read| memory.weigh(key, count(read), now, up_to(5)).1;
        let mut heard: Vec<UnderWay> = (0..10).filter_map(|_| weigh(2)).collect();
        assert_eq!(heard.len(), 3);
        // One was right: there is room for another guess.
        drop(heard.pop());
        heard.extend(weigh(2));
        assert_eq!(heard.len(), 3);
        // The others were wrong. What was read before they were counted does not let anybody in.
        for (guess, failures) in heard.drain(..).zip(3..) {
            guess.counted(count(failures), now);
        }
        assert!(weigh(2).is_none());
        assert!(memory.weigh(key, count(0), now + READ_AT_MOST, up_to(5)).1.is_some(), "remembered for too long");
    }

    #[test]
    fn emails_that_nobody_guesses_at_any_more_are_forgotten() {
        let (memory, now) = (Arc::new(Memory::default()), Instant::now());
        let weigh = |email: usize| memory.weigh(keys(&email.to_string(), "1").strangers, count(0), now, up_to(5)).1;
        let still_there = weigh(0);
        for email in 1..5_000 {
            drop(weigh(email));
        }
        assert!(memory.lock().guesses.len() <= 1024);
        assert!(still_there.is_some_and(|guess| memory.lock().guesses.contains_key(&guess.key)));
    }
}
