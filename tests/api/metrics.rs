//! The metrics that Prometheus scrapes.

use std::{net::TcpListener, process::Stdio};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    Actor,
    binary::{Process, folder, sandbox, signal, wait_for_base},
};

#[tokio::test]
async fn metrics_are_served_on_their_own_listener_and_contain_no_ids() {
    let folder = folder();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut command = sandbox(folder.path());
    command.env("CORE_API__METRICS__LISTEN", format!("127.0.0.1:{port}"));
    let mut process = Process::start(command.stdout(Stdio::piped()));
    let base = wait_for_base(&mut process);
    let actor = Actor::new(&base).logged_in("test@example.com", "test123").await;
    let card = actor.given_card_with(json!(5)).await;
    assert_eq!(reqwest::get(format!("{base}/cards/{card}")).await.expect("answered").status(), 401);

    let scraped = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.expect("metrics");
    assert!(scraped.headers()["content-type"].to_str().expect("text").starts_with("text/plain; version=0.0.4"));
    let text = scraped.text().await.expect("text");
    let value = |series: &str| text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(ToOwned::to_owned);
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
        assert_eq!(value(series).as_deref(), Some(expected), "{series} in\n{text}");
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

    signal(&process, Signal::SIGTERM);
    assert!(process.wait().expect("an exit status").success());
}
