//! Deliveries and their attempts, and what an account can ask for: a test, an event once more, a period once more.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Webhooks, message, not_found, store};
use crate::domain::{
    actor::Actor,
    error::Refusal,
    feed_event::{FeedEventType, TypeFilter},
    id::{AccountId, AttemptId, CardId, DeliveryId, MessageId, WebhookEndpointId},
    webhook::{
        endpoint::{DeliveryStatus, EndpointStatus, ReplayOnly},
        outcome::AttemptOutcome,
        url::EndpointUrl,
    },
    word::Word,
};
use crate::service::{
    auth,
    error::{Error, Result},
    idempotency::{self, IdempotentRequest, Outcome},
    unit::{self, Unit},
};

/// The most events that one replay sends again.
const MAX_REPLAYED: i64 = 100_000;

/// How far an id's time can be from the event's: they come from two clocks.
const CLOCKS_DIFFER_BY: TimeDelta = TimeDelta::minutes(5);

/// How many attempts and how many deliveries are deleted at a time.
const PURGE_BATCH: i64 = 500;

/// The delivery of an event to an endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The endpoint.
    pub endpoint: WebhookEndpointId,
    /// The event.
    pub event: MessageId,
    /// The type of the event.
    pub event_type: String,
    /// The card that the event tells of.
    pub card: Option<CardId>,
    /// The place of the event in the card's history.
    pub sequence: Option<i64>,
    /// What became of it.
    pub status: Word<DeliveryStatus>,
    /// How many attempts were started.
    pub attempts: i32,
    /// When the next one is due.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was accepted.
    pub delivered_at: Option<DateTime<Utc>>,
}

/// An attempt of a delivery.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its number, from 1. A number is left out where a process ended before it knew what the attempt came to.
    pub number: i32,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
    /// What it came to.
    pub outcome: Word<AttemptOutcome>,
    /// The status, if there was one.
    pub status_code: Option<i32>,
    /// The start of the response's body.
    pub response_body: Option<String>,
    /// When the next one was to come.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// A period to send again.
#[derive(Clone, Debug)]
pub struct Replay {
    /// From this moment on.
    pub from: DateTime<Utc>,
    /// Before this moment.
    pub to: DateTime<Utc>,
    /// Which events.
    pub only: ReplayOnly,
    /// Of which types. None: those of the endpoint.
    pub types: Option<TypeFilter>,
    /// Whether it only counts.
    pub is_trial: bool,
}

impl Replay {
    /// The lowest and the highest id that an event of the period can have.
    pub(super) fn ids(&self) -> (Uuid, Uuid) {
        let at = |moment: DateTime<Utc>, random: u8| {
            let millis = u64::try_from(moment.timestamp_millis()).unwrap_or(0);
            uuid::Builder::from_unix_timestamp_millis(millis, &[random; 10]).into_uuid()
        };
        (at(self.from - CLOCKS_DIFFER_BY, 0), at(self.to + CLOCKS_DIFFER_BY, 0xff))
    }
}

/// What a replay did.
#[derive(Clone, Copy, Debug)]
pub struct Replayed {
    /// How many events fit.
    pub matched: i64,
    /// How many of them are to be sent again.
    pub scheduled: i64,
}

impl Webhooks {
    /// At most `limit` deliveries to an endpoint, before that of an event or the newest, newest event first.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`].
    pub async fn deliveries(
        &self,
        account: AccountId,
        endpoint: WebhookEndpointId,
        status: Option<DeliveryStatus>,
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<Delivery>> {
        unit::read(&self.pool, move |connection| {
            Box::pin(store::deliveries_of_endpoint(connection, (account, endpoint), status, before, limit))
        })
        .await
    }

    /// The deliveries of an event.
    ///
    /// # Errors
    /// [`Refusal::EventNotFound`].
    pub async fn deliveries_of(&self, account: AccountId, event: MessageId) -> Result<Vec<Delivery>> {
        self.events.get(account, event).await?;
        unit::read(&self.pool, move |connection| Box::pin(store::deliveries_of_event(connection, account, event))).await
    }

    /// One delivery.
    ///
    /// # Errors
    /// [`Refusal::DeliveryNotFound`].
    pub async fn delivery(&self, account: AccountId, id: DeliveryId) -> Result<Delivery> {
        let found = unit::read(&self.pool, move |mut connection| {
            Box::pin(async move { store::find_delivery(connection.executor(), account, id).await })
        });
        found.await?.ok_or(Refusal::DeliveryNotFound.into())
    }

    /// At most `limit` attempts at an endpoint, before one or the newest, newest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn attempts(
        &self,
        account: AccountId,
        endpoint: WebhookEndpointId,
        before: Option<AttemptId>,
        limit: i64,
    ) -> Result<Vec<Attempt>> {
        unit::read(&self.pool, move |connection| Box::pin(store::attempts_of_endpoint(connection, (account, endpoint), before, limit)))
            .await
    }

    /// At most `limit` attempts of a delivery, before one or the newest, newest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn attempts_of(
        &self,
        account: AccountId,
        delivery: DeliveryId,
        before: Option<AttemptId>,
        limit: i64,
    ) -> Result<Vec<Attempt>> {
        unit::read(&self.pool, move |connection| Box::pin(store::attempts_of_delivery(connection, (account, delivery), before, limit)))
            .await
    }

    /// Sends an event once more: to one endpoint, or to each that is enabled and wants it. Returns to how many.
    ///
    /// # Errors
    /// [`Refusal::EventNotFound`], [`Refusal::WebhookEndpointNotFound`], [`Refusal::WebhookEndpointDisabled`].
    pub async fn resend(
        &self,
        actor: &Actor,
        event: Option<MessageId>,
        endpoint: Option<WebhookEndpointId>,
        idempotent: Option<&IdempotentRequest<i64>>,
    ) -> Result<Outcome<i64>> {
        self.events.place_blocks(actor.account).await?;
        idempotency::write_once(&self.pool, idempotent, &Resend { actor, event, endpoint }).await
    }

    /// Sends the events of a period once more to an endpoint.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`], [`Refusal::WebhookEndpointDisabled`], [`Refusal::ReplayTooLarge`].
    pub async fn replay(
        &self,
        actor: &Actor,
        endpoint: Option<WebhookEndpointId>,
        replay: &Replay,
        idempotent: Option<&IdempotentRequest<Replayed>>,
    ) -> Result<Outcome<Replayed>> {
        self.events.place_blocks(actor.account).await?;
        let outcome = idempotency::write_once(&self.pool, idempotent, &RunReplay { actor, endpoint, replay }).await?;
        if let (Outcome::Fresh(done), false) = (&outcome, replay.is_trial) {
            tracing::info!(event = "webhook_events_replayed", account = %actor.account, scheduled = done.scheduled);
        }
        Ok(outcome)
    }

    /// Sends a test to an endpoint, also to one that is disabled, and waits for what it comes to. Nothing is open meanwhile.
    ///
    /// # Errors
    /// [`Refusal::WebhookEndpointNotFound`], [`Refusal::WebhooksNotConfigured`].
    pub async fn test(&self, account: AccountId, id: WebhookEndpointId) -> Result<Attempt> {
        let found = unit::read(&self.pool, move |mut connection| {
            Box::pin(async move {
                let connection = connection.executor();
                let found = store::find(connection, account, id).await?;
                Ok((found, store::now(connection).await?))
            })
        });
        let (found, now) = found.await?;
        let stored = found.ok_or_else(not_found)?;
        let event = MessageId::new();
        let payload = json!({
            "id": event,
            "type": FeedEventType::WebhookTest.name(),
            "timestamp": now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "cardId": null,
            "sequence": null,
            "data": {"webhookEndpoint": {"webhookEndpointId": id}},
        })
        .to_string();
        let url =
            EndpointUrl::parse(&stored.endpoint.url, true).map_err(|fault| Error::internal("reading the URL of an endpoint", fault))?;
        let versions = std::iter::once(&stored.secret).chain(&stored.previous);
        let secrets = self.keys.secrets(account, id, versions)?;
        let mut target = self.egress.target(&url);
        let response = message::send(&mut target, &secrets, event, payload.into()).await;
        let attempt = Attempt {
            id: AttemptId::new(),
            delivery: DeliveryId::new(),
            number: 1,
            started_at: now,
            duration_ms: millis(response.duration),
            outcome: response.outcome.into(),
            status_code: response.status.map(i32::from),
            response_body: response.body,
            next_attempt_at: None,
        };
        unit::write(&self.pool, &WriteTest { account, endpoint: id, event, attempt: &attempt }).await?;
        Ok(attempt)
    }

    /// Deletes some of the attempts and deliveries that are older than `age`, and returns whether there may be more.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(in crate::service) async fn purge_older_than(&self, age: Duration) -> Result<bool> {
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let millis = Utc::now().checked_sub_signed(age).map_or(0, |moment| moment.timestamp_millis());
        let before = uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(0), &[0; 10]).into_uuid();
        let gone = unit::purge(&self.pool, move |connection| Box::pin(store::purge(connection, before, PURGE_BATCH))).await?;
        Ok(gone >= PURGE_BATCH)
    }
}

/// A duration in milliseconds, as the database has it.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Checks that an endpoint is enabled, and keeps it so until the transaction ends. Returns which types it wants.
async fn enabled(connection: &mut PgConnection, account: AccountId, id: WebhookEndpointId) -> Result<()> {
    let status = store::lock(connection, account, id).await?.ok_or_else(not_found)?;
    if status.known()? == EndpointStatus::Enabled { Ok(()) } else { Err(Refusal::WebhookEndpointDisabled.into()) }
}

struct Resend<'a> {
    actor: &'a Actor,
    event: Option<MessageId>,
    endpoint: Option<WebhookEndpointId>,
}

impl Unit for Resend<'_> {
    type Output = i64;

    async fn run(&self, connection: &mut PgConnection) -> Result<i64> {
        let account = self.actor.account;
        auth::may_manage_in(connection, self.actor).await?;
        let event = self.event.ok_or(Refusal::EventNotFound)?;
        store::place_of(connection, account, event).await?.ok_or(Refusal::EventNotFound)?;
        if let Some(endpoint) = self.endpoint {
            enabled(connection, account, endpoint).await?;
        }
        store::resend(connection, account, event, self.endpoint).await
    }
}

struct RunReplay<'a> {
    actor: &'a Actor,
    endpoint: Option<WebhookEndpointId>,
    replay: &'a Replay,
}

impl Unit for RunReplay<'_> {
    type Output = Replayed;

    async fn run(&self, connection: &mut PgConnection) -> Result<Replayed> {
        let (account, replay) = (self.actor.account, self.replay);
        auth::may_manage_in(connection, self.actor).await?;
        let endpoint = self.endpoint.ok_or_else(not_found)?;
        enabled(connection, account, endpoint).await?;
        let own = store::find(connection, account, endpoint).await?.ok_or_else(not_found)?;
        let types = replay.types.as_ref().unwrap_or(&own.endpoint.types).names();
        let replayed = store::replay(connection, (account, endpoint), replay, types.as_deref(), MAX_REPLAYED).await?;
        if replayed.matched > MAX_REPLAYED {
            return Err(Refusal::ReplayTooLarge.into());
        }
        Ok(replayed)
    }
}

struct WriteTest<'a> {
    account: AccountId,
    endpoint: WebhookEndpointId,
    event: MessageId,
    attempt: &'a Attempt,
}

impl Unit for WriteTest<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        let Self { account, endpoint, event, attempt } = *self;
        store::insert_test(connection, (account, endpoint), event, attempt).await
    }
}
