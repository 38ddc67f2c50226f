//! `POST /balances/withdraw`: taking money off a card, whatever its status.

use core_api::domain::{card::CardStatus, role::Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn a_withdrawal_takes_all_that_is_available_and_not_a_cent_more_in_every_status() {
    let (_world, admin) = World::with_admin().await;
    for status in CardStatus::ALL {
        let card = admin.given_card_with(json!(500)).await;
        admin.given_hold(&card, json!(120)).await;
        let steps: &[&str] = match status {
            // A card that held money cannot become inactive again.
            CardStatus::Inactive | CardStatus::Active => &[],
            CardStatus::Blocked => &["blocked"],
            CardStatus::Cancelled => &["blocked", "cancelled"],
        };
        for step in steps {
            admin.set_status(&card, step).await.ok();
        }
        let problem = admin.withdraw(&card, json!(380.01)).await.problem(409, "insufficient_funds");
        assert_eq!(problem["detail"], "The card has 380 available, which is less than this takes.");
        assert_eq!(admin.position(&card).await, "500 120 380", "{status:?}");
        let answer = admin.withdraw(&card, json!(380)).await.ok();
        let movement = admin.movements(&card).await[0].clone();
        assert_eq!(answer, json!({"cardId": card, "balance": 120, "available": 0, "movementId": movement["id"]}));
        assert_eq!(
            (&movement["amount"], &movement["type"], &movement["description"]),
            (&json!(-380), &json!("withdrawal"), &json!("Withdrawal"))
        );
        assert_eq!((&movement["balanceAfter"], &movement["authorizationId"]), (&json!(120), &Value::Null));
        admin.withdraw(&card, json!(0.01)).await.problem(409, "insufficient_funds");
        assert_eq!(admin.position(&card).await, "120 120 0", "{status:?}");
    }
    let card = admin.given_card().await;
    admin.add(&card, json!(5)).await.ok();
    admin.withdraw(&card, json!(5)).await.ok();
    assert_eq!((&admin.card(&card).await["status"], admin.position(&card).await.as_str()), (&json!("inactive"), "0 0 0"));
}

#[tokio::test]
async fn a_withdrawal_says_what_it_is_for_and_a_top_up_what_is_available() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let body = json!({"cardId": card, "amount": 15.5, "description": "Back to the budget"});
    let answer = admin.post("/balances/withdraw", body).await.ok();
    assert_eq!((&answer["balance"], &answer["available"]), (&json!(484.5), &json!(484.5)));
    assert_eq!(admin.movements(&card).await[0]["description"], "Back to the budget");
    admin.given_hold(&card, json!(400)).await;
    let answer = admin.add(&card, json!(0.5)).await.ok();
    assert_eq!((&answer["balance"], &answer["available"]), (&json!(485), &json!(85)));
}

#[tokio::test]
async fn an_invalid_or_forbidden_withdrawal_leaves_nothing_behind() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let before = world.payment_rows().await;
    for (body, fault) in [
        (json!({"amount": 1}), "cardId: required"),
        (json!({"cardId": 5, "amount": 1}), "cardId: wrong_type"),
        (json!({"cardId": card}), "amount: required"),
        (json!({"cardId": card, "amount": 0}), "amount: not_positive"),
        (json!({"cardId": card, "amount": -1}), "amount: not_positive"),
        (json!({"cardId": card, "amount": 0.001}), "amount: too_many_decimals"),
        (json!({"cardId": card, "amount": 1, "description": " "}), "description: blank"),
        (json!({"cardId": card, "amount": 1, "description": "x".repeat(201)}), "description: too_long"),
    ] {
        assert_eq!(admin.post("/balances/withdraw", body).await.field_errors(), [fault]);
    }
    admin.withdraw("card_001", json!(1)).await.problem(404, "card_not_found");
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", Role::Viewer).await;
    viewer.withdraw(&card, json!(1)).await.problem(403, "insufficient_permissions");
    assert_eq!(world.payment_rows().await, before);
    assert_eq!(admin.position(&card).await, "500 0 500");
}

#[tokio::test]
async fn under_a_key_a_withdrawal_happens_once() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let body = json!({"cardId": card, "amount": 300});
    let first = admin.keyed("w", Method::POST, "/balances/withdraw", &body).await;
    let again = admin.keyed("w", Method::POST, "/balances/withdraw", &body).await;
    assert_eq!((again.status, &again.text, again.header("idempotent-replayed")), (200, &first.text, Some("true")));
    let refused = admin.keyed("r", Method::POST, "/balances/withdraw", &body).await;
    admin.add(&card, json!(500)).await.ok();
    assert_eq!(admin.keyed("r", Method::POST, "/balances/withdraw", &body).await.text, refused.text);
    refused.problem(409, "insufficient_funds");
    assert_eq!(admin.position(&card).await, "700 0 700");
}
