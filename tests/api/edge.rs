//! What clients do to a server besides asking: hang up, flood, come through proxies, stay while it ends.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use core_api::database;
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::{Reply, World, binary::bare, wire::Wire};

/// Holds every card's row, so that whoever wants to change one waits.
async fn hold_the_cards(world: &World) -> PgConnection {
    let mut holder = world.database.connect().await;
    holder.execute("begin").await.expect("begun");
    holder.execute("select from cards for update").await.expect("held");
    holder
}

/// Waits until somebody waits for a held row.
async fn until_somebody_waits(world: &World) {
    for _ in 0..500 {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        if world.database.number(waiting).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody came");
}

#[tokio::test]
async fn a_started_request_completes_after_the_client_hangs_up() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card_in("active").await, admin.given_customer().await);
    // A top-up is written by whoever writes it with others; of the rest there is only the task that answers it.
    for (line, body, member, wanted) in [
        ("POST /balances/add", json!({"cardId": card, "amount": 5}), "balance", json!(5)),
        ("POST /cards/assign", json!({"cardId": card, "customerId": customer}), "customerId", json!(customer)),
        ("PATCH /cards/status", json!({"cardId": card, "status": "blocked"}), "status", json!("blocked")),
    ] {
        let mut holder = hold_the_cards(&world).await;
        let (token, body) = (admin.token.as_deref().expect("a token"), body.to_string());
        let request = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(admin.base().trim_start_matches("http://")).expect("connected");
        socket.write_all(request.as_bytes()).expect("sent");
        until_somebody_waits(&world).await;
        drop(socket);
        tokio::time::sleep(Duration::from_millis(100)).await;
        holder.execute("rollback").await.expect("let go");
        let since = Instant::now();
        while admin.card(&card).await[member] != wanted {
            assert!(since.elapsed() < Duration::from_secs(2), "{line} was cut off half way");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_during_shutdown() {
    let mut world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let mut holder = hold_the_cards(&world).await;
    let waiting = tokio::spawn(async move { admin.add(&card, json!(5)).await });
    until_somebody_waits(&world).await;
    world.tell_to_stop(0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    holder.execute("rollback").await.expect("let go");
    assert_eq!(waiting.await.expect("a reply").ok()["balance"], 5);
}

#[tokio::test]
async fn a_lock_wait_that_times_out_is_503() {
    let world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let holder = hold_the_cards(&world).await;
    admin.add(&card, json!(5)).await.problem(503, "unavailable");
    holder.close().await.expect("let go");
    admin.add(&card, json!(5)).await.ok();
}

#[tokio::test]
async fn failed_authentications_are_rate_limited_by_address_and_valid_tokens_are_not() {
    let world = World::with(|settings| settings.rate_limit.failed_authentications_per_minute = 3.try_into().expect("above zero")).await;
    let admin = world.admin().await;
    for _ in 0..4 {
        world.stranger().get("/cards").await.problem(401, "unauthenticated");
    }
    world.stranger().get("/cards").await.problem(429, "too_many_attempts");
    admin.get("/cards").await.ok();
}

#[tokio::test]
async fn behind_a_proxy_the_client_address_is_the_one_the_proxy_saw() {
    let world = World::with(|settings| {
        settings.server.trusted_hops = 1;
        settings.rate_limit.failed_logins_per_minute = 1.try_into().expect("above zero");
    })
    .await;
    let wrong = json!({"email": "test@example.com", "password": "wrong"});
    let from = |addresses: &str| {
        Reply::of(world.stranger().request(Method::POST, "/auth/login").header("x-forwarded-for", addresses).json(&wrong))
    };
    for made_up in 1..=2 {
        from(&format!("10.9.9.{made_up}, 203.0.113.7")).await.problem(401, "invalid_credentials");
    }
    from("10.9.9.3, 203.0.113.7").await.problem(429, "too_many_attempts");
    from("203.0.113.7, 203.0.113.8").await.problem(401, "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_beyond_the_hashing_capacity_are_rejected_at_once() {
    let world = World::with(|settings| settings.database.acquire_timeout_ms = 20_000).await;
    let cores = std::thread::available_parallelism().expect("cores").get();
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..cores * 60 {
        let stranger = world.stranger();
        logins.spawn(async move { stranger.post("/auth/login", json!({"email": "test@example.com", "password": "test123"})).await });
    }
    let (mut served, mut sent_away) = (0, 0);
    for reply in logins.join_all().await {
        if reply.status == 200 {
            served += 1;
        } else {
            reply.problem(503, "unavailable");
            sent_away += 1;
        }
    }
    assert!(served >= cores && sent_away >= 1, "{served} served, {sent_away} sent away");
    world.admin().await.get("/cards").await.ok();
}

#[tokio::test]
async fn a_connection_made_after_the_acquire_timeout_serves_the_next_request() {
    let origin = World::new().await;
    let wire = Wire::to(&origin.database.options);
    let pool = database::pool(wire.options(&origin.database.options), 1, Duration::from_millis(300));
    wire.connect_after(Duration::from_millis(600));
    let refused = database::acquire(&pool).await.err();
    assert!(matches!(refused, Some(sqlx::Error::PoolTimedOut)), "{refused:?}");
    for _ in 0..100 {
        if pool.status().available == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(database::acquire(&pool).await.expect("the one that was made meanwhile"));
}

#[tokio::test]
async fn silently_lost_connections_fail_one_request_and_not_one_each() {
    let origin = World::new().await;
    let wire = Wire::to(&origin.database.options);
    let pool = database::pool(wire.options(&origin.database.options), 12, Duration::from_secs(1));
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(database::acquire(&pool).await.expect("a connection"));
    }
    drop(held);
    wire.lose_connections();
    // Longer than a connection is believed without being asked.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = database::acquire(&pool).await.err();
    assert!(matches!(refused, Some(sqlx::Error::PoolTimedOut)), "{refused:?}");
    drop(database::acquire(&pool).await.expect("a new one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresponsive_database_times_out_and_its_connections_are_dropped() {
    let origin = World::new().await;
    let wire = Wire::to(&origin.database.options);
    let mut database = origin.database.clone();
    database.options = wire.options(&database.options);
    let world = World::on(database, |_| {}).await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let mut holder = hold_the_cards(&origin).await;
    let (waiting, its_card) = (admin.clone(), card.clone());
    let waiting = tokio::spawn(async move { waiting.add(&its_card, json!(5)).await });
    until_somebody_waits(&origin).await;
    wire.go_silent();
    let began = Instant::now();
    // One that comes now, and one that was in the middle of something.
    admin.get(&format!("/cards/{card}")).await.problem(503, "unavailable");
    assert_eq!(admin.get("/health/live").await.status, 200);
    admin.get("/health/ready").await.problem(503, "unavailable");
    holder.execute("rollback").await.expect("let go");
    assert_eq!(waiting.await.expect("a reply").status, 503);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    wire.speak_again();
    for _ in 0..100 {
        if admin.get("/health/ready").await.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    admin.add(&card, json!(1)).await.ok();
}

#[tokio::test]
async fn requests_beyond_the_in_flight_limit_are_rejected_at_once() {
    let world = World::with(|settings| settings.server.max_in_flight = 2).await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let mut holder = hold_the_cards(&world).await;
    let held = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let (actor, card) = (admin.clone(), card.clone());
        waiting.push(tokio::spawn(async move { actor.add(&card, json!(5)).await }));
    }
    until_somebody_waits(&world).await;
    while admin.get("/cards").await.status != 503 {
        assert!(held.elapsed() < Duration::from_millis(1_500), "nobody was turned away");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut took = Vec::new();
    while took.len() < 21 && held.elapsed() < Duration::from_millis(1_500) {
        let began = Instant::now();
        let reply = admin.get("/cards").await;
        took.push(began.elapsed());
        let detail = reply.problem(503, "unavailable")["detail"].clone();
        assert_eq!(detail, "Too much is under way. Nothing was done; try again.");
    }
    assert_eq!(admin.get("/health/live").await.status, 200);
    // Longer than any of those took: nobody who was turned away has waited for what is under way.
    tokio::time::sleep(Duration::from_millis(1_100).saturating_sub(held.elapsed())).await;
    holder.execute("rollback").await.expect("let go");
    for reply in waiting {
        reply.await.expect("a reply").ok();
    }
    took.sort_unstable();
    assert!(took[took.len() / 2] < Duration::from_millis(100) && took[took.len() - 1] < Duration::from_millis(500), "{took:?}");
    admin.get("/cards").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_aborted_requests_leave_the_ledger_consistent() {
    let world = World::with(|settings| {
        settings.rate_limit.per_hour = 1_000_000.try_into().expect("above zero");
        settings.database.acquire_timeout_ms = 20_000;
    })
    .await;
    let admin = world.admin().await;
    let mut cards = Vec::new();
    for _ in 0..20 {
        cards.push(admin.given_card().await);
    }
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..20_u64 {
        let (actor, cards) = (admin.clone(), cards.clone());
        clients.spawn(async move {
            let (mut acknowledged, mut aborted) = (0_i64, 0_i64);
            for number in 0..550_u64 {
                let card = &cards[usize::try_from((client * 7 + number) % 20).expect("small")];
                // Ten hang up after 0 to 50 ms, spread evenly whatever the client. Then one waits: it comes
                // after what they left behind, which so stays bounded however slow the machine is.
                let patience = match number % 11 {
                    10 => Duration::from_secs(60),
                    _ => Duration::from_micros((client * 550 + number) * 7_919 % 50_000),
                };
                match tokio::time::timeout(patience, actor.add(card, json!(0.01))).await {
                    Ok(reply) if reply.status == 200 => acknowledged += 1,
                    // Turned away, which is a promise as well: nothing was done.
                    Ok(reply) => drop(reply.problem(503, "unavailable")),
                    Err(_) => aborted += 1,
                }
            }
            (acknowledged, aborted)
        });
    }
    let (acknowledged, aborted) = clients.join_all().await.into_iter().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    assert!(acknowledged > 100 && aborted > 100, "{acknowledged} acknowledged, {aborted} aborted");
    // What was begun is finished though nobody listens: wait until nothing moves any more.
    let total = || world.database.number("select sum(balance)::bigint from cards");
    let mut last = total().await;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = total().await;
        if now == last {
            break;
        }
        last = now;
    }
    assert!((acknowledged..=acknowledged + aborted).contains(&last), "{last} of {acknowledged} acknowledged and {aborted} aborted");
    assert_eq!(world.database.number("select coalesce(sum(amount), 0)::bigint from movements").await, last);
    let output = bare(env!("CARGO_BIN_EXE_core-api")).arg("verify-ledger").env("DATABASE_URL", world.database.url()).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let log = world.database.options.get_socket().expect("a socket").parent().expect("a folder").join("postgres.log");
    let log = std::fs::read_to_string(log).unwrap_or_default();
    assert!(!log.contains("already a transaction in progress"), "a connection went back with a transaction open");
}
