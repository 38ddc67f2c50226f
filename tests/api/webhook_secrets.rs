//! The secrets of webhook endpoints, which are derived from keys and stored nowhere, and the keys themselves.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core_api::{
    app::{Server, StartError},
    config::{Environment, Settings},
    domain::role::Role,
};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::{Actor, Database, World, receiver::Receiver};

const URL: &str = "https://127.0.0.1:4000/hooks";

/// A list of keys with these names.
fn keys(names: &[&str]) -> SecretString {
    let key = |name: &&str| {
        // Different for each name, and random enough to be accepted.
        let first = name.bytes().map(u32::from).sum::<u32>();
        let secret: Vec<u8> = (first..first + 32).map(|byte| u8::try_from(byte % 256).expect("a byte")).collect();
        format!("{name}:{}", STANDARD.encode(secret))
    };
    names.iter().map(key).collect::<Vec<_>>().join(",").into()
}

fn production(settings: &mut Settings) {
    settings.environment = Environment::Production;
    settings.auth.signing_keys = Some(keys(&["signing"]));
    settings.webhooks.allowed_networks = "127.0.0.0/8".parse().expect("a network");
}

async fn given(admin: &Actor) -> String {
    admin.given_endpoint(URL, json!({"eventTypes": ["authorization.expired"]})).await
}

async fn rotated(admin: &Actor, endpoint: &str, body: Value) -> Value {
    admin.post(&format!("/webhook-endpoints/{endpoint}/secret/rotate"), body).await.ok()
}

#[tokio::test]
async fn a_secret_is_32_bytes_and_the_same_at_every_replica() {
    let mut world = World::with(|settings| settings.webhooks.secret_keys = Some(keys(&["first"]))).await;
    let admin = world.admin().await;
    let (one, two) = (given(&admin).await, given(&admin).await);
    let shown = admin.get(&format!("/webhook-endpoints/{one}/secret")).await.ok();
    let secret = shown["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(shown, json!({"webhookEndpointId": one, "secret": secret, "overlapEndsAt": null}));
    let bytes = STANDARD.decode(secret.strip_prefix("whsec_").expect("the prefix")).expect("base64");
    assert_eq!(bytes.len(), 32);
    assert_ne!(admin.endpoint_secret(&two).await, secret);
    world.add_replica().await;
    world.settings.webhooks.secret_keys = Some(keys(&["other", "first"]));
    world.add_replica().await;
    for replica in 1..=2 {
        assert_eq!(world.at(replica, &admin).endpoint_secret(&one).await, secret);
    }
}

#[tokio::test]
async fn a_secret_is_not_in_the_database() {
    let (world, admin) = World::with_admin().await;
    let created = admin
        .keyed("create", Method::POST, "/webhook-endpoints", &json!({"url": URL, "eventTypes": ["card.*"], "description": "A program"}))
        .await;
    let endpoint = created.ok()["webhookEndpointId"].as_str().expect("an id").to_owned();
    let path = format!("/webhook-endpoints/{endpoint}");
    let old = admin.endpoint_secret(&endpoint).await;
    let (rotation, body) = (format!("{path}/secret/rotate"), json!({"overlapSeconds": 60}));
    let first = admin.keyed("rotate", Method::POST, &rotation, &body).await.ok();
    let new = first["secret"].as_str().expect("a secret").to_owned();
    let again = admin.keyed("rotate", Method::POST, &rotation, &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok(), json!({"webhookEndpointId": endpoint, "secret": null, "overlapEndsAt": first["overlapEndsAt"]}));
    assert_eq!(admin.endpoint_secret(&endpoint).await, new, "a repeated rotation is none");
    admin.post(&format!("{path}/test"), json!({})).await.ok();
    // Bodies are stored as bytes, so they are decoded.
    let texts = "select string_agg(query_to_xml(format('select * from %I', tablename), true, false, '')::text, '') as text from pg_tables \
        where schemaname = 'public'";
    let bodies = "select string_agg(convert_from(body, 'UTF8'), '') as text from idempotency_keys";
    for secret in [old, new] {
        let encoded = secret.strip_prefix("whsec_").expect("the prefix");
        let hex: String = STANDARD.decode(encoded).expect("base64").iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        for all in [texts, bodies] {
            for (searched, times) in [(encoded, 0), (&hex, 0), ("whsec", 0), ("A program", 1)] {
                let found = format!("select count(*) from ({all}) everything where text like '%{searched}%'");
                assert_eq!(world.database.number(&found).await, times, "{all}");
            }
        }
    }
}

#[tokio::test]
async fn the_secret_before_stays_valid_for_at_most_a_week() {
    let (_world, admin) = World::with_admin().await;
    let endpoint = given(&admin).await;
    let path = format!("/webhook-endpoints/{endpoint}/secret/rotate");
    for (overlap, fault) in [
        (json!(604_801), "overlapSeconds: out_of_range"),
        (json!(-1), "overlapSeconds: out_of_range"),
        (json!(0.5), "overlapSeconds: out_of_range"),
        (json!("60"), "overlapSeconds: wrong_type"),
    ] {
        assert_eq!(admin.post(&path, json!({"overlapSeconds": overlap})).await.field_errors(), [fault]);
    }
    let mut secrets = vec![admin.endpoint_secret(&endpoint).await];
    for (body, seconds) in
        [(json!({}), Some(86_400)), (json!({"overlapSeconds": 604_800}), Some(604_800)), (json!({"overlapSeconds": 0}), None)]
    {
        let answer = rotated(&admin, &endpoint, body).await;
        let secret = answer["secret"].as_str().expect("a secret").to_owned();
        assert!(!secrets.contains(&secret));
        secrets.push(secret);
        let found = admin.endpoint(&endpoint).await;
        assert_eq!(found["overlapEndsAt"], answer["overlapEndsAt"]);
        let left = answer["overlapEndsAt"].as_str().map(|ends| {
            let ends = chrono::DateTime::parse_from_rfc3339(ends).expect("a time").to_utc();
            (ends - chrono::Utc::now()).num_seconds()
        });
        assert_eq!(left.is_some(), seconds.is_some());
        assert!(left.zip(seconds).is_none_or(|(left, seconds)| (seconds - 20..=seconds + 1).contains(&left)), "{left:?}");
    }
}

#[tokio::test]
async fn an_overlap_ends() {
    let (_world, admin) = World::with_admin().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({"eventTypes": ["customer.*"]})).await;
    let old = admin.endpoint_secret(&endpoint).await;
    rotated(&admin, &endpoint, json!({"overlapSeconds": 1})).await;
    admin.given_customer().await;
    assert!(receiver.wait_for(1).await[0].is_signed_with(&old));
    // The owner reads the endpoint every two seconds.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!(admin.endpoint(&endpoint).await["overlapEndsAt"], Value::Null);
    admin.given_customer().await;
    let message = receiver.wait_for(2).await[1].clone();
    assert!(!message.is_signed_with(&old) && message.is_signed_with(&admin.endpoint_secret(&endpoint).await));
}

#[tokio::test]
async fn while_a_key_is_rolled_out_the_replicas_that_have_it_send() {
    let mut world = World::with(|settings| settings.webhooks.secret_keys = Some(keys(&["first"]))).await;
    let admin = world.admin().await;
    world.settings.webhooks.secret_keys = Some(keys(&["second", "first"]));
    world.add_replica().await;
    let receiver = Receiver::start().await;
    let endpoint = admin.given_endpoint(receiver.url(), json!({"eventTypes": ["customer.*"]})).await;
    let later = world.at(1, &admin);
    let secret = rotated(&later, &endpoint, json!({"overlapSeconds": 0})).await["secret"].as_str().expect("a secret").to_owned();
    // The replica that is left cannot sign, and leaves the endpoint to one that can.
    world.shut_down(1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    admin.given_customer().await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(world.database.number("select count(*) from webhook_endpoints where lease_until is not null").await, 0);
    world.add_replica().await;
    assert!(receiver.wait_for(1).await[0].is_signed_with(&secret));
}

#[tokio::test]
async fn production_without_keys_has_no_endpoints() {
    let world = World::on(Database::empty().await, production).await;
    let admin = world.user_in_new_account(Role::Admin, None).await;
    let body = json!({"url": URL, "eventTypes": ["*"]});
    admin.post("/webhook-endpoints", body.clone()).await.problem(409, "webhooks_not_configured");
    assert_eq!(admin.get("/webhook-endpoints").await.ok()["webhookEndpoints"], json!([]));
    let nobody = "/webhook-endpoints/whe_01h455vb4pex5vsknk084sn02q";
    admin.get(&format!("{nobody}/secret")).await.problem(404, "webhook_endpoint_not_found");
    assert_eq!(world.database.number("select count(*) from webhook_endpoints").await, 0);
}

#[tokio::test]
async fn a_server_needs_the_keys_of_all_endpoints_and_uses_the_first_for_new_secrets() {
    let mut world = World::on(Database::empty().await, |settings| {
        production(settings);
        settings.webhooks.secret_keys = Some(keys(&["first"]));
    })
    .await;
    let admin = world.user_in_new_account(Role::Admin, None).await;
    let endpoint = given(&admin).await;
    let secret = admin.endpoint_secret(&endpoint).await;
    for present in [None, Some(keys(&["second"]))] {
        world.settings.webhooks.secret_keys = present;
        let error = Server::start(&world.settings, world.database.serving()).await.expect_err("it does not start");
        assert!(matches!(&error, StartError::WebhookKeysMissing(missing) if missing == "first"), "{error}");
        let text = error.to_string();
        assert!(text.contains(": first;") && text.contains("CORE_API__WEBHOOKS__SECRET_KEYS"), "{text}");
    }
    world.settings.webhooks.secret_keys = Some(keys(&["second", "first"]));
    world.add_replica().await;
    let at_second = world.at(1, &admin);
    assert_eq!(at_second.endpoint_secret(&endpoint).await, secret);
    let kids = |kid: &str| format!("select count(*) from webhook_endpoints where secret_kid = '{kid}'");
    assert_eq!(world.database.number(&kids("first")).await, 1);
    let other = given(&at_second).await;
    assert_eq!(world.database.number(&kids("second")).await, 1);
    let rotation = rotated(&at_second, &endpoint, json!({"overlapSeconds": 600})).await;
    assert_eq!(world.database.number(&kids("second")).await, 2);
    // A replica that does not have the new key yet cannot show the secret, and goes on.
    let at_first = world.at(0, &admin);
    at_first.get(&format!("/webhook-endpoints/{other}/secret")).await.problem(409, "webhooks_not_configured");

    // While the secret before signs, its key is needed.
    world.settings.webhooks.secret_keys = Some(keys(&["second"]));
    let error = Server::start(&world.settings, world.database.serving()).await.expect_err("it does not start");
    assert!(matches!(&error, StartError::WebhookKeysMissing(missing) if missing == "first"), "{error}");
    rotated(&at_second, &endpoint, json!({"overlapSeconds": 0})).await;
    world.add_replica().await;
    let newest = world.at(2, &admin).endpoint_secret(&endpoint).await;
    assert!(newest != secret && rotation["secret"] != newest);

    // The keys of deleted endpoints are not needed.
    for id in [endpoint, other] {
        admin.delete(&format!("/webhook-endpoints/{id}")).await.ok();
    }
    world.settings.webhooks.secret_keys = None;
    world.add_replica().await;
}
