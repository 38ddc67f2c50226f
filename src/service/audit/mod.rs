//! The trail: who did what, from where, written in the transaction that did it.

mod store;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    audit_event::{Event, EventType, Subject},
    id::{AccountId, EventId, SessionId, UserId},
};

use super::{error::Result, unit};

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
