//! API keys, for admins: `POST /api-keys`, `GET /api-keys`, `GET /api-keys/{apiKeyId}`, `DELETE /api-keys/{apiKeyId}`,
//! `POST /api-keys/{apiKeyId}/roll`.
//!
//! The text of a key is in the response that issues it and nowhere else. The response that is stored under an idempotency key
//! is without it, so a repeated request learns which key was made, and not its text.

use std::time::Duration;

use axum::{Json as JsonBody, extract::State, response::Response};
use chrono::Utc;
use schemars::{JsonSchema, Schema, json_schema};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::{FieldFault, Result},
    extract::{Manager, NoQuery, PathId},
    faults::{self, FaultCode},
    json::{Fields, FromFields},
    openapi::{Operation, Tag},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::domain::{error::Refusal, id::ApiKeyId, role::Role, word::Word};
use crate::service::api_keys::{ApiKey, IssuedKey, NewApiKey};

/// The longest overlap: a week.
const MAX_OVERLAP_SECONDS: u64 = 604_800;

impl FromFields for NewApiKey {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (name, role) = (fields.text("name"), fields.word("role", &Role::ALL.map(Role::name)));
        let expires_at = fields.optional("expiresAt", Fields::moment);
        if expires_at.is_some_and(|moment| moment <= Utc::now()) {
            fields.refuse(faults::fault("expiresAt", FaultCode::OutOfRange, "must be in the future"));
        }
        Some(Self { name: name?, role: role?, expires_at })
    }
}

pub(super) struct RollRequest {
    overlap: Duration,
}

impl FromFields for RollRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let overlap = fields.optional("overlapSeconds", |fields, field| fields.number(field, overlap_schema, |text| overlap(field, text)));
        Some(Self { overlap: overlap.unwrap_or_default() })
    }
}

fn overlap_schema() -> Schema {
    json_schema!({
        "description": "For how many seconds the present text of the key stays valid. Without it the text ends at once.",
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_OVERLAP_SECONDS,
        "examples": [3600],
    })
}

fn overlap(field: &'static str, text: &str) -> std::result::Result<Duration, FieldFault> {
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(faults::wrong_type(field, "a JSON number", text));
    }
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_OVERLAP_SECONDS);
    let range = format_args!("must be a whole number from 0 to {MAX_OVERLAP_SECONDS}").to_string();
    seconds.map(Duration::from_secs).ok_or_else(|| faults::fault(field, FaultCode::OutOfRange, range))
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ApiKey")]
pub(super) struct ApiKeyBody {
    api_key_id: ApiKeyId,
    name: String,
    #[schemars(with = "Role")]
    role: Word<Role>,
    created_at: Timestamp,
    /// When the key expires; null if it does not.
    expires_at: Option<Timestamp>,
    /// When the key was revoked; null if it was not.
    revoked_at: Option<Timestamp>,
    /// The clock hour of the newest request with the key; null if there was none.
    last_used_at: Option<Timestamp>,
    /// Until when the text before the last roll is valid as well; null if it is not.
    overlap_ends_at: Option<Timestamp>,
}

impl ApiKeyBody {
    fn of(key: &ApiKey) -> Self {
        Self {
            api_key_id: key.id,
            name: key.name.clone(),
            role: key.role.clone(),
            created_at: Timestamp(key.created_at),
            expires_at: key.expires_at.map(Timestamp),
            revoked_at: key.revoked_at.map(Timestamp),
            last_used_at: key.last_used_at.map(Timestamp),
            overlap_ends_at: key.overlap_ends_at.map(Timestamp),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "IssuedApiKey")]
pub(super) struct IssuedBody {
    /// The key, which no other response contains. Null in a response that is replayed under an Idempotency-Key: the key itself
    /// is not stored. Roll it to get another one.
    key: Option<String>,
    #[serde(flatten)]
    about: ApiKeyBody,
}

impl IssuedBody {
    /// The response to the request that issued the key.
    fn with_text(issued: &IssuedKey) -> Self {
        Self { key: Some(issued.text.expose_secret().to_owned()), ..Self::to_store(issued) }
    }

    /// The response that may be stored.
    fn to_store(issued: &IssuedKey) -> Self {
        Self { key: None, about: ApiKeyBody::of(&issued.key) }
    }
}

/// `POST /api-keys`
pub(super) const CREATE: Operation = Operation::new("createApiKey", Tag::ApiKeys, "Create API Key")
    .about("Create a key with which a program calls the API in place of a token: `Authorization: Bearer <key>`. The response contains the key once; the service stores only a hash. A `network` key is for the gateway of a card network: it authorizes and posts payments and reads authorizations, and nothing else. Its requests are limited per second and do not count towards the account's hour; those of every other key do.")
    .request(r#"{"name": "Card processor", "role": "network", "expiresAt": null}"#)
    .response::<IssuedBody>(r#"{"apiKeyId": "key_01h455vb4pex5vsknk084sn02q", "name": "Card processor", "role": "network", "key": "cak_sandbox_...", "createdAt": "2025-02-10T10:00:00.000Z", "expiresAt": null, "revokedAt": null, "lastUsedAt": null, "overlapEndsAt": null}"#);

/// `POST /api-keys`
pub(super) async fn create(State(app): State<App>, Manager(caller): Manager, command: Command<NewApiKey>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, IssuedBody::to_store);
    let outcome = app.services.api_keys.create(&caller.actor(), command.body, idempotent.as_ref()).await?;
    Ok(respond(outcome, IssuedBody::with_text))
}

/// `GET /api-keys`
pub(super) const LIST: Operation = Operation::new("listApiKeys", Tag::ApiKeys, "List API Keys")
    .about("Retrieve the API keys of your account, oldest first, also those that are revoked or have expired.")
    .list::<ApiKeyBody>("apiKeys", r#"{"apiKeys": [{"apiKeyId": "key_01h455vb4pex5vsknk084sn02q", "name": "Card processor", "role": "network", "createdAt": "2025-02-10T10:00:00.000Z", "expiresAt": null, "revokedAt": null, "lastUsedAt": "2025-02-10T12:00:00.000Z", "overlapEndsAt": null}]}"#);

/// `GET /api-keys`
pub(super) async fn list(State(app): State<App>, Manager(caller): Manager, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let page = Page::read(&mut query, cursor.as_ref(), "apiKeys", "");
    query.done()?;
    let keys = app.services.api_keys.clone();
    page.respond(
        "apiKeys",
        move |after, limit| {
            let keys = keys.clone();
            async move { keys.page(caller.account, after.unwrap_or(0), limit).await }
        },
        |key: &ApiKey| (key.number, ApiKeyBody::of(key)),
    )
    .await
}

/// `GET /api-keys/{apiKeyId}`
pub(super) const GET: Operation = Operation::new("getApiKey", Tag::ApiKeys, "Get API Key")
    .about("Retrieve one API key, without its text.")
    .response::<ApiKeyBody>(r#"{"apiKeyId": "key_01h455vb4pex5vsknk084sn02q", "name": "Card processor", "role": "network", "createdAt": "2025-02-10T10:00:00.000Z", "expiresAt": null, "revokedAt": null, "lastUsedAt": "2025-02-10T12:00:00.000Z", "overlapEndsAt": null}"#)
    .refusals(&[Code::ApiKeyNotFound]);

/// `GET /api-keys/{apiKeyId}`
pub(super) async fn get(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<ApiKeyId>,
) -> Result<JsonBody<ApiKeyBody>> {
    let id = id.map_err(|_| Refusal::ApiKeyNotFound)?;
    let key = app.services.api_keys.get(caller.account, id).await?;
    Ok(JsonBody(ApiKeyBody::of(&key)))
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Revoked {
    success: bool,
}

/// `DELETE /api-keys/{apiKeyId}`
pub(super) const REVOKE: Operation = Operation::new("revokeApiKey", Tag::ApiKeys, "Revoke API Key")
    .about("Revoke an API key, immediately and on every replica, also the text that a roll has left valid. It stays in the list. Revoking it again changes nothing.")
    .response::<Revoked>(r#"{"success": true}"#)
    .refusals(&[Code::ApiKeyNotFound]);

/// `DELETE /api-keys/{apiKeyId}`
pub(super) async fn revoke(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<ApiKeyId>,
) -> Result<JsonBody<Revoked>> {
    let id = id.map_err(|_| Refusal::ApiKeyNotFound)?;
    app.services.api_keys.revoke(&caller.actor(), id).await?;
    Ok(JsonBody(Revoked { success: true }))
}

/// `POST /api-keys/{apiKeyId}/roll`
pub(super) const ROLL: Operation = Operation::new("rollApiKey", Tag::ApiKeys, "Roll API Key")
    .about("Give an API key another text, which the response contains once. Id, name, role and expiry stay. The present text stays valid for `overlapSeconds`, so that programs can change over; a text from before an earlier roll ends at once.")
    .request(r#"{"overlapSeconds": 3600}"#)
    .response::<IssuedBody>(r#"{"apiKeyId": "key_01h455vb4pex5vsknk084sn02q", "name": "Card processor", "role": "network", "key": "cak_sandbox_...", "createdAt": "2025-02-10T10:00:00.000Z", "expiresAt": null, "revokedAt": null, "lastUsedAt": "2025-02-10T12:00:00.000Z", "overlapEndsAt": "2025-02-10T13:30:00.000Z"}"#)
    .refusals(&[Code::ApiKeyNotFound, Code::ApiKeyNotActive]);

/// `POST /api-keys/{apiKeyId}/roll`
pub(super) async fn roll(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<ApiKeyId>,
    command: Command<RollRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, IssuedBody::to_store);
    let outcome = app.services.api_keys.roll(&caller.actor(), id.ok(), command.body.overlap, idempotent.as_ref()).await?;
    Ok(respond(outcome, IssuedBody::with_text))
}
