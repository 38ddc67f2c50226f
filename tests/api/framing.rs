//! Malformed or oversized HTTP/1.1. Where a request ends must never be ambiguous.

use crate::support::{Actor, World, socket::Socket};

fn get(path: &str, actor: &Actor, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{headers}\r\n", actor.token.as_deref().unwrap_or_default())
}

/// A request that creates a card.
fn new_card(actor: &Actor) -> String {
    let (token, body) = (actor.token.as_deref().unwrap_or_default(), "{\"currency\":\"USD\"}");
    let length = body.len();
    format!(
        "POST /cards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (world, admin) = World::with_admin().await;
    let mut socket = Socket::to(&admin).await;
    socket.send(format!("{}{}{}{}", new_card(&admin), get("/cards", &admin, ""), get("/nothing", &admin, ""), new_card(&admin))).await;
    let answers = [socket.answer().await, socket.answer().await, socket.answer().await, socket.answer().await];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 404, 200]);
    assert!(answers[1].body.starts_with("{\"cards\":[{"), "{:?}", answers[1]);
    assert!(answers.iter().all(|answer| !answer.head.contains("\r\nserver:")), "{answers:?}");
    assert_eq!(world.database.rows().await, 2);
}

#[tokio::test]
async fn a_smuggled_request_is_never_served() {
    let (world, admin) = World::with_admin().await;
    let smuggled = new_card(&admin);
    let length = smuggled.len();
    let chunk = format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    // Each is (headers, what follows the head). A server that reads the framing headers differently would take the
    // smuggled request for the next one.
    let ambiguous = [
        // Two conflicting framings.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(), chunk.clone()),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".to_owned(), chunk.clone()),
        (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), format!("0\r\n\r\n{smuggled}")),
        (format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), smuggled.clone()),
        (format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), smuggled.clone()),
        (format!("Content-Length: 0, {length}\r\n"), smuggled.clone()),
        // Invalid lengths.
        ("Content-Length: -1\r\n".to_owned(), smuggled.clone()),
        ("Content-Length: +0\r\n".to_owned(), smuggled.clone()),
        ("Content-Length: 0x0\r\n".to_owned(), smuggled.clone()),
        ("Content-Length: 18446744073709551616\r\n".to_owned(), smuggled.clone()),
        ("Content-Length: \r\n".to_owned(), smuggled.clone()),
        // Transfer codings that are unknown, or do not end with chunked.
        ("Transfer-Encoding: xchunked\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        ("Transfer-Encoding: identity\r\n".to_owned(), smuggled.clone()),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        ("Transfer-Encoding:\u{b}chunked\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        // Malformed headers that another server might accept.
        ("Transfer-Encoding : chunked\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        (" Transfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        ("X-Folded: a\r\n Transfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{smuggled}")),
        ("X: a\rContent-Length: 0\r\n".to_owned(), smuggled.clone()),
        ("X: a\0b\r\n".to_owned(), smuggled.clone()),
        // Invalid chunk sizes.
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0x0\r\n\r\n{smuggled}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("-0\r\n\r\n{smuggled}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("10000000000000000\r\n\r\n{smuggled}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0;x=\n\n{smuggled}")),
    ];
    for (headers, rest) in ambiguous {
        let mut socket = Socket::to(&admin).await;
        socket.send(get("/cards", &admin, &headers)).await.send(&rest).await;
        let (_, received) = socket.closed().await;
        assert!(received.matches("HTTP/1.1 ").count() <= 1, "{headers:?} got {received}");
        assert_eq!(world.database.rows().await, 0, "{headers:?} let the smuggled request through: {received}");
    }
    // The smuggled request is valid on its own.
    let mut socket = Socket::to(&admin).await;
    assert_eq!(socket.send(smuggled).await.answer().await.status, 200);
}

#[tokio::test]
async fn a_head_within_the_limits_is_accepted_and_a_larger_one_is_431() {
    let (_world, admin) = World::with_admin().await;
    let of_length = |length: usize| format!("X-Long: {}\r\n", "x".repeat(length));
    // `Host` and `Authorization` are two of them.
    let of_count = |count: usize| "X-Many: x\r\n".repeat(count - 2);
    for headers in [of_length(30 * 1024), of_count(100)] {
        let mut socket = Socket::to(&admin).await;
        assert_eq!(socket.send(get("/cards", &admin, &headers)).await.answer().await.status, 200);
    }
    for headers in [of_length(33 * 1024), of_count(101), of_count(1_000)] {
        let mut socket = Socket::to(&admin).await;
        let (_, received) = socket.send(get("/cards", &admin, &headers)).await.closed().await;
        assert!(received.starts_with("HTTP/1.1 431 ") && received.matches("HTTP/1.1 ").count() == 1, "{received}");
    }
    let path = format!("/{}", "x".repeat(33 * 1024));
    // The server stops reading so early that its answer may be lost.
    for oversized in [get("/cards", &admin, &of_length(1024 * 1024)), get(&path, &admin, "")] {
        let mut socket = Socket::to(&admin).await;
        let (_, received) = socket.send(oversized).await.closed().await;
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 431 "), "{received}");
    }
    admin.get("/cards").await.ok();
}

#[tokio::test]
async fn anything_but_http_1_is_refused() {
    let (_world, admin) = World::with_admin().await;
    for request in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
        "GET /cards HTTP/2.0\r\n\r\n",
        "GET /cards HTTP/0.9\r\n\r\n",
        "GET /cards\r\n\r\n",
        "GET  /cards HTTP/1.1\r\n\r\n",
        "G\0T /cards HTTP/1.1\r\n\r\n",
        "GET /ca rds HTTP/1.1\r\n\r\n",
        "GET /cards HTTP/1.1\r\nNo colon\r\n\r\n",
        "GET /cards HTTP/1.1\r\n: nameless\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}",
        "nonsense\r\n\r\n",
        "*1\r\n$4\r\nPING\r\n",
    ] {
        let mut socket = Socket::to(&admin).await;
        let (_, received) = socket.send(request).await.closed().await;
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 400 "), "{request:?} got {received}");
    }
    // An upgrade to HTTP/2 is ignored.
    let mut socket = Socket::to(&admin).await;
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(socket.send(get("/cards", &admin, upgrade)).await.answer().await.status, 200);
}

/// The code of a problem that was received whole, with the headers that every response has.
fn code_of(received: &str) -> String {
    let (head, body) = received.split_once("\r\n\r\n").unwrap_or_default();
    let head = head.to_ascii_lowercase();
    for header in ["content-type: application/problem+json", "x-request-id: ", "cache-control: no-store", "connection: close"] {
        assert!(head.contains(header), "no {header} in {received}");
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {received}"));
    format!("{} {}", body["status"], body["code"].as_str().expect("a code"))
}

#[tokio::test]
async fn a_request_without_exactly_one_valid_host_is_400() {
    let (_world, admin) = World::with_admin().await;
    let token = admin.token.as_deref().expect("a token");
    let with =
        |target: &str, version: &str, hosts: &str| format!("GET {target} HTTP/{version}\r\n{hosts}Authorization: Bearer {token}\r\n\r\n");
    for (target, version, hosts) in [
        ("/cards", "1.1", ""),
        ("/health/live", "1.1", ""),
        ("/nothing", "1.1", ""),
        ("http://x/cards", "1.1", ""),
        ("/cards", "1.1", "Host: x\r\nHost: x\r\n"),
        ("/cards", "1.1", "Host: x\r\nHOST: y\r\n"),
        ("/cards", "1.1", "Host:\r\nHost: x\r\n"),
        ("/cards", "1.1", "Host: x, y\r\n"),
        ("/cards", "1.1", "Host: x y\r\n"),
        ("/cards", "1.1", "Host: http://x\r\n"),
        ("/cards", "1.1", "Host: user@x\r\n"),
        ("/cards", "1.1", "Host: x:port\r\n"),
        ("http://x/cards", "1.1", "Host: x/y\r\n"),
        ("/cards", "1.0", "Host: x\r\nHost: x\r\n"),
        ("/cards", "1.0", "Host: x y\r\n"),
    ] {
        let mut socket = Socket::to(&admin).await;
        let (_, received) = socket.send(with(target, version, hosts)).await.send(with("/cards", "1.1", "Host: x\r\n")).await.closed().await;
        assert_eq!(code_of(&received), "400 invalid_host", "{target} {version} {hosts:?}");
    }
    for (target, version, hosts) in [
        ("/cards", "1.1", "Host: x\r\n"),
        ("/cards", "1.1", "Host:\r\n"),
        ("/cards", "1.1", "Host: [::1]:8080\r\n"),
        ("http://other/cards", "1.1", "Host: x\r\n"),
        ("/cards", "1.0", ""),
        ("/cards", "1.0", "Host: x\r\n"),
    ] {
        let answer = Socket::to(&admin).await.send(with(target, version, hosts)).await.answer().await;
        assert_eq!(answer.status, 200, "{target} {version} {hosts:?}");
    }
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_501() {
    let (world, admin) = World::with_admin().await;
    let token = admin.token.as_deref().expect("a token");
    let body = "{\"currency\":\"USD\"}";
    let chunked = |codings: &str| {
        format!(
            "POST /cards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{codings}\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    for codings in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: GZIP ,Chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked;x=1, chunked\r\n",
    ] {
        let mut socket = Socket::to(&admin).await;
        let (_, received) = socket.send(chunked(codings)).await.send(new_card(&admin)).await.closed().await;
        assert_eq!(code_of(&received), "501 unsupported_transfer_coding", "{codings:?}");
    }
    assert_eq!(world.database.rows().await, 0);
    for codings in ["Transfer-Encoding: chunked\r\n", "Transfer-Encoding:  CHUNKED\t\r\n", "Transfer-Encoding: , chunked\r\n"] {
        let answer = Socket::to(&admin).await.send(chunked(codings)).await.answer().await;
        assert_eq!(answer.status, 200, "{codings:?}");
    }
}
