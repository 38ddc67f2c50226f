//! Movements: `GET /cards/{cardId}/movements`.

use axum::{extract::State, response::Response};

use super::{
    App,
    code::Code,
    error::Result,
    extract::{PathId, Reader},
    movement_body::MovementBody,
    openapi::{Operation, Tag},
    page::{Cursor, Page},
    query::Query,
};
use crate::service::{error::Error as ServiceError, id::CardId, ledger::Movement};

/// `GET /cards/{cardId}/movements`
pub(super) const LIST: Operation = Operation::new("listMovements", Tag::Transactions, "List Movements")
    .about("Retrieve transaction history for a specific card, newest first, in the order in which the balance changed.")
    .list::<MovementBody>(
        "movements",
        r#"{"movements": [
            {"id": "mov_01h455vb4pex5vsknk084sn02s", "amount": -20, "description": "Online purchase - Amazon", "date": "2025-02-10T12:00:00.000Z", "type": "purchase", "balanceAfter": 114.50},
            {"id": "mov_01h455vb4pex5vsknk084sn02r", "amount": 100, "description": "Balance top-up", "date": "2025-02-10T10:00:00.000Z", "type": "top_up", "balanceAfter": 134.50},
            {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": -15.50, "description": "Subscription - Netflix", "date": "2025-02-09T18:30:00.000Z", "type": "purchase", "balanceAfter": 34.50}
        ]}"#,
    )
    .refusals(&[Code::CardNotFound]);

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
