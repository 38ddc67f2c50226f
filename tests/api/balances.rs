//! Top-ups over HTTP, exact from the bytes sent to the database and back.

use core_api::domain::card::CardStatus;
use reqwest::Method;
use serde_json::json;

use crate::support::{Actor, World};

/// Adds an amount in exactly this notation, and returns the balance exactly as it was written in the answer.
async fn add(actor: &Actor, card: &str, amount: &str) -> String {
    let reply = actor.send(Method::POST, "/balances/add", format!("{{\"cardId\":\"{card}\",\"amount\":{amount}}}")).await;
    assert_eq!(reply.status, 200, "{amount}: {}", reply.text);
    let (_, balance) = reply.text.split_once("\"balance\":").expect("a balance");
    balance.split([',', '}']).next().expect("a number").to_owned()
}

#[tokio::test]
async fn a_top_up_returns_the_balance_and_records_a_movement() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let added = admin.add(&card, json!(100)).await.ok();
    let movement = added["movementId"].clone();
    assert!(movement.as_str().is_some_and(|id| id.starts_with("mov_")));
    assert_eq!(added, json!({"cardId": card, "balance": 100, "available": 100, "movementId": movement}));
    assert_eq!(admin.card(&card).await["balance"], 100);
    let money = json!({"cardId": card, "balance": 100, "currency": "USD", "held": 0, "available": 100});
    assert_eq!(admin.get(&format!("/balances/{card}")).await.ok(), money);
    let movements = admin.movements(&card).await;
    assert_eq!(movements.len(), 1);
    assert_eq!((&movements[0]["id"], &movements[0]["description"]), (&movement, &json!("Balance top-up")));
}

#[tokio::test]
async fn amounts_round_trip_exactly() {
    let (_world, admin) = World::with_admin().await;
    for (amounts, balance) in [
        (&["0.1", "0.2"][..], "0.30"),
        (&["100"], "100"),
        (&["15.50"], "15.50"),
        (&["15.5"], "15.50"),
        (&["1e2"], "100"),
        (&["1550e-2"], "15.50"),
        (&["0.01"], "0.01"),
        (&["12345678901234.56"], "12345678901234.56"),
        (&["90071992547409.91"], "90071992547409.91"),
        (&["90071992547409.90", "0.01"], "90071992547409.91"),
    ] {
        let card = admin.given_card().await;
        let mut answered = String::new();
        for amount in amounts {
            answered = add(&admin, &card, amount).await;
        }
        assert_eq!(answered, balance, "{amounts:?}");
        let details = admin.get(&format!("/cards/{card}")).await.text;
        assert!(details.contains(&format!("\"balance\":{balance},")), "{details}");
    }
}

#[tokio::test]
async fn an_amount_is_a_positive_bounded_number_with_at_most_two_decimals() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for (amount, code) in [
        ("\"100\"", "wrong_type"),
        ("true", "wrong_type"),
        ("[100]", "wrong_type"),
        ("{\"$serde_json::private::Number\":\"5\"}", "wrong_type"),
        ("null", "required"),
        ("0", "not_positive"),
        ("-0", "not_positive"),
        ("0.00", "not_positive"),
        ("-5", "not_positive"),
        ("1.005", "too_many_decimals"),
        ("0.001", "too_many_decimals"),
        ("1e-3", "too_many_decimals"),
        ("0.30000000000000004", "too_many_decimals"),
        ("1e400", "out_of_range"),
        ("90071992547409.92", "out_of_range"),
        ("1e99999999999999999999", "out_of_range"),
    ] {
        let reply = admin.send(Method::POST, "/balances/add", format!("{{\"cardId\":\"{card}\",\"amount\":{amount}}}")).await;
        assert_eq!(reply.field_errors(), [format!("amount: {code}")], "{amount}");
    }
    assert_eq!(admin.card(&card).await["balance"], 0);
    assert!(admin.movements(&card).await.is_empty());
}

#[tokio::test]
async fn only_inactive_and_active_cards_can_be_topped_up() {
    let (_world, admin) = World::with_admin().await;
    for status in CardStatus::ALL {
        let refusal = match status {
            CardStatus::Inactive | CardStatus::Active => None,
            CardStatus::Blocked => Some("card_blocked"),
            CardStatus::Cancelled => Some("card_cancelled"),
        };
        let card = admin.given_card_in(status).await;
        let reply = admin.add(&card, json!(1)).await;
        match refusal {
            None => assert_eq!(reply.ok()["balance"], 1, "{status:?}"),
            Some(code) => {
                reply.problem(409, code);
                assert_eq!((admin.card(&card).await["balance"].clone(), admin.movements(&card).await.len()), (json!(0), 0));
            }
        }
    }
}

#[tokio::test]
async fn a_top_up_cannot_exceed_the_maximum_balance() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    add(&admin, &card, "90071992547409.91").await;
    admin.add(&card, json!(0.01)).await.problem(409, "balance_limit_exceeded");
    assert_eq!(admin.movements(&card).await.len(), 1);
}

#[tokio::test]
async fn an_unknown_card_is_404_and_a_card_id_of_the_wrong_type_400() {
    let (_world, admin) = World::with_admin().await;
    admin.add("card_001", json!(1)).await.problem(404, "card_not_found");
    admin.get("/balances/card_001").await.problem(404, "card_not_found");
    let reply = admin.post("/balances/add", json!({"cardId": 5, "amount": 1})).await;
    assert_eq!(reply.field_errors(), ["cardId: wrong_type"]);
}
