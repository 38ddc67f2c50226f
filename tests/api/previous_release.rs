//! A replica of the previous release beside one of this version, on this version's schema and data.
//!
//! `PREVIOUS_RELEASE` names its binary; `scripts/previous-release` builds it. Without it, two processes of this version
//! stand beside each other.

use std::{env, process::Stdio};

use core_api::domain::{card::CardStatus, role::UserRole};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    concurrency::assert_ledger_is_consistent,
    support::{
        Actor, PASSWORD, Reply, World,
        binary::{CORE_API, Process, isolated, wait_for_base},
    },
};

async fn sent(actor: &Actor, method: Method, path: &str, body: Option<Value>) -> Reply {
    let request = actor.request(method.clone(), path);
    // The document is that of this version.
    let reply = Reply::undocumented(if let Some(body) = body { request.json(&body) } else { request }).await;
    assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
    reply
}

#[tokio::test]
async fn the_previous_release_serves_beside_this_version() {
    let (world, admin) = World::with_admin().await;
    let customer = admin.given_customer().await;
    let mut cards = Vec::new();
    for status in CardStatus::ALL {
        cards.push(admin.given_card_in(status).await);
    }
    let card = admin.given_card_with(json!(100)).await;
    admin.assign(&card, &customer).await.ok();
    admin.purchase(&card, json!(20)).await.ok();
    admin.refund(&card, json!(5)).await.ok();
    for role in UserRole::ALL {
        world.new_user(&admin, &format!("{}@example.com", role.name()), role.role()).await;
    }
    let key = json!({"cardId": card, "amount": 1});
    admin.keyed("kept", Method::POST, "/balances/add", &key).await.ok();

    let program = env::var_os("PREVIOUS_RELEASE").unwrap_or_else(|| CORE_API.into());
    let mut command = isolated(program);
    command.env("DATABASE_URL", world.database.url()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    let old = admin.at_base(&wait_for_base(&mut process));

    // It reads what this version wrote.
    for path in ["/customers", "/cards", "/users", "/audit-events", "/auth/sessions", "/health/ready"] {
        sent(&old, Method::GET, path, None).await;
    }
    for card in cards.iter().chain([&card]) {
        for path in [format!("/cards/{card}"), format!("/balances/{card}"), format!("/cards/{card}/movements")] {
            sent(&old, Method::GET, &path, None).await;
        }
    }
    let replayed = old.request(Method::POST, "/balances/add").header("idempotency-key", "kept").json(&key);
    assert_eq!(Reply::undocumented(replayed).await.header("idempotent-replayed"), Some("true"));
    // Both write to the same card, and each admits the other's logins.
    let login = json!({"email": "operator@example.com", "password": PASSWORD});
    let login = sent(&old, Method::POST, "/auth/login", Some(login)).await.json();
    let operator = admin.with_token(login["token"].as_str().expect("a token"));
    for _ in 0..3 {
        operator.add(&card, json!(1)).await.ok();
        sent(&old, Method::POST, "/balances/add", Some(json!({"cardId": card, "amount": 1}))).await;
        sent(&old, Method::POST, "/sandbox/purchases", Some(json!({"cardId": card, "amount": 1, "description": "x"}))).await;
    }
    sent(&old, Method::PATCH, "/cards/status", Some(json!({"cardId": card, "status": "blocked"}))).await;
    operator.add(&card, json!(1)).await.problem(409, "card_blocked");
    assert_eq!(admin.card(&card).await["balance"], json!(89));
    let refresh = json!({"refreshToken": login["refreshToken"]});
    admin.post("/auth/refresh", refresh).await.ok();
    sent(&operator.at_base(old.base()), Method::POST, "/auth/logout", None).await;
    operator.get("/cards").await.problem(401, "unauthenticated");
    assert_ledger_is_consistent(&world).await;
}

/// A server of the version before holds nothing and knows of no hold. It goes on, but it spends no held money: the database
/// refuses that, for the one card.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_previous_release_spends_no_held_money() {
    let (world, admin) = World::with_admin().await;
    let (card, other) = (admin.given_card_with(json!(500)).await, admin.given_card_with(json!(500)).await);
    let program = env::var_os("PREVIOUS_RELEASE").unwrap_or_else(|| CORE_API.into());
    let mut command = isolated(program);
    command.env("DATABASE_URL", world.database.url()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    let old = admin.at_base(&wait_for_base(&mut process));
    let buy = |card: &str, amount: Value| {
        let body = json!({"cardId": card, "amount": amount, "description": "x"});
        Reply::undocumented(old.request(Method::POST, "/sandbox/purchases").json(&body))
    };
    // It has the card's position cached.
    assert_eq!(buy(&card, json!(1)).await.status, 200);
    let hold = admin.given_hold(&card, json!(400)).await;
    let mut requests = JoinSet::new();
    for number in 0..40 {
        let is_held = number % 4 == 0;
        let purchase = if is_held { buy(&card, json!(99.01)) } else { buy(&other, json!(1)) };
        requests.spawn(async move { (is_held, purchase.await) });
    }
    for (is_held, reply) in requests.join_all().await {
        // This version says that the funds do not suffice, the one before only that it could not.
        let expected: &[u16] = if is_held { &[409, 503] } else { &[200] };
        assert!(expected.contains(&reply.status), "{is_held}: {reply:?}");
    }
    assert_eq!(admin.position(&card).await, "499 400 99");
    assert_eq!(admin.position(&other).await, "470 0 470");
    assert_eq!(buy(&card, json!(99)).await.status, 200);
    let add = json!({"cardId": card, "amount": 5});
    sent(&old, Method::POST, "/balances/add", Some(add)).await;
    admin.capture(&hold, json!(400)).await.ok();
    assert_eq!(admin.position(&card).await, "5 0 5");
    world.assert_ledger_is_clean().await;
}
