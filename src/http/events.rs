//! The feed of an account: `GET /events`, `GET /events/{eventId}`, `GET /events/settings`, `PUT /events/settings`.

use std::{fmt, time::Duration};

use axum::{Extension, Json as JsonBody, extract::State};
use schemars::{JsonSchema, Schema, json_schema};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    App,
    code::Code,
    error::Result,
    event_body::FeedEventBody,
    extract::{Manager, NoQuery, PathId, Reader},
    faults::FaultCode,
    json::{Fields, FromFields, Json},
    middleware::shed::InFlightPlace,
    openapi::{Filter, Operation, Tag},
    page::{Cursor, MAX_LIMIT, Position, read_limit},
    query::Query,
};
use crate::domain::{
    error::Refusal,
    feed_event::{TypeFilter, patterns},
    id::{CardId, MessageId},
};
use crate::service::events::{FeedFilter, Place};

/// The longest `wait`, in seconds.
const MAX_WAIT_SECONDS: u64 = 20;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.ordinal)
    }
}

impl Position for Place {
    fn parse(text: &str) -> Option<Self> {
        let (position, ordinal) = text.split_once('.')?;
        let place = Self { position: position.parse().ok()?, ordinal: ordinal.parse().ok()? };
        (place.position >= 0 && place.ordinal >= 0).then_some(place)
    }
}

/// The filters of a list, as text that a cursor can carry.
struct Filters {
    types: Option<TypeFilter>,
    card: Option<String>,
}

impl Filters {
    fn read(query: &mut Query) -> Self {
        let types = query.text("types").and_then(|text| {
            let read = TypeFilter::new(text.split(',').map(str::trim));
            if read.is_err() {
                query.fault(
                    "types",
                    FaultCode::UnknownValue,
                    "must be types or kinds, separated by commas, such as card.*,movement.created",
                );
            }
            read.ok()
        });
        Self { types, card: query.text("cardId") }
    }

    /// The canonical query string of the filters; [`Self::read`] parses it.
    fn canonical(&self) -> String {
        let named = [("types", self.types.as_ref().map(ToString::to_string)), ("cardId", self.card.clone())];
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        text.finish()
    }
}

/// Some types, or kinds of types.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Types(#[schemars(schema_with = "types_schema")] ());

fn types_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "examples": ["card.*,authorization.declined"], "description": patterns().join(", ")})
}

/// How long to wait for an event, in seconds.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Wait(#[schemars(schema_with = "wait_schema")] ());

fn wait_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0})
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventPage")]
pub(super) struct EventPageBody {
    events: Vec<FeedEventBody>,
    /// Where to go on, also if there are no more events now. A page can be empty although more events follow, if few pass the
    /// filter.
    next_cursor: String,
}

/// `GET /events`
pub(super) const LIST: Operation = Operation::new("listEvents", Tag::Events, "List Events")
    .about("Retrieve what happened in your account, oldest first. An event is there once what it tells of is committed, and never before. The order never changes: whoever goes on with `nextCursor` gets every event once, also after days. `wait` keeps the request open until there is an event. Turn the feed on first, with `PUT /events/settings`; creating a webhook endpoint does so, too. Events are kept for 90 days, unless the deployment is set up otherwise.")
    .filters(&[
        Filter::new::<Types>("types", "Only events of these types: names, kinds such as `card.*`, or `*`, separated by commas."),
        Filter::new::<CardId>("cardId", "Only events of this card."),
        Filter::new::<Wait>("wait", "How many seconds to wait if there is no event yet."),
    ])
    .paged()
    .response::<EventPageBody>(r#"{"events": [{"id": "msg_01h455vb4pex5vsknk084sn02q", "type": "movement.created", "timestamp": "2025-02-10T10:00:00.000Z", "cardId": "card_01h455vb4pex5vsknk084sn02q", "sequence": 2, "data": {"movement": {"id": "mov_01h455vb4pex5vsknk084sn02r", "amount": 100, "description": "Balance top-up", "date": "2025-02-10T10:00:00.000Z", "type": "top_up", "balanceAfter": 100, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "balance": 100, "currency": "USD", "held": 0, "available": 100}}}], "nextCursor": "MS4xIGV2ZW50cz8"}"#)
    .refusals(&[Code::CardNotFound]);

/// `GET /events`
pub(super) async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Extension(place): Extension<InFlightPlace>,
    mut query: Query,
) -> Result<JsonBody<EventPageBody>> {
    let cursor = Cursor::read(&mut query);
    let mut filters = Filters::read(&mut query);
    if filters.canonical().is_empty()
        && let Some(carried) = cursor.as_ref().and_then(|cursor| cursor.filters("events"))
    {
        filters = Filters::read(&mut Query::parse(carried));
    }
    let scope = format!("events?{}", filters.canonical());
    let limit = read_limit(&mut query).unwrap_or(MAX_LIMIT);
    let wait = query.number("wait", 0..=MAX_WAIT_SECONDS).unwrap_or(0);
    let mut after = Cursor::position(cursor.as_ref(), &scope, &mut query).unwrap_or_default();
    query.done()?;
    let card = match &filters.card {
        Some(text) => {
            let id = text.parse().map_err(|_| Refusal::CardNotFound)?;
            Some(app.services.cards.get(caller.account, id).await?.id)
        }
        None => None,
    };
    let filter = FeedFilter { types: filters.types.unwrap_or_else(TypeFilter::all), card };
    let until = Instant::now() + Duration::from_secs(wait);
    let mut is_last = wait == 0;
    loop {
        let page = app.services.events.page(caller.account, &filter, after, limit).await?;
        if !page.events.is_empty() || page.has_more || is_last {
            let events = page.events.iter().map(FeedEventBody::from).collect();
            return Ok(JsonBody(EventPageBody { events, next_cursor: Cursor::encode(&scope, page.end) }));
        }
        after = page.end;
        place.leave();
        is_last = !app.services.events.wait(caller.account, &page, until).await;
        place.enter(&app).await;
    }
}

/// `GET /events/{eventId}`
pub(super) const GET: Operation = Operation::new("getEvent", Tag::Events, "Get Event")
    .about("Retrieve one event. Its data is as it was when it happened.")
    .response::<FeedEventBody>(r#"{"id": "msg_01h455vb4pex5vsknk084sn02q", "type": "card.blocked", "timestamp": "2025-02-10T10:00:00.000Z", "cardId": "card_01h455vb4pex5vsknk084sn02q", "sequence": 5, "data": {"card": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "blocked"}, "previousStatus": "active"}}"#)
    .refusals(&[Code::EventNotFound]);

/// `GET /events/{eventId}`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<MessageId>,
) -> Result<JsonBody<FeedEventBody>> {
    let id = id.map_err(|_| Refusal::EventNotFound)?;
    Ok(JsonBody((&app.services.events.get(caller.account, id).await?).into()))
}

/// Whether the feed is on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventSettings")]
pub(super) struct SettingsBody {
    enabled: bool,
}

pub(super) struct SettingsRequest {
    enabled: bool,
}

impl FromFields for SettingsRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { enabled: fields.bool("enabled")? })
    }
}

/// `GET /events/settings`
pub(super) const GET_SETTINGS: Operation = Operation::new("getEventSettings", Tag::Events, "Get Event Settings")
    .about("Retrieve whether the feed of your account is on.")
    .response::<SettingsBody>(r#"{"enabled": true}"#);

/// `GET /events/settings`
pub(super) async fn get_settings(State(app): State<App>, Reader(caller): Reader, _: NoQuery) -> Result<JsonBody<SettingsBody>> {
    Ok(JsonBody(SettingsBody { enabled: app.services.events.is_enabled(caller.account).await? }))
}

/// `PUT /events/settings`
pub(super) const CHANGE_SETTINGS: Operation = Operation::new("changeEventSettings", Tag::Events, "Change Event Settings")
    .about("Turn the feed of your account on or off. What happens while it is off has no events, and gets none later. What is in the feed stays.")
    .request(r#"{"enabled": true}"#)
    .response::<SettingsBody>(r#"{"enabled": true}"#);

/// `PUT /events/settings`
pub(super) async fn change_settings(
    State(app): State<App>,
    Manager(caller): Manager,
    Json(request): Json<SettingsRequest>,
) -> Result<JsonBody<SettingsBody>> {
    let enabled = app.services.events.set_enabled(&caller.actor(), request.enabled).await?;
    Ok(JsonBody(SettingsBody { enabled }))
}
