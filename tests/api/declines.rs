//! Declines: each code with every check and its numbers, which one is told of several, and what is kept.

use core_api::domain::card::CardStatus;
use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    payments::{entries, id, sums, with, without_entries},
};

fn status_check(result: &str, status: &str) -> Value {
    json!({"check": "card_status", "result": result, "value": status})
}

fn amount_check(result: &str, requested: &Value) -> Value {
    json!({"check": "amount", "result": result, "requested": requested})
}

fn funds_check(result: &str, [balance, held, available]: [i64; 3], requested: &Value) -> Value {
    json!({"check": "funds", "result": result, "balance": balance, "held": held, "available": available, "requested": requested})
}

/// Asserts what all declines share, and that they can be read later as they were answered.
async fn assert_declined(admin: &Actor, answer: &Value, code: &str, response_code: &str, retryable: bool) {
    let given = &answer["authorization"];
    assert_eq!(sums(given), "declined 0 0 0 0 0 0 0", "{code}");
    let decline = &given["decline"];
    assert_eq!((&decline["code"], &decline["limitId"], &decline["retryable"]), (&json!(code), &Value::Null, &json!(retryable)));
    assert!(decline["message"].as_str().is_some_and(|message| message.ends_with('.')), "{decline}");
    assert_eq!((&given["responseCode"], &given["decidedBy"]), (&json!(response_code), &json!("rules")), "{code}");
    for name in ["approvalCode", "expiresAt"] {
        assert_eq!(given.get(name), Some(&Value::Null), "{code}: {name}");
    }
    assert_eq!(entries(given), [format!("declined {} 0", given["requestedAmount"])], "{code}");
    let entry = &given["entries"][0];
    // They are the authorization's own.
    assert_eq!((&entry["checks"], &entry["decline"]), (&given["checks"], &given["decline"]));
    assert_eq!(admin.authorization(&id(given)).await, *given, "{code}");
}

#[tokio::test]
async fn a_card_that_is_not_active_declines_with_every_check() {
    let (_world, admin) = World::with_admin().await;
    for (status, code, retryable) in [
        (CardStatus::Cancelled, "card_cancelled", false),
        (CardStatus::Blocked, "card_blocked", true),
        (CardStatus::Inactive, "card_inactive", true),
    ] {
        let card = admin.given_card_in(status).await;
        let answer = admin.authorize(&card, json!(1)).await.ok();
        assert_declined(&admin, &answer, code, "62", retryable).await;
        let expected =
            json!([status_check("fail", status.name()), amount_check("pass", &json!(1)), funds_check("fail", [0, 0, 0], &json!(1)),]);
        assert_eq!(answer["authorization"]["checks"], expected);
        assert_eq!(answer["balance"], json!({"cardId": card, "currency": "USD", "balance": 0, "held": 0, "available": 0}));
        assert!(admin.movements(&card).await.is_empty());
    }
}

#[tokio::test]
async fn a_decline_for_currency_amount_or_funds_tells_its_numbers() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    admin.given_hold(&card, json!(120)).await;
    let currency = |result: &str, value: &str| json!({"check": "currency", "result": result, "value": value, "expected": "USD"});
    let funds = |result: &str, requested: &Value| funds_check(result, [500, 120, 380], requested);
    let active = || status_check("pass", "active");
    for (amount, members, code, response_code, retryable, checks) in [
        (
            json!(380),
            json!({"currency": "EUR"}),
            "currency_mismatch",
            "12",
            false,
            vec![active(), currency("fail", "EUR"), amount_check("pass", &json!(380)), funds("pass", &json!(380))],
        ),
        (
            json!(1),
            json!({"currency": "GBP"}),
            "currency_mismatch",
            "12",
            false,
            vec![active(), currency("fail", "GBP"), amount_check("pass", &json!(1)), funds("pass", &json!(1))],
        ),
        (json!(0), json!({}), "amount_invalid", "13", false, vec![active(), amount_check("fail", &json!(0)), funds("pass", &json!(0))]),
        (
            json!(5),
            json!({"kind": "verification"}),
            "amount_invalid",
            "13",
            false,
            vec![active(), amount_check("fail", &json!(5)), funds("pass", &json!(5))],
        ),
        (
            json!(380.01),
            json!({"currency": "USD"}),
            "insufficient_funds",
            "51",
            true,
            vec![active(), currency("pass", "USD"), amount_check("pass", &json!(380.01)), funds("fail", &json!(380.01))],
        ),
        (
            json!(9_000_000_000_i64),
            json!({"kind": "cash"}),
            "insufficient_funds",
            "51",
            true,
            vec![active(), amount_check("pass", &json!(9_000_000_000_i64)), funds("fail", &json!(9_000_000_000_i64))],
        ),
    ] {
        let answer = admin.authorize_with(&card, amount.clone(), members).await.ok();
        assert_declined(&admin, &answer, code, response_code, retryable).await;
        assert_eq!(answer["authorization"]["requestedAmount"], amount);
        assert_eq!(answer["authorization"]["checks"], Value::Array(checks), "{code}");
    }
    assert_eq!(admin.position(&card).await, "500 120 380");
    // The last cent that is available is not too much.
    admin.given_hold(&card, json!(380)).await;
    assert_eq!(admin.position(&card).await, "500 500 0");
}

#[tokio::test]
async fn of_several_faults_the_first_in_the_order_of_precedence_is_told_and_all_are_in_the_checks() {
    let (_world, admin) = World::with_admin().await;
    let [poor, rich] = [json!(0), json!(500)];
    for (statuses, balance, amount, members, code, failed) in [
        (
            &["blocked", "cancelled"][..],
            &poor,
            json!(0),
            json!({"currency": "EUR"}),
            "card_cancelled",
            &["card_status", "currency", "amount"][..],
        ),
        (&["blocked"], &poor, json!(0), json!({"currency": "EUR"}), "card_blocked", &["card_status", "currency", "amount"]),
        (&["blocked"], &poor, json!(1), json!({}), "card_blocked", &["card_status", "funds"]),
        (&["blocked"], &rich, json!(1), json!({"kind": "verification"}), "card_blocked", &["card_status", "amount"]),
        (&[], &poor, json!(1), json!({"currency": "EUR"}), "currency_mismatch", &["currency", "funds"]),
        (&[], &poor, json!(0), json!({"currency": "EUR"}), "currency_mismatch", &["currency", "amount"]),
        (&[], &rich, json!(0), json!({"currency": "COP"}), "currency_mismatch", &["currency", "amount"]),
        (&[], &poor, json!(1), json!({"kind": "verification"}), "amount_invalid", &["amount", "funds"]),
        (&[], &poor, json!(1), json!({"kind": "verification", "currency": "EUR"}), "currency_mismatch", &["currency", "amount", "funds"]),
    ] {
        let card = admin.given_card_in(CardStatus::Active).await;
        if *balance != 0 {
            admin.add(&card, balance.clone()).await.ok();
        }
        for status in statuses {
            admin.set_status(&card, status).await.ok();
        }
        let given = admin.authorize_with(&card, amount, members.clone()).await.ok()["authorization"].clone();
        assert_eq!(given["decline"]["code"], code, "{statuses:?} {members}");
        let checks = given["checks"].as_array().expect("checks").iter().filter(|check| check["result"] == "fail");
        assert_eq!(checks.map(|check| check["check"].clone()).collect::<Vec<_>>(), failed, "{given}");
    }
}

/// Every code of the table, with what a network is told and whether another try can succeed.
const CODES: [(&str, &str, bool); 24] = [
    ("card_cancelled", "62", false),
    ("card_blocked", "62", true),
    ("card_inactive", "62", true),
    ("customer_blocked", "62", true),
    ("authorization_not_open", "84", false),
    ("currency_mismatch", "12", false),
    ("amount_invalid", "13", false),
    ("payment_count_reached", "65", false),
    ("merchant_locked", "57", false),
    ("merchant_blocked", "57", false),
    ("merchant_not_allowed", "57", false),
    ("merchant_category_blocked", "57", false),
    ("merchant_category_not_allowed", "57", false),
    ("merchant_country_blocked", "57", false),
    ("merchant_country_not_allowed", "57", false),
    ("entry_mode_not_allowed", "57", false),
    ("limit_transaction_exceeded", "61", true),
    ("limit_amount_exceeded", "61", true),
    ("limit_count_exceeded", "65", true),
    ("insufficient_funds", "51", true),
    ("declined_by_decision", "05", false),
    ("decision_timeout", "91", true),
    ("decision_error", "91", true),
    ("suspected_fraud", "59", false),
];

#[tokio::test]
async fn the_sandbox_can_force_every_decline() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    for (code, response_code, retryable) in CODES {
        for path in ["authorizations", "purchases"] {
            let answer =
                admin.network(path, json!({"cardId": card, "amount": 1, "forceDecline": code, "partialApproval": true})).await.ok();
            if code == "declined_by_decision" {
                // Whether another try can succeed depends on a reason that nobody gave.
                assert_eq!(
                    (&answer["authorization"]["decline"]["code"], &answer["authorization"]["responseCode"]),
                    (&json!(code), &json!("05"))
                );
            } else {
                assert_declined(&admin, &answer, code, response_code, retryable).await;
            }
            let checks = answer["authorization"]["checks"].as_array().expect("checks");
            assert!(checks.contains(&json!({"check": "forced", "result": "fail"})), "{checks:?}");
        }
    }
    assert_eq!(admin.position(&card).await, "500 0 500");
    assert_eq!(admin.movements(&card).await.len(), 1);
}

#[tokio::test]
async fn an_increment_is_declined_by_the_card_the_status_or_the_funds_and_changes_nothing() {
    let (_world, admin) = World::with_admin().await;
    let open = |result: &str, status: &str| json!({"check": "authorization_open", "result": result, "value": status});
    let declined = async |hold: &str, amount: Value, code: &str, response_code: &str, retryable: bool, checks: Vec<Value>| {
        let before = admin.authorization(hold).await;
        let answer = admin.step(hold, "increments", json!({"amount": amount})).await.ok();
        let (entry, after) = (&answer["entry"], &answer["authorization"]);
        assert_eq!((&entry["kind"], &entry["amount"], &entry["heldAfter"]), (&json!("increment_declined"), &amount, &before["heldAmount"]));
        let decline = &entry["decline"];
        assert_eq!((&decline["code"], &decline["retryable"], &decline["limitId"]), (&json!(code), &json!(retryable), &Value::Null));
        assert_eq!(decline["responseCode"], response_code, "{decline}");
        assert_eq!(entry["checks"], Value::Array(checks), "{code}");
        assert_eq!(sums(after), sums(&before));
        for name in ["decline", "checks", "responseCode", "approvalCode", "expiresAt", "decidedBy"] {
            assert_eq!(after[name], before[name], "{name}");
        }
        let found = admin.authorization(hold).await;
        assert_eq!(found["entries"].as_array().and_then(|entries| entries.last()), Some(entry));
        assert_eq!(without_entries(&found), *after);
    };

    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let funds = |result: &str, requested: &Value| funds_check(result, [500, 100, 400], requested);
    let active = status_check("pass", "active");
    let too_much = json!(400.01);
    let checks = vec![active.clone(), open("pass", "pending"), funds("fail", &too_much)];
    declined(&hold, too_much, "insufficient_funds", "51", true, checks).await;
    admin.set_status(&card, "blocked").await.ok();
    let checks = vec![status_check("fail", "blocked"), open("pass", "pending"), funds("pass", &json!(1))];
    declined(&hold, json!(1), "card_blocked", "62", true, checks).await;
    admin.step(&hold, "reversals", json!({})).await.ok();
    // Blocked and closed: the card's status comes first.
    let free = |requested: &Value| funds_check("pass", [500, 0, 500], requested);
    declined(&hold, json!(1), "card_blocked", "62", true, vec![status_check("fail", "blocked"), open("fail", "reversed"), free(&json!(1))])
        .await;
    admin.set_status(&card, "active").await.ok();
    declined(&hold, json!(1), "authorization_not_open", "84", false, vec![active.clone(), open("fail", "reversed"), free(&json!(1))]).await;
    let checks = vec![active, open("fail", "reversed"), funds_check("fail", [500, 0, 500], &json!(501))];
    declined(&hold, json!(501), "authorization_not_open", "84", false, checks).await;
    admin.set_status(&card, "blocked").await.ok();
    admin.set_status(&card, "cancelled").await.ok();
    declined(
        &hold,
        json!(1),
        "card_cancelled",
        "62",
        false,
        vec![status_check("fail", "cancelled"), open("fail", "reversed"), free(&json!(1))],
    )
    .await;
    assert_eq!(admin.position(&card).await, "500 0 500");
}

#[tokio::test]
async fn a_single_message_that_is_declined_posts_nothing() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    for (members, code, response_code, retryable) in [
        (json!({"amount": 501}), "insufficient_funds", "51", true),
        (json!({"amount": 1, "currency": "EUR"}), "currency_mismatch", "12", false),
        (json!({"amount": 0}), "amount_invalid", "13", false),
    ] {
        let answer = admin.network("purchases", with(json!({"cardId": card}), members)).await.ok();
        assert_eq!(answer.get("movement"), Some(&Value::Null), "{answer}");
        assert_declined(&admin, &answer, code, response_code, retryable).await;
    }
    assert_eq!(admin.position(&card).await, "500 0 500");
    assert_eq!(admin.movements(&card).await.len(), 1);
}
