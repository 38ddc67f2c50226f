//! The lease of an endpoint: who has it is the only one that sends to the endpoint.

use std::time::Duration;

use sqlx::PgConnection;

use super::{
    Webhooks,
    message::{Config, EndpointKey},
    store,
};
use crate::domain::{
    actor::{Actor, Principal},
    audit_event::Event,
    webhook::{endpoint::DisabledReason, signature::SigningSecret, url::EndpointUrl},
};
use crate::service::{
    audit,
    error::{Error, Result},
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
