//! A narrow door before each card: a few postings at a time, the rest wait here and not on the card's
//! row, where each would hold one of the few connections that every other card needs as well.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::service::{
    error::{Error, Result},
    id::CardId,
};

/// One posting writes while the next is on its way to the database.
const AT_ONCE: usize = 2;

/// How long one may wait here.
const PATIENCE: Duration = Duration::from_secs(3);

/// Doors. Two cards may share one, which costs them some waiting and nothing else.
const DOORS: usize = 4096;

/// The doors of one replica.
#[derive(Debug)]
pub(super) struct Gate {
    doors: Vec<Semaphore>,
    hasher: RandomState,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { doors: (0..DOORS).map(|_| Semaphore::new(AT_ONCE)).collect(), hasher: RandomState::new() }
    }

    /// Waits for a turn, in the order of arrival; the turn ends when what is returned is dropped.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many are before.
    pub(super) async fn enter(&self, card: CardId) -> Result<SemaphorePermit<'_>> {
        let doors = u64::try_from(self.doors.len()).unwrap_or(1);
        let door = usize::try_from(self.hasher.hash_one(card) % doors).ok().and_then(|door| self.doors.get(door));
        let door = door.ok_or(Error::Overloaded)?;
        timeout(PATIENCE, door.acquire()).await.map_err(|_| Error::Overloaded)?.map_err(|_| Error::Overloaded)
    }
}
