//! The audit log: who did what, from where. Each event is written in the transaction of its change, and never changed.

use core_api::domain::role::{Role, UserRole};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, Reply, World};

async fn events(admin: &Actor, query: &str) -> Vec<Value> {
    admin.get(&format!("/audit-events{query}")).await.ok()["auditEvents"].as_array().expect("a list").clone()
}

/// The types of the events after the first login, oldest first.
async fn logged(admin: &Actor) -> Vec<String> {
    let types = events(admin, "").await.into_iter().rev().map(|event| event["type"].as_str().expect("a type").to_owned());
    types.skip_while(|name| name != "login").skip(1).collect()
}

#[tokio::test]
async fn an_event_records_user_session_subject_before_after_request_and_address() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let request = admin.request(Method::PATCH, "/cards/status").header("x-request-id", "the-request");
    Reply::of(request.json(&json!({"cardId": card, "status": "active"}))).await.ok();
    let user = admin.get("/users").await.ok()["users"][0]["userId"].clone();
    let session = admin.get("/auth/sessions").await.ok()["sessions"][0]["sessionId"].clone();
    let event = events(&admin, "").await[0].clone();
    assert!(event["id"].as_str().is_some_and(|id| id.starts_with("evt_")) && event["date"].is_string(), "{event}");
    let expected = json!({
        "id": event["id"], "type": "card_status_changed", "userId": user, "sessionId": session, "apiKeyId": null, "subjectId": card,
        "before": {"status": "inactive"}, "after": {"status": "active"},
        "requestId": "the-request", "address": "127.0.0.1", "date": event["date"],
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn every_change_of_state_is_logged_once_and_a_no_op_is_not() {
    let (world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    for _ in 0..2 {
        admin.assign(&card, &customer).await.ok();
        admin.set_status(&card, "active").await.ok();
    }
    admin.set_status("card_001", "active").await.problem(404, "card_not_found");
    admin.add(&card, json!(5)).await.ok();
    let (id, user) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    let path = format!("/users/{id}");
    for change in [json!({"role": "operator"}), json!({"role": "operator"}), json!({"disabled": true}), json!({"disabled": false})] {
        admin.patch(&path, change).await.ok();
    }
    user.get("/cards").await.problem(401, "unauthenticated");
    let expected = [
        "card_created",
        "customer_created",
        "card_assigned",
        "card_status_changed",
        "user_created",
        "login",
        "user_role_changed",
        "user_disabled",
        "user_enabled",
    ];
    assert_eq!(logged(&admin).await, expected);
}

#[tokio::test]
async fn every_security_event_is_logged() {
    let world = World::with(|settings| settings.rate_limit.per_hour = 12.try_into().expect("above zero")).await;
    let admin = world.user_in_new_account(Role::Admin, Some(1000)).await;
    let (_, viewer) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    viewer.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");
    let wrong = json!({"email": "ana@example.com", "password": "wrong"});
    world.anonymous().post("/auth/login", wrong).await.problem(401, "invalid_credentials");
    let change = json!({"currentPassword": "a long enough password", "newPassword": "correct horse battery staple"});
    viewer.post("/auth/password", change).await.ok();
    let first = json!({"refreshToken": viewer.refresh_token});
    world.anonymous().post("/auth/refresh", first.clone()).await.ok();
    let used = "update refresh_tokens set used_at = (used_at at time zone 'UTC' - interval '10 seconds') at time zone 'UTC'";
    world.database.execute(used).await;
    world.anonymous().post("/auth/refresh", first).await.problem(401, "invalid_refresh_token");
    let again = world.anonymous().logged_in("ana@example.com", "correct horse battery staple").await;
    let third = world.anonymous().logged_in("ana@example.com", "correct horse battery staple").await;
    let session = again.get("/auth/sessions").await.ok()["sessions"][1]["sessionId"].as_str().expect("an id").to_owned();
    again.delete(&format!("/auth/sessions/{session}")).await.ok();
    third.get("/cards").await.problem(401, "unauthenticated");
    again.post("/auth/logout", json!({})).await.ok();
    let expected = [
        "user_created",
        "login",
        "permission_refused",
        "login_failed",
        "password_changed",
        "refresh",
        "refresh_token_reused",
        "login",
        "login",
        "session_ended",
        "logout",
    ];
    assert_eq!(logged(&admin).await, expected);
    let failed = events(&admin, "?type=login_failed").await;
    assert_eq!((&failed[0]["userId"], &failed[0]["address"]), (&Value::Null, &json!("127.0.0.1")));
    assert_eq!(events(&admin, "?type=permission_refused").await[0]["after"], json!({"role": "viewer", "needed": "write"}));
}

#[tokio::test]
async fn an_exhausted_quota_is_logged_once() {
    let world = World::new().await;
    let admin = world.user_in_new_account(Role::Admin, Some(5)).await;
    for _ in 0..5 {
        admin.get("/cards").await.ok();
    }
    for _ in 0..20 {
        admin.get("/cards").await.problem(429, "rate_limit_exceeded");
    }
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'quota_exhausted'").await, 1);
    assert_eq!(world.database.number("select (after->>'limit')::bigint from audit_events where type = 'quota_exhausted'").await, 5);
}

#[tokio::test]
async fn a_change_is_rolled_back_if_its_event_cannot_be_written() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let before = world.database.number("select count(*) from audit_events").await;
    // The database refuses the event, so the change must be rolled back.
    world.database.execute("alter table audit_events add constraint broken check (type <> 'card_status_changed') not valid").await;
    admin.set_status(&card, "active").await.problem(500, "internal_error");
    assert_eq!(admin.card(&card).await["status"], "inactive");
    assert_eq!(world.database.number("select count(*) from audit_events").await, before);
}

#[tokio::test]
async fn a_movement_records_its_user_and_request() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let request = admin.request(Method::POST, "/balances/add").header("x-request-id", "the-top-up");
    Reply::of(request.json(&json!({"cardId": card, "amount": 5}))).await.ok();
    let recorded = "select count(*) from movements join users on users.account_id = movements.account_id and users.id = user_id
        where request_id = 'the-top-up' and email = 'test@example.com'";
    assert_eq!(world.database.number(recorded).await, 1);
}

#[tokio::test]
async fn the_audit_log_is_paged_newest_first_and_filtered() {
    let (world, admin) = World::with_admin().await;
    let (one, two) = (admin.given_card().await, admin.given_card().await);
    admin.set_status(&one, "active").await.ok();
    admin.set_status(&one, "blocked").await.ok();
    let (user, viewer) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    viewer.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");
    let all = events(&admin, "").await;
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = admin.get(&format!("/audit-events{query}")).await.ok();
        paged.extend(page["auditEvents"].as_array().expect("a list").clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=2&after={next}");
    }
    assert_eq!(paged, all);

    assert_eq!(events(&admin, &format!("?subjectId={one}")).await.len(), 3);
    assert_eq!(events(&admin, &format!("?subjectId={two}&type=card_created")).await.len(), 1);
    assert_eq!(events(&admin, &format!("?userId={user}")).await.len(), 2);
    assert!(events(&admin, "?subjectId=nothing").await.is_empty());
    let page = admin.get(&format!("/audit-events?limit=1&subjectId={one}")).await.ok();
    let next = page["nextCursor"].as_str().expect("a next page");
    let rest = events(&admin, &format!("?after={next}")).await;
    assert!(rest.len() == 2 && rest.iter().all(|event| event["subjectId"] == one.as_str()), "{rest:?}");
    let errors = admin.get(&format!("/audit-events?after={next}&type=login")).await.field_errors();
    assert_eq!(errors, ["after: invalid_cursor"]);
    assert_eq!(admin.get("/audit-events?type=nothing").await.field_errors(), ["type: unknown_value"]);
    for unknown in ["usr_001", "nobody"] {
        admin.get(&format!("/audit-events?userId={unknown}")).await.problem(404, "user_not_found");
    }
}

#[tokio::test]
async fn the_audit_log_is_readable_only_by_admins_of_the_same_account() {
    let (world, admin, other) = World::with_two_accounts().await;
    let card = admin.given_card().await;
    assert!(events(&other, &format!("?subjectId={card}")).await.is_empty());
    assert!(events(&other, "").await.iter().all(|event| event["subjectId"] != card.as_str()));
    for role in UserRole::ALL.map(UserRole::role) {
        let (_, user) = world.new_user(&admin, &format!("{}@example.com", role.name()), role).await;
        let reply = user.get("/audit-events").await;
        match role {
            Role::Admin => drop(reply.ok()),
            Role::Operator | Role::Viewer | Role::Network => drop(reply.problem(403, "insufficient_permissions")),
        }
    }
}

#[tokio::test]
async fn the_audit_log_is_append_only() {
    use sqlx::Executor;
    let world = World::new().await;
    world.admin().await;
    let mut connection = world.database.connect().await;
    for tampering in ["update audit_events set address = null", "delete from audit_events", "truncate audit_events"] {
        let refused = connection.execute(tampering).await.expect_err("refused").to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
}
