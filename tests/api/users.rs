//! Users: an admin creates, changes and disables them.

use core_api::domain::role::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::World;

fn new_user(email: &str, role: &str) -> Value {
    json!({"email": email, "password": "a long enough password", "role": role})
}

#[tokio::test]
async fn an_admin_creates_a_user_who_then_works_with_their_role() {
    let (world, admin) = World::with_admin().await;
    let user = admin.post("/users", new_user("Ana@Example.com", "operator")).await.ok();
    let id = user["userId"].as_str().expect("an id");
    assert!(id.starts_with("usr_") && user["createdAt"].as_str().is_some_and(|time| time.ends_with('Z')), "{user}");
    assert_eq!((&user["email"], &user["role"], &user["disabled"]), (&json!("Ana@Example.com"), &json!("operator"), &json!(false)));
    assert_eq!(admin.get(&format!("/users/{id}")).await.ok(), user);
    let listed = admin.get("/users").await.ok();
    assert_eq!(listed["users"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed["users"][1], user);

    let operator = world.anonymous().logged_in("ana@example.com", "a long enough password").await;
    operator.given_card().await;
    operator.get("/users").await.problem(403, "insufficient_permissions");
}

#[tokio::test]
async fn an_email_is_unique_within_an_account_only() {
    let (_world, admin, other) = World::with_two_accounts().await;
    admin.post("/users", new_user("ana@example.com", "viewer")).await.ok();
    for taken in ["ana@example.com", "ANA@example.com", "test@example.com"] {
        admin.post("/users", new_user(taken, "viewer")).await.problem(409, "duplicate_user");
        other.post("/users", new_user(taken, "viewer")).await;
    }
    let emails = other.get("/users").await.ok()["users"].as_array().expect("a list").iter().map(|user| user["email"].clone()).collect();
    assert_eq!(Value::Array(emails), json!(["admin@company.com", "ana@example.com", "test@example.com"]));
}

#[tokio::test]
async fn a_new_user_needs_an_email_a_strong_password_and_a_role() {
    let (world, admin) = World::with_admin().await;
    let all = ["email: invalid_email", "password: weak_password", "role: unknown_value"];
    assert_eq!(admin.post("/users", json!({"email": "x", "password": "short", "role": "root"})).await.field_errors(), all);
    let missing = ["email: required", "password: required", "role: required"];
    assert_eq!(admin.post("/users", json!({})).await.field_errors(), missing);
    for weak in [json!("1234567"), json!("secure_password"), json!("x".repeat(1025)), json!("12345678\n")] {
        let body = json!({"email": "ana@example.com", "password": weak, "role": "viewer"});
        assert_eq!(admin.post("/users", body).await.field_errors(), ["password: weak_password"]);
    }
    let number = json!({"email": "ana@example.com", "password": 12_345_678, "role": "viewer"});
    assert_eq!(admin.post("/users", number).await.field_errors(), ["password: wrong_type"]);
    assert_eq!(world.database.number("select count(*) from users").await, 2);
}

#[tokio::test]
async fn a_role_change_takes_effect_with_the_next_request() {
    let (world, admin) = World::with_admin().await;
    let (id, user) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    user.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");
    let path = format!("/users/{id}");
    assert_eq!(admin.patch(&path, json!({"role": "operator"})).await.ok()["role"], "operator");
    user.given_card().await;
    admin.patch(&path, json!({"role": "admin"})).await.ok();
    user.get("/users").await.ok();
    admin.patch(&path, json!({"role": "viewer"})).await.ok();
    user.get("/users").await.problem(403, "insufficient_permissions");
}

#[tokio::test]
async fn a_disabled_user_is_locked_out_on_every_replica_until_enabled_and_logged_in_again() {
    let world = World::of_replicas(2, |_| {}).await;
    let admin = world.admin().await;
    let (id, user) = world.new_user(&admin, "ana@example.com", Role::Operator).await;
    let path = format!("/users/{id}");
    assert_eq!(admin.patch(&path, json!({"disabled": true})).await.ok()["disabled"], true);
    for replica in 0..2 {
        world.at(replica, &user).get("/cards").await.problem(401, "unauthenticated");
    }
    let refresh = json!({"refreshToken": user.refresh_token});
    world.anonymous().post("/auth/refresh", refresh.clone()).await.problem(401, "invalid_refresh_token");
    let login = json!({"email": "ana@example.com", "password": "a long enough password"});
    world.anonymous().post("/auth/login", login).await.problem(401, "invalid_credentials");

    assert_eq!(admin.patch(&path, json!({"disabled": false})).await.ok()["disabled"], false);
    user.get("/cards").await.problem(401, "unauthenticated");
    world.anonymous().post("/auth/refresh", refresh).await.problem(401, "invalid_refresh_token");
    world.anonymous().logged_in("ana@example.com", "a long enough password").await.get("/cards").await.ok();
}

#[tokio::test]
async fn the_last_admin_of_an_account_cannot_be_removed() {
    let (world, admin) = World::with_admin().await;
    let own = admin.get("/users").await.ok()["users"][0]["userId"].as_str().expect("an id").to_owned();
    let own = format!("/users/{own}");
    for change in [json!({"role": "operator"}), json!({"disabled": true}), json!({"role": "viewer", "disabled": true})] {
        admin.patch(&own, change).await.problem(409, "last_admin");
    }
    admin.patch(&own, json!({"role": "admin", "disabled": false})).await.ok();
    let (id, deputy) = world.new_user(&admin, "ana@example.com", Role::Admin).await;
    let theirs = format!("/users/{id}");
    // Two admins demote each other concurrently: the second is refused.
    let (one, other) = tokio::join!(admin.patch(&theirs, json!({"role": "viewer"})), deputy.patch(&own, json!({"role": "viewer"})));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert!(statuses == [200, 403] || statuses == [200, 409], "{one:?} {other:?}");
    assert_eq!(world.database.number("select count(*) from users where role = 'admin' and email <> 'admin@company.com'").await, 1);
}

#[tokio::test]
async fn a_user_update_must_contain_a_change() {
    let (world, admin) = World::with_admin().await;
    let (id, _) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    let path = format!("/users/{id}");
    assert_eq!(admin.patch(&path, json!({})).await.field_errors(), ["role: required"]);
    for nothing in [json!({"role": null}), json!({"disabled": null}), json!({"role": null, "disabled": null})] {
        assert_eq!(admin.patch(&path, nothing).await.field_errors(), ["role: required"]);
    }
    assert_eq!(admin.patch(&path, json!({"role": null, "disabled": true})).await.ok()["disabled"], true);
    let changed = admin.patch(&path, json!({"role": "operator", "disabled": null})).await.ok();
    assert_eq!((&changed["role"], &changed["disabled"]), (&json!("operator"), &json!(true)));
    assert_eq!(admin.patch(&path, json!({"role": "owner"})).await.field_errors(), ["role: unknown_value"]);
    assert_eq!(admin.patch(&path, json!({"disabled": "yes"})).await.field_errors(), ["disabled: wrong_type"]);
    admin.patch("/users/usr_001", json!({"role": "viewer"})).await.problem(404, "user_not_found");
    admin.get("/users/usr_001").await.problem(404, "user_not_found");
}

#[tokio::test]
async fn under_a_key_a_user_is_created_once_and_the_stored_fingerprint_does_not_reveal_the_password() {
    let (world, admin) = World::with_admin().await;
    let send = async |body: Value| admin.keyed("create-ana", Method::POST, "/users", &body).await;
    let body = new_user("ana@example.com", "viewer");
    let first = send(body.clone()).await;
    let again = send(body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
    let mut other = new_user("ana@example.com", "viewer");
    other["password"] = json!("another long password");
    send(other).await.problem(422, "idempotency_key_reused");

    // The fingerprint is not a plain hash of the request, which would allow a billion guesses a second.
    let plain_hash = "sha256(convert_to('POST /users' || chr(10) || '{\"email\":\"ana@example.com\",\"password\":\"a long enough password\",\"role\":\"viewer\"}', 'UTF8'))";
    let found = format!("select count(*) from idempotency_keys where fingerprint = {plain_hash}");
    assert_eq!(world.database.number(&found).await, 0);
}

#[tokio::test]
async fn under_a_key_a_user_is_changed_once_even_after_later_changes() {
    let world = World::of_replicas(2, |_| {}).await;
    let admin = world.admin().await;
    let (id, _) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    let (other, _) = world.new_user(&admin, "juan@example.com", Role::Viewer).await;
    let send = async |replica: usize, id: &str, body: Value| {
        world.at(replica, &admin).keyed("promote-ana", Method::PATCH, &format!("/users/{id}"), &body).await
    };
    let change = json!({"role": "operator", "disabled": true});
    let first = send(0, &id, change.clone()).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let text = first.text.clone();
    assert_eq!(first.ok()["role"], "operator");
    let reverted = admin.patch(&format!("/users/{id}"), json!({"role": "viewer", "disabled": false})).await.ok();
    for replica in [0, 1, 0] {
        let again = send(replica, &id, change.clone()).await;
        assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &text));
        again.ok();
    }
    for (id, body) in [(&id, json!({"role": "admin"})), (&id, json!({"disabled": true})), (&other, change)] {
        send(1, id, body).await.problem(422, "idempotency_key_reused");
    }
    assert_eq!(admin.get(&format!("/users/{id}")).await.ok(), reverted);
    for event in ["type = 'user_role_changed' and after->>'role' = 'operator'", "type = 'user_disabled'"] {
        assert_eq!(world.database.number(&format!("select count(*) from audit_events where {event}")).await, 1, "{event}");
    }
}

#[tokio::test]
async fn an_admin_who_loses_the_permission_while_a_change_waits_changes_nothing() {
    let (world, admin) = World::with_admin().await;
    for (change, status, code) in [("disabled_at = now()", 401, "unauthenticated"), ("role = 'viewer'", 403, "insufficient_permissions")] {
        let (id, colleague) = world.new_user(&admin, &format!("{status}@example.com"), Role::Admin).await;
        let locks = world.database.lock_rows("accounts").await;
        let waiting = tokio::spawn(async move { colleague.post("/users", new_user("mallory@example.com", "admin")).await });
        world.database.wait_for_lock_waiters(1).await;
        let email = admin.get(&format!("/users/{id}")).await.ok()["email"].as_str().expect("an email").to_owned();
        locks.commit(&format!("update users set {change} where email = '{email}'")).await;
        waiting.await.expect("a reply").problem(status, code);
    }
    assert_eq!(world.database.number("select count(*) from users where email like 'mallory%'").await, 0);
}
