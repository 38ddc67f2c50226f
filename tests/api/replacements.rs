//! `POST /cards/{cardId}/replace`: a new card with all that the old one had, and limits that count both.

use core_api::domain::{card::CardStatus, role::Role};
use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    concurrency::{concurrently, count, three_replicas},
    support::{
        Actor, Reply, World,
        feed::{sequences, types},
        payments::{cents, id},
    },
};

async fn replace(admin: &Actor, card: &str) -> Value {
    admin.post(&format!("/cards/{card}/replace"), json!({"reason": "lost"})).await.ok()
}

fn card_of(answer: &Value) -> String {
    answer["cardId"].as_str().expect("an id").to_owned()
}

/// The only limit of a card.
async fn limit(admin: &Actor, card: &str) -> Value {
    admin.get(&format!("/cards/{card}/limits")).await.ok()["limits"][0].clone()
}

/// An active card of a customer.
async fn card_of_a_customer(admin: &Actor, balance: i64) -> (String, String) {
    let (card, customer) = (admin.given_card_with(json!(balance)).await, admin.given_customer().await);
    admin.assign(&card, &customer).await.ok();
    (card, customer)
}

#[tokio::test]
async fn the_new_card_has_all_that_the_old_one_had() {
    let (world, admin) = World::with_admin().await;
    let (old, customer) = card_of_a_customer(&admin, 100).await;
    admin.patch(&format!("/cards/{old}/controls"), json!({"maxPayments": 9})).await.ok();
    let created = admin.post(&format!("/cards/{old}/limits"), json!({"interval": "month", "amount": 50})).await.ok();
    let held = id(&admin.authorize(&old, json!(20)).await.ok()["authorization"]);

    let answer = replace(&admin, &old).await;
    let new = card_of(&answer);
    assert_eq!(answer, admin.card(&new).await);
    assert_eq!((&answer["status"], &answer["customerId"], &answer["currency"]), (&json!("active"), &json!(customer), &json!("USD")));
    assert_eq!((&answer["replaces"], &answer["replacedBy"]), (&json!(old), &Value::Null));
    assert_eq!(admin.position(&new).await, "80 0 80");
    let before = admin.card(&old).await;
    assert_eq!((&before["status"], &before["replacedBy"], &before["replaces"]), (&json!("cancelled"), &json!(new), &Value::Null));
    assert_eq!(admin.position(&old).await, "20 20 0");
    let controls = admin.get(&format!("/cards/{new}/controls")).await.ok();
    assert_eq!((&controls["maxPayments"], &controls["payments"]), (&json!(9), &json!(1)));
    for card in [&old, &new] {
        let limit = limit(&admin, card).await;
        assert_eq!((&limit["limitId"], &limit["cardId"], &limit["used"]), (&created["limitId"], &json!(new), &json!(20)));
    }
    for (card, kind) in [(&old, "transfer_out"), (&new, "transfer_in")] {
        let movement = admin.movements(card).await[0].clone();
        assert_eq!((&movement["type"], &movement["description"]), (&json!(kind), &json!("Card replacement")));
    }

    // The old card pays no more; what it holds is captured, and what comes back there can be transferred.
    assert_eq!(admin.authorize(&old, json!(1)).await.ok()["authorization"]["decline"]["code"], "card_cancelled");
    admin.capture(&held, json!(12)).await.ok();
    assert_eq!(admin.position(&old).await, "8 0 8");
    assert_eq!(limit(&admin, &new).await["used"], 12);
    admin.post("/transfers", json!({"fromCardId": old, "toCardId": new, "amount": 8})).await.ok();
    // What is left of the limit is the new card's.
    let declined = admin.authorize(&new, json!(38.01)).await.ok();
    assert_eq!(declined["authorization"]["decline"]["code"], "limit_amount_exceeded");
    assert_eq!(admin.authorize(&new, json!(38)).await.ok()["authorization"]["status"], "pending");
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn limits_count_all_cards_of_a_row() {
    let (world, admin) = World::with_admin().await;
    let (first, _) = card_of_a_customer(&admin, 1_000).await;
    admin.post(&format!("/cards/{first}/limits"), json!({"interval": "lifetime", "amount": 100})).await.ok();
    let mut cards = vec![first];
    let mut holds = Vec::new();
    for _ in 0..3 {
        let card = cards.last().expect("a card").clone();
        holds.push(id(&admin.authorize(&card, json!(10)).await.ok()["authorization"]));
        cards.push(card_of(&replace(&admin, &card).await));
    }
    let newest = cards.last().expect("a card");
    assert_eq!(limit(&admin, newest).await["used"], 30);
    // A limit that is created now counts them as well, and so do its changes.
    let path = format!("/cards/{newest}/limits");
    let later = admin.post(&path, json!({"interval": "year", "amount": 60})).await.ok();
    assert_eq!(later["used"], 30);
    // More than the hold of the oldest card, and less of the next.
    admin.capture(&holds[0], json!(15)).await.ok();
    admin.step(&holds[1], "reversals", json!({})).await.ok();
    let used: Vec<Value> =
        admin.get(&path).await.ok()["limits"].as_array().expect("a list").iter().map(|limit| limit["used"].clone()).collect();
    assert_eq!(used, [json!(25), json!(25)]);
    admin.patch(&format!("/limits/{}", later["limitId"].as_str().expect("an id")), json!({"amount": 30})).await.ok();
    assert_eq!(admin.authorize(newest, json!(6)).await.ok()["authorization"]["decline"]["code"], "limit_amount_exceeded");
    assert_eq!(admin.authorize(newest, json!(5)).await.ok()["authorization"]["status"], "pending");
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn only_a_card_that_could_pay_is_replaced_by_one_that_can() {
    let (world, admin) = World::with_admin().await;
    for (status, expected) in [(CardStatus::Inactive, "inactive"), (CardStatus::Active, "active"), (CardStatus::Blocked, "inactive")] {
        let card = admin.given_card().await;
        admin.add(&card, json!(5)).await.ok();
        for step in ["active", "blocked"].into_iter().take(match status {
            CardStatus::Active => 1,
            CardStatus::Blocked => 2,
            CardStatus::Inactive | CardStatus::Cancelled => 0,
        }) {
            admin.set_status(&card, step).await.ok();
        }
        let answer = replace(&admin, &card).await;
        assert_eq!(
            (&answer["status"], &answer["balance"], &answer["customerId"]),
            (&json!(expected), &json!(5), &Value::Null),
            "{status:?}"
        );
        assert_eq!(admin.card(&card).await["status"], "cancelled");
        let path = format!("/cards/{card}/replace");
        admin.post(&path, json!({"reason": "lost"})).await.problem(409, "card_cancelled");
    }
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_replacement_under_a_key_happens_once_and_an_invalid_one_never() {
    let (world, admin, other) = World::with_two_accounts().await;
    let card = admin.given_card_with(json!(5)).await;
    let path = format!("/cards/{card}/replace");
    for (body, fault) in [
        (json!({}), "reason: required"),
        (json!({"reason": "ugly"}), "reason: unknown_value"),
        (json!({"reason": 5}), "reason: wrong_type"),
    ] {
        assert_eq!(admin.post(&path, body).await.field_errors(), [fault]);
    }
    other.post(&path, json!({"reason": "lost"})).await.problem(404, "card_not_found");
    admin.post("/cards/card_001/replace", json!({"reason": "lost"})).await.problem(404, "card_not_found");
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", Role::Viewer).await;
    viewer.post(&path, json!({"reason": "lost"})).await.problem(403, "insufficient_permissions");
    assert_eq!(world.database.number("select count(*) from cards").await, 1);
    let first = admin.keyed("r", Method::POST, &path, &json!({"reason": "stolen"})).await;
    let again = admin.keyed("r", Method::POST, &path, &json!({"reason": "stolen"})).await;
    assert_eq!((first.status, again.header("idempotent-replayed"), &again.text), (200, Some("true"), &first.text));
    assert_eq!(world.database.number("select count(*) from cards").await, 2);
}

#[tokio::test]
async fn a_refused_replacement_leaves_nothing_also_under_a_key() {
    let (world, admin) = World::with_admin().await;
    admin.put("/events/settings", json!({"enabled": true})).await.ok();
    let card = admin.given_card().await;
    admin.set_status(&card, "cancelled").await.ok();
    let mut counts = Vec::new();
    for _ in 0..2 {
        for table in ["cards", "card_status_changes", "audit_events", "events"] {
            counts.push(world.database.number(&format!("select count(*) from {table}")).await);
        }
        counts.push(world.database.number("select max(cards_created)::bigint from accounts").await);
        let path = format!("/cards/{card}/replace");
        let refused = admin.keyed("r", Method::POST, &path, &json!({"reason": "lost"})).await;
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("card_cancelled")));
    }
    assert_eq!(counts[..5], counts[5..]);
    let stored = "select count(*) from idempotency_keys where key = 'r' and status = 409";
    assert_eq!(world.database.number(stored).await, 1);
}

/// A replacement locks the account and the cards before the audit log, which a change of status locks behind its card.
#[tokio::test]
async fn replacements_and_changes_of_status_do_not_wait_for_each_other_in_a_circle() {
    let (world, admin) = World::with_admin().await;
    let (card, customer) = card_of_a_customer(&admin, 100).await;
    admin.post(&format!("/customers/{customer}/limits"), json!({"interval": "day", "amount": 90, "currency": "USD"})).await.ok();
    let mut newest = vec![card];
    for _ in 0..7 {
        let card = admin.given_card_with(json!(100)).await;
        admin.assign(&card, &customer).await.ok();
        newest.push(card);
    }
    for _ in 0..3 {
        let replacements = join_all(newest.iter().map(|card| replace(&admin, card)));
        let changes = join_all(newest.iter().map(async |card| {
            for status in ["blocked", "active", "blocked", "active"] {
                // Refused once the card is replaced.
                admin.set_status(card, status).await;
                admin.authorize(card, json!(1)).await;
            }
        }));
        let (replaced, _) = join(replacements, changes).await;
        newest = replaced.iter().map(card_of).collect();
        for card in &newest {
            admin.set_status(card, "active").await.ok();
        }
    }
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(world.database.number(deadlocks).await, 0);
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_replacement_is_told_and_logged() {
    let (_world, admin) = World::with_admin().await;
    admin.put("/events/settings", json!({"enabled": true})).await.ok();
    let (old, _) = card_of_a_customer(&admin, 5).await;
    let new = card_of(&replace(&admin, &old).await);
    let of_old = admin.events(&format!("cardId={old}")).await;
    let kinds = types(&of_old);
    assert_eq!(kinds[kinds.len() - 3..], ["card.cancelled", "card.replaced", "movement.created"]);
    let replaced = of_old.iter().find(|event| event["type"] == "card.replaced").expect("the event");
    assert_eq!(replaced["data"], json!({"card": {"cardId": old, "replacedBy": new}, "reason": "lost"}));
    let of_new = admin.events(&format!("cardId={new}")).await;
    assert_eq!(types(&of_new), ["card.created", "card.assigned", "card.activated", "movement.created"]);
    for (events, card) in [(&of_old, &old), (&of_new, &new)] {
        let sequences = sequences(events, card);
        assert_eq!(sequences, (1..=i64::try_from(sequences.len()).expect("few")).collect::<Vec<_>>());
    }
    let logged = admin.get(&format!("/audit-events?type=card_replaced&subjectId={old}")).await.ok();
    assert_eq!(logged["auditEvents"][0]["after"], json!({"replacedBy": new, "reason": "lost"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_replaced_once_and_its_limit_holds_while_it_pays() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (old, _) = card_of_a_customer(&admin, 10_000).await;
    admin.post(&format!("/cards/{old}/limits"), json!({"interval": "day", "amount": 100})).await.ok();
    let replies = concurrently(&world, &admin, 90, |actor, number| {
        let old = old.clone();
        async move {
            if number % 30 == 20 {
                return actor.post(&format!("/cards/{old}/replace"), json!({"reason": "stolen"})).await;
            }
            actor.authorize(&old, json!(1)).await
        }
    })
    .await;
    assert_eq!(count(&replies, 200) + count(&replies, 409), 90);
    let replaced: Vec<Value> =
        replies.iter().filter(|reply| reply.status == 200).map(Reply::json).filter(|answer| answer.get("cardId").is_some()).collect();
    let [answer] = &*replaced else { panic!("{replaced:?}") };
    let new = card_of(answer);
    // Both cards at once: captures beyond the holds of the old one, and payments of the new one.
    let holds: Vec<String> = admin.authorizations(&format!("?cardId={old}&status=pending")).await.iter().map(id).collect();
    let replies = concurrently(&world, &admin, 150, |actor, number| {
        let (new, hold) = (new.clone(), holds.get(number).cloned());
        async move {
            match hold {
                Some(hold) if number % 2 == 0 => actor.capture(&hold, json!(2)).await,
                Some(hold) => actor.step(&hold, "reversals", json!({})).await,
                None => actor.authorize(&new, json!(1)).await,
            }
        }
    })
    .await;
    assert_eq!(count(&replies, 200), 150, "{:?}", replies.iter().find(|reply| reply.status != 200).map(|reply| &reply.text));
    world.assert_ledger_is_clean().await;
    let limit = limit(&admin, &new).await;
    let approved = world.database.number("select count(*) from authorizations where status = 'pending'").await * 100;
    let captured = world.database.number("select coalesce(sum(captured), 0)::bigint from authorizations").await;
    assert_eq!(cents(&limit["used"]), approved + captured);
}
