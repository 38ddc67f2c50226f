//! The lease of an endpoint: who has it is the only one that sends to the endpoint.

use std::time::Duration;

use sqlx::PgConnection;

use super::{
    Place, Webhooks,
    message::{Config, EndpointKey, Finished, Health},
    store,
};
use crate::domain::{
    actor::{Actor, Principal},
    audit_event::Event,
    id::DeliveryId,
    webhook::{endpoint::DisabledReason, signature::SigningSecret, url::EndpointUrl},
};
use crate::service::{
    audit,
    error::{Error, Result},
    events::Header,
    unit::{self, Unit},
};

/// How long a lease lasts that is not renewed.
pub(super) const LEASE: Duration = Duration::from_secs(30);

pub(super) async fn renew(webhooks: &Webhooks, key: EndpointKey) -> Result<Option<Config>> {
    unit::write(&webhooks.pool, &Renew { key }).await
}

/// The URL and the secrets of an endpoint.
pub(super) fn prepare(webhooks: &Webhooks, key: EndpointKey, config: &Config) -> Result<(EndpointUrl, Vec<SigningSecret>)> {
    // Whether plain http is allowed was decided when the URL was set.
    let url = EndpointUrl::parse(&config.url, true).map_err(|fault| Error::internal("reading the URL of an endpoint", fault))?;
    Ok((url, webhooks.keys.secrets(key.account, key.id, &config.secrets)?))
}

struct Renew {
    key: EndpointKey,
}

impl Unit for Renew {
    type Output = Option<Config>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Option<Config>> {
        store::renew(connection, self.key).await
    }
}

/// Disables an endpoint. One replica does, so there is one event.
pub(super) struct GiveUp {
    pub(super) key: EndpointKey,
    pub(super) reason: DisabledReason,
}

impl Unit for GiveUp {
    type Output = bool;

    async fn run(&self, connection: &mut PgConnection) -> Result<bool> {
        let Self { key, reason } = *self;
        let disabled = store::give_up(connection, key, reason).await?;
        if disabled {
            let nobody = Actor { account: key.account, principal: Principal::Anonymous(None) };
            audit::record_in(connection, &nobody, Event::WebhookEndpointDisabled { endpoint: key.id, reason }).await?;
        }
        Ok(disabled)
    }
}

/// Makes deliveries of events, and moves the endpoint's place in the feed behind them.
pub(super) struct MakeDeliveries<'a> {
    pub(super) key: EndpointKey,
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) made: &'a [(DeliveryId, Header)],
}

impl Unit for MakeDeliveries<'_> {
    /// Whether the place was moved.
    type Output = bool;

    async fn run(&self, connection: &mut PgConnection) -> Result<bool> {
        let Self { key, from, to, made } = *self;
        let has_moved = store::move_place(connection, key, from, to).await?;
        if has_moved && !made.is_empty() {
            store::make_deliveries(connection, key, made).await?;
        }
        Ok(has_moved)
    }
}

/// Writes down what became of deliveries. None: the lease is lost, and nothing was written but the attempts, which were made.
pub(super) struct Record<'a> {
    pub(super) key: EndpointKey,
    pub(super) finished: &'a [Finished],
}

impl Unit for Record<'_> {
    type Output = Option<Health>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Option<Health>> {
        let health = store::record(connection, self.key, self.finished).await?;
        store::insert_attempts(connection, self.key, self.finished).await?;
        Ok(health)
    }
}
