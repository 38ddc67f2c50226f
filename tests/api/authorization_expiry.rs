//! Holds that are due: gone for every reader and every decision at once, and written down once.

use std::time::{Duration, Instant};

use core_api::domain::role::Role;
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::{
    concurrency::{concurrently, count, three_replicas},
    support::{
        Actor, World,
        payments::{entries, position, sums},
    },
};

/// A card of 500 whose hold of this amount is due.
async fn given_due(world: &World, admin: &Actor, amount: i64) -> (String, String) {
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(amount)).await;
    world.make_due(&hold).await;
    (card, hold)
}

#[tokio::test]
async fn readers_do_not_see_a_hold_that_is_due_and_the_sweeper_writes_one_entry() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let (due, open) = (admin.given_hold(&card, json!(100)).await, admin.given_hold(&card, json!(30)).await);
    assert_eq!(admin.position(&card).await, "500 130 370");
    // While this is open, nobody can write an entry.
    let mut writer = world.database.connect().await;
    writer.execute("begin; lock table authorization_entries in share mode").await.expect("locked");
    world.make_due(&due).await;
    for replica in 0..3 {
        assert_eq!(world.at(replica, &admin).position(&card).await, "500 30 470");
    }
    assert_eq!(world.entries_of_kind(&due, "expiry").await, 0, "nothing was written yet");
    writer.execute("commit").await.expect("unlocked");

    let swept = "select count(*) from authorization_entries where kind = 'expiry'";
    world.database.wait_for(1, swept).await;
    // Three replicas have had their turns.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.database.number(swept).await, 1);
    let found = admin.authorization(&due).await;
    assert_eq!(
        (sums(&found).as_str(), entries(&found)),
        ("expired 100 0 0 0 0 100 0", vec!["authorization 100 100".to_owned(), "expiry 100 0".to_owned()])
    );
    assert_eq!(sums(&admin.authorization(&open).await), "pending 30 30 0 0 0 0 0");
    assert_eq!(admin.position(&card).await, "500 30 470");
    let nobody = "select count(*) from authorization_entries where kind = 'expiry' and user_id is null and api_key_id is null";
    assert_eq!(world.database.number(nobody).await, 1);
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn every_decision_is_made_without_what_is_due() {
    // One replica makes the holds. The other decides, and has not cached when they are due, which only a test moves.
    let world = World::of_replicas(2, |_| {}).await;
    let first = world.admin().await;
    let admin = world.at(1, &first);
    // The hold takes all there is, so each of these succeeds only without it.
    let (card, due) = given_due(&world, &first, 500).await;
    let answer = admin.authorize(&card, json!(500)).await.ok();
    assert_eq!(
        (sums(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()),
        ("pending 500 500 0 0 0 0 0", "500 500 0")
    );
    let found = admin.authorization(&due).await;
    assert_eq!(entries(&found), ["authorization 500 500", "expiry 500 0"]);
    let sequence = |authorization: &Value| authorization["sequence"].as_i64().expect("a number");
    assert!(sequence(&found) < sequence(&answer["authorization"]), "it expired before the decision");

    let (card, due) = given_due(&world, &first, 500).await;
    assert_eq!(admin.purchase(&card, json!(500)).await.ok()["balance"], 0);
    assert_eq!((admin.position(&card).await.as_str(), world.entries_of_kind(&due, "authorization").await), ("0 0 0", 1));

    let (card, _) = given_due(&world, &first, 500).await;
    assert_eq!(admin.withdraw(&card, json!(500)).await.ok()["available"], 0);
    assert_eq!(admin.position(&card).await, "0 0 0");

    let (card, _) = given_due(&world, &first, 500).await;
    assert_eq!(admin.add(&card, json!(1)).await.ok()["available"], 501);

    let (card, due) = given_due(&world, &first, 400).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let answer = admin.step(&hold, "increments", json!({"amount": 400})).await.ok();
    assert_eq!(sums(&answer["authorization"]), "pending 500 500 0 0 0 0 0");
    assert_eq!(world.entries_of_kind(&due, "expiry").await, 1);

    let (card, _) = given_due(&world, &first, 500).await;
    let answer = admin.network("purchases", json!({"cardId": card, "amount": 500})).await.ok();
    assert_eq!((sums(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()), ("captured 500 0 500 0 0 0 0", "0 0 0"));

    // A decline tells what is held without it.
    let (card, due) = given_due(&world, &first, 400).await;
    let answer = admin.authorize(&card, json!(501)).await.ok();
    let funds = json!({"check": "funds", "result": "fail", "balance": 500, "held": 0, "available": 500, "requested": 501});
    assert_eq!(answer["authorization"]["checks"].as_array().and_then(|checks| checks.last()), Some(&funds));
    assert_eq!(world.entries_of_kind(&due, "expiry").await, 1);
    world.database.wait_for(0, "select count(*) from authorizations where status = 'pending' and expires_at < now()").await;
    assert_eq!(world.database.number("select count(*) from authorization_entries where kind = 'expiry'").await, 7);
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_step_of_a_hold_that_is_due_finds_it_expired() {
    let (world, admin) = World::with_admin().await;
    let (card, due) = given_due(&world, &admin, 100).await;
    let answer = admin.step(&due, "captures", json!({"amount": 100})).await.ok();
    assert_eq!(sums(&answer["authorization"]), "captured 100 0 100 100 0 100 0");
    assert_eq!(admin.history(&answer["authorization"]).await, ["authorization 100 100", "expiry 100 0", "late_capture 100 0"]);
    assert_eq!(admin.position(&card).await, "400 0 400");

    let (_, due) = given_due(&world, &admin, 100).await;
    let problem = admin.step(&due, "captures", json!({})).await.problem(409, "authorization_not_open");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with("To capture it late, send an amount.")), "{problem}");
    let problem = admin.step(&due, "adjustments", json!({"amount": 1})).await.problem(409, "authorization_not_open");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with("holds nothing that this could change.")), "{problem}");
    let (_, due_too) = given_due(&world, &admin, 100).await;
    let answer = admin.step(&due_too, "increments", json!({"amount": 1})).await.ok();
    assert_eq!(admin.history(&answer["authorization"]).await, ["authorization 100 100", "expiry 100 0", "increment_declined 1 0"]);
    assert_eq!(answer["entry"]["decline"]["code"], "authorization_not_open");
    let (card, reversed) = given_due(&world, &admin, 100).await;
    let answer = admin.step(&reversed, "reversals", json!({})).await.ok();
    assert_eq!((&answer["entry"]["amount"], sums(&answer["authorization"]).as_str()), (&json!(0), "expired 100 0 0 0 0 100 0"));
    assert_eq!(admin.position(&card).await, "500 0 500");
    let (_, adjusted) = given_due(&world, &admin, 100).await;
    admin.step(&adjusted, "adjustments", json!({"amount": 50})).await.problem(409, "authorization_not_open");
    let (_, released) = given_due(&world, &admin, 100).await;
    admin.post(&format!("/authorizations/{released}/release"), json!({"reason": "x"})).await.problem(409, "authorization_not_open");
    for hold in [&due, &due_too, &reversed, &adjusted, &released] {
        world.database.wait_for(0, "select count(*) from authorizations where status = 'pending' and expires_at < now()").await;
        assert_eq!(world.entries_of_kind(hold, "expiry").await, 1);
        assert_eq!(sums(&admin.authorization(hold).await), "expired 100 0 0 0 0 100 0");
    }
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_force_post_that_names_a_hold_that_is_due_is_its_late_capture() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let answer = admin.authorize_with(&card, json!(100), json!({"networkTransactionId": "late"})).await.ok();
    let hold = answer["authorization"]["id"].as_str().expect("an id").to_owned();
    world.make_due(&hold).await;
    let body = json!({"cardId": card, "amount": 35, "description": "Galileo", "networkTransactionId": "late"});
    let answer = admin.network("captures", body).await.ok();
    assert_eq!(sums(&answer["authorization"]), "captured 100 0 35 35 0 100 0");
    assert_eq!(position(&answer["balance"]), "465 0 465");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_sweep_many_cards_and_each_hold_expires_once() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let mut cards = Vec::new();
    for _ in 0..20 {
        let card = admin.given_card_with(json!(500)).await;
        for amount in [1, 2, 3] {
            admin.given_hold(&card, json!(amount)).await;
        }
        cards.push(card);
    }
    // Two of three holds of every card are due.
    let due = "update authorizations set expires_at = now() - interval '1 second' where requested <= 200;
        update cards set holds_due_at = now() - interval '1 second'";
    world.database.execute(due).await;
    let expiries = "select count(*) from authorization_entries where kind = 'expiry'";
    world.database.wait_for(40, expiries).await;
    for card in &cards {
        assert_eq!(admin.position(card).await, "500 3 497");
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.database.number(expiries).await, 40);
    // The card knows when the next of its holds is due.
    let wrong = "select count(*) from cards where holds_due_at is null or holds_due_at > (
        select min(expires_at) from authorizations where status = 'pending' and card_id = cards.id and account_id = cards.account_id)";
    assert_eq!(world.database.number(wrong).await, 0);
    world.assert_ledger_is_clean().await;
}

/// A payment that was captured in time leaves its card due with nothing to expire, and most do. So does a hold that is not the
/// first of its card: the card is looked at once for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_is_due_does_not_wait_behind_cards_with_nothing_to_expire() {
    // One round is six seconds, and looks at a hundred cards.
    let world = World::with(|settings| settings.authorization.sweep_seconds = 6).await;
    let admin = world.admin().await;
    for _ in 0..22 {
        let mut given = JoinSet::new();
        for _ in 0..10 {
            let admin = admin.clone();
            given.spawn(async move {
                let card = admin.given_card_with(json!(500)).await;
                admin.given_hold(&card, json!(100)).await
            });
        }
        assert_eq!(given.join_all().await.len(), 10);
    }
    let (_, due) = given_due(&world, &admin, 60).await;
    let idle = "update cards set holds_due_at = now() - interval '1 hour' where held = 10000;
        insert into cards (account_id, id, number, currency, holds_due_at)
        select account_id, gen_random_uuid(), 1000000 + number, 'USD', now() - interval '1 day'
        from accounts, generate_series(1, 2500) as number where account_id in (select account_id from cards)";
    world.database.execute(idle).await;
    world.database.wait_for(0, "select count(*) from authorizations where status = 'pending' and requested = 6000").await;
    world.database.wait_for(0, "select count(*) from cards where holds_due_at < now()").await;
    assert_eq!(sums(&admin.authorization(&due).await), "expired 60 0 0 0 0 60 0");
    assert_eq!(world.database.number("select sum(held)::bigint from cards").await, 220 * 10_000);
    world.assert_ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_holds_than_a_statement_expires_are_gone_for_the_next_decision() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(1_200)).await;
    for _ in 0..6 {
        let replies = concurrently(&world, &admin, 200, |actor, _| {
            let card = card.clone();
            async move { actor.authorize(&card, json!(1)).await }
        })
        .await;
        assert_eq!(count(&replies, 200), 200);
    }
    assert_eq!(admin.position(&card).await, "1200 1200 0");
    let due = "update authorizations set expires_at = now() - interval '1 millisecond';
        update cards set holds_due_at = now() - interval '1 millisecond'";
    world.database.execute(due).await;
    assert_eq!(admin.position(&card).await, "1200 0 1200");
    let answer = admin.authorize(&card, json!(1_200)).await.ok();
    assert_eq!(sums(&answer["authorization"]), "pending 1200 1200 0 0 0 0 0", "{answer}");
    assert_eq!(position(&answer["balance"]), "1200 1200 0");
    assert_eq!(world.database.number("select count(*) from authorization_entries where kind = 'expiry'").await, 1_200);
    world.assert_ledger_is_clean().await;
}

/// The sweeper skips a card that somebody works on, and is not held up by it.
#[tokio::test]
async fn the_sweeper_does_not_wait_for_a_locked_card() {
    let (world, admin) = World::with_admin().await;
    let (_, locked) = given_due(&world, &admin, 100).await;
    let locks = world.database.lock_rows("cards").await;
    let other = world.other_admin().await;
    let (_, free) = given_due(&world, &other, 100).await;
    // Longer than from one sweep to the next.
    let waiters = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert_eq!(world.database.number(waiters).await, 0, "the sweeper waits for a lock");
    }
    let swept = "select count(*) from authorizations where status = 'expired'";
    let before = world.entries_of_kind(&locked, "expiry").await;
    world.database.wait_for(1 + before, swept).await;
    assert_eq!(world.entries_of_kind(&free, "expiry").await, 1);
    assert_eq!(world.entries_of_kind(&locked, "expiry").await, before);
    locks.release().await;
    world.database.wait_for(2, swept).await;
    assert_eq!(world.entries_of_kind(&locked, "expiry").await, 1);
}

#[tokio::test]
async fn the_sandbox_lets_a_hold_expire_now() {
    let (world, admin, other) = World::with_two_accounts().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", Role::Viewer).await;
    viewer.expire(&hold).await.problem(403, "insufficient_permissions");
    other.expire(&hold).await.problem(404, "authorization_not_found");
    let (_, operator) = world.new_user(&admin, "operator@example.com", Role::Operator).await;
    let answer = operator.expire(&hold).await.ok();
    assert_eq!(admin.history(&answer["authorization"]).await, ["authorization 100 100", "expiry 100 0"]);
    assert_eq!(
        (sums(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()),
        ("expired 100 0 0 0 0 100 0", "500 0 500")
    );
    let problem = operator.expire(&hold).await.problem(409, "authorization_not_open");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("expired")), "{problem}");
    let captured = admin.given_hold(&card, json!(100)).await;
    admin.capture(&captured, json!(100)).await.ok();
    admin.expire(&captured).await.problem(409, "authorization_not_open");
    for unknown in ["auth_001", "auth_01h455vb4pex5vsknk084sn02q"] {
        admin.expire(unknown).await.problem(404, "authorization_not_found");
    }
}
