//! Where cards stood when they were last seen. Only a guess, which saves asking: whatever is written says
//! what it was decided on, and the database writes nothing where that is no longer so.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::CardKey;
use crate::domain::posting::Position;

/// How many cards are remembered: some ten megabytes.
const MOST: usize = 100_000;

#[derive(Default)]
pub(super) struct Known {
    positions: Mutex<HashMap<CardKey, Position>>,
}

impl Known {
    pub(super) fn get(&self, card: &CardKey) -> Option<Position> {
        self.lock().get(card).copied()
    }

    pub(super) fn learn(&self, card: CardKey, position: Position) {
        let mut positions = self.lock();
        if positions.len() >= MOST {
            // All at once: those in use are back with the next posting.
            positions.clear();
        }
        positions.insert(card, position);
    }

    pub(super) fn forget(&self, card: &CardKey) {
        self.lock().remove(card);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CardKey, Position>> {
        // Nothing under the lock can panic half way through a change.
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
