//! What the schema itself rejects, and how migrations run.

use std::time::Duration;

use core_api::app::Server;
use serde_json::json;
use sqlx::{AssertSqlSafe, Error, Executor, PgConnection, migrate::Migrate};

use crate::support::{Database, Shard, World};

/// The functions of the migration `ledger_guards`. Dropping a function drops its triggers.
const GUARDS: [&str; 4] =
    ["cards_stand_where_their_movements_leave_them", "movements_continue_their_history", "cards_begin_empty", "cards_stay"];

/// Citus has no triggers of TRUNCATE on shards, so that is tried on the whole table.
async fn refusal_of(shard: &mut Shard, whole: &mut PgConnection, tampering: &str) -> Error {
    let done = if tampering.starts_with("truncate") {
        whole.execute(AssertSqlSafe(tampering.to_owned())).await
    } else {
        shard.execute(tampering).await
    };
    done.expect_err(tampering)
}

#[tokio::test]
async fn the_database_rejects_an_inconsistent_ledger() {
    let (world, admin) = World::with_admin().await;
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
    let (mut shard, mut whole) = (world.database.shard().await, world.database.connect().await);
    for (tampering, reason) in [
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
        // An earlier position of the card is not its current one.
        ("update cards set seq = 1, balance = 10000".to_owned(), "without its movements"),
        ("update cards set id = gen_random_uuid(), balance = balance + 1".to_owned(), "cards stay"),
        ("truncate cards cascade".to_owned(), "cards stay"),
        (
            "insert into movements select account_id, gen_random_uuid(), 1, gen_random_uuid(), kind, amount, amount, 'x', now() from movements where seq = 1"
                .to_owned(),
            "ahead of its card",
        ),
        ("update cards set balance = -1".to_owned(), "without its movements"),
        ("update cards set balance = -9007199254740992".to_owned(), "cards_balance_bounds"),
        (
            "insert into cards (account_id, id, number, currency, balance) select account_id, gen_random_uuid(), 99, 'USD', 1 from cards"
                .to_owned(),
            "begin empty",
        ),
        ("delete from cards".to_owned(), "cards stay"),
        ("update movements set amount = 1".to_owned(), "append-only"),
    ] {
        let refused = refusal_of(&mut shard, &mut whole, &tampering).await;
        assert!(refused.to_string().contains(reason), "{tampering}: {refused}");
    }
    shard.execute(&post(3, 100, 8_100, 3, 8_100)).await.expect("a consistent movement is written");
    assert_eq!(admin.card(&card).await["balance"], 81);
    shard.execute(&post_two(4, 8_200, 8_300, 5, 8_300)).await.expect("two consistent movements are written together");
    assert_eq!(admin.card(&card).await["balance"], 83);
}

/// Writes movements to the only card, each of a kind, an amount and whether it belongs to the only authorisation.
fn movements(balance: i64, seq: i64, lines: &[(&str, i64, bool)]) -> String {
    let (mut after, mut values) = (balance, Vec::new());
    for (place, (kind, amount, is_linked)) in (seq + 1..).zip(lines) {
        after += amount;
        values.push(format!("('{kind}', {amount}::bigint, {after}::bigint, {place}::bigint, {is_linked})"));
    }
    format!(
        "with moved as (update cards set balance = {after}, seq = seq + {count}, event_seq = event_seq + {count})
         insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, authorization_id,
             transfer_id)
         select cards.account_id, cards.id, line.seq, gen_random_uuid(), line.kind, line.amount, line.after, 'x', now(),
             case when line.is_linked then authorizations.id end, case when line.kind like 'transfer%' then gen_random_uuid() end
         from cards, authorizations, (values {values}) as line (kind, amount, after, seq, is_linked)",
        count = lines.len(),
        values = values.join(", "),
    )
}

/// Raises the only hold from 3,000 to 4,000: the entry, its authorisation and its card, as they are given.
fn increment(entry_held: i64, ordinal: i64, authorization_held: i64, (card_held, event_seq): (i64, i64)) -> String {
    format!(
        "with raised as (
             update authorizations
             set held = {authorization_held}, authorized = {authorization_held}, last_ordinal = {ordinal}, entry_sequence = 5
         ), card as (
             update cards set held = {card_held}, event_seq = {event_seq}
         )
         insert into authorization_entries (
             account_id, card_id, sequence, id, authorization_id, ordinal, previous_sequence, kind, amount, held_before,
             held_after, card_balance, card_held, created_at
         )
         select account_id, card_id, 5, gen_random_uuid(), authorization_id, 2, 4, 'increment', 1000, 3000, {entry_held}, 10000,
             4000, now()
         from authorization_entries"
    )
}

#[tokio::test]
async fn the_database_rejects_inconsistent_holds() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    admin.given_hold(&card, json!(30)).await;
    let (mut shard, mut whole) = (world.database.shard().await, world.database.connect().await);
    for (tampering, reason) in [
        ("update cards set held = 0", "held money of card"),
        ("update cards set held = held + 1, event_seq = event_seq + 1", "held money of card"),
        ("update cards set held = -1", "cards_held_bounds"),
        ("update cards set holds_due_at = null", "cards_held_money_is_due"),
        (&increment(4_000, 2, 4_000, (4_001, 5)), "held money of card"),
        (&increment(4_000, 2, 4_000, (3_000, 4)), "ahead of its card"),
        (&increment(4_000, 2, 4_001, (4_000, 5)), "does not stand where its entries leave it"),
        (&increment(4_000, 3, 4_000, (4_000, 5)), "does not stand where its entries leave it"),
        ("update authorizations set held = 2000, reversed = 1000", "does not stand where its entries leave it"),
        ("update authorizations set entry_sequence = 1", "does not stand where its entries leave it"),
        (
            "insert into authorizations (account_id, id, card_id, status, kind, requested, authorized, held, entry_mode, response_code, decided_by,
                 last_ordinal, entry_sequence, sequence, created_at, updated_at)
             select account_id, gen_random_uuid(), card_id, 'declined', kind, 1, 0, 0, entry_mode, '51', decided_by, 1, 4, 4, now(), now()
             from authorizations",
            "does not stand where its entries leave it",
        ),
        ("update authorization_entries set amount = 1", "append-only"),
        ("delete from authorization_entries", "append-only"),
        ("truncate authorization_entries", "append-only"),
        ("delete from authorizations", "authorizations stay"),
        ("truncate authorizations", "authorizations stay"),
        ("update authorizations set id = gen_random_uuid()", "authorizations stay"),
        ("update authorizations set card_id = gen_random_uuid()", "authorizations stay"),
        ("update authorizations set account_id = gen_random_uuid()", "authorizations stay"),
        ("insert into cards (account_id, id, number, currency, held) select account_id, gen_random_uuid(), 99, 'USD', 2 from cards", "begin empty"),
        ("insert into cards (account_id, id, number, currency, event_seq) select account_id, gen_random_uuid(), 99, 'USD', 2 from cards", "begin empty"),
        ("update authorizations set reversed = 1", "authorizations_add_up"),
        ("update authorizations set captured = 1", "authorizations_add_up"),
        ("update authorizations set held = 0, expired = 3000", "authorizations_pending_hold"),
        ("update authorizations set status = 'captured'", "authorizations_pending_hold"),
        ("update authorizations set expires_at = null", "authorizations_pending_expire"),
        ("update authorizations set capture_reversed = 1", "authorizations_return_what_was_taken"),
        ("update authorizations set refunded = 1", "authorizations_return_what_was_taken"),
        ("update authorizations set captured = 3, excess = 3, capture_reversed = 2, refunded = 2", "authorizations_return_what_was_taken"),
        ("update authorizations set expired = -1, released = 1", "authorizations_bounds"),
    ] {
        let refused = refusal_of(&mut shard, &mut whole, tampering).await;
        assert!(refused.to_string().contains(reason), "{tampering}: {refused}");
    }
    shard.execute(&increment(4_000, 2, 4_000, (4_000, 5))).await.expect("a consistent increment is written");
    assert_eq!(admin.card(&card).await["held"], 40);
}

#[tokio::test]
async fn held_money_is_spent_by_nothing_that_can_be_refused() {
    const OWN: bool = false;
    const NETWORK: bool = true;
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    admin.given_hold(&card, json!(30)).await;
    let mut shard = world.database.shard().await;
    for lines in [
        &[("purchase", -7_001, OWN)][..],
        &[("withdrawal", -7_001, OWN)],
        &[("transfer_out", -7_001, OWN)],
        &[("purchase", -4_000, OWN), ("purchase", -3_001, OWN)],
        &[("purchase", -8_000, OWN), ("top_up", 999, OWN)],
        &[("top_up", 1_000, OWN), ("capture", -8_000, OWN), ("withdrawal", -1, OWN)],
    ] {
        let refused = shard.execute(&movements(10_000, 1, lines)).await.expect_err("held money is spent");
        // A server that knows no holds takes it for a lost race, and tries again.
        assert_eq!(
            refused.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(),
            Some("40001"),
            "{lines:?}: {refused}"
        );
    }
    for (kind, is_linked) in [("purchase", OWN), ("withdrawal", OWN), ("transfer_out", OWN), ("withdrawal", NETWORK)] {
        let overdraws = movements(10_000, 1, &[(kind, -10_001, is_linked)]);
        let refused = shard.execute(&overdraws).await.expect_err(kind);
        assert!(refused.to_string().contains("movements_balance_bounds"), "{kind}: {refused}");
    }
    let mut seq = 1;
    let mut balance = 10_000;
    for lines in [
        &[("purchase", -4_000, OWN), ("withdrawal", -3_000, OWN)][..],
        &[("capture", -1_000, NETWORK)],
        &[("top_up", 100, OWN)],
        &[("purchase", -500, NETWORK)],
        &[("capture", -2_000, OWN)],
        &[("refund", 500, OWN), ("refund_reversal", -500, OWN)],
        &[("purchase", -100, NETWORK)],
        &[("top_up", 10, OWN)],
    ] {
        shard.execute(&movements(balance, seq, lines)).await.unwrap_or_else(|error| panic!("{lines:?}: {error}"));
        balance += lines.iter().map(|(_, amount, _)| amount).sum::<i64>();
        seq += i64::try_from(lines.len()).expect("few");
    }
    assert_eq!(balance, -490);
    assert_eq!(world.database.number("select balance from cards").await, balance);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_started_together_on_an_empty_database_all_serve() {
    let mut settings = World::new().await.settings.clone();
    let database = Database::empty().await;
    settings.database.sharded = database.is_sharded;
    let starting = (0..5).map(|_| Server::start(&settings, database.options.clone()));
    for started in futures_util::future::join_all(starting).await {
        started.expect("the server starts");
    }
    assert_eq!(database.number("select count(*) from users").await, 2);
    World::on(database, |_| {}).await.admin().await.get("/cards").await.ok();
}

#[tokio::test]
async fn a_replica_with_nothing_to_migrate_does_not_wait_for_the_migration_lock() {
    let world = World::new().await;
    let mut migrating = world.database.connect().await;
    migrating.lock().await.expect("the migration lock is taken");
    world.fresh_replica().await.admin().await.given_card().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_a_locked_table_without_blocking_writers_for_long() {
    let world = World::new().await;
    let database = Database::new().await;
    // The migration that creates the guards runs again. It needs an exclusive lock on each table.
    database.execute("delete from _sqlx_migrations where version = 8").await;
    for function in GUARDS {
        database.execute(&format!("drop function {function}() cascade")).await;
    }
    let mut posting = database.connect().await;
    posting.execute("begin; lock table cards, movements in row exclusive mode").await.expect("the tables are locked");
    let starting = tokio::spawn({
        let (settings, options) = (world.settings.clone(), database.options.clone());
        async move { Server::start(&settings, options).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!starting.is_finished(), "the migration did not wait");
    // Other statements get through between the attempts.
    let mut other = database.connect().await;
    other
        .execute("set statement_timeout = '4s'; update movements set amount = amount where false; update cards set seq = seq where false")
        .await
        .expect("the writer waits for less than the timeout");
    posting.execute("commit").await.expect("the locks are released");
    starting.await.expect("no panic").expect("the server starts");
}

#[tokio::test]
async fn an_older_replica_starts_on_a_newer_schema() {
    let world = World::new().await;
    let newer =
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'newer', true, '\\x00', 0)";
    world.database.execute(newer).await;
    world.database.execute("alter table cards add column later text").await;
    let older = world.fresh_replica().await;
    older.admin().await.given_card_with(json!(5)).await;
}

#[tokio::test]
async fn a_deadlocked_or_conflicting_transaction_is_retried() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    // A sequence is not rolled back. The trigger fails the first two attempts, with a deadlock and with a conflict.
    let failing = "create sequence attempts;
         create function fail_twice() returns trigger language plpgsql security definer as $$
         declare attempt bigint := nextval('attempts');
         begin
             if attempt = 1 then raise exception 'deadlock' using errcode = '40P01'; end if;
             if attempt = 2 then raise exception 'conflict' using errcode = '40001'; end if;
             return new;
         end;
         $$;
         create trigger failing before insert on movements for each row execute function fail_twice()";
    let mut shard = world.database.shard().await;
    shard.execute(failing).await.expect("the trigger is created");
    assert_eq!(admin.add(&card, json!(5)).await.ok()["balance"], 5);
    assert_eq!(admin.movements(&card).await.len(), 1);
    assert_eq!(shard.number("select last_value from attempts").await, 3);

    shard.execute("create or replace function fail_twice() returns trigger language plpgsql as $$ begin raise exception 'deadlock' using errcode = '40P01'; end; $$").await.expect("replaced");
    admin.add(&card, json!(5)).await.problem(503, "unavailable");
    assert_eq!(admin.card(&card).await["balance"], 5);
}
