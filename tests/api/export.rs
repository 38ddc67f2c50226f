//! What a collector is told of the requests.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, routing::post};
use reqwest::Method;

use crate::support::{
    Actor, Database, Reply,
    binary::{Logged, bare},
};

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const UNSAMPLED: u128 = 0x1bf7_6519_16cd_43dd_8448_eb21_1c80_319c;
const PARENT: u64 = 0xb7ad_6b71_6920_3331;

/// Everything that came, as the bytes it was.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<u8>>>);

impl Collector {
    async fn listen(&self) -> SocketAddr {
        let received = Arc::clone(&self.0);
        let take = move |body: Bytes| async move { received.lock().expect("whole").extend(body) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
        address
    }

    fn count(&self, bytes: impl AsRef<[u8]>) -> usize {
        let (received, bytes) = (self.0.lock().expect("whole"), bytes.as_ref());
        received.windows(bytes.len()).filter(|window| *window == bytes).count()
    }
}

/// A field of a protobuf message that is short.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).expect("short")], content].concat()
}

/// An attribute with a text.
fn text(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
}

/// The attribute for a status from 128 on.
fn status(status: u16) -> Vec<u8> {
    let digits = [0x80 | u8::try_from(status & 0x7f).expect("seven bits"), u8::try_from(status >> 7).expect("few bits")];
    [field(1, b"http.response.status_code"), field(2, &[&[3 << 3], &digits[..]].concat())].concat()
}

/// A span of a server under its name.
fn server(name: &str) -> Vec<u8> {
    [field(5, name.as_bytes()), vec![6 << 3, 2]].concat()
}

async fn exporting(to: SocketAddr, log_level: &str) -> (Database, Logged) {
    let database = Database::new().await;
    let mut command = bare(env!("CARGO_BIN_EXE_core-api"));
    command.env("DATABASE_URL", database.url()).env("CORE_API__LOG__LEVEL", log_level);
    let process = Logged::start(command.env("CORE_API__TRACING__OTLP_ENDPOINT", format!("http://{to}")));
    (database, process)
}

// The collector answers while the process is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_exports_one_span_in_its_caller_s_trace_and_nothing_else() {
    let collector = Collector::default();
    let (database, process) = exporting(collector.listen().await, "warn").await;
    let admin = Actor::new(&process.base).logged_in("test@example.com", "test123").await;
    let card = admin.given_card().await;
    let path = format!("/cards/{card}?canary=query");
    let traced = |method: Method, trace: u128, flags: &str| {
        let request = admin.request(method, &path).header("x-request-id", "canary-id");
        Reply::of(request.header("traceparent", format!("00-{trace:032x}-{PARENT:016x}-{flags}")))
    };
    traced(Method::GET, TRACE, "01").await.ok();
    traced(Method::GET, UNSAMPLED, "00").await.ok();
    traced(Method::DELETE, TRACE, "01").await.problem(405, "method_not_allowed");
    admin.get("/canary").await.problem(404, "route_not_found");
    let odd = Method::from_bytes(b"CANARY").expect("a method");
    reqwest::Client::new().request(odd, format!("{}/canary", process.base)).send().await.expect("answered");
    database.execute("alter table cards rename to lost").await;
    traced(Method::GET, TRACE, "03").await.problem(500, "internal_error");
    let log = process.end();

    // Of the caller's trace three, each under its span.
    assert_eq!(collector.count(field(1, &TRACE.to_be_bytes())), 3);
    assert_eq!(collector.count(field(4, &PARENT.to_be_bytes())), 3);
    assert_eq!(collector.count(UNSAMPLED.to_be_bytes()), 0, "what the caller does not export is not exported");
    for (bytes, times) in [
        (server("POST /auth/login"), 1),
        (server("POST /cards"), 1),
        (server("GET /cards/{cardId}"), 2),
        (server("DELETE /cards/{cardId}"), 1),
        (server("GET"), 1),
        (server("HTTP"), 1),
        (text("http.request.method", "POST"), 2),
        (text("http.request.method", "_OTHER"), 1),
        (text("http.route", "/cards/{cardId}"), 3),
        (status(200), 3),
        (status(404), 2),
        (status(405), 1),
        (status(500), 1),
        // A status: an error.
        (field(15, &[3 << 3, 2]), 1),
    ] {
        assert_eq!(collector.count(&bytes), times, "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert!(collector.count(text("service.name", "core-api")) >= 1);
    assert!(collector.count(text("service.version", env!("CARGO_PKG_VERSION"))) >= 1);
    let token = admin.token.expect("a token");
    for secret in [token.as_str(), "Bearer", "test123", "test@example.com", "card_", "canary", "CANARY", "cause", "lost"] {
        assert_eq!(collector.count(secret), 0, "{secret} was exported");
    }
    // Of it all the log tells what it tells otherwise at this level: the failure.
    assert!(log.len() == 1 && log[0].contains("\"code\":\"internal_error\""), "{log:#?}");
}

#[tokio::test]
async fn an_unreachable_collector_changes_no_answer_and_delays_no_shutdown() {
    let refusing = TcpListener::bind("127.0.0.1:0").and_then(|closed| closed.local_addr()).expect("a port");
    // Connections are made, by the system, and nothing is ever answered.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    for (collector, told) in [(refusing, "spans cannot be exported"), (silent.local_addr().expect("an address"), "the last spans")] {
        let (_database, process) = exporting(collector, "info").await;
        let admin = Actor::new(&process.base).logged_in("test@example.com", "test123").await;
        let began = Instant::now();
        for _ in 0..600 {
            admin.get("/health/live").await.ok();
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let signalled = Instant::now();
        let log = process.end();
        assert!(signalled.elapsed() < Duration::from_secs(6), "it ended after {:?}", signalled.elapsed());
        assert_eq!(log.iter().filter(|line| line.contains(told)).count(), 1, "{told} once in {log:#?}");
        assert_eq!(log.iter().filter(|line| line.contains("\"status\":200")).count(), 601, "a line for each request");
    }
}
