//! A unit of work: one connection for as long as it takes and no longer, one transaction if it writes,
//! done once per key, tried again where the database asks for it, whose commit tells "done", "not done"
//! and "nobody knows" apart.
//!
//! `work` owns what it needs and hands a copy to each try. (An `AsyncFn` that borrows would read
//! better; the compiler cannot yet see that its future may move between threads.)

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction, pool::PoolConnection};
use tokio::time::timeout;

use crate::telemetry::metrics;

use super::{
    error::{Error, Result},
    idempotency::{self, Once, Outcome},
};

/// How long a unit may hold its connection. Statements end themselves sooner (`lock_timeout`,
/// `statement_timeout`), so only a database that has gone silent gets here: nothing else would ever
/// end the wait for it.
const DEADLINE: Duration = Duration::from_secs(8);

/// How often a unit is tried that the database rolled back for the sake of another.
const TRIES: u32 = 4;

/// A connection of the pool for as long as a unit takes.
///
/// A future that is dropped half way leaves its connection in the middle of something: in a transaction, it
/// may be, that would swallow the writes of whoever comes next. So it goes back only by being given back.
struct Held {
    connection: PoolConnection<Postgres>,
    is_at_rest: bool,
}

impl Held {
    async fn of(pool: &PgPool) -> Result<Self> {
        let since = Instant::now();
        let connection = pool.acquire().await?;
        metrics::connected(since);
        Ok(Self { connection, is_at_rest: false })
    }

    /// Back to the pool, which rolls back what a failed unit began.
    fn give_back(mut self) {
        self.is_at_rest = true;
    }

    /// Leaves a connection that says nothing any more, without waiting for its goodbye.
    fn give_up(mut self) {
        self.is_at_rest = true;
        self.connection.close_on_drop();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_at_rest {
            self.connection.close_on_drop();
        }
    }
}

/// Runs `work` on a connection, without a transaction around it.
///
/// # Errors
/// Those of `work`, and of the database.
pub(super) async fn read<T>(
    pool: &PgPool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<T> {
    let mut held = Held::of(pool).await?;
    if let Ok(result) = timeout(DEADLINE, work(&mut held.connection)).await {
        held.give_back();
        return result;
    }
    held.give_up();
    Err(Error::DatabaseUnavailable(Arc::new(silence())))
}

/// Runs `work`, one statement that is a transaction of its own.
///
/// # Errors
/// Those of `work`, and of the database. There is no moment before the commit that can be told from the one
/// after it: a connection lost on the way is always [`Error::OutcomeUnknown`].
pub(super) async fn autocommit<T>(
    pool: &PgPool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, std::result::Result<T, sqlx::Error>>,
) -> Result<T> {
    let mut held = Held::of(pool).await?;
    if let Ok(result) = timeout(DEADLINE, work(&mut held.connection)).await {
        held.give_back();
        return result.map_err(lost_while_committing);
    }
    held.give_up();
    Err(Error::OutcomeUnknown(Arc::new(silence())))
}

/// Runs `work` in a transaction and commits it, or leaves nothing behind.
///
/// # Errors
/// Those of `work`, and of the database.
pub(super) async fn write<T>(pool: &PgPool, work: impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>) -> Result<T> {
    match once(pool, None, work).await? {
        Outcome::Fresh(done) => Ok(done),
        Outcome::Replayed(_) => Err(Error::internal("running a unit of work", "an answer was replayed without a key")),
    }
}

/// Runs `work` in a transaction, once per key if there is one, and commits it, or leaves nothing behind.
///
/// Under a key the answer is kept in the same transaction, also when the answer is a refusal that the
/// state decided: `work` decides before it writes, so there is nothing to undo beside it.
///
/// # Errors
/// Those of `work`, of the key, and of the database.
pub(super) async fn once<T>(
    pool: &PgPool,
    once: Option<&Once<T>>,
    work: impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<Outcome<T>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match in_time(pool, once, &work).await {
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

/// One try, given up on after the deadline together with its connection.
async fn in_time<T>(
    pool: &PgPool,
    once: Option<&Once<T>>,
    work: &impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<Option<Outcome<T>>> {
    let mut held = Held::of(pool).await?;
    let committing = AtomicBool::new(false);
    if let Ok(result) = timeout(DEADLINE, attempt(&mut held.connection, once, work, &committing)).await {
        held.give_back();
        return result;
    }
    held.give_up();
    if committing.load(Ordering::Relaxed) {
        Err(Error::OutcomeUnknown(Arc::new(silence())))
    } else {
        Err(Error::DatabaseUnavailable(Arc::new(silence())))
    }
}

/// None: a twin under the same key committed while this one ran.
async fn attempt<T>(
    connection: &mut PgConnection,
    once: Option<&Once<T>>,
    work: &impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
    committing: &AtomicBool,
) -> Result<Option<Outcome<T>>> {
    let mut unit = connection.begin().await?;
    let Some(once) = once else {
        let done = work(&mut unit).await?;
        commit(unit, committing).await?;
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
    commit(unit, committing).await?;
    result.map(|done| Some(Outcome::Fresh(done)))
}

/// Makes a transaction permanent.
///
/// A connection lost here may have been lost after the database committed.
async fn commit(unit: Transaction<'_, Postgres>, committing: &AtomicBool) -> Result<()> {
    committing.store(true, Ordering::Relaxed);
    unit.commit().await.map_err(lost_while_committing)
}

fn lost_while_committing(error: sqlx::Error) -> Error {
    match &error {
        // A refusal is an answer: it did not commit. A goodbye (57P0x, 08xxx) is none.
        sqlx::Error::Database(answer) if !answer.code().is_some_and(|state| state.starts_with("57P") || state.starts_with("08")) => {
            Error::from(error)
        }
        _ => {
            metrics::database_failed(&error);
            Error::OutcomeUnknown(Arc::new(error))
        }
    }
}

/// What a database that says nothing any more is reported as.
fn silence() -> sqlx::Error {
    let error = sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no word from the database before the deadline"));
    metrics::database_failed(&error);
    error
}
