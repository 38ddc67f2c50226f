//! Refunds of the network and of the sandbox, linked and unlinked, and their reversals.

use core_api::domain::card::CardStatus;
use serde_json::{Value, json};

use crate::support::{
    Actor, Reply, World,
    payments::{id, position, returned},
};

/// The movement of an answer, after checking that it is the newest of its card.
async fn movement(admin: &Actor, card: &str, answer: &Value) -> Value {
    assert_eq!(admin.movements(card).await[0], answer["movement"]);
    assert_eq!(admin.position(card).await, position(&answer["balance"]));
    answer["movement"].clone()
}

/// An authorisation of this amount under a name, captured whole: its id and that of its capture.
async fn given_capture(admin: &Actor, card: &str, amount: i64, name: &str) -> (String, String) {
    let members = json!({"networkTransactionId": name, "merchant": {"name": "Shop", "mcc": "5734"}});
    let hold = id(&admin.authorize_with(card, json!(amount), members).await.ok()["authorization"]);
    let capture = id(&admin.capture(&hold, json!(amount)).await.ok()["movement"]);
    (hold, capture)
}

async fn reverse(admin: &Actor, refund: &str, body: Value) -> Reply {
    admin.network(&format!("refunds/{refund}/reversals"), body).await
}

#[tokio::test]
async fn an_unlinked_refund_reaches_every_card() {
    let (_world, admin) = World::with_admin().await;
    for status in CardStatus::ALL {
        let card = admin.given_card_in(status).await;
        let body = json!({"merchant": {"name": "Shop"}, "networkTransactionId": "names nothing"});
        let answer = admin.network_refund(&card, json!(7.5), body).await.ok();
        let posted = movement(&admin, &card, &answer).await;
        assert_eq!((&posted["amount"], &posted["type"], &posted["description"]), (&json!(7.5), &json!("refund"), &json!("Refund")));
        assert_eq!((&posted["authorizationId"], &posted["relatedMovementId"]), (&Value::Null, &Value::Null));
        assert_eq!((&posted["merchant"]["name"], &answer["authorization"]), (&json!("Shop"), &Value::Null));
        assert_eq!(position(&answer["balance"]), "7.5 0 7.5", "{status:?}");
    }
    admin.network_refund("card_001", json!(1), json!({})).await.problem(404, "card_not_found");
}

#[tokio::test]
async fn a_refund_is_linked_by_the_authorization_the_movement_or_the_network_s_name() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let (hold, capture) = given_capture(&admin, &card, 100, "named").await;
    for (link, related, refunded) in [
        (json!({"authorizationId": hold}), Value::Null, "0 10 0"),
        (json!({"movementId": capture}), json!(capture), "0 20 0"),
        (json!({"networkTransactionId": "named"}), Value::Null, "0 30 0"),
    ] {
        let answer = admin.network_refund(&card, json!(10), link.clone()).await.ok();
        let posted = movement(&admin, &card, &answer).await;
        assert_eq!((&posted["authorizationId"], &posted["relatedMovementId"]), (&json!(hold), &related), "{link}");
        assert_eq!(returned(&answer["authorization"]), refunded, "{link}");
        admin.history(&answer["authorization"]).await;
    }
    assert_eq!(admin.position(&card).await, "430 0 430");
    // Two links are one too many.
    for links in [
        json!({"authorizationId": hold, "movementId": capture}),
        json!({"authorizationId": hold, "networkTransactionId": "named"}),
        json!({"movementId": capture, "networkTransactionId": "named"}),
    ] {
        let reply = admin.network_refund(&card, json!(1), links).await;
        assert_eq!(reply.status, 400, "{reply:?}");
    }
    // The refund of one card does not name what another paid.
    let other = admin.given_card_with(json!(500)).await;
    let (other_hold, other_capture) = given_capture(&admin, &other, 100, "other").await;
    for unknown in [&other_hold, "auth_001", "auth_01h455vb4pex5vsknk084sn02q", &capture] {
        admin.network_refund(&card, json!(1), json!({"authorizationId": unknown})).await.problem(404, "authorization_not_found");
    }
    let top_up = id(admin.movements(&card).await.last().expect("the top-up"));
    for unknown in [&other_capture, &top_up, &id(&admin.movements(&card).await[0]), "mov_001", "mov_01h455vb4pex5vsknk084sn02q", &hold] {
        admin.network_refund(&card, json!(1), json!({"movementId": unknown})).await.problem(404, "movement_not_found");
    }
    let answer = admin.network_refund(&card, json!(1), json!({"networkTransactionId": "other"})).await.ok();
    assert_eq!(answer["authorization"], Value::Null);
    assert_eq!(returned(&admin.authorization(&other_hold).await), "0 0 0");
}

#[tokio::test]
async fn no_more_is_refunded_to_a_payment_than_it_took() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let (hold, capture) = given_capture(&admin, &card, 100, "named").await;
    let links = [json!({"authorizationId": hold}), json!({"movementId": capture}), json!({"networkTransactionId": "named"})];
    let refused = async |amount: Value| {
        for link in &links {
            let problem = admin.network_refund(&card, amount.clone(), link.clone()).await.problem(409, "refund_exceeds_capture");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("link")), "{problem}");
        }
    };
    refused(json!(100.01)).await;
    let first = id(&admin.network_refund(&card, json!(60), links[0].clone()).await.ok()["movement"]);
    refused(json!(40.01)).await;
    // What a reversed refund takes back can be refunded again, and what a reversed capture gives back cannot.
    reverse(&admin, &first, json!({"amount": 10})).await.ok();
    refused(json!(50.01)).await;
    admin.network(&format!("captures/{capture}/reversals"), json!({"amount": 30})).await.ok();
    refused(json!(20.01)).await;
    let answer = admin.network_refund(&card, json!(20), links[1].clone()).await.ok();
    assert_eq!(returned(&answer["authorization"]), "30 80 10");
    refused(json!(0.01)).await;
    // F - G = C - K: the card has all of it back, and a refund without a link goes on.
    assert_eq!(admin.position(&card).await, "500 0 500");
    admin.network_refund(&card, json!(1), json!({})).await.ok();

    // A pending authorisation of which nothing is captured took nothing.
    let pending = admin.given_hold(&card, json!(100)).await;
    admin.network_refund(&card, json!(1), json!({"authorizationId": pending})).await.problem(409, "refund_exceeds_capture");
    admin.step(&pending, "captures", json!({"amount": 40, "final": false})).await.ok();
    admin.network_refund(&card, json!(40), json!({"authorizationId": pending})).await.ok();
    assert_eq!(admin.position(&card).await, "501 60 441");
}

#[tokio::test]
async fn what_a_refund_gave_back_is_not_given_back_by_a_reversal() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let reverse_capture = async |movement: &str, body: Value| admin.network(&format!("captures/{movement}/reversals"), body).await;
    let refused = |reply: Reply, left: &str| {
        let problem = reply.problem(409, "reversal_exceeds_original");
        assert_eq!(problem["detail"], format!("Of this movement {left} is left to reverse."));
    };
    let (hold, capture) = given_capture(&admin, &card, 100, "named").await;
    let bought = admin.network("purchases", json!({"cardId": card, "amount": 100})).await.ok();
    let forced = id(&admin.force_post(&card, json!(100)).await.ok()["movement"]);
    let simulated = id(&admin.purchase(&card, json!(100)).await.ok()["movement"]);
    for (original, link) in [
        (capture, json!({"authorizationId": hold})),
        (id(&bought["movement"]), json!({"movementId": id(&bought["movement"])})),
        (forced.clone(), json!({"movementId": forced})),
        (simulated.clone(), json!({"movementId": simulated})),
    ] {
        let refund = id(&admin.network_refund(&card, json!(70), link.clone()).await.ok()["movement"]);
        refused(reverse_capture(&original, json!({"amount": 30.01})).await, "30");
        reverse(&admin, &refund, json!({"amount": 20})).await.ok();
        refused(reverse_capture(&original, json!({"amount": 50.01})).await, "50");
        reverse_capture(&original, json!({"amount": 9.5})).await.ok();
        // Without an amount, what is left.
        assert_eq!(reverse_capture(&original, json!({})).await.ok()["movement"]["amount"], 40.5);
        refused(reverse_capture(&original, json!({})).await, "0");
        let problem = admin.network_refund(&card, json!(0.01), link).await.problem(409, "refund_exceeds_capture");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("Of what was captured 0 is left")), "{problem}");
    }
    assert_eq!(admin.position(&card).await, "500 0 500");
    // Of two captures of one authorisation, each is given back once, and both together at most what both took.
    let hold = admin.given_hold(&card, json!(100)).await;
    let first = id(&admin.step(&hold, "captures", json!({"amount": 60, "final": false})).await.ok()["movement"]);
    let second = id(&admin.step(&hold, "captures", json!({"amount": 40})).await.ok()["movement"]);
    admin.network_refund(&card, json!(50), json!({"movementId": first})).await.ok();
    refused(reverse_capture(&first, json!({"amount": 11})).await, "10");
    reverse_capture(&second, json!({"amount": 30})).await.ok();
    admin.network_refund(&card, json!(15), json!({"authorizationId": hold})).await.ok();
    refused(reverse_capture(&first, json!({"amount": 6})).await, "5");
    reverse_capture(&first, json!({})).await.ok();
    assert_eq!(returned(&admin.authorization(&hold).await), "35 65 0");
    assert_eq!(admin.position(&card).await, "500 0 500");
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_refund_of_a_movement_without_an_authorization_is_bound_by_the_movement() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let forced = id(&admin.force_post(&card, json!(100)).await.ok()["movement"]);
    let bought = id(&admin.purchase(&card, json!(100)).await.ok()["movement"]);
    for original in [forced, bought] {
        let refund = async |amount: Value| admin.network_refund(&card, amount, json!({"movementId": original})).await;
        refund(json!(100.01)).await.problem(409, "refund_exceeds_capture");
        let answer = refund(json!(70)).await.ok();
        let posted = movement(&admin, &card, &answer).await;
        assert_eq!((&posted["relatedMovementId"], &posted["authorizationId"]), (&json!(original), &Value::Null));
        refund(json!(30.01)).await.problem(409, "refund_exceeds_capture");
        reverse(&admin, &id(&posted), json!({"amount": 20})).await.ok();
        admin.network(&format!("captures/{original}/reversals"), json!({"amount": 10})).await.ok();
        refund(json!(40.01)).await.problem(409, "refund_exceeds_capture");
        refund(json!(40)).await.ok();
        refund(json!(0.01)).await.problem(409, "refund_exceeds_capture");
    }
    assert_eq!(admin.position(&card).await, "500 0 500");
}

#[tokio::test]
async fn a_refund_is_reversed_up_to_its_amount_even_below_zero() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let (hold, capture) = given_capture(&admin, &card, 100, "named").await;
    let linked = id(&admin.network_refund(&card, json!(100), json!({"movementId": capture})).await.ok()["movement"]);
    let unlinked = id(&admin.network_refund(&card, json!(50), json!({})).await.ok()["movement"]);
    let simulated = id(&admin.refund(&card, json!(5)).await.ok()["movement"]);
    admin.withdraw(&card, json!(555)).await.ok();
    admin.set_status(&card, "blocked").await.ok();
    admin.set_status(&card, "cancelled").await.ok();
    let answer = reverse(&admin, &linked, json!({"amount": 30})).await.ok();
    let posted = movement(&admin, &card, &answer).await;
    assert_eq!((&posted["amount"], &posted["type"], &posted["balanceAfter"]), (&json!(-30), &json!("refund_reversal"), &json!(-30)));
    assert_eq!((&posted["relatedMovementId"], &posted["authorizationId"]), (&json!(linked), &json!(hold)));
    assert_eq!(returned(&answer["authorization"]), "0 100 30");
    reverse(&admin, &linked, json!({"amount": 70.01})).await.problem(409, "reversal_exceeds_original");
    let answer = reverse(&admin, &linked, json!({})).await.ok();
    assert_eq!((&answer["movement"]["amount"], returned(&answer["authorization"]).as_str()), (&json!(-70), "0 100 100"));
    reverse(&admin, &linked, json!({})).await.problem(409, "reversal_exceeds_original");
    for (original, amount) in [(&unlinked, -50), (&simulated, -5)] {
        let answer = reverse(&admin, original, json!({})).await.ok();
        assert_eq!((&answer["movement"]["amount"], &answer["authorization"]), (&json!(amount), &Value::Null));
    }
    assert_eq!(admin.position(&card).await, "-155 0 -155");
    for other in [&capture, &id(&posted), "mov_001", "mov_01h455vb4pex5vsknk084sn02q"] {
        reverse(&admin, other, json!({})).await.problem(404, "movement_not_found");
    }
}

#[tokio::test]
async fn the_sandbox_s_refund_can_be_linked_and_then_reaches_a_cancelled_card() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let (hold, capture) = given_capture(&admin, &card, 100, "named").await;
    let refund = async |link: Value| {
        let body = crate::support::payments::with(json!({"cardId": card, "amount": 30, "description": "Refund - Amazon"}), link);
        admin.post("/sandbox/refunds", body).await
    };
    let posted = refund(json!({"authorizationId": hold})).await.ok();
    assert_eq!((&posted["balance"], &posted["movement"]["authorizationId"]), (&json!(430), &json!(hold)));
    admin.set_status(&card, "blocked").await.ok();
    admin.set_status(&card, "cancelled").await.ok();
    refund(json!({})).await.problem(409, "card_cancelled");
    let posted = refund(json!({"movementId": capture})).await.ok();
    assert_eq!((&posted["balance"], &posted["movement"]["relatedMovementId"]), (&json!(460), &json!(capture)));
    refund(json!({"authorizationId": hold})).await.ok();
    assert_eq!(returned(&admin.authorization(&hold).await), "0 90 0");
    refund(json!({"authorizationId": hold})).await.problem(409, "refund_exceeds_capture");
    refund(json!({"authorizationId": "auth_001"})).await.problem(404, "authorization_not_found");
    refund(json!({"movementId": "mov_001"})).await.problem(404, "movement_not_found");
    let both = refund(json!({"authorizationId": hold, "movementId": capture})).await;
    assert_eq!(both.status, 400, "{both:?}");
    assert_eq!(admin.position(&card).await, "490 0 490");
}

#[tokio::test]
async fn an_invalid_refund_is_400_and_leaves_nothing_behind() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let before = world.payment_rows().await;
    for (members, field) in [
        (json!({"amount": 0}), "amount"),
        (json!({"amount": -1}), "amount"),
        (json!({"amount": 0.001}), "amount"),
        (json!({"description": ""}), "description"),
        (json!({"description": "x".repeat(201)}), "description"),
        (json!({"authorizationId": 5}), "authorizationId"),
        (json!({"movementId": true}), "movementId"),
        (json!({"networkTransactionId": ""}), "networkTransactionId"),
        (json!({"merchant": {"mcc": "1"}}), "merchant"),
    ] {
        let faults = admin.network_refund(&card, json!(1), members.clone()).await.field_errors();
        assert!(faults.len() == 1 && faults[0].starts_with(field), "{members}: {faults:?}");
    }
    assert_eq!(world.payment_rows().await, before);
}
