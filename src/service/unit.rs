//! Units of work. Each has one connection, for as long as it runs and no longer.
//!
//! - [`read`] reads, without a transaction.
//! - [`write`] runs a [`Unit`] in a transaction. It runs the unit again where the database rolled it back in favour of
//!   another, and its commit tells "done", "not done" and "unknown" apart.
//! - [`autocommit`] runs one statement that writes and is its own transaction.
//! - [`single_statement`] does the same for counters, and [`purge`] for expired rows, whose loss harms nobody.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{
    Connection, PgConnection, Postgres, Transaction,
    postgres::{PgDatabaseError, PgSeverity},
};
use tokio::time::timeout;

use crate::{
    database::{Lease, Pool},
    telemetry::metrics,
};

use super::error::{Error, Result};

/// How long a unit may hold its connection. Statements end themselves sooner (`lock_timeout`, `statement_timeout`), so
/// only a database that has gone silent exceeds it. Nothing else would end the wait.
const DEADLINE: Duration = Duration::from_secs(8);

/// How many times a unit runs that the database keeps rolling back in favour of others.
pub(super) const TRIES: u32 = 4;

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

/// Runs `work`, one statement that counts something, and whose commit does not wait for the disk. It commits by itself.
///
/// # Errors
/// Those of `work`, and of the database. A connection lost while the statement runs is [`Error::DatabaseUnavailable`]:
/// no caller depends on whether the statement took effect.
pub(super) async fn single_statement<T>(
    pool: &Pool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<T> {
    single_statement_on(Lease::of(pool).await?, work).await
}

/// Runs `work`, one statement that deletes what has expired, as [`single_statement`] does. Its commit may wait for a standby.
///
/// # Errors
/// Those of [`single_statement`].
pub(super) async fn purge<T>(
    pool: &Pool,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<T> {
    single_statement_on(Lease::for_writing(pool).await?, work).await
}

async fn single_statement_on<T>(
    mut connection: Lease,
    work: impl for<'unit> FnOnce(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>>,
) -> Result<T> {
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
    let mut connection = Lease::for_writing(pool).await?;
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
    let mut connection = Lease::for_writing(pool).await?;
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

/// Whether the database says that it did not commit. That is an ERROR of a class which states a cause that comes before
/// the commit (PostgreSQL, appendix A). Any other may come after it: a FATAL or a PANIC, which ends the session at a
/// shutdown or when the disk fails; a lost connection (08, 40003, 57P, 58); and an internal error (XX), by which a
/// distributed database says that a node did not answer the commit.
fn is_refusal(error: &sqlx::Error) -> bool {
    let answer = error.as_database_error().and_then(|answer| answer.try_downcast_ref::<PgDatabaseError>());
    answer.is_some_and(|answer| answer.severity() == PgSeverity::Error && precedes_commit(answer.code()))
}

fn precedes_commit(state: &str) -> bool {
    const CLASSES: [&str; 12] = ["0A", "21", "22", "23", "25", "40", "42", "44", "53", "54", "55", "P0"];
    state != "40003" && (state == "57014" || CLASSES.iter().any(|class| state.starts_with(class)))
}

/// The error of a database that did not answer before the deadline.
fn silence() -> sqlx::Error {
    let error = sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer from the database before the deadline"));
    metrics::database_failed(&error);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_that_precedes_the_commit_says_that_nothing_was_done() {
        for state in ["22003", "23505", "23514", "25006", "25P02", "40001", "40P01", "42501", "53200", "55P03", "57014", "P0001"] {
            assert!(precedes_commit(state), "{state}");
        }
        for state in ["08006", "40003", "57P01", "57P02", "57P05", "58030", "F0000", "XX000", "XX001", "99999", ""] {
            assert!(!precedes_commit(state), "{state}");
        }
    }
}
