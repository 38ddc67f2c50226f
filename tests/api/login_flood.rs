//! Logins as an attack: many at once from many addresses, and what a failed login stores.

use sqlx::Executor;
use tokio::task::JoinSet;

use crate::support::{Reply, World, behind_a_proxy, patient};

/// Starts failing logins concurrently, each from its own address.
fn flood(world: &World, count: usize, email: impl Fn(usize) -> String) -> JoinSet<Reply> {
    let mut logins = JoinSet::new();
    for index in 0..count {
        let (stranger, email) = (world.anonymous(), email(index));
        let address = format!("10.{}.{}.1", index / 250, index % 250);
        logins.spawn(async move { stranger.login_from(&address, &email, "wrong").await });
    }
    logins
}

fn cores() -> usize {
    std::thread::available_parallelism().expect("cores").get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_guesses_at_one_email_are_checked_only_up_to_the_limit() {
    let world = World::with(|settings| {
        behind_a_proxy(settings);
        settings.rate_limit.failed_logins_per_email = 10.try_into().expect("above zero");
        patient(settings);
    })
    .await;
    let (mut checked, mut blocked) = (0, 0);
    // A slow database checks few guesses of each flood, and defers the others.
    for _ in 0..20 {
        if blocked >= 60 {
            break;
        }
        for reply in flood(&world, 60, |_| "test@example.com".to_owned()).join_all().await {
            match reply.status {
                401 => checked += 1,
                429 => blocked += 1,
                // Deferred while earlier guesses are in flight.
                _ => drop(reply.problem(503, "unavailable")),
            }
        }
    }
    assert_eq!(checked, 10);
    assert!(blocked >= 60, "{blocked} blocked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_flood_leaves_a_lane_for_known_users() {
    let world = World::with(|settings| {
        behind_a_proxy(settings);
        patient(settings);
    })
    .await;
    let owner = world.anonymous();
    owner.login_from("192.0.2.1", "test@example.com", "test123").await.ok();
    let mut flood = flood(&world, cores() * 60, |index| format!("{index}@example.com"));
    // The first 503 means that the lane for unknown users is full.
    let mut known = 0;
    while let Some(reply) = flood.join_next().await {
        let reply = reply.expect("a reply");
        if reply.status == 503 {
            reply.problem(503, "unavailable");
            if known < 3 {
                owner.login_from("192.0.2.1", "test@example.com", "test123").await.ok();
                known += 1;
            }
        } else {
            reply.problem(401, "invalid_credentials");
        }
    }
    assert_eq!(known, 3, "no login was rejected");
}

#[tokio::test]
async fn a_failed_login_that_cannot_be_counted_is_503_not_401() {
    let world = World::new().await;
    let wrong = || async { world.anonymous().login_from("10.0.0.1", "test@example.com", "wrong").await };
    let mut holder = world.database.connect().await;
    holder.execute("begin").await.expect("a transaction");
    holder.execute("lock table failed_logins in share mode").await.expect("the table is locked");
    wrong().await.problem(503, "unavailable");
    holder.execute("rollback").await.expect("the lock is released");
    wrong().await.problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_failed_login_stores_the_same_rows_for_any_email_and_none_in_clear_text() {
    let world = World::with(behind_a_proxy).await;
    for (index, email) in ["test@example.com", "nobody@example.com"].iter().enumerate() {
        world.anonymous().login_from(&format!("10.0.0.{index}"), email, "wrong").await.problem(401, "invalid_credentials");
        let rows = i64::try_from(3 * (index + 1)).expect("a small number");
        assert_eq!(world.database.number("select count(*) from failed_logins where failures = 1").await, rows);
    }
    let columns = "select count(*) from information_schema.columns where table_name = 'failed_logins' and data_type = 'text'";
    assert_eq!(world.database.number(columns).await, 0);
    let in_clear_text = "select count(*) from failed_logins
        where key in (sha256('test@example.com'), sha256('10.0.0.0')) or position('example'::bytea in key) > 0";
    assert_eq!(world.database.number(in_clear_text).await, 0);
    assert_eq!(world.database.number("select count(*) from login_sources").await, 0);
}
