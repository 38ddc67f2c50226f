//! The feed of an account: every event in an order that skips nothing.
//!
//! The transaction that does a thing writes its events, as a block without a position: `audit` and the ledger have the
//! statements. [`Events::page`] gives the blocks that are committed by then their positions, under the lock of the feed, and
//! reads what has one. A block that is committed later gets a later position, however long its transaction took.

mod store;
mod waiting;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::time::Instant;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    audit_event::Event as AuditEvent,
    error::Refusal,
    feed_event::TypeFilter,
    id::{AccountId, CardId, MessageId},
};

pub(super) use self::waiting::News;
use self::{store::Row, waiting::Waiting};
use super::{
    audit, auth,
    error::{Error, Result},
    ledger::{self, Content, Pointer, Reference},
    unit::{self, Unit},
};

/// The most events that a page is looked for in: a filter that little passes reads no more of a large feed at a time.
const SCANNED: i64 = 10_000;

/// How many events are deleted at a time.
const PURGE_BATCH: i64 = 500;

/// A place in the feed of an account: the position of a block, and the place in the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The position of the block; 0 before the first.
    pub position: i64,
    /// The place in the block, from 1; 0 before the first.
    pub ordinal: i32,
}

/// An event of the feed.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// Its id, which a webhook has as well.
    pub id: MessageId,
    /// Its type.
    pub event_type: String,
    /// Its place in the feed.
    pub place: Place,
    /// The place in the history of a card, if it tells of one.
    pub card: Option<Reference>,
    /// When it happened, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// What it tells.
    pub told: Told,
}

/// What an event tells.
#[derive(Clone, Debug)]
pub enum Told {
    /// A change in the ledger.
    Ledger(Box<Content>),
    /// Any other change: a JSON object.
    Stated(String),
}

/// A filter of the feed.
#[derive(Clone, Debug)]
pub struct FeedFilter {
    /// Only events of these types.
    pub types: TypeFilter,
    /// Only events of this card.
    pub card: Option<CardId>,
}

/// Some events of a feed, in their order.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// The events.
    pub events: Vec<FeedEvent>,
    /// Where the next page begins: after everything that was looked at.
    pub end: Place,
    /// Whether more may follow now.
    pub has_more: bool,
    /// The position of the newest block at the time.
    position: i64,
}

/// An event, without what it tells.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) id: MessageId,
    pub(super) event_type: String,
    pub(super) card: Option<Reference>,
    pub(super) created_at: DateTime<Utc>,
}

impl From<Row> for Header {
    fn from(row: Row) -> Self {
        Self { id: row.id, event_type: row.event_type, card: row.card, created_at: row.created_at }
    }
}

/// Some of those, and where the next page begins.
pub(super) struct HeaderPage {
    pub(super) headers: Vec<Header>,
    pub(super) end: Place,
}

/// The service of events.
#[derive(Clone, Debug)]
pub struct Events {
    pool: Pool,
    waiting: Waiting,
}

impl Events {
    pub(super) fn new(pool: Pool) -> Self {
        Self { waiting: Waiting::default(), pool }
    }

    /// The same service with other connections.
    pub(super) fn with_pool(&self, pool: Pool) -> Self {
        Self { pool, waiting: self.waiting.clone() }
    }

    /// Whether the account has a feed that is on.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn is_enabled(&self, account: AccountId) -> Result<bool> {
        unit::read(&self.pool, move |connection| Box::pin(store::is_enabled(connection, account))).await
    }

    /// Turns the feed on or off. While it is off, what happens has no events, and webhook
    /// endpoints get none. What is in the feed stays.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn set_enabled(&self, actor: &Actor, enabled: bool) -> Result<bool> {
        unit::write(&self.pool, &SetEnabled { actor, enabled }).await
    }

    /// At most `limit` events after a place that pass the filter, oldest first. Of a feed with many others, the page may have
    /// fewer although more follow: then it ends later than its last event.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, filter: &FeedFilter, after: Place, limit: i64) -> Result<FeedPage> {
        let position = self.place_blocks(account).await?;
        let filter = filter.clone();
        unit::read(&self.pool, move |mut connection| {
            Box::pin(async move { page(connection.executor(), account, &filter, after, (limit, position)).await })
        })
        .await
    }

    /// Waits until there is more in the feed than the page saw. Returns whether there is: otherwise the time is up, or this
    /// process lets nobody wait. Holds no connection meanwhile.
    pub async fn wait(&self, account: AccountId, page: &FeedPage, until: Instant) -> bool {
        self.waiting.wait(account, page.position, until).await
    }

    /// Follows the feed of an account.
    pub(super) fn subscribe(&self, account: AccountId) -> News {
        self.waiting.subscribe(account)
    }

    /// What at most `limit` events after a place are, without what they tell. A page can be empty and still end later.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn headers(&self, account: AccountId, types: TypeFilter, after: Place, limit: i64) -> Result<HeaderPage> {
        self.place_blocks(account).await?;
        let names = types.names();
        let scanned = if names.is_some() { SCANNED.max(limit) } else { limit };
        let found = unit::read(&self.pool, move |mut connection| {
            Box::pin(async move { store::page(connection.executor(), account, names.as_deref(), after, (limit, scanned)).await })
        });
        let found = found.await?;
        let end = found.end_of_page(limit).unwrap_or(after);
        Ok(HeaderPage { headers: found.rows.into_iter().map(Header::from).collect(), end })
    }

    /// Those of the events that exist.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn with_ids(&self, account: AccountId, ids: Vec<MessageId>) -> Result<Vec<FeedEvent>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        unit::read(&self.pool, move |mut connection| {
            Box::pin(async move {
                let connection = connection.executor();
                let rows = store::with_ids(connection, account, &ids).await?;
                tell(connection, account, rows).await
            })
        })
        .await
    }

    /// Lets everybody who waits go on, because the process ends.
    pub fn stop_waiting(&self) {
        self.waiting.stop();
    }

    /// One event.
    ///
    /// # Errors
    /// [`Refusal::EventNotFound`].
    pub async fn get(&self, account: AccountId, id: MessageId) -> Result<FeedEvent> {
        self.place_blocks(account).await?;
        self.with_ids(account, vec![id]).await?.pop().ok_or(Refusal::EventNotFound.into())
    }

    /// Gives every block that is committed its position, and returns the newest one.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn place_blocks(&self, account: AccountId) -> Result<i64> {
        let head = unit::read(&self.pool, move |connection| Box::pin(store::head(connection, account))).await?;
        match head {
            Some(head) if head.is_behind => self.place_now(account).await,
            Some(head) => Ok(head.position),
            None => Ok(0),
        }
    }

    /// Whether the blocks have their positions after a lost commit makes no difference to the reader: what has none gets it
    /// with the next try.
    async fn place_now(&self, account: AccountId) -> Result<i64> {
        unit::write(&self.pool, &PlaceBlocks { account }).await.map_err(|error| match error {
            Error::OutcomeUnknown(cause) => Error::DatabaseUnavailable(cause),
            other => other,
        })
    }

    /// Looks for new events of the accounts that somebody waits for. Runs until it is dropped.
    pub async fn watch(self) {
        loop {
            let accounts = self.waiting.accounts().await;
            if let Err(error) = self.look(&accounts).await {
                tracing::warn!(cause = super::error::chain(&error), "new events could not be looked for; trying again");
            }
            tokio::time::sleep(waiting::INTERVAL).await;
        }
    }

    async fn look(&self, accounts: &[AccountId]) -> Result<()> {
        let ids = accounts.to_vec();
        let heads = unit::read(&self.pool, move |connection| Box::pin(async move { store::heads(connection, &ids).await })).await?;
        for (account, head) in heads {
            let position = if head.is_behind { self.place_now(account).await? } else { head.position };
            self.waiting.announce(account, position);
        }
        Ok(())
    }

    /// Deletes some of the events that are older than `age`, and returns whether there may be more.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn purge_older_than(&self, age: Duration) -> Result<bool> {
        let deleted = unit::purge(&self.pool, move |connection| Box::pin(store::delete_older_than(connection, age, PURGE_BATCH))).await?;
        Ok(deleted == PURGE_BATCH)
    }
}

/// A page of a feed whose blocks have positions up to this one.
async fn page(
    connection: &mut PgConnection,
    account: AccountId,
    filter: &FeedFilter,
    after: Place,
    (limit, position): (i64, i64),
) -> Result<FeedPage> {
    let types = filter.types.names();
    let scanned = if types.is_some() { SCANNED.max(limit) } else { limit };
    let found = match filter.card {
        Some(card) => store::page_of_card(connection, (account, card), types.as_deref(), after, (limit, scanned)).await?,
        None => store::page(connection, account, types.as_deref(), after, (limit, scanned)).await?,
    };
    let end = found.end_of_page(limit);
    let has_more = found.is_full(limit) || found.scanned >= scanned;
    Ok(FeedPage { events: tell(connection, account, found.rows).await?, end: end.unwrap_or(after), has_more, position })
}

/// Turns the feed on in the transaction of a change that needs it.
pub(super) async fn enable_in(connection: &mut PgConnection, actor: &Actor) -> Result<()> {
    SetEnabled { actor, enabled: true }.run(connection).await.map(|_| ())
}

/// Reads what the rows of events point at.
async fn tell(connection: &mut PgConnection, account: AccountId, rows: Vec<Row>) -> Result<Vec<FeedEvent>> {
    let pointers: Vec<Pointer> = rows.iter().filter_map(Row::pointer).collect();
    let mut contents = ledger::tell(connection, account, &pointers).await?;
    let events = rows.into_iter().map(|row| {
        let content = row.card.and_then(|card| contents.remove(&card));
        let told = match (content, row.state) {
            (Some(content), _) => Told::Ledger(Box::new(content)),
            (None, state) => Told::Stated(state.unwrap_or_else(|| "{}".to_owned())),
        };
        FeedEvent { id: row.id, event_type: row.event_type, place: row.place, card: row.card, created_at: row.created_at, told }
    });
    Ok(events.collect())
}

struct SetEnabled<'a> {
    actor: &'a Actor,
    enabled: bool,
}

impl Unit for SetEnabled<'_> {
    type Output = bool;

    async fn run(&self, connection: &mut PgConnection) -> Result<bool> {
        let account = self.actor.account;
        auth::may_manage_in(connection, self.actor).await?;
        store::insert_feed(connection, account).await?;
        let before = store::set_enabled(connection, account, self.enabled).await?;
        if before != self.enabled {
            audit::record_in(connection, self.actor, AuditEvent::EventFeedChanged { account, enabled: self.enabled }).await?;
        }
        Ok(self.enabled)
    }
}

/// Gives the blocks that are committed the next positions of their feed. Two statements: the second sees what was committed
/// until the lock of the feed was there.
struct PlaceBlocks {
    account: AccountId,
}

impl Unit for PlaceBlocks {
    type Output = i64;

    async fn run(&self, connection: &mut PgConnection) -> Result<i64> {
        let position = store::lock_feed(connection, self.account).await?;
        store::place_blocks(connection, self.account, position).await
    }
}
