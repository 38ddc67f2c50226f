//! The schemas of single values. Those of ids are in `domain::id`.
//!
//! Patterns use only syntax that the validators of most languages interpret alike: no look-around, and no
//! `\s`, which matches other white space than the API trims. A date has no pattern, since clients hold it as a date
//! and not as text. Nothing here depends on binary floats: `multipleOf: 0.01` would refuse 0.07 in most validators.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use strum::VariantArray as _;

use crate::domain::{
    audit_event::EventType,
    card::{CardStatus, ReplacementReason, TargetStatus},
    currency::Currency,
    feed_event::FeedEventType,
    money::{Amount, MAX_MINOR, Money, Total},
    posting::MovementKind,
    role::{Role, UserRole},
    search::{MAX_SEARCH, Search},
    spending::window::TimeZone,
    text::{Description, Email, ExternalId, Label, MAX_EMAIL, MAX_REASON, MAX_TEXT, Name},
    webhook::{
        endpoint::{DeliveryStatus, DisabledReason, EndpointStatus, Ordering, ReplayOnly},
        outcome::AttemptOutcome,
    },
};
use crate::{
    http::{
        code::Code,
        error::ProblemBody,
        time::{DayOrMoment, Moment, Timestamp},
    },
    service::auth::{MAX_PASSWORD, MIN_PASSWORD, NewPassword, PUBLISHED_PASSWORDS},
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
    CardStatus => "CardStatus", words("The status of a card.", &Self::ALL.map(Self::name));
    MovementKind => "MovementKind", words("The kind of a movement.", &Self::ALL.map(Self::name));
    Code => "Code", words("An error code, for programs. It never changes.", &Self::ALL.iter().map(|code| code.name()).collect::<Vec<_>>());
    Role => "Role", words("The role of a user or of an API key. Only API keys have the role `network`.", &Self::ALL.map(Self::name));
    FeedEventType => "FeedEventType", words("The type of an event. Later versions have more.", &Self::ALL.iter().map(|each| each.name()).collect::<Vec<_>>());
    EventType => "AuditEventType", words("The type of an event.", &Self::ALL.iter().map(|each| each.name()).collect::<Vec<_>>());
    Name => "Name", text("A name: 1 to 200 characters, trimmed, at least one of them visible.", MAX_TEXT, "Juan Perez");
    Description => "Description", text("The purpose of a movement: 1 to 200 characters, trimmed, at least one of them visible.", MAX_TEXT, "Online purchase - Amazon");
    Label => "CardLabel", text("What people call a card: 1 to 100 characters, trimmed, at least one of them visible.", MAX_REASON, "Travel");
    ExternalId => "ExternalId", text("Your own name for it: 1 to 100 characters, trimmed, at least one of them visible. Unique in your account, apart for customers and for cards.", MAX_REASON, "crm-4711");
    Search => "Search", text("What to look for: 1 to 100 characters, trimmed, at least one of them visible.", MAX_SEARCH, "perez");
    Email => "Email", json_schema!({
        "description": "An email address of a mailbox on a named host: ASCII, at most 254 characters, trimmed.",
        "type": "string",
        "format": "email",
        "maxLength": MAX_EMAIL,
        "pattern": format!("^{ATOM}+(\\.{ATOM}+)*@({LABEL}\\.)+{LABEL}$"),
        "examples": ["juan@email.com"],
    });
    NewPassword => "NewPassword", json_schema!({
        "description": "A new password: not one of the published ones.",
        "type": "string",
        "minLength": MIN_PASSWORD,
        "maxLength": MAX_PASSWORD,
        "pattern": format!("^[^{CONTROL}]*$"),
        "not": {"type": "string", "enum": PUBLISHED_PASSWORDS},
    });
    Amount => "Amount", json_schema!({
        "description": format!("An amount to move in the card's currency: above 0, with at most two decimals. {PRECISION}"),
        "type": "number",
        "format": "double",
        "exclusiveMinimum": 0,
        "exclusiveMaximum": cents(MAX_MINOR + 1),
        "examples": [100],
    });
    Moment => "Moment", json_schema!({
        "description": "A time (RFC 3339), or a date, which means its start in UTC.",
        "type": "string",
        "examples": ["2025-02-10", "2025-02-10T12:00:00Z"],
    });
    DayOrMoment => "DayOrMoment", json_schema!({
        "description": "A time (RFC 3339), or a date, which means its first moment.",
        "type": "string",
        "examples": ["2025-02-10", "2025-02-10T12:00:00Z"],
    });
    TimeZone => "TimeZone", json_schema!({
        "description": "A time zone: a name of the IANA database.",
        "type": "string",
        "default": Self::UTC.name(),
        "examples": ["America/Bogota"],
    });
    Total => "MoneyTotal", json_schema!({
        "description": "A sum of amounts in the card's currency, with at most two decimals. It can be larger than any balance.",
        "type": "number",
        "format": "double",
        "examples": [-20],
    });
    Timestamp => "Timestamp", json_schema!({
        "description": "A time in UTC (RFC 3339), to the millisecond.",
        "type": "string",
        "format": "date-time",
        "examples": ["2025-02-10T12:00:00.000Z"],
    });
    Money => "Money", json_schema!({
        "description": format!("An amount in the card's currency, with at most two decimals. {PRECISION}"),
        "type": "number",
        "format": "double",
        "exclusiveMinimum": cents(-MAX_MINOR - 1),
        "exclusiveMaximum": cents(MAX_MINOR + 1),
        "examples": [-15.5],
    });
}

macro_rules! subset {
    ($($type:ty => $name:literal, $schema:expr;)*) => {
        $(impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        })*
    };
}

pub(super) use {schema, subset};

// Enums of which another one has all the values. They have no name of their own: the constants of all named enums share
// one namespace in Go, and the client would not compile.
subset! {
    EndpointStatus => "WebhookEndpointStatus", words("Whether events are sent to an endpoint.", &Self::ALL.map(Self::name));
    DisabledReason => "WebhookDisabledReason", words("Why an endpoint is disabled: it failed for five days, it answered 410, or an admin disabled it.", &Self::ALL.map(Self::name));
    Ordering => "WebhookOrdering", words("`none`: whatever is due is sent. `card`: an event of a card is sent once the one before it was accepted, or was given up.", &Self::ALL.map(Self::name));
    DeliveryStatus => "WebhookDeliveryStatus", words("What became of a delivery.", &Self::ALL.map(Self::name));
    ReplayOnly => "WebhookReplayOnly", words("Which events a replay sends again.", &Self::ALL.map(Self::name));
    AttemptOutcome => "WebhookAttemptOutcome", words("What an attempt came to.", &Self::VARIANTS.iter().map(|each| each.name()).collect::<Vec<_>>());
    TargetStatus => "TargetStatus", words("The requested status of a card.", &Self::ALL.map(|target| target.status().name()));
    ReplacementReason => "ReplacementReason", words("Why a card is replaced.", &Self::ALL.map(Self::name));
    UserRole => "UserRole", words("The role of a user.", &Self::ALL.map(Self::name));
}

/// How precisely a client holds money. Generators choose a type of 32 bits for a `number` without a format, which loses
/// cents above 131072.00; `format: decimal` is known to few of them.
const PRECISION: &str = "The number is decimal. A client that holds it as a 64-bit binary float is exact to the cent up to \
    70368744177664.00 (2^46), and off by at most one cent from there to the bound; for more, read it as a decimal type.";

/// The characters up to U+FFFF that cannot be seen, except control characters: white space, format characters and blanks.
const INVISIBLE: &str = " \\u00a0\\u00ad\\u034f\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u115f\\u1160\\u1680\\u17b4\\u17b5\\u180b-\\u180f\
    \\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb";

/// The bidirectional control characters, which no trimmed text may contain.
pub(super) const BIDIRECTIONAL: &str = "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069";

/// The control characters, which no text may contain.
pub(super) const CONTROL: &str = "\\u0000-\\u001f\\u007f-\\u009f";

/// A character between the dots of an email's local part.
const ATOM: &str = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]";

/// A label of a host name.
const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";

/// A word from a list.
pub(super) fn words(description: &str, words: &[&str]) -> Schema {
    json_schema!({"description": description, "type": "string", "enum": words})
}

/// An id in a request. Any text is accepted, since one that is not an id names nothing and is a 404.
pub(in crate::http) fn requested_id<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    schema.insert("pattern".to_owned(), format!("^[^{CONTROL}]*$").into());
    schema
}

/// The status of an error response.
pub(in crate::http) fn error_status(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 400, "maximum": 599})
}

/// A named schema.
pub(in crate::http) fn reference(name: &str) -> Schema {
    json_schema!({"$ref": format!("#/components/schemas/{name}")})
}

/// A string of 1 to `max` characters, unchanged.
pub(in crate::http) fn verbatim(max: usize) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": max, "pattern": format!("^[^{CONTROL}]*$")})
}

/// A string of 1 to `max` characters, without the white space around it and otherwise unchanged.
pub(in crate::http) fn trimmed(max: usize) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": max,
        "pattern": format!("^[^{CONTROL}]*[^{CONTROL}{INVISIBLE}][^{CONTROL}]*$"),
    })
}

/// A text with a visible character. The API trims longer ones before it counts, which the schema does not say.
pub(super) fn text(description: &str, max: usize, example: &str) -> Schema {
    json_schema!({
        "description": description,
        "type": "string",
        "minLength": 1,
        "maxLength": max,
        "pattern": format!("^[^{CONTROL}{BIDIRECTIONAL}]*[^{CONTROL}{INVISIBLE}][^{CONTROL}{BIDIRECTIONAL}]*$"),
        "examples": [example],
    })
}

/// A number in the document. Bounds are exclusive and one cent beyond the largest sum, because that cent
/// is written the same as a decimal and as a double.
pub(super) fn cents(minor: i64) -> Value {
    let sign = if minor < 0 { "-" } else { "" };
    let (major, minor) = (minor.unsigned_abs() / 100, minor.unsigned_abs() % 100);
    serde_json::from_str(&format!("{sign}{major}.{minor:02}")).unwrap_or_default()
}

/// The body of every error response.
pub(super) fn problem(generator: &mut SchemaGenerator) -> Schema {
    ProblemBody::json_schema(generator)
}

/// The query parameters of every list.
pub(super) fn page_parameters() -> [Value; 2] {
    [
        json!({
            "name": "limit",
            "in": "query",
            "description": "The maximum number of items. Without it the response contains everything.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 100},
        }),
        json!({
            "name": "after",
            "in": "query",
            "description": "A `nextCursor` of this list: the page after it.",
            "schema": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_-]+$"},
        }),
    ]
}

pub(super) fn idempotency_key(required: bool) -> Value {
    let mut parameter = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A key that the client chooses so that the request is executed once: 1 to 255 visible ASCII characters, such as a \
            UUID. Each request needs a new key; only a retry of the same request repeats it.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": "^[!-~]+$",
            // Postman takes the first example for every request, and puts a new UUID in the place of this one.
            "examples": ["{{$guid}}", "7c9e6679-7425-40de-944b-e07fc1f90ae7"],
        },
    });
    if required {
        parameter["required"] = true.into();
    }
    parameter
}
