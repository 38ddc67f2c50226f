//! Payments of one card at once, over three replicas: each approval is covered, each step happens once, and it all adds up.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    concurrency::{assert_ledger_is_consistent, concurrently, count, three_replicas},
    support::{
        Actor, Reply, World,
        payments::{cents, entries, id, position, returned, sums},
    },
};

/// How many answers are 200 with this status of their authorisation.
fn with_status(replies: &[Reply], status: &str) -> usize {
    replies.iter().filter(|reply| reply.status == 200 && reply.json()["authorization"]["status"] == status).count()
}

async fn assert_all_adds_up(world: &World) {
    assert_ledger_is_consistent(world).await;
    world.assert_ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_authorizations_of_100_on_500_five_are_approved_and_all_are_recorded() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    for path in ["authorizations", "purchases"] {
        let card = admin.given_card_with(json!(500)).await;
        let replies = concurrently(&world, &admin, 50, |actor, _| {
            let body = json!({"cardId": card, "amount": 100});
            async move { actor.network(path, body).await }
        })
        .await;
        let approved = if path == "purchases" { "captured" } else { "pending" };
        assert_eq!((with_status(&replies, approved), with_status(&replies, "declined")), (5, 45), "{path}");
        assert_eq!(admin.position(&card).await, if path == "purchases" { "0 0 0" } else { "500 500 0" });
        let listed = admin.authorizations(&format!("?cardId={card}")).await;
        assert_eq!(listed.len(), 50);
        assert_eq!(admin.authorizations(&format!("?cardId={card}&declineCode=insufficient_funds")).await.len(), 45);
        let mut sequences: Vec<_> = listed.iter().map(|item| item["sequence"].as_i64().expect("a number")).collect();
        sequences.sort_unstable();
        sequences.dedup();
        assert_eq!(sequences.len(), 50, "two authorisations share a sequence number");
        // Each decline was made on what was left at its time.
        for declined in listed.iter().filter(|item| item["status"] == "declined") {
            let funds = declined["checks"].as_array().and_then(|checks| checks.last()).expect("checks");
            assert_eq!(
                (&funds["check"], &funds["result"], &funds["available"]),
                (&json!("funds"), &json!("fail"), &json!(0)),
                "{declined}"
            );
        }
    }
    assert_all_adds_up(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_final_captures_at_once_both_post_and_under_one_key_one_does() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(10_000)).await;
    for round in 0..20 {
        let hold = admin.given_hold(&card, json!(100)).await;
        let replies = concurrently(&world, &admin, 2, |actor, _| {
            let hold = hold.clone();
            async move { actor.capture(&hold, json!(100)).await }
        })
        .await;
        assert_eq!(count(&replies, 200), 2);
        let found = admin.authorization(&hold).await;
        assert_eq!(sums(&found), "captured 100 0 200 100 0 0 0");
        assert_eq!(entries(&found), ["authorization 100 100", "capture 100 0", "late_capture 100 0"]);

        let hold = admin.given_hold(&card, json!(100)).await;
        let key = format!("capture-{round}");
        let replies = concurrently(&world, &admin, 6, |actor, _| {
            let (key, path) = (key.clone(), format!("/network/authorizations/{hold}/captures"));
            async move { actor.keyed(&key, Method::POST, &path, &json!({"amount": 100})).await }
        })
        .await;
        let bodies: Vec<_> = replies.iter().filter(|reply| reply.status == 200).map(|reply| &reply.text).collect();
        assert!(!bodies.is_empty() && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        assert_eq!(bodies.len() + count(&replies, 409), 6);
        assert_eq!(sums(&admin.authorization(&hold).await), "captured 100 0 100 0 0 0 0");
    }
    assert_eq!(admin.position(&card).await, "4000 0 4000");
    assert_all_adds_up(&world).await;
}

/// One of everything that a hold can meet.
async fn meet(world: &World, actor: &Actor, hold: &str, what: usize) -> Reply {
    match what {
        0 => actor.step(hold, "captures", json!({"amount": 30, "final": false})).await,
        1 => actor.step(hold, "captures", json!({"amount": 20})).await,
        2 => actor.step(hold, "reversals", json!({"amount": 25})).await,
        3 => actor.step(hold, "reversals", json!({})).await,
        4 => actor.step(hold, "increments", json!({"amount": 10})).await,
        5 => actor.step(hold, "adjustments", json!({"amount": 70})).await,
        6 => actor.expire(hold).await,
        7 => actor.post(&format!("/authorizations/{hold}/release"), json!({"reason": "x"})).await,
        _ => {
            world.make_due(hold).await;
            actor.step(hold, "increments", json!({"amount": 5})).await
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_one_authorization_at_once_add_up_and_no_deadlock_reaches_a_client() {
    let world = std::sync::Arc::new(three_replicas().await);
    let admin = world.admin().await;
    let began = Instant::now();
    let (mut rounds, mut balance) = (0_usize, 0);
    let card = admin.given_card_with(json!(0.01)).await;
    // A slow database takes longer for as many rounds as meet all neighbours.
    while rounds < 50 || (rounds < 1_000 && began.elapsed() < Duration::from_secs(20)) {
        admin.add(&card, json!(200)).await.ok();
        let hold = admin.given_hold(&card, json!(100)).await;
        let before = cents(&admin.get(&format!("/balances/{card}")).await.ok()["balance"]);
        let replies = concurrently(&world, &admin, 6, |actor, number| {
            // Neighbours on the list meet in turn, each with each other.
            let (world, hold, what) = (std::sync::Arc::clone(&world), hold.clone(), (rounds + number * (1 + rounds % 3)) % 9);
            async move { meet(&world, &actor, &hold, what).await }
        })
        .await;
        for reply in replies {
            match reply.status {
                200 => drop(reply.ok()),
                _ => drop(reply.problem(409, "authorization_not_open")),
            }
        }
        let found = admin.authorization(&hold).await;
        sums(&found);
        let kinds = entries(&found);
        assert!(kinds.iter().filter(|kind| kind.starts_with("expiry") || kind.starts_with("release")).count() <= 1, "{kinds:?}");
        // End it, so that the next round begins with no hold.
        admin.step(&hold, "adjustments", json!({"amount": 0})).await;
        let left = admin.get(&format!("/balances/{card}")).await.ok();
        balance = before - cents(&admin.authorization(&hold).await["capturedAmount"]);
        assert_eq!((cents(&left["balance"]), &left["held"]), (balance, &json!(0)), "{found}");
        rounds += 1;
    }
    assert_eq!(cents(&admin.card(&card).await["balance"]), balance);
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(world.database.number(deadlocks).await, 0, "after {rounds} rounds");
    assert_all_adds_up(&world).await;
}

/// A purchase is guessed from a cached position and an authorisation takes the lock: together they spend what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purchases_and_withdrawals_beside_authorizations_spend_what_is_available_and_no_more() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    for round in 0..5 {
        let card = admin.given_card_with(json!(500)).await;
        let replies = concurrently(&world, &admin, 80, |actor, number| {
            let card = card.clone();
            async move {
                match (number + round) % 4 {
                    0 => actor.purchase(&card, json!(10)).await,
                    1 => actor.authorize(&card, json!(10)).await,
                    2 => actor.network("purchases", json!({"cardId": card, "amount": 10})).await,
                    _ => actor.withdraw(&card, json!(10)).await,
                }
            }
        })
        .await;
        let mut done = 0;
        for reply in replies {
            if reply.status == 200 {
                let answer = reply.ok();
                let is_declined = answer["authorization"]["status"] == "declined";
                done += usize::from(!is_declined);
                let available = answer["balance"].get("available").or_else(|| answer.get("available")).unwrap_or(&answer["balance"]);
                assert!(cents(available) >= 0, "{answer}");
            } else {
                reply.problem(409, "insufficient_funds");
            }
        }
        let left = admin.get(&format!("/balances/{card}")).await.ok();
        assert_eq!((done, &left["available"]), (50, &json!(0)), "{}", position(&left));
        assert_eq!(
            cents(&left["held"]),
            1_000 * i64::try_from(admin.authorizations(&format!("?cardId={card}&status=pending")).await.len()).expect("few")
        );
    }
    assert_all_adds_up(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_sent_thirty_times_is_one_authorization() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let replies = concurrently(&world, &admin, 30, |actor, _| {
        let body = json!({"cardId": card, "amount": 100});
        async move { actor.keyed("message", Method::POST, "/network/authorizations", &body).await }
    })
    .await;
    let bodies: Vec<_> = replies.iter().filter(|reply| reply.status == 200).map(|reply| &reply.text).collect();
    assert!(!bodies.is_empty() && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!((reply.status, &reply.json()["code"]), (409, &json!("idempotency_key_in_use")));
    }
    // Under keys of their own but one name of the network, on two cards: one.
    let other = admin.given_card_with(json!(500)).await;
    let replies = concurrently(&world, &admin, 30, |actor, number| {
        let card = if number % 2 == 0 { card.clone() } else { other.clone() };
        async move { actor.authorize_with(&card, json!(100), json!({"networkTransactionId": "once"})).await }
    })
    .await;
    assert_eq!(with_status(&replies, "pending"), 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 200) {
        reply.problem(409, "duplicate_network_transaction");
    }
    assert_eq!(world.database.number("select count(*) from authorizations").await, 2);
    assert_all_adds_up(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_there_was_is_refunded_or_reversed_by_many_at_once() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let capture = id(&admin.capture(&hold, json!(100)).await.ok()["movement"]);
    let send = async |path: String, body: Value| {
        concurrently(&world, &admin, 30, |actor, _| {
            let (path, body) = (path.clone(), body.clone());
            async move { actor.network(&path, body).await }
        })
        .await
    };
    let refused = |replies: Vec<Reply>, code: &str| {
        for reply in replies.into_iter().filter(|reply| reply.status != 200) {
            reply.problem(409, code);
        }
    };
    let replies = send("refunds".to_owned(), json!({"cardId": card, "amount": 10, "description": "x", "authorizationId": hold})).await;
    assert_eq!(count(&replies, 200), 10);
    refused(replies, "refund_exceeds_capture");
    let refund = id(&admin.movements(&card).await[0]);
    let replies = send(format!("refunds/{refund}/reversals"), json!({"amount": 2})).await;
    assert_eq!(count(&replies, 200), 5);
    refused(replies, "reversal_exceeds_original");
    assert_eq!(returned(&admin.authorization(&hold).await), "0 100 10");
    let replies = send(format!("captures/{capture}/reversals"), json!({"amount": 5})).await;
    // What the refunds gave back and keep, 90 of 100, is not given back once more.
    assert_eq!(count(&replies, 200), 2);
    refused(replies, "reversal_exceeds_original");
    assert_eq!(returned(&admin.authorization(&hold).await), "10 100 10");
    assert_eq!(admin.position(&card).await, "500 0 500");
    // Both ways at once: whichever comes first, the card has back what was taken.
    let hold = admin.given_hold(&card, json!(100)).await;
    let capture = id(&admin.capture(&hold, json!(100)).await.ok()["movement"]);
    let replies = concurrently(&world, &admin, 40, |actor, number| {
        let (card, capture) = (card.clone(), capture.clone());
        async move {
            match number % 2 {
                0 => actor.network(&format!("captures/{capture}/reversals"), json!({"amount": 10})).await,
                _ => actor.network_refund(&card, json!(10), json!({"movementId": capture})).await,
            }
        }
    })
    .await;
    assert_eq!(count(&replies, 200), 10);
    assert_eq!(admin.position(&card).await, "500 0 500");
    assert_all_adds_up(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_approved_once_a_card_is_cancelled_and_all_else_still_settles() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    for _ in 0..5 {
        let card = admin.given_card_with(json!(500)).await;
        let hold = admin.given_hold(&card, json!(100)).await;
        let replies = concurrently(&world, &admin, 40, |actor, number| {
            let (card, hold) = (card.clone(), hold.clone());
            async move {
                match number {
                    20 => actor.set_status(&card, "cancelled").await,
                    10 => actor.capture(&hold, json!(100)).await,
                    _ => actor.authorize(&card, json!(1)).await,
                }
            }
        })
        .await;
        let approved = with_status(&replies, "pending");
        assert_eq!(approved + with_status(&replies, "declined"), 38);
        let listed = admin.authorizations(&format!("?cardId={card}&declineCode=card_cancelled")).await;
        assert_eq!(listed.len(), 38 - approved);
        assert_eq!(admin.position(&card).await, format!("400 {approved} {}", 400 - approved));
        // Oldest first, every approval comes before every decline.
        let mut all = admin.authorizations(&format!("?cardId={card}")).await;
        all.sort_by_key(|item| item["sequence"].as_i64());
        let pending: Vec<_> = all.iter().filter(|item| item["id"] != hold.as_str()).map(|item| item["status"] == "pending").collect();
        assert!(pending.is_sorted_by(|earlier, later| earlier >= later), "an approval after a decline");
        for replica in 0..3 {
            let late = world.at(replica, &admin).authorize(&card, json!(1)).await.ok();
            assert_eq!(late["authorization"]["decline"]["code"], "card_cancelled");
        }
        admin.network_refund(&card, json!(5), json!({})).await.ok();
        admin.withdraw(&card, json!(405 - approved)).await.ok();
        admin.add(&card, json!(1)).await.problem(409, "card_cancelled");
    }
    assert_all_adds_up(&world).await;
}
