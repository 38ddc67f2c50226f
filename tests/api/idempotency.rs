//! `Idempotency-Key`: a request is executed once per key, however often it is sent.

use std::time::Duration;

use core_api::domain::{card::CardStatus, role::Role};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    Actor, Reply, World,
    database_proxy::{Cut, DatabaseProxy},
    patient,
};

async fn add(actor: &Actor, key: &str, card: &str, amount: Value) -> Reply {
    actor.keyed(key, Method::POST, "/balances/add", &json!({"cardId": card, "amount": amount})).await
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

#[tokio::test]
async fn a_replay_returns_the_same_bytes_from_any_replica() {
    let world = World::of_replicas(2, |_| {}).await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card_in(CardStatus::Active).await, admin.given_customer().await);
    for (key, method, path, body) in [
        ("k1", Method::POST, "/customers", json!({"name": "Maria Garcia", "email": "maria@email.com"})),
        ("k2", Method::POST, "/cards", json!({"currency": "EUR"})),
        ("k3", Method::POST, "/cards/assign", json!({"cardId": card, "customerId": customer})),
        ("k4", Method::POST, "/balances/add", json!({"cardId": card, "amount": 100})),
        ("k5", Method::POST, "/sandbox/purchases", json!({"cardId": card, "amount": 20.5, "description": "Online purchase - Amazon"})),
        ("k6", Method::POST, "/sandbox/refunds", json!({"cardId": card, "amount": 0.5, "description": "Refund"})),
        ("k7", Method::PATCH, "/cards/status", json!({"cardId": card, "status": "blocked"})),
    ] {
        let first = admin.keyed(key, method.clone(), path, &body).await;
        assert!(!is_replayed(&first), "{path}");
        for replica in [0, 1, 0] {
            let again = world.at(replica, &admin).keyed(key, method.clone(), path, &body).await;
            assert!(is_replayed(&again), "{path}");
            assert_eq!((again.status, &again.text), (first.status, &first.text), "{path}");
            again.ok();
        }
        first.ok();
    }
    assert_eq!(world.database.rows().await, 2 + 2 + 3);
    assert_eq!(admin.card(&card).await["balance"], 80);
}

/// A new card takes a number before the unique index refuses its external id.
#[tokio::test]
async fn a_refused_request_leaves_nothing_but_its_response() {
    let (world, admin) = World::with_admin().await;
    let body = json!({"currency": "USD", "externalId": "same"});
    admin.post("/cards", body.clone()).await.ok();
    let numbers = "select max(cards_created)::bigint from accounts";
    let before = world.database.number(numbers).await;
    let first = admin.keyed("k", Method::POST, "/cards", &body).await;
    let again = admin.keyed("k", Method::POST, "/cards", &body).await;
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(again.text, first.text);
    first.problem(409, "duplicate_external_id");
    assert_eq!(world.database.number(numbers).await, before);
}

#[tokio::test]
async fn a_stored_refusal_is_replayed_even_after_the_state_has_changed() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_in(CardStatus::Active).await;
    let body = json!({"cardId": card, "amount": 10, "description": "Online purchase - Amazon"});
    let missing = json!({"cardId": "card_001", "amount": 10, "description": "x"});
    let first = admin.keyed("poor", Method::POST, "/sandbox/purchases", &body).await;
    let nothing = admin.keyed("none", Method::POST, "/sandbox/purchases", &missing).await;
    admin.add(&card, json!(100)).await.ok();
    for (key, body, before) in [("poor", &body, &first), ("none", &missing, &nothing)] {
        let again = admin.keyed(key, Method::POST, "/sandbox/purchases", body).await;
        assert!(is_replayed(&again));
        assert_eq!((again.status, &again.text), (before.status, &before.text));
        assert_eq!(again.header("content-type"), Some("application/problem+json"));
    }
    first.problem(409, "insufficient_funds");
    nothing.problem(404, "card_not_found");
    assert_eq!(admin.card(&card).await["balance"], 100);

    let taken = json!({"name": "Juan", "email": "juan@email.com"});
    admin.post("/customers", taken.clone()).await.ok();
    admin.keyed("taken", Method::POST, "/customers", &taken).await.problem(409, "duplicate_email");
    assert!(is_replayed(&admin.keyed("taken", Method::POST, "/customers", &taken).await));
}

#[tokio::test]
async fn a_key_reused_for_another_request_is_422_and_reveals_nothing() {
    let (_world, admin) = World::with_admin().await;
    let (card, other) = (admin.given_card_in(CardStatus::Active).await, admin.given_card_in(CardStatus::Active).await);
    let secret = add(&admin, "k", &card, json!(100)).await.ok()["movementId"].as_str().expect("an id").to_owned();
    for (method, path, body) in [
        (Method::POST, "/balances/add", json!({"cardId": card, "amount": 101})),
        (Method::POST, "/balances/add", json!({"cardId": other, "amount": 100})),
        (Method::POST, "/sandbox/refunds", json!({"cardId": card, "amount": 100, "description": "x"})),
        (Method::PATCH, "/cards/status", json!({"cardId": card, "status": "blocked"})),
        (Method::POST, "/cards", json!({"currency": "USD"})),
    ] {
        let problem = admin.keyed("k", method, path, &body).await.problem(422, "idempotency_key_reused");
        assert!(!problem.to_string().contains(&secret), "{problem}");
    }
    assert_eq!((admin.card(&card).await["balance"].clone(), admin.card(&other).await["balance"].clone()), (json!(100), json!(0)));
}

#[tokio::test]
async fn an_invalid_forbidden_or_failed_request_can_be_retried_under_its_key() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let invalid = add(&admin, "k", &card, json!("100")).await;
    assert_eq!(invalid.field_errors(), ["amount: wrong_type"]);
    admin.with_token("none").get("/cards").await.problem(401, "unauthenticated");

    world.database.execute("alter table movements rename to movements_away").await;
    add(&admin, "k", &card, json!(100)).await.problem(500, "internal_error");
    world.database.execute("alter table movements_away rename to movements").await;
    let done = add(&admin, "k", &card, json!(100)).await;
    assert!(!is_replayed(&done));
    assert_eq!(done.ok()["balance"], 100);

    let viewer = world.user_in_new_account(Role::Viewer, Some(2)).await;
    let body = json!({"currency": "USD"});
    for (status, code) in [(403, "insufficient_permissions"), (403, "insufficient_permissions"), (429, "rate_limit_exceeded")] {
        viewer.keyed("v", Method::POST, "/cards", &body).await.problem(status, code);
    }
    assert_eq!(world.database.number("select count(*) from idempotency_keys").await, 1);
}

#[tokio::test]
async fn a_key_is_scoped_to_its_account() {
    let (_world, mine, theirs) = World::with_two_accounts().await;
    let body = json!({"currency": "USD"});
    let one = mine.keyed("k", Method::POST, "/cards", &body).await;
    let other = theirs.keyed("k", Method::POST, "/cards", &body).await;
    assert!(!is_replayed(&one) && !is_replayed(&other));
    assert_ne!(one.ok()["cardId"], other.ok()["cardId"]);
}

#[tokio::test]
async fn a_key_in_use_by_one_account_is_free_for_another() {
    let (world, mine, theirs) = World::with_two_accounts().await;
    let locked = mine.given_card().await;
    let locks = world.database.lock_rows("cards").await;
    let running = tokio::spawn(async move { add(&mine, "k", &locked, json!(1)).await });
    world.database.wait_for_lock_waiters(1).await;
    let unlocked = theirs.given_card().await;
    add(&theirs, "k", &unlocked, json!(1)).await.ok();
    locks.release().await;
    running.await.expect("a reply").ok();
}

#[tokio::test]
async fn a_key_is_1_to_255_visible_characters_given_once() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let invalid = "Idempotency-Key: invalid_key";
    for key in ["", " ", "a b", "\"\"", &"x".repeat(256), &"x".repeat(1000)] {
        assert_eq!(add(&admin, key, &card, json!(1)).await.field_errors(), [invalid], "{key:?}");
    }
    let both = add(&admin, "a b", &card, json!(0)).await.field_errors();
    assert_eq!(both, [invalid, "amount: not_positive"]);
    let twice = admin.request(Method::POST, "/cards").header("idempotency-key", "a").header("idempotency-key", "a");
    assert_eq!(Reply::of(twice.json(&json!({"currency": "USD"}))).await.field_errors(), [invalid]);
    assert_eq!(admin.card(&card).await["balance"], 0);

    add(&admin, &"x".repeat(255), &card, json!(1)).await.ok();
    add(&admin, "order-1", &card, json!(1)).await.ok();
    assert!(is_replayed(&add(&admin, "\"order-1\"", &card, json!(1)).await), "a quoted key is the same key");
}

#[tokio::test]
async fn a_replay_leaves_no_transaction_open() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(10)).await;
    let body = json!({"cardId": card, "amount": 1, "description": "x"});
    let buy = || Reply::of(admin.request(Method::POST, "/sandbox/purchases").header("idempotency-key", "once").json(&body));
    buy().await.ok();
    assert!(is_replayed(&buy().await));
    let open = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'";
    world.database.wait_for(0, open).await;
}

#[tokio::test]
async fn a_stored_response_shows_its_movement_as_the_history_does() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(10)).await;
    for (path, amount) in [("/sandbox/purchases", 2), ("/sandbox/refunds", 1)] {
        let body = json!({"cardId": card, "amount": amount, "description": "x"});
        let first = admin.keyed(path, Method::POST, path, &body).await;
        let again = admin.keyed(path, Method::POST, path, &body).await;
        assert!(is_replayed(&again) && again.text == first.text, "{}", again.text);
        assert_eq!(first.ok()["movement"], admin.movements(&card).await[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_requests_under_one_key_move_the_money_once() {
    let world = World::of_replicas(3, patient).await;
    let admin = world.admin().await;
    for different in [false, true] {
        let card = admin.given_card().await;
        let key = format!("key-{different}");
        let mut requests = JoinSet::new();
        for number in 0..50_usize {
            let (actor, card, key) = (world.at(number % 3, &admin), card.clone(), key.clone());
            let amount = if different { number + 1 } else { 7 };
            requests.spawn(async move { add(&actor, &key, &card, json!(amount)).await });
        }
        let mut fresh = Vec::new();
        let mut replays = Vec::new();
        for reply in requests.join_all().await {
            match reply.status {
                200 if is_replayed(&reply) => replays.push(reply.text),
                200 => fresh.push(reply.text),
                422 if different => drop(reply.problem(422, "idempotency_key_reused")),
                _ => drop(reply.problem(409, "idempotency_key_in_use")),
            }
        }
        assert_eq!(fresh.len(), 1);
        assert!(replays.iter().all(|replay| *replay == fresh[0]));
        assert_eq!(admin.movements(&card).await.len(), 1);
        let balance = serde_json::from_str::<Value>(&fresh[0]).expect("JSON")["balance"].clone();
        assert_eq!(admin.card(&card).await["balance"], balance);
    }
}

#[tokio::test]
async fn a_stored_response_is_kept_for_a_day_and_then_purged_in_chunks() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    add(&admin, "old", &card, json!(1)).await.ok();
    add(&admin, "young", &card, json!(1)).await.ok();
    world.database.execute("update idempotency_keys set created_at = now() - interval '24 hours 1 minute' where key = 'old'").await;
    world.database.execute("update idempotency_keys set created_at = now() - interval '23 hours 59 minutes' where key = 'young'").await;
    let more = "insert into idempotency_keys (account_id, key, fingerprint, status, body, created_at)
        select account_id, n::text, sha256(''), 200, '', now() - interval '2 days' from idempotency_keys, generate_series(1, 1200) n where key = 'old'";
    world.database.execute(more).await;
    // A replica purges expired keys when it starts, and every minute afterwards.
    let world = world.fresh_replica().await;
    world.database.wait_for(1, "select count(*) from idempotency_keys").await;
    let admin = world.at(0, &admin);
    assert!(is_replayed(&add(&admin, "young", &card, json!(1)).await));
    assert!(!is_replayed(&add(&admin, "old", &card, json!(1)).await));
    assert_eq!(admin.card(&card).await["balance"], 3);
}

#[tokio::test]
async fn a_connection_cut_at_the_commit_is_an_unknown_outcome_that_the_key_resolves() {
    let origin = World::new().await;
    let proxy = DatabaseProxy::to(&origin.database);
    let world = World::on(proxy.database.clone(), |_| {}).await;
    let admin = world.admin().await;
    let card = admin.given_card_in(CardStatus::Active).await;
    let purchase = json!({"cardId": card, "amount": 1, "description": "x"});
    let dollars = json!({"currency": "USD"});
    let cards = "select count(*) from cards";
    let before = world.database.number(cards).await;
    let cuts = [Cut::BeforeCommit, Cut::AfterCommit, Cut::AfterCommitWithPanic].repeat(2);
    for (number, cut) in cuts.into_iter().enumerate() {
        // A posting is one self-committing statement, which also stores the response under the key; on a shard a transaction.
        let (top_up, buy) = (format!("top-up-{number}"), format!("purchase-{number}"));
        for (key, path, body, balance) in [
            (&top_up, "/balances/add", &json!({"cardId": card, "amount": 5}), 4 * number + 5),
            (&buy, "/sandbox/purchases", &purchase, 4 * number + 4),
        ] {
            if world.database.is_sharded {
                proxy.cut_commit(key, cut);
            } else {
                proxy.cut_statement(key, cut);
            }
            let unknown = admin.keyed(key, Method::POST, path, body).await;
            let problem = unknown.problem(503, "outcome_unknown");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("may or may not")), "{problem}");
            let resolved = admin.keyed(key, Method::POST, path, body).await;
            assert_eq!(is_replayed(&resolved), cut != Cut::BeforeCommit);
            assert_eq!(resolved.ok()["balance"], balance);
        }
        // Creating a card is a transaction of several statements.
        let key = format!("card-{number}");
        proxy.cut_commit(&key, cut);
        admin.keyed(&key, Method::POST, "/cards", &dollars).await.problem(503, "outcome_unknown");
        // Postgres may take a moment to notice that the connection is gone, and holds the lock of the key until then.
        let mut resolved = admin.keyed(&key, Method::POST, "/cards", &dollars).await;
        while resolved.status == 409 {
            resolved.problem(409, "idempotency_key_in_use");
            tokio::time::sleep(Duration::from_millis(10)).await;
            resolved = admin.keyed(&key, Method::POST, "/cards", &dollars).await;
        }
        assert_eq!(is_replayed(&resolved), cut != Cut::BeforeCommit);
        resolved.ok();
    }
    assert_eq!(world.database.number(cards).await, before + 6);
    assert_eq!(admin.movements(&card).await.len(), 12);
}
