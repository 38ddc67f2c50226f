//! The last known positions of cards. They save a query, and may be stale: a batch states the position that it was decided
//! on, and the database writes nothing to a card that has another one.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::CardKey;
use crate::domain::posting::Position;

/// The most cards in the cache, which then takes about ten megabytes.
const MAX_CARDS: usize = 100_000;

#[derive(Default)]
pub(super) struct PositionCache(Mutex<HashMap<CardKey, Position>>);

impl PositionCache {
    pub(super) fn get(&self, card: &CardKey) -> Option<Position> {
        self.lock().get(card).copied()
    }

    pub(super) fn insert(&self, card: CardKey, position: Position) {
        let mut positions = self.lock();
        if positions.len() >= MAX_CARDS {
            // Evicts all at once. The next postings bring the cards in use back.
            positions.clear();
        }
        positions.insert(card, position);
    }

    pub(super) fn invalidate(&self, card: &CardKey) {
        self.lock().remove(card);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CardKey, Position>> {
        // Nothing under the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
