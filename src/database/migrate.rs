//! Schema migrations. The first process that starts runs them, while others serve.

use std::time::{Duration, Instant};

use sqlx::{
    Connection as _, Executor as _, PgConnection,
    migrate::{Migrate as _, MigrateError, Migrator},
    postgres::PgConnectOptions,
};

use super::{DatabaseError, connect_patiently};

/// How long to wait for other sessions that migrate or hold a lock on a table that a migration changes.
pub const MIGRATE_WAIT: Duration = Duration::from_secs(60);

/// How long a migration waits for a table lock. Later statements on the table queue behind that wait, so the migration
/// gives up early and tries again.
const LOCK_TIMEOUT: &str = "set lock_timeout = '2s'";

/// The delay between attempts, in which the queued statements run.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The table in which the migrator records applied migrations.
const TABLE: &str = "_sqlx_migrations";

/// Brings the schema up to date on a separate connection, then closes it: the migrator's session lock must not get into
/// the pool. Replicas that start together migrate one after another. If the schema is already up to date, they take no
/// lock and do not wait.
///
/// # Errors
/// The database did not answer for 30 seconds, other sessions held the locks for 60, or a migration failed.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let mut connection = connect_patiently(options).await?;
    let migrated = bring_up_to_date(&mut connection, &migrator()).await;
    connection.close().await.map_err(DatabaseError::Connect)?;
    migrated
}

/// Whether every migration of this version is applied.
pub(super) async fn is_current(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    is_up_to_date(connection, &migrator()).await.map_err(|error| match error {
        MigrateError::Execute(error) => error,
        other => other.into(),
    })
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    // An older replica may restart after a newer one has migrated further.
    migrator.set_ignore_missing(true).set_locking(false);
    migrator
}

async fn bring_up_to_date(connection: &mut PgConnection, migrator: &Migrator) -> Result<(), DatabaseError> {
    if is_up_to_date(connection, migrator).await.map_err(DatabaseError::Migrate)? {
        return Ok(());
    }
    let began = Instant::now();
    let (mut has_lock, mut reported) = (false, false);
    loop {
        match attempt(connection, migrator, &mut has_lock).await {
            Ok(()) => return Ok(()),
            Err(error) if !is_lock_conflict(&error) => return Err(DatabaseError::Migrate(error)),
            Err(error) if began.elapsed() > MIGRATE_WAIT => return Err(DatabaseError::LockTimeout(error)),
            Err(_) => {
                if !reported {
                    reported = true;
                    let seconds = MIGRATE_WAIT.as_secs();
                    tracing::warn!("another session holds the locks that a migration needs; waiting for at most {seconds} s");
                }
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Runs the pending migrations. Each is its own transaction, so the ones before a lock conflict stay applied.
async fn attempt(connection: &mut PgConnection, migrator: &Migrator, has_lock: &mut bool) -> Result<(), MigrateError> {
    connection.execute(LOCK_TIMEOUT).await?;
    if !*has_lock {
        connection.lock().await?;
        *has_lock = true;
    }
    migrator.run_direct(None, connection, false).await
}

async fn is_up_to_date(connection: &mut PgConnection, migrator: &Migrator) -> Result<bool, MigrateError> {
    let table_exists = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "is_there!""#);
    if !table_exists.fetch_one(&mut *connection).await? {
        return Ok(false);
    }
    let applied = connection.list_applied_migrations(TABLE).await?;
    let is_applied = |version, checksum: &[u8]| applied.iter().any(|done| done.version == version && *done.checksum == *checksum);
    // The migrator reports a migration that is half applied, or whose file has changed since.
    Ok(connection.dirty_version(TABLE).await?.is_none() && migrator.iter().all(|one| is_applied(one.version, &one.checksum)))
}

/// Whether the error is a lock timeout or a deadlock: the migration was rolled back and can be tried again.
fn is_lock_conflict(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|state| matches!(&*state, "55P03" | "40P01"))
}
