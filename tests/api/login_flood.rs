//! Logins as an attack: many at once, from everywhere, and nothing to be learned from the traces.

use sqlx::Executor;
use tokio::task::JoinSet;

use crate::support::{Reply, World};

/// Logins at once, each from an address of its own.
fn at_once(world: &World, number: usize, email: impl Fn(usize) -> String) -> JoinSet<Reply> {
    let mut logins = JoinSet::new();
    for index in 0..number {
        let (stranger, email) = (world.stranger(), email(index));
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
        settings.server.trusted_hops = 1;
        settings.rate_limit.failed_logins_per_email = 10.try_into().expect("above zero");
        settings.database.acquire_timeout_ms = 20_000;
    })
    .await;
    let (mut heard, mut blocked) = (0, 0);
    for _ in 0..3 {
        for reply in at_once(&world, 60, |_| "test@example.com".to_owned()).join_all().await {
            match reply.status {
                401 => heard += 1,
                429 => blocked += 1,
                // Whether it is one too many hangs on those under way.
                _ => drop(reply.problem(503, "unavailable")),
            }
        }
    }
    assert_eq!(heard, 10);
    assert!(blocked >= 60, "{blocked} blocked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_flood_leaves_a_lane_for_known_users() {
    let world = World::with(|settings| {
        settings.server.trusted_hops = 1;
        settings.database.acquire_timeout_ms = 20_000;
    })
    .await;
    let owner = world.stranger();
    owner.login_from("192.0.2.1", "test@example.com", "test123").await.ok();
    let mut flood = at_once(&world, cores() * 60, |index| format!("{index}@example.com"));
    // From the moment on that one is sent away, the strangers' lane is full.
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
    assert_eq!(known, 3, "nobody was sent away");
}

#[tokio::test]
async fn a_failed_login_that_cannot_be_counted_is_503_not_401() {
    let world = World::new().await;
    let wrong = || async { world.stranger().login_from("10.0.0.1", "test@example.com", "wrong").await };
    let mut holder = world.database.connect().await;
    holder.execute("begin").await.expect("begun");
    holder.execute("lock table failed_logins in share mode").await.expect("locked");
    wrong().await.problem(503, "unavailable");
    holder.execute("rollback").await.expect("let go");
    wrong().await.problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_failed_login_stores_the_same_rows_for_any_email_and_none_in_clear_text() {
    let world = World::with(|settings| settings.server.trusted_hops = 1).await;
    for (index, email) in ["test@example.com", "nobody@example.com"].iter().enumerate() {
        world.stranger().login_from(&format!("10.0.0.{index}"), email, "wrong").await.problem(401, "invalid_credentials");
        let rows = i64::try_from(3 * (index + 1)).expect("few");
        assert_eq!(world.database.number("select count(*) from failed_logins where failures = 1").await, rows);
    }
    let columns = "select count(*) from information_schema.columns where table_name = 'failed_logins' and data_type = 'text'";
    assert_eq!(world.database.number(columns).await, 0);
    let plain = "select count(*) from failed_logins
        where key in (sha256('test@example.com'), sha256('10.0.0.0')) or position('example'::bytea in key) > 0";
    assert_eq!(world.database.number(plain).await, 0);
    assert_eq!(world.database.number("select count(*) from login_sources").await, 0);
}
