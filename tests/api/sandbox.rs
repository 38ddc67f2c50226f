//! Purchases and refunds, which exist only in the sandbox.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core_api::{config::Environment, domain::card::CardStatus};
use serde_json::json;

use crate::support::{Database, World};

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
