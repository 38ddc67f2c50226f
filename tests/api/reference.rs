//! The integration example of the published reference, request by request, and the mistakes that it lists.

use core_api::domain::card::CardStatus;
use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn the_integration_example_ends_with_an_assigned_funded_active_card() {
    let world = World::new().await;

    // 1. Login
    let login = json!({"email": "admin@company.com", "password": "secure_password"});
    let login = world.anonymous().post("/auth/login", login).await.ok();
    let company = world.anonymous().with_token(login["token"].as_str().expect("a token"));

    // 2. Create customer
    let customer = company.post("/customers", json!({"name": "Juan Perez", "email": "juan@email.com"})).await.ok();
    let customer = customer["customerId"].as_str().expect("an id").to_owned();

    // 3. Create virtual card
    let card = company.post("/cards", json!({"currency": "USD"})).await.ok();
    let card = card["cardId"].as_str().expect("an id").to_owned();

    // 4. Assign card to customer
    company.post("/cards/assign", json!({"cardId": card, "customerId": customer})).await.ok();

    // 5. Add balance
    company.post("/balances/add", json!({"cardId": card, "amount": 500})).await.ok();

    // 6. Activate card
    company.patch("/cards/status", json!({"cardId": card, "status": "active"})).await.ok();

    let details = company.card(&card).await;
    let state = ["status", "balance", "customerId", "currency"].map(|name| details[name].clone());
    assert_eq!(state, [json!("active"), json!(500), json!(customer), json!("USD")]);
}

#[tokio::test]
async fn the_documented_common_mistakes_get_the_documented_statuses() {
    let (world, admin) = World::with_admin().await;
    let customer = admin.given_customer().await;
    let card = admin.given_card_in(CardStatus::Active).await;
    admin.assign(&card, &customer).await.ok();

    world.anonymous().get("/customers").await.problem(401, "unauthenticated");
    admin.post("/customers", json!({"name": "Juan Perez"})).await.problem(400, "validation_failed");
    admin.add(&card, json!("100")).await.problem(400, "validation_failed");
    admin.set_status(&card, "pending").await.problem(400, "validation_failed");
    admin.get("/customers/cus_001").await.problem(404, "customer_not_found");
    let other = admin.given_customer().await;
    admin.assign(&card, &other).await.problem(409, "card_already_assigned");

    // "Check if card is already assigned", "Activate card first", "Now add balance"
    assert_eq!(admin.card(&card).await["customerId"], Value::String(customer));
    admin.set_status(&card, "blocked").await.ok();
    admin.add(&card, json!(100)).await.problem(409, "card_blocked");
    admin.set_status(&card, "active").await.ok();
    admin.add(&card, json!(100)).await.ok();
}
