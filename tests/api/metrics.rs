//! The metrics that Prometheus scrapes.

use std::{
    net::TcpListener,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Actor,
    binary::{Process, folder, sandbox, signal, wait_for_base},
};

/// A sandbox that serves its metrics on a port of its own.
struct Measured {
    process: Process,
    base: String,
    port: u16,
}

impl Measured {
    /// Starts it on the data in `folder`.
    fn start(folder: &TempDir) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut command = sandbox(folder.path());
        command.env("CORE_API__METRICS__LISTEN", format!("127.0.0.1:{port}"));
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let base = wait_for_base(&mut process);
        Self { process, base, port }
    }

    async fn scrape(&self) -> reqwest::Response {
        reqwest::get(format!("http://127.0.0.1:{}/metrics", self.port)).await.expect("metrics")
    }

    fn stop(mut self) {
        signal(&self.process, Signal::SIGTERM);
        assert!(self.process.wait().expect("an exit status").success());
    }
}

/// The value of a series.
fn value<'text>(text: &'text str, series: &str) -> Option<&'text str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[tokio::test]
async fn metrics_are_served_on_their_own_listener_and_contain_no_ids() {
    let folder = folder();
    let server = Measured::start(&folder);
    let base = &server.base;
    let actor = Actor::new(base).logged_in("test@example.com", "test123").await;
    let card = actor.given_card_with(json!(5)).await;
    assert_eq!(reqwest::get(format!("{base}/cards/{card}")).await.expect("answered").status(), 401);

    let scraped = server.scrape().await;
    assert!(scraped.headers()["content-type"].to_str().expect("text").starts_with("text/plain; version=0.0.4"));
    let text = scraped.text().await.expect("text");
    for (series, expected) in [
        ("core_api_http_request_duration_seconds_count{method=\"POST\",route=\"/balances/add\",status=\"200\"}", "1"),
        ("core_api_http_request_duration_seconds_count{method=\"GET\",route=\"/cards/{cardId}\",status=\"401\"}", "1"),
        ("core_api_problems_total{code=\"unauthenticated\"}", "1"),
        ("core_api_logins_total{outcome=\"succeeded\"}", "1"),
        ("core_api_postings_total{type=\"top_up\"}", "1"),
        ("core_api_batch_size_sum{batch=\"ledger\"}", "1"),
        ("core_api_http_requests_in_flight", "0"),
        ("core_api_password_hashes_waiting{lane=\"untrusted\"}", "0"),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    for name in [
        "core_api_build_info{",
        "core_api_database_connections{",
        "core_api_database_connection_wait_seconds_count",
        "process_resident_memory_bytes",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in\n{text}");
    }
    assert!(!text.contains(&card) && !text.contains("card_0"), "an id is in\n{text}");
    assert_eq!(reqwest::get(format!("{base}/metrics")).await.expect("answered").status(), 404);

    server.stop();
}

#[tokio::test]
async fn payments_are_counted_and_held_money_is_measured() {
    let folder = folder();
    let server = Measured::start(&folder);
    let actor = Actor::new(&server.base).logged_in("test@example.com", "test123").await;
    let card = actor.given_card_with(json!(500)).await;
    let keys = AtomicU32::new(0);
    let pay = async |path: &str, body: Value| {
        let key = keys.fetch_add(1, Ordering::Relaxed).to_string();
        actor.keyed(&key, Method::POST, path, &body).await.ok()["authorization"]["id"].as_str().unwrap_or_default().to_owned()
    };
    let authorize = "/network/authorizations";
    let captured = pay(authorize, json!({"cardId": card, "amount": 100})).await;
    pay(&format!("{authorize}/{captured}/captures"), json!({"amount": 60})).await;
    let expired = pay(authorize, json!({"cardId": card, "amount": 100})).await;
    actor.post(&format!("/sandbox/authorizations/{expired}/expire"), json!({})).await.ok();
    pay(authorize, json!({"cardId": card, "amount": 1000})).await;
    pay(authorize, json!({"cardId": card, "amount": 0, "kind": "verification"})).await;
    pay(authorize, json!({"cardId": card, "amount": 40.5})).await;
    pay(authorize, json!({"cardId": card, "amount": 1000, "partialApproval": true})).await;
    pay(authorize, json!({"cardId": card, "amount": 70, "standIn": true})).await;

    let text = server.scrape().await.text().await.expect("text");
    for (series, expected) in [
        ("core_api_authorizations_total{outcome=\"approved\",code=\"none\"}", "3"),
        ("core_api_authorizations_total{outcome=\"declined\",code=\"insufficient_funds\"}", "1"),
        ("core_api_authorizations_total{outcome=\"verified\",code=\"none\"}", "1"),
        ("core_api_authorizations_total{outcome=\"partial\",code=\"none\"}", "1"),
        ("core_api_authorizations_total{outcome=\"stand_in\",code=\"none\"}", "1"),
        ("core_api_authorization_steps_total{kind=\"capture\"}", "1"),
        ("core_api_authorization_steps_total{kind=\"expiry\"}", "1"),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    server.stop();

    // What is held is measured when a server starts, and every minute: 440 that the card could pay, and 70 that it could not.
    let server = Measured::start(&folder);
    let mut text = String::new();
    for _ in 0..100 {
        text = server.scrape().await.text().await.expect("text");
        if value(&text, "core_api_held_money{currency=\"USD\"}").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (series, expected) in [
        ("core_api_held_money{currency=\"USD\"}", "510"),
        ("core_api_held_money{currency=\"EUR\"}", "0"),
        ("core_api_holds_overdue_seconds", "0"),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    server.stop();
}
