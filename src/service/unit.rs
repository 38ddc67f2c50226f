//! A unit of work: one transaction, whose commit tells "done", "not done" and "nobody knows" apart.

use sqlx::{PgPool, Postgres, Transaction};

use super::error::{Error, Result, is_the_database_away};

/// Opens a unit of work. Dropped without [`commit`], it leaves nothing behind.
pub(super) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    Ok(pool.begin().await?)
}

/// Makes a unit of work permanent.
///
/// A connection lost here may have been lost after the database committed.
pub(super) async fn commit(unit: Transaction<'static, Postgres>) -> Result<()> {
    unit.commit().await.map_err(|error| match &error {
        // A refusal is an answer: it did not commit. A goodbye (57P0x, 08xxx) is none.
        sqlx::Error::Database(answer) if !answer.code().is_some_and(|state| state.starts_with("57P") || state.starts_with("08")) => {
            Error::from(error)
        }
        _ if is_the_database_away(&error) => Error::OutcomeUnknown(error),
        _ => Error::internal("committing", error),
    })
}
