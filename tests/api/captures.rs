//! What posts money: captures, force posts, single messages and reversals of captures.

use core_api::domain::card::CardStatus;
use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    payments::{entries, id, position, returned, sums},
};

/// The movement of an answer, after checking that it is the newest of its card and that the balance follows from it.
async fn movement(admin: &Actor, card: &str, answer: &Value) -> Value {
    let movement = &answer["movement"];
    assert_eq!(admin.movements(card).await[0], *movement);
    assert_eq!(answer["balance"]["balance"], movement["balanceAfter"]);
    assert_eq!(admin.position(card).await, position(&answer["balance"]));
    movement.clone()
}

#[tokio::test]
async fn a_capture_is_a_movement_that_names_its_authorization_and_merchant() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let merchant = json!({"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"});
    for (merchant, description, expected) in [
        (merchant.clone(), json!("Order 17"), "Order 17"),
        (merchant.clone(), Value::Null, "AMAZON.COM"),
        (Value::Null, Value::Null, "Card payment"),
    ] {
        let hold = id(&admin.authorize_with(&card, json!(10), json!({"merchant": merchant})).await.ok()["authorization"]);
        let answer = admin.step(&hold, "captures", json!({"description": description})).await.ok();
        let posted = movement(&admin, &card, &answer).await;
        assert_eq!((&posted["amount"], &posted["type"], &posted["description"]), (&json!(-10), &json!("capture"), &json!(expected)));
        assert_eq!((&posted["authorizationId"], &posted["merchant"]), (&json!(hold), &merchant));
        for name in ["transferId", "relatedMovementId"] {
            assert_eq!(posted.get(name), Some(&Value::Null), "{name}");
        }
        let entry = &admin.authorization(&hold).await["entries"][1];
        assert_eq!((&entry["kind"], &entry["movementId"]), (&json!("capture"), &posted["id"]));
        assert_eq!(entry["sequence"], answer["authorization"]["sequence"], "the entry and its movement are one step");
    }
    assert_eq!(admin.position(&card).await, "470 0 470");
    // Movements that no card payment made have no merchant and no authorisation.
    admin.purchase(&card, json!(1)).await.ok();
    for movement in [&admin.movements(&card).await[0], admin.movements(&card).await.last().expect("the top-up")] {
        for name in ["authorizationId", "transferId", "relatedMovementId", "merchant"] {
            assert_eq!(movement.get(name), Some(&Value::Null), "{name}");
        }
    }
}

#[tokio::test]
async fn a_capture_takes_what_is_held_more_or_less_and_a_final_one_releases_the_rest() {
    let (_world, admin) = World::with_admin().await;
    for (body, expected, left) in [
        (json!({}), "captured 100 0 100 0 0 0 0", "400 0 400"),
        (json!({"final": false}), "captured 100 0 100 0 0 0 0", "400 0 400"),
        (json!({"amount": 60}), "captured 100 0 60 0 0 0 40", "440 0 440"),
        (json!({"amount": 60, "final": null}), "captured 100 0 60 0 0 0 40", "440 0 440"),
        (json!({"amount": 60, "final": true}), "captured 100 0 60 0 0 0 40", "440 0 440"),
        (json!({"amount": 60, "final": false}), "pending 100 40 60 0 0 0 0", "440 40 400"),
        (json!({"amount": 100, "final": false}), "captured 100 0 100 0 0 0 0", "400 0 400"),
        (json!({"amount": 130}), "captured 100 0 130 30 0 0 0", "370 0 370"),
        (json!({"amount": 130, "final": false}), "captured 100 0 130 30 0 0 0", "370 0 370"),
        (json!({"amount": 730}), "captured 100 0 730 630 0 0 0", "-230 0 -230"),
    ] {
        let card = admin.given_card_with(json!(500)).await;
        let hold = admin.given_hold(&card, json!(100)).await;
        let answer = admin.step(&hold, "captures", body.clone()).await.ok();
        movement(&admin, &card, &answer).await;
        assert_eq!((sums(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()), (expected, left), "{body}");
    }
    // The default of a later capture is what is still held.
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    admin.step(&hold, "captures", json!({"amount": 60, "final": false})).await.ok();
    let answer = admin.step(&hold, "captures", json!({})).await.ok();
    assert_eq!(movement(&admin, &card, &answer).await["amount"], -40);
    assert_eq!(sums(&answer["authorization"]), "captured 100 0 100 0 0 0 0");
}

#[tokio::test]
async fn a_late_capture_posts_and_all_of_it_is_excess() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let captured = admin.given_hold(&card, json!(10)).await;
    admin.capture(&captured, json!(10)).await.ok();
    let reversed = admin.given_hold(&card, json!(10)).await;
    admin.step(&reversed, "reversals", json!({})).await.ok();
    let expired = admin.given_hold(&card, json!(10)).await;
    admin.expire(&expired).await.ok();
    let released = admin.given_hold(&card, json!(10)).await;
    admin.post(&format!("/authorizations/{released}/release"), json!({"reason": "x"})).await.ok();
    for (hold, first, second, kinds) in [
        (captured, "captured 10 0 14 4 0 0 0", "captured 10 0 15 5 0 0 0", ["authorization 10 10", "capture 10 0"]),
        (reversed, "captured 10 0 4 4 10 0 0", "captured 10 0 5 5 10 0 0", ["authorization 10 10", "reversal 10 0"]),
        (expired, "captured 10 0 4 4 0 10 0", "captured 10 0 5 5 0 10 0", ["authorization 10 10", "expiry 10 0"]),
        (released, "captured 10 0 4 4 0 10 0", "captured 10 0 5 5 0 10 0", ["authorization 10 10", "release 10 0"]),
    ] {
        // Without an amount nothing says how much: there is no hold left.
        admin.step(&hold, "captures", json!({})).await.problem(409, "authorization_not_open");
        let answer = admin.step(&hold, "captures", json!({"amount": 4})).await.ok();
        let posted = movement(&admin, &card, &answer).await;
        assert_eq!((&posted["amount"], &posted["type"], &posted["authorizationId"]), (&json!(-4), &json!("capture"), &json!(hold)));
        assert_eq!(sums(&answer["authorization"]), first);
        let answer = admin.step(&hold, "captures", json!({"amount": 1, "final": false})).await.ok();
        assert_eq!(sums(&answer["authorization"]), second);
        let expected = [&kinds[..], &["late_capture 4 0", "late_capture 1 0"]].concat();
        assert_eq!(admin.history(&answer["authorization"]).await, expected);
    }
    assert_eq!(admin.position(&card).await, "470 0 470");
}

#[tokio::test]
async fn what_was_declined_or_only_verified_cannot_be_captured() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let declined = id(&admin.authorize_with(&card, json!(501), json!({"networkTransactionId": "declined"})).await.ok()["authorization"]);
    let verification = json!({"kind": "verification", "networkTransactionId": "verified"});
    let verified = id(&admin.authorize_with(&card, json!(0), verification).await.ok()["authorization"]);
    for (hold, name) in [(declined, "declined"), (verified, "verified")] {
        for body in [json!({}), json!({"amount": 5})] {
            admin.step(&hold, "captures", body).await.problem(409, "authorization_not_open");
        }
        // The network's clearing of it is a force post of its own.
        let body = json!({"cardId": card, "amount": 5, "description": "Fuel", "networkTransactionId": name});
        let answer = admin.network("captures", body).await.ok();
        assert_eq!((&answer["authorization"], &answer["movement"]["authorizationId"]), (&Value::Null, &Value::Null));
        assert_eq!(admin.authorization(&hold).await["capturedAmount"], 0);
    }
    assert_eq!(admin.position(&card).await, "490 0 490");
}

#[tokio::test]
async fn a_force_post_is_never_refused_and_is_the_capture_of_the_authorization_that_it_names() {
    let (_world, admin) = World::with_admin().await;
    let merchant = json!({"id": null, "name": "Shell", "mcc": "5541", "city": null, "country": "CO"});
    for status in CardStatus::ALL {
        let card = admin.given_card_in(status).await;
        let body =
            json!({"cardId": card, "amount": 30, "description": "Fuel", "merchant": {"name": "Shell", "mcc": "5541", "country": "CO"}});
        let answer = admin.network("captures", body).await.ok();
        let posted = movement(&admin, &card, &answer).await;
        assert_eq!((&posted["amount"], &posted["type"], &posted["description"]), (&json!(-30), &json!("capture"), &json!("Fuel")));
        assert_eq!(
            (&answer["authorization"], &posted["authorizationId"], &posted["merchant"]["name"]),
            (&Value::Null, &Value::Null, &merchant["name"])
        );
        assert_eq!(position(&answer["balance"]), "-30 0 -30", "{status:?}");
    }
    let (card, other) = (admin.given_card_with(json!(500)).await, admin.given_card_with(json!(500)).await);
    let hold = id(&admin.authorize_with(&card, json!(100), json!({"networkTransactionId": "known"})).await.ok()["authorization"]);
    let named = |card: &str, name: &str, amount: i64| json!({"cardId": card, "amount": amount, "description": "Hotel", "networkTransactionId": name});
    // Neither an unknown name nor that of another card's authorisation is a link. The same name may come again.
    for body in [named(&card, "unknown", 1), named(&card, "unknown", 1), named(&other, "known", 1)] {
        assert_eq!(admin.network("captures", body).await.ok()["authorization"], Value::Null);
    }
    assert_eq!((admin.position(&card).await.as_str(), admin.position(&other).await.as_str()), ("498 100 398", "499 0 499"));
    let answer = admin.network("captures", named(&card, "known", 60)).await.ok();
    let posted = movement(&admin, &card, &answer).await;
    assert_eq!((&posted["authorizationId"], &posted["description"]), (&json!(hold), &json!("Hotel")));
    admin.history(&answer["authorization"]).await;
    assert_eq!(
        (sums(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()),
        ("captured 100 0 60 0 0 0 40", "438 0 438")
    );
    let answer = admin.network("captures", named(&card, "known", 5)).await.ok();
    assert_eq!(admin.history(&answer["authorization"]).await, ["authorization 100 100", "capture 60 0", "late_capture 5 0"]);
    admin.force_post("card_001", json!(1)).await.problem(404, "card_not_found");
    let faults = admin.network("captures", json!({"amount": 0, "networkTransactionId": ""})).await.field_errors();
    assert_eq!(faults.len(), 4, "{faults:?}");
}

#[tokio::test]
async fn a_single_message_is_authorized_and_posted_at_once() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let merchant = json!({"id": "1", "name": "Cafe", "mcc": "5814", "city": "Bogota", "country": "CO"});
    let answer = admin.network("purchases", json!({"cardId": card, "amount": 20.5, "merchant": merchant})).await.ok();
    let given = &answer["authorization"];
    let posted = movement(&admin, &card, &answer).await;
    assert_eq!((&posted["amount"], &posted["type"], &posted["description"]), (&json!(-20.5), &json!("purchase"), &json!("Cafe")));
    assert_eq!((&posted["authorizationId"], &posted["merchant"]), (&given["id"], &merchant));
    assert_eq!(
        (sums(given).as_str(), &given["expiresAt"], &given["responseCode"]),
        ("captured 20.5 0 20.5 0 0 0 0", &Value::Null, &json!("00"))
    );
    assert_eq!(entries(given), ["authorization 20.5 20.5", "capture 20.5 0"]);
    assert_eq!(given["entries"][1]["movementId"], posted["id"]);
    assert_eq!(admin.authorization(&id(given)).await, *given);

    let partial = json!({"cardId": card, "amount": 500, "partialApproval": true});
    let answer = admin.network("purchases", partial).await.ok();
    let given = &answer["authorization"];
    assert_eq!((sums(given).as_str(), &given["responseCode"]), ("captured 479.5 0 479.5 0 0 0 0", &json!("10")));
    assert_eq!(entries(given), ["partial_authorization 479.5 479.5", "capture 479.5 0"]);
    assert_eq!(movement(&admin, &card, &answer).await["amount"], -479.5);

    let answer = admin.network("purchases", json!({"cardId": card, "amount": 7, "standIn": true})).await.ok();
    assert_eq!(
        (sums(&answer["authorization"]).as_str(), &answer["authorization"]["decidedBy"]),
        ("captured 7 0 7 0 0 0 0", &json!("stand_in"))
    );
    assert_eq!((&movement(&admin, &card, &answer).await["type"], admin.position(&card).await.as_str()), (&json!("purchase"), "-7 0 -7"));
}

#[tokio::test]
async fn a_capture_is_reversed_up_to_its_amount_and_holds_nothing_again() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    let first = id(&admin.step(&hold, "captures", json!({"amount": 60, "final": false})).await.ok()["movement"]);
    let second = id(&admin.step(&hold, "captures", json!({"amount": 30, "final": false})).await.ok()["movement"]);
    let reverse = async |movement: &str, body: Value| admin.network(&format!("captures/{movement}/reversals"), body).await;
    let answer = reverse(&first, json!({"amount": 20})).await.ok();
    let posted = movement(&admin, &card, &answer).await;
    assert_eq!((&posted["amount"], &posted["type"]), (&json!(20), &json!("capture_reversal")));
    assert_eq!((&posted["relatedMovementId"], &posted["authorizationId"]), (&json!(first), &json!(hold)));
    assert_eq!(
        (sums(&answer["authorization"]).as_str(), returned(&answer["authorization"]).as_str()),
        ("pending 100 10 90 0 0 0 0", "20 0 0")
    );
    assert_eq!(position(&answer["balance"]), "430 10 420");
    // Each movement has its own rest, whatever the authorisation has left.
    reverse(&first, json!({"amount": 40.01})).await.problem(409, "reversal_exceeds_original");
    assert_eq!(reverse(&first, json!({})).await.ok()["movement"]["amount"], 40);
    for body in [json!({}), json!({"amount": 0.01})] {
        reverse(&first, body).await.problem(409, "reversal_exceeds_original");
    }
    let answer = reverse(&second, json!({"amount": 30})).await.ok();
    assert_eq!((returned(&answer["authorization"]).as_str(), position(&answer["balance"]).as_str()), ("90 0 0", "500 10 490"));
    assert_eq!(admin.history(&answer["authorization"]).await.len(), 3, "a movement that changes no hold has no entry");
}

#[tokio::test]
async fn force_posts_and_purchases_can_be_reversed_on_any_card_and_nothing_else_can() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let forced = id(&admin.force_post(&card, json!(510)).await.ok()["movement"]);
    admin.add(&card, json!(100)).await.ok();
    let bought = id(&admin.network("purchases", json!({"cardId": card, "amount": 5})).await.ok()["movement"]);
    let simulated = id(&admin.purchase(&card, json!(6)).await.ok()["movement"]);
    let refunded = id(&admin.network_refund(&card, json!(1), json!({})).await.ok()["movement"]);
    let topped_up = id(&admin.movements(&card).await[5]);
    let withdrawn = admin.withdraw(&card, json!(1)).await.ok()["movementId"].as_str().expect("an id").to_owned();
    admin.set_status(&card, "blocked").await.ok();
    admin.set_status(&card, "cancelled").await.ok();
    let mut reversals = Vec::new();
    for (original, amount, has_authorization) in [(&forced, 510, false), (&bought, 5, true), (&simulated, 6, false)] {
        let answer = admin.network(&format!("captures/{original}/reversals"), json!({})).await.ok();
        let posted = movement(&admin, &card, &answer).await;
        assert_eq!((&posted["amount"], &posted["relatedMovementId"]), (&json!(amount), &json!(original)));
        assert_eq!(answer["authorization"].is_object(), has_authorization);
        reversals.push(id(&posted));
    }
    assert_eq!(admin.position(&card).await, "600 0 600");
    for other in [&refunded, &topped_up, &withdrawn, &reversals[0], "mov_001", "mov_01h455vb4pex5vsknk084sn02q"] {
        admin.network(&format!("captures/{other}/reversals"), json!({})).await.problem(404, "movement_not_found");
    }
    assert_eq!(admin.network(&format!("captures/{forced}/reversals"), json!({"amount": 0})).await.field_errors(), ["amount: not_positive"]);
}
