//! The quota: an exact number of requests per account and clock hour, over all replicas.

use core_api::domain::role::Role;
use serde_json::json;

use crate::support::{World, patient};

#[tokio::test]
async fn every_authenticated_answer_reports_the_quota() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let admin = world.admin().await;
    let first = admin.get("/cards").await;
    assert_eq!((first.number("x-ratelimit-limit"), first.number("x-ratelimit-remaining")), (1000, 999));
    assert_eq!(first.number("x-ratelimit-reset") % 3600, 0);
    let now = world.database.number("select extract(epoch from now())::bigint").await;
    assert!((1..=3600).contains(&(first.number("x-ratelimit-reset") - now)));
    for (expected, reply) in [
        (998, admin.get("/cards/card_001").await),
        (997, admin.post("/cards", json!({})).await),
        (996, admin.add("card_001", json!(-1)).await),
        (995, admin.get("/cards?limit=0").await),
    ] {
        assert_eq!(reply.number("x-ratelimit-remaining"), expected, "{reply:?}");
    }
}

#[tokio::test]
async fn logins_health_checks_and_401s_are_not_counted() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let (admin, logged_out) = (world.admin().await, world.admin().await);
    assert_eq!(logged_out.post("/auth/logout", json!({})).await.number("x-ratelimit-remaining"), 999);
    for _ in 0..20 {
        for reply in [
            logged_out.get("/cards").await,
            world.anonymous().get("/cards").await,
            world.anonymous().get("/health/live").await,
            world.anonymous().get("/nowhere").await,
        ] {
            assert_eq!(reply.header("x-ratelimit-remaining"), None);
        }
    }
    world.admin().await;
    assert_eq!(admin.get("/cards").await.number("x-ratelimit-remaining"), 998);
}

#[tokio::test]
async fn an_account_s_own_quota_overrides_the_default_and_is_not_shared() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let small = world.user_in_new_account(Role::Viewer, Some(3)).await;
    for remaining in [2, 1, 0] {
        let reply = small.get("/cards").await;
        assert_eq!((reply.number("x-ratelimit-limit"), reply.number("x-ratelimit-remaining")), (3, remaining));
        reply.ok();
    }
    for _ in 0..3 {
        let reply = small.get("/cards").await;
        let headers = ["x-ratelimit-limit", "x-ratelimit-remaining", "retry-after"].map(|name| reply.number(name));
        assert_eq!(headers[..2], [3, 0]);
        let now = world.database.number("select extract(epoch from clock_timestamp())::bigint").await;
        assert!((reply.number("x-ratelimit-reset") - now - headers[2]).abs() <= 1, "{reply:?}");
        reply.problem(429, "rate_limit_exceeded");
    }
    world.admin().await.get("/cards").await.ok();
}

#[tokio::test]
async fn an_exhausted_quota_makes_no_database_query_and_is_not_counted_further() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let small = world.user_in_new_account(Role::Viewer, Some(2)).await;
    for _ in 0..3 {
        small.get("/cards").await;
    }
    // Without the tables, a query would fail.
    world.database.execute("alter table quota_usage rename to quota_usage_away").await;
    world.database.execute("alter table sessions rename to sessions_away").await;
    for _ in 0..10 {
        small.get("/cards").await.problem(429, "rate_limit_exceeded");
    }
    assert_eq!(world.database.number("select max(used)::bigint from quota_usage_away").await, 2);
}

#[tokio::test]
async fn a_session_can_be_ended_with_an_exhausted_quota() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let small = world.user_in_new_account(Role::Viewer, Some(1)).await;
    small.get("/cards").await.ok();
    small.get("/cards").await.problem(429, "rate_limit_exceeded");
    small.post("/auth/logout", json!({})).await.ok();
    let refresh = json!({"refreshToken": small.refresh_token});
    small.post("/auth/refresh", refresh).await.problem(401, "invalid_refresh_token");
    assert_eq!(world.database.number("select max(used)::bigint from quota_usage").await, 1);
}

/// Moves the windows of all accounts, by an expression that depends on no time zone: a distributed Postgres takes no other.
async fn move_windows(world: &World, by: &str) {
    let moves = format!("update quota_usage set window_start = (window_start at time zone 'UTC' + interval '{by}') at time zone 'UTC'");
    world.database.execute(&moves).await;
}

#[tokio::test]
async fn a_future_window_left_by_a_wrong_clock_is_ignored() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let small = world.user_in_new_account(Role::Viewer, Some(2)).await;
    small.get("/cards").await.ok();
    small.get("/cards").await.ok();
    move_windows(&world, "1 day").await;
    let world = world.fresh_replica().await;
    assert_eq!(world.at(0, &small).get("/cards").await.number("x-ratelimit-remaining"), 1);
}

#[tokio::test]
async fn the_quota_is_full_again_in_the_next_hour() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let small = world.user_in_new_account(Role::Viewer, Some(2)).await;
    small.get("/cards").await.ok();
    small.get("/cards").await.ok();
    move_windows(&world, "-1 hour").await;
    // A fresh replica has not cached that the quota is exhausted.
    let world = world.fresh_replica().await;
    assert_eq!(world.at(0, &small).get("/cards").await.number("x-ratelimit-remaining"), 1);
}

#[tokio::test]
async fn uncounted_requests_do_not_exhaust_the_quota() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let small = world.user_in_new_account(Role::Viewer, Some(5)).await;
    small.get("/cards").await.ok();
    world.database.execute("update sessions set ended_at = now()").await;
    for _ in 0..20 {
        small.get("/cards").await.problem(401, "unauthenticated");
    }
    world.database.execute("update sessions set ended_at = null").await;
    for remaining in [3, 2, 1, 0] {
        assert_eq!(small.get("/cards").await.number("x-ratelimit-remaining"), remaining);
    }
    small.get("/cards").await.problem(429, "rate_limit_exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_1500_concurrent_requests_to_three_replicas_exactly_1000_are_admitted() {
    let world = World::of_replicas(3, patient).await;
    world.database.avoid_hour_boundary().await;
    let admin = world.admin().await;
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..1500 {
        let actor = world.at(number % 3, &admin);
        requests.spawn(async move { actor.get("/cards?limit=1").await });
    }
    let mut remaining = Vec::new();
    let mut refused = 0;
    while let Some(reply) = requests.join_next().await {
        let reply = reply.expect("a reply");
        match reply.status {
            200 => remaining.push(reply.number("x-ratelimit-remaining")),
            429 => refused += 1,
            _ => panic!("{reply:?}"),
        }
    }
    remaining.sort_unstable();
    assert_eq!((remaining.len(), refused), (1000, 500));
    assert_eq!(remaining, (0..1000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_counted_in_the_same_batch_are_each_counted_exactly_on_every_replica() {
    const LIMIT: u32 = 30;
    let world = World::of_replicas(2, patient).await;
    world.database.avoid_hour_boundary().await;
    let mut requests = tokio::task::JoinSet::new();
    let mut accounts = Vec::new();
    for _ in 0..5 {
        accounts.push(world.user_in_new_account(Role::Admin, Some(LIMIT)).await);
    }
    for number in 0..50 {
        for (index, account) in accounts.iter().enumerate() {
            let actor = world.at(number % 2, account);
            requests.spawn(async move { (index, actor.get("/cards?limit=1").await) });
        }
    }
    let mut remaining = vec![Vec::new(); accounts.len()];
    while let Some(reply) = requests.join_next().await {
        let (index, reply) = reply.expect("a reply");
        match reply.status {
            200 => remaining[index].push(reply.number("x-ratelimit-remaining")),
            429 => {}
            _ => panic!("{reply:?}"),
        }
    }
    for mut remaining in remaining {
        remaining.sort_unstable();
        assert_eq!(remaining, (0..i64::from(LIMIT)).collect::<Vec<_>>());
    }
}
