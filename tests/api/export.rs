//! The spans that a collector receives.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, routing::post};
use reqwest::Method;

use crate::support::{
    Actor, Database, Reply,
    binary::{Logged, core_api_on},
};

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const UNSAMPLED: u128 = 0x1bf7_6519_16cd_43dd_8448_eb21_1c80_319c;
const PARENT: u64 = 0xb7ad_6b71_6920_3331;

/// All bytes received.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<u8>>>);

impl Collector {
    async fn listen(&self) -> SocketAddr {
        let received = Arc::clone(&self.0);
        let take = move |body: Bytes| async move { received.lock().expect("no panic while locked").extend(body) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
        address
    }

    fn count(&self, bytes: impl AsRef<[u8]>) -> usize {
        let (received, bytes) = (self.0.lock().expect("no panic while locked"), bytes.as_ref());
        received.windows(bytes.len()).filter(|window| *window == bytes).count()
    }
}

/// A short length-delimited protobuf field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).expect("short")], content].concat()
}

/// A string attribute.
fn text(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
}

/// The attribute for an HTTP status of 128 or more.
fn status(status: u16) -> Vec<u8> {
    let digits = [0x80 | u8::try_from(status & 0x7f).expect("seven bits"), u8::try_from(status >> 7).expect("few bits")];
    [field(1, b"http.response.status_code"), field(2, &[&[3 << 3], &digits[..]].concat())].concat()
}

/// A server span with this name.
fn server_span(name: &str) -> Vec<u8> {
    [field(5, name.as_bytes()), vec![6 << 3, 2]].concat()
}

async fn exporting(to: SocketAddr, log_level: &str) -> (Database, Logged) {
    let database = Database::new().await;
    let mut command = core_api_on(&database);
    command.env("CORE_API__LOG__LEVEL", log_level);
    let process = Logged::start(command.env("CORE_API__TRACING__OTLP_ENDPOINT", format!("http://{to}")));
    (database, process)
}

// The collector must answer while this test waits for the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_exports_one_span_in_its_caller_s_trace_and_nothing_else() {
    let collector = Collector::default();
    let (database, process) = exporting(collector.listen().await, "warn").await;
    let admin = Actor::new(&process.base).logged_in("test@example.com", "test123").await;
    let card = admin.given_card().await;
    let path = format!("/cards/{card}");
    let traced = |method: Method, trace: u128, flags: &str| {
        let request = admin.request(method, &path).header("x-request-id", "canary-id");
        Reply::of(request.header("traceparent", format!("00-{trace:032x}-{PARENT:016x}-{flags}")))
    };
    traced(Method::GET, TRACE, "01").await.ok();
    traced(Method::GET, UNSAMPLED, "00").await.ok();
    traced(Method::DELETE, TRACE, "01").await.problem(405, "method_not_allowed");
    admin.get("/canary?canary=query").await.problem(404, "route_not_found");
    let odd = Method::from_bytes(b"CANARY").expect("a method");
    reqwest::Client::new().request(odd, format!("{}/canary", process.base)).send().await.expect("answered");
    database.execute("alter table cards rename to lost").await;
    traced(Method::GET, TRACE, "03").await.problem(500, "internal_error");
    let log = process.stop();

    // Three requests belong to the caller's trace, each a child of its span.
    assert_eq!(collector.count(field(1, &TRACE.to_be_bytes())), 3);
    assert_eq!(collector.count(field(4, &PARENT.to_be_bytes())), 3);
    assert_eq!(collector.count(UNSAMPLED.to_be_bytes()), 0, "an unsampled trace was exported");
    for (bytes, count) in [
        (server_span("POST /auth/login"), 1),
        (server_span("POST /cards"), 1),
        (server_span("GET /cards/{cardId}"), 2),
        (server_span("DELETE /cards/{cardId}"), 1),
        (server_span("GET"), 1),
        (server_span("HTTP"), 1),
        (text("http.request.method", "POST"), 2),
        (text("http.request.method", "_OTHER"), 1),
        (text("http.route", "/cards/{cardId}"), 3),
        (status(200), 3),
        (status(404), 2),
        (status(405), 1),
        (status(500), 1),
        // A span status of error.
        (field(15, &[3 << 3, 2]), 1),
    ] {
        assert_eq!(collector.count(&bytes), count, "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert!(collector.count(text("service.name", "core-api")) >= 1);
    assert!(collector.count(text("service.version", env!("CARGO_PKG_VERSION"))) >= 1);
    let token = admin.token.expect("a token");
    for secret in [token.as_str(), "Bearer", "test123", "test@example.com", "card_", "canary", "CANARY", "cause", "lost"] {
        assert_eq!(collector.count(secret), 0, "{secret} was exported");
    }
    // Exporting adds nothing to the log: at this level it contains only the failure.
    assert!(log.len() == 1 && log[0].contains("\"code\":\"internal_error\""), "{log:#?}");
}

#[tokio::test]
async fn an_unreachable_collector_changes_no_answer_and_delays_no_shutdown() {
    let refusing = TcpListener::bind("127.0.0.1:0").and_then(|closed| closed.local_addr()).expect("a port");
    // The operating system accepts connections, and nothing ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    for (collector, message) in [(refusing, "spans cannot be exported"), (silent.local_addr().expect("an address"), "the last spans")] {
        let (_database, process) = exporting(collector, "info").await;
        let admin = Actor::new(&process.base).logged_in("test@example.com", "test123").await;
        let began = Instant::now();
        for _ in 0..600 {
            admin.get("/health/live").await.ok();
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let signalled = Instant::now();
        let log = process.stop();
        assert!(signalled.elapsed() < Duration::from_secs(6), "the shutdown took {:?}", signalled.elapsed());
        assert_eq!(log.iter().filter(|line| line.contains(message)).count(), 1, "{message:?} once in {log:#?}");
        assert_eq!(log.iter().filter(|line| line.contains("\"status\":200")).count(), 601, "a line for each request");
    }
}
