//! What a server that is told to stop still finishes.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Actor, RowLocks, World,
    binary::{Logged, core_api_on},
};

/// Sends a top-up and hangs up while it waits for a lock that the test holds.
async fn abandoned_top_up(world: &World, server: &Logged) -> RowLocks {
    let admin = Actor::new(&server.base).logged_in("test@example.com", "test123").await;
    let (card, token) = (admin.given_card().await, admin.token.as_deref().expect("a token"));
    let body = json!({"cardId": card, "amount": 5}).to_string();
    let locks = world.database.lock_rows("cards").await;
    let mut socket = TcpStream::connect(admin.base().trim_start_matches("http://")).expect("connected");
    let head = format!("POST /balances/add HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    socket.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("the request is sent");
    world.database.wait_for_lock_waiters(1).await;
    drop(socket);
    tokio::time::sleep(Duration::from_millis(100)).await;
    locks
}

#[tokio::test]
async fn a_request_whose_client_has_disconnected_is_finished_before_the_process_ends() {
    let world = World::new().await;
    let mut server = Logged::start(core_api_on(&world.database).env("CORE_API__SERVER__DRAIN_SECONDS", "20"));
    let locks = abandoned_top_up(&world, &server).await;
    server.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(server.is_running(), "the server ended before its request");
    locks.release().await;
    let released = Instant::now();
    let log = server.log();
    assert!(released.elapsed() < Duration::from_secs(10), "the server ended {:?} after its last request", released.elapsed());
    assert_eq!(world.database.number("select sum(balance)::bigint from cards").await, 500, "{log:#?}");
    let answered = |line: &&String| line.contains("/balances/add") && line.contains("\"status\":200");
    assert_eq!(log.iter().filter(answered).count(), 1, "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("still in flight")), "{log:#?}");
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_time_does_not_keep_the_process() {
    let world = World::new().await;
    let server = Logged::start(core_api_on(&world.database).env("CORE_API__SERVER__DRAIN_SECONDS", "1"));
    let locks = abandoned_top_up(&world, &server).await;
    server.terminate();
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("still in flight")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("/balances/add")), "{log:#?}");
    locks.release().await;
    assert_eq!(world.database.number("select sum(balance)::bigint from cards").await, 0);
}
