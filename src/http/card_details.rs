//! What an account keeps of a card, and how the card came by its status: `PATCH /cards/{cardId}`, `GET
//! /cards/{cardId}/status-history`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    card_body::CardBody,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{NoQuery, PathId, Reader, Writer},
    json::{Fields, FromFields},
    openapi::{Operation, Tag},
    time::Timestamp,
};
use crate::domain::{
    card::CardStatus,
    card_details::CardPatch,
    error::Refusal,
    id::{ApiKeyId, CardId, UserId},
    word::Word,
};
use crate::service::cards::{Card, StatusTaken};

pub(super) struct ChangeRequest(CardPatch);

impl FromFields for ChangeRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self(CardPatch {
            label: fields.removable("label", Fields::text),
            metadata: fields.optional("metadata", Fields::metadata_patch),
            external_id: fields.removable("externalId", Fields::text),
        }))
    }
}

/// `PATCH /cards/{cardId}`
pub(super) const CHANGE: Operation = Operation::new("changeCard", Tag::VirtualCards, "Change Card")
    .about("Change what you keep of a card, whatever its status. Members that are left out stay. `metadata` is changed member by member: one that is null goes, and the others stay. Null takes `label` or `externalId` away.")
    .request(r#"{"label": "Travel", "metadata": {"costCenter": "42"}}"#)
    .response::<CardBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "active", "currency": "USD", "balance": 100, "held": 20, "available": 80, "customerId": "cus_01h455vb4pex5vsknk084sn02q", "createdAt": "2025-02-10T10:00:00.000Z", "label": "Travel", "externalId": null, "metadata": {"costCenter": "42"}, "replaces": null, "replacedBy": null}"#,
    )
    .refusals(&[Code::CardNotFound, Code::DuplicateExternalId, Code::TooMuchMetadata]);

/// `PATCH /cards/{cardId}`
pub(super) async fn change(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<CardId>,
    command: Command<ChangeRequest>,
) -> Result<Response> {
    let body = |card: &Card| CardBody::from(card);
    let idempotent = command.idempotent(caller.account, body);
    let outcome = app.services.cards.change(&caller.actor(), id.ok(), &command.body.0, idempotent.as_ref()).await?;
    Ok(respond(outcome, body))
}

/// Who changed a status.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct StatusActor {
    /// The user; null if it was none.
    user_id: Option<UserId>,
    /// The API key with which it was done; null if a user did it.
    api_key_id: Option<ApiKeyId>,
    request_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CardStatusChange")]
struct StatusChangeBody {
    /// Null: the card was created.
    from: Option<Word<CardStatus>>,
    to: Word<CardStatus>,
    /// In the words of who changed it; null if none were given.
    reason: Option<String>,
    actor: StatusActor,
    at: Timestamp,
}

impl StatusChangeBody {
    fn of(taken: StatusTaken) -> Self {
        let StatusTaken { from, to, reason, user, api_key, request_id, at } = taken;
        Self { from, to, reason, actor: StatusActor { user_id: user, api_key_id: api_key, request_id }, at: Timestamp(at) }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CardStatusHistory")]
pub(super) struct HistoryBody {
    card_id: CardId,
    history: Vec<StatusChangeBody>,
}

/// `GET /cards/{cardId}/status-history`
pub(super) const HISTORY: Operation = Operation::new("getCardStatusHistory", Tag::VirtualCards, "Get Card Status History")
    .about("Retrieve each status that a card took, oldest first, with who changed it and why. It begins with the card's creation. Of a card that was created before this endpoint existed, it has what the audit log still knows, without reasons.")
    .response::<HistoryBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "history": [
            {"from": null, "to": "inactive", "reason": null, "actor": {"userId": "usr_01h455vb4pex5vsknk084sn02q", "apiKeyId": null, "requestId": "01a20446-86b3-74d8-81b9-818324052b45"}, "at": "2025-02-10T10:00:00.000Z"},
            {"from": "inactive", "to": "active", "reason": "The customer confirmed it", "actor": {"userId": "usr_01h455vb4pex5vsknk084sn02q", "apiKeyId": null, "requestId": "01a20446-86b3-74d8-81b9-818324052b46"}, "at": "2025-02-10T12:00:00.000Z"}
        ]}"#,
    )
    .refusals(&[Code::CardNotFound]);

/// `GET /cards/{cardId}/status-history`
pub(super) async fn history(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<CardId>,
) -> Result<JsonBody<HistoryBody>> {
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    app.services.cards.get(caller.account, id).await?;
    let history = app.services.cards.status_history(caller.account, id).await?;
    Ok(JsonBody(HistoryBody { card_id: id, history: history.into_iter().map(StatusChangeBody::of).collect() }))
}
