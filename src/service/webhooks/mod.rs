//! Webhooks: the events of an account's feed, sent to its endpoints.
//!
//! An endpoint has a place in the feed. One replica at a time holds its lease (`dispatcher`): it makes deliveries of the events
//! after that place, sends those that are due (`owner`), and writes down what came of it. No transaction is open while it
//! sends.

mod deliveries;
mod dispatcher;
mod owner;
mod secrets;
mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    audit_event::{EndpointChanges, Event},
    error::Refusal,
    feed_event::TypeFilter,
    id::{AccountId, MessageId, WebhookEndpointId},
    text::Description,
    webhook::{
        endpoint::{DisabledReason, EndpointStatus, MAX_ENDPOINTS, Ordering},
        url::EndpointUrl,
    },
    word::Word,
};
use crate::egress::{Blocked, Egress};
use crate::telemetry::metrics;

pub use self::{
    deliveries::{Attempt, Delivery, Replay, Replayed},
    dispatcher::{Dispatcher, Render},
    secrets::SecretKeys,
};
use self::{secrets::SecretVersion, store::Stored};
use super::{
    accounts, audit, auth,
    error::{Error, Result},
    events::{Events, Place},
    idempotency::{self, IdempotentRequest, Outcome},
    unit::{self, Unit},
};

/// An endpoint.
#[derive(Clone, Debug)]
pub struct WebhookEndpoint {
    /// Its id.
    pub id: WebhookEndpointId,
    /// Its position in the account's list.
    pub number: i64,
    /// Where events are sent.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// Which events are sent.
    pub types: TypeFilter,
    /// How many are sent at a time.
    pub max_concurrency: i32,
    /// In which order.
    pub ordering: Word<Ordering>,
    /// Whether they are sent.
    pub status: Word<EndpointStatus>,
    /// Why not.
    pub disabled_reason: Option<Word<DisabledReason>>,
    /// The first of the failed attempts since the last success.
    pub failing_since: Option<DateTime<Utc>>,
    /// When one was accepted last.
    pub last_success_at: Option<DateTime<Utc>>,
    /// How many events are not delivered yet; counting ends at 100,000.
    pub pending: i64,
    /// The age of the oldest of them, in seconds.
    pub lag_seconds: i64,
    /// Until when the secret before the last rotation signs as well.
    pub overlap_ends_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// An endpoint to create.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// Where events are sent.
    pub url: EndpointUrl,
    /// Which ones.
    pub types: TypeFilter,
    /// What it is for.
    pub description: Option<Description>,
    /// How many are sent at a time.
    pub max_concurrency: u16,
    /// In which order.
    pub ordering: Ordering,
    /// From where on.
    pub start: Start,
}

/// A place in the feed that a caller names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After everything that has happened.
    Now,
    /// The oldest event that there is.
    Beginning,
    /// After this event.
    After(MessageId),
    /// The first event at or after this time.
    At(DateTime<Utc>),
    /// Where the endpoint stopped.
    Cursor,
}

/// What of an endpoint is to change. None: it stays.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    /// Where events are sent.
    pub url: Option<EndpointUrl>,
    /// Which ones.
    pub types: Option<TypeFilter>,
    /// What it is for; `Some(None)` takes it away.
    pub description: Option<Option<Description>>,
    /// How many are sent at a time.
    pub max_concurrency: Option<u16>,
    /// In which order.
    pub ordering: Option<Ordering>,
    /// Whether they are sent.
    pub status: Option<EndpointStatus>,
    /// Where to go on when it is enabled.
    pub resume: Option<Start>,
}

/// The secret of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointSecret {
    /// The endpoint.
    pub id: WebhookEndpointId,
    /// The secret, as receivers are given it.
    pub text: SecretString,
    /// Until when the secret before the last rotation signs as well.
    pub overlap_ends_at: Option<DateTime<Utc>>,
}

/// The service of webhooks.
#[derive(Clone, Debug)]
pub struct Webhooks {
    pool: Pool,
    events: Events,
    egress: Egress,
    keys: SecretKeys,
}

impl Webhooks {
    pub(super) const fn new(pool: Pool, events: Events, egress: Egress, keys: SecretKeys) -> Self {
        Self { pool, events, egress, keys }
    }

    /// The same service with other connections.
    #[must_use]
    pub fn with_pool(&self, pool: Pool) -> Self {
        Self { events: self.events.with_pool(pool.clone()), pool, ..self.clone() }
    }

    /// Whether the host of a URL resolves to addresses that may be called.
    ///
    /// # Errors
    /// It does not.
    pub async fn check(&self, url: &EndpointUrl) -> std::result::Result<(), Blocked> {
        self.egress.check(url).await
    }

    /// The names of the keys that endpoints need and this process does not have.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn missing_keys(&self) -> Result<Vec<String>> {
        let needed = unit::read(&self.pool, |connection| Box::pin(store::key_names(connection))).await?;
        Ok(needed.into_iter().filter(|kid| !self.keys.has(kid)).collect())
    }

    /// Creates an endpoint, and turns the feed of the account on.
    ///
    /// # Errors
    /// The account has as many endpoints as it may have. The event to start after does not exist. The deployment has no keys.
    pub async fn create(
        &self,
        actor: &Actor,
        new: NewEndpoint,
        idempotent: Option<&IdempotentRequest<WebhookEndpoint>>,
    ) -> Result<Outcome<WebhookEndpoint>> {
        // What is in the feed by now has a position, so that `now` is after it.
        self.events.place_blocks(actor.account).await?;
        let kid = self.keys.first().ok_or(Refusal::WebhooksNotConfigured)?;
        let outcome = idempotency::write_once(&self.pool, idempotent, &Create { actor, new: &new, kid }).await?;
        if let Outcome::Fresh(endpoint) = &outcome {
            tracing::info!(event = "webhook_endpoint_created", account = %actor.account, webhook_endpoint = %endpoint.id);
        }
        Ok(outcome)
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`].
    pub async fn get(&self, account: AccountId, id: WebhookEndpointId) -> Result<WebhookEndpoint> {
        let found =
            unit::read(&self.pool, move |mut connection| Box::pin(async move { store::find(connection.executor(), account, id).await }));
        Ok(found.await?.ok_or(Refusal::WebhookEndpointNotFound)?.endpoint)
    }

    /// At most `limit` endpoints after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, after: i64, limit: i64) -> Result<Vec<WebhookEndpoint>> {
        let rows = unit::read(&self.pool, move |connection| Box::pin(store::page(connection, account, after, limit))).await?;
        Ok(rows.into_iter().map(|stored| stored.endpoint).collect())
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`]. The event to go on after does not exist.
    pub async fn change(
        &self,
        actor: &Actor,
        id: Option<WebhookEndpointId>,
        change: EndpointChange,
        idempotent: Option<&IdempotentRequest<WebhookEndpoint>>,
    ) -> Result<Outcome<WebhookEndpoint>> {
        self.events.place_blocks(actor.account).await?;
        idempotency::write_once(&self.pool, idempotent, &Change { actor, id, change: &change }).await
    }

    /// Deletes an endpoint. What is not delivered is not sent any more.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`].
    pub async fn delete(&self, actor: &Actor, id: WebhookEndpointId) -> Result<()> {
        unit::write(&self.pool, &Delete { actor, id }).await
    }

    /// The secret with which messages to an endpoint are signed.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`], [`Refusal::WebhooksNotConfigured`].
    pub async fn secret(&self, actor: &Actor, id: WebhookEndpointId) -> Result<EndpointSecret> {
        let account = actor.account;
        let found =
            unit::read(&self.pool, move |mut connection| Box::pin(async move { store::find(connection.executor(), account, id).await }));
        let stored = found.await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        tracing::info!(event = "webhook_secret_shown", %account, webhook_endpoint = %id);
        self.secret_of(account, &stored)
    }

    /// Gives an endpoint another secret. The present one signs as well until the overlap ends.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`], [`Refusal::WebhooksNotConfigured`]. The deployment has no keys.
    pub async fn rotate(
        &self,
        actor: &Actor,
        id: Option<WebhookEndpointId>,
        overlap: Duration,
        idempotent: Option<&IdempotentRequest<EndpointSecret>>,
    ) -> Result<Outcome<EndpointSecret>> {
        let kid = self.keys.first().ok_or(Refusal::WebhooksNotConfigured)?;
        let outcome = idempotency::write_once(&self.pool, idempotent, &Rotate { webhooks: self, actor, id, kid, overlap }).await?;
        if let Outcome::Fresh(EndpointSecret { id, .. }) = &outcome {
            tracing::info!(event = "webhook_secret_rotated", account = %actor.account, webhook_endpoint = %id);
        }
        Ok(outcome)
    }

    /// Reports how endpoints do.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn report(&self) -> Result<()> {
        let state = unit::read(&self.pool, |connection| Box::pin(store::state(connection))).await?;
        for (name, count) in [("healthy", state.healthy), ("failing", state.failing), ("disabled", state.disabled)] {
            metrics::webhook_endpoints(name, u32::try_from(count).unwrap_or(u32::MAX));
        }
        metrics::webhook_oldest_pending(Duration::from_secs(u64::try_from(state.oldest_seconds).unwrap_or(0)));
        Ok(())
    }

    fn secret_of(&self, account: AccountId, stored: &Stored) -> Result<EndpointSecret> {
        let secret = self.keys.secret(account, stored.endpoint.id, &stored.secret)?;
        Ok(EndpointSecret { id: stored.endpoint.id, text: secret.to_text(), overlap_ends_at: stored.endpoint.overlap_ends_at })
    }
}

/// The place in the feed that a caller names, or None for where the endpoint stopped.
async fn resolve(connection: &mut PgConnection, account: AccountId, start: Start) -> Result<Option<Place>> {
    Ok(match start {
        Start::Cursor => None,
        Start::Beginning => Some(Place::default()),
        Start::Now => Some(store::end_of_feed(connection, account).await?),
        Start::After(event) => Some(store::place_of(connection, account, event).await?.ok_or(Refusal::EventNotFound)?),
        Start::At(moment) => Some(store::place_at(connection, account, moment).await?),
    })
}

struct Create<'a> {
    actor: &'a Actor,
    new: &'a NewEndpoint,
    kid: &'a str,
}

impl Unit for Create<'_> {
    type Output = WebhookEndpoint;

    async fn run(&self, connection: &mut PgConnection) -> Result<WebhookEndpoint> {
        let Self { actor, new, kid } = *self;
        let account = actor.account;
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        if store::count(connection, account).await? >= MAX_ENDPOINTS {
            return Err(Refusal::TooManyWebhookEndpoints.into());
        }
        super::events::enable_in(connection, actor).await?;
        let start = resolve(connection, account, new.start).await?.unwrap_or_default();
        let id = WebhookEndpointId::new();
        store::insert(connection, account, id, new, start, kid).await?;
        audit::record_in(connection, actor, Event::WebhookEndpointCreated { endpoint: id }).await?;
        found(connection, account, id).await
    }
}

struct Change<'a> {
    actor: &'a Actor,
    id: Option<WebhookEndpointId>,
    change: &'a EndpointChange,
}

impl Unit for Change<'_> {
    type Output = WebhookEndpoint;

    async fn run(&self, connection: &mut PgConnection) -> Result<WebhookEndpoint> {
        let Self { actor, id, change } = *self;
        let account = actor.account;
        let id = id.ok_or(Refusal::WebhookEndpointNotFound)?;
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        let before = store::lock(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        let status = change.status.filter(|status| before.known() != Ok(*status));
        store::change(connection, account, id, change).await?;
        match status {
            Some(EndpointStatus::Enabled) => {
                if let Some(start) = change.resume {
                    if let Some(place) = resolve(connection, account, start).await? {
                        store::resume_at(connection, account, id, place).await?;
                    }
                }
                store::enable(connection, account, id).await?;
                audit::record_in(connection, actor, Event::WebhookEndpointEnabled { endpoint: id }).await?;
            }
            Some(EndpointStatus::Disabled) => {
                store::disable(connection, account, id, DisabledReason::Operator).await?;
                let event = Event::WebhookEndpointDisabled { endpoint: id, reason: DisabledReason::Operator };
                audit::record_in(connection, actor, event).await?;
            }
            None => {}
        }
        let fields = EndpointChanges {
            url: change.url.is_some(),
            event_types: change.types.is_some(),
            description: change.description.is_some(),
            max_concurrency: change.max_concurrency.is_some(),
            ordering: change.ordering.is_some(),
        };
        if fields != EndpointChanges::default() {
            audit::record_in(connection, actor, Event::WebhookEndpointChanged { endpoint: id, fields }).await?;
        }
        found(connection, account, id).await
    }
}

async fn found(connection: &mut PgConnection, account: AccountId, id: WebhookEndpointId) -> Result<WebhookEndpoint> {
    Ok(store::find(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?.endpoint)
}

struct Delete<'a> {
    actor: &'a Actor,
    id: WebhookEndpointId,
}

impl Unit for Delete<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        let Self { actor, id } = *self;
        accounts::lock_in(connection, actor.account).await?;
        auth::may_manage_in(connection, actor).await?;
        store::lock(connection, actor.account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        store::delete(connection, actor.account, id).await?;
        audit::record_in(connection, actor, Event::WebhookEndpointDeleted { endpoint: id }).await
    }
}

struct Rotate<'a> {
    webhooks: &'a Webhooks,
    actor: &'a Actor,
    id: Option<WebhookEndpointId>,
    kid: &'a str,
    overlap: Duration,
}

impl Unit for Rotate<'_> {
    type Output = EndpointSecret;

    async fn run(&self, connection: &mut PgConnection) -> Result<EndpointSecret> {
        let Self { webhooks, actor, id, kid, overlap } = *self;
        let account = actor.account;
        let id = id.ok_or(Refusal::WebhookEndpointNotFound)?;
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        store::lock(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        store::rotate(connection, account, id, kid, overlap).await?;
        audit::record_in(connection, actor, Event::WebhookSecretRotated { endpoint: id }).await?;
        let stored = store::find(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        webhooks.secret_of(account, &stored)
    }
}

impl Stored {
    /// The secrets that sign now.
    fn signing(&self, keys: &SecretKeys, account: AccountId) -> Result<Vec<crate::domain::webhook::signature::SigningSecret>> {
        let versions: Vec<&SecretVersion> = [Some(&self.secret), self.previous.as_ref()].into_iter().flatten().collect();
        versions.into_iter().map(|version| keys.secret(account, self.endpoint.id, version)).collect()
    }
}

/// The error of an endpoint that is not there.
pub(super) const fn not_found() -> Error {
    Error::Refused(Refusal::WebhookEndpointNotFound)
}
