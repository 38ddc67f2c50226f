//! Many at once, over three replicas: what must happen exactly once does, and sums hold.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Actor, Reply, World};

pub async fn three_replicas() -> World {
    let mut world = World::with(|settings| {
        settings.rate_limit.per_hour = 1_000_000.try_into().expect("above zero");
        // What is asked here is what happens, not how soon: nothing is to be turned away.
        settings.database.acquire_timeout_ms = 20_000;
    })
    .await;
    world.add_replica().await;
    world.add_replica().await;
    world
}

/// Sends `count` requests at once, in turn to each replica; gives the answers.
pub async fn at_once<F, Sent>(world: &World, actor: &Actor, count: usize, send: F) -> Vec<Reply>
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

pub fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

/// Each balance is the sum of its movements, which follow one another without a gap.
pub async fn assert_ledger_is_sound(world: &World) {
    let broken = world.database.number(
        "select count(*) from cards
         left join lateral (
             select count(*) as movements, coalesce(max(seq), 0) as last, coalesce(sum(amount), 0) as total
             from movements where movements.account_id = cards.account_id and movements.card_id = cards.id
         ) history on true
         where cards.balance <> history.total or cards.seq <> history.movements or cards.seq <> history.last",
    );
    assert_eq!(broken.await, 0);
    let torn = world.database.number(
        "select count(*) from (
             select balance_after, sum(amount) over (partition by account_id, card_id order by seq) as running from movements
         ) history where balance_after <> running",
    );
    assert_eq!(torn.await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_top_ups_are_each_applied_exactly_once() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let replies = at_once(&world, &admin, 200, |actor, _| {
        let card = card.clone();
        async move { actor.add(&card, json!(0.01)).await }
    })
    .await;
    assert_eq!(count(&replies, 200), 200);
    assert_eq!(admin.card(&card).await["balance"], 2);
    let mut balances: Vec<String> = replies.iter().map(|reply| reply.json()["balance"].to_string()).collect();
    balances.sort();
    balances.dedup();
    assert_eq!(balances.len(), 200, "two top-ups saw the same balance");
    assert_ledger_is_sound(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_purchases_spend_the_last_cent_and_no_more() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let replies = at_once(&world, &admin, 100, |actor, _| {
        let card = card.clone();
        async move { actor.purchase(&card, json!(10)).await }
    })
    .await;
    assert_eq!((count(&replies, 200), count(&replies, 409)), (50, 50));
    assert_eq!(admin.card(&card).await["balance"], 0);
    assert_ledger_is_sound(&world).await;
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
    let replies = at_once(&world, &admin, 50, |actor, number| {
        let (card, customer) = (card.clone(), customers[number].clone());
        async move { actor.assign(&card, &customer).await }
    })
    .await;
    assert_eq!((count(&replies, 200), count(&replies, 409)), (1, 49));
    let winner = replies.iter().find(|reply| reply.status == 200).expect("one").json();
    assert_eq!(admin.card(&card).await["customerId"], winner["customerId"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_concurrent_customers_with_one_email_one_is_created() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let replies = at_once(&world, &admin, 50, |actor, _| async move {
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
    let card = admin.given_card_in("active").await;
    let replies = at_once(&world, &admin, 60, |actor, number| {
        let card = card.clone();
        async move { if number == 30 { actor.set_status(&card, "cancelled").await } else { actor.add(&card, json!(1)).await } }
    })
    .await;
    let accepted = replies.iter().filter(|reply| reply.status == 200 && reply.json().get("balance").is_some()).count();
    assert_eq!(replies.len() - accepted - 1, count(&replies, 409));
    let details = admin.card(&card).await;
    assert_eq!((&details["status"], &details["balance"]), (&json!("cancelled"), &json!(accepted)));
    assert_ledger_is_sound(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_created_concurrently_are_each_listed_once() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let replies = at_once(&world, &admin, 60, |actor, _| async move { actor.post("/cards", json!({"currency": "EUR"})).await }).await;
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
    let before = at_once(&world, &admin, 60, |actor, number| async move {
        if number == 30 { actor.post("/auth/logout", json!({})).await } else { actor.get("/cards").await }
    })
    .await;
    assert_eq!(count(&before, 200) + count(&before, 401), 60);
    let after = at_once(&world, &admin, 100, |actor, _| async move { actor.get("/cards").await }).await;
    assert_eq!(count(&after, 401), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postings_in_the_same_batch_are_answered_individually() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let mut cards = Vec::new();
    for status in ["active", "inactive", "blocked", "cancelled"] {
        cards.push(admin.given_card_in(status).await);
    }
    cards.push("card_001".to_owned());
    let full = admin.given_card_with(json!(90_071_992_547_409.5)).await;
    cards.push(full);
    let expected =
        [(200, ""), (200, ""), (409, "card_blocked"), (409, "card_cancelled"), (404, "card_not_found"), (409, "balance_limit_exceeded")];
    // All at one replica, so that they wait for the same flights; every third under a key of its own.
    let mut requests = JoinSet::new();
    for number in 0..240 {
        let (actor, which) = (admin.clone(), number % 6);
        let body = json!({"cardId": cards[which], "amount": 1});
        requests.spawn(async move {
            let request = actor.request(reqwest::Method::POST, "/balances/add").json(&body);
            let request = if number % 4 == 0 { request.header("idempotency-key", format!("k{number}")) } else { request };
            (which, Reply::of(request).await)
        });
    }
    for (which, reply) in requests.join_all().await {
        let (status, code) = expected[which];
        if status == 200 {
            reply.ok();
        } else {
            reply.problem(status, code);
        }
    }
    for card in &cards[..2] {
        assert_eq!(admin.card(card).await["balance"], 40);
    }
    assert_ledger_is_sound(&world).await;
}
