//! Clients that take their time: each is waited for so long and no longer, and none at the cost of others.

use std::time::Duration;

use tokio::{
    net::TcpSocket,
    time::{sleep, timeout},
};

use crate::support::{Actor, World, socket::Socket};

const PAUSE: Duration = Duration::from_millis(100);

/// A server with short deadlines; what it waits for a minute is not to be met in a test.
async fn impatient(head: u64, body: u64, idle: u64) -> World {
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

/// The head of a request whose body is still to come.
fn top_up_head(actor: &Actor, length: usize) -> String {
    let token = actor.token.as_deref().unwrap_or_default();
    format!(
        "POST /balances/add HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_connection_without_a_complete_head_in_time_is_closed() {
    let world = impatient(1, 60, 60).await;
    let stranger = world.stranger();
    let head = "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let (mut silent, mut partial) = (Socket::to(&stranger).await, Socket::to(&stranger).await);
    let (mut slow, mut slower) = (Socket::to(&stranger).await, Socket::to(&stranger).await);
    partial.send(head).await;
    slow.send(head).await;
    let closed = tokio::join!(silent.closed(), partial.closed(), slow.drip(b"x", PAUSE), slower.drip(head.as_bytes(), PAUSE));
    for (after, said) in [closed.0, closed.1, closed.2, closed.3] {
        assert_eq!(said, "");
        assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&after), "{after:?}");
    }
    assert_eq!(stranger.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_body_that_arrives_too_slowly_is_408_and_the_connection_is_closed() {
    let world = impatient(60, 1, 60).await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let body = format!("{{\"cardId\":\"{card}\",\"amount\":5}}");
    for (sent, dripped) in [("", ""), (&*body, ""), (&*body, " ")] {
        let mut socket = Socket::to(&admin).await;
        socket.send(top_up_head(&admin, body.len() + 1_000)).await.send(sent).await;
        let (after, said) = if dripped.is_empty() { socket.closed().await } else { socket.drip(dripped.as_bytes(), PAUSE).await };
        assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&after), "{after:?}");
        let (head, problem) = said.split_once("\r\n\r\n").expect("an answer");
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 408 "), "{said}");
        for header in ["connection: close", "content-type: application/problem+json", "x-request-id: ", "x-ratelimit-remaining: "] {
            assert!(head.contains(header), "no {header} in {head}");
        }
        assert!(problem.contains("\"code\":\"request_timeout\"") && problem.contains("\"status\":408"), "{problem}");
    }
    assert_eq!(admin.card(&card).await["balance"], 0);
}

#[tokio::test]
async fn a_slow_body_within_the_deadline_is_accepted() {
    let world = impatient(60, 60, 60).await;
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
    admin.given_card_with(serde_json::json!(5)).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout_and_ends_at_the_idle_timeout() {
    let world = impatient(1, 60, 4).await;
    let admin = world.admin().await;
    let (mut idle, mut partial) = (Socket::to(&admin).await, Socket::to(&admin).await);
    for socket in [&mut idle, &mut partial] {
        socket.send(get("/cards", &admin)).await;
        assert_eq!(socket.answer().await.status, 200);
    }
    sleep(Duration::from_secs(2)).await;
    idle.send(get("/cards", &admin)).await;
    assert_eq!(idle.answer().await.status, 200);
    // Half a head is no more than being idle.
    partial.send("GET /cards HTTP/1.1\r\nX-Slow: ").await;
    let ((after, said), (partial_after, partial_said)) = tokio::join!(idle.closed(), partial.drip(b"x", PAUSE));
    assert!((said.as_str(), partial_said.as_str()) == ("", ""), "{said}{partial_said}");
    assert!((Duration::from_secs(6)..Duration::from_secs(25)).contains(&after), "{after:?}");
    assert!((Duration::from_secs(4)..Duration::from_secs(25)).contains(&partial_after), "{partial_after:?}");
}

#[tokio::test]
async fn a_connection_beyond_the_maximum_waits_until_another_closes() {
    let world = World::with(|settings| settings.server.max_connections = 2).await;
    let stranger = world.stranger();
    let (first, second, mut third) = (Socket::to(&stranger).await, Socket::to(&stranger).await, Socket::to(&stranger).await);
    third.send(get("/health/live", &stranger)).await;
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
    // The only place is this client's, until its connections are gone.
    drop(admin);
    let small = TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(4_096).expect("a small buffer");
    let stream = small.connect(base.trim_start_matches("http://").parse().expect("an address")).await.expect("connected");
    let mut stalled = Socket::over(stream);
    stalled.send(request).await;
    let next = Actor::new(&base);
    let next = timeout(Duration::from_secs(30), next.get("/health/live")).await.expect("the place is never free");
    assert_eq!(next.status, 200);
    let (_, said) = stalled.closed().await;
    assert!(said.starts_with("HTTP/1.1 200 ") && !said.ends_with("]}\r\n0\r\n\r\n"), "{} bytes, all of it", said.len());
}

#[tokio::test]
async fn connections_without_a_request_do_not_delay_shutdown() {
    let mut world = World::with(|settings| {
        settings.server.drain_seconds = 60;
        settings.server.head_timeout_seconds = 60;
    })
    .await;
    let stranger = world.stranger();
    let (mut silent, mut idle) = (Socket::to(&stranger).await, Socket::to(&stranger).await);
    idle.send(get("/health/live", &stranger)).await;
    assert_eq!(idle.answer().await.status, 200);
    world.tell_to_stop(0);
    tokio::join!(silent.closed(), idle.closed());
}
