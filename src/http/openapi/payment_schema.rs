//! The schemas of what belongs to a card's payments.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use strum::VariantArray as _;

use super::schema::{BIDIRECTIONAL, CONTROL, cents, schema, subset, text, words};
use crate::domain::{
    authorization::{AuthorizationKind, AuthorizationStatus, DecidedBy, EntryKind},
    currency::CurrencyCode,
    decision::{CheckResult, DeclineCode},
    id::LimitId,
    merchant::{
        EntryMode, MAX_MERCHANT_ID, MAX_MERCHANT_TEXT, MAX_NETWORK_TRANSACTION_ID, MerchantCategory, MerchantCity, MerchantCountry,
        MerchantCurrency, MerchantId, MerchantName, NetworkTransactionId,
    },
    metadata,
    money::{MAX_MINOR, Money},
    spending::{
        controls::CardPresence,
        limit::LimitStatus,
        window::{Interval, WeekStart},
    },
    text::{MAX_REASON, Reason},
};

schema! {
    AuthorizationStatus => "AuthorizationStatus", words("The status of an authorization.", &names(Self::VARIANTS));
    DecidedBy => "DecidedBy", words("How an authorization was decided.", &names(Self::VARIANTS));
    EntryMode => "EntryMode", words("How the card's data came to the merchant.", &names(Self::VARIANTS));
    Reason => "Reason", text("Why it is done: 1 to 100 characters, trimmed, at least one of them visible.", MAX_REASON, "The guest has left");
    MerchantId => "MerchantId", printable("The acquirer's id of the merchant.", MAX_MERCHANT_ID, "5665270011000168");
    MerchantName => "MerchantName", text("The merchant's name: 1 to 40 characters, trimmed, at least one of them visible.", MAX_MERCHANT_TEXT, "AMAZON.COM");
    MerchantCity => "MerchantCity", text("The merchant's city: 1 to 40 characters, trimmed, at least one of them visible.", MAX_MERCHANT_TEXT, "Seattle");
    MerchantCategory => "MerchantCategory", json_schema!({
        "description": "The merchant's category (ISO 18245).",
        "type": "string",
        "pattern": "^[0-9]{4}$",
        "examples": ["5734"],
    });
    MerchantCountry => "MerchantCountry", json_schema!({
        "description": "The merchant's country (ISO 3166-1): two capital letters.",
        "type": "string",
        "pattern": "^[A-Z]{2}$",
        "examples": ["US"],
    });
    MerchantCurrency => "MerchantCurrency", json_schema!({
        "description": "Any currency with minor units (ISO 4217): three capital letters.",
        "type": "string",
        "pattern": "^[A-Z]{3}$",
        "examples": ["EUR"],
    });
    CurrencyCode => "CurrencyCode", json_schema!({
        "description": "The currency that the network believes the card to have: three capital letters.",
        "type": "string",
        "pattern": "^[A-Z]{3}$",
        "examples": ["USD"],
    });
    NetworkTransactionId => "NetworkTransactionId",
        printable("The network's id of the transaction, unique among the account's authorizations.", MAX_NETWORK_TRANSACTION_ID, "627199945183184");
}

// Each of these shares a value with a named enum.
subset! {
    AuthorizationKind => "AuthorizationKind",
        words("What is asked for: a purchase, an estimate, cash, or whether the card is valid.", &names(Self::VARIANTS));
    EntryKind => "EntryKind", words("The kind of a step.", &names(Self::VARIANTS));
    DeclineCode => "DeclineCode", words("Why a payment was declined, for programs.", &names(Self::VARIANTS));
    Interval => "LimitInterval", words("How long the windows of a limit are.", &names(Self::VARIANTS));
    WeekStart => "WeekStart", words("The day that a week begins with.", &names(Self::VARIANTS));
    LimitStatus => "LimitStatus", words("Whether a limit refuses what exceeds it. It counts either way.", &names(Self::VARIANTS));
    CardPresence => "CardPresence", words("Whether the card has to be at the merchant.", &names(Self::VARIANTS));
    CheckResult => "CheckResult", words("Whether the check was passed.", &["pass", "fail"]);
}

/// One check of a decision, as the domain serialises it.
pub(in crate::http) struct CheckSchema;

impl JsonSchema for CheckSchema {
    fn schema_name() -> Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let money = generator.subschema_for::<Money>();
        json_schema!({
            "description": "One check, with what it compared.",
            "type": "object",
            "properties": {
                "check": words("What was checked.", &["card_status", "authorization_open", "currency", "amount", "payment_count", "merchant_lock", "merchant", "merchant_category", "merchant_country", "entry_mode", "limit", "limit_count", "funds", "forced"]),
                "result": generator.subschema_for::<CheckResult>(),
                "value": {"description": "What the payment or the card has: a status, the currency of the amount, something of the merchant, how the card was read, or how many payments the card has made. Null: the payment does not say.", "type": ["string", "integer", "null"]},
                "expected": {"description": "What is asked for: the card's currency, the merchant that the card is locked to (null: the first one), or whether the card has to be present.", "type": ["string", "null"]},
                "cardPresent": {"description": "Whether the card was at the merchant.", "type": ["boolean", "null"]},
                "max": {"description": "How many payments the card may make.", "type": "integer", "minimum": 1},
                "limitId": generator.subschema_for::<LimitId>(),
                "interval": generator.subschema_for::<Interval>(),
                "windowStart": {"description": "The first moment of the limit's window. Null: of a transaction, or of all time.", "type": ["string", "null"], "format": "date-time"},
                "windowEnd": {"description": "The first moment after the limit's window.", "type": ["string", "null"], "format": "date-time"},
                "limit": {"description": "The most that may be spent, or the most payments.", "type": "number", "format": "double", "minimum": 0},
                "used": {"description": "What was spent before, or in how many payments.", "type": "number", "format": "double"},
                "remaining": {"description": "What was left before.", "type": "number", "format": "double", "minimum": 0},
                "requested": money,
                "balance": money,
                "held": money,
                "available": money,
            },
            "required": ["check", "result"],
        })
    }
}

/// Metadata in a response.
pub(in crate::http) struct MetadataSchema;

impl JsonSchema for MetadataSchema {
    fn schema_name() -> Cow<'static, str> {
        "Metadata".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What the caller keeps beside it.",
            "type": "object",
            "additionalProperties": {"type": "string"},
        })
    }
}

/// An amount in any currency.
pub(in crate::http) fn merchant_amount(_: &mut SchemaGenerator) -> Schema {
    requested_merchant_amount()
}

/// An amount in any currency, in a request. A currency without decimals has the largest ones.
pub(in crate::http) fn requested_merchant_amount() -> Schema {
    json_schema!({
        "description": "An amount in `merchantCurrency`, with at most as many decimals as that has: 0 or more.",
        "type": "number",
        "format": "double",
        "minimum": 0,
        "maximum": MAX_MINOR,
        "examples": [92.5],
    })
}

/// A sum in a request that may be 0.
pub(in crate::http) fn sum() -> Schema {
    json_schema!({
        "description": "An amount in the card's currency: 0 or more, with at most two decimals.",
        "type": "number",
        "format": "double",
        "minimum": 0,
        "exclusiveMaximum": cents(MAX_MINOR + 1),
        "examples": [100],
    })
}

/// Metadata in a request. A member that is null is left out.
pub(in crate::http) fn requested_metadata() -> Schema {
    json_schema!({
        "description": "Up to 20 members, which are kept and shown. Keys have 1 to 40 characters.",
        "type": "object",
        "maxProperties": metadata::MAX_MEMBERS,
        "propertyNames": {"type": "string", "minLength": 1, "maxLength": metadata::MAX_KEY, "pattern": format!("^[^{CONTROL}{BIDIRECTIONAL}]*$")},
        "additionalProperties": {"type": ["string", "null"], "maxLength": metadata::MAX_VALUE, "pattern": format!("^[^{CONTROL}{BIDIRECTIONAL}]*$")},
    })
}

/// The names of all words of a vocabulary.
pub(in crate::http) fn names<T: Copy + Into<&'static str>>(all: &[T]) -> Vec<&'static str> {
    all.iter().map(|each| (*each).into()).collect()
}

/// A text of printable ASCII with a visible character. The API trims longer ones before it counts, which the schema does not say.
fn printable(description: &str, max: usize, example: &str) -> Schema {
    json_schema!({
        "description": format!("{description} 1 to {max} characters of printable ASCII, trimmed."),
        "type": "string",
        "minLength": 1,
        "maxLength": max,
        "pattern": "^[ -~]*[!-~][ -~]*$",
        "examples": [example],
    })
}
