//! Webhooks: the events of an account's feed, sent to its endpoints.
//!
//! An endpoint has a place in the feed. One replica at a time holds its lease (`dispatcher`): it makes deliveries of the events
//! after that place, sends those that are due (`owner`), and writes down what came of it. No transaction is open while it
//! sends.

mod changes;
mod deliveries;
mod dispatcher;
mod lease;
mod message;
mod owner;
mod secrets;
mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    error::Refusal,
    feed_event::TypeFilter,
    id::{AccountId, MessageId, WebhookEndpointId},
    text::Description,
    webhook::{
        endpoint::{DisabledReason, EndpointStatus, Ordering},
        url::EndpointUrl,
    },
    word::Word,
};
use crate::egress::{Blocked, Egress};
use crate::telemetry::metrics;

use self::{
    changes::{Change, Create, Delete, Rotate},
    secrets::SecretVersion,
    store::Stored,
};
pub use self::{
    deliveries::{Attempt, Delivery, Replay, Replayed},
    dispatcher::{Dispatcher, Render},
    secrets::SecretKeys,
};
use super::{
    error::{Error, Result},
    events::{Events, Place},
    idempotency::{self, IdempotentRequest, Outcome},
    unit,
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

/// The error of an endpoint that is not there.
pub(super) const fn not_found() -> Error {
    Error::Refused(Refusal::WebhookEndpointNotFound)
}
