//! Transfers under race, over three replicas: no deadlock, no half, no cent more or less.

use serde_json::json;

use crate::{
    concurrency::{assert_ledger_is_consistent, concurrently, count, three_replicas},
    support::{Actor, World},
};

async fn cards(admin: &Actor, count: usize, balance: i64) -> Vec<String> {
    let mut cards = Vec::new();
    for _ in 0..count {
        cards.push(admin.given_card_with(json!(balance)).await);
    }
    cards
}

async fn assert_total(world: &World, total: i64) {
    assert_eq!(world.database.number("select sum(balance)::bigint from cards").await, total);
    let halves = world.database.number(
        "select count(*) from (
             select 1 from movements where transfer_id is not null group by transfer_id having count(*) <> 2 or sum(amount) <> 0
         ) odd",
    );
    assert_eq!(halves.await, 0);
    assert_ledger_is_consistent(world).await;
    world.assert_ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_transfers_at_once_do_not_wait_for_one_another_in_a_circle() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let cards = cards(&admin, 3, 1_000).await;
    let replies = concurrently(&world, &admin, 180, |actor, number| {
        // Each pair of the three, in both directions.
        let (from, to) = [(0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2)][number % 6];
        let body = json!({"fromCardId": cards[from], "toCardId": cards[to], "amount": 1});
        async move { actor.post("/transfers", body).await }
    })
    .await;
    assert_eq!(count(&replies, 200), 180, "{:?}", replies.iter().find(|reply| reply.status != 200).map(|reply| &reply.text));
    assert_eq!(world.database.number("select count(distinct transfer_id) from movements").await, 180);
    for card in &cards {
        assert_eq!(admin.card(card).await["balance"], 1_000);
    }
    assert_total(&world, 300_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_cent_moves_once() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let cards = cards(&admin, 8, 10).await;
    // All from one card, which has enough for ten.
    let replies = concurrently(&world, &admin, 70, |actor, number| {
        let body = json!({"fromCardId": cards[0], "toCardId": cards[1 + number % 7], "amount": 1});
        async move { actor.post("/transfers", body).await }
    })
    .await;
    assert_eq!((count(&replies, 200), count(&replies, 409)), (10, 60));
    assert_eq!(admin.card(&cards[0]).await["balance"], 0);
    assert_total(&world, 8_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_amid_payments_of_the_same_cards_leave_each_cent_in_its_place() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let cards = cards(&admin, 6, 100).await;
    let replies = concurrently(&world, &admin, 240, |actor, number| {
        let (card, other) = (cards[number % 6].clone(), cards[(number / 6 + number + 1) % 6].clone());
        async move {
            match number % 4 {
                0 => actor.add(&card, json!(1)).await,
                1 => actor.authorize(&card, json!(1)).await,
                _ if card == other => actor.purchase(&card, json!(1)).await,
                _ => actor.post("/transfers", json!({"fromCardId": card, "toCardId": other, "amount": 7})).await,
            }
        }
    })
    .await;
    let unexpected: Vec<_> = replies.iter().filter(|reply| !matches!(reply.status, 200 | 409)).map(|reply| &reply.text).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let added = world.database.number("select coalesce(sum(amount), 0)::bigint from movements where transfer_id is null").await;
    assert_total(&world, added).await;
}
