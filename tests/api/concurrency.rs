//! Concurrent requests over three replicas: each takes effect exactly once, and the balances add up.

use core_api::domain::card::CardStatus;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Actor, Reply, World, patient, without_quota};

pub async fn three_replicas() -> World {
    World::of_replicas(3, |settings| {
        without_quota(settings);
        patient(settings);
    })
    .await
}

/// Sends `count` concurrent requests, spread evenly over the replicas, and returns the answers.
pub async fn concurrently<F, Sent>(world: &World, actor: &Actor, count: usize, send: F) -> Vec<Reply>
where
    F: Fn(Actor, usize) -> Sent,
    Sent: Future<Output = Reply> + Send + 'static,
{
    let mut requests = JoinSet::new();
    for number in 0..count {
        requests.spawn(send(world.at(number % 3, actor), number));
    }
    requests.join_all().await
}

/// The number of answers with this status.
pub fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

/// Asserts that each balance is the sum of its movements, and that the sequence of movements has no gap.
pub async fn assert_ledger_is_consistent(world: &World) {
    let bad_cards = world.database.number(
        "select count(*) from cards
         left join lateral (
             select count(*) as movements, coalesce(max(seq), 0) as last, coalesce(sum(amount), 0) as total
             from movements where movements.account_id = cards.account_id and movements.card_id = cards.id
         ) history on true
         where cards.balance <> history.total or cards.seq <> history.movements or cards.seq <> history.last",
    );
    assert_eq!(bad_cards.await, 0);
    let bad_movements = world.database.number(
        "select count(*) from (
             select balance_after, sum(amount) over (partition by account_id, card_id order by seq) as running from movements
         ) history where balance_after <> running",
    );
    assert_eq!(bad_movements.await, 0);
    let misdated_movements = world.database.number(
        "select count(*) from (
             select created_at, lag(created_at) over (partition by account_id, card_id order by seq) as previous from movements
         ) history where created_at < previous",
    );
    assert_eq!(misdated_movements.await, 0, "movements are dated before the ones that they follow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_top_ups_are_each_applied_exactly_once() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let replies = concurrently(&world, &admin, 200, |actor, _| {
        let card = card.clone();
        async move { actor.add(&card, json!(0.01)).await }
    })
    .await;
    assert_eq!(count(&replies, 200), 200);
    assert_eq!(admin.card(&card).await["balance"], 2);
    let mut balances: Vec<String> = replies.iter().map(|reply| reply.json()["balance"].to_string()).collect();
    balances.sort();
    balances.dedup();
    assert_eq!(balances.len(), 200, "two top-ups returned the same balance");
    assert_ledger_is_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_purchases_spend_the_last_cent_and_no_more() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let replies = concurrently(&world, &admin, 100, |actor, _| {
        let card = card.clone();
        async move { actor.purchase(&card, json!(10)).await }
    })
    .await;
    assert_eq!((count(&replies, 200), count(&replies, 409)), (50, 50));
    assert_eq!(admin.card(&card).await["balance"], 0);
    assert_ledger_is_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_concurrent_assignments_one_succeeds() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let mut customers = Vec::new();
    for _ in 0..50 {
        customers.push(admin.given_customer().await);
    }
    let replies = concurrently(&world, &admin, 50, |actor, number| {
        let (card, customer) = (card.clone(), customers[number].clone());
        async move { actor.assign(&card, &customer).await }
    })
    .await;
    assert_eq!((count(&replies, 200), count(&replies, 409)), (1, 49));
    let winner = replies.iter().find(|reply| reply.status == 200).expect("one assignment succeeded").json();
    assert_eq!(admin.card(&card).await["customerId"], winner["customerId"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_concurrent_customers_with_one_email_one_is_created() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let replies = concurrently(&world, &admin, 50, |actor, _| async move {
        actor.post("/customers", json!({"name": "Juan Perez", "email": "juan@email.com"})).await
    })
    .await;
    assert_eq!((count(&replies, 200), count(&replies, 409)), (1, 49));
    assert_eq!(world.database.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_money_is_added_once_a_card_is_cancelled() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_in(CardStatus::Active).await;
    let replies = concurrently(&world, &admin, 60, |actor, number| {
        let card = card.clone();
        async move { if number == 30 { actor.set_status(&card, "cancelled").await } else { actor.add(&card, json!(1)).await } }
    })
    .await;
    let accepted = replies.iter().filter(|reply| reply.status == 200 && reply.json().get("balance").is_some()).count();
    assert_eq!(replies.len() - accepted - 1, count(&replies, 409));
    let details = admin.card(&card).await;
    assert_eq!((&details["status"], &details["balance"]), (&json!("cancelled"), &json!(accepted)));
    assert_ledger_is_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_created_concurrently_are_each_listed_once() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let replies = concurrently(&world, &admin, 60, |actor, _| async move { actor.post("/cards", json!({"currency": "EUR"})).await }).await;
    assert_eq!(count(&replies, 200), 60);
    let listed = admin.get("/cards").await.ok()["cards"].as_array().expect("a list").clone();
    let mut ids: Vec<&Value> = listed.iter().map(|card| &card["cardId"]).collect();
    ids.sort_by_key(|id| id.as_str());
    ids.dedup();
    assert_eq!(ids.len(), 60);
    assert_eq!(world.database.number("select max(number) from cards").await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_started_after_a_logout_succeeds() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let before = concurrently(&world, &admin, 60, |actor, number| async move {
        if number == 30 { actor.post("/auth/logout", json!({})).await } else { actor.get("/cards").await }
    })
    .await;
    assert_eq!(count(&before, 200) + count(&before, 401), 60);
    let after = concurrently(&world, &admin, 100, |actor, _| async move { actor.get("/cards").await }).await;
    assert_eq!(count(&after, 401), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postings_in_the_same_batch_are_answered_individually() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let full = admin.given_card_with(json!(90_071_992_547_409.5)).await;
    let mut cards = vec![("card_001".to_owned(), Some((404, "card_not_found"))), (full, Some((409, "balance_limit_exceeded")))];
    for status in CardStatus::ALL {
        let refusal = match status {
            CardStatus::Inactive | CardStatus::Active => None,
            CardStatus::Blocked => Some((409, "card_blocked")),
            CardStatus::Cancelled => Some((409, "card_cancelled")),
        };
        cards.push((admin.given_card_in(status).await, refusal));
    }
    // All at one replica, so that they share batches. Every fifth request has its own key.
    let mut requests = JoinSet::new();
    for number in 0..240 {
        let (actor, which) = (admin.clone(), number % cards.len());
        let body = json!({"cardId": cards[which].0, "amount": 1});
        requests.spawn(async move {
            let request = actor.request(reqwest::Method::POST, "/balances/add").json(&body);
            let request = if number % 5 == 0 { request.header("idempotency-key", format!("k{number}")) } else { request };
            (which, Reply::of(request).await)
        });
    }
    for (which, reply) in requests.join_all().await {
        match cards[which].1 {
            None => drop(reply.ok()),
            Some((status, code)) => drop(reply.problem(status, code)),
        }
    }
    for (card, _) in cards.iter().filter(|(_, refusal)| refusal.is_none()) {
        assert_eq!(admin.card(card).await["balance"], 40);
    }
    assert_ledger_is_consistent(&world).await;
}
