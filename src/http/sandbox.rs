//! What only the sandbox has: `POST /sandbox/purchases` and `POST /sandbox/refunds`, in place of merchants.

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;

use super::{
    App,
    error::Result,
    extract::Writer,
    json::{Fields, FromFields, Json},
    movement_body::MovementBody,
};
use crate::service::{
    auth::Caller,
    error::Error as ServiceError,
    id::{CardId, NotAnId},
    ledger::MovementKind,
    money::{Amount, Money},
    text::Description,
};

pub(super) struct MerchantRequest {
    card_id: std::result::Result<CardId, NotAnId>,
    amount: Amount,
    description: Description,
}

impl FromFields for MerchantRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card_id, amount, description) = (fields.id("cardId"), fields.amount("amount"), fields.text("description"));
        Some(Self { card_id: card_id?, amount: amount?, description: description? })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted {
    card_id: CardId,
    balance: Money,
    movement: MovementBody,
}

/// `POST /sandbox/purchases`
pub(super) async fn purchase(
    State(app): State<App>,
    Writer(caller): Writer,
    Json(request): Json<MerchantRequest>,
) -> Result<JsonBody<Posted>> {
    post(&app, &caller, MovementKind::Purchase, request).await
}

/// `POST /sandbox/refunds`
pub(super) async fn refund(
    State(app): State<App>,
    Writer(caller): Writer,
    Json(request): Json<MerchantRequest>,
) -> Result<JsonBody<Posted>> {
    post(&app, &caller, MovementKind::Refund, request).await
}

async fn post(app: &App, caller: &Caller, kind: MovementKind, request: MerchantRequest) -> Result<JsonBody<Posted>> {
    let card_id = request.card_id.map_err(|_| ServiceError::CardNotFound)?;
    let movement = app.services.ledger.post(caller.account, card_id, kind, request.amount, &request.description).await?;
    Ok(JsonBody(Posted { card_id, balance: movement.balance_after, movement: (&movement).into() }))
}
