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
use sqlx::{
    Connection, PgConnection, Postgres, Transaction,
    postgres::{PgDatabaseError, PgSeverity},
};
use tokio::time::timeout;

use crate::{
    database::{self, Pool, PooledConnection},
    telemetry::metrics,
};

use super::{
    error::{Error, Result},
    idempotency::{self, Once, Outcome},
};

/// How long a unit may hold its connection. Statements end themselves sooner (`lock_timeout`,
/// `statement_timeout`), so only a database that has gone silent gets here: nothing else would ever
/// end the wait for it.
const DEADLINE: Duration = Duration::from_secs(8);

/// How long a connection may take to come to rest after a failure.
const RECOVERY: Duration = Duration::from_secs(1);

/// How often a unit is tried that the database rolled back for the sake of another.
const TRIES: u32 = 4;

/// A connection of the pool for as long as a unit takes.
///
/// A future that is dropped half way leaves its connection in the middle of something: in a transaction, it
/// may be, that would swallow the writes of whoever comes next. So it goes back only by being given back.
struct Held(Option<PooledConnection>);

impl Held {
    async fn of(pool: &Pool) -> Result<Self> {
        let since = Instant::now();
        let connection = database::acquire(pool).await?;
        metrics::connected(since);
        Ok(Self(Some(connection)))
    }

    fn connection(&mut self) -> Result<&mut PgConnection> {
        self.0.as_deref_mut().ok_or_else(|| Error::internal("running a unit of work", "its connection is gone"))
    }

    /// Back to the pool: at once if it is at rest; else it may be that a transaction is to be rolled back, or that the
    /// connection is none any more.
    fn give_back(mut self, is_at_rest: bool) {
        if is_at_rest {
            drop(self.0.take());
        } else {
            tokio::spawn(self.recover());
        }
    }

    /// Keeps the connection if it is at rest once what was left is rolled back.
    async fn recover(mut self) {
        if let Some(connection) = self.0.as_mut()
            && let Ok(Ok(true)) = timeout(RECOVERY, database::is_of_use(connection)).await
        {
            drop(self.0.take());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(PooledConnection::take(connection));
        }
    }
}

/// Runs `work` on a connection, without a transaction around it.
///
/// # Errors
/// Those of `work`, and of the database.
pub(super) async fn read<T>(
    pool: &Pool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<T> {
    let mut held = Held::of(pool).await?;
    let Ok(result) = timeout(DEADLINE, work(held.connection()?)).await else {
        return Err(Error::DatabaseUnavailable(Arc::new(silence())));
    };
    held.give_back(result.is_ok());
    result
}

/// Runs `work`, one statement that is a transaction of its own.
///
/// # Errors
/// Those of `work`, and of the database. There is no moment before the commit that can be told from the one
/// after it: a connection lost on the way is always [`Error::OutcomeUnknown`].
pub(super) async fn autocommit<T>(
    pool: &Pool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, std::result::Result<T, sqlx::Error>>,
) -> Result<T> {
    let mut held = Held::of(pool).await?;
    let Ok(result) = timeout(DEADLINE, work(held.connection()?)).await else {
        return Err(Error::OutcomeUnknown(Arc::new(silence())));
    };
    held.give_back(result.is_ok());
    result.map_err(lost_while_committing)
}

/// Runs `work` in a transaction and commits it, or leaves nothing behind.
///
/// # Errors
/// Those of `work`, and of the database.
pub(super) async fn write<T>(pool: &Pool, work: impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>) -> Result<T> {
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
    pool: &Pool,
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
    pool: &Pool,
    once: Option<&Once<T>>,
    work: &impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<Option<Outcome<T>>> {
    let committing = AtomicBool::new(false);
    let mut held = Held::of(pool).await?;
    let Ok(result) = timeout(DEADLINE, attempt(held.connection()?, once, work, &committing)).await else {
        let silence = Arc::new(silence());
        return Err(if committing.load(Ordering::Relaxed) { Error::OutcomeUnknown(silence) } else { Error::DatabaseUnavailable(silence) });
    };
    // What was replayed, or is to be looked at again, is a transaction that was not committed.
    held.give_back(matches!(result, Ok(Some(Outcome::Fresh(_)))));
    result
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
    if is_refusal(&error) {
        return Error::from(error);
    }
    metrics::database_failed(&error);
    Error::OutcomeUnknown(Arc::new(error))
}

/// Whether Postgres says that it did not commit. It does so with an ERROR; what is FATAL or a PANIC ends the session, and
/// may come after the commit is in the log: a goodbye (57P0x), or a disk that fails just then.
fn is_refusal(error: &sqlx::Error) -> bool {
    let answer = error.as_database_error().and_then(|answer| answer.try_downcast_ref::<PgDatabaseError>());
    answer.is_some_and(|answer| {
        answer.severity() == PgSeverity::Error && !answer.code().starts_with("57P") && !answer.code().starts_with("08")
    })
}

/// What a database that says nothing any more is reported as.
fn silence() -> sqlx::Error {
    let error = sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no word from the database before the deadline"));
    metrics::database_failed(&error);
    error
}
