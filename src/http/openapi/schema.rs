//! What single values look like. An id's schema stands with the ids.
//!
//! Patterns keep to what the validators of most languages read alike: no look-around, no `\s`, whose white
//! space is not the one that is trimmed here.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::domain::{
    audit_event::EventType,
    card::{CardStatus, TargetStatus},
    currency::Currency,
    money::{Amount, MAX_MINOR, Money},
    posting::MovementKind,
    role::Role,
    text::{Description, Email, MAX_EMAIL, MAX_TEXT, Name},
};
use crate::{
    http::{
        code::Code,
        error::ProblemBody,
        time::{Moment, Timestamp},
    },
    service::auth::{MAX_PASSWORD, MIN_PASSWORD, NewPassword, PUBLISHED},
};

macro_rules! schema {
    ($($type:ty => $name:literal, $schema:expr;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        })*
    };
}

schema! {
    Currency => "Currency", words("A card's currency (ISO 4217), two minor digits each.", &Self::ALL.map(Self::code));
    CardStatus => "CardStatus", words("Where a card is in its life.", &Self::ALL.map(Self::name));
    TargetStatus => "TargetStatus", words("The status that a card is to have.", &Self::ALL.map(|target| target.status().name()));
    MovementKind => "MovementKind", words("What a movement is.", &Self::ALL.map(Self::name));
    Code => "Code", words("What went wrong, for programs. It never changes.", &Self::ALL.iter().map(|code| code.name()).collect::<Vec<_>>());
    Role => "Role", words("What a user may do.", &Self::ALL.map(Self::name));
    EventType => "AuditEventType", words("What happened.", &Self::ALL.iter().map(|each| each.name()).collect::<Vec<_>>());
    Name => "Name", text("A full name: 1 to 200 characters, trimmed.", "Juan Perez");
    Description => "Description", text("What a movement is for: 1 to 200 characters, trimmed.", "Online purchase - Amazon");
    Email => "Email", json_schema!({
        "description": "An email address of a mailbox on a named host: ASCII, at most 254 characters, trimmed.",
        "type": "string",
        "format": "email",
        "maxLength": MAX_EMAIL,
        "pattern": format!("^{ATOM}+(\\.{ATOM}+)*@({LABEL}\\.)+{LABEL}$"),
        "examples": ["juan@email.com"],
    });
    NewPassword => "NewPassword", json_schema!({
        "description": "A password that somebody may choose: not one of those that are published.",
        "type": "string",
        "minLength": MIN_PASSWORD,
        "maxLength": MAX_PASSWORD,
        "pattern": format!("^[^{CONTROL}]*$"),
        "not": {"enum": PUBLISHED},
    });
    Amount => "Amount", json_schema!({
        "description": "A sum to move: above 0, with at most two decimals.",
        "type": "number",
        "exclusiveMinimum": 0,
        "exclusiveMaximum": cents(MAX_MINOR + 1),
        "multipleOf": cents(1),
        "examples": [100],
    });
    Moment => "Moment", json_schema!({
        "description": "A date, which is its first moment in UTC, or a moment (RFC 3339).",
        "type": "string",
        "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
        "examples": ["2025-02-10", "2025-02-10T12:00:00Z"],
    });
    Timestamp => "Timestamp", json_schema!({
        "description": "A moment in UTC (RFC 3339), to the millisecond.",
        "type": "string",
        "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
    });
    Money => "Money", json_schema!({
        "description": "A sum in the card's currency, with at most two decimals.",
        "type": "number",
        "exclusiveMinimum": cents(-MAX_MINOR - 1),
        "exclusiveMaximum": cents(MAX_MINOR + 1),
    });
}

/// White space other than control characters, which are refused before anything is trimmed.
const SPACE: &str = " \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/// What no text has in it.
const CONTROL: &str = "\\u0000-\\u001f\\u007f-\\u009f";

/// What stands before an `@`, between its dots.
const ATOM: &str = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]";

/// A part of a host's name.
const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";

/// One word out of a few.
fn words(description: &str, words: &[&str]) -> Schema {
    json_schema!({"description": description, "type": "string", "enum": words})
}

/// A string of at most so many characters, taken as it is.
pub(in crate::http) fn verbatim(max: usize) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": max, "pattern": format!("^[^{CONTROL}]*$")})
}

/// A text that is trimmed, and then bounded.
fn text(description: &str, example: &str) -> Schema {
    let most = MAX_TEXT - 2;
    json_schema!({
        "description": description,
        "type": "string",
        "minLength": 1,
        "pattern": format!("^[{SPACE}]*[^{SPACE}{CONTROL}]([^{CONTROL}]{{0,{most}}}[^{SPACE}{CONTROL}])?[{SPACE}]*$"),
        "examples": [example],
    })
}

/// A number of the document. The bounds are exclusive, a cent past the last sum there is: that cent is
/// written the same whether a reader takes it for a decimal or for a double.
fn cents(minor: i64) -> Value {
    let sign = if minor < 0 { "-" } else { "" };
    let (major, minor) = (minor.unsigned_abs() / 100, minor.unsigned_abs() % 100);
    serde_json::from_str(&format!("{sign}{major}.{minor:02}")).unwrap_or_default()
}

/// The body of every failure.
pub(super) fn of_problem(generator: &mut SchemaGenerator) -> Schema {
    ProblemBody::json_schema(generator)
}

/// The parameters of every list.
pub(super) fn of_pages() -> [Value; 2] {
    [
        json!({
            "name": "limit",
            "in": "query",
            "description": "How many to answer with. Without it the answer holds everything.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 100},
        }),
        json!({
            "name": "after",
            "in": "query",
            "description": "A `nextCursor` that this list gave: go on from there.",
            "schema": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_-]+$"},
        }),
    ]
}

pub(super) fn of_idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The client's name for this request, which is so done once. 1 to 255 visible ASCII characters.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    })
}
