//! Schema migrations. The first process that starts runs them, while others serve.

use std::time::{Duration, Instant};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _,
    migrate::{Migrate as _, MigrateError, Migrator},
    postgres::PgConnectOptions,
};

use super::{DatabaseError, connect_patiently, distribute, grants};

/// How long to wait for other sessions that migrate or hold a lock on a table that a migration changes.
pub const MIGRATE_WAIT: Duration = Duration::from_secs(60);

/// How long a migration waits for a table lock. Later statements on the table queue behind that wait, so the migration
/// gives up early and tries again.
const LOCK_TIMEOUT: &str = "set lock_timeout = '2s'";

/// How long a migration outside a transaction waits. It blocks nobody meanwhile, and if it gave up, an index would have to
/// be built anew.
const LOCK_TIMEOUT_OUTSIDE: &str = "set lock_timeout = '60s'";

/// The delay between attempts, in which the queued statements run.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The table in which the migrator records applied migrations.
const TABLE: &str = "_sqlx_migrations";

/// Brings the schema up to date on a separate connection, then closes it: the migrator's session lock must not get into
/// the pool. Replicas that start together migrate one after another. If the schema is already up to date, they take no
/// lock and do not wait.
///
/// The role that serves, if it is another one, gets the rights that it needs.
///
/// # Errors
/// The database did not answer for 30 seconds, other sessions held the locks for 60, or a migration failed.
pub async fn migrate(options: &PgConnectOptions, serving_role: Option<&str>) -> Result<(), DatabaseError> {
    let mut connection = connect_patiently(options).await?;
    let migrated = if distribute::is_on_shards(&mut connection).await.map_err(DatabaseError::Connect)? {
        bring_shards_up_to_date(&mut connection, serving_role).await
    } else {
        bring_up_to_date(&mut connection, &migrator(), serving_role).await
    };
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

/// Brings a database up to date that Citus distributes, and distributes the tables that are new.
async fn bring_shards_up_to_date(connection: &mut PgConnection, serving_role: Option<&str>) -> Result<(), DatabaseError> {
    let migrator = migrator();
    if is_up_to_date(connection, &migrator).await.map_err(DatabaseError::Migrate)? {
        // Nothing is new, so no node has to be asked.
        return bring_up_to_date(connection, &migrator, serving_role).await;
    }
    distribute::set_up_for_migrations(connection).await.map_err(DatabaseError::Distribute)?;
    bring_up_to_date(connection, &in_one_statement_each(migrator), serving_role).await?;
    distribute::split_new_tables(connection, serving_role).await
}

/// The migrations, each as one statement: Citus sends the text of a statement to its nodes, and would send them the whole file
/// for each statement in it. Their checksums stay those of their files.
fn in_one_statement_each(mut migrator: Migrator) -> Migrator {
    for migration in migrator.migrations.to_mut().iter_mut().filter(|migration| !migration.no_tx) {
        let sql = format!("do $core_api_migration$ begin\n{}\nend $core_api_migration$", migration.sql.as_str());
        migration.sql = AssertSqlSafe(sql).into_sql_str();
    }
    migrator
}

async fn bring_up_to_date(connection: &mut PgConnection, migrator: &Migrator, serving_role: Option<&str>) -> Result<(), DatabaseError> {
    let is_current = is_up_to_date(connection, migrator).await.map_err(DatabaseError::Migrate)?;
    if is_current && has_its_rights(connection, serving_role).await? {
        return Ok(());
    }
    let began = Instant::now();
    let (mut has_lock, mut reported) = (false, false);
    loop {
        match attempt(connection, migrator, &mut has_lock).await {
            Ok(()) => break,
            Err(error) if is_forbidden(&error) => return Err(DatabaseError::NotOwner(error)),
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
    match serving_role {
        // Under the migration lock: sessions that grant at the same time would fail.
        Some(role) if !has_its_rights(connection, serving_role).await? => grant(connection, role).await,
        _ => Ok(()),
    }
}

async fn has_its_rights(connection: &mut PgConnection, serving_role: Option<&str>) -> Result<bool, DatabaseError> {
    let Some(role) = serving_role else { return Ok(true) };
    grants::are_in_force(connection, role).await.map_err(DatabaseError::Grant)
}

async fn grant(connection: &mut PgConnection, role: &str) -> Result<(), DatabaseError> {
    let own = sqlx::query_scalar!(r#"select current_user::text as "name!""#).fetch_one(&mut *connection).await;
    if own.map_err(DatabaseError::Grant)? == role {
        return Err(DatabaseError::ServesAsOwner);
    }
    grants::put_in_force(connection, role).await.map_err(DatabaseError::Grant)
}

/// Runs the pending migrations. Each is its own transaction, so the ones before a lock conflict stay applied.
async fn attempt(connection: &mut PgConnection, migrator: &Migrator, has_lock: &mut bool) -> Result<(), MigrateError> {
    connection.execute(LOCK_TIMEOUT).await?;
    if !*has_lock {
        connection.lock().await?;
        *has_lock = true;
    }
    for migration in migrator.iter().filter(|migration| migration.no_tx) {
        migrator.run_direct(Some(migration.version - 1), connection, false).await?;
        if connection.list_applied_migrations(TABLE).await?.iter().all(|done| done.version != migration.version) {
            drop_invalid_indexes(connection).await?;
            connection.execute(LOCK_TIMEOUT_OUTSIDE).await?;
            migrator.run_direct(Some(migration.version), connection, false).await?;
            connection.execute(LOCK_TIMEOUT).await?;
        }
    }
    migrator.run_direct(None, connection, false).await
}

/// Drops the indexes that an interrupted `create index concurrently` left behind.
async fn drop_invalid_indexes(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let indexes = sqlx::query_scalar!(
        r#"
        select format('drop index concurrently %I.%I', current_schema(), class.relname) as "command!"
        from pg_index
        join pg_class class on class.oid = pg_index.indexrelid
        where not pg_index.indisvalid and class.relnamespace = current_schema()::regnamespace
        "#
    );
    for command in indexes.fetch_all(&mut *connection).await? {
        connection.execute(AssertSqlSafe(command)).await?;
    }
    Ok(())
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
    matches!(sqlstate(error).as_deref(), Some("55P03" | "40P01"))
}

/// Whether the role may not do what a migration does.
fn is_forbidden(error: &MigrateError) -> bool {
    sqlstate(error).as_deref() == Some("42501")
}

fn sqlstate(error: &MigrateError) -> Option<String> {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return None };
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(Into::into)
}

#[cfg(test)]
mod tests;
