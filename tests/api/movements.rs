//! The history of a card over HTTP.

use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn a_history_is_newest_first_and_in_the_form_of_the_reference() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    admin.purchase(&card, json!(20)).await.ok();
    let body = json!({"cardId": card, "amount": 15.5, "description": "Subscription - Netflix"});
    admin.post("/sandbox/purchases", body).await.ok();
    admin.refund(&card, json!(0.5)).await.ok();

    let reply = admin.get(&format!("/cards/{card}/movements")).await;
    assert!(reply.text.contains("\"amount\":-15.50,"), "{}", reply.text);
    let movements = reply.ok()["movements"].as_array().expect("a list").clone();
    let rows: Vec<_> =
        movements.iter().map(|m| (m["amount"].clone(), m["type"].clone(), m["balanceAfter"].clone(), m["description"].clone())).collect();
    assert_eq!(
        rows,
        [
            (json!(0.5), json!("refund"), json!(65), json!("Refund - Amazon")),
            (json!(-15.5), json!("purchase"), json!(64.5), json!("Subscription - Netflix")),
            (json!(-20), json!("purchase"), json!(80), json!("Online purchase - Amazon")),
            (json!(100), json!("top_up"), json!(100), json!("Balance top-up")),
        ]
    );
    for movement in &movements {
        assert!(movement["id"].as_str().is_some_and(|id| id.starts_with("mov_")));
        assert!(movement["date"].as_str().is_some_and(|date| date.ends_with('Z')));
    }
}

#[tokio::test]
async fn a_new_card_has_an_empty_history_and_an_unknown_card_is_404() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    assert_eq!(admin.get(&format!("/cards/{card}/movements")).await.ok(), json!({"movements": []}));
    admin.get("/cards/card_001/movements").await.problem(404, "card_not_found");
}

#[tokio::test]
async fn the_database_refuses_to_change_or_remove_a_movement() {
    let (world, admin) = World::with_admin().await;
    admin.given_card_with(json!(100)).await;
    let mut connection = world.database.connect().await;
    for tampering in ["update movements set amount = 1", "delete from movements", "truncate movements"] {
        let refused = sqlx::Executor::execute(&mut connection, tampering).await.expect_err(tampering);
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
    assert_eq!(world.database.number("select count(*) from movements").await, 1);
}
