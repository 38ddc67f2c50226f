//! The limits on failed logins: by email and address, by email, and by address, over all replicas.

use std::ops::RangeInclusive;

use core_api::config::Settings;

use crate::support::{Reply, World, behind_a_proxy};

const TEN_MINUTES: RangeInclusive<i64> = 590..=600;
const AN_HOUR: RangeInclusive<i64> = 3_590..=3_600;

/// Settings behind one proxy, with these limits.
fn limits(per_email_and_address: u32, per_email: u32, per_address: u32) -> impl FnOnce(&mut Settings) {
    let limit = |limit: u32| limit.try_into().expect("above zero");
    move |settings| {
        behind_a_proxy(settings);
        settings.rate_limit.failed_logins_per_email_and_address = limit(per_email_and_address);
        settings.rate_limit.failed_logins_per_email = limit(per_email);
        settings.rate_limit.failed_logins_per_address = limit(per_address);
    }
}

/// A failing login.
async fn guess(world: &World, address: &str, email: &str) -> Reply {
    world.anonymous().login_from(address, email, "wrong").await
}

/// A login of the seeded user with the right password.
async fn owner_from(world: &World, address: &str) -> Reply {
    world.anonymous().login_from(address, "test@example.com", "test123").await
}

#[track_caller]
fn assert_checked(reply: Reply) {
    reply.problem(401, "invalid_credentials");
}

#[track_caller]
fn assert_blocked(reply: Reply, retry_after: &RangeInclusive<i64>) {
    assert!(retry_after.contains(&reply.number("retry-after")), "{reply:?}");
    reply.problem(429, "too_many_attempts");
}

#[tokio::test]
async fn guesses_at_one_email_from_one_address_are_limited() {
    let world = World::with(limits(3, 100, 100)).await;
    for _ in 0..3 {
        assert_checked(guess(&world, "10.0.0.1", "test@example.com").await);
    }
    for _ in 0..3 {
        assert_blocked(guess(&world, "10.0.0.1", " Test@Example.COM ").await, &TEN_MINUTES);
    }
    // The right password is not checked either, or the limit would not limit guessing.
    assert_blocked(owner_from(&world, "10.0.0.1").await, &TEN_MINUTES);
    assert_checked(guess(&world, "10.0.0.1", "admin@company.com").await);
    owner_from(&world, "10.0.0.2").await.ok();
}

#[tokio::test]
async fn guesses_at_one_email_are_limited_over_all_addresses_and_its_user_logs_in_from_a_known_one() {
    let world = World::with(limits(3, 5, 100)).await;
    owner_from(&world, "10.0.1.1").await.ok();
    for number in 1..=5 {
        assert_checked(guess(&world, &format!("10.0.0.{number}"), "test@example.com").await);
    }
    for number in 5..=8 {
        assert_blocked(guess(&world, &format!("10.0.0.{number}"), "test@example.com").await, &AN_HOUR);
    }
    assert_blocked(owner_from(&world, "10.0.0.9").await, &AN_HOUR);
    owner_from(&world, "10.0.1.1").await.ok();
    // The address is known for its own user only.
    for number in 1..=5 {
        assert_checked(guess(&world, &format!("10.0.2.{number}"), "admin@company.com").await);
    }
    assert_blocked(guess(&world, "10.0.1.1", "admin@company.com").await, &AN_HOUR);
    // Failures at a known address have their own limit, and do not count against other addresses.
    for _ in 0..3 {
        assert_checked(guess(&world, "10.0.1.1", "test@example.com").await);
    }
    assert_blocked(owner_from(&world, "10.0.1.1").await, &TEN_MINUTES);
    assert_eq!(world.database.number("select count(*) from failed_logins where failures > 5").await, 0, "a refusal was counted");
}

#[tokio::test]
async fn guesses_from_one_address_are_limited_over_all_emails() {
    let world = World::with(limits(3, 5, 8)).await;
    for number in 0..8 {
        assert_checked(guess(&world, "10.0.0.1", &format!("user.{number}@example.com")).await);
    }
    for number in 8..11 {
        assert_blocked(guess(&world, "10.0.0.1", &format!("user.{number}@example.com")).await, &AN_HOUR);
    }
    owner_from(&world, "10.0.0.2").await.ok();
    // Only the entry of the trusted proxy counts, and an IPv6 client is its first 64 bits.
    assert_blocked(guess(&world, "10.0.0.2, 10.0.0.1", "user@example.com").await, &AN_HOUR);
    for number in 0..8 {
        assert_checked(guess(&world, &format!("2001:db8:1:2::{number}"), &format!("nobody.{number}@example.com")).await);
    }
    assert_blocked(guess(&world, "2001:db8:1:2:ffff::1", "nobody@example.com").await, &AN_HOUR);
    assert_checked(guess(&world, "2001:db8:1:3::1", "nobody@example.com").await);
}

#[tokio::test]
async fn forged_forwarded_for_entries_do_not_change_the_client_address() {
    let world = World::with(limits(3, 5, 8)).await;
    for number in 0..3 {
        assert_checked(guess(&world, &format!("203.0.113.{number}, 10.0.0.1"), "test@example.com").await);
    }
    for number in 3..6 {
        assert_blocked(guess(&world, &format!("203.0.113.{number}, 10.0.0.1"), "test@example.com").await, &TEN_MINUTES);
    }
}

#[tokio::test]
async fn existing_disabled_unknown_and_malformed_emails_are_refused_alike() {
    let world = World::with(limits(2, 4, 1_000)).await;
    world.database.execute("update users set disabled_at = now() where email = 'admin@company.com'").await;
    let mut seen = Vec::new();
    for (network, email) in ["test@example.com", "admin@company.com", "nobody@example.com", "no email"].iter().enumerate() {
        let mut answers = Vec::new();
        // Two checked guesses from each address until the email is blocked, and then the right password.
        for number in [1, 1, 1, 2, 2, 2, 3] {
            answers.push(guess(&world, &format!("10.0.{network}.{number}"), email).await);
        }
        answers.push(world.anonymous().login_from(&format!("10.0.{network}.4"), email, "secure_password").await);
        let statuses: Vec<u16> = answers.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [401, 401, 429, 401, 401, 429, 429, 429], "{email}");
        // `Retry-After` counts down while the test runs.
        let headers = |reply: &Reply| {
            let headers = reply.headers.iter().filter(|(name, _)| !["x-request-id", "date", "retry-after"].contains(&name.as_str()));
            format!("{:?}", headers.collect::<Vec<_>>())
        };
        assert!(answers.iter().skip(5).all(|reply| AN_HOUR.contains(&reply.number("retry-after"))), "{email}: {answers:?}");
        seen.push(answers.iter().map(|reply| (reply.without_request_id(), headers(reply))).collect::<Vec<_>>());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[tokio::test]
async fn replicas_share_the_login_limits() {
    let world = World::of_replicas(3, limits(3, 5, 8)).await;
    for number in 0..3 {
        assert_checked(world.anonymous_at(number).login_from("10.0.0.1", "test@example.com", "wrong").await);
    }
    for number in 0..3 {
        assert_blocked(world.anonymous_at(number).login_from("10.0.0.1", "test@example.com", "wrong").await, &TEN_MINUTES);
    }
    for number in 0..2 {
        assert_checked(world.anonymous_at(number).login_from("10.0.0.2", "test@example.com", "wrong").await);
    }
    for number in 0..3 {
        assert_blocked(world.anonymous_at(number).login_from("10.0.0.3", "test@example.com", "wrong").await, &AN_HOUR);
    }
    for number in 0..3 {
        assert_checked(world.anonymous_at(number).login_from("10.0.0.2", &format!("{number}@example.com"), "wrong").await);
        assert_checked(world.anonymous_at(number).login_from("10.0.0.2", &format!("{number}@example.org"), "wrong").await);
    }
    for number in 0..3 {
        assert_blocked(world.anonymous_at(number).login_from("10.0.0.2", "admin@company.com", "wrong").await, &AN_HOUR);
    }
}

#[tokio::test]
async fn only_failures_count_and_a_success_clears_those_from_its_address() {
    let world = World::with(limits(3, 100, 100)).await;
    for _ in 0..10 {
        owner_from(&world, "10.0.0.1").await.ok();
    }
    assert_eq!(world.database.number("select count(*) from failed_logins").await, 0);
    for _ in 0..3 {
        for _ in 0..2 {
            assert_checked(guess(&world, "10.0.0.1", "test@example.com").await);
            assert_checked(guess(&world, "10.0.0.2", "test@example.com").await);
        }
        owner_from(&world, "10.0.0.1").await.ok();
        world.database.execute("delete from login_sources where source = '10.0.0.2'").await;
        // Each address counts its own failures.
        owner_from(&world, "10.0.0.2").await.ok();
    }
    for _ in 0..3 {
        assert_checked(guess(&world, "10.0.0.1", "test@example.com").await);
    }
    assert_blocked(owner_from(&world, "10.0.0.1").await, &TEN_MINUTES);
}

#[tokio::test]
async fn a_blocked_login_makes_no_database_query() {
    let world = World::with(limits(3, 5, 8)).await;
    for number in 1..=5 {
        assert_checked(guess(&world, &format!("10.0.0.{number}"), "test@example.com").await);
    }
    assert_blocked(guess(&world, "10.0.0.6", "test@example.com").await, &AN_HOUR);
    for number in 0..8 {
        assert_checked(guess(&world, "10.0.1.1", &format!("{number}@example.com")).await);
    }
    assert_blocked(guess(&world, "10.0.1.1", "8@example.com").await, &AN_HOUR);
    // Without the table, a query would fail.
    world.database.execute("alter table users rename to users_away").await;
    for number in 9..12 {
        assert_blocked(guess(&world, "10.0.0.6", "test@example.com").await, &AN_HOUR);
        assert_blocked(guess(&world, "10.0.1.1", &format!("{number}@example.com")).await, &AN_HOUR);
    }
}

#[tokio::test]
async fn expired_windows_do_not_count_and_are_purged_in_chunks() {
    let world = World::with(limits(3, 5, 8)).await;
    owner_from(&world, "10.0.1.1").await.ok();
    for _ in 0..3 {
        assert_checked(guess(&world, "10.0.0.1", "test@example.com").await);
    }
    let expire = "update failed_logins set ends_at = now() - interval '1 millisecond'";
    world.database.execute(expire).await;
    for _ in 0..3 {
        assert_checked(guess(&world, "10.0.0.1", "test@example.com").await);
    }
    assert_eq!(world.database.number("select count(*) from failed_logins where failures = 3 and ends_at > now()").await, 3);
    assert_blocked(guess(&world, "10.0.0.1", "test@example.com").await, &TEN_MINUTES);

    world.database.execute("insert into failed_logins select sha256(n::text::bytea), 1, now() from generate_series(1, 1200) n").await;
    let old = "insert into login_sources select account_id, user_id, n::text, now() - interval '30 days 1 minute'
        from login_sources, generate_series(1, 1200) n where source = '10.0.1.1'";
    world.database.execute(old).await;
    // A replica purges expired rows when it starts, and every minute afterwards.
    let world = World::on(world.database.clone(), limits(3, 5, 8)).await;
    let rows = "select (select count(*) from failed_logins) + (select count(*) from login_sources)";
    world.database.wait_for(4, rows).await;
    assert_blocked(guess(&world, "10.0.0.1", "test@example.com").await, &TEN_MINUTES);
    owner_from(&world, "10.0.1.1").await.ok();
}

#[tokio::test]
async fn an_address_stays_known_for_thirty_days_after_its_last_login() {
    let world = World::with(limits(3, 2, 100)).await;
    for address in ["10.0.1.1", "10.0.1.2"] {
        owner_from(&world, address).await.ok();
    }
    for (address, age) in [("10.0.1.1", "29 days 23 hours"), ("10.0.1.2", "30 days")] {
        let aged = format!("update login_sources set last_login_at = now() - interval '{age}' where source = '{address}'");
        world.database.execute(&aged).await;
    }
    for number in 1..=2 {
        assert_checked(guess(&world, &format!("10.0.0.{number}"), "test@example.com").await);
    }
    assert_blocked(owner_from(&world, "10.0.1.2").await, &AN_HOUR);
    owner_from(&world, "10.0.1.1").await.ok();
    let recent = "select count(*) from login_sources where last_login_at > now() - interval '1 minute'";
    assert_eq!(world.database.number(recent).await, 1);
}
