//! Health checks, and database outages.

use std::time::{Duration, Instant};

use core_api::database::private::PrivatePostgres;
use serde_json::json;

use crate::support::{Database, World};

#[tokio::test]
async fn a_server_with_its_database_is_live_and_ready() {
    let world = World::new().await;
    assert_eq!(world.anonymous().get("/health/live").await.ok(), json!({"status": "live"}));
    assert_eq!(world.anonymous().get("/health/ready").await.ok(), json!({"status": "ready"}));
}

#[tokio::test]
async fn a_database_outage_is_503_and_service_recovers_within_five_seconds() {
    let folder = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder");
    let postgres = PrivatePostgres::start(&folder.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
    let world = World::on(Database { options: postgres.options() }, |_| {}).await;
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
    let world = World::on(Database { options: postgres.options() }, |_| {}).await;
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
