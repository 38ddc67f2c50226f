//! Balances: `POST /balances/add`, `GET /balances/{cardId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{NoQuery, PathId, Reader, Writer},
    json::{Fields, FromFields},
    openapi::{Operation, Tag},
};
use crate::domain::{
    currency::Currency,
    error::Refusal,
    id::{CardId, MovementId},
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
    word::Word,
};
use crate::service::ledger::{Posted, Posting};

pub(super) struct AddRequest {
    card_id: Option<CardId>,
    amount: Amount,
}

impl FromFields for AddRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card_id, amount) = (fields.id("cardId"), fields.amount("amount"));
        Some(Self { card_id: card_id?, amount: amount? })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Added {
    card_id: CardId,
    balance: Money,
    movement_id: MovementId,
}

impl Added {
    fn of(posted: &Posted) -> Self {
        Self { card_id: posted.balance.card, balance: posted.movement.balance_after, movement_id: posted.movement.id }
    }
}

/// `POST /balances/add`
pub(super) const ADD: Operation = Operation::new("addBalance", Tag::Balances, "Add Balance")
    .about("Add funds to a virtual card that is inactive or active. The balance is returned in the card's currency.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 100}"#)
    .response::<Added>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 100, "movementId": "mov_01h455vb4pex5vsknk084sn02q"}"#)
    .refusals(&[Code::CardNotFound, Code::CardBlocked, Code::CardCancelled, Code::BalanceLimitExceeded]);

/// `POST /balances/add`
pub(super) async fn add(State(app): State<App>, Writer(caller): Writer, command: Command<AddRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, Added::of);
    let AddRequest { card_id, amount } = command.body;
    let posting = Posting { card: card_id, kind: MovementKind::TopUp, amount, description: Description::of_a_top_up() };
    let outcome = app.services.ledger.post(&caller.actor(), posting, idempotent).await?;
    Ok(respond(outcome, Added::of))
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Balance {
    card_id: CardId,
    balance: Money,
    currency: Word<Currency>,
}

/// `GET /balances/{cardId}`
pub(super) const GET: Operation = Operation::new("getBalance", Tag::Balances, "Get Balance")
    .about("Retrieve a card's balance.")
    .response::<Balance>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 100, "currency": "USD"}"#)
    .refusals(&[Code::CardNotFound]);

/// `GET /balances/{cardId}`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<CardId>,
) -> Result<JsonBody<Balance>> {
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    let card = app.services.cards.get(caller.account, id).await?;
    Ok(JsonBody(Balance { card_id: card.id, balance: card.balance, currency: card.currency }))
}
