//! The schema: brought up to date by whoever starts first, while others serve.

use std::time::{Duration, Instant};

use sqlx::{
    Connection as _, Executor as _, PgConnection,
    migrate::{Migrate as _, MigrateError, Migrator},
    postgres::PgConnectOptions,
};

use super::{DatabaseError, connect_patiently};

/// How long others are waited for: those who migrate, and those who hold a table that is to be changed.
pub const MIGRATE_WAIT: Duration = Duration::from_secs(60);

/// How long a change waits for its table. All that comes after it on the table waits behind it meanwhile, so it gives way
/// and tries again.
const LOCK_TIMEOUT: &str = "set lock_timeout = '2s'";

/// Between two tries, so that what had to wait gets through.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the migrator keeps what it has done.
const TABLE: &str = "_sqlx_migrations";

/// Brings the schema up to date, on a connection of its own that is then closed: the migrator holds a lock on it that
/// must not get into the pool. Replicas that start together wait their turn; where nothing is to be done nobody waits,
/// and no lock is asked for.
///
/// # Errors
/// The database did not answer for 30 seconds, others held what it takes for 60, or a migration was refused.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let mut connection = connect_patiently(options).await?;
    let mut migrator = sqlx::migrate!();
    // An older replica may restart beside a newer one that has migrated further.
    migrator.set_ignore_missing(true).set_locking(false);
    let migrated = bring_up_to_date(&mut connection, &migrator).await;
    connection.close().await.map_err(DatabaseError::Connect)?;
    migrated
}

async fn bring_up_to_date(connection: &mut PgConnection, migrator: &Migrator) -> Result<(), DatabaseError> {
    if is_up_to_date(connection, migrator).await.map_err(DatabaseError::Migrate)? {
        return Ok(());
    }
    let began = Instant::now();
    let mut is_mine = false;
    loop {
        match attempt(connection, migrator, &mut is_mine).await {
            Ok(()) => return Ok(()),
            Err(error) if !is_held(&error) => return Err(DatabaseError::Migrate(error)),
            Err(error) if began.elapsed() > MIGRATE_WAIT => return Err(DatabaseError::Held(error)),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Each migration is a transaction: what was done before one that has to wait stays done.
async fn attempt(connection: &mut PgConnection, migrator: &Migrator, is_mine: &mut bool) -> Result<(), MigrateError> {
    connection.execute(LOCK_TIMEOUT).await?;
    if !*is_mine {
        connection.lock().await?;
        *is_mine = true;
    }
    migrator.run_direct(None, connection, false).await
}

async fn is_up_to_date(connection: &mut PgConnection, migrator: &Migrator) -> Result<bool, MigrateError> {
    let is_there = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "is_there!""#);
    if !is_there.fetch_one(&mut *connection).await? {
        return Ok(false);
    }
    let done = connection.list_applied_migrations(TABLE).await?;
    let is_done = |version, checksum: &[u8]| done.iter().any(|done| done.version == version && *done.checksum == *checksum);
    // One that was begun and not done is for the migrator to tell of, and so is one that is not as it was.
    Ok(connection.dirty_version(TABLE).await?.is_none() && migrator.iter().all(|migration| is_done(migration.version, &migration.checksum)))
}

/// A lock was not had in time, or whoever had it wanted one of ours: nothing was done, and it may be had later.
fn is_held(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|state| matches!(&*state, "55P03" | "40P01"))
}
