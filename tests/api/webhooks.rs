//! Webhooks: what arrives at an endpoint, in which order, how it is signed, and when it is tried again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    World,
    feed::{sequences, types},
    receiver::{Answer, Received, Receiver},
};

#[tokio::test]
async fn an_endpoint_gets_every_event_signed_and_as_the_feed_has_it() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(100)).await;
    admin.capture(&hold, json!(60)).await.ok();
    let feed = admin.events("").await;
    assert_eq!(
        types(&feed),
        ["card.created", "card.activated", "movement.created", "authorization.approved", "authorization.captured", "movement.created"]
    );
    receiver.wait_for(6).await;
    let secret = admin.endpoint_secret(&endpoint).await;
    let mut messages = receiver.received();
    for message in &messages {
        assert!(message.is_signed_with(&secret), "{message:?}");
        assert_eq!(message.headers["content-type"], "application/json");
        assert_eq!(message.event()["id"], message.id);
        assert!(message.id.starts_with("msg_") && message.signature.starts_with("v1,") && !message.signature.contains(' '));
    }
    messages.sort_by_key(|message| feed.iter().position(|event| event["id"] == message.id));
    assert_eq!(messages.iter().map(Received::event).collect::<Vec<_>>(), feed);
    let after = admin.wait_until_delivered(&endpoint).await;
    assert_eq!((&after["status"], &after["failingSince"], &after["lagSeconds"]), (&json!("enabled"), &Value::Null, &json!(0)));
    assert!(after["lastSuccessAt"].is_string());
    let deliveries = admin.deliveries(&endpoint, "status=delivered").await;
    assert_eq!(deliveries.len(), 6);
    assert!(deliveries.iter().all(|delivery| delivery["attempts"] == 1 && delivery["nextAttemptAt"].is_null()));
    let attempts = admin.get(&format!("/webhook-endpoints/{endpoint}/attempts")).await.ok();
    let attempts = attempts["attempts"].as_array().expect("a list");
    assert!(attempts.len() == 6 && attempts.iter().all(|attempt| attempt["outcome"] == "succeeded" && attempt["statusCode"] == 204));
}

#[tokio::test]
async fn an_endpoint_gets_the_types_that_it_takes_and_begins_where_it_is_told() {
    let (_world, admin) = World::with_admin().await;
    let admin = admin.with_feed().await;
    let card = admin.given_card_with(json!(1)).await;
    let feed = admin.events("").await;
    let second = feed[1]["id"].as_str().expect("an id");
    for (start, expected) in [
        (json!("now"), vec!["movement.created"]),
        (json!("beginning"), vec!["card.created", "card.activated", "movement.created", "movement.created"]),
        (json!(second), vec!["movement.created", "movement.created"]),
    ] {
        let receiver = Receiver::start().await;
        let types_ = json!(["card.*", "movement.created"]);
        let endpoint = admin.given_endpoint(receiver.url(), json!({"startFrom": start, "eventTypes": types_, "ordering": "card"})).await;
        admin.given_customer().await;
        admin.add(&card, json!(1)).await.ok();
        receiver.wait_for(expected.len()).await;
        admin.wait_until_delivered(&endpoint).await;
        let events = receiver.events();
        assert_eq!(types(&events)[..expected.len()], expected, "{start}");
        admin.delete(&format!("/webhook-endpoints/{endpoint}")).await.ok();
    }
}

#[tokio::test]
async fn a_failed_message_is_sent_again_with_the_same_id_and_a_new_time() {
    let (_world, admin) = World::with_admin().await;
    let receiver =
        Receiver::answering(|_, before| Answer { body: "not now".to_owned(), ..Answer::status(if before == 0 { 500 } else { 200 }) }).await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    admin.given_customer().await;
    receiver.wait_for(1).await;
    // The second attempt comes after five seconds, a fifth more or less.
    let failing = loop {
        let found = admin.endpoint(&endpoint).await;
        if found["failingSince"].is_string() {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&failing["pending"], &failing["status"]), (&json!(1), &json!("enabled")));
    let delivery = &admin.deliveries(&endpoint, "status=pending").await[0];
    assert_eq!(delivery["attempts"], 1);
    let messages = receiver.wait_for(2).await;
    let waited = messages[1].at - messages[0].at;
    assert!((Duration::from_millis(3_900)..Duration::from_secs(9)).contains(&waited), "{waited:?}");
    assert_eq!(messages[0].id, messages[1].id);
    assert_eq!(messages[0].text, messages[1].text);
    assert!(messages[0].timestamp < messages[1].timestamp);
    let healthy = admin.wait_until_delivered(&endpoint).await;
    assert_eq!(healthy["failingSince"], Value::Null);
    let delivery = delivery["deliveryId"].as_str().expect("an id");
    let attempts = admin.get(&format!("/deliveries/{delivery}/attempts")).await.ok();
    let attempts = attempts["attempts"].as_array().expect("a list");
    let shown: Vec<_> =
        attempts.iter().map(|attempt| (attempt["number"].as_i64(), attempt["outcome"].as_str(), attempt["statusCode"].as_i64())).collect();
    assert_eq!(shown, [(Some(2), Some("succeeded"), Some(200)), (Some(1), Some("http_error"), Some(500))]);
    assert_eq!(attempts[1]["responseBody"], "not now");
    assert!(attempts[1]["nextAttemptAt"].is_string() && attempts[0]["nextAttemptAt"].is_null());
}

#[tokio::test]
async fn with_ordering_an_event_of_a_card_waits_for_the_one_before_and_other_cards_do_not() {
    let (_world, admin) = World::with_admin().await;
    // Each message takes a while, and the first one fails once.
    let receiver =
        Receiver::answering(|_, before| Answer::status(if before == 0 { 500 } else { 200 }).after(Duration::from_millis(20))).await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({"ordering": "card", "maxConcurrency": 20})).await;
    let cards = [admin.given_card_with(json!(100)).await, admin.given_card_with(json!(100)).await, admin.given_card_with(json!(100)).await];
    for _ in 0..5 {
        for card in &cards {
            admin.purchase(card, json!(1)).await.ok();
        }
    }
    admin.wait_until_delivered(&endpoint).await;
    let messages: Vec<Value> = receiver.received().iter().map(Received::event).collect();
    for card in &cards {
        let mut order = sequences(&messages, card);
        order.dedup();
        assert_eq!(order, (1..=8).collect::<Vec<i64>>(), "{card}");
    }
    assert!(receiver.most_at_a_time() > 1, "cards waited for each other");
}

#[tokio::test]
async fn no_more_messages_are_sent_at_a_time_than_an_endpoint_takes() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::answering(|_, _| Answer::status(200).after(Duration::from_millis(30))).await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({"maxConcurrency": 3})).await;
    let card = admin.given_card_with(json!(100)).await;
    for _ in 0..30 {
        admin.add(&card, json!(1)).await.ok();
    }
    admin.wait_until_delivered(&endpoint).await;
    assert_eq!((receiver.received().len(), receiver.most_at_a_time()), (33, 3));
}

#[tokio::test]
async fn during_a_rotation_messages_have_two_signatures() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    let old = admin.endpoint_secret(&endpoint).await;
    let rotated = admin.post(&format!("/webhook-endpoints/{endpoint}/secret/rotate"), json!({})).await.ok();
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    assert!(rotated["overlapEndsAt"].is_string() && new != old);
    assert_eq!(admin.endpoint_secret(&endpoint).await, new);
    admin.given_customer().await;
    let message = receiver.wait_for(1).await[0].clone();
    assert_eq!(message.signature.split(' ').count(), 2);
    assert!(message.is_signed_with(&old) && message.is_signed_with(&new));

    // Without an overlap the old secret ends at once.
    let rotated = admin.post(&format!("/webhook-endpoints/{endpoint}/secret/rotate"), json!({"overlapSeconds": 0})).await.ok();
    let newest = rotated["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(rotated["overlapEndsAt"], Value::Null);
    let attempt = admin.post(&format!("/webhook-endpoints/{endpoint}/test"), json!({})).await.ok();
    assert_eq!(attempt["outcome"], "succeeded");
    let message = receiver.received().last().expect("the test").clone();
    assert_eq!(message.event()["type"], "webhook.test");
    assert!(message.is_signed_with(&newest) && !message.is_signed_with(&new) && !message.signature.contains(' '));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_at_once_and_loses_nothing() {
    let (_world, admin) = World::with_admin().await;
    let (receiver, other) = (Receiver::answering(|_, _| Answer::status(410)).await, Receiver::start().await);
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    admin.given_endpoint(other.url(), json!({"eventTypes": ["webhook_endpoint.*"]})).await;
    admin.given_customer().await;
    let told = other.wait_for(1).await[0].event();
    assert_eq!(told["type"], "webhook_endpoint.disabled");
    let data = &told["data"]["webhookEndpoint"];
    assert_eq!((&data["webhookEndpointId"], &data["disabledReason"]), (&json!(endpoint), &json!("gone")));
    let found = admin.endpoint(&endpoint).await;
    assert_eq!((&found["status"], &found["disabledReason"]), (&json!("disabled"), &json!("gone")));
    let (card, before) = (admin.given_card_with(json!(5)).await, receiver.received().len());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(receiver.received().len(), before, "something was sent to a disabled endpoint");

    // What happened meanwhile comes, from where it stopped.
    receiver.answer(|_, _| Answer::status(200));
    let enabled = admin.change_endpoint(&endpoint, json!({"status": "enabled", "resumeFrom": "cursor"})).await;
    assert_eq!((&enabled["status"], &enabled["disabledReason"]), (&json!("enabled"), &Value::Null));
    admin.wait_until_delivered(&endpoint).await;
    let events = receiver.events();
    assert_eq!(sequences(&events, &card), [1, 2, 3]);
    let all = admin.events("").await;
    assert_eq!(events.len(), all.len(), "{:?}", types(&events));
    other.wait_for(2).await;
}

#[tokio::test]
async fn an_endpoint_that_is_enabled_again_can_skip_what_happened_meanwhile() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({"eventTypes": ["movement.*"]})).await;
    let card = admin.given_card_with(json!(5)).await;
    admin.wait_until_delivered(&endpoint).await;
    let disabled = admin.change_endpoint(&endpoint, json!({"status": "disabled"})).await;
    assert_eq!((&disabled["status"], &disabled["disabledReason"]), (&json!("disabled"), &json!("operator")));
    admin.add(&card, json!(1)).await.ok();
    admin.add(&card, json!(2)).await.ok();
    assert_eq!(admin.endpoint(&endpoint).await["pending"], json!(2));
    admin.change_endpoint(&endpoint, json!({"status": "enabled", "resumeFrom": "now"})).await;
    admin.add(&card, json!(3)).await.ok();
    receiver.wait_for(2).await;
    admin.wait_until_delivered(&endpoint).await;
    let amounts: Vec<Value> = receiver.events().iter().map(|event| event["data"]["movement"]["amount"].clone()).collect();
    assert_eq!(amounts, [json!(5), json!(3)]);
    // A replay sends what was skipped.
    let day = json!({"from": "2020-01-01", "to": "2020-01-31", "only": "missing"});
    assert_eq!(admin.post(&format!("/webhook-endpoints/{endpoint}/replay"), day).await.ok(), json!({"matched": 0, "scheduled": 0}));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::answering(|_, before| match before {
        0 => Answer { headers: vec![("retry-after", "9".to_owned())], ..Answer::status(429) },
        _ => Answer::status(200),
    })
    .await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    let started = Instant::now();
    admin.given_customer().await;
    let messages = receiver.wait_for(2).await;
    let waited = messages[1].at - messages[0].at;
    assert!((Duration::from_millis(8_900)..Duration::from_secs(12)).contains(&waited), "{waited:?}");
    admin.wait_until_delivered(&endpoint).await;
    assert!(started.elapsed() < Duration::from_secs(15));
}
