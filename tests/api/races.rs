//! Mutually exclusive operations, run concurrently over three replicas: exact counts, and an audit log that matches.

use core_api::domain::card::CardStatus;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    concurrency::{assert_ledger_is_consistent, concurrently, count, three_replicas},
    support::{Actor, Reply},
};

/// The status changes of a card in the audit log, oldest first, as pairs of before and after.
async fn status_changes(admin: &Actor, card: &str) -> Vec<(String, String)> {
    let events = admin.get(&format!("/audit-events?type=card_status_changed&subjectId={card}")).await.ok();
    let status = |event: &Value, when: &str| event[when]["status"].as_str().expect("a status").to_owned();
    let events = events["auditEvents"].as_array().expect("a list").iter();
    events.rev().map(|event| (status(event, "before"), status(event, "after"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_status_changes_are_applied_one_at_a_time() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    for _ in 0..5 {
        let card = admin.given_card_in(CardStatus::Active).await;
        let replies = concurrently(&world, &admin, 15, |actor, number| {
            let card = card.clone();
            let status = ["blocked", "active", "cancelled"][number % 3];
            async move { actor.set_status(&card, status).await }
        })
        .await;
        assert_eq!(count(&replies, 200) + count(&replies, 409), 15);
        assert_eq!(admin.card(&card).await["status"], "cancelled");
        // Every logged change starts where the previous one ended, and only the last one is a cancellation.
        let changes = status_changes(&admin, &card).await;
        assert!(
            changes.iter().map(|(_, to)| to).zip(changes.iter().skip(1).map(|(from, _)| from)).all(|(to, from)| to == from),
            "{changes:?}"
        );
        assert_eq!(changes.iter().filter(|(_, to)| to == "cancelled").count(), 1, "{changes:?}");
        assert!(changes.len() <= count(&replies, 200) + 1, "{changes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_assigned_before_it_is_cancelled_or_not_at_all() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let customer = admin.given_customer().await;
    for _ in 0..10 {
        let card = admin.given_card_in(CardStatus::Active).await;
        let replies = concurrently(&world, &admin, 12, |actor, number| {
            let (card, customer) = (card.clone(), customer.clone());
            async move { if number % 2 == 0 { actor.assign(&card, &customer).await } else { actor.set_status(&card, "cancelled").await } }
        })
        .await;
        let assigned = replies.iter().filter(|reply| reply.status == 200 && reply.json().get("success").is_some()).count();
        let refused = replies.iter().filter(|reply| reply.status == 409 && reply.json()["code"] == "card_cancelled").count();
        assert_eq!(assigned + refused, 6);
        let details = admin.card(&card).await;
        assert_eq!(details["status"], "cancelled");
        assert_eq!(details["customerId"], if assigned > 0 { json!(customer) } else { Value::Null });
        let events = admin.get(&format!("/audit-events?subjectId={card}")).await.ok();
        let logged = events["auditEvents"].as_array().expect("a list").iter().rev().map(|event| event["type"].as_str().expect("a type"));
        let mut expected = vec!["card_created", "card_status_changed", "card_assigned", "card_status_changed"];
        expected.retain(|event| assigned > 0 || *event != "card_assigned");
        assert_eq!(logged.collect::<Vec<_>>(), expected);
    }
}

/// A request is decided by the state of the card when it gets the lock, not when it arrived.
#[tokio::test]
async fn postings_waiting_on_a_card_are_refused_once_it_is_cancelled() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card_with(json!(5)).await, admin.given_customer().await);
    let locks = world.database.lock_rows("cards").await;
    let mut waiting = Vec::new();
    for (method, path, body) in [
        (Method::PATCH, "/cards/status", json!({"cardId": card, "status": "cancelled"})),
        (Method::POST, "/cards/assign", json!({"cardId": card, "customerId": customer})),
        (Method::POST, "/balances/add", json!({"cardId": card, "amount": 1})),
    ] {
        let replica = world.at(waiting.len(), &admin);
        waiting.push(tokio::spawn(Reply::of(replica.request(method, path).json(&body))));
        world.database.wait_for_lock_waiters(waiting.len()).await;
    }
    locks.release().await;
    let mut replies = waiting.into_iter();
    replies.next().expect("the first").await.expect("a reply").ok();
    for reply in replies {
        reply.await.expect("a reply").problem(409, "card_cancelled");
    }
    let details = admin.card(&card).await;
    assert_eq!((&details["customerId"], &details["balance"]), (&Value::Null, &json!(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_top_ups_reach_the_maximum_balance_and_do_not_exceed_it() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    // Ten cents below the maximum balance.
    let card = admin.given_card_with(json!(90_071_992_547_409.81)).await;
    let replies = concurrently(&world, &admin, 60, |actor, number| {
        let card = card.clone();
        async move { if number % 6 == 5 { actor.purchase(&card, json!(0.01)).await } else { actor.add(&card, json!(0.01)).await } }
    })
    .await;
    let spent = replies.iter().filter(|reply| reply.status == 200 && reply.json().get("movement").is_some()).count();
    let added = count(&replies, 200) - spent;
    assert_eq!(spent, 10);
    assert!((10..=20).contains(&added), "{added} added");
    // The rule refused the excess, not a constraint of the database.
    let refused = replies.iter().filter(|reply| reply.status == 409 && reply.json()["code"] == "balance_limit_exceeded").count();
    assert_eq!(spent + added + refused, replies.len());
    let cents = world.database.number("select balance from cards").await;
    assert_eq!(cents, 9_007_199_254_740_981 + i64::try_from(added).expect("a small number") - 10);
    assert!(cents <= 9_007_199_254_740_991);
    assert_ledger_is_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_used_concurrently_by_two_accounts_is_two_keys() {
    let world = three_replicas().await;
    let accounts = [world.admin().await, world.other_admin().await];
    let cards = [accounts[0].given_card().await, accounts[1].given_card().await];
    let mut requests = JoinSet::new();
    for number in 0..60 {
        let (account, actor) = (number % 2, world.at(number % 3, &accounts[number % 2]));
        let body = json!({"cardId": cards[account], "amount": 7 + account});
        requests.spawn(async move { (account, actor.keyed("the-same", Method::POST, "/balances/add", &body).await) });
    }
    let mut bodies = [Vec::new(), Vec::new()];
    for (account, reply) in requests.join_all().await {
        match reply.status {
            200 => bodies[account].push(reply.text),
            _ => drop(reply.problem(409, "idempotency_key_in_use")),
        }
    }
    for account in [0, 1] {
        let text = bodies[account].first().expect("one request succeeded");
        assert!(text.contains(&cards[account]) && bodies[account].iter().all(|other| other == text), "{bodies:?}");
        assert_eq!(accounts[account].card(&cards[account]).await["balance"], 7 + account);
        assert_eq!(accounts[account].movements(&cards[account]).await.len(), 1);
    }
}

/// A replica caches the position of a card that it has posted to. A change by another replica must invalidate it.
#[tokio::test]
async fn a_posting_sees_what_another_replica_did_to_the_card() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (here, there) = (world.at(1, &admin), world.at(2, &admin));
    for (status, code, keys) in [
        ("blocked", "card_blocked", [None, None]),
        ("cancelled", "card_cancelled", [None, None]),
        ("blocked", "card_blocked", [Some("a"), Some("b")]),
        ("cancelled", "card_cancelled", [Some("c"), Some("d")]),
    ] {
        let card = admin.given_card_in(CardStatus::Active).await;
        let add = |key: Option<&str>| {
            let request = here.request(Method::POST, "/balances/add").json(&json!({"cardId": card, "amount": 1}));
            Reply::of(match key {
                Some(key) => request.header("idempotency-key", key),
                None => request,
            })
        };
        add(keys[0]).await.ok();
        there.set_status(&card, status).await.ok();
        add(keys[1]).await.problem(409, code);
        assert_eq!(admin.card(&card).await["balance"], 1);
    }
    let card = admin.given_card_in(CardStatus::Active).await;
    assert_eq!(here.add(&card, json!(10)).await.ok()["balance"], 10);
    assert_eq!(there.purchase(&card, json!(8)).await.ok()["balance"], 2);
    here.purchase(&card, json!(3)).await.problem(409, "insufficient_funds");
    assert_eq!(here.add(&card, json!(1)).await.ok()["balance"], 3);
    assert_eq!(there.purchase(&card, json!(3)).await.ok()["balance"], 0);
    assert_ledger_is_consistent(&world).await;
}
