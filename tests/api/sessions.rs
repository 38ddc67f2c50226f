//! The sessions and the password of a user.

use core_api::domain::role::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, World, patient};

async fn sessions(actor: &Actor) -> Vec<Value> {
    actor.get("/auth/sessions").await.ok()["sessions"].as_array().expect("a list").clone()
}

fn id(session: &Value) -> String {
    session["sessionId"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_user_lists_only_their_own_sessions() {
    let world = World::new().await;
    let (first, second) = (world.admin().await, world.admin().await);
    world.other_admin().await;
    let (_, colleague) = world.new_user(&first, "ana@example.com", Role::Viewer).await;
    let seen = sessions(&second).await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!([&seen[0]["current"], &seen[1]["current"]], [false, true]);
    assert_eq!(seen[0]["address"], "127.0.0.1");
    assert!(seen[0]["createdAt"].as_str() < seen[0]["expiresAt"].as_str(), "{seen:?}");
    assert_eq!(sessions(&colleague).await.len(), 1);
    let page = first.get("/auth/sessions?limit=1").await.ok();
    let rest = first.get(&format!("/auth/sessions?limit=1&after={}", page["nextCursor"].as_str().expect("a next page"))).await.ok();
    assert_eq!((&page["sessions"][0]["sessionId"], &rest["sessions"][0]["sessionId"]), (&seen[0]["sessionId"], &seen[1]["sessionId"]));
    assert_eq!(rest["nextCursor"], Value::Null);
}

#[tokio::test]
async fn a_session_ended_from_another_one_is_refused_on_every_replica() {
    let world = World::of_replicas(2, |_| {}).await;
    let (stolen, mine) = (world.admin().await, world.admin().await);
    let path = format!("/auth/sessions/{}", id(&sessions(&mine).await[0]));
    assert_eq!(mine.delete(&path).await.ok(), json!({"success": true}));
    for replica in 0..2 {
        world.at(replica, &stolen).get("/cards").await.problem(401, "unauthenticated");
    }
    let refresh = json!({"refreshToken": stolen.refresh_token});
    world.anonymous().post("/auth/refresh", refresh).await.problem(401, "invalid_refresh_token");
    assert_eq!(sessions(&mine).await.len(), 1);
    mine.delete(&path).await.problem(404, "session_not_found");
    mine.delete("/auth/sessions/ses_001").await.problem(404, "session_not_found");
    mine.delete(&format!("/auth/sessions/{}", id(&sessions(&mine).await[0]))).await.ok();
    mine.get("/cards").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_admin_cannot_end_another_user_s_session() {
    let (world, admin) = World::with_admin().await;
    let (_, colleague) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    let theirs = id(&sessions(&colleague).await[0]);
    admin.delete(&format!("/auth/sessions/{theirs}")).await.problem(404, "session_not_found");
    colleague.get("/cards").await.ok();
}

#[tokio::test]
async fn a_password_change_ends_the_other_sessions_and_retires_the_old_password() {
    let world = World::new().await;
    let (other, mine) = (world.admin().await, world.admin().await);
    let change = json!({"currentPassword": "test123", "newPassword": "correct horse battery staple"});
    assert_eq!(mine.post("/auth/password", change.clone()).await.ok(), json!({"success": true}));
    mine.get("/cards").await.ok();
    other.get("/cards").await.problem(401, "unauthenticated");
    let refresh = |actor: &Actor| json!({"refreshToken": actor.refresh_token});
    world.anonymous().post("/auth/refresh", refresh(&other)).await.problem(401, "invalid_refresh_token");
    world.anonymous().post("/auth/refresh", refresh(&mine)).await.ok();
    let old = json!({"email": "test@example.com", "password": "test123"});
    world.anonymous().post("/auth/login", old).await.problem(401, "invalid_credentials");
    world.anonymous().logged_in("test@example.com", "correct horse battery staple").await;
    assert_eq!(mine.post("/auth/password", change).await.field_errors(), ["currentPassword: wrong_password"]);
}

#[tokio::test]
async fn a_password_change_needs_the_current_password_and_a_strong_new_one() {
    let (world, admin) = World::with_admin().await;
    let wrong = json!({"currentPassword": "test124", "newPassword": "correct horse battery staple"});
    assert_eq!(admin.post("/auth/password", wrong).await.field_errors(), ["currentPassword: wrong_password"]);
    admin.get("/cards").await.ok();
    let weak = admin.post("/auth/password", json!({"currentPassword": "test123", "newPassword": "1234567"})).await;
    assert_eq!(weak.field_errors(), ["newPassword: weak_password"]);
    let missing = admin.post("/auth/password", json!({})).await.field_errors();
    assert_eq!(missing, ["currentPassword: required", "newPassword: required"]);
    world.admin().await;
    world.anonymous().post("/auth/password", json!({})).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_password_of_1024_emoji_in_its_longest_spelling_is_accepted_and_works() {
    let (world, admin) = World::with_admin().await;
    let emoji = "\u{1f600}".repeat(1024);
    admin.post("/auth/password", json!({"currentPassword": "test123", "newPassword": emoji})).await.ok();
    // Each emoji is 12 bytes as two escapes: the body has two passwords of 12 KiB.
    let escaped = "\\ud83d\\ude00".repeat(1024);
    let body = format!("{{\"currentPassword\":\"{escaped}\",\"newPassword\":\"{escaped}\"}}");
    admin.send(Method::POST, "/auth/password", body).await.ok();
    world.anonymous().logged_in("test@example.com", &emoji).await.get("/cards").await.ok();
    let longer = json!({"currentPassword": emoji, "newPassword": format!("{emoji}x")});
    assert_eq!(admin.post("/auth/password", longer).await.field_errors(), ["newPassword: weak_password"]);
}

#[tokio::test]
async fn a_password_works_in_every_unicode_form() {
    let (world, admin) = World::with_admin().await;
    let (composed, decomposed) = ("una contrase\u{f1}a larga", "una contrasen\u{303}a larga");
    admin.post("/auth/password", json!({"currentPassword": "test123", "newPassword": decomposed})).await.ok();
    for typed in [composed, decomposed] {
        world.anonymous().logged_in("test@example.com", typed).await;
    }
    admin.post("/auth/password", json!({"currentPassword": composed, "newPassword": "correct horse battery staple"})).await.ok();
}

#[tokio::test]
async fn guesses_at_the_current_password_are_rate_limited_like_logins() {
    let world = World::with(|settings| settings.rate_limit.failed_logins_per_minute = 3.try_into().expect("above zero")).await;
    let admin = world.admin().await;
    let guess = json!({"currentPassword": "a guess", "newPassword": "correct horse battery staple"});
    for _ in 0..4 {
        assert_eq!(admin.post("/auth/password", guess.clone()).await.field_errors(), ["currentPassword: wrong_password"]);
    }
    admin.post("/auth/password", guess).await.problem(429, "too_many_attempts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_with_the_old_password_outlives_a_password_change() {
    let world = World::with(patient).await;
    let mine = world.admin().await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let stranger = world.anonymous();
        logins.spawn(async move { stranger.post("/auth/login", json!({"email": "test@example.com", "password": "test123"})).await });
    }
    let change = json!({"currentPassword": "test123", "newPassword": "correct horse battery staple"});
    mine.post("/auth/password", change).await.ok();
    for reply in logins.join_all().await {
        if reply.status == 200 {
            let token = reply.ok()["token"].as_str().expect("a token").to_owned();
            world.anonymous().with_token(&token).get("/cards").await.problem(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn a_login_beyond_a_thousand_sessions_ends_the_oldest() {
    let world = World::new().await;
    let oldest = world.admin().await;
    let many = "insert into sessions (account_id, id, user_id, expires_at)
        select account_id, gen_random_uuid(), user_id, expires_at from sessions, generate_series(1, 999) where ended_at is null";
    world.database.execute(many).await;
    oldest.get("/cards").await.ok();
    let newest = world.admin().await;
    oldest.get("/cards").await.problem(401, "unauthenticated");
    newest.get("/cards").await.ok();
    assert_eq!(world.database.number("select count(*) from sessions where ended_at is null").await, 1000);
}

#[tokio::test]
async fn a_password_change_forgets_every_known_address_but_the_current_one() {
    let (world, admin) = World::with_admin().await;
    world.database.execute("insert into login_sources select account_id, user_id, '192.0.2.1' from login_sources limit 1").await;
    let changed = admin.post("/auth/password", json!({"currentPassword": "test123", "newPassword": "a long enough password"})).await;
    assert!(changed.status < 300, "{}", changed.status);
    assert_eq!(world.database.number("select count(*) from login_sources where source = '192.0.2.1'").await, 0);
}
