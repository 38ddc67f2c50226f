//! Purchases and refunds, which exist only in the sandbox.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core_api::{config::Environment, domain::card::CardStatus};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    Actor, Database, World,
    binary::{Process, core_api_on, signal},
};

#[tokio::test]
async fn a_purchase_returns_the_balance_and_its_movement() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    let posted = admin.purchase(&card, json!(20)).await.ok();
    assert_eq!((&posted["cardId"], &posted["balance"]), (&json!(card), &json!(80)));
    assert_eq!(posted["movement"], admin.movements(&card).await[0]);
}

#[tokio::test]
async fn only_an_active_card_can_pay() {
    let (_world, admin) = World::with_admin().await;
    for status in CardStatus::ALL {
        let card = admin.given_card_in(status).await;
        let reply = admin.purchase(&card, json!(1)).await;
        match status {
            CardStatus::Active => drop(reply.problem(409, "insufficient_funds")),
            CardStatus::Inactive | CardStatus::Blocked | CardStatus::Cancelled => {
                let problem = reply.problem(409, "card_not_active");
                assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(status.name())), "{problem}");
            }
        }
    }
    let card = admin.given_card_with(json!(5)).await;
    admin.purchase(&card, json!(5.01)).await.problem(409, "insufficient_funds");
    admin.purchase(&card, json!(5)).await.ok();
    assert_eq!(admin.card(&card).await["balance"], 0);
}

#[tokio::test]
async fn any_card_that_is_not_cancelled_can_be_refunded() {
    let (_world, admin) = World::with_admin().await;
    for status in CardStatus::ALL {
        let card = admin.given_card_in(status).await;
        let reply = admin.refund(&card, json!(1.5)).await;
        match status {
            CardStatus::Inactive | CardStatus::Active | CardStatus::Blocked => assert_eq!(reply.ok()["balance"], 1.5, "{status:?}"),
            CardStatus::Cancelled => drop(reply.problem(409, "card_cancelled")),
        }
    }
    let full = admin.given_card_in(CardStatus::Active).await;
    admin.add(&full, json!(90_071_992_547_409_i64)).await.ok();
    admin.refund(&full, json!(1)).await.problem(409, "balance_limit_exceeded");
}

#[tokio::test]
async fn a_description_is_required_and_the_card_must_exist() {
    let (_world, admin) = World::with_admin().await;
    for path in ["/sandbox/purchases", "/sandbox/refunds"] {
        let errors = admin.post(path, json!({"cardId": "card_001", "amount": 1, "description": " "})).await.field_errors();
        assert_eq!(errors, ["description: blank"]);
        admin.post(path, json!({"cardId": "card_001", "amount": 1, "description": "x"})).await.problem(404, "card_not_found");
    }
}

#[tokio::test]
async fn production_has_no_sandbox_routes_and_no_seeded_users() {
    let world = World::on(Database::empty().await, |settings| {
        settings.environment = Environment::Production;
        settings.auth.signing_keys = Some(format!("k1:{}", STANDARD.encode(rand::random::<[u8; 32]>())).into());
    })
    .await;
    for path in ["/sandbox/purchases", "/sandbox/refunds"] {
        world.anonymous().post(path, json!({})).await.problem(404, "route_not_found");
    }
    let login = world.anonymous().post("/auth/login", json!({"email": "test@example.com", "password": "test123"})).await;
    login.problem(401, "invalid_credentials");
    assert_eq!(world.database.number("select count(*) from users").await, 0);
}

/// What a start of the binary prints: its address, and the network key of each login.
fn greeting(database: &Database) -> (String, Vec<(String, String)>) {
    let mut process = Process::start(core_api_on(database).stdout(Stdio::piped()));
    let lines = BufReader::new(process.stdout.take().expect("a piped output")).lines().map(|line| line.expect("text"));
    let lines: Vec<String> = lines.take_while(|line| !line.starts_with("Ctrl-C")).collect();
    let keys = lines.iter().skip_while(|line| !line.starts_with("Network keys")).skip(1).take(2);
    let keys = keys
        .map(|line| line.trim().split_once(' ').expect("an email and a key"))
        .map(|(email, key)| (email.to_owned(), key.trim().to_owned()));
    let keys = keys.collect();
    signal(&process, Signal::SIGTERM);
    process.wait().expect("its end");
    (lines.join("\n"), keys)
}

#[tokio::test]
async fn every_start_prints_the_same_network_key_of_each_account_and_does_not_store_it() {
    let world = World::new().await;
    let (first, keys) = greeting(&world.database);
    assert_eq!(keys.len(), 2, "{first}");
    for ((email, key), login) in keys.iter().zip([world.admin().await, world.other_admin().await]) {
        assert!(["test@example.com", "admin@company.com"].contains(&email.as_str()), "{first}");
        let gateway = world.anonymous().with_token(key);
        gateway.get("/cards").await.problem(403, "insufficient_permissions");
        let seeded = login.get("/api-keys").await.ok();
        assert_eq!((&seeded["apiKeys"][0]["name"], &seeded["apiKeys"][0]["role"]), (&json!("Sandbox gateway"), &json!("network")));
        let id = seeded["apiKeys"][0]["apiKeyId"].as_str().expect("an id");
        assert!(key.contains(id.strip_prefix("key_").expect("an id")), "{key} is not the account's {id}");
    }
    let rows = "select count(*) from api_keys";
    assert_eq!((greeting(&world.database).1, world.database.number(rows).await), (keys.clone(), 2));
    // Another sandbox has other keys.
    let other = Database::empty().await;
    other.migrate().await;
    assert!(greeting(&other).1.iter().all(|other| !keys.contains(other)));

    // A key that somebody has revoked or rolled is not made anew.
    let id_of = async |admin: &Actor| admin.get("/api-keys").await.ok()["apiKeys"][0]["apiKeyId"].as_str().expect("an id").to_owned();
    let (admin, other) = (world.admin().await, world.other_admin().await);
    admin.delete(&format!("/api-keys/{}", id_of(&admin).await)).await.ok();
    other.post(&format!("/api-keys/{}/roll", id_of(&other).await), json!({})).await.ok();
    let (_, after) = greeting(&world.database);
    assert!(after.iter().all(|(_, key)| key == "revoked or rolled"), "{after:?}");
    assert_eq!(world.database.number(rows).await, 2);
}
