//! `Idempotency-Key`: once per key, whatever is sent again, by whom and how often.

use core_api::domain::role::Role;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tokio::task::JoinSet;

use crate::support::{
    Actor, Reply, World,
    wire::{Cut, Wire},
};

async fn keyed(actor: &Actor, key: &str, method: Method, path: &str, body: &Value) -> Reply {
    Reply::of(actor.request(method, path).header("idempotency-key", key).json(body)).await
}

async fn add(actor: &Actor, key: &str, card: &str, amount: Value) -> Reply {
    keyed(actor, key, Method::POST, "/balances/add", &json!({"cardId": card, "amount": amount})).await
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

#[tokio::test]
async fn a_replay_returns_the_same_bytes_from_any_replica() {
    let mut world = World::new().await;
    world.add_replica().await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card_in("active").await, admin.given_customer().await);
    for (key, method, path, body) in [
        ("k1", Method::POST, "/customers", json!({"name": "Maria Garcia", "email": "maria@email.com"})),
        ("k2", Method::POST, "/cards", json!({"currency": "EUR"})),
        ("k3", Method::POST, "/cards/assign", json!({"cardId": card, "customerId": customer})),
        ("k4", Method::POST, "/balances/add", json!({"cardId": card, "amount": 100})),
        ("k5", Method::POST, "/sandbox/purchases", json!({"cardId": card, "amount": 20.5, "description": "Online purchase - Amazon"})),
        ("k6", Method::POST, "/sandbox/refunds", json!({"cardId": card, "amount": 0.5, "description": "Refund"})),
        ("k7", Method::PATCH, "/cards/status", json!({"cardId": card, "status": "blocked"})),
    ] {
        let first = keyed(&admin, key, method.clone(), path, &body).await;
        assert!(!is_replayed(&first), "{path}");
        for replica in [0, 1, 0] {
            let again = keyed(&world.at(replica, &admin), key, method.clone(), path, &body).await;
            assert!(is_replayed(&again), "{path}");
            assert_eq!((again.status, &again.text), (first.status, &first.text), "{path}");
            again.ok();
        }
        first.ok();
    }
    assert_eq!(world.database.rows().await, 2 + 2 + 3);
    assert_eq!(admin.card(&card).await["balance"], 80);
}

#[tokio::test]
async fn a_stored_refusal_is_replayed_even_after_the_state_has_changed() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card_in("active").await;
    let body = json!({"cardId": card, "amount": 10, "description": "Online purchase - Amazon"});
    let missing = json!({"cardId": "card_001", "amount": 10, "description": "x"});
    let first = keyed(&admin, "poor", Method::POST, "/sandbox/purchases", &body).await;
    let nothing = keyed(&admin, "none", Method::POST, "/sandbox/purchases", &missing).await;
    admin.add(&card, json!(100)).await.ok();
    for (key, body, before) in [("poor", &body, &first), ("none", &missing, &nothing)] {
        let again = keyed(&admin, key, Method::POST, "/sandbox/purchases", body).await;
        assert!(is_replayed(&again));
        assert_eq!((again.status, &again.text), (before.status, &before.text));
        assert_eq!(again.header("content-type"), Some("application/problem+json"));
    }
    first.problem(409, "insufficient_funds");
    nothing.problem(404, "card_not_found");
    assert_eq!(admin.card(&card).await["balance"], 100);

    let taken = json!({"name": "Juan", "email": "juan@email.com"});
    admin.post("/customers", taken.clone()).await.ok();
    keyed(&admin, "taken", Method::POST, "/customers", &taken).await.problem(409, "duplicate_email");
    assert!(is_replayed(&keyed(&admin, "taken", Method::POST, "/customers", &taken).await));
}

#[tokio::test]
async fn a_key_reused_for_another_request_is_422_and_reveals_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (card, other) = (admin.given_card_in("active").await, admin.given_card_in("active").await);
    let secret = add(&admin, "k", &card, json!(100)).await.ok()["movementId"].as_str().expect("an id").to_owned();
    let same = json!({"cardId": card, "amount": 100});
    for (method, path, body) in [
        (Method::POST, "/balances/add", json!({"cardId": card, "amount": 101})),
        (Method::POST, "/balances/add", json!({"cardId": other, "amount": 100})),
        (Method::POST, "/balances/add?x=1", same.clone()),
        (Method::POST, "/sandbox/refunds", json!({"cardId": card, "amount": 100, "description": "x"})),
        (Method::PATCH, "/cards/status", json!({"cardId": card, "status": "blocked"})),
        (Method::POST, "/cards", json!({"currency": "USD"})),
    ] {
        let problem = keyed(&admin, "k", method, path, &body).await.problem(422, "idempotency_key_reused");
        assert!(!problem.to_string().contains(&secret), "{problem}");
    }
    assert_eq!((admin.card(&card).await["balance"].clone(), admin.card(&other).await["balance"].clone()), (json!(100), json!(0)));
}

#[tokio::test]
async fn an_invalid_forbidden_or_failed_request_can_be_retried_under_its_key() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let wrong = add(&admin, "k", &card, json!("100")).await;
    assert_eq!(wrong.faults(), [("amount".to_owned(), "wrong_type".to_owned())]);
    admin.with_token("none").get("/cards").await.problem(401, "unauthenticated");

    world.database.execute("alter table movements rename to movements_away").await;
    add(&admin, "k", &card, json!(100)).await.problem(500, "internal_error");
    world.database.execute("alter table movements_away rename to movements").await;
    let done = add(&admin, "k", &card, json!(100)).await;
    assert!(!is_replayed(&done));
    assert_eq!(done.ok()["balance"], 100);

    let viewer = world.somebody(Role::Viewer, Some(2)).await;
    let body = json!({"currency": "USD"});
    for (status, code) in [(403, "insufficient_permissions"), (403, "insufficient_permissions"), (429, "rate_limit_exceeded")] {
        keyed(&viewer, "v", Method::POST, "/cards", &body).await.problem(status, code);
    }
    assert_eq!(world.database.number("select count(*) from idempotency_keys").await, 1);
}

#[tokio::test]
async fn a_key_is_scoped_to_its_account() {
    let world = World::new().await;
    let (mine, theirs) = (world.admin().await, world.other_tenant().await);
    let body = json!({"currency": "USD"});
    let one = keyed(&mine, "k", Method::POST, "/cards", &body).await;
    let other = keyed(&theirs, "k", Method::POST, "/cards", &body).await;
    assert!(!is_replayed(&one) && !is_replayed(&other));
    assert_ne!(one.ok()["cardId"], other.ok()["cardId"]);
}

#[tokio::test]
async fn a_key_in_use_by_one_account_is_free_for_another() {
    let world = World::new().await;
    let (mine, theirs) = (world.admin().await, world.other_tenant().await);
    let held = mine.given_card().await;
    let mut holder = world.database.connect().await;
    holder.execute("begin; select from cards for update").await.expect("held");
    let running = tokio::spawn(async move { add(&mine, "k", &held, json!(1)).await });
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while world.database.number(waiting).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let free = theirs.given_card().await;
    add(&theirs, "k", &free, json!(1)).await.ok();
    holder.execute("rollback").await.expect("let go");
    running.await.expect("a reply").ok();
}

#[tokio::test]
async fn a_key_is_1_to_255_visible_characters_given_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let invalid = ("Idempotency-Key".to_owned(), "invalid_key".to_owned());
    for key in ["", " ", "a b", "\"\"", &"x".repeat(256), &"x".repeat(1000)] {
        assert_eq!(add(&admin, key, &card, json!(1)).await.faults(), std::slice::from_ref(&invalid), "{key:?}");
    }
    let both = add(&admin, "a b", &card, json!(0)).await.faults();
    assert_eq!(both, [invalid.clone(), ("amount".to_owned(), "not_positive".to_owned())]);
    let twice = admin.request(Method::POST, "/cards").header("idempotency-key", "a").header("idempotency-key", "a");
    assert_eq!(Reply::of(twice.json(&json!({"currency": "USD"}))).await.faults(), [invalid]);
    assert_eq!(admin.card(&card).await["balance"], 0);

    add(&admin, &"x".repeat(255), &card, json!(1)).await.ok();
    add(&admin, "order-1", &card, json!(1)).await.ok();
    assert!(is_replayed(&add(&admin, "\"order-1\"", &card, json!(1)).await), "in quotes it is the same key");
}

#[tokio::test]
async fn a_replay_leaves_no_transaction_open() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(10)).await;
    let body = json!({"cardId": card, "amount": 1, "description": "x"});
    let buy = || Reply::of(admin.request(Method::POST, "/sandbox/purchases").header("idempotency-key", "once").json(&body));
    buy().await.ok();
    assert!(is_replayed(&buy().await));
    let open = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'";
    for _ in 0..100 {
        if world.database.number(open).await == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("a connection went back in the middle of a transaction");
}

#[tokio::test]
async fn a_stored_response_shows_its_movement_as_the_history_does() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(10)).await;
    for (path, amount) in [("/sandbox/purchases", 2), ("/sandbox/refunds", 1)] {
        let body = json!({"cardId": card, "amount": amount, "description": "x"});
        let first = keyed(&admin, path, Method::POST, path, &body).await;
        let again = keyed(&admin, path, Method::POST, path, &body).await;
        assert!(is_replayed(&again) && again.text == first.text, "{}", again.text);
        assert_eq!(first.ok()["movement"], admin.movements(&card).await[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_requests_under_one_key_move_the_money_once() {
    let mut world = World::with(|settings| settings.database.acquire_timeout_ms = 20_000).await;
    world.add_replica().await;
    world.add_replica().await;
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
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    add(&admin, "old", &card, json!(1)).await.ok();
    add(&admin, "young", &card, json!(1)).await.ok();
    world.database.execute("update idempotency_keys set created_at = now() - interval '24 hours 1 minute' where key = 'old'").await;
    world.database.execute("update idempotency_keys set created_at = now() - interval '23 hours 59 minutes' where key = 'young'").await;
    let more = "insert into idempotency_keys (account_id, key, fingerprint, status, body, created_at)
        select account_id, n::text, sha256(''), 200, '', now() - interval '2 days' from idempotency_keys, generate_series(1, 1200) n where key = 'old'";
    world.database.execute(more).await;
    // A replica forgets when it starts, and every minute from then on.
    let world = World::on(world.database.clone(), |_| {}).await;
    for _ in 0..100 {
        if world.database.number("select count(*) from idempotency_keys").await == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let admin = world.at(0, &admin);
    assert!(is_replayed(&add(&admin, "young", &card, json!(1)).await));
    assert!(!is_replayed(&add(&admin, "old", &card, json!(1)).await));
    assert_eq!(admin.card(&card).await["balance"], 3);
}

#[tokio::test]
async fn a_connection_cut_at_the_commit_is_an_unknown_outcome_that_the_key_resolves() {
    let origin = World::new().await;
    let wire = Wire::to(&origin.database.options);
    let mut database = origin.database.clone();
    database.options = wire.options(&database.options);
    let world = World::on(database, |_| {}).await;
    let admin = world.admin().await;
    let card = admin.given_card_in("active").await;
    let purchase = json!({"cardId": card, "amount": 1, "description": "x"});
    let dollars = json!({"currency": "USD"});
    let cards = "select count(*) from cards";
    let before = world.database.number(cards).await;
    for (number, cut) in [Cut::Before, Cut::After, Cut::AfterInPanic, Cut::Before, Cut::After, Cut::AfterInPanic].into_iter().enumerate() {
        // A posting is one statement, which stores the answer under its key and commits by itself.
        let (top_up, buy) = (format!("top-up-{number}"), format!("purchase-{number}"));
        for (key, path, body, balance) in [
            (&top_up, "/balances/add", &json!({"cardId": card, "amount": 5}), 4 * number + 5),
            (&buy, "/sandbox/purchases", &purchase, 4 * number + 4),
        ] {
            wire.cut_statement_of(key, cut);
            let unknown = keyed(&admin, key, Method::POST, path, body).await;
            let problem = unknown.problem(503, "outcome_unknown");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("may or may not")), "{problem}");
            let resolved = keyed(&admin, key, Method::POST, path, body).await;
            assert_eq!(is_replayed(&resolved), cut != Cut::Before);
            assert_eq!(resolved.ok()["balance"], balance);
        }
        // A new card is a transaction of several statements.
        let key = format!("card-{number}");
        wire.cut_commit_of(&key, cut);
        keyed(&admin, &key, Method::POST, "/cards", &dollars).await.problem(503, "outcome_unknown");
        let resolved = keyed(&admin, &key, Method::POST, "/cards", &dollars).await;
        assert_eq!(is_replayed(&resolved), cut != Cut::Before);
    }
    assert_eq!(world.database.number(cards).await, before + 6);
    assert_eq!(admin.movements(&card).await.len(), 12);
}
