//! The audit log: who did what, from where. Each event is written in the transaction that does it.

mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    audit_event::{Event, EventType, Subject},
    id::{AccountId, ApiKeyId, EventId, SessionId, UserId},
    word::Word,
};

use super::{
    error::Result,
    unit::{self, Unit},
};

/// An event of the audit log.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Its id.
    pub id: EventId,
    /// Its position in the audit log.
    pub number: i64,
    /// Its type.
    pub event_type: String,
    /// The user who did it.
    pub user: Option<UserId>,
    /// The session in which they did it.
    pub session: Option<SessionId>,
    /// The API key with which it was done.
    pub api_key: Option<ApiKeyId>,
    /// What it was done to.
    pub subject: Word<Subject>,
    /// The state before.
    pub before: Option<Value>,
    /// The state after.
    pub after: Option<Value>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// The address that the request came from.
    pub address: Option<String>,
    /// When, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// A filter of the audit log. A field that is None filters nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventFilter {
    /// Only events of this type.
    pub event_type: Option<EventType>,
    /// Only what this user did.
    pub user: Option<UserId>,
    /// Only what was done with this API key.
    pub api_key: Option<ApiKeyId>,
    /// Only what was done to this subject.
    pub subject: Option<Subject>,
}

/// The service of the audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    pool: Pool,
}

impl Audit {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// At most `limit` events before position `before`, or the newest, newest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, filter: EventFilter, before: Option<i64>, limit: i64) -> Result<Vec<AuditEvent>> {
        let before = before.unwrap_or(i64::MAX);
        unit::read(&self.pool, move |connection| Box::pin(store::page(connection, account, filter, before, limit))).await
    }
}

/// How many events are deleted at a time.
const PURGE_BATCH: i64 = 500;

impl Audit {
    /// Deletes some of the events that are older than `age`, at least 30 days, and returns whether there may be more.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn purge_older_than(&self, age: Duration) -> Result<bool> {
        let deleted = unit::purge(&self.pool, move |connection| Box::pin(store::delete_older_than(connection, age, PURGE_BATCH))).await?;
        Ok(deleted == PURGE_BATCH)
    }
}

/// Records one event in a transaction of its own.
pub(super) struct Record<'a> {
    pub(super) actor: &'a Actor,
    pub(super) event: Event,
}

impl Unit for Record<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        record_in(connection, self.actor, self.event.clone()).await
    }
}

/// Records an event in the transaction of the change that it describes, which holds the lock of what it changes. The feed of
/// the account tells of it as well.
pub(super) async fn record_in(connection: &mut PgConnection, actor: &Actor, event: Event) -> Result<()> {
    record_as(connection, actor, EventId::new(), event).await
}

/// Records an event under an id that something else refers to. Otherwise like [`record_in`].
pub(super) async fn record_as(connection: &mut PgConnection, actor: &Actor, id: EventId, event: Event) -> Result<()> {
    store::insert(connection, actor, id, &event.clone().describe(), event.announce().as_ref()).await
}
