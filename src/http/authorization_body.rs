//! The JSON form of an authorisation, its entries and its merchant.

use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Value, value::RawValue};

use super::{
    balance_body::Balance,
    openapi::payment_schema::{self, CheckSchema, MetadataSchema},
    time::Timestamp,
};
use crate::domain::{
    authorization::{AuthorizationKind, AuthorizationStatus, DecidedBy, EntryKind},
    currency::Currency,
    decision::{Decline, DeclineCode},
    id::{AuthorizationId, CardId, CustomerId, EntryId, LimitId, MovementId},
    merchant::{EntryMode, Merchant, MerchantAmount, NetworkTransactionId},
    money::Money,
    word::Word,
};
use crate::service::ledger::{Authorization, AuthorizationEntry, Stepped};

/// A merchant. What the network did not tell is null.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Merchant")]
pub(super) struct MerchantSchema {
    id: Option<String>,
    name: Option<String>,
    mcc: Option<String>,
    city: Option<String>,
    country: Option<String>,
}

/// A JSON value that the database has as text.
pub(super) fn stored(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.to_owned()).ok()
}

/// An amount in the merchant's currency, as a number.
struct MerchantNumber(MerchantAmount);

impl Serialize for MerchantNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_json()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Why a payment was declined.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Decline")]
pub(super) struct DeclineBody {
    code: Word<DeclineCode>,
    /// The reason, for a person of the account. Do not show it to the merchant.
    message: String,
    /// The limit that was exceeded.
    limit_id: Option<LimitId>,
    /// Whether the same payment may be approved later, or for less.
    retryable: bool,
    /// The response code for the network (ISO 8583, data element 39).
    response_code: &'static str,
}

impl DeclineBody {
    /// From what is stored of it. `checks` are those of the decision, as a JSON array.
    fn of(code: Option<&Word<DeclineCode>>, message: Option<&str>, checks: Option<&str>) -> Option<Self> {
        let code = code?;
        let (retryable, response_code) = match code {
            Word::Known(code) => (code.is_retryable(), code.response_code()),
            // Do not honour: what a network is told if there is no better word.
            Word::Unknown(_) => (false, "05"),
        };
        let limit_id = match code {
            Word::Known(DeclineCode::LimitTransactionExceeded | DeclineCode::LimitAmountExceeded | DeclineCode::LimitCountExceeded) => {
                checks.and_then(exceeded)
            }
            Word::Known(_) | Word::Unknown(_) => None,
        };
        Some(Self { code: code.clone(), message: message.unwrap_or_default().to_owned(), limit_id, retryable, response_code })
    }
}

impl From<&Decline> for DeclineBody {
    fn from(decline: &Decline) -> Self {
        Self {
            code: decline.code.into(),
            message: decline.message.clone(),
            limit_id: decline.limit,
            retryable: decline.code.is_retryable(),
            response_code: decline.code.response_code(),
        }
    }
}

/// The limit of the first check of a limit that failed.
fn exceeded(checks: &str) -> Option<LimitId> {
    let checks: Vec<Value> = serde_json::from_str(checks).ok()?;
    checks.iter().find(|check| check["result"] == "fail" && !check["limitId"].is_null())?["limitId"].as_str()?.parse().ok()
}

/// One step of an authorization.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuthorizationEntry")]
pub(super) struct EntryBody {
    id: EntryId,
    /// Its position in the authorization, from 1 without gaps.
    ordinal: i32,
    kind: Word<EntryKind>,
    /// What was authorized, declined, given back, captured or ended. Of an adjustment, the change of the hold.
    amount: Money,
    /// What the authorization holds after it.
    held_after: Money,
    /// The movement that it posted.
    movement_id: Option<MovementId>,
    /// Its position in the card's own history.
    sequence: i64,
    created_at: Timestamp,
    /// Why it was declined.
    decline: Option<DeclineBody>,
    /// Every check of the decision, if it was declined.
    #[schemars(with = "Option<Vec<CheckSchema>>")]
    checks: Option<Box<RawValue>>,
    /// Why it was done, in the caller's words.
    reason: Option<String>,
}

impl EntryBody {
    /// With the decision, which the database has on the authorization once, and not with its first entry as well.
    pub(super) fn of(authorization: &Authorization, entry: &AuthorizationEntry) -> Self {
        let mut body = Self::from(entry);
        if entry.ordinal == 1 {
            body.decline = DeclineBody::of(
                authorization.decline_code.as_ref(),
                authorization.decline_message.as_deref(),
                authorization.checks.as_deref(),
            );
            body.checks = authorization.checks.as_deref().and_then(stored);
        }
        body
    }
}

impl From<&AuthorizationEntry> for EntryBody {
    fn from(entry: &AuthorizationEntry) -> Self {
        Self {
            id: entry.id,
            ordinal: entry.ordinal,
            kind: entry.kind.clone(),
            amount: entry.amount,
            held_after: entry.held_after,
            movement_id: entry.movement_id,
            sequence: entry.sequence,
            created_at: Timestamp(entry.created_at),
            decline: DeclineBody::of(entry.decline_code.as_ref(), entry.decline_message.as_deref(), entry.checks.as_deref()),
            checks: entry.checks.as_deref().and_then(stored),
            reason: entry.reason.clone(),
        }
    }
}

/// A payment that a merchant asked for. What was authorized is always accounted for: `authorizedAmount` is `heldAmount` plus
/// `reversedAmount`, `expiredAmount`, `releasedAmount` and `capturedAmount`, less `excessAmount`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Authorization")]
pub(super) struct AuthorizationBody {
    id: AuthorizationId,
    card_id: CardId,
    /// The card's customer.
    customer_id: Option<CustomerId>,
    status: Word<AuthorizationStatus>,
    kind: Word<AuthorizationKind>,
    currency: Word<Currency>,
    /// What was asked for at first.
    requested_amount: Money,
    /// What was authorized, at first and by increments.
    authorized_amount: Money,
    /// What is held now.
    held_amount: Money,
    /// What was captured.
    captured_amount: Money,
    /// The part of `capturedAmount` that no hold covered.
    excess_amount: Money,
    /// What was given back of `capturedAmount`.
    capture_reversed_amount: Money,
    /// What the merchant gave back of the hold.
    reversed_amount: Money,
    /// What expired, or was released by the account.
    expired_amount: Money,
    /// What a final capture left of the hold.
    released_amount: Money,
    /// What was refunded by refunds that name this authorization.
    refunded_amount: Money,
    /// What was taken back of `refundedAmount`.
    refund_reversed_amount: Money,
    #[schemars(schema_with = "optional_merchant_amount")]
    merchant_amount: Option<MerchantNumber>,
    merchant_currency: Option<String>,
    #[schemars(with = "Option<MerchantSchema>")]
    merchant: Option<Merchant>,
    entry_mode: Word<EntryMode>,
    card_present: Option<bool>,
    #[schemars(with = "Option<String>")]
    network_transaction_id: Option<NetworkTransactionId>,
    #[schemars(with = "MetadataSchema")]
    metadata: Option<Box<RawValue>>,
    /// Six digits for the merchant, if it was approved.
    approval_code: Option<String>,
    /// The response code for the network (ISO 8583, data element 39).
    response_code: String,
    decided_by: Word<DecidedBy>,
    /// Why it was declined.
    decline: Option<DeclineBody>,
    /// Every check of the decision, if it was declined or the network had approved it already.
    #[schemars(with = "Option<Vec<CheckSchema>>")]
    checks: Option<Box<RawValue>>,
    created_at: Timestamp,
    /// When the hold ends.
    expires_at: Option<Timestamp>,
    updated_at: Timestamp,
    /// The position of its newest change in the card's own history.
    sequence: i64,
    /// Its steps, oldest first. Lists leave them out, and so do the answers to steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<EntryBody>")]
    entries: Option<Vec<EntryBody>>,
}

impl From<&Authorization> for AuthorizationBody {
    fn from(authorization: &Authorization) -> Self {
        Self {
            id: authorization.id,
            card_id: authorization.card_id,
            customer_id: authorization.customer_id,
            status: authorization.status.clone(),
            kind: authorization.kind.clone(),
            currency: authorization.currency.clone(),
            requested_amount: authorization.requested,
            authorized_amount: authorization.authorized,
            held_amount: authorization.held,
            captured_amount: authorization.captured,
            excess_amount: authorization.excess,
            capture_reversed_amount: authorization.capture_reversed,
            reversed_amount: authorization.reversed,
            expired_amount: authorization.expired,
            released_amount: authorization.released,
            refunded_amount: authorization.refunded,
            refund_reversed_amount: authorization.refund_reversed,
            merchant_amount: authorization.merchant_amount().map(MerchantNumber),
            merchant_currency: authorization.merchant_currency.clone(),
            merchant: Some(authorization.merchant()).filter(|merchant| *merchant != Merchant::default()),
            entry_mode: authorization.entry_mode.clone(),
            card_present: authorization.card_present,
            network_transaction_id: authorization.network_transaction_id.clone(),
            metadata: stored(authorization.metadata.as_deref().unwrap_or("{}")),
            approval_code: authorization.approval_code.clone(),
            response_code: authorization.response_code.clone(),
            decided_by: authorization.decided_by.clone(),
            decline: DeclineBody::of(
                authorization.decline_code.as_ref(),
                authorization.decline_message.as_deref(),
                authorization.checks.as_deref(),
            ),
            checks: authorization.checks.as_deref().and_then(stored),
            created_at: Timestamp(authorization.created_at),
            expires_at: authorization.expires_at.map(Timestamp),
            updated_at: Timestamp(authorization.updated_at),
            sequence: authorization.sequence,
            entries: None,
        }
    }
}

impl AuthorizationBody {
    /// With its steps.
    pub(super) fn with(authorization: &Authorization, entries: &[AuthorizationEntry]) -> Self {
        let entries = entries.iter().map(|entry| EntryBody::of(authorization, entry)).collect();
        Self { entries: Some(entries), ..authorization.into() }
    }
}

/// A step that posts nothing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SteppedAuthorization")]
pub(super) struct SteppedBody {
    authorization: AuthorizationBody,
    /// The step.
    entry: Option<EntryBody>,
    balance: Balance,
}

impl SteppedBody {
    pub(super) fn of(stepped: &Stepped) -> Self {
        Self {
            authorization: (&stepped.authorization).into(),
            entry: stepped.entries.last().map(EntryBody::from),
            balance: (&stepped.balance).into(),
        }
    }
}

fn optional_merchant_amount(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let schema = payment_schema::merchant_amount(generator);
    schemars::json_schema!({"anyOf": [schema, {"type": "null"}]})
}
