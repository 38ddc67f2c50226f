//! Login, refresh, logout, and which tokens are accepted.

use std::{collections::HashSet, time::Duration};

use core_api::domain::role::Role;
use reqwest::Method;
use serde_json::json;

use crate::support::{Reply, World, patient};

#[tokio::test]
async fn a_login_returns_a_working_token() {
    let world = World::new().await;
    let login = world.anonymous().post("/auth/login", json!({"email": "test@example.com", "password": "test123"})).await.ok();
    assert!(login["userId"].as_str().is_some_and(|id| id.starts_with("usr_")), "{login}");
    assert!(login["expiresAt"].as_str().is_some_and(|time| time.ends_with('Z')), "{login}");
    let token = login["token"].as_str().expect("a token");
    assert_eq!(token.split('.').count(), 3);
    world.anonymous().with_token(token).get("/cards").await.ok();
}

#[tokio::test]
async fn a_login_ignores_the_case_of_the_email() {
    let world = World::new().await;
    world.anonymous().logged_in("  Test@Example.COM ", "test123").await.get("/cards").await.ok();
}

#[tokio::test]
async fn an_unknown_email_a_wrong_password_and_a_disabled_user_get_the_same_answer() {
    let world = World::new().await;
    world.database.execute("update users set disabled_at = now() where email = 'admin@company.com'").await;
    let mut answers = Vec::new();
    for (email, password) in [
        ("nobody@example.com", "test123"),
        ("test@example.com", "test124"),
        ("test@example.com", "TEST123"),
        ("test@example.com", " test123"),
        ("admin@company.com", "secure_password"),
        ("not an email", "x"),
    ] {
        let reply = world.anonymous().post("/auth/login", json!({"email": email, "password": password})).await;
        answers.push(reply.without_request_id());
        reply.problem(401, "invalid_credentials");
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn each_login_starts_its_own_session() {
    let world = World::new().await;
    let (first, second) = (world.admin().await, world.admin().await);
    assert_eq!(first.post("/auth/logout", json!({})).await.ok(), json!({"success": true}));
    first.get("/cards").await.problem(401, "unauthenticated");
    second.get("/cards").await.ok();
}

#[tokio::test]
async fn a_logout_takes_effect_at_once_on_every_replica() {
    let world = World::of_replicas(3, |_| {}).await;
    let admin = world.admin().await;
    for replica in 0..3 {
        world.at(replica, &admin).get("/cards").await.ok();
    }
    // Without a body and a content type, as in the published reference.
    Reply::of(world.at(1, &admin).request(Method::POST, "/auth/logout")).await.ok();
    for replica in 0..3 {
        world.at(replica, &admin).get("/cards").await.problem(401, "unauthenticated");
    }
    let refresh = json!({"refreshToken": admin.refresh_token});
    world.anonymous_at(2).post("/auth/refresh", refresh).await.problem(401, "invalid_refresh_token");
}

/// Makes every use of a refresh token as long ago as this.
async fn age_uses(world: &World, interval: &str) {
    world.database.execute(&format!("update refresh_tokens set used_at = used_at - interval '{interval}'")).await;
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_later_reuse_ends_the_session() {
    let (world, admin) = World::with_admin().await;
    let first = json!({"refreshToken": admin.refresh_token});
    let refreshed = world.anonymous().post("/auth/refresh", first.clone()).await.ok();
    let token = refreshed["token"].as_str().expect("a token");
    world.anonymous().with_token(token).get("/cards").await.ok();
    let second = json!({"refreshToken": refreshed["refreshToken"]});
    assert_ne!(first, second);

    age_uses(&world, "10 seconds").await;
    world.anonymous().post("/auth/refresh", first).await.problem(401, "invalid_refresh_token");
    world.anonymous().post("/auth/refresh", second).await.problem(401, "invalid_refresh_token");
    world.anonymous().with_token(token).get("/cards").await.problem(401, "unauthenticated");
    admin.get("/cards").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_made_up_refresh_token_ends_no_session() {
    let (world, admin) = World::with_admin().await;
    let real = admin.refresh_token.clone().expect("a refresh token");
    let (stem, secret) = real.rsplit_once('.').expect("parts");
    let made_up = format!("{stem}.{}", secret.chars().rev().collect::<String>());
    for wrong in [made_up.as_str(), "crt_x.y.z", "nothing", &real[..real.len() - 1]] {
        world.anonymous().post("/auth/refresh", json!({"refreshToken": wrong})).await.problem(401, "invalid_refresh_token");
    }
    admin.get("/cards").await.ok();
    world.anonymous().post("/auth/refresh", json!({"refreshToken": real})).await.ok();
}

#[tokio::test]
async fn a_refresh_token_used_within_ten_seconds_gets_other_tokens_of_the_same_session() {
    let (world, admin) = World::with_admin().await;
    let token = json!({"refreshToken": admin.refresh_token});
    let first = world.anonymous().post("/auth/refresh", token.clone()).await.ok();
    // The first use counts, however often the token is used again. A second before the end of the ten is early enough.
    for _ in 0..2 {
        age_uses(&world, "4500 milliseconds").await;
        let again = world.anonymous().post("/auth/refresh", token.clone()).await.ok();
        for refreshed in [&first, &again] {
            world.anonymous().with_token(refreshed["token"].as_str().expect("a token")).get("/cards").await.ok();
        }
        assert_ne!(first["refreshToken"], again["refreshToken"]);
        world.anonymous().post("/auth/refresh", json!({"refreshToken": again["refreshToken"]})).await.ok();
    }
    assert_eq!(world.database.number("select count(*) from sessions").await, 1);
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'refresh_token_reused'").await, 0);
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'refresh'").await, 5);
    age_uses(&world, "1 second").await;
    world.anonymous().post("/auth/refresh", token).await.problem(401, "invalid_refresh_token");
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'refresh_token_reused'").await, 1);
    world.anonymous().post("/auth/refresh", json!({"refreshToken": first["refreshToken"]})).await.problem(401, "invalid_refresh_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_refresh_at_once_over_two_replicas_all_succeed() {
    let world = World::of_replicas(2, patient).await;
    for _ in 0..5 {
        let admin = world.admin().await;
        let mut tabs = tokio::task::JoinSet::new();
        for tab in 0..4 {
            let (client, refresh) = (world.anonymous_at(tab % 2), json!({"refreshToken": admin.refresh_token}));
            tabs.spawn(async move { client.post("/auth/refresh", refresh).await.ok() });
        }
        let refreshed = tabs.join_all().await;
        let tokens: HashSet<&str> = refreshed.iter().map(|each| each["refreshToken"].as_str().expect("a token")).collect();
        assert_eq!(tokens.len(), 4);
        for each in &refreshed {
            world.anonymous().with_token(each["token"].as_str().expect("a token")).get("/cards").await.ok();
            world.anonymous().post("/auth/refresh", json!({"refreshToken": each["refreshToken"]})).await.ok();
        }
    }
    assert_eq!(world.database.number("select count(*) from sessions where ended_at is not null").await, 0);
}

#[tokio::test]
async fn a_refresh_that_waits_for_the_session_past_the_ten_seconds_is_a_reuse() {
    let (world, admin) = World::with_admin().await;
    let token = json!({"refreshToken": admin.refresh_token});
    world.anonymous().post("/auth/refresh", token.clone()).await.ok();
    age_uses(&world, "9 seconds").await;
    let locks = world.database.lock_rows("sessions").await;
    let client = world.anonymous();
    let late = tokio::spawn(async move { client.post("/auth/refresh", token).await });
    world.database.wait_for_lock_waiters(1).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    locks.release().await;
    late.await.expect("a reply").problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn refreshes_of_a_session_are_counted_exactly_over_replicas_and_limited() {
    let world = World::of_replicas(2, |settings| {
        patient(settings);
        settings.rate_limit.refreshes_per_session = 10.try_into().expect("above zero");
    })
    .await;
    world.database.avoid_hour_boundary().await;
    let (admin, other) = (world.admin().await, world.admin().await);
    let token = json!({"refreshToken": admin.refresh_token});
    let mut refreshes = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (client, token) = (world.anonymous_at(number % 2), token.clone());
        refreshes.spawn(async move { client.post("/auth/refresh", token).await });
    }
    let replies = refreshes.join_all().await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 10);
    for refused in replies.into_iter().filter(|reply| reply.status != 200) {
        assert!((1..=3600).contains(&refused.number("retry-after")));
        refused.problem(429, "too_many_refreshes");
    }
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'refresh'").await, 10);
    // The other session is not limited, and this one is not in the next hour.
    world.anonymous().post("/auth/refresh", json!({"refreshToken": other.refresh_token})).await.ok();
    world.database.execute("update sessions set refreshes_since = refreshes_since - interval '1 hour'").await;
    world.anonymous().post("/auth/refresh", token).await.ok();
}

#[tokio::test]
async fn refreshes_of_all_sessions_of_an_account_are_limited_together() {
    let world = World::of_replicas(2, |settings| {
        patient(settings);
        settings.rate_limit.refreshes_per_account = 10.try_into().expect("above zero");
    })
    .await;
    world.database.avoid_hour_boundary().await;
    let mut refreshes = tokio::task::JoinSet::new();
    for number in 0..4 {
        let admin = world.admin().await;
        for _ in 0..5 {
            let (client, token) = (world.anonymous_at(number % 2), json!({"refreshToken": admin.refresh_token}));
            refreshes.spawn(async move { client.post("/auth/refresh", token).await });
        }
    }
    let replies = refreshes.join_all().await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 10);
    for refused in replies.into_iter().filter(|reply| reply.status != 200) {
        refused.problem(429, "too_many_refreshes");
    }
    let other = world.other_admin().await;
    world.anonymous().post("/auth/refresh", json!({"refreshToken": other.refresh_token})).await.ok();
    world.database.execute("update refresh_usage set window_start = window_start - interval '1 hour'").await;
    let token = json!({"refreshToken": world.admin().await.refresh_token});
    world.anonymous().post("/auth/refresh", token).await.ok();
}

#[tokio::test]
async fn a_logout_with_an_expired_token_ends_the_session() {
    let world = World::with(|settings| settings.auth.token_ttl_seconds = 1).await;
    let admin = world.admin().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    admin.get("/cards").await.problem(403, "token_expired");
    let (token, signature) = admin.token.as_deref().and_then(|token| token.rsplit_once('.')).expect("a token");
    let forged = format!("{token}.{}", signature.chars().rev().collect::<String>());
    world.anonymous().with_token(&forged).post("/auth/logout", json!({})).await.problem(401, "unauthenticated");
    assert_eq!(admin.post("/auth/logout", json!({})).await.ok(), json!({"success": true}));
    let refresh = json!({"refreshToken": admin.refresh_token});
    world.anonymous().post("/auth/refresh", refresh).await.problem(401, "invalid_refresh_token");
    admin.post("/auth/logout", json!({})).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_expired_token_is_403_and_can_be_refreshed() {
    let world = World::with(|settings| settings.auth.token_ttl_seconds = 1).await;
    let admin = world.admin().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    admin.get("/cards").await.problem(403, "token_expired");
    world.anonymous().post("/auth/refresh", json!({"refreshToken": admin.refresh_token})).await.ok();
}

#[tokio::test]
async fn a_session_ends_when_it_expires_or_its_user_is_disabled() {
    let (world, admin, other) = World::with_two_accounts().await;
    world
        .database
        .execute("update sessions set expires_at = now() where user_id = (select id from users where email = 'test@example.com')")
        .await;
    world.database.execute("update users set disabled_at = now() where email = 'admin@company.com'").await;
    for actor in [admin, other] {
        actor.get("/cards").await.problem(401, "unauthenticated");
        let refresh = json!({"refreshToken": actor.refresh_token});
        actor.post("/auth/refresh", refresh).await.problem(401, "invalid_refresh_token");
    }
}

#[tokio::test]
async fn a_token_of_another_deployment_is_refused() {
    let (here, elsewhere) = (World::new().await, World::new().await);
    // All test databases share the sandbox's key, so this one gets its own, as every deployment has.
    elsewhere.database.execute("update deployment set sandbox_signing_key = sha256('elsewhere')").await;
    let elsewhere = World::on(elsewhere.database.clone(), |_| {}).await;
    let stranger = elsewhere.admin().await;
    stranger.get("/cards").await.ok();
    here.at(0, &stranger).get("/cards").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_viewer_can_read_but_not_write() {
    let world = World::new().await;
    let viewer = world.user_in_new_account(Role::Viewer, None).await;
    viewer.get("/cards").await.ok();
    viewer.get("/customers").await.ok();
    for (path, body) in [
        ("/customers", json!({"name": "Juan Perez", "email": "juan@email.com"})),
        ("/cards", json!({"currency": "USD"})),
        ("/cards/assign", json!({"cardId": "card_1", "customerId": "cus_1"})),
        ("/balances/add", json!({"cardId": "card_1", "amount": 1})),
        ("/sandbox/purchases", json!({"cardId": "card_1", "amount": 1, "description": "x"})),
        ("/sandbox/refunds", json!({"cardId": "card_1", "amount": 1, "description": "x"})),
    ] {
        viewer.post(path, body).await.problem(403, "insufficient_permissions");
    }
    viewer.set_status("card_1", "active").await.problem(403, "insufficient_permissions");
    assert_eq!(world.database.rows().await, 0);
    viewer.post("/auth/logout", json!({})).await.ok();
}

#[tokio::test]
async fn an_operator_can_write() {
    let world = World::new().await;
    let operator = world.user_in_new_account(Role::Operator, None).await;
    let (card, customer) = (operator.given_card_with(json!(5)).await, operator.given_customer().await);
    operator.assign(&card, &customer).await.ok();
}

#[tokio::test]
async fn failed_logins_are_rate_limited_by_address_and_earlier_successes_are_not_counted() {
    let world = World::with(|settings| settings.rate_limit.failed_logins_per_minute = 3.try_into().expect("above zero")).await;
    for _ in 0..10 {
        world.admin().await;
    }
    let wrong = json!({"email": "test@example.com", "password": "wrong"});
    for _ in 0..4 {
        world.anonymous().post("/auth/login", wrong.clone()).await.problem(401, "invalid_credentials");
    }
    let refused = world.anonymous().post("/auth/login", wrong).await;
    assert!((1..=20).contains(&refused.number("retry-after")));
    refused.problem(429, "too_many_attempts");
}

#[tokio::test]
async fn passwords_and_refresh_tokens_are_stored_hashed() {
    let world = World::new().await;
    world.admin().await;
    assert_eq!(world.database.number("select count(*) from users where password_hash not like '$argon2id$%'").await, 0);
    assert_eq!(world.database.number("select count(*) from refresh_tokens where octet_length(token_hash) = 32").await, 1);
}
