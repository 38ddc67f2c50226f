//! The cells of controls and limits.

use serde_json::{Value, json};

use super::{CARD, CUSTOMER, Cell, Ids, Name, Who, cell, plain};
use crate::support::Actor;

const LIMIT: Name = (|ids| &mut ids.limit, "limit_not_found");

/// The id of a limit of a card. A card can have few, and none is left of an earlier call.
pub(super) async fn a_limit(admin: &Actor, card: &str) -> String {
    admin.given_limit(card, definition()).await
}

/// A limit that refuses nothing of what the grid pays.
fn definition() -> Value {
    json!({"interval": "month", "amount": 1_000_000})
}

pub(super) fn cells(method: &str, path: &str) -> Vec<Cell> {
    use Who::{Operators, Viewers};
    let one = |who, names, request: fn(&Ids) -> (String, Option<Value>)| vec![cell(who, names, request)];
    match (method, path) {
        ("GET", "/cards/{cardId}/controls") => one(Viewers, &[CARD], |ids| plain(&format!("/cards/{}/controls", ids.card))),
        ("PATCH", "/cards/{cardId}/controls") => {
            one(Operators, &[CARD], |ids| (format!("/cards/{}/controls", ids.card), Some(json!({"maxPayments": 1_000_000}))))
        }
        ("GET", "/cards/{cardId}/limits") => one(Viewers, &[CARD], |ids| plain(&format!("/cards/{}/limits", ids.card))),
        ("POST", "/cards/{cardId}/limits") => one(Operators, &[CARD], |ids| (format!("/cards/{}/limits", ids.card), Some(definition()))),
        ("GET", "/customers/{customerId}/limits") => one(Viewers, &[CUSTOMER], |ids| plain(&format!("/customers/{}/limits", ids.customer))),
        ("POST", "/customers/{customerId}/limits") => one(Operators, &[CUSTOMER], |ids| {
            (format!("/customers/{}/limits", ids.customer), Some(json!({"currency": "USD", "interval": "month", "amount": 1_000_000})))
        }),
        ("PATCH", "/limits/{limitId}") => {
            one(Operators, &[LIMIT], |ids| (format!("/limits/{}", ids.limit), Some(json!({"amount": 900_000}))))
        }
        ("DELETE", "/limits/{limitId}") => one(Operators, &[LIMIT], |ids| plain(&format!("/limits/{}", ids.limit))),
        ("POST", "/cards/{cardId}/authorizations/preview") => {
            one(Viewers, &[CARD], |ids| (format!("/cards/{}/authorizations/preview", ids.card), Some(json!({"amount": 1}))))
        }
        _ => Vec::new(),
    }
}
