//! Access to Postgres: connection options, connection pools and schema migrations.

mod grants;
mod migrate;
mod pool;
pub mod private;
mod probe;

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection, migrate::MigrateError, postgres::PgConnectOptions};

pub use self::migrate::{MIGRATE_WAIT, migrate};
pub use self::pool::{Pool, PooledConnection, acquire, close_unused, is_usable, pool, pool_for_lists};
pub use self::probe::Probe;

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
    /// The schema is older than this version, and the role may not change it.
    #[error("the schema is not up to date, and the role of DATABASE_URL may not change it; run `core-api migrate` as the schema's owner")]
    NotOwner(#[source] MigrateError),
    /// The role that serves could not be granted its rights.
    #[error("cannot grant its rights to the role that database.serving_role names")]
    Grant(#[source] sqlx::Error),
    /// The role that serves is the one that migrates.
    #[error("database.serving_role names the role that owns the schema; the role that serves must be another one")]
    ServesAsOwner,
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

/// Opens one connection with the session settings of the pools, for a command that makes many statements.
///
/// # Errors
/// The database did not answer for 30 seconds, or refused the connection.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
    let mut connection = connect_patiently(options).await?;
    pool::set_up(&mut connection).await.map_err(DatabaseError::Connect)?;
    Ok(connection)
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
