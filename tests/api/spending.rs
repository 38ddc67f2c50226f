//! Payments of cards with controls and limits: what declines them and how it explains itself, what is spent, and what
//! happens to the card.

use core_api::domain::{card::CardStatus, id::CardId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Actor, World,
    binary::core_api_on,
    payments::{id, sums},
};

async fn control(admin: &Actor, card: &str, controls: Value) {
    admin.patch(&format!("/cards/{card}/controls"), controls).await.ok();
}

async fn controls(admin: &Actor, card: &str) -> Value {
    admin.get(&format!("/cards/{card}/controls")).await.ok()
}

async fn limit(admin: &Actor, card: &str, limit: Value) -> Value {
    admin.post(&format!("/cards/{card}/limits"), limit).await.ok()
}

async fn left(admin: &Actor, card: &str) -> Value {
    admin.get(&format!("/cards/{card}/limits")).await.ok()
}

/// The decline code of an authorisation, or its status.
fn outcome(answer: &Value) -> &str {
    let authorization = &answer["authorization"];
    authorization["decline"]["code"].as_str().unwrap_or_else(|| authorization["status"].as_str().expect("a status"))
}

fn merchant(merchant_id: &str, mcc: &str, country: &str) -> Value {
    json!({"merchant": {"id": merchant_id, "mcc": mcc, "country": country}})
}

#[tokio::test]
async fn a_decline_by_a_limit_tells_what_is_left() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let travel = limit(&admin, &card, json!({"name": "Travel", "interval": "month", "amount": 300})).await;
    admin.given_hold(&card, json!(287.50)).await;
    let answer = admin.authorize(&card, json!(40)).await.ok();
    let authorization = &answer["authorization"];
    assert_eq!(
        authorization["decline"],
        json!({
            "code": "limit_amount_exceeded",
            "message": "The limit \"Travel\" of 300 a month has 12.50 left; 40 was asked for.",
            "limitId": travel["limitId"],
            "retryable": true,
            "responseCode": "61",
        })
    );
    assert_eq!(
        authorization["checks"],
        json!([
            {"check": "card_status", "result": "pass", "value": "active"},
            {"check": "amount", "result": "pass", "requested": 40},
            {
                "check": "limit", "result": "fail", "limitId": travel["limitId"], "interval": "month",
                "windowStart": travel["windowStart"], "windowEnd": travel["windowEnd"],
                "limit": 300, "used": 287.50, "remaining": 12.50, "requested": 40,
            },
            {"check": "funds", "result": "pass", "balance": 500, "held": 287.50, "available": 212.50, "requested": 40},
        ])
    );
    assert_eq!(admin.authorization(&id(authorization)).await, *authorization);
    let left = left(&admin, &card).await;
    assert_eq!((&left["available"], &left["spendableNow"]), (&json!(212.50), &json!(12.50)));
    // As much as the limit leaves is approved where a part will do.
    let part = admin.authorize_with(&card, json!(40), json!({"partialApproval": true})).await.ok();
    assert_eq!(
        (sums(&part["authorization"]).as_str(), &part["authorization"]["responseCode"]),
        ("pending 12.5 12.5 0 0 0 0 0", &json!("10"))
    );
}

#[tokio::test]
async fn limits_are_told_in_the_order_of_their_precedence() {
    let (_world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card_with(json!(50)).await, admin.given_customer().await);
    admin.assign(&card, &customer).await.ok();
    let of_customer = json!({"currency": "USD", "interval": "day", "amount": 60, "count": 0});
    admin.post(&format!("/customers/{customer}/limits"), of_customer).await.ok();
    limit(&admin, &card, json!({"interval": "month", "amount": 70, "count": 5})).await;
    limit(&admin, &card, json!({"interval": "transaction", "amount": 80})).await;
    control(&admin, &card, json!({"blockedCategories": ["7995"]})).await;
    for (amount, mcc, code) in [
        (90, "7995", "merchant_category_blocked"),
        (90, "5411", "limit_transaction_exceeded"),
        (80, "5411", "limit_amount_exceeded"),
        (65, "5411", "limit_amount_exceeded"),
        (55, "5411", "limit_count_exceeded"),
    ] {
        let answer = admin.authorize_with(&card, json!(amount), merchant("SHOP", mcc, "CO")).await.ok();
        assert_eq!(outcome(&answer), code, "{amount} {mcc}");
    }
    // A verification spends nothing, and is still of a place.
    let verify = |mcc| json!({"kind": "verification", "merchant": {"mcc": mcc}});
    assert_eq!(outcome(&admin.authorize_with(&card, json!(0), verify("5411")).await.ok()), "verified");
    assert_eq!(outcome(&admin.authorize_with(&card, json!(0), verify("7995")).await.ok()), "merchant_category_blocked");
}

#[tokio::test]
async fn a_card_is_locked_to_the_first_merchant_that_is_approved() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    control(&admin, &card, json!({"merchantLock": "first"})).await;
    assert_eq!(outcome(&admin.authorize(&card, json!(5)).await.ok()), "merchant_locked", "it does not say where");
    assert_eq!(outcome(&admin.authorize_with(&card, json!(900), merchant("BIG", "5411", "CO")).await.ok()), "insufficient_funds");
    let verification = json!({"kind": "verification", "merchant": {"id": "CHECK"}});
    assert_eq!(outcome(&admin.authorize_with(&card, json!(0), verification).await.ok()), "verified");
    assert_eq!(controls(&admin, &card).await["merchantLock"], "first", "nothing was paid yet");
    assert_eq!(outcome(&admin.authorize_with(&card, json!(5), merchant("SHOP", "5411", "CO")).await.ok()), "pending");
    assert_eq!(controls(&admin, &card).await["merchantLock"], json!({"merchantId": "SHOP"}));
    assert_eq!(outcome(&admin.authorize_with(&card, json!(5), merchant("OTHER", "5411", "CO")).await.ok()), "merchant_locked");
    assert_eq!(outcome(&admin.authorize_with(&card, json!(5), merchant("SHOP", "5999", "US")).await.ok()), "pending");
}

#[tokio::test]
async fn the_last_payment_cancels_the_card_and_can_still_be_captured() {
    let (world, admin) = World::with_admin().await;
    let admin = admin.with_feed().await;
    let card = admin.given_card_with(json!(500)).await;
    control(&admin, &card, json!({"maxPayments": 2})).await;
    // Probes of up to 1.00 are no payments until they are captured.
    let probe = admin.given_hold(&card, json!(1)).await;
    admin.given_hold(&card, json!(0.50)).await;
    assert_eq!(controls(&admin, &card).await["payments"], 0);
    admin.capture(&probe, json!(1)).await.ok();
    assert_eq!(controls(&admin, &card).await["payments"], 1);
    let last = admin.given_hold(&card, json!(100)).await;
    assert_eq!(
        (admin.card(&card).await["status"].clone(), controls(&admin, &card).await["payments"].clone()),
        (json!("cancelled"), json!(2))
    );
    assert_eq!(outcome(&admin.authorize(&card, json!(5)).await.ok()), "card_cancelled");
    assert_eq!(sums(&admin.capture(&last, json!(100)).await.ok()["authorization"]), "captured 100 0 100 0 0 0 0");
    let events = admin.events(&format!("cardId={card}")).await;
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let approved = types.iter().rposition(|event| *event == "authorization.approved").expect("an approval");
    assert_eq!(types[approved + 1], "card.cancelled", "{types:?}");
    let sequences: Vec<i64> = events.iter().map(|event| event["sequence"].as_i64().expect("a number")).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_purchase_in_the_sandbox_obeys_and_its_refusal_carries_every_check() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    let daily = limit(&admin, &card, json!({"interval": "day", "amount": 30})).await;
    admin.purchase(&card, json!(25)).await.ok();
    let refused = admin.purchase(&card, json!(10)).await.problem(409, "limit_amount_exceeded");
    assert_eq!(refused["decline"]["limitId"], daily["limitId"]);
    assert_eq!((&refused["checks"][0]["check"], &refused["checks"][0]["remaining"]), (&json!("limit"), &json!(5)));
    assert_eq!(refused["detail"], "A limit of 30 a day has 5 left; 10 was asked for.");
    // The order of the checks is that of authorisations: what the card has is told last, and its status first.
    admin.purchase(&card, json!(90)).await.problem(409, "limit_amount_exceeded");
    control(&admin, &card, json!({"allowedCategories": ["5411"]})).await;
    admin.purchase(&card, json!(1)).await.problem(409, "merchant_category_not_allowed");
    admin.set_status(&card, "blocked").await.ok();
    admin.purchase(&card, json!(1)).await.problem(409, "card_not_active");
    assert_eq!(left(&admin, &card).await["limits"][0]["used"], json!(25));
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn what_the_network_posts_consumes_and_may_exceed() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(1_000)).await;
    limit(&admin, &card, json!({"interval": "month", "amount": 100, "count": 2})).await;
    limit(&admin, &card, json!({"interval": "year", "amount": 400, "restoreOnRefund": true, "categories": ["5411"]})).await;
    let used = async || {
        let left = left(&admin, &card).await;
        let each = left["limits"].as_array().expect("a list").iter();
        each.map(|limit| format!("{} {} {}", limit["used"], limit["usedCount"], limit["remaining"])).collect::<Vec<_>>()
    };
    let hold = id(&admin.authorize_with(&card, json!(60), merchant("SHOP", "5411", "CO")).await.ok()["authorization"]);
    assert_eq!(used().await, ["60 1 40", "60 1 340"]);
    let captured = admin.capture(&hold, json!(90)).await.ok();
    assert_eq!(used().await, ["90 1 10", "90 1 310"], "the excess is no payment of its own");
    let forced = admin.force_post(&card, json!(30)).await.ok();
    assert_eq!(used().await, ["120 2 0", "90 1 310"], "a filter does not count what does not say");
    admin.network_refund(&card, json!(50), json!({"authorizationId": hold})).await.ok();
    assert_eq!(used().await, ["120 2 0", "40 1 360"]);
    admin.network(&format!("captures/{}/reversals", id(&captured["movement"])), json!({"amount": 40})).await.ok();
    assert_eq!(used().await, ["80 2 20", "0 1 400"]);
    admin.network(&format!("captures/{}/reversals", id(&forced["movement"])), json!({})).await.ok();
    assert_eq!(used().await, ["50 2 50", "0 1 400"]);
    let standing_in = admin.authorize_with(&card, json!(70), json!({"standIn": true})).await.ok();
    assert_eq!((outcome(&standing_in), used().await[0].as_str()), ("pending", "120 3 0"));
    let single = json!({"cardId": card, "amount": 5});
    assert_eq!(outcome(&admin.network("purchases", single).await.ok()), "limit_amount_exceeded");
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_preview_decides_as_the_payment_and_leaves_nothing() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    limit(&admin, &card, json!({"interval": "day", "amount": 30})).await;
    let rows = world.database.rows().await;
    for amount in [20, 40, 200] {
        let preview = admin.post(&format!("/cards/{card}/authorizations/preview"), json!({"amount": amount})).await.ok();
        let (status, approved) = if amount == 20 { ("pending", 20) } else { ("declined", 0) };
        assert_eq!((&preview["status"], &preview["authorizedAmount"]), (&json!(status), &json!(approved)), "{preview}");
        assert_eq!(preview["checks"].as_array().map(Vec::len), Some(4), "{preview}");
    }
    assert_eq!(world.database.rows().await, rows, "something was written");
    let preview = admin.post(&format!("/cards/{card}/authorizations/preview"), json!({"amount": 40})).await.ok();
    let answer = admin.authorize(&card, json!(40)).await.ok();
    for name in ["decline", "checks", "responseCode", "status"] {
        assert_eq!(preview[name], answer["authorization"][name], "{name}");
    }
    admin.post(&format!("/cards/{}/authorizations/preview", CardId::new()), json!({"amount": 1})).await.problem(404, "card_not_found");
    let inactive = admin.given_card_in(CardStatus::Inactive).await;
    let preview = admin.post(&format!("/cards/{inactive}/authorizations/preview"), json!({"amount": 1})).await.ok();
    assert_eq!(preview["decline"]["code"], "card_inactive");
}

#[tokio::test]
async fn verify_ledger_finds_usage_that_its_payments_do_not_explain() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    let limit = limit(&admin, &card, json!({"interval": "month", "amount": 30})).await;
    admin.given_hold(&card, json!(20)).await;
    world.assert_ledger_is_clean().await;
    for tampering in [
        "update limit_usage set amount = amount + 1",
        "update limit_usage set count = count - 1",
        "delete from limit_usage",
        "update limit_usage set window_start = window_start - interval '1 second'",
        "update limit_usage set window_start = window_start + interval '1 second'",
    ] {
        let limit_id =
            Uuid::from(limit["limitId"].as_str().and_then(|id| id.parse::<core_api::domain::id::LimitId>().ok()).expect("an id"));
        world.database.execute("create table kept as select * from limit_usage").await;
        world.database.execute(tampering).await;
        let output = core_api_on(&world.database).arg("verify-ledger").output().expect("verify-ledger runs");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && report.contains("was spent of lim_"), "{tampering} of {limit_id}: {report}");
        world.database.execute("delete from limit_usage; insert into limit_usage select * from kept; drop table kept").await;
    }
    world.assert_ledger_is_clean().await;
}
