//! Slow clients: each gets a limited time, and none delays the others.

use std::time::Duration;

use serde_json::json;
use tokio::{
    net::TcpSocket,
    time::{sleep, timeout},
};

use crate::support::{Actor, World, socket::Socket};

const PAUSE: Duration = Duration::from_millis(100);

/// A server with these timeouts in seconds. A timeout of 60 is one that the test must not reach.
async fn with_timeouts(head: u64, body: u64, idle: u64) -> World {
    World::with(|settings| {
        settings.server.head_timeout_seconds = head;
        settings.server.body_timeout_seconds = body;
        settings.server.idle_timeout_seconds = idle;
    })
    .await
}

fn get(path: &str, actor: &Actor) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", actor.token.as_deref().unwrap_or_default())
}

/// The head of a top-up, without its body.
fn top_up_head(actor: &Actor, length: usize) -> String {
    let token = actor.token.as_deref().unwrap_or_default();
    format!(
        "POST /balances/add HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_connection_without_a_complete_head_in_time_is_closed() {
    let world = with_timeouts(1, 60, 60).await;
    let client = world.anonymous();
    let head = "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let (mut silent, mut partial) = (Socket::to(&client).await, Socket::to(&client).await);
    let (mut slow, mut slower) = (Socket::to(&client).await, Socket::to(&client).await);
    partial.send(head).await;
    slow.send(head).await;
    let closed = tokio::join!(silent.closed(), partial.closed(), slow.drip(b"x", PAUSE), slower.drip(head.as_bytes(), PAUSE));
    for (after, received) in [closed.0, closed.1, closed.2, closed.3] {
        assert_eq!(received, "");
        assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&after), "{after:?}");
    }
    assert_eq!(client.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_body_that_arrives_too_slowly_is_408_and_the_connection_is_closed() {
    let world = with_timeouts(60, 1, 60).await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let body = format!("{{\"cardId\":\"{card}\",\"amount\":5}}");
    for (sent, dripped) in [("", ""), (&*body, ""), (&*body, " ")] {
        let mut socket = Socket::to(&admin).await;
        socket.send(top_up_head(&admin, body.len() + 1_000)).await.send(sent).await;
        let (after, received) = if dripped.is_empty() { socket.closed().await } else { socket.drip(dripped.as_bytes(), PAUSE).await };
        assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&after), "{after:?}");
        let (head, problem) = received.split_once("\r\n\r\n").expect("an answer");
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 408 "), "{received}");
        for header in ["connection: close", "content-type: application/problem+json", "x-request-id: ", "x-ratelimit-remaining: "] {
            assert!(head.contains(header), "no {header} in {head}");
        }
        assert!(problem.contains("\"code\":\"request_timeout\"") && problem.contains("\"status\":408"), "{problem}");
    }
    assert_eq!(admin.card(&card).await["balance"], 0);
}

#[tokio::test]
async fn a_slow_body_within_the_deadline_is_accepted() {
    let world = with_timeouts(60, 60, 60).await;
    let admin = world.admin().await;
    let body = format!("{{\"cardId\":\"{}\",\"amount\":5}}", admin.given_card().await);
    let mut socket = Socket::to(&admin).await;
    socket.send(top_up_head(&admin, body.len())).await;
    for byte in body.bytes() {
        socket.send([byte]).await;
        sleep(Duration::from_millis(5)).await;
    }
    let answer = socket.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn slow_bodies_do_not_count_as_requests_in_flight() {
    let world = World::with(|settings| settings.server.max_in_flight = 1).await;
    let admin = world.admin().await;
    let login = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n{";
    let mut slow = Vec::new();
    for head in [login, login, login, &top_up_head(&admin, 60), &top_up_head(&admin, 60)] {
        let mut socket = Socket::to(&admin).await;
        socket.send(head).await;
        slow.push(socket);
    }
    sleep(PAUSE).await;
    admin.given_card_with(json!(5)).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout_and_ends_at_the_idle_timeout() {
    let world = with_timeouts(1, 60, 4).await;
    let admin = world.admin().await;
    let (mut idle, mut partial) = (Socket::to(&admin).await, Socket::to(&admin).await);
    for socket in [&mut idle, &mut partial] {
        socket.send(get("/cards", &admin)).await;
        assert_eq!(socket.answer().await.status, 200);
    }
    sleep(Duration::from_secs(2)).await;
    idle.send(get("/cards", &admin)).await;
    assert_eq!(idle.answer().await.status, 200);
    // A partial head does not extend the idle timeout.
    partial.send("GET /cards HTTP/1.1\r\nX-Slow: ").await;
    let ((after, received), (partial_after, partial_received)) = tokio::join!(idle.closed(), partial.drip(b"x", PAUSE));
    assert!((received.as_str(), partial_received.as_str()) == ("", ""), "{received}{partial_received}");
    assert!((Duration::from_secs(6)..Duration::from_secs(25)).contains(&after), "{after:?}");
    assert!((Duration::from_secs(4)..Duration::from_secs(25)).contains(&partial_after), "{partial_after:?}");
}

#[tokio::test]
async fn a_connection_beyond_the_maximum_waits_until_another_closes() {
    let world = World::with(|settings| settings.server.max_connections = 2).await;
    let client = world.anonymous();
    let (first, second, mut third) = (Socket::to(&client).await, Socket::to(&client).await, Socket::to(&client).await);
    third.send(get("/health/live", &client)).await;
    let early = timeout(Duration::from_millis(500), third.answer()).await;
    assert!(early.is_err(), "{early:?}");
    drop(first);
    assert_eq!(third.answer().await.status, 200);
    drop(second);
}

#[tokio::test]
async fn a_client_that_does_not_read_a_long_answer_is_disconnected() {
    let world = World::with(|settings| {
        settings.server.max_connections = 1;
        settings.server.write_timeout_seconds = 1;
    })
    .await;
    world
        .database
        .execute(
            "insert into customers (account_id, id, number, name, email, email_key)
             select account_id, gen_random_uuid(), n, repeat('x', 200), n || '@example.com', n || '@example.com'
             from accounts, generate_series(1, 60000) n where name = 'Test account'",
        )
        .await;
    let admin = world.admin().await;
    let request = get("/customers", &admin);
    let base = admin.base().to_owned();
    // This client's connections occupy the only slot until they are closed.
    drop(admin);
    let small = TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(4_096).expect("a small buffer");
    let stream = small.connect(base.trim_start_matches("http://").parse().expect("an address")).await.expect("connected");
    let mut stalled = Socket::over(stream);
    stalled.send(request).await;
    let next = Actor::new(&base);
    let next = timeout(Duration::from_secs(30), next.get("/health/live")).await.expect("the slot becomes free");
    assert_eq!(next.status, 200);
    let (_, received) = stalled.closed().await;
    assert!(
        received.starts_with("HTTP/1.1 200 ") && !received.ends_with("]}\r\n0\r\n\r\n"),
        "the answer of {} bytes is complete",
        received.len()
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_a_file_leaves_most_of_it_with_the_server() {
    let world = World::with(|settings| {
        settings.server.max_connections = 1;
        settings.server.write_timeout_seconds = 1;
    })
    .await;
    let base = world.anonymous().base().to_owned();
    let small = TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(4_096).expect("a small buffer");
    let stream = small.connect(base.trim_start_matches("http://").parse().expect("an address")).await.expect("connected");
    let mut stalled = Socket::over(stream);
    stalled.send("GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").await;
    // If the kernel took the whole file, the connection would count as idle and keep the only slot.
    let next = Actor::new(&base);
    let next = timeout(Duration::from_secs(30), next.get("/health/live")).await.expect("the slot becomes free");
    assert_eq!(next.status, 200);
    let (_, received) = stalled.closed().await;
    assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
}

#[tokio::test]
async fn connections_without_a_request_do_not_delay_shutdown() {
    let mut world = World::with(|settings| {
        settings.server.drain_seconds = 60;
        settings.server.head_timeout_seconds = 60;
    })
    .await;
    let client = world.anonymous();
    let (mut silent, mut idle) = (Socket::to(&client).await, Socket::to(&client).await);
    idle.send(get("/health/live", &client)).await;
    assert_eq!(idle.answer().await.status, 200);
    world.shut_down(0);
    tokio::join!(silent.closed(), idle.closed());
}
