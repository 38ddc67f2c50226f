//! Balances: `POST /balances/add`, `POST /balances/withdraw`, `GET /balances/{cardId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    balance_body::Balance,
    code::Code,
    command::{Command, respond},
    error::{Error, Result},
    extract::{PathId, Reader, Writer},
    faults,
    json::{Fields, FromFields},
    openapi::{Filter, Operation, Tag},
    query::Query,
    time::Moment,
};
use crate::domain::{
    error::Refusal,
    id::{CardId, MovementId},
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
};
use crate::service::{
    error::Error as ServiceError,
    ledger::{CardBalance, Posted, Posting},
};

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
    /// What can be spent: the balance less what is held.
    available: Money,
    movement_id: MovementId,
}

impl Added {
    fn of(posted: &Posted) -> Self {
        let CardBalance { card, balance, available, .. } = posted.balance;
        Self { card_id: card, balance, available, movement_id: posted.movement.id }
    }
}

/// `POST /balances/add`
pub(super) const ADD: Operation = Operation::new("addBalance", Tag::Balances, "Add Balance")
    .about("Add funds to a virtual card that is inactive or active. The balance is returned in the card's currency.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 100}"#)
    .response::<Added>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 100, "available": 100, "movementId": "mov_01h455vb4pex5vsknk084sn02q"}"#)
    .refusals(&[Code::CardNotFound, Code::CardBlocked, Code::CardCancelled, Code::BalanceLimitExceeded]);

/// `POST /balances/add`
pub(super) async fn add(State(app): State<App>, Writer(caller): Writer, command: Command<AddRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, Added::of);
    let AddRequest { card_id, amount } = command.body;
    let posting = Posting { card: card_id, kind: MovementKind::TopUp, amount, description: Description::of_a_top_up() };
    let outcome = app.services.ledger.post(&caller.actor(), posting, idempotent).await?;
    Ok(respond(outcome, Added::of))
}

pub(super) struct WithdrawRequest {
    card_id: Option<CardId>,
    amount: Amount,
    description: Option<Description>,
}

impl FromFields for WithdrawRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card_id, amount) = (fields.id("cardId"), fields.amount("amount"));
        let description = fields.optional("description", Fields::text);
        Some(Self { card_id: card_id?, amount: amount?, description })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Withdrawn {
    card_id: CardId,
    balance: Money,
    /// What can be spent: the balance less what is held.
    available: Money,
    movement_id: MovementId,
}

impl Withdrawn {
    fn of(posted: &Posted) -> Self {
        let CardBalance { card, balance, available, .. } = posted.balance;
        Self { card_id: card, balance, available, movement_id: posted.movement.id }
    }
}

/// `POST /balances/withdraw`
pub(super) const WITHDRAW: Operation = Operation::new("withdrawBalance", Tag::Balances, "Withdraw Balance")
    .about(
        "Take funds from a card of any status: a cancelled card is emptied like this. What is held for authorizations cannot be withdrawn.",
    )
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 40, "description": "Back to the company account"}"#)
    .response::<Withdrawn>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 60, "available": 60, "movementId": "mov_01h455vb4pex5vsknk084sn02q"}"#,
    )
    .refusals(&[Code::CardNotFound, Code::InsufficientFunds]);

/// `POST /balances/withdraw`
pub(super) async fn withdraw(State(app): State<App>, Writer(caller): Writer, command: Command<WithdrawRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, Withdrawn::of);
    let WithdrawRequest { card_id, amount, description } = command.body;
    let description = description.unwrap_or_else(Description::of_a_withdrawal);
    let posting = Posting { card: card_id, kind: MovementKind::Withdrawal, amount, description };
    let outcome = app.services.ledger.post(&caller.actor(), posting, idempotent).await?;
    Ok(respond(outcome, Withdrawn::of))
}

/// `GET /balances/{cardId}`
pub(super) const GET: Operation = Operation::new("getBalance", Tag::Balances, "Get Balance")
    .about("Retrieve a card's money: its balance, what is held of it for authorizations, and what is available. A hold that is due to expire is no longer part of `held`. With `at` it is the money that the card had at a moment in the past.")
    .filters(&[Filter::new::<Moment>(
        "at",
        "A moment that is not in the future: a date in UTC, or RFC 3339, to the millisecond. The response then has the money of that moment, and is a 404 if the card was created later.",
    )])
    .response::<Balance>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 100, "currency": "USD", "held": 20, "available": 80}"#)
    .refusals(&[Code::CardNotFound]);

/// `GET /balances/{cardId}`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    PathId(id): PathId<CardId>,
    mut query: Query,
) -> Result<JsonBody<Balance>> {
    let at = query.moment("at");
    query.done()?;
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    if let Some(at) = at {
        return match app.services.ledger.balance_at(caller.account, id, at).await {
            Err(ServiceError::InFuture) => Err(Error::Validation(vec![faults::future("at")])),
            outcome => Ok(JsonBody((&outcome?).into())),
        };
    }
    let card = app.services.cards.get(caller.account, id).await?;
    Ok(JsonBody((&card).into()))
}
