//! `Idempotency-Key` on card payments: required of a gateway, and each message takes effect once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Actor, Reply, World,
    payments::{id, sums},
    without_quota,
};

/// One request to every endpoint of the gateway, each of which succeeds, in this order.
async fn messages(admin: &Actor, card: &str) -> Vec<(String, Value)> {
    let hold = admin.given_hold(card, json!(50)).await;
    let captured = admin.given_hold(card, json!(10)).await;
    let capture = id(&admin.capture(&captured, json!(10)).await.ok()["movement"]);
    let refund = id(&admin.network_refund(card, json!(5), json!({})).await.ok()["movement"]);
    let step = |step: &str| format!("/network/authorizations/{hold}/{step}");
    vec![
        ("/network/authorizations".into(), json!({"cardId": card, "amount": 10})),
        (step("increments"), json!({"amount": 10})),
        (step("adjustments"), json!({"amount": 40})),
        (step("reversals"), json!({"amount": 5, "reason": "less"})),
        (step("captures"), json!({"amount": 20, "final": false})),
        ("/network/purchases".into(), json!({"cardId": card, "amount": 10})),
        ("/network/captures".into(), json!({"cardId": card, "amount": 3, "description": "Fuel"})),
        (format!("/network/captures/{capture}/reversals"), json!({"amount": 4})),
        ("/network/refunds".into(), json!({"cardId": card, "amount": 2, "description": "Refund"})),
        (format!("/network/refunds/{refund}/reversals"), json!({"amount": 1})),
    ]
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

#[tokio::test]
async fn a_message_sent_again_gets_the_same_bytes_from_any_replica_and_does_nothing() {
    let world = World::of_replicas(2, |_| {}).await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(500)).await;
    for (number, (path, body)) in messages(&admin, &card).await.into_iter().enumerate() {
        let key = format!("{number}-of-the-gateway");
        let first = admin.keyed(&key, Method::POST, &path, &body).await;
        assert!(!is_replayed(&first), "{path}");
        let rows = world.payment_rows().await;
        for replica in [0, 1, 0] {
            let again = world.at(replica, &admin).keyed(&key, Method::POST, &path, &body).await;
            assert!(is_replayed(&again), "{path}");
            assert_eq!((again.status, &again.text), (200, &first.text), "{path}");
        }
        let mut other = body.clone();
        other["amount"] = json!(1.25);
        admin.keyed(&key, Method::POST, &path, &other).await.problem(422, "idempotency_key_reused");
        let elsewhere = json!({"cardId": card, "amount": 1});
        admin.keyed(&key, Method::POST, "/balances/withdraw", &elsewhere).await.problem(422, "idempotency_key_reused");
        assert_eq!(world.payment_rows().await, rows, "{path}");
        first.ok();
    }
    // 500 - 10 + 5, then - 20 - 10 - 3 + 4 + 2 - 1; held 15 and 10.
    assert_eq!(admin.position(&card).await, "467 25 442");
}

#[tokio::test]
async fn a_message_without_a_key_is_400_and_leaves_nothing_behind() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let messages = messages(&admin, &card).await;
    let (rows, before) = (world.payment_rows().await, admin.position(&card).await);
    for (path, body) in messages {
        let problem = admin.post(&path, body.clone()).await.problem(400, "idempotency_key_missing");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("Idempotency-Key")), "{problem}");
        let faults = admin.keyed("a b", Method::POST, &path, &body).await.field_errors();
        assert_eq!(faults, ["Idempotency-Key: invalid_key"]);
    }
    assert_eq!((world.payment_rows().await, admin.position(&card).await), (rows, before));
}

#[tokio::test]
async fn declines_and_refusals_are_replayed_though_the_state_has_changed() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(10)).await;
    let hold = admin.given_hold(&card, json!(10)).await;
    let authorize = ("/network/authorizations".to_owned(), json!({"cardId": card, "amount": 20}));
    let increment = (format!("/network/authorizations/{hold}/increments"), json!({"amount": 20}));
    let purchase = ("/network/purchases".to_owned(), json!({"cardId": card, "amount": 20}));
    let unknown = ("/network/authorizations".to_owned(), json!({"cardId": "card_001", "amount": 20}));
    let refund = ("/network/refunds".to_owned(), json!({"cardId": card, "amount": 20, "description": "x", "authorizationId": hold}));
    let mut first = Vec::new();
    for (number, (path, body)) in [&authorize, &increment, &purchase, &unknown, &refund].into_iter().enumerate() {
        first.push(admin.keyed(&format!("m{number}"), Method::POST, path, body).await);
    }
    admin.add(&card, json!(500)).await.ok();
    admin.capture(&hold, json!(20)).await.ok();
    for (number, (path, body)) in [&authorize, &increment, &purchase, &unknown, &refund].into_iter().enumerate() {
        let again = admin.keyed(&format!("m{number}"), Method::POST, path, body).await;
        assert!(is_replayed(&again), "{path}");
        assert_eq!((again.status, &again.text), (first[number].status, &first[number].text), "{path}");
    }
    let mut first = first.into_iter();
    let mut next = || first.next().expect("an answer");
    assert_eq!(next().ok()["authorization"]["status"], "declined");
    assert_eq!(next().ok()["entry"]["kind"], "increment_declined");
    assert_eq!(next().ok()["movement"], Value::Null);
    next().problem(404, "card_not_found");
    next().problem(409, "refund_exceeds_capture");
    assert_eq!(admin.position(&card).await, "490 0 490");
    assert_eq!(sums(&admin.authorization(&hold).await), "captured 10 0 20 10 0 0 0");
}

/// The account's own endpoints may leave the key out, and replay when it is there.
#[tokio::test]
async fn a_release_and_a_simulated_expiry_are_replayed_under_a_key() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let (released, expired) = (admin.given_hold(&card, json!(10)).await, admin.given_hold(&card, json!(10)).await);
    for (key, path, body) in [
        ("r", format!("/authorizations/{released}/release"), json!({"reason": "x"})),
        ("e", format!("/sandbox/authorizations/{expired}/expire"), json!({})),
    ] {
        let first = admin.keyed(key, Method::POST, &path, &body).await;
        let again = admin.keyed(key, Method::POST, &path, &body).await;
        assert!(is_replayed(&again) && !is_replayed(&first), "{path}");
        assert_eq!((again.status, &again.text), (200, &first.text), "{path}");
    }
}

/// Bodies that are no JSON object, or twice the same member, change nothing on any endpoint.
#[tokio::test]
async fn a_malformed_body_leaves_nothing_behind() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let messages = messages(&admin, &card).await;
    let (rows, before) = (world.payment_rows().await, admin.position(&card).await);
    let mut paths: Vec<_> = messages.into_iter().map(|(path, _)| path).collect();
    let hold = id(&admin.authorizations("?status=pending").await[0]);
    paths.extend([format!("/authorizations/{hold}/release"), "/balances/withdraw".to_owned()]);
    for path in paths {
        for body in crate::bad_bodies::malformed() {
            let request = admin.request(Method::POST, &path).header("content-type", "application/json").header("idempotency-key", "bad");
            let reply = Reply::of(request.body(body)).await;
            assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("invalid_json")), "{path}: {reply:?}");
        }
        let reply =
            Reply::of(admin.request(Method::POST, &path).header("idempotency-key", "bad").body("{}").header("content-type", "text/plain"))
                .await;
        reply.problem(415, "unsupported_media_type");
    }
    assert_eq!((world.payment_rows().await, admin.position(&card).await), (rows, before));
}
