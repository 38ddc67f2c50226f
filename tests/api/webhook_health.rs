//! How an endpoint that fails is spared, and given up after days.

use std::time::Duration;

use core_api::domain::id::WebhookEndpointId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Actor, World,
    receiver::{Answer, Receiver},
};

/// An endpoint that has failed before: since when, and how often.
async fn failing(world: &World, admin: &Actor, url: &str, since: &str, failures: u32) -> String {
    let endpoint = admin.given_endpoint(url, json!({"eventTypes": ["customer.*"]})).await;
    let id = Uuid::from(endpoint.parse::<WebhookEndpointId>().expect("an id"));
    let sql = format!("update webhook_endpoints set failing_since = now() - interval '{since}', failures = {failures} where id = '{id}'");
    world.database.execute(&sql).await;
    endpoint
}

/// Waits until an endpoint has had so many attempts.
async fn wait_for_attempts(admin: &Actor, endpoint: &str, count: usize) {
    for _ in 0..500 {
        let attempts = admin.get(&format!("/webhook-endpoints/{endpoint}/attempts")).await.ok();
        if attempts["attempts"].as_array().expect("a list").len() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{endpoint} had no {count} attempts");
}

#[tokio::test]
async fn an_endpoint_that_fails_for_five_days_is_disabled_once() {
    let world = World::of_replicas(2, |_| {}).await;
    let admin = world.admin().await;
    let receiver = Receiver::answering(|_, _| Answer::status(500)).await;
    let given_up = failing(&world, &admin, receiver.url(), "5 days 1 second", 19).await;
    let few = failing(&world, &admin, receiver.url(), "9 days", 18).await;
    let young = failing(&world, &admin, receiver.url(), "4 days 23 hours 59 minutes", 500).await;
    admin.given_customer().await;
    for endpoint in [&given_up, &few, &young] {
        wait_for_attempts(&admin, endpoint, 1).await;
    }
    let disabled = "select count(*) from webhook_endpoints where status = 'disabled'";
    world.database.wait_for(1, disabled).await;
    let found = admin.endpoint(&given_up).await;
    assert_eq!((&found["status"], &found["disabledReason"]), (&json!("disabled"), &json!("failing")));
    assert_eq!(found["pending"], 1, "nothing is lost");
    for endpoint in [&few, &young] {
        let found = admin.endpoint(endpoint).await;
        assert_eq!((&found["status"], &found["disabledReason"]), (&json!("enabled"), &Value::Null));
    }
    // The next failure is the twentieth.
    admin.given_customer().await;
    world.database.wait_for(2, disabled).await;
    assert_eq!(admin.endpoint(&few).await["disabledReason"], "failing");
    let told = admin.events("types=webhook_endpoint.disabled").await;
    let told: Vec<Value> = told.iter().map(|event| event["data"]["webhookEndpoint"].clone()).collect();
    let of = |endpoint: &str| json!({"webhookEndpointId": endpoint, "status": "disabled", "disabledReason": "failing"});
    assert_eq!(told, [of(&given_up), of(&few)]);
    let logged = admin.get("/audit-events?type=webhook_endpoint_disabled").await.ok();
    let logged = logged["auditEvents"].as_array().expect("a list");
    assert_eq!(logged.len(), 2);
    assert_eq!((&logged[1]["subjectId"], &logged[1]["userId"], &logged[1]["apiKeyId"]), (&json!(given_up), &Value::Null, &Value::Null));
    assert_eq!(admin.endpoint(&young).await["status"], "enabled");
    let sent = receiver.received().len();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(receiver.received().len() <= sent + 1, "disabled endpoints are sent nothing");
}

#[tokio::test]
async fn a_success_begins_the_count_anew() {
    let (world, admin) = World::with_admin().await;
    let receiver = Receiver::answering(|_, before| Answer::status(if before == 0 { 200 } else { 500 })).await;
    let endpoint = failing(&world, &admin, receiver.url(), "30 days", 1_000).await;
    admin.given_customer().await;
    wait_for_attempts(&admin, &endpoint, 1).await;
    let found = admin.endpoint(&endpoint).await;
    assert_eq!((&found["status"], &found["failingSince"]), (&json!("enabled"), &Value::Null));
    admin.given_customer().await;
    wait_for_attempts(&admin, &endpoint, 2).await;
    let found = admin.endpoint(&endpoint).await;
    assert!(found["status"] == "enabled" && found["failingSince"].is_string());
    assert_eq!(world.database.number("select failures::bigint from webhook_endpoints").await, 1);
}

#[tokio::test]
async fn an_endpoint_that_is_enabled_again_gets_what_it_missed_and_its_chances() {
    let (world, admin) = World::with_admin().await;
    let receiver = Receiver::answering(|_, _| Answer::status(500)).await;
    let endpoint = failing(&world, &admin, receiver.url(), "6 days", 100).await;
    admin.given_customer().await;
    world.database.wait_for(1, "select count(*) from webhook_endpoints where status = 'disabled'").await;
    admin.given_customer().await;
    admin.given_customer().await;
    assert_eq!(admin.endpoint(&endpoint).await["pending"], 3);
    let enabled = admin.change_endpoint(&endpoint, json!({"status": "enabled"})).await;
    assert_eq!((&enabled["disabledReason"], &enabled["failingSince"]), (&Value::Null, &Value::Null));
    wait_for_attempts(&admin, &endpoint, 4).await;
    assert_eq!(admin.endpoint(&endpoint).await["status"], "enabled");
    receiver.answer(|_, _| Answer::status(200));
    admin.wait_until_delivered(&endpoint).await;
    assert_eq!(receiver.events().len(), 3);
}

#[tokio::test]
async fn an_endpoint_that_fails_ten_times_in_a_row_gets_one_attempt_in_half_a_minute() {
    let (_world, admin) = World::with_admin().await;
    let (receiver, other) = (Receiver::answering(|_, _| Answer::status(500)).await, Receiver::start().await);
    let endpoint = admin.given_endpoint(receiver.url(), json!({"eventTypes": ["customer.*"], "maxConcurrency": 2})).await;
    let healthy = admin.given_endpoint(other.url(), json!({"eventTypes": ["customer.*"]})).await;
    for _ in 0..40 {
        admin.given_customer().await;
    }
    receiver.wait_for(10).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let opened = receiver.received().len();
    assert!((10..=11).contains(&opened), "{opened} attempts, of which at most two at a time");
    // Longer than the first pause of the schedule would be.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(receiver.received().len(), opened);
    let deliveries = admin.deliveries(&endpoint, "status=pending").await;
    let started: i64 = deliveries.iter().map(|delivery| delivery["attempts"].as_i64().expect("a number")).sum();
    assert_eq!(usize::try_from(started), Ok(opened), "an attempt counts that was not started");
    // One that only waits can be scheduled anew.
    let waiting = deliveries.iter().find(|delivery| delivery["attempts"] == 0).expect("one that was not sent");
    let only = json!({"webhookEndpointId": endpoint});
    let again = admin.post(&format!("/events/{}/resend", waiting["eventId"].as_str().expect("an id")), only).await.ok();
    assert_eq!(again, json!({"scheduled": 1}));
    admin.wait_until_delivered(&healthy).await;
    assert_eq!(other.received().len(), 40);
    let found = admin.endpoint(&endpoint).await;
    assert_eq!((&found["status"], &found["pending"]), (&json!("enabled"), &json!(40)));
}
