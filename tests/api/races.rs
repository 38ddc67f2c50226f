//! Pairs of things that exclude each other, at once over three replicas: exact counts, and a trail that fits.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tokio::task::JoinSet;

use crate::{
    concurrency::{assert_ledger_is_sound, at_once, count, three_replicas},
    support::{Actor, Reply},
};

/// What the trail says of a card's status, oldest first.
async fn statuses(admin: &Actor, card: &str) -> Vec<(String, String)> {
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
        let card = admin.given_card_in("active").await;
        let replies = at_once(&world, &admin, 15, |actor, number| {
            let card = card.clone();
            let status = ["blocked", "active", "cancelled"][number % 3];
            async move { actor.set_status(&card, status).await }
        })
        .await;
        assert_eq!(count(&replies, 200) + count(&replies, 409), 15);
        assert_eq!(admin.card(&card).await["status"], "cancelled");
        // Each change is in the trail once, begins where the one before it ended, and none comes after the last.
        let taken = statuses(&admin, &card).await;
        assert!(taken.iter().map(|(_, to)| to).zip(taken.iter().skip(1).map(|(from, _)| from)).all(|(to, from)| to == from), "{taken:?}");
        assert_eq!(taken.iter().filter(|(_, to)| to == "cancelled").count(), 1, "{taken:?}");
        assert!(taken.len() <= count(&replies, 200) + 1, "{taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_assigned_before_it_is_cancelled_or_not_at_all() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let customer = admin.given_customer().await;
    for _ in 0..10 {
        let card = admin.given_card_in("active").await;
        let replies = at_once(&world, &admin, 12, |actor, number| {
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
        let told = events["auditEvents"].as_array().expect("a list").iter().rev().map(|event| event["type"].as_str().expect("a type"));
        let mut expected = vec!["card_created", "card_status_changed", "card_assigned", "card_status_changed"];
        expected.retain(|told| assigned > 0 || *told != "card_assigned");
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}

/// What a card was when somebody asked is not what it is once their turn has come.
#[tokio::test]
async fn postings_waiting_on_a_card_are_refused_once_it_is_cancelled() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card_with(json!(5)).await, admin.given_customer().await);
    let mut holder = world.database.connect().await;
    holder.execute("begin; select from cards for update").await.expect("held");
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let mut asked = Vec::new();
    for (method, path, body) in [
        (Method::PATCH, "/cards/status", json!({"cardId": card, "status": "cancelled"})),
        (Method::POST, "/cards/assign", json!({"cardId": card, "customerId": customer})),
        (Method::POST, "/balances/add", json!({"cardId": card, "amount": 1})),
    ] {
        let replica = world.at(asked.len(), &admin);
        asked.push(tokio::spawn(Reply::of(replica.request(method, path).json(&body))));
        while world.database.number(waiting).await < i64::try_from(asked.len()).expect("few") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    holder.execute("rollback").await.expect("let go");
    let mut replies = asked.into_iter();
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
    // Ten cents below the most that a card can hold.
    let card = admin.given_card_with(json!(90_071_992_547_409.81)).await;
    let replies = at_once(&world, &admin, 60, |actor, number| {
        let card = card.clone();
        async move { if number % 6 == 5 { actor.purchase(&card, json!(0.01)).await } else { actor.add(&card, json!(0.01)).await } }
    })
    .await;
    let spent = replies.iter().filter(|reply| reply.status == 200 && reply.json().get("movement").is_some()).count();
    let added = count(&replies, 200) - spent;
    assert_eq!(spent, 10);
    assert!((10..=20).contains(&added), "{added} added");
    // Who came too late was told so by the rule, and not by a constraint of the database.
    let refused = replies.iter().filter(|reply| reply.status == 409 && reply.json()["code"] == "balance_limit_exceeded").count();
    assert_eq!(spent + added + refused, replies.len());
    let cents = world.database.number("select balance from cards").await;
    assert_eq!(cents, 9_007_199_254_740_981 + i64::try_from(added).expect("few") - 10);
    assert!(cents <= 9_007_199_254_740_991);
    assert_ledger_is_sound(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_used_concurrently_by_two_accounts_is_two_keys() {
    let world = three_replicas().await;
    let accounts = [world.admin().await, world.other_tenant().await];
    let cards = [accounts[0].given_card().await, accounts[1].given_card().await];
    let mut requests = JoinSet::new();
    for number in 0..60 {
        let (whose, actor) = (number % 2, world.at(number % 3, &accounts[number % 2]));
        let body = json!({"cardId": cards[whose], "amount": 7 + whose});
        requests.spawn(async move {
            (whose, Reply::of(actor.request(Method::POST, "/balances/add").header("idempotency-key", "the-same").json(&body)).await)
        });
    }
    let mut told = [Vec::new(), Vec::new()];
    for (whose, reply) in requests.join_all().await {
        match reply.status {
            200 => told[whose].push(reply.text),
            _ => drop(reply.problem(409, "idempotency_key_in_use")),
        }
    }
    for whose in [0, 1] {
        let text = told[whose].first().expect("one was done");
        assert!(text.contains(&cards[whose]) && told[whose].iter().all(|other| other == text), "{told:?}");
        assert_eq!(accounts[whose].card(&cards[whose]).await["balance"], 7 + whose);
        assert_eq!(accounts[whose].movements(&cards[whose]).await.len(), 1);
    }
}

/// A replica that has posted to a card remembers where it stands. Whatever another one did since comes first.
#[tokio::test]
async fn a_posting_sees_what_another_replica_did_to_the_card() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (here, there) = (world.at(1, &admin), world.at(2, &admin));
    // One that comes alone without a key has a statement of its own.
    for (status, code, keys) in [
        ("blocked", "card_blocked", [None, None]),
        ("cancelled", "card_cancelled", [None, None]),
        ("blocked", "card_blocked", [Some("a"), Some("b")]),
        ("cancelled", "card_cancelled", [Some("c"), Some("d")]),
    ] {
        let card = admin.given_card_in("active").await;
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
    let card = admin.given_card_in("active").await;
    assert_eq!(here.add(&card, json!(10)).await.ok()["balance"], 10);
    assert_eq!(there.purchase(&card, json!(8)).await.ok()["balance"], 2);
    here.purchase(&card, json!(3)).await.problem(409, "insufficient_funds");
    assert_eq!(here.add(&card, json!(1)).await.ok()["balance"], 3);
    assert_eq!(there.purchase(&card, json!(3)).await.ok()["balance"], 0);
    assert_ledger_is_sound(&world).await;
}
