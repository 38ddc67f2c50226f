//! What changes a hold without posting money: increments, adjustments, reversals and releases.

use core_api::domain::role::Role;
use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    payments::{entries, id, position, sums, without_entries},
};

/// The entry of an answer, after checking that it is the newest of the authorisation, and that the card and the
/// authorisation are found as the answer tells them.
async fn entry(admin: &Actor, answer: &Value) -> Value {
    let authorization = &answer["authorization"];
    let found = admin.authorization(&id(authorization)).await;
    assert_eq!(found["entries"].as_array().and_then(|entries| entries.last()), Some(&answer["entry"]));
    assert_eq!(without_entries(&found), *authorization);
    let card = authorization["cardId"].as_str().expect("an id");
    assert_eq!(admin.position(card).await, position(&answer["balance"]));
    answer["entry"].clone()
}

/// The kind, the amount, the hold after it and the reason of an entry.
fn told(entry: &Value) -> (Value, Value, Value, Value) {
    (entry["kind"].clone(), entry["amount"].clone(), entry["heldAfter"].clone(), entry["reason"].clone())
}

/// An authorisation of 100 on a card of 500, captured whole; and one each that is reversed, expired, verified and declined.
async fn closed(admin: &Actor) -> Vec<(&'static str, String)> {
    let card = admin.given_card_with(json!(600)).await;
    let captured = admin.given_hold(&card, json!(100)).await;
    admin.capture(&captured, json!(100)).await.ok();
    let reversed = admin.given_hold(&card, json!(100)).await;
    admin.step(&reversed, "reversals", json!({})).await.ok();
    let expired = admin.given_hold(&card, json!(100)).await;
    admin.expire(&expired).await.ok();
    let verified = id(&admin.authorize_with(&card, json!(0), json!({"kind": "verification"})).await.ok()["authorization"]);
    let declined = id(&admin.authorize(&card, json!(501)).await.ok()["authorization"]);
    vec![("captured", captured), ("reversed", reversed), ("expired", expired), ("verified", verified), ("declined", declined)]
}

#[tokio::test]
async fn an_increment_holds_more_and_never_shortens_the_time() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let answer = admin.step(&hold, "increments", json!({"amount": 400})).await.ok();
    assert_eq!(told(&entry(&admin, &answer).await), (json!("increment"), json!(400), json!(500), Value::Null));
    assert_eq!(sums(&answer["authorization"]), "pending 500 500 0 0 0 0 0");
    assert_eq!(position(&answer["balance"]), "500 500 0");
    assert_eq!(answer["authorization"]["requestedAmount"], 100);
    assert_eq!((&answer["authorization"]["sequence"], &answer["entry"]["sequence"]), (&json!(5), &json!(5)));

    // A purchase is held for 7 days, a preauthorisation for 30, counted from its newest increment.
    let card = admin.given_card_with(json!(500)).await;
    let days = "select round(extract(epoch from expires_at - now()) / 86400)::bigint from authorizations order by id desc limit 1";
    let in_days = |days: i64| async move { format!("update authorizations set expires_at = now() + interval '{days} days'") };
    for (kind, before, after) in [("purchase", 2, 7), ("purchase", 20, 20), ("preauthorization", 7, 30), ("preauthorization", 31, 31)] {
        let given = admin.authorize_with(&card, json!(1), json!({"kind": kind})).await.ok();
        world.database.execute(&in_days(before).await).await;
        admin.step(&id(&given["authorization"]), "increments", json!({"amount": 1})).await.ok();
        assert_eq!(world.database.number(days).await, after, "{kind} of {before}");
    }
}

#[tokio::test]
async fn an_adjustment_sets_the_hold_and_is_never_declined() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    for (amount, change, expected, left) in [
        (json!(120), json!(20), "pending 120 120 0 0 0 0 0", "500 120 380"),
        (json!(120), json!(0), "pending 120 120 0 0 0 0 0", "500 120 380"),
        (json!(70), json!(-50), "pending 120 70 0 0 50 0 0", "500 70 430"),
        (json!(600), json!(530), "pending 650 600 0 0 50 0 0", "500 600 -100"),
        (json!(0.5), json!(-599.5), "pending 650 0.5 0 0 649.5 0 0", "500 0.5 499.5"),
    ] {
        let answer = admin.step(&hold, "adjustments", json!({"amount": amount})).await.ok();
        assert_eq!(told(&entry(&admin, &answer).await), (json!("adjustment"), change, amount, Value::Null));
        assert_eq!(sums(&answer["authorization"]), expected);
        assert_eq!(position(&answer["balance"]), left);
    }
    // The fuel pump tells what was pumped, also of a card that is blocked meanwhile.
    admin.set_status(&card, "blocked").await.ok();
    let answer = admin.step(&hold, "adjustments", json!({"amount": 40})).await.ok();
    assert_eq!(sums(&answer["authorization"]), "pending 689.5 40 0 0 649.5 0 0");
    let answer = admin.step(&hold, "adjustments", json!({"amount": 0})).await.ok();
    assert_eq!(told(&entry(&admin, &answer).await), (json!("adjustment"), json!(-40), json!(0), Value::Null));
    assert_eq!(sums(&answer["authorization"]), "reversed 689.5 0 0 0 689.5 0 0");
    assert_eq!(position(&answer["balance"]), "500 0 500");

    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    admin.step(&hold, "captures", json!({"amount": 60, "final": false})).await.ok();
    let answer = admin.step(&hold, "adjustments", json!({"amount": 0})).await.ok();
    assert_eq!(sums(&answer["authorization"]), "captured 100 0 60 0 40 0 0");
    for (status, id) in closed(&admin).await {
        let problem = admin.step(&id, "adjustments", json!({"amount": 1})).await.problem(409, "authorization_not_open");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(status)), "{problem}");
    }
}

#[tokio::test]
async fn a_reversal_releases_at_most_what_is_held() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let answer = admin.step(&hold, "reversals", json!({"amount": 30, "reason": "reversed by customer"})).await.ok();
    assert_eq!(told(&entry(&admin, &answer).await), (json!("reversal"), json!(30), json!(70), json!("reversed by customer")));
    assert_eq!(
        (sums(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()),
        ("pending 100 70 0 0 30 0 0", "500 70 430")
    );
    // More than is held releases what is held, and says so.
    let answer = admin.step(&hold, "reversals", json!({"amount": 200})).await.ok();
    assert_eq!(told(&entry(&admin, &answer).await), (json!("reversal"), json!(70), json!(0), Value::Null));
    assert_eq!(
        (sums(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()),
        ("reversed 100 0 0 0 100 0 0", "500 0 500")
    );

    let hold = admin.given_hold(&card, json!(100)).await;
    admin.set_status(&card, "blocked").await.ok();
    admin.set_status(&card, "cancelled").await.ok();
    let answer = admin.step(&hold, "reversals", json!({})).await.ok();
    assert_eq!(sums(&answer["authorization"]), "reversed 100 0 0 0 100 0 0");
}

#[tokio::test]
async fn a_reversal_of_a_closed_authorization_is_a_repeated_wish_or_too_late() {
    let (_world, admin) = World::with_admin().await;
    for (status, id) in closed(&admin).await {
        let before = admin.authorization(&id).await;
        for body in [json!({}), json!({"amount": 5})] {
            let reply = admin.step(&id, "reversals", body).await;
            if ["reversed", "expired", "verified"].contains(&status) {
                let answer = reply.ok();
                assert_eq!(told(&answer["entry"]), (json!("reversal"), json!(0), json!(0), Value::Null), "{status}");
                assert_eq!(sums(&answer["authorization"]), sums(&before), "{status}");
            } else {
                let problem = reply.problem(409, "authorization_not_open");
                assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(status)), "{problem}");
                assert_eq!(admin.authorization(&id).await, before);
            }
        }
    }
}

#[tokio::test]
async fn the_account_can_release_a_hold_and_the_audit_log_says_who_did() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let (operator_id, operator) = world.new_user(&admin, "operator@example.com", Role::Operator).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let path = format!("/authorizations/{hold}/release");
    for (body, fault) in [
        (json!({}), "reason: required"),
        (json!({"reason": " "}), "reason: blank"),
        (json!({"reason": "x".repeat(101)}), "reason: too_long"),
        (json!({"reason": 5}), "reason: wrong_type"),
    ] {
        assert_eq!(operator.post(&path, body).await.field_errors(), [fault]);
    }
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", Role::Viewer).await;
    viewer.post(&path, json!({"reason": "x"})).await.problem(403, "insufficient_permissions");
    assert_eq!(admin.position(&card).await, "500 100 400");

    let answer = operator.post(&path, json!({"reason": "the hotel forgot it"})).await.ok();
    assert_eq!(sums(&answer["authorization"]), "expired 100 0 0 0 0 100 0");
    let found = admin.authorization(&hold).await;
    assert_eq!(entries(&found), ["authorization 100 100", "release 100 0"]);
    assert_eq!(found["entries"][1]["reason"], "the hotel forgot it");
    assert_eq!(admin.position(&card).await, "500 0 500");
    let events = admin.get(&format!("/audit-events?subjectId={hold}")).await.ok();
    let events = events["auditEvents"].as_array().expect("a list").clone();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["userId"], operator_id.as_str());
    operator.post(&path, json!({"reason": "again"})).await.problem(409, "authorization_not_open");

    // What is captured stays captured.
    let hold = admin.given_hold(&card, json!(100)).await;
    admin.step(&hold, "captures", json!({"amount": 60, "final": false})).await.ok();
    let answer = operator.post(&format!("/authorizations/{hold}/release"), json!({"reason": "done"})).await.ok();
    assert_eq!(sums(&answer["authorization"]), "captured 100 0 60 0 0 40 0");
    for (status, id) in closed(&admin).await {
        let problem =
            operator.post(&format!("/authorizations/{id}/release"), json!({"reason": "x"})).await.problem(409, "authorization_not_open");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(status)), "{problem}");
    }
}

#[tokio::test]
async fn an_invalid_step_is_400_and_leaves_nothing_behind() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let before = world.payment_rows().await;
    let reason = "x".repeat(101);
    for (step, body, field) in [
        ("increments", json!({}), "amount"),
        ("increments", json!({"amount": 0}), "amount"),
        ("increments", json!({"amount": -1}), "amount"),
        ("increments", json!({"amount": "1"}), "amount"),
        ("increments", json!({"amount": 0.001}), "amount"),
        ("adjustments", json!({}), "amount"),
        ("adjustments", json!({"amount": null}), "amount"),
        ("adjustments", json!({"amount": -0.01}), "amount"),
        ("adjustments", json!({"amount": 90_071_992_547_409.92}), "amount"),
        ("reversals", json!({"amount": 0}), "amount"),
        ("reversals", json!({"amount": true}), "amount"),
        ("reversals", json!({"reason": ""}), "reason"),
        ("reversals", json!({"reason": reason}), "reason"),
        ("captures", json!({"amount": 0}), "amount"),
        ("captures", json!({"amount": -5}), "amount"),
        ("captures", json!({"amount": 5, "final": "yes"}), "final"),
        ("captures", json!({"amount": 5, "description": ""}), "description"),
        ("captures", json!({"amount": 5, "description": "x".repeat(201)}), "description"),
    ] {
        let faults = admin.step(&hold, step, body.clone()).await.field_errors();
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{field}: ")), "{step} {body}: {faults:?}");
    }
    for step in ["increments", "adjustments", "reversals", "captures"] {
        for unknown in ["auth_001", "auth_01h455vb4pex5vsknk084sn02q", &card] {
            admin.step(unknown, step, json!({"amount": 1})).await.problem(404, "authorization_not_found");
        }
    }
    // Only the refusals that the state decided are kept under their keys.
    assert_eq!(world.payment_rows().await, before + 12);
    assert_eq!(sums(&admin.authorization(&hold).await), "pending 100 100 0 0 0 0 0");
}
