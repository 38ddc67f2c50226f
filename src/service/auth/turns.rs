//! The turns of a session's refreshes: one at a time in this replica.
//!
//! Refreshes of a session wait for the lock of its row. Waiting there, each would hold a database connection, and a flood
//! of them would take all that writers may have.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::domain::id::{AccountId, SessionId};
use crate::service::error::{Error, Result};

/// How many refreshes of a session may wait: more than a person has tabs.
const MAX_WAITING: usize = 32;

/// How long a refresh may wait for its turn.
const MAX_WAIT: Duration = Duration::from_secs(2);

type Key = (AccountId, SessionId);

/// The sessions that are being refreshed.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Queue>>);

#[derive(Debug)]
struct Queue {
    turn: Arc<Semaphore>,
    /// The refreshes that wait or have their turn.
    entered: usize,
}

impl Turns {
    /// Runs `work` once it is the session's turn.
    ///
    /// # Errors
    /// Those of `work`. [`Error::Overloaded`] if too many refreshes wait, or for too long.
    pub(super) async fn run<T>(&self, key: Key, work: impl Future<Output = Result<T>>) -> Result<T> {
        let place = self.enter(key)?;
        let _turn: OwnedSemaphorePermit = timeout(MAX_WAIT, Arc::clone(&place.turn).acquire_owned())
            .await
            .map_err(|_| Error::Overloaded)?
            .map_err(|error| Error::internal("waiting for the turn of a refresh", error))?;
        work.await
    }

    fn enter(&self, key: Key) -> Result<Place<'_>> {
        let mut queues = self.lock();
        let queue = queues.entry(key).or_insert_with(|| Queue { turn: Arc::new(Semaphore::new(1)), entered: 0 });
        if queue.entered >= MAX_WAITING {
            return Err(Error::Overloaded);
        }
        queue.entered += 1;
        Ok(Place { turns: self, key, turn: Arc::clone(&queue.turn) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Queue>> {
        // Nothing under the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a session's queue, until it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    key: Key,
    turn: Arc<Semaphore>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queues = self.turns.lock();
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.entered -= 1;
            if queue.entered == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn refreshes_of_a_session_run_one_at_a_time_and_a_bounded_number_waits() {
        let (turns, running, most) = (Turns::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let (one, other) = ((AccountId::new(), SessionId::new()), (AccountId::new(), SessionId::new()));
        let work = async || {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        };
        let results = join_all((0..40).map(|_| turns.run(one, work()))).await;
        let refused = results.iter().filter(|result| matches!(result, Err(Error::Overloaded))).count();
        assert_eq!((refused, most.load(Ordering::Relaxed)), (40 - MAX_WAITING, 1));
        let (first, second) = tokio::join!(turns.run(one, work()), turns.run(other, work()));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(most.load(Ordering::Relaxed), 2, "sessions do not wait for each other");
        assert!(turns.lock().is_empty());
    }
}
