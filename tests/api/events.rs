//! The feed of an account over HTTP: what is in it, and how it is read.

use std::time::{Duration, Instant};

use core_api::domain::role::Role;
use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    feed::{sequences, types},
    payments::{id, without_entries},
    without_quota,
};

async fn with_feed() -> (World, Actor) {
    let (world, admin) = World::with_admin().await;
    (world, admin.with_feed().await)
}

#[tokio::test]
async fn everything_that_happens_to_a_card_has_an_event_without_a_gap() {
    let (_world, admin) = with_feed().await;
    let customer = admin.given_customer().await;
    let card = admin.given_card().await;
    admin.assign(&card, &customer).await.ok();
    admin.set_status(&card, "active").await.ok();
    admin.add(&card, json!(500)).await.ok();
    let hold = admin.given_hold(&card, json!(100)).await;
    admin.step(&hold, "increments", json!({"amount": 20})).await.ok();
    admin.step(&hold, "increments", json!({"amount": 9000})).await.ok();
    admin.step(&hold, "adjustments", json!({"amount": 110})).await.ok();
    admin.step(&hold, "reversals", json!({"amount": 10})).await.ok();
    let captured = admin.capture(&hold, json!(100)).await.ok();
    admin.authorize_with(&card, json!(0), json!({"kind": "verification"})).await.ok();
    admin.authorize(&card, json!(5000)).await.ok();
    let released = admin.given_hold(&card, json!(7)).await;
    admin.post(&format!("/authorizations/{released}/release"), json!({"reason": "no"})).await.ok();
    let expired = admin.given_hold(&card, json!(8)).await;
    admin.post(&format!("/sandbox/authorizations/{expired}/expire"), json!({})).await.ok();
    admin.force_post(&card, json!(1000)).await.ok();
    admin.set_status(&card, "blocked").await.ok();
    admin.set_status(&card, "cancelled").await.ok();

    let events = admin.events("").await;
    assert_eq!(
        types(&events),
        [
            "customer.created",
            "card.created",
            "card.assigned",
            "card.activated",
            "movement.created",
            "authorization.approved",
            "authorization.incremented",
            "authorization.increment_declined",
            "authorization.adjusted",
            "authorization.reversed",
            "authorization.captured",
            "movement.created",
            "authorization.verified",
            "authorization.declined",
            "authorization.approved",
            "authorization.released",
            "authorization.approved",
            "authorization.expired",
            "movement.created",
            "card.overdrawn",
            "card.blocked",
            "card.cancelled",
        ],
    );
    assert_eq!(sequences(&events, &card), (1..=21).collect::<Vec<i64>>());

    // An event tells what things were, and not what they are by now.
    assert_eq!(events[0]["data"], json!({"customer": {"customerId": customer}}));
    assert_eq!((&events[0]["cardId"], &events[0]["sequence"]), (&Value::Null, &Value::Null));
    assert_eq!(events[1]["data"], json!({"card": {"cardId": card, "status": "inactive", "currency": "USD", "customerId": null}}));
    assert_eq!(events[2]["data"], json!({"card": {"cardId": card, "customerId": customer}}));
    assert_eq!(events[3]["data"], json!({"card": {"cardId": card, "status": "active"}, "previousStatus": "inactive"}));
    let approved = &events[5]["data"];
    assert_eq!((&approved["authorization"]["status"], &approved["authorization"]["heldAmount"]), (&json!("pending"), &json!(100)));
    assert_eq!((&approved["balance"]["held"], &approved["balance"]["available"]), (&json!(100), &json!(400)));
    assert_eq!(approved.get("movement"), None);
    let told = &events[10]["data"];
    assert_eq!(without_entries(&told["authorization"]), without_entries(&captured["authorization"]));
    for name in ["entry", "movement", "balance"] {
        assert_eq!(told[name], captured[name], "{name}");
    }
    assert_eq!(events[11]["data"], json!({"movement": captured["movement"], "balance": captured["balance"]}));
    assert_eq!((&events[4]["data"]["balance"]["balance"], &events[4]["data"]["balance"]["held"]), (&json!(500), &json!(0)));
    let declined = &events[13]["data"];
    assert_eq!(declined["entry"]["decline"]["code"], "insufficient_funds");
    assert_eq!(declined["entry"]["checks"], declined["authorization"]["checks"]);
    assert_eq!(events[19]["data"]["balance"]["balance"], json!(-600));
    assert_eq!(events[21]["data"]["previousStatus"], "blocked");
    for event in &events {
        assert_eq!(admin.get(&format!("/events/{}", id(event))).await.ok(), *event);
    }
}

#[tokio::test]
async fn a_refund_of_later_does_not_show_in_an_earlier_event() {
    let (_world, admin) = with_feed().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    admin.step(&hold, "captures", json!({"amount": 40, "final": false})).await.ok();
    let before = admin.events("types=authorization.*").await;
    admin.network("refunds", json!({"cardId": card, "authorizationId": hold, "amount": 30, "description": "Refund"})).await.ok();
    admin.capture(&hold, json!(60)).await.ok();
    let after = admin.events("types=authorization.*").await;
    assert_eq!(after[..before.len()], before);
    let refunded: Vec<&Value> = after.iter().map(|event| &event["data"]["authorization"]["refundedAmount"]).collect();
    assert_eq!(refunded, [&json!(0), &json!(0), &json!(30)]);
}

#[tokio::test]
async fn keys_and_purchases_have_events_too() {
    let (_world, admin) = with_feed().await;
    let card = admin.given_card_with(json!(100)).await;
    let (_, program) = admin.given_api_key(Role::Network).await;
    program.network("purchases", json!({"cardId": card, "amount": 10})).await.ok();
    admin.purchase(&card, json!(5)).await.ok();
    admin.refund(&card, json!(2)).await.ok();
    admin.post("/balances/withdraw", json!({"cardId": card, "amount": 1})).await.ok();
    let events = admin.events("").await;
    assert_eq!(
        types(&events)[3..],
        [
            "api_key.created",
            "authorization.approved",
            "authorization.captured",
            "movement.created",
            "movement.created",
            "movement.created",
            "movement.created",
        ]
    );
    assert_eq!(sequences(&events, &card), (1..=9).collect::<Vec<i64>>());
    let text = serde_json::to_string(&events).expect("JSON");
    assert!(!text.contains("cak_"), "a key is in the feed");
}

#[tokio::test]
async fn an_account_without_a_feed_has_no_events_and_one_that_turns_it_off_gets_no_more() {
    let (world, admin, other) = World::with_two_accounts().await;
    let card = admin.given_card_with(json!(5)).await;
    assert_eq!(admin.get("/events/settings").await.ok(), json!({"enabled": false}));
    assert!(admin.events("").await.is_empty());
    assert_eq!(world.database.number("select count(*) from events").await, 0);

    let admin = admin.with_feed().await;
    admin.add(&card, json!(1)).await.ok();
    assert_eq!(admin.put("/events/settings", json!({"enabled": false})).await.ok(), json!({"enabled": false}));
    admin.add(&card, json!(1)).await.ok();
    admin.with_feed().await.add(&card, json!(1)).await.ok();
    let admin = world.admin().await;
    let events = admin.events("").await;
    assert_eq!(types(&events), ["movement.created"; 2]);
    // Creation, activation and the first top-up came before the feed. The gap says that the feed was off.
    assert_eq!(sequences(&events, &card), [4, 6]);
    assert!(other.events("").await.is_empty());
    let changes = admin.get("/audit-events?type=event_feed_changed").await.ok();
    let changes: Vec<&Value> = changes["auditEvents"].as_array().expect("a list").iter().map(|event| &event["after"]["enabled"]).collect();
    assert_eq!(changes, [&json!(true), &json!(false), &json!(true)]);
}

#[tokio::test]
async fn a_refused_request_has_no_event() {
    let (_world, admin) = with_feed().await;
    let card = admin.given_card_with(json!(5)).await;
    let before = admin.events("").await;
    admin.purchase(&card, json!(50)).await.problem(409, "insufficient_funds");
    admin.post("/balances/withdraw", json!({"cardId": card, "amount": 50})).await.problem(409, "insufficient_funds");
    admin.set_status(&card, "active").await.ok();
    admin.post("/customers", json!({"name": "", "email": "x"})).await.problem(400, "validation_failed");
    assert_eq!(admin.events("").await, before);
}

#[tokio::test]
async fn pages_of_any_size_give_the_same_events_and_filters_apply() {
    let (_world, admin) = with_feed().await;
    let (one, other) = (admin.given_card_with(json!(100)).await, admin.given_card_with(json!(100)).await);
    for _ in 0..5 {
        admin.purchase(&one, json!(1)).await.ok();
        admin.given_hold(&other, json!(1)).await;
    }
    let all = admin.events("").await;
    assert_eq!(all.len(), 16);
    for size in [1, 2, 3, 7, 16, 17] {
        assert_eq!(admin.events_in_pages("", size).await, all, "pages of {size}");
    }
    let passing =
        |pass: fn(&str) -> bool| all.iter().filter(|event| pass(event["type"].as_str().expect("text"))).cloned().collect::<Vec<_>>();
    for (types, pass) in [
        ("movement.created", (|name| name == "movement.created") as fn(&str) -> bool),
        ("card.*", |name| name.starts_with("card.")),
        ("card.created,authorization.*", |name| name == "card.created" || name.starts_with("authorization.")),
        ("*", |_| true),
        ("authorization.declined", |_| false),
    ] {
        for size in [1, 3, 100] {
            assert_eq!(admin.events_in_pages(&format!("types={types}"), size).await, passing(pass), "{types} {size}");
        }
    }
    for card in [&one, &other] {
        let own: Vec<Value> = all.iter().filter(|event| event["cardId"] == *card).cloned().collect();
        for size in [1, 3, 100] {
            assert_eq!(admin.events_in_pages(&format!("cardId={card}"), size).await, own);
        }
        let movements: Vec<Value> = own.iter().filter(|event| event["type"] == "movement.created").cloned().collect();
        assert_eq!(admin.events_in_pages(&format!("types=movement.*&cardId={card}"), 2).await, movements);
    }
}

#[tokio::test]
async fn a_cursor_carries_its_filters_and_a_wrong_query_is_explained() {
    let (_world, admin) = with_feed().await;
    admin.given_card_with(json!(100)).await;
    let (first, cursor) = admin.events_page("types=card.*&limit=1", None).await;
    let (rest, _) = admin.events_page("", Some(&cursor)).await;
    assert_eq!((types(&first), types(&rest)), (vec!["card.created"], vec!["card.activated"]));
    for (query, field) in [
        ("types=cards.*", "types"),
        ("types=", "types"),
        ("types=card.created,", "types"),
        ("wait=21", "wait"),
        ("wait=-1", "wait"),
        ("wait=1.5", "wait"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("after=nonsense", "after"),
        (&format!("after={cursor}&types=movement.*"), "after"),
        ("type=card.created", "type"),
    ] {
        let faults = admin.get(&format!("/events?{query}")).await.problem(400, "validation_failed")["errors"].clone();
        assert_eq!(faults[0]["field"], field, "{query}: {faults}");
    }
    admin.get("/events?cardId=card_01h455vb4pex5vsknk084sn02q").await.problem(404, "card_not_found");
    for id in ["msg_01h455vb4pex5vsknk084sn02q", "card_01h455vb4pex5vsknk084sn02q", "1"] {
        admin.get(&format!("/events/{id}")).await.problem(404, "event_not_found");
    }
    for body in [json!({}), json!({"enabled": "yes"}), json!({"enabled": null})] {
        admin.put("/events/settings", body).await.problem(400, "validation_failed");
    }
}

#[tokio::test]
async fn a_reader_that_waits_gets_the_event_soon_and_takes_no_place_in_flight() {
    let world = World::with(|settings| {
        without_quota(settings);
        settings.server.max_in_flight = 4;
    })
    .await;
    let admin = world.admin().await.with_feed().await;
    let card = admin.given_card().await;
    let (_, cursor) = admin.events_page("", None).await;
    let path = format!("/events?wait=20&after={cursor}");
    let started = Instant::now();
    let readers: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let (admin, path) = (admin.clone(), path.clone());
                async move { admin.get(&path).await }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(readers.iter().filter(|reader| !reader.is_finished()).count() >= 4, "nobody waits");
    admin.add(&card, json!(1)).await.ok();
    let mut told = 0;
    for reader in readers {
        // At first some readers may find every place taken.
        let reply = reader.await.expect("no panic");
        if reply.status == 200 {
            assert_eq!(types(reply.ok()["events"].as_array().expect("a list")), ["movement.created"]);
            told += 1;
        }
    }
    assert!(told >= 4 && started.elapsed() < Duration::from_secs(5), "{told} after {:?}", started.elapsed());
}

#[tokio::test]
async fn a_reader_waits_as_long_as_it_asks_and_no_longer() {
    let (mut world, admin) = with_feed().await;
    let started = Instant::now();
    let (events, cursor) = admin.events_page("wait=1", None).await;
    assert!(events.is_empty() && (Duration::from_secs(1)..Duration::from_secs(3)).contains(&started.elapsed()));
    // Events that do not pass the filter end no wait.
    let waiting = tokio::spawn({
        let admin = admin.clone();
        async move { admin.events_page("wait=2&types=card.*", None).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    admin.given_customer().await;
    let (events, _) = waiting.await.expect("no panic");
    assert!(events.is_empty() && started.elapsed() > Duration::from_secs(1));
    // A process that ends answers them.
    let started = Instant::now();
    let (_, cursor) = admin.events_page("", Some(&cursor)).await;
    let waiting = tokio::spawn({
        let admin = admin.clone();
        async move { admin.events_page("wait=20", Some(&cursor)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.shut_down(0);
    let (events, _) = waiting.await.expect("no panic");
    assert!(events.is_empty() && started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_reader_whose_connection_is_lost_is_told_to_try_again() {
    let (world, admin) = with_feed().await;
    let customer = admin.given_customer().await;
    // The connection is lost while the commit gives the new event its place.
    world
        .database
        .execute(
            "create function is_lost() returns trigger language plpgsql as $$
             begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
             create constraint trigger is_lost after update on event_feeds deferrable initially deferred
                 for each row execute function is_lost()",
        )
        .await;
    admin.get("/events").await.problem(503, "unavailable");
    world.database.execute("drop trigger is_lost on event_feeds").await;
    let events = admin.events("").await;
    assert_eq!(events[0]["data"]["customer"]["customerId"], *customer);
    assert_eq!(types(&events), ["customer.created"]);
}
