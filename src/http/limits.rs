//! Limits: `GET` and `POST /cards/{cardId}/limits`, `GET` and `POST /customers/{customerId}/limits`, `PATCH` and
//! `DELETE /limits/{limitId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;
use strum::VariantArray as _;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{NoQuery, PathId, Reader, Writer},
    faults::{self, FaultCode},
    json::{Fields, FromFields},
    limit_body::{CardLimitsBody, CustomerLimitsBody, LimitBody},
    openapi::{Operation, Tag, payment_schema::names, schema},
};
use crate::domain::{
    currency::Currency,
    error::Refusal,
    id::{CardId, CustomerId, LimitId},
    spending::{
        controls::MAX_LISTED,
        limit::{LimitFilter, LimitPatch, LimitStatus, MAX_COUNT},
        window::{Calendar, Interval, TimeZone, WeekStart},
    },
};
use crate::service::spending::{LimitTarget, NewLimit};

/// The longest name of a time zone.
const MAX_ZONE: usize = 64;

const CARD_LIMIT: &str = r#"{"limitId": "lim_01h455vb4pex5vsknk084sn02q", "scope": "card", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": null, "name": "Travel", "currency": "USD", "interval": "month", "timeZone": "America/Bogota", "weekStart": "monday", "amount": 300, "count": null, "categories": ["4511", "7011"], "countries": null, "merchants": null, "restoreOnRefund": false, "status": "active", "windowStart": "2025-02-01T05:00:00.000Z", "windowEnd": "2025-03-01T05:00:00.000Z", "used": 287.50, "usedCount": 6, "remaining": 12.50, "remainingCount": null, "resetsAt": "2025-03-01T05:00:00.000Z", "createdAt": "2025-02-10T12:00:00.000Z", "updatedAt": "2025-02-10T12:00:00.000Z"}"#;
const CUSTOMER_LIMIT: &str = r#"{"limitId": "lim_01h455vb4pex5vsknk084sn02r", "scope": "customer", "cardId": null, "customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": null, "currency": "USD", "interval": "day", "timeZone": "UTC", "weekStart": "monday", "amount": 1000, "count": 20, "categories": null, "countries": null, "merchants": null, "restoreOnRefund": false, "status": "active", "windowStart": "2025-02-10T00:00:00.000Z", "windowEnd": "2025-02-11T00:00:00.000Z", "used": 90, "usedCount": 2, "remaining": 910, "remainingCount": 18, "resetsAt": "2025-02-11T00:00:00.000Z", "createdAt": "2025-02-10T12:00:00.000Z", "updatedAt": "2025-02-10T12:00:00.000Z"}"#;

/// `GET /cards/{cardId}/limits`
pub(super) const OF_CARD: Operation = Operation::new("listCardLimits", Tag::Spending, "List Card Limits")
    .about("Retrieve the limits that apply to a card, its own and those of its customer, with what is left of each now, and what the card can spend at once.")
    .response::<CardLimitsBody>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "available": 500, "spendableNow": 500, "limits": [{"limitId": "lim_01h455vb4pex5vsknk084sn02q", "scope": "card", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": null, "name": "Travel", "currency": "USD", "interval": "month", "timeZone": "America/Bogota", "weekStart": "monday", "amount": 300, "count": null, "categories": ["4511", "7011"], "countries": null, "merchants": null, "restoreOnRefund": false, "status": "active", "windowStart": "2025-02-01T05:00:00.000Z", "windowEnd": "2025-03-01T05:00:00.000Z", "used": 287.50, "usedCount": 6, "remaining": 12.50, "remainingCount": null, "resetsAt": "2025-03-01T05:00:00.000Z", "createdAt": "2025-02-10T12:00:00.000Z", "updatedAt": "2025-02-10T12:00:00.000Z"}]}"#)
    .refusals(&[Code::CardNotFound]);

/// `GET /cards/{cardId}/limits`
pub(super) async fn of_card(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<CardId>,
) -> Result<JsonBody<CardLimitsBody>> {
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    let card = app.services.cards.get(caller.account, id).await?;
    let limits = app.services.spending.card_limits(caller.account, id).await?;
    Ok(JsonBody(CardLimitsBody::of(&card, &limits)))
}

/// `GET /customers/{customerId}/limits`
pub(super) const OF_CUSTOMER: Operation = Operation::new("listCustomerLimits", Tag::Spending, "List Customer Limits")
    .about("Retrieve the limits on all cards of a customer, with what is left of each now.")
    .response::<CustomerLimitsBody>(r#"{"customerId": "cus_01h455vb4pex5vsknk084sn02q", "limits": []}"#)
    .refusals(&[Code::CustomerNotFound]);

/// `GET /customers/{customerId}/limits`
pub(super) async fn of_customer(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<CustomerId>,
) -> Result<JsonBody<CustomerLimitsBody>> {
    let id = id.map_err(|_| Refusal::CustomerNotFound)?;
    let limits = app.services.spending.customer_limits(caller.account, id).await?;
    Ok(JsonBody(CustomerLimitsBody::of(id, &limits)))
}

fn zone_schema(_: &mut SchemaGenerator) -> Schema {
    let mut schema = schema::trimmed(MAX_ZONE);
    schema.insert("description".to_owned(), "The time zone whose days the windows are made of: a name of the IANA database.".into());
    schema.insert("default".to_owned(), TimeZone::UTC.name().into());
    schema.insert("examples".to_owned(), json!(["America/Bogota"]));
    schema
}

fn count(fields: &mut Fields<'_>, field: &'static str) -> Option<u32> {
    let count = fields.whole(field, "The most payments in a window. 0 allows none.", 0..=u64::from(MAX_COUNT))?;
    u32::try_from(count).ok()
}

fn status(fields: &mut Fields<'_>, field: &'static str) -> Option<LimitStatus> {
    fields.word(field, &names(LimitStatus::VARIANTS))
}

/// A limit, but for its target.
struct Definition(NewLimit);

impl Definition {
    fn from_fields(fields: &mut Fields<'_>, target: LimitTarget) -> Option<Self> {
        let name = fields.optional("name", Fields::text);
        let interval: Option<Interval> = fields.word("interval", &names(Interval::VARIANTS));
        let read = |text: &str| text.parse::<TimeZone>().map_err(|_| faults::NO_TIME_ZONE.to_owned());
        let time_zone = fields.optional("timeZone", |fields, name| fields.trimmed_choice(name, MAX_ZONE, zone_schema, read));
        let week_start: Option<WeekStart> = fields.optional("weekStart", |fields, name| fields.word(name, &names(WeekStart::VARIANTS)));
        let [has_amount, has_count] = fields.at_least_one_of(["amount", "count"]);
        let amount = has_amount.then(|| fields.sum("amount")).flatten();
        let number = has_count.then(|| count(fields, "count")).flatten();
        if interval == Some(Interval::Transaction) && number.is_some() {
            fields.fault("count", FaultCode::Excluded, "must be left out with the interval transaction, which has an amount");
        }
        let filter = LimitFilter {
            categories: fields.optional("categories", |fields, name| fields.list(name, MAX_LISTED)).unwrap_or_default(),
            countries: fields.optional("countries", |fields, name| fields.list(name, MAX_LISTED)).unwrap_or_default(),
            merchants: fields.optional("merchants", |fields, name| fields.list(name, MAX_LISTED)).unwrap_or_default(),
        };
        let restore_on_refund = fields.optional("restoreOnRefund", Fields::bool).unwrap_or_default();
        let status = fields.optional("status", status).unwrap_or(LimitStatus::Active);
        let calendar =
            Calendar { interval: interval?, time_zone: time_zone.unwrap_or(TimeZone::UTC), week_start: week_start.unwrap_or_default() };
        Some(Self(NewLimit { target, name, calendar, amount, count: number, filter, restore_on_refund, status }))
    }
}

/// A limit of a card, whose currency is the card's.
pub(super) struct CardLimitRequest(NewLimit);

impl FromFields for CardLimitRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        fields.excluded(&["currency"], "must be left out: a limit of a card is in the currency of the card");
        Definition::from_fields(fields, LimitTarget::Card(None)).map(|Definition(new)| Self(new))
    }
}

/// A limit of a customer.
pub(super) struct CustomerLimitRequest {
    currency: Currency,
    new: NewLimit,
}

impl FromFields for CustomerLimitRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let currency = fields.word("currency", &Currency::ALL.map(Currency::code));
        let definition = Definition::from_fields(fields, LimitTarget::Card(None));
        Some(Self { currency: currency?, new: definition?.0 })
    }
}

/// `POST /cards/{cardId}/limits`
pub(super) const CREATE_OF_CARD: Operation = Operation::new("createCardLimit", Tag::Spending, "Create Card Limit")
    .about("Limit what a card may spend in each window of time, or with each transaction. The windows are calendar days, weeks, months and years in a time zone, or the card's whole life. A limit counts what was spent in its present window before it was created. A payment counts in the window in which it was authorized, and what comes back of it comes back there; what is captured beyond the authorization counts when it is captured. An amount or a count of 0 allows nothing.")
    .request(r#"{"name": "Travel", "interval": "month", "timeZone": "America/Bogota", "amount": 300, "categories": ["4511", "7011"]}"#)
    .response::<LimitBody>(CARD_LIMIT)
    .refusals(&[Code::CardNotFound, Code::CardCancelled, Code::TooManyLimits]);

/// `POST /cards/{cardId}/limits`
pub(super) async fn create_of_card(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<CardId>,
    command: Command<CardLimitRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, LimitBody::of);
    let new = NewLimit { target: LimitTarget::Card(id.ok()), ..command.body.0 };
    let outcome = app.services.spending.create_limit(&caller.actor(), &new, idempotent.as_ref()).await?;
    Ok(respond(outcome, LimitBody::of))
}

/// `POST /customers/{customerId}/limits`
pub(super) const CREATE_OF_CUSTOMER: Operation = Operation::new("createCustomerLimit", Tag::Spending, "Create Customer Limit")
    .about("Limit what all cards of a customer in a currency may spend together. It applies to cards that are assigned later, with what they have spent before. Otherwise it is like a limit of a card.")
    .request(r#"{"currency": "USD", "interval": "day", "amount": 1000, "count": 20}"#)
    .response::<LimitBody>(CUSTOMER_LIMIT)
    .refusals(&[Code::CustomerErased, Code::CustomerNotFound, Code::TooManyLimits]);

/// `POST /customers/{customerId}/limits`
pub(super) async fn create_of_customer(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<CustomerId>,
    command: Command<CustomerLimitRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, LimitBody::of);
    let CustomerLimitRequest { currency, new } = command.body;
    let new = NewLimit { target: LimitTarget::Customer(id.ok(), currency), ..new };
    let outcome = app.services.spending.create_limit(&caller.actor(), &new, idempotent.as_ref()).await?;
    Ok(respond(outcome, LimitBody::of))
}

/// What stays of a limit.
const FIXED: [&str; 11] = [
    "scope",
    "cardId",
    "customerId",
    "currency",
    "interval",
    "timeZone",
    "weekStart",
    "categories",
    "countries",
    "merchants",
    "restoreOnRefund",
];

pub(super) struct ChangeRequest(LimitPatch);

impl FromFields for ChangeRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        fields.excluded(&FIXED, "cannot be changed; create another limit instead");
        Some(Self(LimitPatch {
            name: fields.removable("name", Fields::text),
            amount: fields.removable("amount", Fields::sum),
            count: fields.removable("count", count),
            status: fields.optional("status", status),
        }))
    }
}

/// `PATCH /limits/{limitId}`
pub(super) const CHANGE: Operation = Operation::new("changeLimit", Tag::Spending, "Change Limit")
    .about("Change how much a limit allows, its name, or whether it refuses: a `paused` limit goes on counting. Null takes the amount, the count or the name away; a limit needs an amount or a count. What was spent stays. To count other payments or other windows, create another limit.")
    .request(r#"{"amount": 500}"#)
    .response::<LimitBody>(CARD_LIMIT)
    .refusals(&[Code::LimitNotFound, Code::LimitOnNothing]);

/// `PATCH /limits/{limitId}`
pub(super) async fn change(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<LimitId>,
    command: Command<ChangeRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, LimitBody::of);
    let outcome = app.services.spending.change_limit(&caller.actor(), id.ok(), &command.body.0, idempotent.as_ref()).await?;
    Ok(respond(outcome, LimitBody::of))
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LimitDeleted")]
pub(super) struct Deleted {
    success: bool,
}

/// `DELETE /limits/{limitId}`
pub(super) const DELETE: Operation = Operation::new("deleteLimit", Tag::Spending, "Delete Limit")
    .about("Delete a limit, with what was spent of it. To let it count without refusing, pause it instead.")
    .response::<Deleted>(r#"{"success": true}"#)
    .refusals(&[Code::LimitNotFound]);

/// `DELETE /limits/{limitId}`
pub(super) async fn delete(
    State(app): State<App>,
    Writer(caller): Writer,
    _: NoQuery,
    PathId(id): PathId<LimitId>,
) -> Result<JsonBody<Deleted>> {
    let id = id.map_err(|_| Refusal::LimitNotFound)?;
    app.services.spending.delete_limit(&caller.actor(), id).await?;
    Ok(JsonBody(Deleted { success: true }))
}
