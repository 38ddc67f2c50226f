//! The last known positions of cards. They save a query, and may be stale: a batch states the position that it was decided
//! on, and the database writes nothing to a card that has another one.
//!
//! The cache also follows the database's clock, which saves the query for the time that a stored response may show.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::CardKey;
use crate::domain::posting::Position;

/// The most cards in the cache, which then takes about ten megabytes.
const MAX_CARDS: usize = 100_000;

/// How long the clock is followed without an observation. The clocks of two machines drift apart by far less than a
/// millisecond in this time.
const MAX_CLOCK_AGE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct PositionCache {
    positions: Mutex<HashMap<CardKey, Position>>,
    clock: Mutex<Option<(DateTime<Utc>, Instant)>>,
}

impl PositionCache {
    pub(super) fn get(&self, card: &CardKey) -> Option<Position> {
        lock(&self.positions).get(card).copied()
    }

    pub(super) fn insert(&self, card: CardKey, position: Position) {
        let mut positions = lock(&self.positions);
        if positions.len() >= MAX_CARDS {
            // Evicts all at once. The next postings bring the cards in use back.
            positions.clear();
        }
        positions.insert(card, position);
    }

    pub(super) fn invalidate(&self, card: &CardKey) {
        lock(&self.positions).remove(card);
    }

    /// Takes over the database's clock, read after the positions of the same response.
    pub(super) fn observe(&self, clock: DateTime<Utc>) {
        let (mut last, now) = (lock(&self.clock), Instant::now());
        if clock_at(*last, now).is_none_or(|believed| believed < clock) {
            *last = Some((clock, now));
        }
    }

    /// The database's clock, or a moment before it. None if it was not observed lately.
    ///
    /// It is not before the newest movement of any position in the cache, because the clock was observed after each of
    /// them. If another transaction writes to a card after that, the position is stale, and an update that was decided on it
    /// conflicts. So the times of a card's movements are in the order of its history.
    pub(super) fn now(&self) -> Option<DateTime<Utc>> {
        clock_at(*lock(&self.clock), Instant::now())
    }
}

/// The clock that was observed at an earlier moment, at `now`. It runs late by the time that the observation took to
/// arrive, and never early.
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
        assert_eq!(at(1_000), Some(noon + TimeDelta::seconds(1)));
        assert_eq!(at(1_001), None);
        assert_eq!(clock_at(None, seen), None);
    }

    #[test]
    fn an_observation_that_took_long_to_arrive_does_not_put_the_clock_back() {
        let (cache, noon) = (PositionCache::default(), DateTime::UNIX_EPOCH + TimeDelta::hours(12));
        cache.observe(noon);
        cache.observe(noon - TimeDelta::milliseconds(500));
        assert!(cache.now().is_some_and(|now| now >= noon));
        cache.observe(noon + TimeDelta::seconds(5));
        assert!(cache.now().is_some_and(|now| now >= noon + TimeDelta::seconds(5)));
    }
}
