//! Simulated merchants, only in the sandbox: `POST /sandbox/purchases` and `POST /sandbox/refunds`.

use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::Writer,
    json::{Fields, FromFields},
    movement_body::MovementBody,
    openapi::{Operation, Tag},
};
use crate::domain::{
    id::CardId,
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
};
use crate::service::{
    auth::Caller,
    ledger::{Posted, Posting},
};

pub(super) struct MerchantRequest {
    card_id: Option<CardId>,
    amount: Amount,
    description: Description,
}

impl FromFields for MerchantRequest {
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
}

/// `POST /sandbox/purchases`
pub(super) const PURCHASE: Operation = Operation::new("purchase", Tag::Sandbox, "Make a Purchase")
    .about("Pay with a card, as a merchant would charge it. The card must be active and have sufficient funds.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 20, "description": "Online purchase - Amazon"}"#)
    .response::<PostedBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 80, "movement": {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": -20, "description": "Online purchase - Amazon", "date": "2025-02-10T12:00:00.000Z", "type": "purchase", "balanceAfter": 80}}"#,
    )
    .refusals(&[Code::CardNotFound, Code::CardNotActive, Code::InsufficientFunds]);

/// `POST /sandbox/purchases`
pub(super) async fn purchase(State(app): State<App>, Writer(caller): Writer, command: Command<MerchantRequest>) -> Result<Response> {
    post(&app, &caller, MovementKind::Purchase, command).await
}

/// `POST /sandbox/refunds`
pub(super) const REFUND: Operation = Operation::new("refund", Tag::Sandbox, "Make a Refund")
    .about("Refund money to a card that is not cancelled, as a merchant would.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 20, "description": "Refund - Amazon"}"#)
    .response::<PostedBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 100, "movement": {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": 20, "description": "Refund - Amazon", "date": "2025-02-10T12:00:00.000Z", "type": "refund", "balanceAfter": 100}}"#,
    )
    .refusals(&[Code::CardNotFound, Code::CardCancelled, Code::BalanceLimitExceeded]);

/// `POST /sandbox/refunds`
pub(super) async fn refund(State(app): State<App>, Writer(caller): Writer, command: Command<MerchantRequest>) -> Result<Response> {
    post(&app, &caller, MovementKind::Refund, command).await
}

async fn post(app: &App, caller: &Caller, kind: MovementKind, command: Command<MerchantRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, PostedBody::of);
    let MerchantRequest { card_id, amount, description } = command.body;
    let posting = Posting { card: card_id, kind, amount, description };
    let outcome = app.services.ledger.post(&caller.actor(), posting, idempotent).await?;
    Ok(respond(outcome, PostedBody::of))
}
