//! What is no sound HTTP/1.1, or too much of it: where a request ends must never be a matter of opinion.

use crate::support::{Actor, World, socket::Socket};

fn get(path: &str, actor: &Actor, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{headers}\r\n", actor.token.as_deref().unwrap_or_default())
}

/// A request that would make a card.
fn new_card(actor: &Actor) -> String {
    let (token, body) = (actor.token.as_deref().unwrap_or_default(), "{\"currency\":\"USD\"}");
    let length = body.len();
    format!(
        "POST /cards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut socket = Socket::to(&admin).await;
    socket.send(format!("{}{}{}{}", new_card(&admin), get("/cards", &admin, ""), get("/nothing", &admin, ""), new_card(&admin))).await;
    let statuses = [socket.answer().await, socket.answer().await, socket.answer().await, socket.answer().await];
    assert_eq!(statuses.each_ref().map(|answer| answer.status), [200, 200, 404, 200]);
    assert!(statuses[1].body.starts_with("{\"cards\":[{"), "{:?}", statuses[1]);
    assert!(statuses.iter().all(|answer| !answer.head.contains("\r\nserver:")), "{statuses:?}");
    assert_eq!(world.database.rows().await, 2);
}

#[tokio::test]
async fn a_smuggled_request_is_never_served() {
    let world = World::new().await;
    let admin = world.admin().await;
    let hidden = new_card(&admin);
    let length = hidden.len();
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    // Each as (headers, what follows the head). Some end the outer request where the hidden one begins, some
    // do not end it at all; a server that reads the other header of two would go on with the hidden one.
    let ambiguous = [
        // Two ways to tell where the body ends.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(), chunk.clone()),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".to_owned(), chunk.clone()),
        (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), format!("0\r\n\r\n{hidden}")),
        (format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), hidden.clone()),
        (format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), hidden.clone()),
        (format!("Content-Length: 0, {length}\r\n"), hidden.clone()),
        // Lengths that are none.
        ("Content-Length: -1\r\n".to_owned(), hidden.clone()),
        ("Content-Length: +0\r\n".to_owned(), hidden.clone()),
        ("Content-Length: 0x0\r\n".to_owned(), hidden.clone()),
        ("Content-Length: 18446744073709551616\r\n".to_owned(), hidden.clone()),
        ("Content-Length: \r\n".to_owned(), hidden.clone()),
        // Codings that are none, or not the last.
        ("Transfer-Encoding: xchunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: identity\r\n".to_owned(), hidden.clone()),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding:\u{b}chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        // Headers that another server might read.
        ("Transfer-Encoding : chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        (" Transfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("X-Folded: a\r\n Transfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("X: a\rContent-Length: 0\r\n".to_owned(), hidden.clone()),
        ("X: a\0b\r\n".to_owned(), hidden.clone()),
        // Chunks of which nobody knows how long they are.
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0x0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("-0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("10000000000000000\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0;x=\n\n{hidden}")),
    ];
    for (headers, rest) in ambiguous {
        let mut socket = Socket::to(&admin).await;
        socket.send(get("/cards", &admin, &headers)).await.send(&rest).await;
        let (_, said) = socket.closed().await;
        assert!(said.matches("HTTP/1.1 ").count() <= 1, "{headers:?} got {said}");
        assert_eq!(world.database.rows().await, 0, "{headers:?} let the hidden request through: {said}");
    }
    // The hidden request is a good one where it is not hidden.
    let mut socket = Socket::to(&admin).await;
    assert_eq!(socket.send(hidden).await.answer().await.status, 200);
}

#[tokio::test]
async fn a_head_within_the_limits_is_accepted_and_a_larger_one_is_431() {
    let world = World::new().await;
    let admin = world.admin().await;
    let of_length = |length: usize| format!("X-Long: {}\r\n", "x".repeat(length));
    // Host and Authorization are two more.
    let of_count = |count: usize| "X-Many: x\r\n".repeat(count - 2);
    for headers in [of_length(30 * 1024), of_count(100)] {
        let mut socket = Socket::to(&admin).await;
        assert_eq!(socket.send(get("/cards", &admin, &headers)).await.answer().await.status, 200);
    }
    for headers in [of_length(33 * 1024), of_count(101), of_count(1_000)] {
        let mut socket = Socket::to(&admin).await;
        let (_, said) = socket.send(get("/cards", &admin, &headers)).await.closed().await;
        assert!(said.starts_with("HTTP/1.1 431 ") && said.matches("HTTP/1.1 ").count() == 1, "{said}");
    }
    let path = format!("/{}", "x".repeat(33 * 1024));
    // Of so much the server does not even read enough for its answer to arrive each time.
    for far_too_long in [get("/cards", &admin, &of_length(1024 * 1024)), get(&path, &admin, "")] {
        let mut socket = Socket::to(&admin).await;
        let (_, said) = socket.send(far_too_long).await.closed().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
    }
    admin.get("/cards").await.ok();
}

#[tokio::test]
async fn anything_but_http_1_is_refused() {
    let world = World::new().await;
    let admin = world.admin().await;
    for nonsense in [
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
        let (_, said) = socket.send(nonsense).await.closed().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{nonsense:?} got {said}");
    }
    // HTTP/2 by upgrade is not taken up.
    let mut socket = Socket::to(&admin).await;
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(socket.send(get("/cards", &admin, upgrade)).await.answer().await.status, 200);
}
