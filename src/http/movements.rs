//! Movements: `GET /cards/{cardId}/movements`.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    App,
    error::Result,
    extract::{PathId, Reader},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::service::{
    error::Error as ServiceError,
    id::{CardId, MovementId},
    ledger::{Movement, MovementKind},
    money::Money,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MovementBody {
    id: MovementId,
    amount: Money,
    description: String,
    date: Timestamp,
    r#type: MovementKind,
    balance_after: Money,
}

impl From<&Movement> for MovementBody {
    fn from(movement: &Movement) -> Self {
        Self {
            id: movement.id,
            amount: movement.amount,
            description: movement.description.clone(),
            date: Timestamp(movement.created_at),
            r#type: movement.kind,
            balance_after: movement.balance_after,
        }
    }
}

/// `GET /cards/{cardId}/movements`
pub(super) async fn list(State(app): State<App>, Reader(caller): Reader, PathId(id): PathId<CardId>, mut query: Query) -> Result<Response> {
    let id = id.map_err(|_| ServiceError::CardNotFound)?;
    let cursor = Cursor::read(&mut query);
    let page = Page::read(&mut query, cursor.as_ref(), "movements", &format!("cardId={id}"));
    query.done()?;
    let card = app.services.cards.get(caller.account, id).await?.id;
    let ledger = app.services.ledger;
    page.answer(
        "movements",
        move |before, limit| {
            let ledger = ledger.clone();
            async move { ledger.page(caller.account, card, before, limit).await }
        },
        |movement: &Movement| (movement.seq, MovementBody::from(movement)),
    )
    .await
}
