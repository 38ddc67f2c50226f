//! Units of work. Each has one connection, for as long as it runs and no longer.
//!
//! - [`read`] reads, without a transaction.
//! - [`write`] runs a [`Unit`] in a transaction. It runs the unit again where the database rolled it back in favour of
//!   another, and its commit tells "done", "not done" and "unknown" apart.
//! - [`autocommit`] runs one statement that writes and is its own transaction.
//! - [`single_statement`] does the same for counters and expired rows, whose loss harms nobody.

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

use super::error::{Error, Result};

/// How long a unit may hold its connection. Statements end themselves sooner (`lock_timeout`, `statement_timeout`), so
/// only a database that has gone silent exceeds it. Nothing else would end the wait.
const DEADLINE: Duration = Duration::from_secs(8);

/// How long a connection may take to become usable again after a failure.
const RECOVERY: Duration = Duration::from_secs(1);

/// How many times a unit runs that the database keeps rolling back in favour of others.
pub(super) const TRIES: u32 = 4;

/// A connection of the pool for as long as a unit takes.
///
/// A future that is dropped half way may leave its connection in an open transaction, which would swallow the writes of
/// the next unit. So a connection returns to the pool only through `give_back`; dropped, it is closed.
struct UnitConnection(Option<PooledConnection>);

impl UnitConnection {
    async fn acquire(pool: &Pool) -> Result<Self> {
        let since = Instant::now();
        let connection = database::acquire(pool).await?;
        metrics::connection_acquired(since);
        Ok(Self(Some(connection)))
    }

    fn get(&mut self) -> Result<&mut PgConnection> {
        self.0.as_deref_mut().ok_or_else(|| Error::internal("running a unit of work", "its connection is gone"))
    }

    /// Returns the connection to the pool: at once if it is at rest. Otherwise a transaction may have to be rolled back
    /// first, or the connection may be broken.
    fn give_back(mut self, is_at_rest: bool) {
        if is_at_rest {
            drop(self.0.take());
        } else {
            tokio::spawn(self.recover());
        }
    }

    /// Returns the connection to the pool if it works once an open transaction is rolled back; closes it otherwise.
    async fn recover(mut self) {
        if let Some(connection) = self.0.as_mut()
            && let Ok(Ok(true)) = timeout(RECOVERY, database::is_usable(connection)).await
        {
            drop(self.0.take());
        }
    }
}

impl Drop for UnitConnection {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(PooledConnection::take(connection));
        }
    }
}

/// A connection for statements that read. What writes takes a `&mut PgConnection`, which [`read`] does not give.
pub(super) struct ReadConnection<'a>(&'a mut PgConnection);

impl<'a> ReadConnection<'a> {
    /// Reads within a unit's transaction.
    pub(super) const fn within(connection: &'a mut PgConnection) -> Self {
        Self(connection)
    }

    /// Where to run a `select`.
    pub(super) const fn executor(&mut self) -> &mut PgConnection {
        self.0
    }
}

/// Runs `work`, which only reads, without a transaction.
///
/// # Errors
/// Those of `work`, and of the database.
pub(super) async fn read<T>(pool: &Pool, work: impl for<'unit> FnOnce(ReadConnection<'unit>) -> BoxFuture<'unit, Result<T>>) -> Result<T> {
    single_statement(pool, |connection| work(ReadConnection(connection))).await
}

/// Runs `work`, one statement that counts something or deletes what has expired. It commits by itself.
///
/// # Errors
/// Those of `work`, and of the database. A connection lost while the statement runs is [`Error::DatabaseUnavailable`]:
/// no caller depends on whether the statement took effect.
pub(super) async fn single_statement<T>(
    pool: &Pool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<T> {
    let mut connection = UnitConnection::acquire(pool).await?;
    let Ok(result) = timeout(DEADLINE, work(connection.get()?)).await else {
        return Err(Error::DatabaseUnavailable(Arc::new(silence())));
    };
    connection.give_back(result.is_ok());
    result
}

/// Runs `work`, one statement that is a transaction of its own.
///
/// # Errors
/// Those of `work`, and of the database. The statement commits by itself, so a connection lost while it runs is always
/// [`Error::OutcomeUnknown`].
pub(super) async fn autocommit<T>(
    pool: &Pool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, std::result::Result<T, sqlx::Error>>,
) -> Result<T> {
    let mut connection = UnitConnection::acquire(pool).await?;
    let Ok(result) = timeout(DEADLINE, work(connection.get()?)).await else {
        return Err(Error::OutcomeUnknown(Arc::new(silence())));
    };
    connection.give_back(result.is_ok());
    result.map_err(lost_while_committing)
}

/// Work for one transaction. A unit owns or borrows everything that it needs, because a retry calls `run` again.
pub(super) trait Unit: Sync {
    /// The result.
    type Output: Send;

    /// Does the work within a transaction that the caller has begun and will end.
    fn run(&self, connection: &mut PgConnection) -> impl Future<Output = Result<Self::Output>> + Send;

    /// Whether the transaction is committed, once `run` has succeeded. Otherwise it is rolled back.
    fn commits(&self, _: &Self::Output) -> bool {
        true
    }
}

/// Runs a unit in a transaction and commits it, or leaves nothing behind. Runs it again where the database rolled it
/// back in favour of another.
///
/// # Errors
/// Those of the unit, and of the database.
pub(super) async fn write<U: Unit>(pool: &Pool, unit: &U) -> Result<U::Output> {
    let mut tries = 1;
    loop {
        match attempt(pool, unit).await {
            Err(error) if tries < TRIES && error.is_retryable() => {
                tracing::debug!(tries, "running a unit of work again");
                tokio::time::sleep(Duration::from_millis(u64::from(rand::random_range(5..=20 * tries)))).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

/// One try. After the deadline it is given up together with its connection.
async fn attempt<U: Unit>(pool: &Pool, unit: &U) -> Result<U::Output> {
    let committing = AtomicBool::new(false);
    let mut connection = UnitConnection::acquire(pool).await?;
    let Ok(result) = timeout(DEADLINE, transact(connection.get()?, unit, &committing)).await else {
        let silence = Arc::new(silence());
        return Err(if committing.load(Ordering::Relaxed) { Error::OutcomeUnknown(silence) } else { Error::DatabaseUnavailable(silence) });
    };
    // A transaction that was not committed is still to be rolled back.
    connection.give_back(result.is_ok() && committing.load(Ordering::Relaxed));
    result
}

async fn transact<U: Unit>(connection: &mut PgConnection, unit: &U, committing: &AtomicBool) -> Result<U::Output> {
    let mut transaction = connection.begin().await?;
    let output = unit.run(&mut transaction).await?;
    if unit.commits(&output) {
        commit(transaction, committing).await?;
    }
    Ok(output)
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

/// Whether Postgres says that it did not commit. It says so with an ERROR. A FATAL or a PANIC ends the session and may
/// come after the commit is in the log: at a shutdown (57P0x), or when the disk fails just then.
fn is_refusal(error: &sqlx::Error) -> bool {
    let answer = error.as_database_error().and_then(|answer| answer.try_downcast_ref::<PgDatabaseError>());
    answer.is_some_and(|answer| {
        answer.severity() == PgSeverity::Error && !answer.code().starts_with("57P") && !answer.code().starts_with("08")
    })
}

/// The error of a database that has gone silent.
fn silence() -> sqlx::Error {
    let error = sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no word from the database before the deadline"));
    metrics::database_failed(&error);
    error
}
