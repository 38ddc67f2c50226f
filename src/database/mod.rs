//! Getting to Postgres: which one, a pool of connections, the schema.

mod migrate;
mod pool;
pub mod private;

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection, migrate::MigrateError, postgres::PgConnectOptions};

pub use self::migrate::{MIGRATE_WAIT, migrate};
pub use self::pool::{Pool, PooledConnection, acquire, close_unused, is_of_use, pool, pool_for_lists};

/// How long a database that is still starting is waited for.
const START_WAIT: Duration = Duration::from_secs(30);

/// Why there is no database to work on.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// `DATABASE_URL` is not one.
    #[error("DATABASE_URL is not a Postgres URL such as postgres://user:password@host/name")]
    Url,
    /// Nobody answered, or refused us.
    #[error("cannot connect to the database")]
    Connect(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[source] MigrateError),
    /// Somebody else migrates, or holds a table that is to be changed.
    #[error("cannot migrate the database: for {} s others have held what it takes", MIGRATE_WAIT.as_secs())]
    Held(#[source] MigrateError),
}

/// Reads `DATABASE_URL`.
///
/// # Errors
/// It is not a Postgres URL. The message does not repeat it: it may hold a password.
pub fn options(url: &SecretString) -> Result<PgConnectOptions, DatabaseError> {
    let url = url.expose_secret();
    // The parser takes any scheme.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(DatabaseError::Url);
    }
    PgConnectOptions::from_str(url).map_err(|_| DatabaseError::Url)
}

/// Waits for a database that is still starting.
///
/// # Errors
/// It did not answer for 30 seconds, or refused us.
pub async fn wait_for(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    connect_patiently(options).await?.close().await.map_err(DatabaseError::Connect)
}

/// One connection without the pool's time limits, for work that is long on purpose.
///
/// # Errors
/// The database did not answer for 30 seconds, or refused us.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
    connect_patiently(options).await
}

async fn connect_patiently(options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
    let began = Instant::now();
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if began.elapsed() > START_WAIT || !may_come_up(&error) => return Err(DatabaseError::Connect(error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// Whether this is how a server looks that is only just starting.
fn may_come_up(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(answer) => matches!(answer.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

/// The connections of a server.
#[derive(Clone, Debug)]
pub struct Pools {
    /// For what a request does by itself.
    pub requests: Pool,
    /// For batches: few statements, each of which takes a list of keys.
    pub batches: Pool,
}

impl Pools {
    /// Closes the connections that have been idle for long.
    pub fn close_unused(&self) {
        close_unused(&self.requests);
        close_unused(&self.batches);
    }
}
