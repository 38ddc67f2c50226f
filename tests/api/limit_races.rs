//! Limits under race, over three replicas: they let through what they allow, to the cent, and what comes back comes back to
//! the window that it was spent in.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    concurrency::{assert_ledger_is_consistent, concurrently, three_replicas},
    support::{
        Actor, Reply, World,
        payments::{cents, id},
    },
};

/// The authorisations with this status that answers show.
fn decided(replies: &[Reply], status: &str) -> Vec<Value> {
    let found = replies.iter().map(|reply| {
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["authorization"].clone()
    });
    found.filter(|authorization| authorization["status"] == status).collect()
}

/// Authorises an amount. On a slow machine so many at once wait too long, and are told that nothing was done.
async fn authorize_in_time(actor: &Actor, card: &str, amount: i64) -> Reply {
    loop {
        let reply = actor.authorize(card, json!(amount)).await;
        if reply.status != 503 {
            return reply;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A customer with this many active cards, each with this balance.
async fn customer_with_cards(admin: &Actor, count: usize, balance: i64) -> (String, Vec<String>) {
    let (customer, mut cards) = (admin.given_customer().await, Vec::new());
    for _ in 0..count {
        let card = admin.given_card_with(json!(balance)).await;
        admin.assign(&card, &customer).await.ok();
        cards.push(card);
    }
    (customer, cards)
}

async fn limit_of(admin: &Actor, customer: &str) -> Value {
    admin.get(&format!("/customers/{customer}/limits")).await.ok()["limits"][0].clone()
}

async fn assert_all_adds_up(world: &World) {
    assert_ledger_is_consistent(world).await;
    world.assert_ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_payments_over_20_cards_a_customers_limit_lets_100_through() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (customer, cards) = customer_with_cards(&admin, 20, 10_000).await;
    let limit = json!({"currency": "USD", "interval": "day", "amount": 1_000, "count": 400});
    admin.post(&format!("/customers/{customer}/limits"), limit).await.ok();
    let replies = concurrently(&world, &admin, 500, |actor, number| {
        let card = cards[number % cards.len()].clone();
        async move { authorize_in_time(&actor, &card, 10).await }
    })
    .await;
    let (approved, declined) = (decided(&replies, "pending"), decided(&replies, "declined"));
    assert_eq!((approved.len(), declined.len()), (100, 400));
    for authorization in &declined {
        assert_eq!(authorization["decline"]["code"], "limit_amount_exceeded", "{authorization}");
        let checks = authorization["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["check"] == "limit").expect("the limit's check");
        assert_eq!((&check["used"], &check["remaining"], &check["requested"]), (&json!(1_000), &json!(0), &json!(10)), "{check}");
    }
    let limit = limit_of(&admin, &customer).await;
    assert_eq!((&limit["used"], &limit["usedCount"], &limit["remaining"]), (&json!(1_000), &json!(100), &json!(0)));
    assert_all_adds_up(&world).await;

    // What expires comes back, to that window alone.
    let expired: Vec<String> = approved[..30].iter().map(id).collect();
    concurrently(&world, &admin, expired.len(), |actor, number| {
        let authorization = expired[number].clone();
        async move { actor.expire(&authorization).await }
    })
    .await
    .into_iter()
    .for_each(|reply| drop(reply.ok()));
    let limit = limit_of(&admin, &customer).await;
    assert_eq!((&limit["used"], &limit["usedCount"], &limit["remaining"]), (&json!(700), &json!(70), &json!(300)));
    assert_eq!(world.database.number("select count(*) from limit_usage").await, 1, "a single window");
    assert_all_adds_up(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_all_kinds_at_once_leave_each_limit_with_what_the_payments_say() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (customer, cards) = customer_with_cards(&admin, 4, 100_000).await;
    for interval in ["day", "month", "lifetime"] {
        let limit = json!({"currency": "USD", "interval": interval, "amount": 1_000_000, "restoreOnRefund": interval == "month"});
        admin.post(&format!("/customers/{customer}/limits"), limit).await.ok();
    }
    for card in &cards {
        admin.post(&format!("/cards/{card}/limits"), json!({"interval": "week", "amount": 500_000, "count": 100_000})).await.ok();
    }
    let replies = concurrently(&world, &admin, 60, |actor, number| {
        let card = cards[number % cards.len()].clone();
        async move { live(&actor, &card, number).await }
    })
    .await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", replies.iter().map(|reply| &reply.text).collect::<Vec<_>>());
    assert_all_adds_up(&world).await;
    assert!(world.database.number("select count(*) from limit_usage where amount < 0 or count < 0").await == 0);
}

/// Takes one payment through its life, by its number another one.
async fn live(actor: &Actor, card: &str, number: usize) -> Reply {
    let authorization = id(&actor.authorize(card, json!(20)).await.ok()["authorization"]);
    let captured = match number % 6 {
        0 => return actor.step(&authorization, "reversals", json!({})).await,
        1 => return actor.expire(&authorization).await,
        2 => {
            actor.step(&authorization, "increments", json!({"amount": 5})).await.ok();
            return actor.capture(&authorization, json!(10)).await;
        }
        3 => {
            actor.expire(&authorization).await.ok();
            return actor.capture(&authorization, json!(20)).await;
        }
        4 => actor.capture(&authorization, json!(30)).await.ok(),
        _ => actor.force_post(card, json!(7)).await.ok(),
    };
    let movement = captured["movement"]["id"].as_str().expect("an id").to_owned();
    let amount = cents(&captured["movement"]["amount"]).abs() / 100;
    if number.is_multiple_of(2) {
        actor.network(&format!("captures/{movement}/reversals"), json!({"amount": amount - 1})).await
    } else {
        actor.network_refund(card, json!(amount), json!({"movementId": movement})).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_payments_at_once_a_card_for_a_single_use_makes_one() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    for _ in 0..5 {
        let card = admin.given_card_with(json!(1_000)).await;
        admin.patch(&format!("/cards/{card}/controls"), json!({"maxPayments": 1})).await.ok();
        let replies = concurrently(&world, &admin, 10, |actor, _| {
            let card = card.clone();
            async move { actor.authorize(&card, json!(10)).await }
        })
        .await;
        assert_eq!((decided(&replies, "pending").len(), decided(&replies, "declined").len()), (1, 9));
        assert_eq!(admin.card(&card).await["status"], "cancelled");
    }
    assert_all_adds_up(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_created_amid_payments_counts_every_one() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (customer, cards) = customer_with_cards(&admin, 5, 10_000).await;
    let late = admin.given_card_with(json!(10_000)).await;
    let replies = concurrently(&world, &admin, 90, |actor, number| {
        let (customer, card, late) = (customer.clone(), cards[number % cards.len()].clone(), late.clone());
        async move {
            match number {
                40 => {
                    actor
                        .post(&format!("/customers/{customer}/limits"), json!({"currency": "USD", "interval": "day", "amount": 9_999}))
                        .await
                }
                50 => actor.post(&format!("/cards/{card}/limits"), json!({"interval": "lifetime", "amount": 9_999})).await,
                60 => actor.assign(&late, &customer).await,
                number if number.is_multiple_of(6) => actor.authorize(&late, json!(3)).await,
                _ => actor.authorize(&card, json!(2)).await,
            }
        }
    })
    .await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_all_adds_up(&world).await;
    let held: i64 = world.database.number("select sum(held)::bigint from cards where customer_id is not null").await;
    assert_eq!(cents(&limit_of(&admin, &customer).await["used"]), held);
}
