//! The controls of a card: `GET` and `PATCH /cards/{cardId}/controls`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use strum::VariantArray as _;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{NoQuery, PathId, Reader, Writer},
    json::{Fields, FromFields},
    openapi::{Operation, Tag, payment_schema::names},
    time::Timestamp,
};
use crate::domain::{
    error::Refusal,
    id::CardId,
    merchant::{MerchantCategory, MerchantCountry, MerchantId},
    spending::controls::{CardPresence, ControlsPatch, MAX_LISTED, MAX_PAYMENTS, MerchantLock},
};
use crate::service::spending::CardControls;

/// A merchant.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LockedMerchant {
    merchant_id: MerchantId,
}

/// The merchant that a card is locked to, in JSON.
struct LockBody(MerchantLock);

impl Serialize for LockBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match &self.0 {
            MerchantLock::First => "first".serialize(serializer),
            MerchantLock::To(merchant) => LockedMerchant { merchant_id: merchant.clone() }.serialize(serializer),
        }
    }
}

fn lock_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The only merchant that the card pays: `first` locks it to the merchant of the first payment of more than 0 that is approved; afterwards it shows that merchant. Null: it is not locked.",
        "oneOf": [
            {"type": "string", "const": "first"},
            generator.subschema_for::<LockedMerchant>(),
            {"type": "null"},
        ],
    })
}

/// The controls of a card.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CardControls")]
pub(super) struct ControlsBody {
    card_id: CardId,
    /// The only categories of merchants that the card pays. Empty: all of them.
    allowed_categories: Vec<MerchantCategory>,
    /// Categories of merchants that the card does not pay, also if they are allowed.
    blocked_categories: Vec<MerchantCategory>,
    /// The only countries whose merchants the card pays. Empty: all of them.
    allowed_countries: Vec<MerchantCountry>,
    /// Countries whose merchants the card does not pay, also if they are allowed.
    blocked_countries: Vec<MerchantCountry>,
    /// The only merchants that the card pays. Empty: all of them.
    allowed_merchants: Vec<MerchantId>,
    /// Merchants that the card does not pay, also if they are allowed.
    blocked_merchants: Vec<MerchantId>,
    #[schemars(schema_with = "lock_schema")]
    merchant_lock: Option<LockBody>,
    card_present: CardPresence,
    /// After how many payments the card is cancelled. Null: never.
    max_payments: Option<u32>,
    /// How many payments it has made, if `maxPayments` is set: approvals of more than 1.00, captures of smaller ones, and captures without an authorization.
    payments: u32,
    /// How often the controls were changed.
    version: i64,
    /// When they were changed last; null if they never were.
    updated_at: Option<Timestamp>,
}

impl ControlsBody {
    fn of(card: &CardControls) -> Self {
        let controls = card.controls.clone();
        Self {
            card_id: card.card,
            allowed_categories: controls.allowed_categories,
            blocked_categories: controls.blocked_categories,
            allowed_countries: controls.allowed_countries,
            blocked_countries: controls.blocked_countries,
            allowed_merchants: controls.allowed_merchants,
            blocked_merchants: controls.blocked_merchants,
            merchant_lock: controls.merchant_lock.map(LockBody),
            card_present: controls.card_present,
            max_payments: controls.max_payments,
            payments: if controls.max_payments.is_some() { card.payments } else { 0 },
            version: card.version,
            updated_at: card.updated_at.map(Timestamp),
        }
    }
}

const CONTROLS: &str = r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "allowedCategories": ["5411"], "blockedCategories": [], "allowedCountries": ["CO"], "blockedCountries": [], "allowedMerchants": [], "blockedMerchants": [], "merchantLock": "first", "cardPresent": "any", "maxPayments": 1, "payments": 0, "version": 4, "updatedAt": "2025-02-10T12:00:00.000Z"}"#;

/// `GET /cards/{cardId}/controls`
pub(super) const GET: Operation = Operation::new("getCardControls", Tag::Spending, "Get Card Controls")
    .about("Retrieve what a card may be used for. A card whose controls were never changed may be used for everything.")
    .response::<ControlsBody>(CONTROLS)
    .refusals(&[Code::CardNotFound]);

/// `GET /cards/{cardId}/controls`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<CardId>,
) -> Result<JsonBody<ControlsBody>> {
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    let controls = app.services.spending.controls(caller.account, id).await?;
    Ok(JsonBody(ControlsBody::of(&controls)))
}

pub(super) struct ChangeRequest {
    patch: ControlsPatch,
    version: Option<i64>,
}

impl FromFields for ChangeRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let patch = ControlsPatch {
            allowed_categories: fields
                .removable("allowedCategories", |fields, name| fields.list(name, MAX_LISTED))
                .map(Option::unwrap_or_default),
            blocked_categories: fields
                .removable("blockedCategories", |fields, name| fields.list(name, MAX_LISTED))
                .map(Option::unwrap_or_default),
            allowed_countries: fields
                .removable("allowedCountries", |fields, name| fields.list(name, MAX_LISTED))
                .map(Option::unwrap_or_default),
            blocked_countries: fields
                .removable("blockedCountries", |fields, name| fields.list(name, MAX_LISTED))
                .map(Option::unwrap_or_default),
            allowed_merchants: fields
                .removable("allowedMerchants", |fields, name| fields.list(name, MAX_LISTED))
                .map(Option::unwrap_or_default),
            blocked_merchants: fields
                .removable("blockedMerchants", |fields, name| fields.list(name, MAX_LISTED))
                .map(Option::unwrap_or_default),
            merchant_lock: fields.removable("merchantLock", |fields, name| fields.merchant_lock(name, lock_schema)),
            card_present: fields
                .removable("cardPresent", |fields, name| fields.word(name, &names(CardPresence::VARIANTS)))
                .map(Option::unwrap_or_default),
            max_payments: fields.removable("maxPayments", |fields, name| {
                let about = "After how many payments the card is cancelled. 1 makes a card for a single use.";
                fields.whole(name, about, 1..=u64::from(MAX_PAYMENTS)).and_then(|max| u32::try_from(max).ok())
            }),
        };
        let about = "The version of the controls that the change is made for. With another one nothing is changed.";
        let version = fields.optional("version", |fields, name| fields.whole(name, about, 0..=1 << 53));
        Some(Self { patch, version: version.and_then(|version| i64::try_from(version).ok()) })
    }
}

/// `PATCH /cards/{cardId}/controls`
pub(super) const CHANGE: Operation = Operation::new("changeCardControls", Tag::Spending, "Change Card Controls")
    .about("Change what a card may be used for. A member replaces what it names, null takes it away, and what is left out stays. What is blocked is blocked also if it is allowed. A control declines every payment that does not say what it asks for. `maxPayments` cancels the card with its last payment: what was authorized before can still be captured.")
    .request(r#"{"allowedCategories": ["5411"], "allowedCountries": ["CO"], "merchantLock": "first", "cardPresent": "any", "maxPayments": 1, "version": 3}"#)
    .response::<ControlsBody>(CONTROLS)
    .refusals(&[Code::CardNotFound, Code::CardCancelled, Code::VersionConflict]);

/// `PATCH /cards/{cardId}/controls`
pub(super) async fn change(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<CardId>,
    command: Command<ChangeRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, ControlsBody::of);
    let ChangeRequest { patch, version } = &command.body;
    let outcome = app.services.spending.change_controls(&caller.actor(), id.ok(), (patch, *version), idempotent.as_ref()).await?;
    Ok(respond(outcome, ControlsBody::of))
}
