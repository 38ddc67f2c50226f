//! Webhook endpoints: how they are created, listed, changed and deleted, and what the audit log tells of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core_api::{config::Environment, domain::role::Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, Database, World, payments::with, receiver::Receiver};

/// A URL that may be called. Nobody listens there, and no test sends anything to it.
const URL: &str = "http://127.0.0.1:4000/hooks";

/// Types of events that these tests do not cause.
fn rare() -> Value {
    json!(["authorization.expired"])
}

fn endpoint_with(members: Value) -> Value {
    with(json!({"url": URL, "eventTypes": rare()}), members)
}

/// The audit events about endpoints, oldest first: the type, and the states before and after.
async fn logged(admin: &Actor) -> Vec<(String, Value, Value)> {
    let events = admin.get("/audit-events").await.ok();
    let events = events["auditEvents"].as_array().expect("a list").iter().rev();
    let about_endpoints = events.filter(|event| event["subjectId"].as_str().is_some_and(|id| id.starts_with("whe_")));
    about_endpoints
        .map(|event| (event["type"].as_str().expect("a type").to_owned(), event["before"].clone(), event["after"].clone()))
        .collect()
}

#[tokio::test]
async fn an_endpoint_has_the_members_of_its_request_and_defaults_for_the_others() {
    let (_world, admin) = World::with_admin().await;
    let created = admin.post("/webhook-endpoints", json!({"url": URL, "eventTypes": ["card.*"]})).await.ok();
    let id = created["webhookEndpointId"].as_str().expect("an id");
    assert!(id.starts_with("whe_") && created["createdAt"].is_string());
    let mut expected = json!({
        "webhookEndpointId": id, "url": URL, "description": null, "status": "enabled", "disabledReason": null,
        "eventTypes": ["card.*"], "maxConcurrency": 10, "ordering": "none", "failingSince": null, "lastSuccessAt": null,
        "pending": 0, "lagSeconds": 0, "overlapEndsAt": null, "createdAt": created["createdAt"],
    });
    assert_eq!(created, expected);
    assert_eq!(admin.endpoint(id).await, expected);
    let settings = admin.get("/events/settings").await.ok();
    assert_eq!(settings["enabled"], true, "an endpoint turns the feed on");

    let members = json!({
        "url": "HTTP://127.0.0.1:4000/a b".replace(' ', "%20"), "eventTypes": ["card.blocked", "*", "*"], "description": "  Ledger ",
        "maxConcurrency": 100, "ordering": "card", "startFrom": "beginning",
    });
    let created = admin.post("/webhook-endpoints", members).await.ok();
    for (name, value) in [
        ("url", json!("http://127.0.0.1:4000/a%20b")),
        ("eventTypes", json!(["card.blocked", "*"])),
        ("description", json!("Ledger")),
        ("maxConcurrency", json!(100)),
        ("ordering", json!("card")),
        ("webhookEndpointId", created["webhookEndpointId"].clone()),
        ("createdAt", created["createdAt"].clone()),
    ] {
        expected[name] = value;
    }
    assert_eq!(created, expected);
    // Null is a member left out.
    let nulls = json!({"description": null, "maxConcurrency": null, "ordering": null, "startFrom": null});
    let created = admin.post("/webhook-endpoints", endpoint_with(nulls)).await.ok();
    assert_eq!((&created["maxConcurrency"], &created["ordering"]), (&json!(10), &json!("none")));
}

/// Members that no endpoint can have, each with its fault.
fn wrong_members() -> Vec<(Value, &'static str)> {
    let url = |text: &str| json!({"url": text});
    let types = |value: Value| json!({"eventTypes": value});
    vec![
        (json!({"url": 5}), "url: wrong_type"),
        (url(" "), "url: blank"),
        (url("hooks"), "url: invalid_format"),
        (url("//127.0.0.1:4000/"), "url: invalid_format"),
        (url("ftp://127.0.0.1:4000/"), "url: invalid_format"),
        (url("http://"), "url: invalid_format"),
        (url("http://name@127.0.0.1:4000/"), "url: invalid_format"),
        (url("http://:word@127.0.0.1:4000/"), "url: invalid_format"),
        (url("http://127.0.0.1:4000/#part"), "url: invalid_format"),
        (url("http://127.0.0.1:22/"), "url: invalid_format"),
        (url("https://127.0.0.1:80/"), "url: invalid_format"),
        (url("http://127.0.0.1:4000/a b"), "url: invalid_format"),
        (url(&format!("http://127.0.0.1:4000/{}", "a".repeat(2_027))), "url: too_long"),
        (url(&format!("http://127.0.0.1:4000/{}", "ü".repeat(1_000))), "url: invalid_format"),
        (types(json!([])), "eventTypes: unknown_value"),
        (types(json!(["card.eaten"])), "eventTypes: unknown_value"),
        (types(json!(["card.*", "dog.*"])), "eventTypes: unknown_value"),
        (types(json!([""])), "eventTypes: unknown_value"),
        (types(json!("*")), "eventTypes: wrong_type"),
        (types(json!([5])), "eventTypes: wrong_type"),
        (types(json!({"card.*": true})), "eventTypes: wrong_type"),
        (types(Value::Array(vec![json!("*"); 51])), "eventTypes: too_many"),
        (json!({"maxConcurrency": 0}), "maxConcurrency: out_of_range"),
        (json!({"maxConcurrency": 101}), "maxConcurrency: out_of_range"),
        (json!({"maxConcurrency": -1}), "maxConcurrency: out_of_range"),
        (json!({"maxConcurrency": 1.5}), "maxConcurrency: out_of_range"),
        (json!({"maxConcurrency": "10"}), "maxConcurrency: wrong_type"),
        (json!({"ordering": "fifo"}), "ordering: unknown_value"),
        (json!({"ordering": true}), "ordering: wrong_type"),
        (json!({"description": "x".repeat(201)}), "description: too_long"),
        (json!({"description": " "}), "description: blank"),
        (json!({"description": 5}), "description: wrong_type"),
    ]
}

#[tokio::test]
async fn a_wrong_member_is_named_and_nothing_is_created_or_changed() {
    let (world, admin) = World::with_admin().await;
    let only = |member: &str| json!({"startFrom": member});
    let unknown = only("msg_01h455vb4pex5vsknk084sn02q");
    for members in [unknown, only("yesterday"), only("2025-02-10")] {
        admin.post("/webhook-endpoints", endpoint_with(members)).await.problem(404, "event_not_found");
    }
    let mut faults = wrong_members();
    faults.push((json!({"url": null}), "url: required"));
    faults.push((json!({"eventTypes": null}), "eventTypes: required"));
    faults.push((json!({"startFrom": 5}), "startFrom: wrong_type"));
    for (members, fault) in faults {
        let errors = admin.post("/webhook-endpoints", endpoint_with(members.clone())).await.field_errors();
        assert_eq!(errors, [fault], "{members}");
    }
    let many = json!({"url": "hooks", "eventTypes": [], "maxConcurrency": 0, "ordering": "fifo"});
    let expected = ["url: invalid_format", "eventTypes: unknown_value", "maxConcurrency: out_of_range", "ordering: unknown_value"];
    assert_eq!(admin.post("/webhook-endpoints", many).await.field_errors(), expected);
    assert_eq!(world.database.number("select count(*) from webhook_endpoints").await, 0);

    let endpoint = admin.given_endpoint(URL, json!({"eventTypes": rare()})).await;
    let (before, log) = (admin.endpoint(&endpoint).await, logged(&admin).await);
    let mut faults = wrong_members();
    faults.push((json!({"status": "deleted"}), "status: unknown_value"));
    faults.push((json!({"status": 1}), "status: wrong_type"));
    for resume in ["cursor", "now", "2025-02-10"] {
        faults.push((json!({"resumeFrom": resume}), "resumeFrom: excluded"));
        faults.push((json!({"resumeFrom": resume, "status": "disabled"}), "resumeFrom: excluded"));
    }
    faults.push((json!({"status": "enabled", "resumeFrom": "yesterday"}), "resumeFrom: invalid_format"));
    for (members, fault) in faults {
        let errors = admin.patch(&format!("/webhook-endpoints/{endpoint}"), members.clone()).await.field_errors();
        assert_eq!(errors, [fault], "{members}");
    }
    assert_eq!((admin.endpoint(&endpoint).await, logged(&admin).await), (before, log));
}

#[tokio::test]
async fn production_takes_no_plain_http() {
    let world = World::on(Database::empty().await, |settings| {
        settings.environment = Environment::Production;
        settings.auth.signing_keys = Some(format!("k1:{}", STANDARD.encode(rand::random::<[u8; 32]>())).into());
        settings.webhooks.secret_keys = Some(format!("w1:{}", STANDARD.encode(rand::random::<[u8; 32]>())).into());
        settings.webhooks.allowed_networks = "127.0.0.0/8".parse().expect("a network");
    })
    .await;
    let admin = world.user_in_new_account(Role::Admin, None).await;
    assert_eq!(admin.post("/webhook-endpoints", endpoint_with(json!({}))).await.field_errors(), ["url: invalid_format"]);
    let secure = URL.replace("http:", "https:");
    let endpoint = admin.given_endpoint(&secure, json!({"eventTypes": rare()})).await;
    let change = admin.patch(&format!("/webhook-endpoints/{endpoint}"), json!({"url": URL})).await;
    assert_eq!(change.field_errors(), ["url: invalid_format"]);
    assert_eq!(admin.endpoint(&endpoint).await["url"], secure);
}

#[tokio::test]
async fn an_account_has_at_most_twenty_endpoints_and_lists_them_in_pages() {
    let (_world, admin, other) = World::with_two_accounts().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(admin.given_endpoint(URL, json!({"eventTypes": rare()})).await);
    }
    let one_more = || admin.post("/webhook-endpoints", endpoint_with(json!({})));
    one_more().await.problem(409, "too_many_webhook_endpoints");
    let removed = ids.remove(3);
    assert_eq!(admin.delete(&format!("/webhook-endpoints/{removed}")).await.ok(), json!({"success": true}));
    ids.push(one_more().await.ok()["webhookEndpointId"].as_str().expect("an id").to_owned());
    one_more().await.problem(409, "too_many_webhook_endpoints");
    other.given_endpoint(URL, json!({"eventTypes": rare()})).await;

    let (mut listed, mut cursor, mut sizes) = (Vec::new(), String::new(), Vec::new());
    loop {
        let page = admin.get(&format!("/webhook-endpoints?limit=8{cursor}")).await.ok();
        let endpoints = page["webhookEndpoints"].as_array().expect("a list");
        sizes.push(endpoints.len());
        listed.extend(endpoints.iter().map(|endpoint| endpoint["webhookEndpointId"].as_str().expect("an id").to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!((listed, sizes), (ids, vec![8, 8, 4]));
    assert_eq!(admin.get("/webhook-endpoints?after=x").await.field_errors(), ["after: invalid_cursor"]);
}

#[tokio::test]
async fn concurrent_requests_do_not_exceed_the_number_of_endpoints() {
    let (world, admin) = World::with_admin().await;
    for _ in 0..17 {
        admin.given_endpoint(URL, json!({"eventTypes": rare()})).await;
    }
    let body = endpoint_with(json!({}));
    let replies = futures_util::future::join_all((0..8).map(|_| admin.post("/webhook-endpoints", body.clone()))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 3);
    assert_eq!(world.database.number("select count(*) from webhook_endpoints").await, 20);
}

#[tokio::test]
async fn a_change_sets_what_it_names_and_leaves_the_rest() {
    let (_world, admin) = World::with_admin().await;
    let endpoint = admin.given_endpoint(URL, json!({"eventTypes": rare(), "description": "Ledger"})).await;
    let mut expected = admin.endpoint(&endpoint).await;
    for (member, value) in [
        ("url", json!("http://127.0.0.1:4001/other")),
        ("eventTypes", json!(["card.cancelled", "authorization.expired"])),
        ("description", json!("Reports")),
        ("maxConcurrency", json!(1)),
        ("ordering", json!("card")),
        ("description", Value::Null),
    ] {
        expected[member] = value.clone();
        assert_eq!(admin.change_endpoint(&endpoint, json!({member: value})).await, expected);
        assert_eq!(admin.endpoint(&endpoint).await, expected);
    }
    // Null takes nothing else away, and an empty change is none.
    let nulls = json!({"url": null, "eventTypes": null, "maxConcurrency": null, "ordering": null, "status": null, "resumeFrom": null});
    assert_eq!(admin.change_endpoint(&endpoint, nulls).await, expected);
    assert_eq!(admin.change_endpoint(&endpoint, json!({})).await, expected);
}

#[tokio::test]
async fn the_audit_log_tells_what_was_done_and_no_url() {
    let (world, admin) = World::with_admin().await;
    let endpoint = admin.given_endpoint("http://127.0.0.1:4000/confidential", json!({"eventTypes": rare()})).await;
    let path = format!("/webhook-endpoints/{endpoint}");
    for change in [
        json!({"url": "http://127.0.0.1:4001/confidential", "maxConcurrency": 5}),
        json!({"description": null, "ordering": "card", "eventTypes": rare()}),
        json!({}),
        json!({"status": "enabled"}),
        json!({"status": "enabled", "resumeFrom": "now"}),
        json!({"status": "disabled"}),
        json!({"status": "disabled"}),
        json!({"status": "enabled", "maxConcurrency": 6}),
    ] {
        admin.patch(&path, change).await.ok();
    }
    admin.post(&format!("{path}/secret/rotate"), json!({})).await.ok();
    admin.delete(&path).await.ok();
    admin.delete(&path).await.problem(404, "webhook_endpoint_not_found");
    let event = |name: &str, before: Value, after: Value| (name.to_owned(), before, after);
    let [enabled, disabled] = ["enabled", "disabled"].map(|status| json!({"status": status}));
    let expected = [
        event("webhook_endpoint_created", Value::Null, enabled.clone()),
        event("webhook_endpoint_changed", Value::Null, json!({"changed": ["url", "maxConcurrency"]})),
        event("webhook_endpoint_changed", Value::Null, json!({"changed": ["eventTypes", "description", "ordering"]})),
        event("webhook_endpoint_disabled", enabled.clone(), json!({"status": "disabled", "disabledReason": "operator"})),
        event("webhook_endpoint_enabled", disabled, enabled),
        event("webhook_endpoint_changed", Value::Null, json!({"changed": ["maxConcurrency"]})),
        event("webhook_secret_rotated", Value::Null, Value::Null),
        event("webhook_endpoint_deleted", Value::Null, Value::Null),
    ];
    assert_eq!(logged(&admin).await, expected);
    let texts = admin.get("/audit-events").await.text + &admin.get("/events").await.text;
    assert!(!texts.contains("confidential") && !texts.contains("4001"));
    let told = admin.events("").await;
    let told: Vec<&str> = told.iter().filter_map(|event| event["type"].as_str()).filter(|name| name.starts_with("webhook")).collect();
    assert_eq!(told, ["webhook_endpoint.disabled", "webhook_endpoint.enabled"], "a change to the same status is none");
    assert_eq!(world.database.number("select count(*) from webhook_endpoints where deleted_at is null").await, 0);
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_endpoint() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({})).await;
    admin.given_customer().await;
    receiver.wait_for(1).await;
    admin.wait_until_delivered(&endpoint).await;
    let delivery = admin.deliveries(&endpoint, "").await[0].clone();
    let (id, event) = (delivery["deliveryId"].as_str().expect("an id"), delivery["eventId"].as_str().expect("an id"));
    admin.get(&format!("/deliveries/{id}/attempts")).await.ok();
    let path = format!("/webhook-endpoints/{endpoint}");
    admin.delete(&path).await.ok();
    for reply in [
        admin.get(&path).await,
        admin.patch(&path, json!({"maxConcurrency": 5})).await,
        admin.delete(&path).await,
        admin.get(&format!("{path}/secret")).await,
        admin.post(&format!("{path}/secret/rotate"), json!({})).await,
        admin.post(&format!("{path}/test"), json!({})).await,
        admin.get(&format!("{path}/deliveries")).await,
        admin.get(&format!("{path}/attempts")).await,
        admin.post(&format!("{path}/replay"), json!({"from": "2025-02-10", "to": "2025-02-11", "only": "all"})).await,
        admin.post(&format!("/events/{event}/resend"), json!({"webhookEndpointId": endpoint})).await,
    ] {
        reply.problem(404, "webhook_endpoint_not_found");
    }
    admin.get(&format!("/deliveries/{id}/attempts")).await.problem(404, "delivery_not_found");
    assert_eq!(admin.get("/webhook-endpoints").await.ok()["webhookEndpoints"], json!([]));
    assert_eq!(admin.get(&format!("/events/{event}/deliveries")).await.ok(), json!({"deliveries": []}));
    assert_eq!(admin.post(&format!("/events/{event}/resend"), json!({})).await.ok(), json!({"scheduled": 0}));
    let before = receiver.received().len();
    admin.given_customer().await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(receiver.received().len(), before, "something was sent to a deleted endpoint");
}

#[tokio::test]
async fn a_repeated_request_under_a_key_creates_one_endpoint() {
    let (_world, admin) = World::with_admin().await;
    let body = endpoint_with(json!({}));
    let create = |body: Value| {
        let admin = admin.clone();
        async move { admin.keyed("create", Method::POST, "/webhook-endpoints", &body).await }
    };
    let first = create(body.clone()).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let again = create(body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
    create(endpoint_with(json!({"maxConcurrency": 5}))).await.problem(422, "idempotency_key_reused");
    assert_eq!(admin.get("/webhook-endpoints").await.ok()["webhookEndpoints"].as_array().expect("a list").len(), 1);
    assert_eq!(logged(&admin).await.len(), 1);
}
