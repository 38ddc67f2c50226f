//! What webhooks need of the process: the keys of their secrets, the client that sends them, and a task that does.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::StartError;
use crate::{
    config::{Environment, Settings},
    database::{self, Pool},
    egress::Egress,
    http,
    service::{
        Services,
        auth::SigningKey,
        error::Error,
        webhooks::{Dispatcher, SecretKeys},
    },
};

/// The client that calls endpoints.
pub(super) fn egress(settings: &Settings) -> Result<Egress, StartError> {
    let timeout = Duration::from_secs(settings.webhooks.timeout_seconds);
    let made = Egress::new(settings.webhooks.allowed_networks.clone(), timeout, Vec::new());
    made.map_err(|error| Error::internal("making the client of webhooks", error).into())
}

/// The configured keys. The sandbox derives one from its signing key if there are none.
pub(super) fn keys(settings: &Settings, signing_keys: &[SigningKey]) -> Result<SecretKeys, StartError> {
    let configured = settings.webhooks.secret_keys.as_ref().map(SigningKey::parse_list).transpose().map_err(StartError::WebhookKeys)?;
    let keys = match (configured, settings.environment, signing_keys.first()) {
        (Some(keys), ..) => keys,
        (None, Environment::Sandbox, Some(first)) => {
            let secret = first.derive("core-api: the secrets of the sandbox's webhook endpoints")?;
            vec![SigningKey::new("sandbox", secret.to_vec().into()).map_err(StartError::WebhookKeys)?]
        }
        (None, ..) => Vec::new(),
    };
    Ok(SecretKeys::new(keys))
}

/// Makes sure that every endpoint's secret can be derived: otherwise its messages would stay unsent without anybody noticing.
pub(super) async fn require_keys(services: &Services) -> Result<(), StartError> {
    let missing = services.webhooks.missing_keys().await?;
    if missing.is_empty() { Ok(()) } else { Err(StartError::WebhookKeysMissing(missing.join(", "))) }
}

/// Sends webhooks until it is told to stop. It has connections of its own, so that slow endpoints and long backlogs take none
/// from requests.
pub(super) fn dispatcher(services: &Services, pool: &Pool, settings: &Settings) -> (Dispatcher, Pool) {
    let own = database::separate_pool(pool, settings.webhooks.max_connections);
    let timeout = Duration::from_secs(settings.webhooks.timeout_seconds);
    (Dispatcher::new(services.webhooks.with_pool(own.clone()), Arc::new(http::render_event), timeout), own)
}

/// Starts a dispatcher. Sending `true` stops it.
pub(super) fn start(dispatcher: Dispatcher) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let (stop, stopped) = watch::channel(false);
    (stop, tokio::spawn(dispatcher.run(stopped)))
}
