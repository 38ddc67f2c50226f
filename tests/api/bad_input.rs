//! Bad requests: each gets its documented 4xx as problem+json, and writes no row.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use reqwest::Method;

use crate::{
    bad_bodies::{INVALID, malformed},
    support::{Actor, Reply, World, without_quota},
};

/// Sends requests that must be refused, and counts them.
struct Corpus {
    admin: Actor,
    sent: usize,
}

impl Corpus {
    async fn refused(&mut self, status: u16, code: &str, reply: impl Future<Output = Reply>, what: &str) {
        let reply = reply.await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text);
        reply.problem(status, code);
        self.sent += 1;
    }

    async fn body(&mut self, code: &str, method: &str, path: &str, body: Vec<u8>) {
        let what = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(200)]));
        let method = method.parse().expect("a method");
        let admin = self.admin.clone();
        self.refused(400, code, admin.send(method, path, body), &what).await;
    }
}

#[tokio::test]
async fn every_bad_request_gets_its_documented_4xx_and_writes_nothing() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    let before = (world.database.rows().await, admin.card(&card).await);
    let mut corpus = Corpus { admin: admin.clone(), sent: 0 };

    for (method, path) in [
        ("POST", "/auth/login"),
        ("POST", "/auth/refresh"),
        ("POST", "/customers"),
        ("POST", "/cards"),
        ("POST", "/cards/assign"),
        ("PATCH", "/cards/status"),
        ("POST", "/balances/add"),
        ("POST", "/sandbox/purchases"),
        ("POST", "/sandbox/refunds"),
        ("POST", "/balances/withdraw"),
        ("POST", "/transfers"),
        ("POST", "/network/authorizations"),
    ] {
        for body in malformed() {
            corpus.body("invalid_json", method, path, body).await;
        }
    }
    for (method, path, bodies) in INVALID {
        for body in bodies {
            corpus.body("validation_failed", method, path, body.replace("CARD", &card).replace("CUSTOMER", &customer).into_bytes()).await;
        }
    }
    for (path, long) in [
        ("/customers", format!(r#"{{"name":"{}","email":"juan@email.com"}}"#, "x".repeat(201))),
        ("/customers", format!(r#"{{"name":"Juan","email":"{}@email.com"}}"#, "x".repeat(250))),
        ("/customers", format!(r#"{{"name":"{}","email":"juan@email.com"}}"#, "é".repeat(3_000))),
        ("/sandbox/refunds", format!(r#"{{"cardId":"{card}","amount":1,"description":"{}"}}"#, "x".repeat(201))),
        ("/balances/add", format!(r#"{{"cardId":"{card}","amount":{}}}"#, "9".repeat(10_000))),
        ("/balances/add", format!(r#"{{"cardId":"{card}","amount":0.{}}}"#, "0".repeat(9_999) + "1")),
        ("/auth/login", format!(r#"{{"email":"test@example.com","password":"{}"}}"#, "x".repeat(1_025))),
        ("/auth/login", format!(r#"{{"email":"{}","password":"x"}}"#, "x".repeat(255))),
        ("/auth/login", r#"{"email":"test@example.com","password":""}"#.to_owned()),
        ("/auth/login", r#"{"email":"a\u0000b","password":"a\u0000b"}"#.to_owned()),
        ("/auth/login", r#"{"email":["test@example.com"],"password":{"$ne":""}}"#.to_owned()),
    ] {
        corpus.body("validation_failed", "POST", path, long.into_bytes()).await;
    }
    for (status, code, path) in [
        (404, "card_not_found", "/cards/card_001"),
        (404, "card_not_found", "/cards/%F0%9F%92%B3"),
        (404, "card_not_found", "/cards/..%2F..%2Fetc%2Fpasswd"),
        (404, "card_not_found", "/cards/'%20or%201=1--"),
        (404, "customer_not_found", "/customers/%20"),
        (404, "card_not_found", "/cards/card_00000000000000000000000000/movements"),
        (404, "card_not_found", "/cards/card_zzzzzzzzzzzzzzzzzzzzzzzzzz"),
        (400, "invalid_path", "/cards/%00"),
        (400, "invalid_path", "/cards/%FF"),
        (400, "invalid_path", "/cards/a%0Ab/movements"),
        (400, "invalid_path", "/balances/%C3%28"),
        (404, "route_not_found", "//cards"),
        (404, "route_not_found", "/cards/a/b/c"),
        (400, "validation_failed", "/cards?limit=0"),
        (400, "validation_failed", "/cards?limit=1&limit=1"),
        (400, "validation_failed", "/cards?limit=%00"),
        (400, "validation_failed", "/cards?status=%00"),
        (400, "validation_failed", "/cards?customerId=%FF"),
        (400, "validation_failed", "/cards?status=Active"),
        (400, "validation_failed", "/cards?currency="),
        (400, "validation_failed", "/customers?limit=1;drop"),
        (400, "validation_failed", "/customers?after=%F0%9F%92%B3"),
        (400, "validation_failed", "/customers?limit=1&after=bm90IGEgY3Vyc29y"),
    ] {
        let admin = admin.clone();
        corpus.refused(status, code, admin.get(path), path).await;
    }
    for method in [Method::PUT, Method::DELETE, Method::TRACE, Method::OPTIONS] {
        for path in ["/customers", "/cards/assign", "/balances/add", "/auth/login"] {
            let reply = Reply::of(admin.request(method.clone(), path));
            corpus.refused(405, "method_not_allowed", reply, &format!("{method} {path}")).await;
        }
    }
    for media_type in ["text/plain", "multipart/form-data; boundary=x", "application/xml", "application/json, text/plain"] {
        for path in ["/customers", "/cards", "/balances/add"] {
            let request = admin.request(Method::POST, path).header("content-type", media_type).body("{\"currency\":\"USD\"}");
            corpus.refused(415, "unsupported_media_type", Reply::of(request), &format!("{media_type} {path}")).await;
        }
    }

    assert!(corpus.sent >= 150, "only {} bad requests", corpus.sent);
    let after = (world.database.rows().await, admin.card(&card).await);
    assert_eq!(after, before, "a bad request changed data");
    assert_eq!(world.database.number("select count(*) from sessions").await, 1, "a bad request started a session");
    println!("{} bad requests refused", corpus.sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_http_is_answered_with_4xx_or_disconnected() {
    let world = World::new().await;
    let address = world.anonymous().base().trim_start_matches("http://").to_owned();
    for request in [
        &b"GARBAGE\r\n\r\n"[..],
        b"GET /cards\r\n\r\n",
        b"GET /cards HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET cards HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"POST /cards HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /cards HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /cards HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(&address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("the timeout is set");
        socket.write_all(request).expect("the request is sent");
        // The server may have closed the connection already.
        let _half_closed = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let disconnected = socket.read_to_end(&mut answer);
        let timed_out = disconnected.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!timed_out, "{} was neither answered nor disconnected", String::from_utf8_lossy(request));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{}: {answer}", String::from_utf8_lossy(request));
    }
    world.anonymous().get("/health/ready").await.ok();
}
