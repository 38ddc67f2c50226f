//! Tests of migrations outside a transaction, on a private Postgres server.

use std::{borrow::Cow, os::unix::fs::PermissionsExt as _};

use sqlx::migrate::{Migration, MigrationType};

use super::*;
use crate::database::private::PrivatePostgres;

/// A migration as its file would be read.
fn migration(version: i64, sql: &'static str) -> Migration {
    let no_tx = sql.starts_with("-- no-transaction");
    Migration::new(version, Cow::Borrowed("test"), MigrationType::Simple, sqlx::SqlStr::from_static(sql), no_tx)
}

/// A folder that Postgres can read.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("readable by Postgres");
    directory
}

#[tokio::test]
async fn every_migration_runs_as_one_statement_too() {
    let directory = directory();
    let postgres = PrivatePostgres::start(&directory.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
    let mut connection = PgConnection::connect_with(&postgres.options()).await.expect("connected");
    let as_files = migrator();
    bring_up_to_date(&mut connection, &in_one_statement_each(migrator()), None).await.expect("migrated");
    assert!(is_up_to_date(&mut connection, &as_files).await.expect("an answer"), "a checksum is not that of its file");
}

#[tokio::test]
async fn an_index_is_built_concurrently_also_after_an_attempt_that_failed() {
    let directory = directory();
    let postgres = PrivatePostgres::start(&directory.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
    let mut connection = PgConnection::connect_with(&postgres.options()).await.expect("connected");
    let mut other = PgConnection::connect_with(&postgres.options()).await.expect("connected");
    let migrator = Migrator {
        migrations: Cow::Owned(vec![
            migration(1, "create table things (id bigint not null, name text not null)"),
            migration(2, "insert into things values (1, 'one'), (2, 'one')"),
            migration(3, "-- no-transaction\ncreate unique index concurrently things_name on things (name)"),
            migration(4, "create table later (id bigint)"),
        ]),
        ..Migrator::DEFAULT
    };
    // Two rows have one name: the index is left behind, not valid.
    let failed = bring_up_to_date(&mut connection, &migrator, None).await.expect_err("not unique");
    assert!(matches!(failed, DatabaseError::Migrate(_)), "{failed:?}");
    let indexes = "select (count(*) filter (where indisvalid)) * 10 + count(*) from pg_index where indrelid = 'things'::regclass";
    let count = |number: i64| move |row: sqlx::postgres::PgRow| assert_eq!(sqlx::Row::get::<i64, _>(&row, 0), number);
    count(1)(other.fetch_one(indexes).await.expect("a row"));

    // A transaction that is open for longer than other migrations wait for a lock.
    other.execute("update things set name = 'two' where id = 2").await.expect("updated");
    other.execute("begin; update things set name = 'three' where id = 2").await.expect("updated");
    let (migrated, committed) = tokio::join!(bring_up_to_date(&mut connection, &migrator, None), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        other.execute("commit").await
    });
    committed.expect("committed");
    migrated.expect("migrated");
    count(11)(other.fetch_one(indexes).await.expect("a row"));
    assert!(is_up_to_date(&mut connection, &migrator).await.expect("an answer"));
}
