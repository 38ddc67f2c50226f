//! The last known positions of cards. They save a query, and may be stale: a batch states the position that it was decided
//! on, and the database writes nothing to a card that has another one.
//!
//! The cache also follows the database's clock, which saves the query for the time that a stored response may show.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::CardKey;
use crate::domain::posting::Position;
use crate::service::spending::StoredRules;

/// The most cards in the cache, which then takes about ten megabytes.
const MAX_CARDS: usize = 100_000;

/// The most cards whose rules are in the cache.
const MAX_RULES: usize = 20_000;

/// How long the clock is followed without an observation. Two clocks drift apart by about a millisecond in this time.
const MAX_CLOCK_AGE: Duration = Duration::from_secs(10);

/// A card's position, and since when the card is known to have had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CachedPosition {
    pub(super) position: Position,
    /// The database's clock when the position was written or read. No movement that led to the position has a later time.
    pub(super) as_of: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub(super) struct PositionCache {
    positions: Mutex<HashMap<CardKey, CachedPosition>>,
    /// The controls and limits of cards that have any, by the version that they have at least.
    rules: Mutex<HashMap<CardKey, (i64, Arc<StoredRules>)>>,
    clock: Mutex<Option<(DateTime<Utc>, Instant)>>,
}

impl PositionCache {
    pub(super) fn get(&self, card: &CardKey) -> Option<CachedPosition> {
        lock(&self.positions).get(card).copied()
    }

    pub(super) fn insert(&self, card: CardKey, known: CachedPosition) {
        let mut positions = lock(&self.positions);
        if positions.len() >= MAX_CARDS {
            // Evicts all at once. The next postings bring the cards in use back.
            positions.clear();
        }
        positions.insert(card, known);
    }

    /// The rules of a card as they were when they had this version, or later: the database writes nothing on others.
    pub(super) fn rules(&self, card: &CardKey, version: i64) -> Option<Arc<StoredRules>> {
        lock(&self.rules).get(card).filter(|(known, _)| *known == version).map(|(_, rules)| Arc::clone(rules))
    }

    pub(super) fn insert_rules(&self, card: CardKey, version: i64, rules: Arc<StoredRules>) {
        let mut all = lock(&self.rules);
        if all.len() >= MAX_RULES {
            all.clear();
        }
        all.insert(card, (version, rules));
    }

    pub(super) fn invalidate(&self, card: &CardKey) {
        lock(&self.positions).remove(card);
    }

    /// Takes over the database's clock.
    pub(super) fn observe(&self, clock: DateTime<Utc>) {
        let (mut last, now) = (lock(&self.clock), Instant::now());
        if clock_at(*last, now).is_none_or(|estimate| estimate < clock) {
            *last = Some((clock, now));
        }
    }

    /// The database's clock, late by the time that its last observation took to arrive. None if that is too long ago.
    pub(super) fn now(&self) -> Option<DateTime<Utc>> {
        clock_at(*lock(&self.clock), Instant::now())
    }
}

/// The clock that was observed at an earlier moment, at `now`.
fn clock_at(observed: Option<(DateTime<Utc>, Instant)>, now: Instant) -> Option<DateTime<Utc>> {
    let (clock, at) = observed?;
    let age = now.saturating_duration_since(at);
    if age <= MAX_CLOCK_AGE { clock.checked_add_signed(TimeDelta::from_std(age).ok()?) } else { None }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under the lock can panic half way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_on_from_its_latest_observation_until_that_is_too_old() {
        let (noon, seen) = (DateTime::UNIX_EPOCH + TimeDelta::hours(12), Instant::now());
        let at = |milliseconds| clock_at(Some((noon, seen)), seen + Duration::from_millis(milliseconds));
        assert_eq!(at(0), Some(noon));
        assert_eq!(at(10_000), Some(noon + TimeDelta::seconds(10)));
        assert_eq!(at(10_001), None);
        assert_eq!(clock_at(None, seen), None);
    }

    #[test]
    fn a_late_observation_does_not_put_the_clock_back() {
        let (cache, noon) = (PositionCache::default(), DateTime::UNIX_EPOCH + TimeDelta::hours(12));
        cache.observe(noon);
        cache.observe(noon - TimeDelta::milliseconds(500));
        assert!(cache.now().is_some_and(|now| now >= noon));
        cache.observe(noon + TimeDelta::seconds(5));
        assert!(cache.now().is_some_and(|now| now >= noon + TimeDelta::seconds(5)));
    }
}
