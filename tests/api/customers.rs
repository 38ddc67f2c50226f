//! Customers over HTTP.

use reqwest::Method;
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn a_customer_is_created_found_and_listed() {
    let (_world, admin) = World::with_admin().await;
    let created = admin.post("/customers", json!({"name": "Juan Perez", "email": "juan@email.com"})).await.ok();
    let id = created["customerId"].as_str().expect("an id");
    assert!(id.starts_with("cus_") && id.len() == 30, "{id}");
    assert_eq!(
        created,
        json!({"customerId": id, "name": "Juan Perez", "email": "juan@email.com", "externalId": null, "metadata": {}, "erasedAt": null})
    );
    assert_eq!(admin.get(&format!("/customers/{id}")).await.ok(), created);
    assert_eq!(admin.get("/customers").await.ok(), json!({"customers": [created]}));
}

#[tokio::test]
async fn text_is_stored_as_given_apart_from_surrounding_space() {
    let (_world, admin) = World::with_admin().await;
    let created = admin.post("/customers", json!({"name": "  María José Ñandú 🙂 ", "email": " Maria@Email.com "})).await.ok();
    assert_eq!((created["name"].as_str(), created["email"].as_str()), (Some("María José Ñandú 🙂"), Some("Maria@Email.com")));
    for (number, name) in ["  Juan \t", "\r\n\tJuan\u{a0}\u{2003}", "\u{85}Juan\u{3000}"].iter().enumerate() {
        let body = json!({"name": name, "email": format!("\tjuan.{number}@email.com\n")});
        let created = admin.post("/customers", body).await.ok();
        assert_eq!(created["name"], "Juan", "{name:?}");
        assert_eq!(created["email"], format!("juan.{number}@email.com"));
    }
    let longest = "é".repeat(200);
    assert_eq!(admin.post("/customers", json!({"name": longest, "email": "e@email.com"})).await.ok()["name"], longest);
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_is_skipped() {
    let (_world, admin) = World::with_admin().await;
    let body = "\u{feff}{\"name\":\"Juan\",\"email\":\"juan@email.com\"}";
    assert_eq!(admin.send(Method::POST, "/customers", body).await.ok()["name"], "Juan");
    let login = "\u{feff}{\"email\":\"\\ttest@example.com \",\"password\":\"test123\"}";
    assert!(admin.send(Method::POST, "/auth/login", login).await.ok()["token"].is_string());
}

#[tokio::test]
async fn an_email_is_unique_per_account_regardless_of_case() {
    let (world, admin, other) = World::with_two_accounts().await;
    let customer = |email: &str| json!({"name": "Juan Perez", "email": email});
    admin.post("/customers", customer("juan@email.com")).await.ok();
    for email in ["juan@email.com", "JUAN@EMAIL.COM", " Juan@email.com"] {
        admin.post("/customers", customer(email)).await.problem(409, "duplicate_email");
    }
    other.post("/customers", customer("juan@email.com")).await.ok();
    assert_eq!(world.database.rows().await, 2);
}

#[tokio::test]
async fn all_validation_errors_are_reported_together() {
    let (world, admin) = World::with_admin().await;
    assert_eq!(admin.post("/customers", json!({})).await.field_errors(), ["name: required", "email: required"]);
    let errors = admin.post("/customers", json!({"name": "x".repeat(201), "email": "juan"})).await.field_errors();
    assert_eq!(errors, ["name: too_long", "email: invalid_email"]);
    assert_eq!(world.database.rows().await, 0);
}

#[tokio::test]
async fn customers_are_listed_in_creation_order_and_unknown_fields_are_ignored() {
    let (_world, admin) = World::with_admin().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let body = json!({"name": "N", "email": format!("n{number}@email.com"), "customerId": "cus_1", "extra": {"deep": [1, 2]}});
        ids.push(admin.post("/customers", body).await.ok()["customerId"].clone());
    }
    let listed = admin.get("/customers").await.ok();
    let listed: Vec<_> = listed["customers"].as_array().expect("a list").iter().map(|customer| customer["customerId"].clone()).collect();
    assert_eq!(listed, ids);
}
