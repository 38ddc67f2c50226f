//! Clients that hang up, flood the server, connect through proxies or stay during a shutdown, and a database that stalls.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use core_api::{database, domain::card::CardStatus};
use reqwest::Method;
use serde_json::json;

use crate::support::{Reply, World, behind_a_proxy, binary::core_api_on, database_proxy::DatabaseProxy, patient, without_quota};

#[tokio::test]
async fn a_started_request_completes_after_the_client_hangs_up() {
    let (world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card_in(CardStatus::Active).await, admin.given_customer().await);
    // A batch task writes a top-up. The task that answers the request does the rest.
    for (line, body, member, wanted) in [
        ("POST /balances/add", json!({"cardId": card, "amount": 5}), "balance", json!(5)),
        ("POST /cards/assign", json!({"cardId": card, "customerId": customer}), "customerId", json!(customer)),
        ("PATCH /cards/status", json!({"cardId": card, "status": "blocked"}), "status", json!("blocked")),
    ] {
        let locks = world.database.lock_rows("cards").await;
        let (token, body) = (admin.token.as_deref().expect("a token"), body.to_string());
        let request = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(admin.base().trim_start_matches("http://")).expect("connected");
        socket.write_all(request.as_bytes()).expect("the request is sent");
        world.database.wait_for_lock_waiters(1).await;
        drop(socket);
        tokio::time::sleep(Duration::from_millis(100)).await;
        locks.release().await;
        let since = Instant::now();
        while admin.card(&card).await[member] != wanted {
            assert!(since.elapsed() < Duration::from_secs(2), "{line} was abandoned");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_during_shutdown() {
    let mut world = World::new().await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let locks = world.database.lock_rows("cards").await;
    let waiting = tokio::spawn(async move { admin.add(&card, json!(5)).await });
    world.database.wait_for_lock_waiters(1).await;
    world.shut_down(0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    locks.release().await;
    assert_eq!(waiting.await.expect("a reply").ok()["balance"], 5);
}

#[tokio::test]
async fn a_lock_wait_that_times_out_is_503() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let locks = world.database.lock_rows("cards").await;
    admin.add(&card, json!(5)).await.problem(503, "unavailable");
    locks.release().await;
    admin.add(&card, json!(5)).await.ok();
}

#[tokio::test]
async fn failed_authentications_are_rate_limited_by_address_and_valid_tokens_are_not() {
    let world = World::with(|settings| settings.rate_limit.failed_authentications_per_minute = 3.try_into().expect("above zero")).await;
    let admin = world.admin().await;
    for _ in 0..4 {
        world.anonymous().get("/cards").await.problem(401, "unauthenticated");
    }
    world.anonymous().get("/cards").await.problem(429, "too_many_attempts");
    admin.get("/cards").await.ok();
}

#[tokio::test]
async fn behind_a_proxy_the_client_address_is_the_one_the_proxy_saw() {
    let world = World::with(|settings| {
        behind_a_proxy(settings);
        settings.rate_limit.failed_logins_per_minute = 1.try_into().expect("above zero");
    })
    .await;
    let wrong = json!({"email": "test@example.com", "password": "wrong"});
    let from = |addresses: &str| {
        Reply::of(world.anonymous().request(Method::POST, "/auth/login").header("x-forwarded-for", addresses).json(&wrong))
    };
    for forged in 1..=2 {
        from(&format!("10.9.9.{forged}, 203.0.113.7")).await.problem(401, "invalid_credentials");
    }
    from("10.9.9.3, 203.0.113.7").await.problem(429, "too_many_attempts");
    from("203.0.113.7, 203.0.113.8").await.problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_client_that_is_no_trusted_proxy_cannot_choose_its_address() {
    for trusted in ["", "10.0.0.0/8,::1,127.0.0.2"] {
        let world = World::with(|settings| {
            settings.server.trusted_proxies = trusted.parse().expect("networks");
            settings.rate_limit.failed_logins_per_minute = 1.try_into().expect("above zero");
        })
        .await;
        let wrong = json!({"email": "test@example.com", "password": "wrong"});
        let mut statuses = Vec::new();
        for forged in ["203.0.113.1", "10.0.0.1, 203.0.113.2", "203.0.113.3, 10.0.0.1"] {
            let request = world.anonymous().request(Method::POST, "/auth/login").header("x-forwarded-for", forged);
            statuses.push(Reply::of(request.json(&wrong)).await.status);
        }
        assert_eq!(statuses, [401, 401, 429], "{trusted:?}");
        let recorded = "select count(*) from audit_events where type = 'login_failed' and address = '127.0.0.1'";
        // Attempts are recorded beside their answers.
        world.database.wait_for(2, recorded).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_beyond_the_hashing_capacity_are_rejected_at_once() {
    let world = World::with(patient).await;
    let cores = std::thread::available_parallelism().expect("cores").get();
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..cores * 60 {
        let stranger = world.anonymous();
        logins.spawn(async move { stranger.post("/auth/login", json!({"email": "test@example.com", "password": "test123"})).await });
    }
    let rejected = logins.join_all().await.into_iter().filter(|reply| reply.status != 200);
    let rejected = rejected.map(|reply| drop(reply.problem(503, "unavailable"))).count();
    assert!(rejected >= 1);
    // Hashing threads have a low priority, so that a busy machine may leave them no time: then the next one waits in vain, too.
    let began = Instant::now();
    loop {
        let reply = world.anonymous().post("/auth/login", json!({"email": "test@example.com", "password": "test123"})).await;
        if reply.status == 200 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{}", reply.text);
    }
}

#[tokio::test]
async fn a_connection_made_after_the_acquire_timeout_serves_the_next_request() {
    let origin = World::new().await;
    let proxy = DatabaseProxy::to(&origin.database);
    let pool = proxy.database.pool_of(1, Duration::from_millis(300));
    proxy.delay_connections(Duration::from_millis(600));
    let refused = database::acquire(&pool).await.err();
    assert!(matches!(refused, Some(sqlx::Error::PoolTimedOut)), "{refused:?}");
    for _ in 0..100 {
        if pool.status().available == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(database::acquire(&pool).await.expect("the connection made in the meantime"));
}

#[tokio::test]
async fn silently_lost_connections_fail_one_request_and_not_one_each() {
    let origin = World::new().await;
    let proxy = DatabaseProxy::to(&origin.database);
    let pool = proxy.database.pool_of(12, Duration::from_secs(1));
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(database::acquire(&pool).await.expect("a connection"));
    }
    drop(held);
    proxy.stall_open_connections();
    // By now a connection is checked before it is used.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = database::acquire(&pool).await.err();
    assert!(matches!(refused, Some(sqlx::Error::PoolTimedOut)), "{refused:?}");
    drop(database::acquire(&pool).await.expect("a new connection"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresponsive_database_times_out_and_its_connections_are_dropped() {
    let origin = World::new().await;
    let proxy = DatabaseProxy::to(&origin.database);
    let world = World::on(proxy.database.clone(), |_| {}).await;
    let admin = world.admin().await;
    let card = admin.given_card().await;
    let locks = origin.database.lock_rows("cards").await;
    let (waiting, its_card) = (admin.clone(), card.clone());
    let waiting = tokio::spawn(async move { waiting.add(&its_card, json!(5)).await });
    origin.database.wait_for_lock_waiters(1).await;
    proxy.stall();
    let began = Instant::now();
    // A new request fails, and so does the one that was waiting.
    admin.get(&format!("/cards/{card}")).await.problem(503, "unavailable");
    assert_eq!(admin.get("/health/live").await.status, 200);
    admin.get("/health/ready").await.problem(503, "unavailable");
    locks.release().await;
    assert_eq!(waiting.await.expect("a reply").status, 503);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    proxy.resume();
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
    let locks = world.database.lock_rows("cards").await;
    let locked = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let (actor, card) = (admin.clone(), card.clone());
        waiting.push(tokio::spawn(async move { actor.add(&card, json!(5)).await }));
    }
    world.database.wait_for_lock_waiters(1).await;
    while admin.get("/cards").await.status != 503 {
        assert!(locked.elapsed() < Duration::from_millis(1_500), "no request was rejected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut took = Vec::new();
    while took.len() < 21 && locked.elapsed() < Duration::from_millis(1_500) {
        let began = Instant::now();
        let reply = admin.get("/cards").await;
        took.push(began.elapsed());
        let detail = reply.problem(503, "unavailable")["detail"].clone();
        assert_eq!(detail, "Too many requests are in flight. Nothing was done; try again.");
    }
    assert_eq!(admin.get("/health/live").await.status, 200);
    // The lock outlasts every rejection, so no rejected request has waited for a request in flight.
    tokio::time::sleep(Duration::from_millis(1_100).saturating_sub(locked.elapsed())).await;
    locks.release().await;
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
        without_quota(settings);
        patient(settings);
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
                // Ten requests hang up after 0 to 50 ms, spread evenly over all clients. The eleventh waits for its
                // answer, and thereby for those ten, which bounds the backlog even on a slow machine.
                let patience = match number % 11 {
                    10 => Duration::from_secs(60),
                    _ => Duration::from_micros((client * 550 + number) * 7_919 % 50_000),
                };
                match tokio::time::timeout(patience, actor.add(card, json!(0.01))).await {
                    Ok(reply) if reply.status == 200 => acknowledged += 1,
                    // A rejection promises that nothing was done.
                    Ok(reply) => drop(reply.problem(503, "unavailable")),
                    Err(_) => aborted += 1,
                }
            }
            (acknowledged, aborted)
        });
    }
    let (acknowledged, aborted) = clients.join_all().await.into_iter().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    assert!(acknowledged > 100 && aborted > 100, "{acknowledged} acknowledged, {aborted} aborted");
    // Aborted requests still complete: wait until the total stays the same.
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
    let output = core_api_on(&world.database).arg("verify-ledger").output().expect("verify-ledger runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let log = world.database.options.get_socket().expect("a socket").parent().expect("a folder").join("postgres.log");
    let log = std::fs::read_to_string(log).unwrap_or_default();
    assert!(!log.contains("already a transaction in progress"), "a connection was returned to the pool with an open transaction");
}

/// A distributed database reports the lost answer of a node as an internal error of the COMMIT.
#[tokio::test]
async fn an_internal_error_at_the_commit_is_an_unknown_outcome_and_not_tried_again() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    let mut shard = world.database.shard().await;
    shard
        .execute(
            "create sequence attempts;
             create function lose_the_answer() returns trigger language plpgsql security definer as $$
             begin
                 perform nextval('attempts');
                 raise exception 'could not commit on at least one node' using errcode = 'XX000';
             end;
             $$;
             create constraint trigger lose_the_answer after insert or update on movements
                 deferrable initially deferred for each row execute function lose_the_answer();
             create constraint trigger lose_the_answer after insert on customers
                 deferrable initially deferred for each row execute function lose_the_answer()",
        )
        .await
        .expect("the triggers are created");
    admin.add(&card, json!(1)).await.problem(503, "outcome_unknown");
    assert_eq!(shard.number("select last_value from attempts").await, 1, "a top-up without a key is tried once");
    let keyed = json!({"cardId": card, "amount": 1});
    admin.keyed("lost", Method::POST, "/balances/add", &keyed).await.problem(503, "outcome_unknown");
    admin.post("/customers", json!({"name": "Juan Perez", "email": "juan@email.com"})).await.problem(503, "outcome_unknown");
    assert_eq!(shard.number("select last_value from attempts").await, 3);
    shard.execute("drop function lose_the_answer cascade").await.expect("dropped");
    admin.keyed("lost", Method::POST, "/balances/add", &keyed).await.ok();
    assert_eq!(admin.card(&card).await["balance"], 101);
}
