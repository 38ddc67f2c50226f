//! Cards over HTTP: creation, assignment and status changes.

use core_api::domain::{card::CardStatus, currency::Currency};
use serde_json::{Value, json};

use crate::support::{World, payments::with};

#[tokio::test]
async fn a_card_is_created_inactive_in_each_currency() {
    let (_world, admin) = World::with_admin().await;
    for currency in Currency::ALL.map(Currency::code) {
        let created = admin.post("/cards", json!({"currency": currency})).await.ok();
        let id = created["cardId"].as_str().expect("an id");
        assert!(id.starts_with("card_") && id.len() == 31, "{id}");
        assert_eq!(
            created,
            json!({"cardId": id, "status": "inactive", "currency": currency, "label": null, "externalId": null, "metadata": {}})
        );
        let details = admin.card(id).await;
        let created_at = details["createdAt"].clone();
        assert!(created_at.as_str().is_some_and(|time| time.ends_with('Z')));
        let money = json!({"cardId": id, "balance": 0, "currency": currency, "held": 0, "available": 0});
        assert_eq!(admin.get(&format!("/balances/{id}")).await.ok(), money);
        let mut expected = with(money, json!({"label": null, "externalId": null, "metadata": {}, "replaces": null, "replacedBy": null}));
        (expected["status"], expected["customerId"], expected["createdAt"]) = (json!("inactive"), json!(null), created_at);
        assert_eq!(details, expected);
    }
}

#[tokio::test]
async fn an_unknown_currency_is_refused() {
    let (world, admin) = World::with_admin().await;
    for currency in [json!("usd"), json!("USD "), json!("GBP"), json!("")] {
        let errors = admin.post("/cards", json!({"currency": currency})).await.field_errors();
        assert_eq!(errors, ["currency: unknown_value"], "{currency}");
    }
    assert_eq!(world.database.rows().await, 0);
}

#[tokio::test]
async fn every_status_transition_follows_the_contract() {
    use CardStatus::{Active, Blocked, Cancelled, Inactive};
    let (_world, admin) = World::with_admin().await;
    for from in CardStatus::ALL {
        for to in CardStatus::ALL {
            let card = admin.given_card_in(from).await;
            let reply = admin.set_status(&card, to.name()).await;
            let becomes = match (from, to) {
                (_, Inactive) => {
                    assert_eq!(reply.field_errors(), ["status: unknown_value"]);
                    from
                }
                (Inactive | Active | Blocked, Active | Cancelled) | (Active | Blocked, Blocked) | (Cancelled, Cancelled) => {
                    assert_eq!(reply.ok(), json!({"cardId": card, "status": to.name()}), "{from:?} to {to:?}");
                    to
                }
                (Inactive, Blocked) | (Cancelled, Active | Blocked) => {
                    let problem = reply.problem(409, "invalid_status_transition");
                    assert_eq!(problem["detail"], format!("A card cannot go from {} to {}.", from.name(), to.name()));
                    from
                }
            };
            assert_eq!(admin.card(&card).await["status"], becomes.name());
        }
    }
}

#[tokio::test]
async fn a_card_is_assigned_to_one_customer_for_good() {
    let (_world, admin) = World::with_admin().await;
    let (juan, maria) = (admin.given_customer().await, admin.given_customer().await);
    let card = admin.given_card().await;
    let assigned = json!({"success": true, "cardId": card, "customerId": juan});
    assert_eq!(admin.assign(&card, &juan).await.ok(), assigned);
    assert_eq!(admin.assign(&card, &juan).await.ok(), assigned);
    admin.assign(&card, &maria).await.problem(409, "card_already_assigned");
    assert_eq!(admin.card(&card).await["customerId"], json!(juan));
}

#[tokio::test]
async fn a_card_in_any_status_but_cancelled_can_be_assigned() {
    let (_world, admin) = World::with_admin().await;
    let customer = admin.given_customer().await;
    for status in CardStatus::ALL {
        let card = admin.given_card_in(status).await;
        let reply = admin.assign(&card, &customer).await;
        match status {
            CardStatus::Inactive | CardStatus::Active | CardStatus::Blocked => drop(reply.ok()),
            CardStatus::Cancelled => {
                reply.problem(409, "card_cancelled");
                assert_eq!(admin.card(&card).await["customerId"], Value::Null);
            }
        }
    }
}

#[tokio::test]
async fn an_assignment_names_the_missing_card_or_customer() {
    let (_world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    admin.assign("card_001", &customer).await.problem(404, "card_not_found");
    admin.assign("card_001", "cus_001").await.problem(404, "card_not_found");
    admin.assign(&card, "cus_001").await.problem(404, "customer_not_found");
    admin.assign(&card, &card.replace("card_", "cus_")).await.problem(404, "customer_not_found");
    assert_eq!(admin.card(&card).await["customerId"], Value::Null);
}

#[tokio::test]
async fn a_list_of_cards_is_filtered_by_status_currency_and_customer() {
    let (_world, admin) = World::with_admin().await;
    let customer = admin.given_customer().await;
    let (mine, active) = (admin.given_card().await, admin.given_card_in(CardStatus::Active).await);
    let pesos = admin.post("/cards", json!({"currency": "COP"})).await.ok()["cardId"].as_str().expect("an id").to_owned();
    admin.assign(&mine, &customer).await.ok();
    admin.assign(&pesos, &customer).await.ok();
    for (query, expected) in [
        (String::new(), vec![&mine, &active, &pesos]),
        ("?status=active".to_owned(), vec![&active]),
        ("?status=cancelled".to_owned(), vec![]),
        ("?currency=COP".to_owned(), vec![&pesos]),
        (format!("?customerId={customer}"), vec![&mine, &pesos]),
        (format!("?customerId={customer}&currency=USD&status=inactive"), vec![&mine]),
    ] {
        let listed = admin.get(&format!("/cards{query}")).await.ok();
        let listed: Vec<_> =
            listed["cards"].as_array().expect("a list").iter().map(|card| card["cardId"].as_str().expect("an id")).collect();
        assert_eq!(listed, expected, "{query}");
    }
    admin.get("/cards?customerId=cus_001").await.problem(404, "customer_not_found");
    let errors = admin.get("/cards?status=pending&currency=usd").await.field_errors();
    assert_eq!(errors, ["status: unknown_value", "currency: unknown_value"]);
}
