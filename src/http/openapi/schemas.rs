//! What single values look like. An id's schema stands with the ids.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::{
    http::{code::Code, error::ProblemBody, time::Timestamp},
    service::{
        cards::{CardStatus, Currency},
        ledger::MovementKind,
        money::{MAX_MINOR, Money},
    },
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
    Currency => "Currency", word("A card's currency (ISO 4217), two minor digits each.", &Self::ALL.map(Self::code));
    CardStatus => "CardStatus", word("Where a card is in its life.", &Self::ALL.map(Self::name));
    MovementKind => "MovementKind", word("What a movement is.", &["top_up", "purchase", "refund"]);
    Code => "Code", word("What went wrong, for programs. It never changes.", &Self::ALL.iter().map(|code| code.name()).collect::<Vec<_>>());
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

fn word(description: &str, words: &[&str]) -> Schema {
    json_schema!({"description": description, "type": "string", "enum": words})
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
        "example": "order-4711",
    })
}
