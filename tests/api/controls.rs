//! Controls of cards: how they are read and changed, what the audit log and the feed tell of it, and the payments that they
//! count. `declines` has what they decide.

use core_api::domain::card::CardStatus;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    feed::{sequences, types},
    payments::{card_uuid, with},
};

/// The controls of a card that were never changed.
fn untouched(card: &str) -> Value {
    json!({
        "cardId": card, "allowedCategories": [], "blockedCategories": [], "allowedCountries": [], "blockedCountries": [],
        "allowedMerchants": [], "blockedMerchants": [], "merchantLock": null, "cardPresent": "any", "maxPayments": null,
        "payments": 0, "version": 0, "updatedAt": null,
    })
}

/// The controls without what changes with every change.
fn lasting(controls: &Value) -> Value {
    with(controls.clone(), json!({"version": null, "updatedAt": null}))
}

/// The controls as the audit log and the feed have them.
fn recorded(controls: &Value) -> Value {
    let mut recorded = controls.clone();
    for name in ["cardId", "payments", "version", "updatedAt"] {
        recorded.as_object_mut().expect("an object").remove(name);
    }
    recorded
}

/// A value of every member, and what it is when it is taken away.
fn members() -> [(&'static str, Value, Value); 10] {
    let none = || json!([]);
    [
        ("allowedCategories", json!(["5411", "5812"]), none()),
        ("blockedCategories", json!(["7995"]), none()),
        ("allowedCountries", json!(["CO", "US"]), none()),
        ("blockedCountries", json!(["AQ"]), none()),
        ("allowedMerchants", json!(["445291006", "M 2"]), none()),
        ("blockedMerchants", json!(["445291007"]), none()),
        ("merchantLock", json!("first"), Value::Null),
        ("merchantLock", json!({"merchantId": "445291006"}), Value::Null),
        ("cardPresent", json!("notPresent"), json!("any")),
        ("maxPayments", json!(3), Value::Null),
    ]
}

#[tokio::test]
async fn a_change_replaces_what_it_names_and_leaves_the_rest() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let mut expected = untouched(&card);
    assert_eq!(admin.controls(&card).await, expected);
    for (version, (name, value, _)) in members().into_iter().enumerate() {
        expected[name] = value.clone();
        let changed = admin.change_controls(&card, json!({name: value})).await.ok();
        assert_eq!(lasting(&changed), lasting(&expected), "{name}");
        assert_eq!(changed["version"], version + 1);
        assert!(changed["updatedAt"].is_string());
        assert_eq!(admin.controls(&card).await, changed);
    }
    // Null takes away; an empty list is none.
    for (name, value, none) in members() {
        admin.change_controls(&card, json!({name: value})).await.ok();
        for nothing in [Value::Null, none.clone()] {
            expected[name] = none.clone();
            assert_eq!(lasting(&admin.change_controls(&card, json!({name: nothing})).await.ok()), lasting(&expected), "{name}");
        }
    }
    assert_eq!(lasting(&admin.controls(&card).await), lasting(&untouched(&card)));
}

#[tokio::test]
async fn a_list_has_each_value_once_and_several_members_change_at_once() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let patch = json!({
        "allowedCategories": ["5812", "5411", "5812"], "blockedMerchants": [" M1 ", "M1"], "cardPresent": "present", "unknown": 1,
    });
    let changed = admin.change_controls(&card, patch).await.ok();
    let lists = json!({"allowedCategories": ["5812", "5411"], "blockedMerchants": ["M1"], "cardPresent": "present"});
    assert_eq!(lasting(&changed), lasting(&with(untouched(&card), lists)));
    assert_eq!(changed["version"], 1);
}

/// Members that no controls can have, each with its fault.
fn wrong_members() -> Vec<(Value, &'static str)> {
    let many = |value: &str| Value::Array(vec![json!(value); 251]);
    vec![
        (json!({"allowedCategories": "5411"}), "allowedCategories: wrong_type"),
        (json!({"allowedCategories": [5411]}), "allowedCategories: wrong_type"),
        (json!({"allowedCategories": ["541"]}), "allowedCategories: invalid_format"),
        (json!({"allowedCategories": ["54111"]}), "allowedCategories: invalid_format"),
        (json!({"blockedCategories": ["abcd"]}), "blockedCategories: invalid_format"),
        (json!({"blockedCategories": [""]}), "blockedCategories: invalid_format"),
        (json!({"blockedCategories": many("5411")}), "blockedCategories: too_many"),
        (json!({"allowedCountries": ["XX"]}), "allowedCountries: unknown_value"),
        (json!({"allowedCountries": ["CO", "col"]}), "allowedCountries: unknown_value"),
        (json!({"allowedCountries": [null]}), "allowedCountries: wrong_type"),
        (json!({"blockedCountries": {"CO": true}}), "blockedCountries: wrong_type"),
        (json!({"blockedCountries": many("CO")}), "blockedCountries: too_many"),
        (json!({"allowedMerchants": ["x".repeat(17)]}), "allowedMerchants: too_long"),
        (json!({"allowedMerchants": [" "]}), "allowedMerchants: blank"),
        (json!({"blockedMerchants": ["tienda ñ"]}), "blockedMerchants: invalid_format"),
        (json!({"blockedMerchants": true}), "blockedMerchants: wrong_type"),
        (json!({"merchantLock": "last"}), "merchantLock: unknown_value"),
        (json!({"merchantLock": {}}), "merchantLock: unknown_value"),
        (json!({"merchantLock": {"merchantId": 5}}), "merchantLock: unknown_value"),
        (json!({"merchantLock": {"merchantId": null}}), "merchantLock: unknown_value"),
        (json!({"merchantLock": {"merchantId": "x".repeat(17)}}), "merchantLock: too_long"),
        (json!({"merchantLock": ["first"]}), "merchantLock: unknown_value"),
        (json!({"cardPresent": "yes"}), "cardPresent: unknown_value"),
        (json!({"cardPresent": "not_present"}), "cardPresent: unknown_value"),
        (json!({"cardPresent": true}), "cardPresent: wrong_type"),
        (json!({"maxPayments": 0}), "maxPayments: out_of_range"),
        (json!({"maxPayments": -1}), "maxPayments: out_of_range"),
        (json!({"maxPayments": 1_000_001}), "maxPayments: out_of_range"),
        (json!({"maxPayments": 1.5}), "maxPayments: out_of_range"),
        (json!({"maxPayments": "1"}), "maxPayments: wrong_type"),
        (json!({"version": -1}), "version: out_of_range"),
        (json!({"version": "0"}), "version: wrong_type"),
    ]
}

#[tokio::test]
async fn a_wrong_member_is_named_and_nothing_is_changed() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for (members, fault) in wrong_members() {
        assert_eq!(admin.change_controls(&card, members.clone()).await.field_errors(), [fault], "{members}");
    }
    let many =
        json!({"allowedCategories": 5, "blockedCountries": ["XX"], "merchantLock": 1, "cardPresent": "", "maxPayments": 0, "version": -1});
    let expected = [
        "allowedCategories: wrong_type",
        "blockedCountries: unknown_value",
        "merchantLock: unknown_value",
        "cardPresent: unknown_value",
        "maxPayments: out_of_range",
        "version: out_of_range",
    ];
    assert_eq!(admin.change_controls(&card, many).await.field_errors(), expected);
    assert_eq!(admin.controls(&card).await, untouched(&card));
    assert_eq!(world.database.number("select count(*) from card_controls").await, 0);
    // The bounds themselves are permitted.
    let widest = json!({
        "allowedCategories": (0..250).map(|code| format!("{code:04}")).collect::<Vec<_>>(),
        "allowedMerchants": ["x".repeat(15)], "maxPayments": 1_000_000,
    });
    let changed = admin.change_controls(&card, widest.clone()).await.ok();
    assert_eq!(changed, with(changed.clone(), widest));
}

#[tokio::test]
async fn a_change_is_made_only_for_the_version_that_it_names() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let change = |version: i64, max: i64| admin.change_controls(&card, json!({"maxPayments": max, "version": version}));
    change(1, 5).await.problem(409, "version_conflict");
    assert_eq!(change(0, 5).await.ok()["version"], 1);
    let conflict = change(0, 6).await.problem(409, "version_conflict");
    assert!(conflict["detail"].as_str().is_some_and(|detail| detail.contains("version 1 ")), "{conflict}");
    // What would change nothing is refused all the same.
    change(0, 5).await.problem(409, "version_conflict");
    assert_eq!(change(1, 6).await.ok()["version"], 2);
    assert_eq!(admin.change_controls(&card, json!({"maxPayments": 7, "version": null})).await.ok()["version"], 3);
    assert_eq!(admin.controls(&card).await["maxPayments"], 7);
}

#[tokio::test]
async fn of_concurrent_changes_for_one_version_one_is_made() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let replies = join_all((1..=8).map(|max| admin.change_controls(&card, json!({"maxPayments": max, "version": 0})))).await;
    let (done, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!((done.len(), refused.len()), (1, 7));
    for refused in refused {
        refused.problem(409, "version_conflict");
    }
    // Without a version each is made, in some order.
    join_all((1..=8).map(|max| admin.change_controls(&card, json!({"maxPayments": 100 + max})))).await.into_iter().for_each(|reply| {
        reply.ok();
    });
    assert_eq!(admin.controls(&card).await["version"], 9);
    let row = format!("select rules_version from cards where id = '{}'", card_uuid(&card));
    assert_eq!(world.database.number(&row).await, 9);
}

#[tokio::test]
async fn the_audit_log_and_the_feed_tell_every_change_once_with_the_card_s_sequence() {
    let (_world, admin) = World::with_admin().await;
    let admin = admin.with_feed().await;
    let card = admin.given_card_with(json!(100)).await;
    let before = admin.controls(&card).await;
    let first = admin.change_controls(&card, json!({"allowedCountries": ["CO"], "merchantLock": {"merchantId": "M1"}})).await.ok();
    // None of these changes anything.
    for same in [
        json!({}),
        json!({"allowedCountries": ["CO"]}),
        json!({"allowedCountries": ["CO", "CO"], "version": 1}),
        json!({"maxPayments": null}),
    ] {
        assert_eq!(admin.change_controls(&card, same.clone()).await.ok(), first, "{same}");
    }
    admin.add(&card, json!(1)).await.ok();
    let second = admin.change_controls(&card, json!({"allowedCountries": null, "maxPayments": 4})).await.ok();
    admin.change_controls(&card, json!({"version": 1, "maxPayments": 5})).await.problem(409, "version_conflict");
    admin.change_controls(&card, json!({"maxPayments": 0})).await.field_errors();

    let change = |before: &Value, after: &Value| ("card_controls_changed".to_owned(), recorded(before), recorded(after));
    let logged = admin.logged_of(&[&card]).await;
    let logged: Vec<_> = logged.into_iter().filter(|(name, ..)| name == "card_controls_changed").collect();
    assert_eq!(logged, [change(&before, &first), change(&first, &second)]);

    let events = admin.events("").await;
    let expected =
        ["card.created", "card.activated", "movement.created", "card.controls_updated", "movement.created", "card.controls_updated"];
    assert_eq!(types(&events), expected);
    assert_eq!(sequences(&events, &card), [1, 2, 3, 4, 5, 6]);
    for (event, controls) in [(&events[3], &first), (&events[5], &second)] {
        assert_eq!(event["data"], json!({"card": {"cardId": card, "controls": recorded(controls)}}));
    }
}

#[tokio::test]
async fn the_controls_of_every_card_can_be_read_and_of_every_card_but_a_cancelled_one_changed() {
    let (_world, admin) = World::with_admin().await;
    for status in CardStatus::ALL {
        let card = admin.given_card_in(status).await;
        let reply = admin.change_controls(&card, json!({"maxPayments": 2})).await;
        if status == CardStatus::Cancelled {
            reply.problem(409, "card_cancelled");
            assert_eq!(admin.controls(&card).await, untouched(&card));
        } else {
            assert_eq!(reply.ok(), admin.controls(&card).await);
        }
    }
    let unknown = "card_01h455vb4pex5vsknk084sn02q";
    for card in ["card_001", unknown] {
        admin.get(&format!("/cards/{card}/controls")).await.problem(404, "card_not_found");
        admin.change_controls(card, json!({"maxPayments": 2})).await.problem(404, "card_not_found");
    }
}

#[tokio::test]
async fn a_repeated_change_under_a_key_is_made_once() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let path = format!("/cards/{card}/controls");
    let change = |key: &'static str, max: i64| {
        let (admin, path) = (admin.clone(), path.clone());
        async move { admin.keyed(key, Method::PATCH, &path, &json!({"maxPayments": max, "version": 0})).await }
    };
    let first = change("one", 5).await;
    let again = change("one", 5).await;
    assert_eq!((again.status, again.header("idempotent-replayed"), &again.text), (200, Some("true"), &first.text));
    change("one", 6).await.problem(422, "idempotency_key_reused");
    let refused = change("two", 6).await;
    assert_eq!((refused.status, &change("two", 6).await.text), (409, &refused.text));
    assert_eq!(admin.controls(&card).await["version"], 1);
}

/// Pays with a card in every way, and returns how many payments that counts as.
async fn pay(admin: &Actor, card: &str) -> i64 {
    // An approval counts by its amount, whatever comes of it.
    admin.given_hold(card, json!(1.01)).await;
    let reversed = admin.given_hold(card, json!(50)).await;
    admin.step(&reversed, "reversals", json!({})).await.ok();
    admin.authorize_with(card, json!(20), json!({"standIn": true})).await.ok();
    // A small one counts when it is captured.
    admin.given_hold(card, json!(1)).await;
    let probe = admin.given_hold(card, json!(1)).await;
    admin.capture(&probe, json!(0.5)).await.ok();
    let expired = admin.given_hold(card, json!(0.01)).await;
    admin.expire(&expired).await.ok();
    // These count for nothing.
    admin.authorize_with(card, json!(0), json!({"kind": "verification"})).await.ok();
    admin.authorize(card, json!(1_000_000)).await.ok();
    admin.add(card, json!(1)).await.ok();
    admin.withdraw(card, json!(1)).await.ok();
    admin.network_refund(card, json!(1), json!({})).await.ok();
    // What was not authorised counts when it is posted, and a single message like an approval.
    admin.force_post(card, json!(0.5)).await.ok();
    admin.purchase(card, json!(0.5)).await.ok();
    admin.network("purchases", json!({"cardId": card, "amount": 0.5})).await.ok();
    7
}

#[tokio::test]
async fn max_payments_counts_what_the_card_did_before_and_what_it_does() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(1000)).await;
    admin.change_controls(&card, json!({"blockedCountries": ["AQ"]})).await.ok();
    admin.change_controls(&card, json!({"blockedCountries": null})).await.ok();
    let before = pay(&admin, &card).await;
    assert_eq!(admin.controls(&card).await["payments"], 0, "without maxPayments nothing is counted");
    let limited = admin.change_controls(&card, json!({"maxPayments": 100})).await.ok();
    assert_eq!(limited["payments"], before);
    let after = before + pay(&admin, &card).await;
    let counted = admin.controls(&card).await;
    assert_eq!(counted["payments"], after);
    assert_eq!(counted["version"], limited["version"], "a payment is no change of the controls");
    // Another number of them keeps the count, and so does setting one again.
    assert_eq!(admin.change_controls(&card, json!({"maxPayments": 200})).await.ok()["payments"], after);
    assert_eq!(admin.change_controls(&card, json!({"maxPayments": null})).await.ok()["payments"], 0);
    let after = after + pay(&admin, &card).await;
    assert_eq!(admin.change_controls(&card, json!({"maxPayments": 100})).await.ok()["payments"], after);
}

#[tokio::test]
async fn a_lock_to_the_first_merchant_shows_the_merchant_that_it_became() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    let first = admin.change_controls(&card, json!({"merchantLock": "first"})).await.ok();
    assert_eq!(first["merchantLock"], "first");
    admin.authorize_with(&card, json!(0), json!({"kind": "verification", "merchant": {"id": "PROBE"}})).await.ok();
    assert_eq!(admin.controls(&card).await, first);
    admin.authorize_with(&card, json!(5), json!({"merchant": {"id": "M1"}})).await.ok();
    let locked = admin.controls(&card).await;
    assert_eq!(locked["merchantLock"], json!({"merchantId": "M1"}));
    // Whoever read that it was not locked yet does not take the lock away.
    let late = json!({"merchantLock": "first", "cardPresent": "notPresent", "version": first["version"]});
    admin.change_controls(&card, late).await.problem(409, "version_conflict");
    // It can be changed back, and be cleared.
    assert_eq!(admin.change_controls(&card, json!({"merchantLock": "first"})).await.ok()["merchantLock"], "first");
    assert_eq!(admin.change_controls(&card, json!({"merchantLock": null})).await.ok()["merchantLock"], Value::Null);
}
