//! Cards: `POST /cards`, `GET /cards`, `GET /cards/{cardId}`, `POST /cards/assign`, `PATCH /cards/status`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    App,
    authorization_body::stored,
    card_body::CardBody,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{NoQuery, PathId, Reader, Writer},
    json::{Fields, FromFields},
    openapi::{Filter, Operation, Tag, payment_schema::MetadataSchema},
    page::{Cursor, Page},
    query::Query,
};
use crate::domain::{
    card::{CardStatus, ReplacementReason, TargetStatus},
    card_details::NewCard,
    currency::Currency,
    error::Refusal,
    id::{CardId, CustomerId},
    text::{ExternalId, Reason},
    word::Word,
};
use crate::service::cards::{Assigned, Card, CardFilter, StatusSet};

impl FromFields for NewCard {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let currency = fields.word("currency", &Currency::ALL.map(Currency::code));
        let label = fields.optional("label", Fields::text);
        let metadata = fields.optional("metadata", Fields::metadata);
        let external_id = fields.optional("externalId", Fields::text);
        Some(Self { currency: currency?, label, metadata, external_id })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedCard {
    card_id: CardId,
    status: Word<CardStatus>,
    currency: Word<Currency>,
    label: Option<String>,
    /// Your own name for the card.
    external_id: Option<String>,
    #[schemars(with = "MetadataSchema")]
    metadata: Option<Box<RawValue>>,
}

impl CreatedCard {
    fn of(card: &Card) -> Self {
        Self {
            card_id: card.id,
            status: card.status.clone(),
            currency: card.currency.clone(),
            label: card.label.clone(),
            external_id: card.external_id.clone(),
            metadata: stored(card.metadata.as_deref().unwrap_or("{}")),
        }
    }
}

/// `POST /cards`
pub(super) const CREATE: Operation = Operation::new("createCard", Tag::VirtualCards, "Create Virtual Card")
    .about("Create a new virtual card with specified currency. New cards are `inactive`: they can be funded, and must be activated before they can pay. `label`, `metadata` and `externalId` are yours: the service keeps and shows them.")
    .request(r#"{"currency": "USD"}"#)
    .response::<CreatedCard>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "inactive", "currency": "USD", "label": null, "externalId": null, "metadata": {}}"#)
    .refusals(&[Code::DuplicateExternalId]);

/// `POST /cards`
pub(super) async fn create(State(app): State<App>, Writer(caller): Writer, command: Command<NewCard>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, CreatedCard::of);
    let outcome = app.services.cards.create(&caller.actor(), command.body, idempotent.as_ref()).await?;
    Ok(respond(outcome, CreatedCard::of))
}

/// `GET /cards/{cardId}`
pub(super) const GET: Operation = Operation::new("getCard", Tag::VirtualCards, "Get Card Details")
    .about("Retrieve one card. `customerId` is null until the card is assigned.")
    .response::<CardBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "active", "currency": "USD", "balance": 100, "held": 20, "available": 80, "customerId": "cus_01h455vb4pex5vsknk084sn02q", "createdAt": "2025-02-10T10:00:00.000Z", "label": "Travel", "externalId": null, "metadata": {"costCenter": "42"}, "replaces": null, "replacedBy": null}"#,
    )
    .refusals(&[Code::CardNotFound]);

/// `GET /cards/{cardId}`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<CardId>,
) -> Result<JsonBody<CardBody>> {
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    let card = app.services.cards.get(caller.account, id).await?;
    Ok(JsonBody((&card).into()))
}

/// The filters of a list, as text that a cursor can carry.
#[derive(Default)]
struct Filters {
    customer_id: Option<String>,
    status: Option<CardStatus>,
    currency: Option<Currency>,
    external_id: Option<ExternalId>,
}

impl Filters {
    fn read(query: &mut Query) -> Self {
        Self {
            customer_id: query.text("customerId"),
            status: query.word("status", &CardStatus::ALL.map(CardStatus::name)),
            currency: query.word("currency", &Currency::ALL.map(Currency::code)),
            external_id: query.checked("externalId"),
        }
    }

    /// The canonical query string of the filters; [`Self::read`] parses it.
    fn canonical(&self) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let named = [
            ("customerId", self.customer_id.as_deref()),
            ("status", self.status.map(CardStatus::name)),
            ("currency", self.currency.map(Currency::code)),
            ("externalId", self.external_id.as_ref().map(ExternalId::as_str)),
        ];
        text.extend_pairs(named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        text.finish()
    }
}

/// `GET /cards`
pub(super) const LIST: Operation = Operation::new("listCards", Tag::VirtualCards, "List Cards")
    .about("Retrieve the cards in your account, oldest first: all of them, or those of a customer, with a status, in a currency or with an external id.")
    .filters(&[
        Filter::new::<CustomerId>("customerId", "Only cards of this customer."),
        Filter::new::<CardStatus>("status", "Only cards with this status."),
        Filter::new::<Currency>("currency", "Only cards in this currency."),
        Filter::new::<ExternalId>("externalId", "Only the card with this external id."),
    ])
    .list::<CardBody>(
        "cards",
        r#"{"cards": [{"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "inactive", "currency": "USD", "balance": 0, "held": 0, "available": 0, "customerId": null, "createdAt": "2025-02-10T10:00:00.000Z", "label": null, "externalId": null, "metadata": {}, "replaces": null, "replacedBy": null}], "nextCursor": null}"#,
    )
    .refusals(&[Code::CustomerNotFound]);

/// `GET /cards`
pub(super) async fn list(State(app): State<App>, Reader(caller): Reader, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let mut filters = Filters::read(&mut query);
    if filters.canonical().is_empty()
        && let Some(carried) = cursor.as_ref().and_then(|cursor| cursor.filters("cards"))
    {
        filters = Filters::read(&mut Query::parse(carried));
    }
    let page = Page::read(&mut query, cursor.as_ref(), "cards", &filters.canonical());
    query.done()?;
    let customer_id = match filters.customer_id {
        Some(text) => {
            let id = text.parse().map_err(|_| Refusal::CustomerNotFound)?;
            Some(app.services.customers.get(caller.account, id).await?.id)
        }
        None => None,
    };
    let filter = CardFilter { customer_id, status: filters.status, currency: filters.currency, external_id: filters.external_id };
    let cards = app.services.cards.clone();
    page.respond(
        "cards",
        move |after, limit| {
            let (cards, filter) = (cards.clone(), filter.clone());
            async move { cards.page(caller.account, &filter, after.unwrap_or(0), limit).await }
        },
        |card: &Card| (card.number, CardBody::from(card)),
    )
    .await
}

pub(super) struct AssignRequest {
    card_id: Option<CardId>,
    customer_id: Option<CustomerId>,
}

impl FromFields for AssignRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (card_id, customer_id) = (fields.id("cardId"), fields.id("customerId"));
        Some(Self { card_id: card_id?, customer_id: customer_id? })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssignedCard {
    success: bool,
    card_id: CardId,
    customer_id: CustomerId,
}

impl AssignedCard {
    fn of(assigned: &Assigned) -> Self {
        Self { success: true, card_id: assigned.id, customer_id: assigned.customer }
    }
}

/// `POST /cards/assign`
pub(super) const ASSIGN: Operation = Operation::new("assignCard", Tag::VirtualCards, "Assign Card to Customer")
    .about("Link a virtual card to a customer profile. Assigning it again to the same customer changes nothing.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q"}"#)
    .response::<AssignedCard>(
        r#"{"success": true, "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q"}"#,
    )
    .refusals(&[Code::CustomerErased, Code::CardNotFound, Code::CustomerNotFound, Code::CardAlreadyAssigned, Code::CardCancelled]);

/// `POST /cards/assign`
pub(super) async fn assign(State(app): State<App>, Writer(caller): Writer, command: Command<AssignRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, AssignedCard::of);
    let AssignRequest { card_id, customer_id } = command.body;
    let outcome = app.services.cards.assign(&caller.actor(), card_id, customer_id, idempotent.as_ref()).await?;
    Ok(respond(outcome, AssignedCard::of))
}

pub(super) struct StatusRequest {
    card_id: Option<CardId>,
    status: TargetStatus,
    reason: Option<Reason>,
}

impl FromFields for StatusRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let card_id = fields.id("cardId");
        let status = fields.word("status", &TargetStatus::ALL.map(|target| target.status().name()));
        let reason = fields.optional("reason", Fields::text);
        Some(Self { card_id: card_id?, status: status?, reason })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ChangedCard")]
pub(super) struct StatusBody {
    card_id: CardId,
    status: CardStatus,
}

impl StatusBody {
    fn of(set: &StatusSet) -> Self {
        Self { card_id: set.id, status: set.status }
    }
}

/// `PATCH /cards/status`
pub(super) const CHANGE_STATUS: Operation = Operation::new("changeCardStatus", Tag::VirtualCards, "Change Card Status")
    .about("Activate, block, or cancel a virtual card. Inactive and blocked cards can be activated, active ones blocked, all of them cancelled. Cancelled is permanent. Requesting the current status changes nothing. The card's status history keeps the `reason`.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "active"}"#)
    .response::<StatusBody>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "active"}"#)
    .refusals(&[Code::CardNotFound, Code::InvalidStatusTransition]);

/// `PATCH /cards/status`
pub(super) async fn change_status(State(app): State<App>, Writer(caller): Writer, command: Command<StatusRequest>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, StatusBody::of);
    let StatusRequest { card_id, status, reason } = command.body;
    let outcome = app.services.cards.change_status(&caller.actor(), card_id, (status, reason.as_ref()), idempotent.as_ref()).await?;
    Ok(respond(outcome, StatusBody::of))
}

pub(super) struct Replacement {
    reason: ReplacementReason,
}

impl FromFields for Replacement {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { reason: fields.word("reason", &ReplacementReason::ALL.map(ReplacementReason::name))? })
    }
}

/// `POST /cards/{cardId}/replace`
pub(super) const REPLACE: Operation = Operation::new("replaceCard", Tag::VirtualCards, "Replace Card")
    .about(
        "Replace a card that is not cancelled by a new one. The new card has the customer, the currency, the controls and the limits of the old \
         one, and what is available on it. Payments with the old card count on in the limits. The old card is cancelled, and keeps what is held: \
         what comes back there later can be transferred. The new card is active if the old one was, and else inactive.",
    )
    .request(r#"{"reason": "lost"}"#)
    .response::<CardBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02r", "status": "active", "currency": "USD", "balance": 80, "held": 0, "available": 80, "customerId": "cus_01h455vb4pex5vsknk084sn02q", "createdAt": "2025-02-10T10:00:00.000Z", "label": "Travel", "externalId": null, "metadata": {}, "replaces": "card_01h455vb4pex5vsknk084sn02q", "replacedBy": null}"#,
    )
    .refusals(&[Code::CardNotFound, Code::CardCancelled]);

/// `POST /cards/{cardId}/replace`
pub(super) async fn replace(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<CardId>,
    command: Command<Replacement>,
) -> Result<Response> {
    let body = |card: &Card| CardBody::from(card);
    let idempotent = command.idempotent(caller.account, body);
    let outcome = app.services.replacements.replace(&caller.actor(), id.ok(), command.body.reason, idempotent.as_ref()).await?;
    Ok(respond(outcome, body))
}
