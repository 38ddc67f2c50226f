//! Health checks, and database outages.

use std::time::{Duration, Instant};

use core_api::database::private::PrivatePostgres;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Database, World, database_proxy::DatabaseProxy};

#[tokio::test]
async fn a_server_with_its_database_is_live_and_ready() {
    let world = World::new().await;
    assert_eq!(world.anonymous().get("/health/live").await.ok(), json!({"status": "live"}));
    let ready = if world.database.is_sharded { json!({"status": "ready", "sharded": true}) } else { json!({"status": "ready"}) };
    assert_eq!(world.anonymous().get("/health/ready").await.ok(), ready);
}

#[tokio::test]
async fn a_database_outage_is_503_and_service_recovers_within_five_seconds() {
    let folder = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder");
    let postgres = PrivatePostgres::start(&folder.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
    let world = World::on(Database::at(postgres.options()), |_| {}).await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(5)).await;

    postgres.stop().expect("Postgres stops");
    assert_eq!(admin.get("/health/live").await.status, 200);
    admin.get("/health/ready").await.problem(503, "unavailable");
    admin.get(&format!("/cards/{card}")).await.problem(503, "unavailable");
    admin.add(&card, json!(1)).await.problem(503, "unavailable");
    let login = json!({"email": "test@example.com", "password": "test123"});
    admin.post("/auth/login", login).await.problem(503, "unavailable");

    let _postgres = PrivatePostgres::start(&folder.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
    let back = Instant::now();
    while admin.get("/health/ready").await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(5), "not ready after five seconds");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Readiness checks one connection. Every other part of the service must have reconnected as well.
    assert_eq!(admin.card(&card).await["balance"], 5);
    admin.add(&card, json!(1)).await.ok();
    world.admin().await.given_customer().await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_database_restart_between_requests_fails_no_request() {
    let folder = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder");
    let postgres = PrivatePostgres::start(&folder.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
    let world = World::on(Database::at(postgres.options()), |_| {}).await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(5)).await;
    postgres.stop().expect("Postgres stops");
    let _postgres = PrivatePostgres::start(&folder.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
    // A connection used within the last half second is not checked before it is used again.
    tokio::time::sleep(Duration::from_millis(600)).await;
    admin.add(&card, json!(1)).await.ok();
    admin.given_customer().await;
    assert_eq!(admin.card(&card).await["balance"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_ask_for_readiness_the_database_is_asked_once_a_second() {
    let proxy = DatabaseProxy::to(&Database::new().await);
    let world = World::on(proxy.database.clone(), |_| {}).await;
    // What a replica does when it starts.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (began, before) = (Instant::now(), proxy.messages());
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let anyone = world.anonymous();
        asking.spawn(async move {
            for _ in 0..150 {
                anyone.get("/health/ready").await.ok();
            }
        });
    }
    asking.join_all().await;
    // An answer takes four statements; the first time, each is sent in two parts.
    let (sent, seconds) = (proxy.messages() - before, usize::try_from(began.elapsed().as_secs()).expect("seconds"));
    assert!(sent <= 10 * (seconds + 2), "3000 checks in {seconds} s sent {sent} messages to the database");
}

#[tokio::test]
async fn a_replica_whose_connections_are_all_in_use_is_ready() {
    let world = World::with(|settings| (settings.database.max_connections, settings.database.acquire_timeout_ms) = (2, 300)).await;
    let admin = world.admin().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    let locks = world.database.lock_rows("cards").await;
    let waiting = {
        let (admin, body) = (admin.clone(), json!({"cardId": card, "customerId": customer}));
        tokio::spawn(async move { admin.post("/cards/assign", body).await })
    };
    world.database.wait_for_lock_waiters(1).await;
    admin.get(&format!("/customers/{customer}")).await.problem(503, "unavailable");
    admin.get("/health/ready").await.ok();
    locks.release().await;
    waiting.await.expect("a reply").ok();
}

#[tokio::test]
async fn a_replica_without_its_schema_is_not_ready() {
    let world = World::new().await;
    world.database.execute("update _sqlx_migrations set version = version + 1000 where version = 1").await;
    world.anonymous().get("/health/ready").await.problem(503, "unavailable");
    world.database.execute("update _sqlx_migrations set version = version - 1000 where version = 1001").await;
    let began = Instant::now();
    while world.anonymous().get("/health/ready").await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(3), "not ready after three seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn the_balancer_keeps_health_checks_to_itself() {
    let config = include_str!("../../config/haproxy.cfg");
    let (_, frontend) = config.split_once("frontend api").expect("the frontend");
    let (rules, _) = frontend.split_once("default_backend").expect("its backend");
    assert!(rules.contains("if { path_beg /health }"), "{rules}");
}
