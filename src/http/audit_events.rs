//! The audit log, for admins: `GET /audit-events`.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{extract::State, response::Response};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    App,
    code::Code,
    error::Result,
    extract::Manager,
    openapi::{Filter, Operation, Tag},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::domain::{
    audit_event::{EventType, Subject},
    error::Refusal,
    id::{AccountId, ApiKeyId, EventId, NotAnId, SessionId, UserId},
    word::Word,
};
use crate::service::audit::{AuditEvent, EventFilter};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEvent")]
pub(super) struct EventBody {
    id: EventId,
    #[schemars(with = "EventType")]
    r#type: String,
    user_id: Option<UserId>,
    session_id: Option<SessionId>,
    /// The API key with which it was done; null if a user did it.
    api_key_id: Option<ApiKeyId>,
    subject_id: SubjectId,
    /// The changed part of the subject's state before the event; null if there was none or none was recorded.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    before: Option<Value>,
    /// The changed part of the subject's state after the event.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    after: Option<Value>,
    request_id: Option<String>,
    address: Option<String>,
    date: Timestamp,
}

/// The id of the resource that an event is about. Its prefix tells the kind of resource.
struct SubjectId(Word<Subject>);

impl JsonSchema for SubjectId {
    fn schema_name() -> Cow<'static, str> {
        "SubjectId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The id of the resource that an event is about. Its prefix tells the kind of resource: an account, a user, a \
                session, a customer, a card, an API key, an authorization or a webhook endpoint.",
            "type": "string",
            "examples": ["card_01h455vb4pex5vsknk084sn02q"],
        })
    }
}

impl Serialize for SubjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let subject = match &self.0 {
            Word::Known(subject) => *subject,
            Word::Unknown(text) => return serializer.serialize_str(text),
        };
        match subject {
            Subject::Account(id) => id.serialize(serializer),
            Subject::User(id) => id.serialize(serializer),
            Subject::Session(id) => id.serialize(serializer),
            Subject::Customer(id) => id.serialize(serializer),
            Subject::Card(id) => id.serialize(serializer),
            Subject::ApiKey(id) => id.serialize(serializer),
            Subject::Authorization(id) => id.serialize(serializer),
            Subject::WebhookEndpoint(id) => id.serialize(serializer),
            Subject::Limit(id) => id.serialize(serializer),
        }
    }
}

impl From<&AuditEvent> for EventBody {
    fn from(entry: &AuditEvent) -> Self {
        Self {
            id: entry.id,
            r#type: entry.event_type.clone(),
            user_id: entry.user,
            session_id: entry.session,
            api_key_id: entry.api_key,
            subject_id: SubjectId(entry.subject.clone()),
            before: entry.before.clone(),
            after: entry.after.clone(),
            request_id: entry.request_id.clone(),
            address: entry.address.clone(),
            date: Timestamp(entry.created_at),
        }
    }
}

/// The filters of a list, as text that a cursor can carry.
#[derive(Default)]
struct Filters {
    event_type: Option<EventType>,
    user_id: Option<String>,
    api_key_id: Option<String>,
    subject_id: Option<String>,
}

impl Filters {
    fn read(query: &mut Query) -> Self {
        let names: Vec<&str> = EventType::ALL.iter().map(|each| each.name()).collect();
        Self {
            event_type: query.word("type", &names),
            user_id: query.text("userId"),
            api_key_id: query.text("apiKeyId"),
            subject_id: query.text("subjectId"),
        }
    }

    /// The canonical query string of the filters; [`Self::read`] parses it.
    fn canonical(&self) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let named = [
            ("type", self.event_type.map(EventType::name)),
            ("userId", self.user_id.as_deref()),
            ("apiKeyId", self.api_key_id.as_deref()),
            ("subjectId", self.subject_id.as_deref()),
        ];
        text.extend_pairs(named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        text.finish()
    }

    /// The filter for the service; `None` if the subject is not an id, and so has no events.
    async fn resolve(&self, app: &App, account: AccountId) -> Result<Option<EventFilter>> {
        let user = match &self.user_id {
            Some(text) => {
                let id = text.parse().map_err(|_| Refusal::UserNotFound)?;
                Some(app.services.users.get(account, id).await?.id)
            }
            None => None,
        };
        let api_key = match &self.api_key_id {
            Some(text) => {
                let id = text.parse().map_err(|_| Refusal::ApiKeyNotFound)?;
                Some(app.services.api_keys.get(account, id).await?.id)
            }
            None => None,
        };
        let subject: std::result::Result<_, NotAnId> = self.subject_id.as_deref().map(str::parse).transpose();
        Ok(subject.ok().map(|subject| EventFilter { event_type: self.event_type, user, api_key, subject }))
    }
}

/// `GET /audit-events`
pub(super) const LIST: Operation = Operation::new("listAuditEvents", Tag::Audit, "List Audit Events")
    .about("Retrieve who did what in your account, and from where, newest first. The list is empty for a subject that does not exist.")
    .filters(&[
        Filter::new::<EventType>("type", "Only events of this type."),
        Filter::new::<UserId>("userId", "Only events that this user caused."),
        Filter::new::<ApiKeyId>("apiKeyId", "Only events that were caused with this API key."),
        // A string: text that is not an id has no events, instead of being refused.
        Filter::new::<String>("subjectId", "Only events about the resource with this id."),
    ])
    .list::<EventBody>(
        "auditEvents",
        r#"{"auditEvents": [{"id": "evt_01h455vb4pex5vsknk084sn02q", "type": "card_status_changed", "userId": "usr_01h455vb4pex5vsknk084sn02q", "sessionId": "ses_01h455vb4pex5vsknk084sn02q", "apiKeyId": null, "subjectId": "card_01h455vb4pex5vsknk084sn02q", "before": {"status": "inactive"}, "after": {"status": "active"}, "requestId": "01a20446-86b3-74d8-81b9-818324052b45", "address": "203.0.113.7", "date": "2025-02-10T12:00:00.000Z"}]}"#,
    )
    .refusals(&[Code::UserNotFound, Code::ApiKeyNotFound]);

/// `GET /audit-events`
pub(super) async fn list(State(app): State<App>, Manager(caller): Manager, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let mut filters = Filters::read(&mut query);
    if filters.canonical().is_empty()
        && let Some(carried) = cursor.as_ref().and_then(|cursor| cursor.filters("auditEvents"))
    {
        filters = Filters::read(&mut Query::parse(carried));
    }
    let page = Page::read(&mut query, cursor.as_ref(), "auditEvents", &filters.canonical());
    query.done()?;
    let filter = filters.resolve(&app, caller.account).await?;
    let audit = app.services.audit.clone();
    page.respond(
        "auditEvents",
        move |before, limit| {
            let audit = audit.clone();
            async move {
                match filter {
                    Some(filter) => audit.page(caller.account, filter, before, limit).await,
                    None => Ok(Vec::new()),
                }
            }
        },
        |entry: &AuditEvent| (entry.number, EventBody::from(entry)),
    )
    .await
}
