//! Takes endpoints that nobody sends to, and gives each an owner.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{Webhooks, message::EndpointKey, owner::Owner, store};
use crate::service::{
    error::{Result, chain},
    events::FeedEvent,
    unit,
};

/// How often endpoints are looked for.
const INTERVAL: Duration = Duration::from_millis(250);

/// How many are taken at a time, so that other replicas get some.
const MAX_TAKEN: usize = 8;

/// How many endpoints one process sends to at a time.
const MAX_OWNED: usize = 256;

/// Writes an event as it is sent.
pub type Render = Arc<dyn Fn(&FeedEvent) -> Vec<u8> + Send + Sync>;

/// Sends the webhooks of all accounts, as far as other replicas do not.
#[derive(Clone)]
pub struct Dispatcher {
    webhooks: Webhooks,
    render: Render,
    timeout: Duration,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Sends with the connections of `webhooks`. An attempt ends after `timeout`.
    #[must_use]
    pub fn new(webhooks: Webhooks, render: Render, timeout: Duration) -> Self {
        Self { webhooks, render, timeout }
    }

    /// Sends until it is told to stop. Then it waits for the attempts in flight, and gives everything back.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut owners = JoinSet::new();
        while !*stop.borrow_and_update() {
            let started = Instant::now();
            let free = MAX_OWNED.saturating_sub(owners.len()).min(MAX_TAKEN);
            match self.claim(free).await {
                Ok(keys) => {
                    for key in keys {
                        owners.spawn(self.clone().own(key, stop.clone()));
                    }
                }
                Err(error) => tracing::warn!(cause = chain(&error), "endpoints could not be looked for; trying again"),
            }
            while owners.try_join_next().is_some() {}
            tokio::select! {
                () = sleep_until(started + INTERVAL) => {}
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        while owners.join_next().await.is_some() {}
    }

    async fn claim(&self, limit: usize) -> Result<Vec<EndpointKey>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (token, limit) = (Uuid::now_v7(), i64::try_from(limit).unwrap_or(i64::MAX));
        let keys = self.webhooks.keys.names();
        let of_this_process = keys.clone();
        let free = unit::read(&self.webhooks.pool, move |connection| {
            Box::pin(async move { store::free_endpoints(connection, token, &of_this_process, limit).await })
        })
        .await?;
        let mut claimed = Vec::new();
        for key in free {
            let keys = keys.clone();
            let is_claimed = unit::autocommit(&self.webhooks.pool, move |connection| {
                Box::pin(async move { store::claim_endpoint(connection, key, &keys).await })
            });
            // An error does not take back what was claimed before.
            match is_claimed.await {
                Ok(true) => claimed.push(key),
                Ok(false) => {}
                Err(error) if claimed.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(claimed)
    }

    async fn own(self, key: EndpointKey, stop: watch::Receiver<bool>) {
        match Owner::take(self.webhooks, self.render, key, self.timeout).await {
            Ok(Some(owner)) => owner.run(stop).await,
            Ok(None) => {}
            // The lease ends by itself, and somebody tries again.
            Err(error) => {
                tracing::error!(
                    cause = chain(&error),
                    account = %key.account,
                    webhook_endpoint = %key.id,
                    "nothing can be sent to an endpoint"
                );
            }
        }
    }
}
