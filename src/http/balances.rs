//! Balances: `POST /balances/add`, `GET /balances/{cardId}`.

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;

use super::{
    App,
    error::Result,
    extract::{PathId, Reader, Writer},
    json::{Fields, FromFields, Json},
};
use crate::service::{
    cards::Currency,
    error::Error as ServiceError,
    id::{CardId, MovementId, NotAnId},
    ledger::MovementKind,
    money::{Amount, Money},
    text::Description,
};

pub(super) struct AddRequest {
    card_id: std::result::Result<CardId, NotAnId>,
    amount: Amount,
}

impl FromFields for AddRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card_id, amount) = (fields.id("cardId"), fields.amount("amount"));
        Some(Self { card_id: card_id?, amount: amount? })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Added {
    card_id: CardId,
    balance: Money,
    movement_id: MovementId,
}

/// `POST /balances/add`
pub(super) async fn add(State(app): State<App>, Writer(caller): Writer, Json(request): Json<AddRequest>) -> Result<JsonBody<Added>> {
    let card_id = request.card_id.map_err(|_| ServiceError::CardNotFound)?;
    let description = Description::of_a_top_up();
    let movement = app.services.ledger.post(caller.account, card_id, MovementKind::TopUp, request.amount, &description).await?;
    Ok(JsonBody(Added { card_id, balance: movement.balance_after, movement_id: movement.id }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Balance {
    card_id: CardId,
    balance: Money,
    currency: Currency,
}

/// `GET /balances/{cardId}`
pub(super) async fn get(State(app): State<App>, Reader(caller): Reader, PathId(id): PathId<CardId>) -> Result<JsonBody<Balance>> {
    let id = id.map_err(|_| ServiceError::CardNotFound)?;
    let card = app.services.cards.get(caller.account, id).await?;
    Ok(JsonBody(Balance { card_id: card.id, balance: card.balance, currency: card.currency }))
}
