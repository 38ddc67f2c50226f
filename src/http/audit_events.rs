//! The audit trail, for admins: `GET /audit-events`.

use axum::{extract::State, response::Response};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    App,
    error::Result,
    extract::Manager,
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::service::{
    audit::{Entry, EventFilter, EventType, Subject},
    error::Error as ServiceError,
    id::{AccountId, EventId, NotAnId, SessionId, UserId},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventBody {
    id: EventId,
    r#type: String,
    user_id: Option<UserId>,
    session_id: Option<SessionId>,
    subject_id: SubjectId,
    before: Option<Value>,
    after: Option<Value>,
    request_id: Option<String>,
    address: Option<String>,
    date: Timestamp,
}

/// The id of whatever an event is about: its prefix tells what that is.
struct SubjectId(Subject);

impl Serialize for SubjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Subject::Account(id) => id.serialize(serializer),
            Subject::User(id) => id.serialize(serializer),
            Subject::Session(id) => id.serialize(serializer),
            Subject::Customer(id) => id.serialize(serializer),
            Subject::Card(id) => id.serialize(serializer),
        }
    }
}

impl From<&Entry> for EventBody {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            r#type: entry.event_type.clone(),
            user_id: entry.user,
            session_id: entry.session,
            subject_id: SubjectId(entry.subject),
            before: entry.before.clone(),
            after: entry.after.clone(),
            request_id: entry.request_id.clone(),
            address: entry.address.clone(),
            date: Timestamp(entry.created_at),
        }
    }
}

/// What the trail is narrowed to, as text that a cursor can carry.
#[derive(Default)]
struct Filters {
    event_type: Option<EventType>,
    user_id: Option<String>,
    subject_id: Option<String>,
}

impl Filters {
    fn read(query: &mut Query) -> Self {
        let names: Vec<&str> = EventType::ALL.iter().map(|each| each.name()).collect();
        Self { event_type: query.word("type", &names), user_id: query.text("userId"), subject_id: query.text("subjectId") }
    }

    /// One form for one set of filters, in which it also reads back.
    fn canonical(&self) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let named = [
            ("type", self.event_type.map(EventType::name)),
            ("userId", self.user_id.as_deref()),
            ("subjectId", self.subject_id.as_deref()),
        ];
        text.extend_pairs(named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        text.finish()
    }

    /// None: a subject that is no id is nothing, and nothing has no events.
    async fn resolve(&self, app: &App, account: AccountId) -> Result<Option<EventFilter>> {
        let user = match &self.user_id {
            Some(text) => {
                let id = text.parse().map_err(|_| ServiceError::UserNotFound)?;
                Some(app.services.users.get(account, id).await?.id)
            }
            None => None,
        };
        let subject: std::result::Result<_, NotAnId> = self.subject_id.as_deref().map(str::parse).transpose();
        Ok(subject.ok().map(|subject| EventFilter { event_type: self.event_type, user, subject }))
    }
}

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
    let audit = app.services.audit;
    page.answer(
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
        |entry: &Entry| (entry.number, EventBody::from(entry)),
    )
    .await
}
