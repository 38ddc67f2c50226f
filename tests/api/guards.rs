//! The database's half: what the schema itself refuses, and how a schema comes to be.

use std::time::Duration;

use core_api::app::Server;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, migrate::Migrate};

use crate::support::{Database, World};

/// The functions of the migration `ledger_guards`. Dropping one takes its triggers along.
const GUARDS: [&str; 4] = [
    "cards_stand_where_their_movements_leave_them",
    "movements_continue_their_history",
    "cards_begin_empty",
    "cards_stay",
];

#[tokio::test]
async fn a_ledger_that_does_not_add_up_cannot_be_written() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(100)).await;
    admin.purchase(&card, json!(20)).await.ok();
    let post = |seq: i64, amount: i64, after: i64, card_seq: i64, balance: i64| {
        format!(
            "with moved as (update cards set balance = {balance}, seq = {card_seq})
             insert into movements select account_id, card_id, {seq}, gen_random_uuid(), 'top_up', {amount}, {after}, 'x', now() from movements where seq = 1"
        )
    };
    let post_two = |seq: i64, first_after: i64, after: i64, card_seq: i64, balance: i64| {
        format!(
            "with moved as (update cards set balance = {balance}, seq = {card_seq})
             insert into movements select account_id, card_id, line.seq, gen_random_uuid(), 'top_up', 100, line.after, 'x', now()
             from movements, (values ({seq}, {first_after}), ({seq} + 1, {after})) as line (seq, after) where movements.seq = 1"
        )
    };
    let mut connection = world.database.connect().await;
    for (tampering, why) in [
        (post(4, 100, 8_100, 4, 8_100), "without its movements"),
        (post(3, 100, 8_101, 3, 8_101), "without its movements"),
        (post(3, 100, 8_100, 3, 8_101), "without its movements"),
        (post(3, 100, 8_100, 4, 8_100), "without its movements"),
        (post_two(3, 8_100, 8_200, 5, 8_200), "without its movements"),
        (post_two(3, 8_150, 8_200, 4, 8_200), "without its movements"),
        (post_two(3, 8_100, 8_200, 4, 8_100), "without its movements"),
        (post_two(3, 8_100, 8_200, 3, 8_100), "ahead of its card"),
        (post(2, 100, 8_100, 2, 8_100), "movements_pkey"),
        (post(3, -100, 7_900, 3, 7_900), "movements_amount_sign"),
        (post(3, 9_007_199_254_740_991, 9_007_199_254_748_991, 3, 9_007_199_254_748_991), "bounds"),
        (post(3, 100, 8_100, 2, 8_000), "ahead of its card"),
        ("update cards set balance = balance + 1".to_owned(), "without its movements"),
        ("update cards set seq = seq + 1".to_owned(), "without its movements"),
        // Where it stood before is not where it stands.
        ("update cards set seq = 1, balance = 10000".to_owned(), "without its movements"),
        ("update cards set id = gen_random_uuid(), balance = balance + 1".to_owned(), "cards stay"),
        ("truncate cards cascade".to_owned(), "cards stay"),
        (
            "insert into movements select account_id, gen_random_uuid(), 1, gen_random_uuid(), kind, amount, amount, 'x', now() from movements where seq = 1"
                .to_owned(),
            "ahead of its card",
        ),
        ("update cards set balance = -1".to_owned(), "cards_balance_bounds"),
        (
            "insert into cards (account_id, id, number, currency, balance) select account_id, gen_random_uuid(), 99, 'USD', 1 from cards"
                .to_owned(),
            "begin empty",
        ),
        ("delete from cards".to_owned(), "cards stay"),
        ("update movements set amount = 1".to_owned(), "append-only"),
    ] {
        let refused = connection.execute(AssertSqlSafe(tampering.clone())).await.expect_err(&tampering);
        assert!(refused.to_string().contains(why), "{tampering}: {refused}");
    }
    connection.execute(AssertSqlSafe(post(3, 100, 8_100, 3, 8_100))).await.expect("what adds up is written");
    assert_eq!(admin.card(&card).await["balance"], 81);
    connection.execute(AssertSqlSafe(post_two(4, 8_200, 8_300, 5, 8_300))).await.expect("and two together");
    assert_eq!(admin.card(&card).await["balance"], 83);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_on_an_empty_database_all_serve() {
    let world = World::new().await;
    let database = Database::empty().await;
    let starting = (0..5).map(|_| Server::start(&world.settings, database.options.clone()));
    for started in futures_util::future::join_all(starting).await {
        started.expect("it starts");
    }
    assert_eq!(database.number("select count(*) from users").await, 2);
    World::on(database, |_| {}).await.admin().await.get("/cards").await.ok();
}

#[tokio::test]
async fn where_nothing_is_to_be_migrated_nobody_waits_for_whoever_migrates() {
    let world = World::new().await;
    let mut migrating = world.database.connect().await;
    migrating.lock().await.expect("locked");
    World::on(world.database.clone(), |_| {}).await.admin().await.given_card().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_a_table_that_is_held_and_holds_nobody_up_for_long() {
    let world = World::new().await;
    let database = Database::new().await;
    // The guards are put on again, which takes a lock on each table that no writer shares.
    database.execute("delete from _sqlx_migrations where version = 8").await;
    for function in GUARDS {
        database.execute(&format!("drop function {function}() cascade")).await;
    }
    let mut posting = database.connect().await;
    posting.execute("begin; lock table cards, movements in row exclusive mode").await.expect("locked");
    let starting = tokio::spawn({
        let (settings, options) = (world.settings.clone(), database.options.clone());
        async move { Server::start(&settings, options).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!starting.is_finished(), "it did not wait");
    // Others get through between its tries.
    let mut other = database.connect().await;
    other
        .execute("set statement_timeout = '4s'; update movements set amount = amount where false; update cards set seq = seq where false")
        .await
        .expect("not held up for longer than that");
    posting.execute("commit").await.expect("ended");
    starting.await.expect("no panic").expect("it starts");
}

#[tokio::test]
async fn an_older_replica_starts_beside_a_newer_schema() {
    let world = World::new().await;
    let newer =
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'newer', true, '\\x00', 0)";
    world.database.execute(newer).await;
    world.database.execute("alter table cards add column later text").await;
    let older = World::on(world.database.clone(), |_| {}).await;
    older.admin().await.given_card_with(json!(5)).await;
}

#[tokio::test]
async fn a_transaction_that_the_database_rolls_back_for_another_is_done_again() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    // A sequence does not roll back: the first two tries are turned down, by a deadlock and by a conflict.
    let unlucky = "create sequence tries;
         create function turn_down() returns trigger language plpgsql as $$
         declare try bigint := nextval('tries');
         begin
             if try = 1 then raise exception 'deadlock' using errcode = '40P01'; end if;
             if try = 2 then raise exception 'conflict' using errcode = '40001'; end if;
             return new;
         end;
         $$;
         create trigger unlucky before insert on movements for each row execute function turn_down()";
    world.database.connect().await.execute(AssertSqlSafe(unlucky)).await.expect("made");
    assert_eq!(admin.add(&card, json!(5)).await.ok()["balance"], 5);
    assert_eq!(admin.movements(&card).await.len(), 1);
    assert_eq!(world.database.number("select last_value from tries").await, 3);

    world.database.execute("create or replace function turn_down() returns trigger language plpgsql as $$ begin raise exception 'deadlock' using errcode = '40P01'; end; $$").await;
    admin.add(&card, json!(5)).await.problem(503, "unavailable");
    assert_eq!(admin.card(&card).await["balance"], 5);
}
