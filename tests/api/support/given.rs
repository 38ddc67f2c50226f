//! Fixtures that an actor creates over the API.

use std::sync::atomic::{AtomicU32, Ordering};

use core_api::domain::{card::CardStatus, role::Role};
use serde_json::{Value, json};

use super::{Actor, Reply};

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Actor {
    /// Creates a customer and returns its id.
    pub async fn given_customer(&self) -> String {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let body = json!({"name": "Juan Perez", "email": format!("juan.{number}@email.com")});
        text(&self.post("/customers", body).await.ok()["customerId"])
    }

    /// Creates a USD card and returns its id.
    pub async fn given_card(&self) -> String {
        text(&self.post("/cards", json!({"currency": "USD"})).await.ok()["cardId"])
    }

    /// Creates a card in this status and returns its id.
    pub async fn given_card_in(&self, status: CardStatus) -> String {
        let card = self.given_card().await;
        let steps: &[&str] = match status {
            CardStatus::Inactive => &[],
            CardStatus::Active => &["active"],
            CardStatus::Blocked => &["active", "blocked"],
            CardStatus::Cancelled => &["cancelled"],
        };
        for step in steps {
            self.set_status(&card, step).await.ok();
        }
        card
    }

    /// Creates an active card with this balance and returns its id.
    pub async fn given_card_with(&self, amount: Value) -> String {
        let card = self.given_card_in(CardStatus::Active).await;
        self.add(&card, amount).await.ok();
        card
    }

    /// Creates an API key with this role. Returns its id, and a client with the key.
    pub async fn given_api_key(&self, role: Role) -> (String, Self) {
        let issued = self.post("/api-keys", json!({"name": "A program", "role": role.name()})).await.ok();
        (text(&issued["apiKeyId"]), self.with_token(&text(&issued["key"])))
    }

    pub async fn add(&self, card: &str, amount: Value) -> Reply {
        self.post("/balances/add", json!({"cardId": card, "amount": amount})).await
    }

    pub async fn set_status(&self, card: &str, status: &str) -> Reply {
        self.patch("/cards/status", json!({"cardId": card, "status": status})).await
    }

    pub async fn assign(&self, card: &str, customer: &str) -> Reply {
        self.post("/cards/assign", json!({"cardId": card, "customerId": customer})).await
    }

    pub async fn purchase(&self, card: &str, amount: Value) -> Reply {
        self.post("/sandbox/purchases", json!({"cardId": card, "amount": amount, "description": "Online purchase - Amazon"})).await
    }

    pub async fn refund(&self, card: &str, amount: Value) -> Reply {
        self.post("/sandbox/refunds", json!({"cardId": card, "amount": amount, "description": "Refund - Amazon"})).await
    }

    /// A card's details.
    pub async fn card(&self, card: &str) -> Value {
        self.get(&format!("/cards/{card}")).await.ok()
    }

    /// A card's complete history, newest first.
    pub async fn movements(&self, card: &str) -> Vec<Value> {
        self.get(&format!("/cards/{card}/movements")).await.ok()["movements"].as_array().expect("a list").clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
