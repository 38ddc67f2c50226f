//! Movements: `GET /cards/{cardId}/movements`.

use axum::{extract::State, response::Response};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    App,
    code::Code,
    error::Result,
    extract::{PathId, Reader},
    movement_body::MovementBody,
    openapi::{Filter, Operation, Tag},
    page::{Cursor, Page},
    query::Query,
    time::Moment,
};
use crate::domain::{error::Refusal, id::CardId, posting::MovementKind};
use crate::service::ledger::{Movement, MovementFilter};

/// The filters of a list, as text that a cursor can carry.
struct Filters(MovementFilter);

impl Filters {
    fn read(query: &mut Query) -> Self {
        let kind = query.word("type", &MovementKind::ALL.map(MovementKind::name));
        Self(MovementFilter { kind, from: query.moment("from"), to: query.moment("to") })
    }

    /// The canonical query string of the filters; [`Self::read`] parses it.
    fn canonical(&self) -> String {
        let Self(MovementFilter { kind, from, to }) = self;
        let moment = |moment: Option<DateTime<Utc>>| moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Nanos, true));
        let named = [("type", kind.map(|kind| kind.name().to_owned())), ("from", moment(*from)), ("to", moment(*to))];
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        text.finish()
    }
}

/// `GET /cards/{cardId}/movements`
pub(super) const LIST: Operation = Operation::new("listMovements", Tag::Transactions, "List Movements")
    .about("Retrieve transaction history for a specific card, newest first, in the order in which the balance changed: all of it, one type, or a range of time.")
    .filters(&[
        Filter::new::<MovementKind>("type", "Only movements of this type."),
        Filter::new::<Moment>("from", "Only movements at or after this time: a date in UTC, or RFC 3339."),
        Filter::new::<Moment>("to", "Only movements before this time: a date in UTC, or RFC 3339."),
    ])
    .list::<MovementBody>(
        "movements",
        r#"{"movements": [
            {"id": "mov_01h455vb4pex5vsknk084sn02s", "amount": -20, "description": "Online purchase - Amazon", "date": "2025-02-10T12:00:00.000Z", "type": "purchase", "balanceAfter": 114.50, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null},
            {"id": "mov_01h455vb4pex5vsknk084sn02r", "amount": 100, "description": "Balance top-up", "date": "2025-02-10T10:00:00.000Z", "type": "top_up", "balanceAfter": 134.50, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null},
            {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": -15.50, "description": "Subscription - Netflix", "date": "2025-02-09T18:30:00.000Z", "type": "purchase", "balanceAfter": 34.50, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null}
        ]}"#,
    )
    .refusals(&[Code::CardNotFound]);

/// `GET /cards/{cardId}/movements`
pub(super) async fn list(State(app): State<App>, Reader(caller): Reader, PathId(id): PathId<CardId>, mut query: Query) -> Result<Response> {
    // The query is validated before the id, so that faults in it are reported the same for every id.
    let cursor = Cursor::read(&mut query);
    let card = id.as_ref().map(ToString::to_string).unwrap_or_default();
    let list = format!("movements/{card}");
    let mut filters = Filters::read(&mut query);
    if filters.canonical().is_empty()
        && let Some(carried) = cursor.as_ref().and_then(|cursor| cursor.filters(&list))
    {
        filters = Filters::read(&mut Query::parse(carried));
    }
    let page = Page::read(&mut query, cursor.as_ref(), &list, &filters.canonical());
    query.done()?;
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    let card = app.services.cards.get(caller.account, id).await?.id;
    let ledger = app.services.ledger.clone();
    page.respond(
        "movements",
        move |before, limit| {
            let ledger = ledger.clone();
            async move { ledger.page(caller.account, card, filters.0, before, limit).await }
        },
        |movement: &Movement| (movement.seq, MovementBody::from(movement)),
    )
    .await
}
