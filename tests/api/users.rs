//! People: an admin lets them in, gives them a role, and keeps them out.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::support::{Reply, World};

fn new_user(email: &str, role: &str) -> Value {
    json!({"email": email, "password": "a long enough password", "role": role})
}

#[tokio::test]
async fn an_admin_creates_a_user_who_then_works_with_their_role() {
    let world = World::new().await;
    let admin = world.admin().await;
    let user = admin.post("/users", new_user("Ana@Example.com", "operator")).await.ok();
    let id = user["userId"].as_str().expect("an id");
    assert!(id.starts_with("usr_") && user["createdAt"].as_str().is_some_and(|time| time.ends_with('Z')), "{user}");
    assert_eq!((&user["email"], &user["role"], &user["disabled"]), (&json!("Ana@Example.com"), &json!("operator"), &json!(false)));
    assert_eq!(admin.get(&format!("/users/{id}")).await.ok(), user);
    let listed = admin.get("/users").await.ok();
    assert_eq!(listed["users"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed["users"][1], user);

    let operator = world.stranger().logged_in("ana@example.com", "a long enough password").await;
    operator.given_card().await;
    operator.get("/users").await.problem(403, "insufficient_permissions");
}

#[tokio::test]
async fn an_email_is_unique_across_the_deployment() {
    let world = World::new().await;
    let (admin, elsewhere) = (world.admin().await, world.other_tenant().await);
    admin.post("/users", new_user("ana@example.com", "viewer")).await.ok();
    for taken in ["ana@example.com", "ANA@example.com", "test@example.com"] {
        elsewhere.post("/users", new_user(taken, "viewer")).await.problem(409, "duplicate_user");
    }
    assert_eq!(elsewhere.get("/users").await.ok()["users"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_new_user_needs_an_email_a_strong_password_and_a_role() {
    let world = World::new().await;
    let admin = world.admin().await;
    let faults = |names: &[(&str, &str)]| names.iter().map(|(field, code)| ((*field).to_owned(), (*code).to_owned())).collect::<Vec<_>>();
    let all = faults(&[("email", "invalid_email"), ("password", "weak_password"), ("role", "unknown_value")]);
    assert_eq!(admin.post("/users", json!({"email": "x", "password": "short", "role": "root"})).await.faults(), all);
    let missing = faults(&[("email", "required"), ("password", "required"), ("role", "required")]);
    assert_eq!(admin.post("/users", json!({})).await.faults(), missing);
    for weak in [json!("1234567"), json!("secure_password"), json!("x".repeat(1025)), json!("12345678\n")] {
        let body = json!({"email": "ana@example.com", "password": weak, "role": "viewer"});
        assert_eq!(admin.post("/users", body).await.faults(), faults(&[("password", "weak_password")]));
    }
    let number = json!({"email": "ana@example.com", "password": 12_345_678, "role": "viewer"});
    assert_eq!(admin.post("/users", number).await.faults(), faults(&[("password", "wrong_type")]));
    assert_eq!(world.database.number("select count(*) from users").await, 2);
}

#[tokio::test]
async fn a_role_change_takes_effect_with_the_next_request() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (id, somebody) = world.hired(&admin, "ana@example.com", "viewer").await;
    somebody.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");
    let path = format!("/users/{id}");
    assert_eq!(admin.patch(&path, json!({"role": "operator"})).await.ok()["role"], "operator");
    somebody.given_card().await;
    admin.patch(&path, json!({"role": "admin"})).await.ok();
    somebody.get("/users").await.ok();
    admin.patch(&path, json!({"role": "viewer"})).await.ok();
    somebody.get("/users").await.problem(403, "insufficient_permissions");
}

#[tokio::test]
async fn a_disabled_user_is_locked_out_on_every_replica_until_enabled_and_logged_in_again() {
    let mut world = World::new().await;
    world.add_replica().await;
    let admin = world.admin().await;
    let (id, somebody) = world.hired(&admin, "ana@example.com", "operator").await;
    let path = format!("/users/{id}");
    assert_eq!(admin.patch(&path, json!({"disabled": true})).await.ok()["disabled"], true);
    for replica in 0..2 {
        world.at(replica, &somebody).get("/cards").await.problem(401, "unauthenticated");
    }
    let refresh = json!({"refreshToken": somebody.refresh_token});
    world.stranger().post("/auth/refresh", refresh.clone()).await.problem(401, "invalid_refresh_token");
    let login = json!({"email": "ana@example.com", "password": "a long enough password"});
    world.stranger().post("/auth/login", login).await.problem(401, "invalid_credentials");

    assert_eq!(admin.patch(&path, json!({"disabled": false})).await.ok()["disabled"], false);
    somebody.get("/cards").await.problem(401, "unauthenticated");
    world.stranger().post("/auth/refresh", refresh).await.problem(401, "invalid_refresh_token");
    world.stranger().logged_in("ana@example.com", "a long enough password").await.get("/cards").await.ok();
}

#[tokio::test]
async fn the_last_admin_of_an_account_cannot_be_removed() {
    let world = World::new().await;
    let admin = world.admin().await;
    let own = admin.get("/users").await.ok()["users"][0]["userId"].as_str().expect("an id").to_owned();
    let own = format!("/users/{own}");
    for change in [json!({"role": "operator"}), json!({"disabled": true}), json!({"role": "viewer", "disabled": true})] {
        admin.patch(&own, change).await.problem(409, "last_admin");
    }
    admin.patch(&own, json!({"role": "admin", "disabled": false})).await.ok();
    let (id, deputy) = world.hired(&admin, "ana@example.com", "admin").await;
    let theirs = format!("/users/{id}");
    // Each takes the other's role away at once: one comes first, and the other is told so.
    let (one, other) = tokio::join!(admin.patch(&theirs, json!({"role": "viewer"})), deputy.patch(&own, json!({"role": "viewer"})));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert!(statuses == [200, 403] || statuses == [200, 409], "{one:?} {other:?}");
    assert_eq!(world.database.number("select count(*) from users where role = 'admin' and email <> 'admin@company.com'").await, 1);
}

#[tokio::test]
async fn a_user_update_must_contain_a_change() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (id, _) = world.hired(&admin, "ana@example.com", "viewer").await;
    let path = format!("/users/{id}");
    let fault = |field: &str, code: &str| vec![(field.to_owned(), code.to_owned())];
    assert_eq!(admin.patch(&path, json!({})).await.faults(), fault("role", "required"));
    assert_eq!(admin.patch(&path, json!({"role": null})).await.faults(), fault("role", "required"));
    assert_eq!(admin.patch(&path, json!({"role": "owner"})).await.faults(), fault("role", "unknown_value"));
    assert_eq!(admin.patch(&path, json!({"disabled": "yes"})).await.faults(), fault("disabled", "wrong_type"));
    admin.patch("/users/usr_001", json!({"role": "viewer"})).await.problem(404, "user_not_found");
    admin.get("/users/usr_001").await.problem(404, "user_not_found");
}

#[tokio::test]
async fn under_a_key_a_user_is_created_once_and_the_stored_fingerprint_does_not_reveal_the_password() {
    let world = World::new().await;
    let admin = world.admin().await;
    let send = async |body: Value| Reply::of(admin.request(Method::POST, "/users").header("idempotency-key", "hire-ana").json(&body)).await;
    let body = new_user("ana@example.com", "viewer");
    let first = send(body.clone()).await;
    let again = send(body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
    let mut other = new_user("ana@example.com", "viewer");
    other["password"] = json!("another long password");
    send(other).await.problem(422, "idempotency_key_reused");

    // What is kept is not the plain hash of the request, which could be guessed at a billion times a second.
    let plain = "sha256(convert_to('POST /users' || chr(10) || '{\"email\":\"ana@example.com\",\"password\":\"a long enough password\",\"role\":\"viewer\"}', 'UTF8'))";
    let found = format!("select count(*) from idempotency_keys where fingerprint = {plain}");
    assert_eq!(world.database.number(Box::leak(found.into_boxed_str())).await, 0);
}

#[tokio::test]
async fn under_a_key_a_user_is_changed_once_even_after_later_changes() {
    let mut world = World::new().await;
    world.add_replica().await;
    let admin = world.admin().await;
    let (id, _) = world.hired(&admin, "ana@example.com", "viewer").await;
    let (other, _) = world.hired(&admin, "juan@example.com", "viewer").await;
    let send = async |replica: usize, id: &str, body: Value| {
        let request = world.at(replica, &admin).request(Method::PATCH, &format!("/users/{id}"));
        Reply::of(request.header("idempotency-key", "promote-ana").json(&body)).await
    };
    let change = json!({"role": "operator", "disabled": true});
    let first = send(0, &id, change.clone()).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let text = first.text.clone();
    assert_eq!(first.ok()["role"], "operator");
    let back = admin.patch(&format!("/users/{id}"), json!({"role": "viewer", "disabled": false})).await.ok();
    for replica in [0, 1, 0] {
        let again = send(replica, &id, change.clone()).await;
        assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &text));
        again.ok();
    }
    for (id, body) in [(&id, json!({"role": "admin"})), (&id, json!({"disabled": true})), (&other, change)] {
        send(1, id, body).await.problem(422, "idempotency_key_reused");
    }
    assert_eq!(admin.get(&format!("/users/{id}")).await.ok(), back);
    for told in ["type = 'user_role_changed' and after->>'role' = 'operator'", "type = 'user_disabled'"] {
        assert_eq!(world.database.number(&format!("select count(*) from audit_events where {told}")).await, 1, "{told}");
    }
}

#[tokio::test]
async fn an_admin_who_loses_the_permission_while_a_change_waits_changes_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    for (loses, status, code) in [("disabled_at = now()", 401, "unauthenticated"), ("role = 'viewer'", 403, "insufficient_permissions")] {
        let (id, colleague) = world.hired(&admin, &format!("{status}@example.com"), "admin").await;
        let mut holder = world.database.connect().await;
        holder.execute("begin; select from accounts for update").await.expect("held");
        let waiting = tokio::spawn(async move { colleague.post("/users", new_user("mallory@example.com", "admin")).await });
        while world.database.number("select count(*) from pg_locks where not granted").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let email = admin.get(&format!("/users/{id}")).await.ok()["email"].as_str().expect("an email").to_owned();
        let lost = format!("update users set {loses} where email = '{email}'; commit");
        holder.execute(sqlx::AssertSqlSafe(lost)).await.expect("lost");
        waiting.await.expect("a reply").problem(status, code);
    }
    assert_eq!(world.database.number("select count(*) from users where email like 'mallory%'").await, 0);
}
