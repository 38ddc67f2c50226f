//! The cells of the endpoints under `/network`.

use serde_json::{Value, json};

use super::{AUTHORIZATION, CAPTURE, CARD, Cell, Ids, REFUND, Who, cell, merchant};

/// The cells of an endpoint that a gateway calls.
pub(super) fn cells(path: &str) -> Vec<Cell> {
    let gateways = |names, request| vec![cell(Who::Gateways, names, request)];
    match path {
        "/network/authorizations" => gateways(&[CARD], |ids| payment("/network/authorizations", ids)),
        "/network/purchases" => gateways(&[CARD], |ids| payment("/network/purchases", ids)),
        "/network/authorizations/{authorizationId}/increments" => gateways(&[AUTHORIZATION], |ids| step(ids, "increments")),
        "/network/authorizations/{authorizationId}/adjustments" => gateways(&[AUTHORIZATION], |ids| step(ids, "adjustments")),
        "/network/authorizations/{authorizationId}/reversals" => gateways(&[AUTHORIZATION], |ids| step(ids, "reversals")),
        "/network/authorizations/{authorizationId}/captures" => gateways(&[AUTHORIZATION], |ids| step(ids, "captures")),
        "/network/captures" => gateways(&[CARD], |ids| merchant("/network/captures", ids)),
        "/network/captures/{movementId}/reversals" => {
            gateways(&[CAPTURE], |ids| (format!("/network/captures/{}/reversals", ids.capture), Some(json!({}))))
        }
        "/network/refunds" => {
            let mut cells = gateways(&[CARD], |ids| merchant("/network/refunds", ids));
            cells.extend(gateways(&[AUTHORIZATION], |ids| refund(ids, "authorizationId", &ids.authorization)));
            cells.extend(gateways(&[CAPTURE], |ids| refund(ids, "movementId", &ids.capture)));
            cells
        }
        "/network/refunds/{movementId}/reversals" => {
            gateways(&[REFUND], |ids| (format!("/network/refunds/{}/reversals", ids.refund), Some(json!({}))))
        }
        path => panic!("{path} has no cell in the access grid"),
    }
}

fn payment(path: &str, ids: &Ids) -> (String, Option<Value>) {
    (path.to_owned(), Some(json!({"cardId": ids.card, "amount": 1})))
}

fn step(ids: &Ids, step: &str) -> (String, Option<Value>) {
    (format!("/network/authorizations/{}/{step}", ids.authorization), Some(json!({"amount": 1})))
}

/// A refund of what a field names.
fn refund(ids: &Ids, field: &str, id: &str) -> (String, Option<Value>) {
    let mut body = json!({"cardId": ids.card, "amount": 1, "description": "x"});
    body[field] = json!(id);
    ("/network/refunds".to_owned(), Some(body))
}
