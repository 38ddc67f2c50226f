//! The trail: who did what, from where, written in the transaction that did it.

mod event;
mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::database::Pool;

pub use self::event::{Event, EventType, Subject, UnknownEventType};
use super::{
    error::Result,
    id::{AccountId, EventId, SessionId, UserId},
    unit,
};

/// Through which request, and from where.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The request's `X-Request-Id`.
    pub request_id: Arc<str>,
    /// The client's address, of IPv6 the first 64 bits.
    pub address: Arc<str>,
}

/// Who acts.
#[derive(Clone, Debug)]
pub struct Actor {
    /// In which account.
    pub account: AccountId,
    /// Who; none for the command line, and for somebody who is not logged in.
    pub user: Option<UserId>,
    /// In which login.
    pub session: Option<SessionId>,
    /// Through which request; none for the command line.
    pub origin: Option<Origin>,
}

impl Actor {
    /// Whoever operates the deployment, on its command line.
    #[must_use]
    pub const fn command_line(account: AccountId) -> Self {
        Self { account, user: None, session: None, origin: None }
    }
}

/// An entry of the trail.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id.
    pub id: EventId,
    /// Its position in the trail.
    pub number: i64,
    /// What happened.
    pub event_type: String,
    /// Who did it.
    pub user: Option<UserId>,
    /// In which login.
    pub session: Option<SessionId>,
    /// To what.
    pub subject: Subject,
    /// What was.
    pub before: Option<Value>,
    /// What is.
    pub after: Option<Value>,
    /// Through which request.
    pub request_id: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// When, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// Which entries a list holds; what is none filters nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventFilter {
    /// Only of this type.
    pub event_type: Option<EventType>,
    /// Only what this user did.
    pub user: Option<UserId>,
    /// Only what was done to this.
    pub subject: Option<Subject>,
}

/// The service of the trail.
#[derive(Clone, Debug)]
pub struct Audit {
    pool: Pool,
}

impl Audit {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Records what changed nothing: a refusal.
    ///
    /// # Errors
    /// The database is away.
    pub async fn record(&self, actor: &Actor, event: Event) -> Result<()> {
        let actor = actor.clone();
        unit::write(&self.pool, move |unit| {
            let actor = actor.clone();
            Box::pin(async move { record_in(unit, &actor, event).await })
        })
        .await
    }

    /// At most `limit` entries before position `before` (the newest, when none), newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn page(&self, account: AccountId, filter: EventFilter, before: Option<i64>, limit: i64) -> Result<Vec<Entry>> {
        let before = before.unwrap_or(i64::MAX);
        unit::read(&self.pool, move |unit| Box::pin(store::page(unit, account, filter, before, limit))).await
    }
}

/// Records an event within the transaction that makes it true.
pub(super) async fn record_in(connection: &mut PgConnection, actor: &Actor, event: Event) -> Result<()> {
    store::insert(connection, actor, EventId::new(), &event.describe()).await
}
