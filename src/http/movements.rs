//! Movements: `GET /cards/{cardId}/movements`.

use axum::{extract::State, response::Response};

use super::{
    App,
    error::Result,
    extract::{PathId, Reader},
    movement_body::MovementBody,
    page::{Cursor, Page},
    query::Query,
};
use crate::service::{error::Error as ServiceError, id::CardId, ledger::Movement};

/// `GET /cards/{cardId}/movements`
pub(super) async fn list(State(app): State<App>, Reader(caller): Reader, PathId(id): PathId<CardId>, mut query: Query) -> Result<Response> {
    // The query is judged first whether or not the id is one, so that no id answers differently from another.
    let cursor = Cursor::read(&mut query);
    let card = id.as_ref().map(ToString::to_string).unwrap_or_default();
    let page = Page::read(&mut query, cursor.as_ref(), "movements", &format!("cardId={card}"));
    query.done()?;
    let id = id.map_err(|_| ServiceError::CardNotFound)?;
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
