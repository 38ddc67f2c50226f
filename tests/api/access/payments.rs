//! The cells of payments, and a payment of every kind.

use serde_json::{Value, json};

use super::{
    CARD, CUSTOMER, Cell, Ids, Name,
    Who::{AuthorizationReaders, Gateways, Operators, Viewers},
    cell, plain,
};
use crate::support::{Actor, payments::fresh_key};

const AUTHORIZATION: Name = (|ids| &mut ids.payments.authorization, "authorization_not_found");
const OTHER_CARD: Name = (|ids| &mut ids.payments.other_card, "card_not_found");
const TRANSFER: Name = (|ids| &mut ids.payments.transfer, "transfer_not_found");
const CHARGE: Name = (|ids| &mut ids.payments.charge, "movement_not_found");
const REFUND: Name = (|ids| &mut ids.payments.refund, "movement_not_found");

/// The ids of the payments of one card.
#[derive(Clone, Debug)]
pub(super) struct Payments {
    pub(super) authorization: String,
    /// A movement that can be reversed and refunded.
    charge: String,
    /// A movement that is a refund.
    refund: String,
    /// A card that money was transferred to, and the transfer.
    other_card: String,
    transfer: String,
}

/// Pays with a card in every way.
pub(super) async fn of_each_kind(admin: &Actor, card: &str) -> Payments {
    let pay = async |path: &str| {
        let body = json!({"cardId": card, "amount": 1, "description": "x"});
        admin.keyed(&fresh_key(), reqwest::Method::POST, path, &body).await.ok()
    };
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let other_card = admin.given_card().await;
    let transfer = admin.post("/transfers", json!({"fromCardId": card, "toCardId": other_card, "amount": 1})).await.ok();
    Payments {
        other_card,
        transfer: text(&transfer["transferId"]),
        authorization: text(&pay("/network/authorizations").await["authorization"]["id"]),
        charge: text(&pay("/network/purchases").await["movement"]["id"]),
        refund: text(&pay("/network/refunds").await["movement"]["id"]),
    }
}

fn step(ids: &Ids, step: &str, body: Value) -> (String, Option<Value>) {
    (format!("/network/authorizations/{}/{step}", ids.payments.authorization), Some(body))
}

fn refund(path: &str, ids: &Ids, field: &str, original: &str) -> (String, Option<Value>) {
    let mut body = json!({"cardId": ids.card, "amount": 1, "description": "x"});
    body[field] = original.into();
    (path.to_owned(), Some(body))
}

/// The cells of an endpoint; none if it has nothing to do with payments.
pub(super) fn cells(method: &str, path: &str) -> Vec<Cell> {
    match (method, path) {
        ("POST", "/balances/withdraw") => {
            vec![cell(Operators, &[CARD], |ids| ("/balances/withdraw".into(), Some(json!({"cardId": ids.card, "amount": 1}))))]
        }
        ("POST", "/transfers") => vec![cell(Operators, &[CARD, OTHER_CARD], |ids| {
            ("/transfers".into(), Some(json!({"fromCardId": ids.card, "toCardId": ids.payments.other_card, "amount": 1})))
        })],
        ("GET", "/transfers/{transferId}") => {
            vec![cell(Viewers, &[TRANSFER], |ids| plain(&format!("/transfers/{}", ids.payments.transfer)))]
        }
        ("GET", "/authorizations") => vec![
            cell(AuthorizationReaders, &[], |_| plain("/authorizations")),
            cell(AuthorizationReaders, &[CARD], |ids| plain(&format!("/authorizations?cardId={}", ids.card))),
            cell(AuthorizationReaders, &[CUSTOMER], |ids| plain(&format!("/authorizations?customerId={}", ids.customer))),
        ],
        ("GET", "/authorizations/{authorizationId}") => {
            vec![cell(AuthorizationReaders, &[AUTHORIZATION], |ids| plain(&format!("/authorizations/{}", ids.payments.authorization)))]
        }
        ("POST", "/authorizations/{authorizationId}/release") => vec![cell(Operators, &[AUTHORIZATION], |ids| {
            (format!("/authorizations/{}/release", ids.payments.authorization), Some(json!({"reason": "x"})))
        })],
        ("POST", "/sandbox/authorizations/{authorizationId}/expire") => vec![cell(Operators, &[AUTHORIZATION], |ids| {
            (format!("/sandbox/authorizations/{}/expire", ids.payments.authorization), Some(json!({})))
        })],
        ("POST", "/network/authorizations") => {
            vec![cell(Gateways, &[CARD], |ids| ("/network/authorizations".into(), Some(json!({"cardId": ids.card, "amount": 1}))))]
        }
        ("POST", "/network/purchases") => {
            vec![cell(Gateways, &[CARD], |ids| ("/network/purchases".into(), Some(json!({"cardId": ids.card, "amount": 1}))))]
        }
        ("POST", "/network/authorizations/{authorizationId}/increments") => {
            vec![cell(Gateways, &[AUTHORIZATION], |ids| step(ids, "increments", json!({"amount": 1})))]
        }
        ("POST", "/network/authorizations/{authorizationId}/adjustments") => {
            vec![cell(Gateways, &[AUTHORIZATION], |ids| step(ids, "adjustments", json!({"amount": 1})))]
        }
        ("POST", "/network/authorizations/{authorizationId}/reversals") => {
            vec![cell(Gateways, &[AUTHORIZATION], |ids| step(ids, "reversals", json!({})))]
        }
        ("POST", "/network/authorizations/{authorizationId}/captures") => {
            vec![cell(Gateways, &[AUTHORIZATION], |ids| step(ids, "captures", json!({"amount": 1})))]
        }
        ("POST", "/network/captures") => vec![cell(Gateways, &[CARD], |ids| {
            ("/network/captures".into(), Some(json!({"cardId": ids.card, "amount": 1, "description": "x"})))
        })],
        ("POST", "/network/captures/{movementId}/reversals") => vec![cell(Gateways, &[CHARGE], |ids| {
            (format!("/network/captures/{}/reversals", ids.payments.charge), Some(json!({"amount": 0.01})))
        })],
        ("POST", "/network/refunds") => vec![
            cell(Gateways, &[CARD, AUTHORIZATION], |ids| refund("/network/refunds", ids, "authorizationId", &ids.payments.authorization)),
            cell(Gateways, &[CARD, CHARGE], |ids| refund("/network/refunds", ids, "movementId", &ids.payments.charge)),
        ],
        ("POST", "/network/refunds/{movementId}/reversals") => vec![cell(Gateways, &[REFUND], |ids| {
            (format!("/network/refunds/{}/reversals", ids.payments.refund), Some(json!({"amount": 0.01})))
        })],
        ("POST", "/sandbox/refunds") => vec![
            cell(Operators, &[CARD], |ids| ("/sandbox/refunds".into(), Some(json!({"cardId": ids.card, "amount": 1, "description": "x"})))),
            cell(Operators, &[CARD, AUTHORIZATION], |ids| refund("/sandbox/refunds", ids, "authorizationId", &ids.payments.authorization)),
            cell(Operators, &[CARD, CHARGE], |ids| refund("/sandbox/refunds", ids, "movementId", &ids.payments.charge)),
        ],
        _ => Vec::new(),
    }
}
