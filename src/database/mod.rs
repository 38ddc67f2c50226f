//! Access to Postgres: connection options, connection pools and schema migrations.

mod lease;
mod migrate;
mod pool;
pub mod private;
mod silent;

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection, migrate::MigrateError, postgres::PgConnectOptions};

pub use self::lease::Lease;
pub use self::migrate::{MIGRATE_WAIT, migrate};
pub use self::pool::{Pool, acquire, close_unused, pool, pool_for_lists};

/// How long to wait for a database that is still starting.
const STARTUP_WAIT: Duration = Duration::from_secs(30);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// `DATABASE_URL` is not a Postgres URL.
    #[error("DATABASE_URL is not a Postgres URL such as postgres://user:password@host/name")]
    Url,
    /// The database did not answer, or refused the connection.
    #[error("cannot connect to the database")]
    Connect(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[source] MigrateError),
    /// Another process is migrating, or holds a lock on a table that a migration changes.
    #[error("cannot migrate the database: another session held the locks for {} s", MIGRATE_WAIT.as_secs())]
    LockTimeout(#[source] MigrateError),
}

/// Reads `DATABASE_URL`.
///
/// # Errors
/// The URL is not a Postgres URL. The message does not repeat it, since it may contain a password.
pub fn options(url: &SecretString) -> Result<PgConnectOptions, DatabaseError> {
    let url = url.expose_secret();
    // The parser accepts any scheme.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(DatabaseError::Url);
    }
    PgConnectOptions::from_str(url).map_err(|_| DatabaseError::Url)
}

/// Waits for a database that is still starting.
///
/// # Errors
/// The database did not answer for 30 seconds, or refused the connection.
pub async fn wait_for(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    connect_patiently(options).await?.close().await.map_err(DatabaseError::Connect)
}

/// Opens one connection without the pool's timeouts, for work that takes long by design.
///
/// # Errors
/// The database did not answer for 30 seconds, or refused the connection.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
    connect_patiently(options).await
}

async fn connect_patiently(options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
    let began = Instant::now();
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if began.elapsed() > STARTUP_WAIT || !may_be_starting(&error) => return Err(DatabaseError::Connect(error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// Whether a server that is still starting can cause this error.
fn may_be_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(answer) => matches!(answer.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

/// The connection pools of a server.
#[derive(Clone, Debug)]
pub struct Pools {
    /// For the statements of single requests.
    pub requests: Pool,
    /// For batches: few statements, each with a list of keys.
    pub batches: Pool,
}

impl Pools {
    /// Closes connections that have been idle for ten minutes.
    pub fn close_unused(&self) {
        close_unused(&self.requests);
        close_unused(&self.batches);
    }
}
