//! Getting to Postgres: which one, a pool of connections, the schema.

pub mod private;

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection, Executor, PgConnection, PgPool,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// How long a database that is still starting is waited for.
const START_WAIT: Duration = Duration::from_secs(30);

/// What every connection is told: a lock is given up on before a statement, a statement before a request, and
/// a transaction that somebody forgot does not stay. Everything is looked up by a key: a plan that was made while
/// a table was small, and reads all of it, must not be there when it has grown. Where there is nothing but to read
/// all of it, that counts as so dear that Postgres would compile the plan first, which takes longer than it saves.
const SESSION: &str = "set lock_timeout = '2s'; set statement_timeout = '5s'; set idle_in_transaction_session_timeout = '10s'; \
    set enable_seqscan = off; set jit = off";

/// After so long a connection is asked whether it is still there, before it is used.
const RESTED: Duration = Duration::from_millis(500);

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
    Migrate(#[from] MigrateError),
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

/// Brings the schema up to date, on a connection of its own that is then closed: the migrator
/// holds a lock on it that must not get into the pool. Replicas that start together wait their turn.
///
/// # Errors
/// The database did not answer for 30 seconds, or refused a migration.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let mut connection = connect_patiently(options).await?;
    let mut migrator = sqlx::migrate!();
    // An older replica may restart beside a newer one that has migrated further.
    migrator.set_ignore_missing(true);
    let migrated = migrator.run(&mut connection).await;
    connection.close().await.map_err(DatabaseError::Connect)?;
    Ok(migrated?)
}

/// Beside an open pool, one of at most `max_connections` for statements that take lists of keys.
///
/// A list has no length yet when a statement is planned for all lists, and one that is planned for each
/// costs more to plan than to run. So they are planned once.
pub fn pool_for_lists(beside: &PgPool, max_connections: u32) -> PgPool {
    const SESSIONS: &[&str] = &[SESSION, "set plan_cache_mode = force_generic_plan; set enable_mergejoin = off"];
    with_session(beside.connect_options().as_ref().clone(), max_connections, beside.options().get_acquire_timeout(), SESSIONS)
}

/// A pool of at most `max_connections`, opened as they are needed.
pub fn pool(options: PgConnectOptions, max_connections: u32, acquire_timeout: Duration) -> PgPool {
    with_session(options, max_connections, acquire_timeout, &[SESSION])
}

fn with_session(options: PgConnectOptions, max_connections: u32, acquire_timeout: Duration, session: &'static [&'static str]) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(acquire_timeout)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for settings in session {
                    connection.execute(*settings).await?;
                }
                Ok(())
            })
        })
        // In place of the pool's own ping, which would be a round trip before each statement: only what has
        // rested may have lost its database meanwhile. That it is in the middle of nothing, `service::unit` sees to.
        .test_before_acquire(false)
        .before_acquire(|connection, last| {
            Box::pin(async move {
                if last.idle_for >= RESTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
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
