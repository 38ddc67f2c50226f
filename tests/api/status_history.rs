//! How a card came by its status: who changed it, when and why.

use core_api::domain::role::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, World, payments::card_uuid};

async fn history(actor: &Actor, card: &str) -> Vec<Value> {
    let answer = actor.get(&format!("/cards/{card}/status-history")).await.ok();
    assert_eq!(answer["cardId"], card);
    answer["history"].as_array().expect("a list").clone()
}

/// What changed and why, without who and when.
fn changes(history: &[Value]) -> Vec<(Value, Value, Value)> {
    history.iter().map(|each| (each["from"].clone(), each["to"].clone(), each["reason"].clone())).collect()
}

fn change(from: Value, to: &str, reason: Value) -> (Value, Value, Value) {
    (from, json!(to), reason)
}

#[tokio::test]
async fn a_history_begins_with_the_creation_and_says_who_and_why() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let (operator_id, operator) = world.new_user(&admin, "operator@example.com", Role::Operator).await;
    let (key_id, program) = admin.given_api_key(Role::Operator).await;
    let set = |status: &str, reason: Value| json!({"cardId": card, "status": status, "reason": reason});
    operator.patch("/cards/status", set("active", json!("  The customer called "))).await.ok();
    let blocked = program.patch("/cards/status", set("blocked", json!("Fraud suspected"))).await;
    let request_id = blocked.header("x-request-id").expect("an id").to_owned();
    // These change nothing.
    admin.patch("/cards/status", set("blocked", json!("Again"))).await.ok();
    for (reason, fault) in [(json!(""), "blank"), (json!("x".repeat(101)), "too_long"), (json!(5), "wrong_type")] {
        assert_eq!(admin.patch("/cards/status", set("active", reason)).await.field_errors(), [format!("reason: {fault}")]);
    }
    let cancelling = set("cancelled", json!("é".repeat(100)));
    for _ in 0..2 {
        admin.keyed("one", Method::PATCH, "/cards/status", &cancelling).await.ok();
    }
    admin.patch("/cards/status", set("active", json!("Late"))).await.problem(409, "invalid_status_transition");

    let viewer = world.new_user(&admin, "viewer@example.com", Role::Viewer).await.1;
    let found = history(&viewer, &card).await;
    let expected = [
        change(Value::Null, "inactive", Value::Null),
        change(json!("inactive"), "active", json!("The customer called")),
        change(json!("active"), "blocked", json!("Fraud suspected")),
        change(json!("blocked"), "cancelled", json!("é".repeat(100))),
    ];
    assert_eq!(changes(&found), expected);
    assert_eq!(found[1]["actor"]["userId"], json!(operator_id));
    assert_eq!(found[2]["actor"], json!({"userId": null, "apiKeyId": key_id, "requestId": request_id}));
    assert_eq!(found[0]["at"], admin.card(&card).await["createdAt"]);
    let times: Vec<&str> = found.iter().map(|each| each["at"].as_str().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(!admin.get("/events").await.text.contains("Fraud"), "a reason is not told");
}

#[tokio::test]
async fn the_service_says_why_it_cancels_a_single_use_card() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    admin.change_controls(&card, json!({"maxPayments": 1})).await.ok();
    admin.purchase(&card, json!(5)).await.ok();
    let found = history(&admin, &card).await;
    let last = change(json!("active"), "cancelled", json!("The card has made its last payment"));
    assert_eq!(changes(&found).last(), Some(&last));
    assert!(found[2]["actor"]["userId"].is_string(), "whoever paid: {found:?}");
}

#[tokio::test]
async fn of_an_older_card_it_has_what_the_audit_log_knows() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for status in ["active", "blocked"] {
        admin.set_status(&card, status).await.ok();
    }
    let complete = history(&admin, &card).await;
    // As an earlier version left it.
    let delete = format!("delete from card_status_changes where card_id = '{}'", card_uuid(&card));
    world.database.execute(&delete).await;
    admin.patch("/cards/status", json!({"cardId": card, "status": "active", "reason": "Found"})).await.ok();
    let found = history(&admin, &card).await;
    let last = change(json!("blocked"), "active", json!("Found"));
    assert_eq!(changes(&found), [changes(&complete), vec![last]].concat());
    let who = |history: &[Value]| history.iter().take(3).map(|each| each["actor"].clone()).collect::<Vec<_>>();
    assert_eq!(who(&found), who(&complete));
    // Neither knows anything of it.
    let unknown = admin.given_card().await;
    world.database.execute(&format!("delete from card_status_changes where card_id = '{}'", card_uuid(&unknown))).await;
    world
        .database
        .execute(&format!(
            "alter table audit_events disable trigger user; delete from audit_events where subject_id = '{}';
             alter table audit_events enable trigger user",
            card_uuid(&unknown)
        ))
        .await;
    assert_eq!(history(&admin, &unknown).await, Vec::<Value>::new());
}
