//! What the database's role that serves may do, and what it may not. Every other test serves as that role, too.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use core_api::{
    app::{Server, StartError},
    database::DatabaseError,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::support::{
    Database, World,
    binary::{Process, assert_refused, core_api, core_api_on, run},
};

/// A connection of the role that serves.
async fn serving(database: &Database) -> PgConnection {
    PgConnection::connect_with(&database.serving()).await.expect("the database answers")
}

#[tokio::test]
async fn the_role_that_serves_can_change_neither_the_ledger_nor_the_schema() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(5)).await;
    let mut connection = serving(&world.database).await;
    for command in [
        "update movements set amount = 1",
        "delete from movements",
        "truncate movements",
        "alter table movements disable trigger all",
        "alter table movements disable trigger movements_append_only",
        "alter table cards disable trigger cards_change_with_a_movement",
        "drop trigger movements_append_only on movements",
        "drop trigger cards_change_with_a_movement on cards",
        "drop function cards_stay() cascade",
        "create or replace function cards_stay() returns trigger language plpgsql as 'begin return old; end'",
        "alter function cards_stay() reset search_path",
        "create function anything() returns int language sql as 'select 1'",
        "create trigger mine before insert on movements for each row execute function cards_stay()",
        "set session_replication_role = replica",
        "create table mine (id bigint)",
        "create schema mine",
        "alter table cards add column mine text",
        "drop table idempotency_keys",
        "create index mine on cards (balance)",
        "delete from cards",
        "truncate cards cascade",
        "update audit_events set type = 'x'",
        "delete from audit_events",
        "truncate audit_events",
        "delete from accounts",
        "delete from api_keys",
        "delete from customers",
        "update deployment set environment = 'production'",
        "delete from _sqlx_migrations",
        "insert into _sqlx_migrations select version + 1, description, installed_on, success, checksum, execution_time from _sqlx_migrations",
        "grant core_api to core_api_server",
        "set role core_api",
        "alter role core_api_server superuser",
        "create role mine",
        "copy movements to program 'cat'",
    ] {
        let refused = connection.execute(command).await.expect_err(command);
        let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code).map(String::from);
        // The coordinator of shards says only that they refused it.
        let by_shards = world.database.is_on_nodes() && command.starts_with("truncate") && code.as_deref() == Some("XX000");
        assert!(code.as_deref() == Some("42501") || by_shards, "{command}: {refused}");
    }
    assert_eq!(admin.card(&card).await["balance"], 5);
    assert_eq!(admin.movements(&card).await.len(), 1);
}

#[tokio::test]
async fn a_guard_is_not_shown_a_table_of_the_session() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(5)).await;
    // A movement that makes the card's new balance right, in a table that only this connection sees.
    let forged = "as select account_id, card_id, seq + 1 as seq, id, kind, amount, balance_after + amount as balance_after,
        description, created_at, user_id, request_id from public.movements";
    let update = "update public.cards set balance = balance + 500, seq = seq + 1";
    let mut connection = serving(&world.database).await;
    connection.execute(AssertSqlSafe(format!("create temp table movements {forged}"))).await.expect("a temporary table");
    let refused = connection.execute(update).await.expect_err("without its movement");
    assert!(refused.to_string().contains("without its movements"), "{refused}");

    let mut owner = world.database.connect().await;
    owner.execute("create schema mine").await.expect("a schema");
    owner.execute(AssertSqlSafe(format!("create table mine.movements {forged}"))).await.expect("a table");
    owner.execute("set search_path = mine, public").await.expect("set");
    let refused = owner.execute(update).await.expect_err("without its movement");
    assert!(refused.to_string().contains("without its movements"), "{refused}");
    assert_eq!(admin.card(&card).await["balance"], 5);
}

#[tokio::test]
async fn every_function_of_the_schema_names_where_it_looks() {
    let database = Database::new().await;
    let functions = "from pg_proc where pronamespace = 'public'::regnamespace";
    assert!(database.number(&format!("select count(*) {functions}")).await >= 6);
    let wanted = "array['search_path=pg_catalog, public, pg_temp']";
    assert_eq!(database.number(&format!("select count(*) {functions} and (proconfig @> {wanted}) is not true")).await, 0);
}

#[tokio::test]
async fn every_table_says_what_the_role_that_serves_may_do() {
    let database = Database::new().await;
    let source = include_str!("../../src/database/grants.rs");
    let tables = "select relname::text from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace";
    for row in database.connect().await.fetch_all(tables).await.expect("tables") {
        let table: String = row.get(0);
        assert!(source.contains(&format!("(\"{table}\", ")), "src/database/grants.rs does not list {table}");
    }
}

#[tokio::test]
async fn a_table_of_a_later_migration_can_be_read_and_written() {
    let database = Database::new().await;
    database.execute("create table later (id bigint generated always as identity, name text)").await;
    let mut connection = serving(&database).await;
    for command in ["insert into later (name) values ('x')", "update later set name = 'y'", "delete from later"] {
        connection.execute(command).await.expect(command);
    }
    connection.execute("truncate later").await.expect_err("not granted");
}

#[tokio::test]
async fn migrate_grants_and_takes_back_so_that_the_rights_are_exactly_those() {
    let database = Database::new().await;
    let may_delete = "select has_table_privilege('core_api_server', 'movements', 'delete')::int::bigint";
    database.execute("grant delete on movements to core_api_server").await;
    database.execute("revoke insert on cards from core_api_server").await;
    assert_eq!(database.number(may_delete).await, 1);
    let migrate = |url: String| {
        run(core_api_on(&database).arg("migrate").env("DATABASE_URL", url).env("CORE_API__DATABASE__SERVING_ROLE", "core_api_server"))
    };
    for _ in 0..2 {
        let output = migrate(database.owner_url());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(database.number(may_delete).await, 0);
    }
    World::on(database.clone(), |_| {}).await.admin().await.given_card().await;
    // The role that serves has nothing to migrate, and nothing to grant.
    assert!(migrate(database.url()).status.success());

    let owner =
        run(core_api().arg("migrate").env("DATABASE_URL", database.owner_url()).env("CORE_API__DATABASE__SERVING_ROLE", "core_api"));
    assert_refused(&owner, "the role that serves must be another one");
    let unknown =
        run(core_api().arg("migrate").env("DATABASE_URL", database.owner_url()).env("CORE_API__DATABASE__SERVING_ROLE", "nobody"));
    assert_refused(&unknown, "cannot grant its rights");
}

#[tokio::test]
async fn the_role_that_serves_does_not_migrate() {
    let world = World::new().await;
    let empty = Database::empty().await;
    let refused = Server::start(&world.settings, empty.serving()).await.expect_err("nothing is there to serve");
    assert!(matches!(refused, StartError::Database(DatabaseError::NotOwner(_))), "{refused:?}");
    assert!(refused.to_string().contains("core-api migrate"), "{refused}");
    assert_eq!(empty.number("select count(*) from pg_tables where schemaname = 'public'").await, 0);
}

#[tokio::test]
async fn production_warns_of_a_role_that_could_change_the_ledger() {
    let database = Database::empty().await;
    for (url, warns) in [(database.owner_url(), true), (database.url(), false)] {
        database.migrate().await;
        let mut command = core_api();
        command.env("CORE_API_ENV", "production").env("DATABASE_URL", url).stderr(Stdio::piped());
        command.env("CORE_API__AUTH__SIGNING_KEYS", format!("k1:{}", STANDARD.encode(rand::random::<[u8; 32]>())));
        let mut process = Process::start(&mut command);
        let log = BufReader::new(process.stderr.take().expect("a piped log")).lines();
        let messages = log.map(|line| {
            let line = line.expect("text");
            serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))["message"].clone()
        });
        let before: Vec<Value> = messages.take_while(|message| message != "serving").collect();
        let warned = before.iter().any(|message| message.as_str().is_some_and(|message| message.contains("database.serving_role")));
        assert_eq!(warned, warns, "{before:?}");
    }
}
