//! Access to Postgres: connection options, connection pools and schema migrations.

mod distribute;
mod grants;
mod lease;
mod migrate;
mod pool;
pub mod private;
mod probe;
mod silent;
mod url;

use std::{
    io,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, migrate::MigrateError, postgres::PgConnectOptions};

pub use self::distribute::{Distributed, DistributionError, distribute, of_every_node, require as require_distribution};
pub use self::lease::Lease;
pub use self::migrate::{MIGRATE_WAIT, migrate};
pub use self::pool::{Pool, acquire, close_unused, is_sharded, pool, pool_for_lists, pool_on_shards, separate_pool};
pub use self::probe::Probe;
pub use self::url::{UrlFault, Verification, options};

/// How long to wait for a database that is still starting.
const STARTUP_WAIT: Duration = Duration::from_secs(30);

/// After this time the log says that the process waits for its database.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// `DATABASE_URL` is not valid.
    #[error(transparent)]
    Url(#[from] UrlFault),
    /// The database did not answer, or refused the connection.
    #[error("cannot connect to the database that DATABASE_URL names")]
    Connect(#[source] sqlx::Error),
    /// The database has no TLS, or its certificate is not valid.
    #[error(
        "cannot connect to the database by TLS; if a private CA signed its certificate, add a parameter such as \
         sslrootcert=/etc/ssl/database-ca.pem to DATABASE_URL"
    )]
    Tls(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[source] MigrateError),
    /// Another process is migrating, or holds a lock on a table that a migration changes.
    #[error("cannot migrate the database: another session held the locks for {} s", MIGRATE_WAIT.as_secs())]
    LockTimeout(#[source] MigrateError),
    /// The schema is older than this version, and the role may not change it.
    #[error("the schema is not up to date, and the role of DATABASE_URL may not change it; run `core-api migrate` as the schema's owner")]
    NotOwner(#[source] MigrateError),
    /// The database cannot be distributed by account, or is not what the settings say.
    #[error(transparent)]
    Distribution(#[from] distribute::DistributionError),
    /// The database refused to be distributed.
    #[error("cannot distribute the database")]
    Distribute(#[source] sqlx::Error),
    /// The role that serves could not be granted its rights.
    #[error("cannot grant its rights to the role that database.serving_role names")]
    Grant(#[source] sqlx::Error),
    /// The role that serves is the one that migrates.
    #[error("database.serving_role names the role that owns the schema; the role that serves must be another one")]
    ServesAsOwner,
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
    let (began, mut reported) = (Instant::now(), false);
    loop {
        let connecting = tokio::time::timeout(pool::CONNECT_TIMEOUT, PgConnection::connect_with(options));
        let error = match connecting.await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if is_tls(&error) => return Err(DatabaseError::Tls(error)),
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
        };
        if began.elapsed() > STARTUP_WAIT || !may_be_starting(&error) {
            return Err(DatabaseError::Connect(error));
        }
        if !reported && began.elapsed() > REPORT_AFTER {
            reported = true;
            tracing::warn!(%error, "the database does not accept connections yet; waiting for at most {} s", STARTUP_WAIT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Whether the server has no TLS, or its certificate is not valid. Waiting would change neither.
fn is_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
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
