//! Sending events once more, one or a period, and the lists of deliveries and attempts.

use std::time::Duration;

use core_api::domain::id::{AttemptId, DeliveryId, MessageId, WebhookEndpointId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Actor, World,
    feed::types,
    receiver::{Answer, Receiver},
};

/// A day around now.
fn period() -> (String, String) {
    let now = chrono::Utc::now();
    let text = |moment: chrono::DateTime<chrono::Utc>| moment.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    (text(now - chrono::TimeDelta::hours(12)), text(now + chrono::TimeDelta::hours(12)))
}

fn replay_of(only: &str, is_trial: bool) -> Value {
    let (from, to) = period();
    json!({"from": from, "to": to, "only": only, "dryRun": is_trial})
}

/// Asks for a replay, which counts the same as a trial before it. Returns the numbers of both kinds.
async fn replay(admin: &Actor, endpoint: &str, only: &str) -> (i64, i64) {
    let path = format!("/webhook-endpoints/{endpoint}/replay");
    let trial = admin.post(&path, replay_of(only, true)).await.ok();
    let done = admin.post(&path, replay_of(only, false)).await.ok();
    assert_eq!((&trial["matched"], &trial["scheduled"]), (&done["matched"], &json!(0)), "{only}");
    (done["matched"].as_i64().expect("a number"), done["scheduled"].as_i64().expect("a number"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The events of an account, oldest first.
async fn event_ids(admin: &Actor) -> Vec<String> {
    admin.events("").await.iter().map(|event| text(&event["id"])).collect()
}

impl World {
    /// Changes the deliveries of an endpoint past the API.
    async fn set_deliveries(&self, endpoint: &str, change: &str, which: &str) {
        let id = Uuid::from(endpoint.parse::<WebhookEndpointId>().expect("an id"));
        self.database.execute(&format!("update webhook_deliveries set {change} where webhook_endpoint_id = '{id}' and {which}")).await;
    }
}

const GIVEN_UP: &str = "status = 'failed', next_attempt_at = null, delivered_at = null";

/// An SQL list of the first events.
fn sql_list(events: &[String]) -> String {
    let quoted = events.iter().map(|event| format!("'{}'", Uuid::from(event.parse::<MessageId>().expect("an id"))));
    format!("event_id in ({})", quoted.collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn an_event_is_sent_again_to_one_endpoint_or_to_each_that_takes_it() {
    let (_world, admin) = World::with_admin().await;
    let (all, cards, other) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let of_all = admin.given_endpoint(all.url(), json!({})).await;
    let of_cards = admin.given_endpoint(cards.url(), json!({"eventTypes": ["card.*"]})).await;
    let of_customers = admin.given_endpoint(other.url(), json!({"eventTypes": ["customer.*"]})).await;
    admin.given_card().await;
    let event = event_ids(&admin).await[0].clone();
    let first = all.wait_for(1).await[0].clone();
    cards.wait_for(1).await;
    // What is being sent is not scheduled once more.
    admin.wait_until_delivered(&of_all).await;
    admin.wait_until_delivered(&of_cards).await;
    let path = format!("/events/{event}/resend");

    assert_eq!(admin.post(&path, json!({})).await.ok(), json!({"scheduled": 2}));
    let second = all.wait_for(2).await[1].clone();
    assert_eq!((&second.id, &second.text), (&first.id, &first.text));
    cards.wait_for(2).await;
    admin.wait_until_delivered(&of_all).await;
    assert_eq!(other.received().len(), 0);

    // To one endpoint it goes whatever types the endpoint takes.
    for endpoint in [&of_all, &of_customers] {
        assert_eq!(admin.post(&path, json!({"webhookEndpointId": endpoint})).await.ok(), json!({"scheduled": 1}));
        admin.wait_until_delivered(endpoint).await;
    }
    assert_eq!((all.received().len(), cards.received().len(), other.received().len()), (3, 2, 1));
    let delivery = admin.deliveries(&of_all, "").await[0].clone();
    assert_eq!((&delivery["attempts"], &delivery["status"], &delivery["eventId"]), (&json!(3), &json!("delivered"), &json!(event)));
    let of_event = admin.get(&format!("/events/{event}/deliveries")).await.ok();
    let of_event = of_event["deliveries"].as_array().expect("a list");
    let shown: Vec<_> = of_event.iter().map(|delivery| (&delivery["status"], delivery["attempts"].as_i64())).collect();
    let delivered = &json!("delivered");
    assert_eq!(shown, [(delivered, Some(3)), (delivered, Some(2)), (delivered, Some(1))]);
    assert_eq!(of_event[0], delivery);
}

#[tokio::test]
async fn a_resent_event_starts_the_schedule_over_and_counts_on() {
    let (world, admin) = World::with_admin().await;
    let receiver = Receiver::answering(|_, _| Answer::status(500)).await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    admin.given_customer().await;
    let event = event_ids(&admin).await[0].clone();
    receiver.wait_for(1).await;
    world.database.wait_for(1, "select count(*) from webhook_attempts").await;
    // As after the last attempt of the schedule.
    world.set_deliveries(&endpoint, &format!("{GIVEN_UP}, attempts = 10"), "true").await;
    admin.post(&format!("/events/{event}/resend"), json!({})).await.ok();
    receiver.wait_for(2).await;
    world.database.wait_for(2, "select count(*) from webhook_attempts").await;
    let attempt = admin.get(&format!("/webhook-endpoints/{endpoint}/attempts")).await.ok()["attempts"][0].clone();
    assert_eq!(attempt["number"], 11);
    let moment = |name: &str| chrono::DateTime::parse_from_rfc3339(attempt[name].as_str().expect("a time")).expect("a time");
    let wait = (moment("nextAttemptAt") - moment("startedAt")).num_milliseconds();
    assert!((3_900..8_000).contains(&wait), "the second attempt of a schedule comes after five seconds, not {wait} ms");
    assert_eq!(admin.deliveries(&endpoint, "").await[0]["status"], "pending");
}

#[tokio::test]
async fn nothing_is_sent_again_to_a_disabled_or_foreign_endpoint_or_of_an_unknown_event() {
    let (_world, admin, other) = World::with_two_accounts().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    let theirs = other.given_endpoint(receiver.url(), json!({})).await;
    admin.given_customer().await;
    admin.wait_until_delivered(&endpoint).await;
    let event = event_ids(&admin).await[0].clone();
    let resend = format!("/events/{event}/resend");
    admin.change_endpoint(&endpoint, json!({"status": "disabled"})).await;
    admin.post(&resend, json!({"webhookEndpointId": endpoint})).await.problem(409, "endpoint_disabled");
    assert_eq!(admin.post(&resend, json!({})).await.ok(), json!({"scheduled": 0}));
    let own = format!("/webhook-endpoints/{endpoint}/replay");
    for is_trial in [true, false] {
        admin.post(&own, replay_of("all", is_trial)).await.problem(409, "endpoint_disabled");
        let foreign = admin.post(&format!("/webhook-endpoints/{theirs}/replay"), replay_of("all", is_trial)).await;
        foreign.problem(404, "webhook_endpoint_not_found");
    }
    admin.post(&resend, json!({"webhookEndpointId": theirs})).await.problem(404, "webhook_endpoint_not_found");
    other.post(&resend, json!({})).await.problem(404, "event_not_found");
    admin.post("/events/msg_01h455vb4pex5vsknk084sn02q/resend", json!({})).await.problem(404, "event_not_found");
    let errors = admin.post(&resend, json!({"webhookEndpointId": 5})).await.field_errors();
    assert_eq!(errors, ["webhookEndpointId: wrong_type"]);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_replay_sends_what_was_given_up_what_is_missing_or_all() {
    let (world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let admin = admin.with_feed().await;
    for _ in 0..3 {
        admin.given_customer().await;
    }
    let endpoint = admin.given_endpoint(receiver.url(), json!({"startFrom": "now"})).await;
    for _ in 0..4 {
        admin.given_customer().await;
    }
    receiver.wait_for(4).await;
    admin.wait_until_delivered(&endpoint).await;
    let events = event_ids(&admin).await;
    assert_eq!(events.len(), 7);
    assert_eq!(replay(&admin, &endpoint, "failed").await, (0, 0));
    world.set_deliveries(&endpoint, GIVEN_UP, &sql_list(&events[3..4])).await;
    world.set_deliveries(&endpoint, "status = 'cancelled', delivered_at = null", &sql_list(&events[4..5])).await;

    // While nothing is accepted what is scheduled stays pending.
    receiver.answer(|_, _| Answer::status(500).after(Duration::from_millis(300)));
    assert_eq!(replay(&admin, &endpoint, "failed").await, (2, 2));
    assert_eq!(replay(&admin, &endpoint, "failed").await, (0, 0), "they wait already");
    assert_eq!(replay(&admin, &endpoint, "missing").await, (3, 3));
    assert_eq!(replay(&admin, &endpoint, "missing").await, (0, 0));
    assert_eq!(replay(&admin, &endpoint, "all").await, (7, 2), "five wait already");
    assert_eq!(replay(&admin, &endpoint, "all").await, (7, 0));
    receiver.answer(|_, _| Answer::status(200));
    admin.wait_until_delivered(&endpoint).await;
    let mut seen: Vec<String> = receiver.received().iter().map(|message| message.id.clone()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, events);
    let deliveries = admin.deliveries(&endpoint, "status=delivered").await;
    assert_eq!(deliveries.iter().rev().map(|delivery| text(&delivery["eventId"])).collect::<Vec<_>>(), events);
}

#[tokio::test]
async fn a_replay_takes_a_period_and_types() {
    let (world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({"eventTypes": ["card.*", "customer.*"]})).await;
    admin.given_card_with(json!(5)).await;
    admin.given_customer().await;
    receiver.wait_for(3).await;
    admin.wait_until_delivered(&endpoint).await;
    let path = format!("/webhook-endpoints/{endpoint}/replay");
    let matched = async |members: Value| {
        let body = crate::support::payments::with(replay_of("all", true), members);
        admin.post(&path, body).await.ok()["matched"].as_i64().expect("a number")
    };
    // Without types those of the endpoint; else the ones that are asked for, whatever the endpoint takes.
    assert_eq!(types(&admin.events("").await).len(), 4);
    assert_eq!(matched(json!({})).await, 3);
    assert_eq!(matched(json!({"eventTypes": ["*"]})).await, 4);
    assert_eq!(matched(json!({"eventTypes": ["card.activated", "movement.*"]})).await, 2);
    // The period contains its beginning and not its end.
    let moments: Vec<String> = admin.events("").await.iter().map(|event| text(&event["timestamp"])).collect();
    let next = |moment: &str| {
        let moment = chrono::DateTime::parse_from_rfc3339(moment).expect("a time") + chrono::TimeDelta::milliseconds(1);
        moment.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    let types_ = json!(["*"]);
    assert_eq!(matched(json!({"from": moments[0], "to": next(&moments[3]), "eventTypes": types_})).await, 4);
    assert!(matched(json!({"from": moments[0], "to": moments[3], "eventTypes": types_})).await < 4);
    assert!(matched(json!({"from": next(&moments[0]), "eventTypes": types_})).await < 4);
    assert_eq!(matched(json!({"from": "2020-01-01", "to": "2020-02-01"})).await, 0);

    let wrong = async |members: Value| {
        admin.post(&path, crate::support::payments::with(replay_of("all", false), members)).await.field_errors().join(", ")
    };
    let (from, longest) = ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z");
    assert_eq!(matched(json!({"from": from, "to": longest})).await, 0);
    for (members, fault) in [
        (json!({"from": from, "to": "2025-02-01T00:00:01Z"}), "to: out_of_range"),
        (json!({"from": from, "to": from}), "to: out_of_range"),
        (json!({"from": from, "to": "2024-12-31T23:59:59Z"}), "to: out_of_range"),
        (json!({"from": "yesterday"}), "from: invalid_date"),
        (json!({"from": null, "to": null}), "from: required, to: required"),
        (json!({"only": "some"}), "only: unknown_value"),
        (json!({"only": null}), "only: required"),
        (json!({"eventTypes": ["dog.*"]}), "eventTypes: unknown_value"),
        (json!({"dryRun": "yes"}), "dryRun: wrong_type"),
    ] {
        assert_eq!(wrong(members.clone()).await, fault, "{members}");
    }
    assert_eq!(receiver.received().len(), 3, "a trial or a refused replay sends nothing");
    assert_eq!(world.database.number("select count(*) from webhook_deliveries where status <> 'delivered'").await, 0);
}

#[tokio::test]
async fn a_replay_under_a_key_is_done_once() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    admin.given_customer().await;
    receiver.wait_for(1).await;
    admin.wait_until_delivered(&endpoint).await;
    let (path, body) = (format!("/webhook-endpoints/{endpoint}/replay"), replay_of("all", false));
    for _ in 0..2 {
        let reply = admin.keyed("replay", reqwest::Method::POST, &path, &body).await;
        assert_eq!(reply.ok(), json!({"matched": 1, "scheduled": 1}));
        admin.wait_until_delivered(&endpoint).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.received().len(), 2);
}

/// The items of every page of a list.
async fn pages(admin: &Actor, path: &str, name: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{path}limit=2{cursor}")).await.ok();
        items.extend(page[name].as_array().expect("a list").clone());
        match page["nextCursor"].as_str() {
            // A cursor carries the filters of its list.
            Some(next) => cursor = format!("&after={next}"),
            None => return items,
        }
    }
}

#[tokio::test]
async fn deliveries_and_attempts_are_listed_newest_first_by_status_and_in_pages() {
    let (world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    for _ in 0..5 {
        admin.given_customer().await;
    }
    receiver.wait_for(5).await;
    admin.wait_until_delivered(&endpoint).await;
    let mut events = event_ids(&admin).await;
    world.set_deliveries(&endpoint, GIVEN_UP, &sql_list(&events[0..3])).await;
    world.set_deliveries(&endpoint, "status = 'cancelled', delivered_at = null", &sql_list(&events[3..4])).await;
    let path = format!("/webhook-endpoints/{endpoint}/deliveries?");
    let all = pages(&admin, &path, "deliveries").await;
    events.reverse();
    assert_eq!(all.iter().map(|delivery| text(&delivery["eventId"])).collect::<Vec<_>>(), events);
    for (status, range) in [("delivered", 0..1), ("cancelled", 1..2), ("failed", 2..5), ("pending", 0..0)] {
        assert_eq!(pages(&admin, &format!("{path}status={status}&"), "deliveries").await, all[range], "{status}");
    }
    assert_eq!(admin.get(&format!("{path}status=sending")).await.field_errors(), ["status: unknown_value"]);
    assert_eq!(admin.get(&format!("{path}state=failed")).await.field_errors(), ["state: unknown_parameter"]);
    let event = admin.events("").await[0].clone();
    let delivery = &all[4];
    assert_eq!(
        (&delivery["eventType"], &delivery["cardId"], &delivery["sequence"]),
        (&event["type"], &event["cardId"], &event["sequence"])
    );
    assert_eq!((&delivery["status"], &delivery["deliveredAt"], &delivery["attempts"]), (&json!("failed"), &Value::Null, &json!(1)));

    let delivery = text(&delivery["deliveryId"]);
    for _ in 0..3 {
        admin.post(&format!("/events/{}/resend", text(&event["id"])), json!({})).await.ok();
        admin.wait_until_delivered(&endpoint).await;
    }
    let attempts = pages(&admin, &format!("/webhook-endpoints/{endpoint}/attempts?"), "attempts").await;
    let ids: Vec<Uuid> = attempts.iter().map(|attempt| text(&attempt["attemptId"]).parse::<AttemptId>().expect("an id").into()).collect();
    assert!(ids.len() == 8 && ids.is_sorted_by(|newer, older| newer > older));
    let own: Vec<Value> = attempts.iter().filter(|attempt| attempt["deliveryId"] == delivery).cloned().collect();
    assert_eq!(own.iter().map(|attempt| attempt["number"].as_i64()).collect::<Vec<_>>(), [4, 3, 2, 1].map(Some));
    assert_eq!(pages(&admin, &format!("/deliveries/{delivery}/attempts?"), "attempts").await, own);
    assert!(delivery.parse::<DeliveryId>().is_ok());
}
