//! The cells of what customers and cards carry, and of how cards came by their status.

use serde_json::{Value, json};

use super::{CARD, CUSTOMER, Cell, Ids, Who, cell, plain};

pub(super) fn cells(method: &str, path: &str) -> Vec<Cell> {
    use Who::{Operators, Viewers};
    let one = |who, names, request: fn(&Ids) -> (String, Option<Value>)| vec![cell(who, names, request)];
    match (method, path) {
        ("PATCH", "/customers/{customerId}") => {
            one(Operators, &[CUSTOMER], |ids| (format!("/customers/{}", ids.customer), Some(json!({"metadata": {"segment": "gold"}}))))
        }
        ("PATCH", "/cards/{cardId}") => one(Operators, &[CARD], |ids| (format!("/cards/{}", ids.card), Some(json!({"label": "Travel"})))),
        ("GET", "/cards/{cardId}/status-history") => one(Viewers, &[CARD], |ids| plain(&format!("/cards/{}/status-history", ids.card))),
        _ => Vec::new(),
    }
}
