//! A unit of work: one transaction, done once per key, tried again where the database asks for it,
//! whose commit tells "done", "not done" and "nobody knows" apart.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::{
    error::{Error, Result},
    idempotency::{self, Once, Outcome},
};

/// How often a unit is tried that the database rolled back for the sake of another.
const TRIES: u32 = 4;

/// Runs `work` in a transaction of its own and commits it, or leaves nothing behind.
///
/// Under a key the answer is kept in the same transaction, also when the answer is a refusal that the
/// state decided: `work` decides before it writes, so there is nothing to undo beside it.
///
/// `work` owns what it needs and hands a copy to each try. (An `AsyncFn` that borrows would read
/// better; the compiler cannot yet see that its future may move between threads.)
///
/// # Errors
/// Those of `work`, of the key, and of the database.
pub(super) async fn run<T>(
    pool: &PgPool,
    once: Option<&Once<T>>,
    work: impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<Outcome<T>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt(pool, once, &work).await {
            Ok(Some(outcome)) => return Ok(outcome),
            // A twin was a moment faster; its answer is there now.
            Ok(None) if tries < TRIES => {}
            Ok(None) => return Err(Error::IdempotencyKeyInUse),
            Err(error) if tries < TRIES && error.asks_for_another_try() => {
                tracing::debug!(tries, "a unit of work is tried again");
                tokio::time::sleep(Duration::from_millis(u64::from(rand::random_range(5..=20 * tries)))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// None: a twin under the same key committed while this one ran.
async fn attempt<T>(
    pool: &PgPool,
    once: Option<&Once<T>>,
    work: &impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<Option<Outcome<T>>> {
    let mut unit = begin(pool).await?;
    let Some(once) = once else {
        let done = work(&mut unit).await?;
        commit(unit).await?;
        return Ok(Some(Outcome::Fresh(done)));
    };
    if let Some(receipt) = idempotency::begin_in(&mut unit, once).await? {
        return Ok(Some(Outcome::Replayed(receipt)));
    }
    let result = work(&mut unit).await;
    if result.as_ref().is_err_and(|error| !error.is_decided_by_state()) {
        return result.map(|done| Some(Outcome::Fresh(done)));
    }
    if !idempotency::record_in(&mut unit, once, result.as_ref()).await? {
        return Ok(None);
    }
    commit(unit).await?;
    result.map(|done| Some(Outcome::Fresh(done)))
}

/// Opens a transaction. Dropped without [`commit`], it leaves nothing behind.
pub(super) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    Ok(pool.begin().await?)
}

/// Makes a transaction permanent.
///
/// A connection lost here may have been lost after the database committed.
pub(super) async fn commit(unit: Transaction<'static, Postgres>) -> Result<()> {
    unit.commit().await.map_err(|error| match &error {
        // A refusal is an answer: it did not commit. A goodbye (57P0x, 08xxx) is none.
        sqlx::Error::Database(answer) if !answer.code().is_some_and(|state| state.starts_with("57P") || state.starts_with("08")) => {
            Error::from(error)
        }
        _ => Error::OutcomeUnknown(error),
    })
}
