//! Simulated merchants and clocks, only in the sandbox: `POST /sandbox/purchases`, `POST /sandbox/refunds` and
//! `POST /sandbox/authorizations/{authorizationId}/expire`.

use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    authorization_body::SteppedBody,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{PathId, Writer},
    json::{Fields, FromFields},
    movement_body::MovementBody,
    openapi::{Operation, Tag},
    original::linked_original,
};
use crate::domain::{
    id::{AuthorizationId, CardId},
    merchant::Merchant,
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
};
use crate::service::ledger::{Linked, NetworkRefund, Original, Posted, Posting, StepRequest};

pub(super) struct PurchaseRequest {
    card_id: Option<CardId>,
    amount: Amount,
    description: Description,
}

impl FromFields for PurchaseRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card_id, amount, description) = (fields.id("cardId"), fields.amount("amount"), fields.text("description"));
        Some(Self { card_id: card_id?, amount: amount?, description: description? })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Posting")]
pub(super) struct PostedBody {
    card_id: CardId,
    balance: Money,
    movement: MovementBody,
}

impl PostedBody {
    fn of(posted: &Posted) -> Self {
        Self { card_id: posted.balance.card, balance: posted.movement.balance_after, movement: (&posted.movement).into() }
    }

    fn of_linked(linked: &Linked) -> Self {
        Self { card_id: linked.balance.card, balance: linked.movement.balance_after, movement: (&linked.movement).into() }
    }
}

/// `POST /sandbox/purchases`
pub(super) const PURCHASE: Operation = Operation::new("purchase", Tag::Sandbox, "Make a Purchase")
    .about("Pay with a card, as a merchant would charge it. The card must be active and have enough available, which is its balance less what is held. Its controls and limits apply as they do to payments of the network: what they forbid is a 409 with the code of the decline, the `decline` and its `checks`.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 20, "description": "Online purchase - Amazon"}"#)
    .response::<PostedBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 80, "movement": {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": -20, "description": "Online purchase - Amazon", "date": "2025-02-10T12:00:00.000Z", "type": "purchase", "balanceAfter": 80, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null}}"#,
    )
    .refusals(&[
        Code::CardNotFound,
        Code::CardNotActive,
        Code::PaymentCountReached,
        Code::MerchantLocked,
        Code::MerchantBlocked,
        Code::MerchantNotAllowed,
        Code::MerchantCategoryBlocked,
        Code::MerchantCategoryNotAllowed,
        Code::MerchantCountryBlocked,
        Code::MerchantCountryNotAllowed,
        Code::EntryModeNotAllowed,
        Code::LimitTransactionExceeded,
        Code::LimitAmountExceeded,
        Code::LimitCountExceeded,
        Code::InsufficientFunds,
    ]);

/// `POST /sandbox/purchases`
pub(super) async fn purchase(State(app): State<App>, Writer(caller): Writer, command: Command<PurchaseRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, PostedBody::of);
    let PurchaseRequest { card_id, amount, description } = command.body;
    let posting = Posting { card: card_id, kind: MovementKind::Purchase, amount, description };
    let outcome = app.services.ledger.post(&caller.actor(), posting, idempotent).await?;
    Ok(respond(outcome, PostedBody::of))
}

pub(super) struct RefundRequest {
    card_id: Option<CardId>,
    amount: Amount,
    description: Description,
    original: Original,
}

impl FromFields for RefundRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card_id, amount, description) = (fields.id("cardId"), fields.amount("amount"), fields.text("description"));
        fields.at_most_one_of(&["authorizationId", "movementId"]);
        let original = linked_original(fields);
        Some(Self { card_id: card_id?, amount: amount?, description: description?, original })
    }
}

/// `POST /sandbox/refunds`
pub(super) const REFUND: Operation = Operation::new("refund", Tag::Sandbox, "Make a Refund")
    .about("Refund money to a card, as a merchant would. With `authorizationId` or `movementId` the refund returns at most what that has charged, less what was given back before, also to a cancelled card. Without them the card must not be cancelled.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 20, "description": "Refund - Amazon"}"#)
    .response::<PostedBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 100, "movement": {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": 20, "description": "Refund - Amazon", "date": "2025-02-10T12:00:00.000Z", "type": "refund", "balanceAfter": 100, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null}}"#,
    )
    .refusals(&[
        Code::CardNotFound,
        Code::AuthorizationNotFound,
        Code::MovementNotFound,
        Code::CardCancelled,
        Code::RefundExceedsCapture,
        Code::BalanceLimitExceeded,
    ]);

/// `POST /sandbox/refunds`
pub(super) async fn refund(State(app): State<App>, Writer(caller): Writer, command: Command<RefundRequest>) -> Result<Response> {
    if let Original::None = command.body.original {
        let idempotent = command.idempotent(caller.account, PostedBody::of);
        let RefundRequest { card_id, amount, description, .. } = command.body;
        let posting = Posting { card: card_id, kind: MovementKind::Refund, amount, description };
        let outcome = app.services.ledger.post(&caller.actor(), posting, idempotent).await?;
        return Ok(respond(outcome, PostedBody::of));
    }
    let idempotent = command.idempotent(caller.account, PostedBody::of_linked);
    let RefundRequest { card_id, amount, description, original } = command.body;
    let refund = NetworkRefund { card: card_id, amount, description, merchant: Merchant::default(), original };
    let outcome = app.services.ledger.refund(&caller.actor(), refund, idempotent.as_ref()).await?;
    Ok(respond(outcome, PostedBody::of_linked))
}

/// A request without fields.
pub(super) struct ExpireRequest;

impl FromFields for ExpireRequest {
    fn from_fields(_: &mut Fields<'_>) -> Option<Self> {
        Some(Self)
    }
}

/// `POST /sandbox/authorizations/{authorizationId}/expire`
pub(super) const EXPIRE: Operation = Operation::new("expireAuthorization", Tag::Sandbox, "Expire an Authorization")
    .about("End a hold as if its `expiresAt` were over, without waiting for days.")
    .request("{}")
    .response::<SteppedBody>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "expired", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 0, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 100, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 3}, "entry": {"id": "ent_01h455vb4pex5vsknk084sn02r", "ordinal": 2, "kind": "expiry", "amount": 100, "heldAfter": 0, "movementId": null, "sequence": 3, "createdAt": "2025-02-10T12:30:00.000Z", "decline": null, "checks": null, "reason": null}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 0, "available": 500}}"#)
    .refusals(&[Code::AuthorizationNotFound, Code::AuthorizationNotOpen]);

/// `POST /sandbox/authorizations/{authorizationId}/expire`
pub(super) async fn expire(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<AuthorizationId>,
    command: Command<ExpireRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, SteppedBody::of);
    let outcome = app.services.ledger.step(&caller.actor(), id.ok(), StepRequest::Expire, idempotent).await?;
    Ok(respond(outcome, SteppedBody::of))
}
