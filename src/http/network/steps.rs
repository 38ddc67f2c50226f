//! The steps of an authorisation that the network tells: increments, adjustments, reversals and captures.

use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{
    App,
    authorization_body::{AuthorizationBody, EntryBody, SteppedBody},
    balance_body::Balance,
    code::Code,
    command::{Keyed, respond},
    error::Result,
    extract::{Gateway, PathId},
    json::{Fields, FromFields},
    movement_body::MovementBody,
    openapi::{Operation, Tag},
};
use crate::domain::{
    id::AuthorizationId,
    money::{Amount, Money},
    text::{Description, Reason},
};
use crate::service::ledger::{StepRequest, Stepped};

pub(in super::super) struct IncrementRequest {
    amount: Amount,
}

impl FromFields for IncrementRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { amount: fields.amount("amount")? })
    }
}

/// `POST /network/authorizations/{authorizationId}/increments`
pub(in super::super) const INCREMENT: Operation = Operation::new("incrementAuthorization", Tag::Network, "Increment an Authorization")
    .about("Authorize and hold `amount` more. It is decided like an authorization. A decline is a 200 as well, with an `entry` of the kind `increment_declined`, and leaves the authorization as it was. An increment can move `expiresAt` to a later time.")
    .request(r#"{"amount": 50}"#)
    .response::<SteppedBody>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "pending", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 150, "heldAmount": 150, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:30:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 3}, "entry": {"id": "ent_01h455vb4pex5vsknk084sn02r", "ordinal": 2, "kind": "increment", "amount": 50, "heldAfter": 150, "movementId": null, "sequence": 3, "createdAt": "2025-02-10T12:30:00.000Z", "decline": null, "checks": null, "reason": null}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 150, "available": 350}}"#)
    .refusals(&[Code::AuthorizationNotFound, Code::BalanceLimitExceeded]);

/// `POST /network/authorizations/{authorizationId}/increments`
pub(in super::super) async fn increment(
    State(app): State<App>,
    Gateway(caller): Gateway,
    PathId(id): PathId<AuthorizationId>,
    Keyed(command): Keyed<IncrementRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, SteppedBody::of);
    let request = StepRequest::Increment(command.body.amount);
    let outcome = app.services.ledger.step(&caller.actor(), id.ok(), request, idempotent).await?;
    Ok(respond(outcome, SteppedBody::of))
}

pub(in super::super) struct AdjustRequest {
    amount: Money,
}

impl FromFields for AdjustRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { amount: fields.sum("amount")? })
    }
}

/// `POST /network/authorizations/{authorizationId}/adjustments`
pub(in super::super) const ADJUST: Operation = Operation::new("adjustAuthorization", Tag::Network, "Adjust an Authorization")
    .about("Hold `amount` from now on, as a network advises, for example when a pump knows what was filled. It is never declined, and can take what is available below zero.")
    .request(r#"{"amount": 70}"#)
    .response::<SteppedBody>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "pending", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 70, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 30, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 3}, "entry": {"id": "ent_01h455vb4pex5vsknk084sn02r", "ordinal": 2, "kind": "adjustment", "amount": -30, "heldAfter": 70, "movementId": null, "sequence": 3, "createdAt": "2025-02-10T12:30:00.000Z", "decline": null, "checks": null, "reason": null}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 70, "available": 430}}"#)
    .refusals(&[Code::AuthorizationNotFound, Code::AuthorizationNotOpen, Code::BalanceLimitExceeded]);

/// `POST /network/authorizations/{authorizationId}/adjustments`
pub(in super::super) async fn adjust(
    State(app): State<App>,
    Gateway(caller): Gateway,
    PathId(id): PathId<AuthorizationId>,
    Keyed(command): Keyed<AdjustRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, SteppedBody::of);
    let request = StepRequest::Adjust(command.body.amount);
    let outcome = app.services.ledger.step(&caller.actor(), id.ok(), request, idempotent).await?;
    Ok(respond(outcome, SteppedBody::of))
}

pub(in super::super) struct ReverseRequest {
    amount: Option<Amount>,
    reason: Option<Reason>,
}

impl FromFields for ReverseRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { amount: fields.optional("amount", Fields::amount), reason: fields.optional("reason", Fields::text) })
    }
}

/// `POST /network/authorizations/{authorizationId}/reversals`
pub(in super::super) const REVERSE: Operation = Operation::new("reverseAuthorization", Tag::Network, "Reverse an Authorization")
    .about("Give back `amount` of the hold, or all of it. At most what is held is given back: the `amount` of the `entry` says how much that was. It is 0 if the authorization was reversed or has expired before.")
    .request(r#"{"reason": "The customer changed their mind"}"#)
    .response::<SteppedBody>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "reversed", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 0, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 100, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 3}, "entry": {"id": "ent_01h455vb4pex5vsknk084sn02r", "ordinal": 2, "kind": "reversal", "amount": 100, "heldAfter": 0, "movementId": null, "sequence": 3, "createdAt": "2025-02-10T12:30:00.000Z", "decline": null, "checks": null, "reason": "The customer changed their mind"}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 0, "available": 500}}"#)
    .refusals(&[Code::AuthorizationNotFound, Code::AuthorizationNotOpen]);

/// `POST /network/authorizations/{authorizationId}/reversals`
pub(in super::super) async fn reverse(
    State(app): State<App>,
    Gateway(caller): Gateway,
    PathId(id): PathId<AuthorizationId>,
    Keyed(command): Keyed<ReverseRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, SteppedBody::of);
    let ReverseRequest { amount, reason } = command.body;
    let request = StepRequest::Reverse { amount, reason: reason.map(|reason| reason.as_str().to_owned()) };
    let outcome = app.services.ledger.step(&caller.actor(), id.ok(), request, idempotent).await?;
    Ok(respond(outcome, SteppedBody::of))
}

pub(in super::super) struct CaptureRequest {
    amount: Option<Amount>,
    is_final: bool,
    description: Option<Description>,
}

impl FromFields for CaptureRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let amount = fields.optional("amount", Fields::amount);
        let is_final = fields.optional("final", Fields::bool).unwrap_or(true);
        let description = fields.optional("description", Fields::text);
        Some(Self { amount, is_final, description })
    }
}

/// A capture of an authorisation.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CapturedAuthorization")]
pub(in super::super) struct CapturedBody {
    authorization: AuthorizationBody,
    /// The step.
    entry: Option<EntryBody>,
    /// What it posted.
    movement: Option<MovementBody>,
    balance: Balance,
}

impl CapturedBody {
    fn of(stepped: &Stepped) -> Self {
        Self {
            authorization: (&stepped.authorization).into(),
            entry: stepped.entries.last().map(EntryBody::from),
            movement: stepped.movement.as_ref().map(MovementBody::from),
            balance: (&stepped.balance).into(),
        }
    }
}

/// `POST /network/authorizations/{authorizationId}/captures`
pub(in super::super) const CAPTURE: Operation = Operation::new("captureAuthorization", Tag::Network, "Capture an Authorization")
    .about("Charge the card, for what the merchant has delivered: `amount`, or all that is held. What a `final` capture leaves of the hold is released; set `final` to false if more captures follow. A capture is never declined, whatever the card's status and balance: it can be for more than is held, and come after the hold has ended, and then needs its `amount`.")
    .request(r#"{"amount": 60, "final": true, "description": "Books"}"#)
    .response::<CapturedBody>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "captured", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 0, "capturedAmount": 60, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 40, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 3}, "entry": {"id": "ent_01h455vb4pex5vsknk084sn02r", "ordinal": 2, "kind": "capture", "amount": 60, "heldAfter": 0, "movementId": "mov_01h455vb4pex5vsknk084sn02q", "sequence": 3, "createdAt": "2025-02-10T12:30:00.000Z", "decline": null, "checks": null, "reason": null}, "movement": {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": -60, "description": "Books", "date": "2025-02-10T12:30:00.000Z", "type": "capture", "balanceAfter": 440, "authorizationId": "auth_01h455vb4pex5vsknk084sn02q", "transferId": null, "relatedMovementId": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 440, "held": 0, "available": 440}}"#)
    .refusals(&[Code::AuthorizationNotFound, Code::AuthorizationNotOpen, Code::BalanceLimitExceeded]);

/// `POST /network/authorizations/{authorizationId}/captures`
pub(in super::super) async fn capture(
    State(app): State<App>,
    Gateway(caller): Gateway,
    PathId(id): PathId<AuthorizationId>,
    Keyed(command): Keyed<CaptureRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, CapturedBody::of);
    let CaptureRequest { amount, is_final, description } = command.body;
    let request = StepRequest::Capture { amount, is_final, description };
    let outcome = app.services.ledger.step(&caller.actor(), id.ok(), request, idempotent).await?;
    Ok(respond(outcome, CapturedBody::of))
}
