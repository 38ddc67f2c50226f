//! What the network posts without a hold: captures that none preceded, refunds, and the reversals of both.

use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{
    App,
    authorization_body::AuthorizationBody,
    balance_body::Balance,
    code::Code,
    command::{Keyed, respond},
    error::Result,
    extract::{Gateway, PathId},
    json::{Fields, FromFields},
    movement_body::MovementBody,
    openapi::{Operation, Tag},
    original::linked_original,
};
use super::payment::merchant;
use crate::domain::{id::MovementId, merchant::NetworkTransactionId, money::Amount};
use crate::service::{
    auth::Caller,
    ledger::{ForcePost, Linked, NetworkRefund, Original, ReversalKind},
};

/// What the network has posted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NetworkPosting")]
pub(in super::super) struct LinkedBody {
    movement: MovementBody,
    /// The authorization that the movement belongs to.
    authorization: Option<AuthorizationBody>,
    balance: Balance,
}

impl LinkedBody {
    fn of(linked: &Linked) -> Self {
        Self {
            movement: (&linked.movement).into(),
            authorization: linked.authorization.as_ref().map(AuthorizationBody::from),
            balance: (&linked.balance).into(),
        }
    }
}

pub(in super::super) struct ForcePostRequest(ForcePost);

impl FromFields for ForcePostRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card, amount, description) = (fields.id("cardId"), fields.amount("amount"), fields.text("description"));
        let merchant = merchant(fields);
        let network_transaction_id = fields.optional("networkTransactionId", Fields::text);
        Some(Self(ForcePost { card: card?, amount: amount?, description: description?, merchant, network_transaction_id }))
    }
}

/// `POST /network/captures`
pub(in super::super) const CAPTURE: Operation = Operation::new("postCapture", Tag::Network, "Post a Capture")
    .about("Charge a card for what was never authorized, as networks do (a force post). It is never declined, whatever the card's status and balance. If `networkTransactionId` is that of an authorization of this card that was approved, it is the final capture of that one.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 30, "description": "On board the plane", "merchant": {"name": "AIRLINE", "mcc": "4511", "country": "CO"}}"#)
    .response::<LinkedBody>(r#"{"movement": {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": -30, "description": "On board the plane", "date": "2025-02-10T12:30:00.000Z", "type": "capture", "balanceAfter": 470, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": {"id": null, "name": "AIRLINE", "mcc": "4511", "city": null, "country": "CO"}}, "authorization": null, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 470, "held": 0, "available": 470}}"#)
    .refusals(&[Code::CardNotFound, Code::BalanceLimitExceeded]);

/// `POST /network/captures`
pub(in super::super) async fn capture(
    State(app): State<App>,
    Gateway(caller): Gateway,
    Keyed(command): Keyed<ForcePostRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, LinkedBody::of);
    let ForcePostRequest(request) = command.body;
    let outcome = app.services.ledger.force_post(&caller.actor(), request, idempotent.as_ref()).await?;
    Ok(respond(outcome, LinkedBody::of))
}

pub(in super::super) struct RefundRequest(NetworkRefund);

impl FromFields for RefundRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card, amount, description) = (fields.id("cardId"), fields.amount("amount"), fields.text("description"));
        let merchant = merchant(fields);
        let original = original(fields);
        Some(Self(NetworkRefund { card: card?, amount: amount?, description: description?, merchant, original }))
    }
}

/// What a refund names: at most one thing.
fn original(fields: &mut Fields<'_>) -> Original {
    fields.at_most_one_of(&["authorizationId", "movementId", "networkTransactionId"]);
    let network: Option<NetworkTransactionId> = fields.optional("networkTransactionId", Fields::text);
    match linked_original(fields) {
        Original::None => network.map_or(Original::None, Original::NetworkTransaction),
        linked => linked,
    }
}

/// `POST /network/refunds`
pub(in super::super) const REFUND: Operation = Operation::new("postRefund", Tag::Network, "Post a Refund")
    .about("Return money to a card of any status, for a merchant. At most one of `authorizationId`, `movementId` and `networkTransactionId` names what is refunded. A refund that names an authorization or a movement returns at most what that has charged, less what was given back before. A `networkTransactionId` that no authorization of the card has is ignored. A refund that names nothing has no such bound.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 20, "description": "Returned book", "authorizationId": "auth_01h455vb4pex5vsknk084sn02q"}"#)
    .response::<LinkedBody>(r#"{"movement": {"id": "mov_01h455vb4pex5vsknk084sn02r", "amount": 20, "description": "Returned book", "date": "2025-02-10T12:30:00.000Z", "type": "refund", "balanceAfter": 460, "authorizationId": "auth_01h455vb4pex5vsknk084sn02q", "transferId": null, "relatedMovementId": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}}, "authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "captured", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 0, "capturedAmount": 60, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 40, "refundedAmount": 20, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 4}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 460, "held": 0, "available": 460}}"#)
    .refusals(&[
        Code::CardNotFound,
        Code::AuthorizationNotFound,
        Code::MovementNotFound,
        Code::RefundExceedsCapture,
        Code::BalanceLimitExceeded,
    ]);

/// `POST /network/refunds`
pub(in super::super) async fn refund(
    State(app): State<App>,
    Gateway(caller): Gateway,
    Keyed(command): Keyed<RefundRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, LinkedBody::of);
    let RefundRequest(request) = command.body;
    let outcome = app.services.ledger.refund(&caller.actor(), request, idempotent.as_ref()).await?;
    Ok(respond(outcome, LinkedBody::of))
}

pub(in super::super) struct ReverseRequest {
    amount: Option<Amount>,
}

impl FromFields for ReverseRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { amount: fields.optional("amount", Fields::amount) })
    }
}

const REVERSAL_REFUSALS: &[Code] = &[Code::MovementNotFound, Code::ReversalExceedsOriginal, Code::BalanceLimitExceeded];

/// `POST /network/captures/{movementId}/reversals`
pub(in super::super) const REVERSE_CAPTURE: Operation = Operation::new("reverseCapture", Tag::Network, "Reverse a Capture")
    .about("Give back `amount` of a capture or a purchase, or all that is left of it, to a card of any status. The hold that it captured does not come back.")
    .request("{}")
    .response::<LinkedBody>(r#"{"movement": {"id": "mov_01h455vb4pex5vsknk084sn02r", "amount": 60, "description": "AMAZON.COM", "date": "2025-02-10T12:30:00.000Z", "type": "capture_reversal", "balanceAfter": 500, "authorizationId": "auth_01h455vb4pex5vsknk084sn02q", "transferId": null, "relatedMovementId": "mov_01h455vb4pex5vsknk084sn02q", "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}}, "authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "captured", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 0, "capturedAmount": 60, "excessAmount": 0, "captureReversedAmount": 60, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 40, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 4}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 0, "available": 500}}"#)
    .refusals(REVERSAL_REFUSALS);

/// `POST /network/captures/{movementId}/reversals`
pub(in super::super) async fn reverse_capture(
    State(app): State<App>,
    Gateway(caller): Gateway,
    PathId(id): PathId<MovementId>,
    Keyed(command): Keyed<ReverseRequest>,
) -> Result<Response> {
    reverse(&app, &caller, id.ok(), ReversalKind::Capture, Keyed(command)).await
}

/// `POST /network/refunds/{movementId}/reversals`
pub(in super::super) const REVERSE_REFUND: Operation = Operation::new("reverseRefund", Tag::Network, "Reverse a Refund")
    .about("Take back `amount` of a refund, or all that is left of it, from a card of any status. It is never declined, and can take the card's balance below zero.")
    .request("{}")
    .response::<LinkedBody>(r#"{"movement": {"id": "mov_01h455vb4pex5vsknk084sn02s", "amount": -20, "description": "Returned book", "date": "2025-02-10T12:30:00.000Z", "type": "refund_reversal", "balanceAfter": 440, "authorizationId": "auth_01h455vb4pex5vsknk084sn02q", "transferId": null, "relatedMovementId": "mov_01h455vb4pex5vsknk084sn02r", "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}}, "authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "captured", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 0, "capturedAmount": 60, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 40, "refundedAmount": 20, "refundReversedAmount": 20, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 5}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 440, "held": 0, "available": 440}}"#)
    .refusals(REVERSAL_REFUSALS);

/// `POST /network/refunds/{movementId}/reversals`
pub(in super::super) async fn reverse_refund(
    State(app): State<App>,
    Gateway(caller): Gateway,
    PathId(id): PathId<MovementId>,
    Keyed(command): Keyed<ReverseRequest>,
) -> Result<Response> {
    reverse(&app, &caller, id.ok(), ReversalKind::Refund, Keyed(command)).await
}

async fn reverse(
    app: &App,
    caller: &Caller,
    movement: Option<MovementId>,
    kind: ReversalKind,
    Keyed(command): Keyed<ReverseRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, LinkedBody::of);
    let outcome = app.services.ledger.reverse(&caller.actor(), movement, kind, command.body.amount, idempotent.as_ref()).await?;
    Ok(respond(outcome, LinkedBody::of))
}
