//! Controls and limits, as the tests set and read them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Actor, Reply, payments::with};

impl Actor {
    /// The controls of a card.
    pub async fn controls(&self, card: &str) -> Value {
        self.get(&format!("/cards/{card}/controls")).await.ok()
    }

    pub async fn change_controls(&self, card: &str, patch: Value) -> Reply {
        self.patch(&format!("/cards/{card}/controls"), patch).await
    }

    /// Asks for a limit of a card.
    pub async fn limit_card(&self, card: &str, members: Value) -> Reply {
        self.post(&format!("/cards/{card}/limits"), members).await
    }

    /// Asks for a limit of a customer in USD, or in the currency of the members.
    pub async fn limit_customer(&self, customer: &str, members: Value) -> Reply {
        self.post(&format!("/customers/{customer}/limits"), with(json!({"currency": "USD"}), members)).await
    }

    /// Creates a limit of a card and returns its id.
    pub async fn given_limit(&self, card: &str, members: Value) -> String {
        limit_id(&self.limit_card(card, members).await.ok())
    }

    /// Creates a limit of a customer and returns its id.
    pub async fn given_customer_limit(&self, customer: &str, members: Value) -> String {
        limit_id(&self.limit_customer(customer, members).await.ok())
    }

    /// What a card's limits come to.
    pub async fn card_limits(&self, card: &str) -> Value {
        self.get(&format!("/cards/{card}/limits")).await.ok()
    }

    /// The limits of a customer.
    pub async fn customer_limits(&self, customer: &str) -> Vec<Value> {
        self.get(&format!("/customers/{customer}/limits")).await.ok()["limits"].as_array().expect("a list").clone()
    }

    pub async fn change_limit(&self, limit: &str, patch: Value) -> Reply {
        self.patch(&format!("/limits/{limit}"), patch).await
    }

    /// The audit events about these ids, oldest first: the type, and the states before and after.
    pub async fn logged_of(&self, ids: &[&str]) -> Vec<(String, Value, Value)> {
        let events = self.get("/audit-events").await.ok();
        let events = events["auditEvents"].as_array().expect("a list").iter().rev();
        let of = events.filter(|event| event["subjectId"].as_str().is_some_and(|id| ids.contains(&id)));
        of.map(|event| (event["type"].as_str().expect("a type").to_owned(), event["before"].clone(), event["after"].clone())).collect()
    }
}

/// The id of a limit.
pub fn limit_id(limit: &Value) -> String {
    limit["limitId"].as_str().unwrap_or_else(|| panic!("no id in {limit}")).to_owned()
}

/// What was spent of a limit: the amount, and the number of payments.
pub fn used(limit: &Value) -> String {
    format!("{} in {}", limit["used"], limit["usedCount"])
}

/// A request that every card permits.
pub fn limit_with(members: Value) -> Value {
    with(json!({"interval": "month", "amount": 300}), members)
}

/// A limit as the audit log and the feed have it.
pub fn recorded(limit: &Value) -> Value {
    let list = |name: &str| if limit[name].is_null() { json!([]) } else { limit[name].clone() };
    let mut recorded = json!({"categories": list("categories"), "countries": list("countries"), "merchants": list("merchants")});
    let names = ["limitId", "scope", "cardId", "customerId", "currency", "interval", "timeZone", "weekStart", "amount", "count"];
    for name in names.into_iter().chain(["restoreOnRefund", "status"]) {
        recorded[name] = limit[name].clone();
    }
    recorded
}

/// A moment of an answer.
pub fn moment(text: &Value) -> DateTime<Utc> {
    text.as_str().expect("a moment").parse().expect("RFC 3339")
}
