//! Transfers: `POST /transfers`, `GET /transfers/{transferId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{NoQuery, PathId, Reader, Writer},
    faults::FaultCode,
    json::{Fields, FromFields},
    openapi::{Operation, Tag},
    time::Timestamp,
};
use crate::domain::{
    currency::Currency,
    error::Refusal,
    id::{CardId, TransferId},
    money::{Amount, Money},
    text::Description,
    word::Word,
};
use crate::service::ledger::{NewTransfer, Transferred};

pub(super) struct TransferRequest {
    from: Option<CardId>,
    to: Option<CardId>,
    amount: Amount,
    description: Option<Description>,
}

impl FromFields for TransferRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (from, to) = (fields.id("fromCardId"), fields.id("toCardId"));
        if from.flatten().is_some() && from == to {
            fields.fault("toCardId", FaultCode::Duplicate, "must be another card than fromCardId");
        }
        let (amount, description) = (fields.amount("amount"), fields.optional("description", Fields::text));
        Some(Self { from: from?, to: to?, amount: amount?, description })
    }
}

/// A transfer.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Transfer")]
pub(super) struct TransferBody {
    transfer_id: TransferId,
    from_card_id: CardId,
    to_card_id: CardId,
    amount: Money,
    currency: Word<Currency>,
    /// The balance that it left on the card that the money was taken from.
    from_balance: Money,
    /// The balance that it left on the card that the money was given to.
    to_balance: Money,
    created_at: Timestamp,
}

impl TransferBody {
    fn of(transfer: &Transferred) -> Self {
        let Transferred { id, from, to, amount, currency, from_balance, to_balance, created_at } = transfer.clone();
        Self {
            transfer_id: id,
            from_card_id: from,
            to_card_id: to,
            amount,
            currency,
            from_balance,
            to_balance,
            created_at: Timestamp(created_at),
        }
    }
}

const EXAMPLE: &str = r#"{"transferId": "trf_01h455vb4pex5vsknk084sn02q", "fromCardId": "card_01h455vb4pex5vsknk084sn02q", "toCardId": "card_01h455vb4pex5vsknk084sn02r", "amount": 25, "currency": "USD", "fromBalance": 75, "toBalance": 25, "createdAt": "2025-02-10T10:00:00.000Z"}"#;

/// `POST /transfers`
pub(super) const CREATE: Operation = Operation::new("createTransfer", Tag::Balances, "Transfer")
    .about(
        "Move money from one card to another of the same currency: two movements, or none. It may come from a card of any status but \
         blocked, so that a cancelled card can be emptied, and go to a card that can be funded. What is held for authorizations stays.",
    )
    .request(r#"{"fromCardId": "card_01h455vb4pex5vsknk084sn02q", "toCardId": "card_01h455vb4pex5vsknk084sn02r", "amount": 25, "description": "Team budget"}"#)
    .response::<TransferBody>(EXAMPLE)
    .refusals(&[
        Code::CardNotFound,
        Code::CardBlocked,
        Code::CardCancelled,
        Code::InsufficientFunds,
        Code::CurrencyMismatch,
        Code::BalanceLimitExceeded,
    ]);

/// `POST /transfers`
pub(super) async fn create(State(app): State<App>, Writer(caller): Writer, command: Command<TransferRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, TransferBody::of);
    let TransferRequest { from, to, amount, description } = command.body;
    let description = description.unwrap_or_else(Description::of_a_transfer);
    let transfer = NewTransfer { from, to, amount, description };
    let outcome = app.services.ledger.transfer(&caller.actor(), transfer, idempotent).await?;
    Ok(respond(outcome, TransferBody::of))
}

/// `GET /transfers/{transferId}`
pub(super) const GET: Operation = Operation::new("getTransfer", Tag::Balances, "Get Transfer")
    .about("Retrieve a transfer. The balances are those that it left.")
    .response::<TransferBody>(EXAMPLE)
    .refusals(&[Code::TransferNotFound]);

/// `GET /transfers/{transferId}`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<TransferId>,
) -> Result<JsonBody<TransferBody>> {
    let id = id.map_err(|_| Refusal::TransferNotFound)?;
    let transfer = app.services.ledger.find_transfer(caller.account, id).await?;
    Ok(JsonBody(TransferBody::of(&transfer)))
}
