//! Changes of limits of cards and of customers, what the audit log and the feed tell of them, and what happens when several
//! come at once.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    feed::{sequences, types},
    patient,
    payments::{card_uuid, with},
    spending::{limit_id, limit_with, moment, recorded},
    without_quota,
};

#[tokio::test]
async fn a_change_sets_what_it_names_and_leaves_the_rest() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let mut expected = admin.limit_card(&card, limit_with(json!({"name": "Travel", "categories": ["4511"]}))).await.ok();
    let limit = limit_id(&expected);
    for (change, shown) in [
        (json!({"amount": 500.5}), json!({"remaining": 500.5})),
        (json!({"count": 7}), json!({"remainingCount": 7})),
        (json!({"amount": null}), json!({"remaining": null})),
        (json!({"status": "paused"}), json!({})),
        (json!({"name": null}), json!({})),
        (json!({"name": "Trips", "amount": 0, "count": null, "status": "active"}), json!({"remaining": 0, "remainingCount": null})),
    ] {
        let changed = admin.change_limit(&limit, change.clone()).await.ok();
        assert!(moment(&changed["updatedAt"]) >= moment(&expected["updatedAt"]), "{change}");
        expected = with(with(with(expected, change), shown), json!({"updatedAt": changed["updatedAt"]}));
        assert_eq!(changed, expected);
        assert_eq!(admin.card_limits(&card).await["limits"], json!([expected]));
    }
    // None of these changes anything.
    for same in [json!({}), json!({"status": null}), json!({"amount": 0, "name": " Trips"}), json!({"count": null, "unknown": 1})] {
        assert_eq!(admin.change_limit(&limit, same).await.ok(), expected);
    }
    for nothing in [json!({"amount": null}), json!({"amount": null, "count": null, "name": "x"})] {
        admin.change_limit(&limit, nothing).await.problem(409, "limit_on_nothing");
    }
    let single = admin.given_limit(&card, limit_with(json!({"interval": "transaction"}))).await;
    for nothing in [json!({"count": 5}), json!({"count": 5, "amount": null}), json!({"amount": null})] {
        admin.change_limit(&single, nothing).await.problem(409, "limit_on_nothing");
    }
    assert_eq!(admin.change_limit(&single, json!({"amount": 5, "count": null})).await.ok()["amount"], 5);
    assert_eq!(admin.card_limits(&card).await["limits"][0], expected);
}

#[tokio::test]
async fn the_audit_log_and_the_feed_tell_every_change_of_a_limit_once() {
    let (world, admin) = World::with_admin().await;
    let admin = admin.with_feed().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    admin.assign(&card, &customer).await.ok();
    let rules = format!("select rules_version from cards where id = '{}'", card_uuid(&card));
    assert_eq!(world.database.number(&rules).await, 0);
    let (mut logged, mut told, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for of_card in [true, false] {
        let members = limit_with(json!({"name": "Confidential", "categories": ["4511"]}));
        let created = if of_card { admin.limit_card(&card, members).await } else { admin.limit_customer(&customer, members).await }.ok();
        let limit = limit_id(&created);
        admin.change_limit(&limit, json!({"amount": 300, "status": "active"})).await.ok();
        let changed = admin.change_limit(&limit, json!({"amount": 5, "status": "paused"})).await.ok();
        admin.change_limit(&limit, json!({"amount": null})).await.problem(409, "limit_on_nothing");
        assert_eq!(admin.delete(&format!("/limits/{limit}")).await.ok(), json!({"success": true}));
        admin.delete(&format!("/limits/{limit}")).await.problem(404, "limit_not_found");
        let [created, changed] = [created, changed].map(|limit| recorded(&limit));
        logged.push(("limit_created".to_owned(), Value::Null, created.clone()));
        logged.push(("limit_changed".to_owned(), created.clone(), changed.clone()));
        logged.push(("limit_deleted".to_owned(), changed.clone(), Value::Null));
        let id = if of_card { json!(card) } else { Value::Null };
        for (name, limit) in [("limit.created", &created), ("limit.updated", &changed), ("limit.deleted", &changed)] {
            told.push((json!(name), id.clone(), json!({"limit": limit})));
        }
        ids.push(limit);
    }
    assert_eq!(admin.logged_of(&[&ids[0], &ids[1]]).await, logged);
    let events = admin.events("types=limit.*").await;
    let found: Vec<_> = events.iter().map(|event| (event["type"].clone(), event["cardId"].clone(), event["data"].clone())).collect();
    assert_eq!(found, told);
    assert_eq!(types(&admin.events("types=limit.updated").await), ["limit.updated"; 2]);
    // Its creation and assignment came before.
    assert_eq!(sequences(&events, &card), [3, 4, 5]);
    assert_eq!(world.database.number(&rules).await, 6, "each change is known at each card that it applies to");
    let texts = admin.get("/audit-events").await.text + &admin.get("/events").await.text;
    assert!(!texts.contains("Confidential"), "a name may be a person's");
}

#[tokio::test]
async fn a_change_of_a_customer_s_limit_is_known_at_its_cards_in_the_limit_s_currency_alone() {
    let (world, admin) = World::with_admin().await;
    let customer = admin.given_customer().await;
    let mut cards = Vec::new();
    for currency in ["USD", "USD", "EUR"] {
        let card = admin.post("/cards", json!({"currency": currency})).await.ok()["cardId"].as_str().expect("an id").to_owned();
        admin.assign(&card, &customer).await.ok();
        cards.push(card);
    }
    cards.push(admin.given_card().await);
    let limit = admin.given_customer_limit(&customer, limit_with(json!({}))).await;
    admin.change_limit(&limit, json!({"amount": 1})).await.ok();
    let mut versions = Vec::new();
    for card in &cards {
        versions.push(world.database.number(&format!("select rules_version from cards where id = '{}'", card_uuid(card))).await);
    }
    assert_eq!(versions, [2, 2, 0, 0]);
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_limit() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    let limit = admin.given_limit(&card, limit_with(json!({}))).await;
    let kept = admin.given_limit(&card, limit_with(json!({}))).await;
    admin.given_hold(&card, json!(10)).await;
    assert_eq!(world.database.number("select count(*) from limit_usage").await, 2);
    admin.delete(&format!("/limits/{limit}")).await.ok();
    admin.change_limit(&limit, json!({"amount": 5})).await.problem(404, "limit_not_found");
    let left = admin.card_limits(&card).await["limits"].clone();
    assert_eq!((&left[0]["limitId"], &left[0]["used"], left[1].is_null()), (&json!(kept), &json!(10), true));
    assert_eq!(world.database.number("select count(*) from limit_usage").await, 1);
    // What it counted can still come to its end.
    admin.given_hold(&card, json!(20)).await;
    assert_eq!(admin.card_limits(&card).await["limits"][0]["used"], 30);
}

#[tokio::test]
async fn concurrent_requests_do_not_exceed_the_number_of_limits() {
    // All wait for one lock, and their connections with them.
    let world = World::with(|settings| {
        without_quota(settings);
        patient(settings);
    })
    .await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    admin.assign(&card, &customer).await.ok();
    let create = |admin: Actor, of_card: bool| {
        let (card, customer) = (card.clone(), customer.clone());
        async move {
            if of_card {
                admin.limit_card(&card, limit_with(json!({}))).await
            } else {
                admin.limit_customer(&customer, limit_with(json!({}))).await
            }
        }
    };
    let requests = (0..48).map(|number| create(admin.clone(), number % 2 == 0));
    let mut created = 0;
    for reply in join_all(requests).await {
        if reply.status == 200 {
            created += 1;
        } else {
            reply.problem(409, "too_many_limits");
        }
    }
    assert_eq!(created, 40);
    let limits = admin.card_limits(&card).await["limits"].as_array().expect("a list").clone();
    assert_eq!(limits.len(), 40);
    for limit in [&limits[3], &limits[30]] {
        admin.delete(&format!("/limits/{}", limit_id(limit))).await.ok();
    }
    for of_card in [true, false] {
        create(admin.clone(), of_card).await.ok();
        create(admin.clone(), of_card).await.problem(409, "too_many_limits");
    }
}

#[tokio::test]
async fn a_repeated_request_under_a_key_creates_and_changes_once() {
    let (_world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    let (of_card, of_customer) = (format!("/cards/{card}/limits"), format!("/customers/{customer}/limits"));
    let mut created = Vec::new();
    for (key, path, other) in [("one", &of_card, json!({"amount": 5})), ("two", &of_customer, json!({"name": "x"}))] {
        let body = if path == &of_customer { limit_with(json!({"currency": "USD"})) } else { limit_with(json!({})) };
        let first = admin.keyed(key, Method::POST, path, &body).await;
        let again = admin.keyed(key, Method::POST, path, &body).await;
        assert_eq!((again.status, again.header("idempotent-replayed"), &again.text), (200, Some("true"), &first.text));
        admin.keyed(key, Method::POST, path, &with(body, other)).await.problem(422, "idempotency_key_reused");
        created.push(limit_id(&first.ok()));
    }
    let path = format!("/limits/{}", created[0]);
    let change = async || admin.keyed("three", Method::PATCH, &path, &json!({"amount": 7})).await;
    let first = change().await;
    admin.change_limit(&created[0], json!({"amount": 8})).await.ok();
    assert_eq!(change().await.text, first.text, "the answer is the one of its time");
    let of_both = [admin.card_limits(&card).await["limits"].clone(), json!(admin.customer_limits(&customer).await)];
    let ids = of_both.map(|limits| (limits[0]["limitId"].clone(), limits[0]["amount"].clone(), limits[1].clone()));
    assert_eq!(ids, [(json!(created[0]), json!(8), Value::Null), (json!(created[1]), json!(300), Value::Null)]);
    assert_eq!(admin.logged_of(&[&created[0], &created[1]]).await.len(), 4);
}
