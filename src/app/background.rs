//! What the process does beside serving requests.

use std::time::{Duration, Instant};

use crate::{
    database::Pools,
    service::{self, Retention, Services, customers::Customers, ledger::Ledger, webhooks::Webhooks},
};

/// Deletes what has expired, and fills in what an earlier version left out. Runs until it is dropped. It holds no connection
/// between batches.
pub(super) async fn maintain(services: Services, pools: Pools, retention: Retention) {
    tokio::join!(fill_words(services.customers.clone()), purge(services, pools, retention));
}

/// Writes the words by which customers are found that an earlier version created.
async fn fill_words(customers: Customers) {
    loop {
        let more = customers.fill_words().await.unwrap_or_else(|error| {
            tracing::warn!(cause = service::error::chain(&error), "words of customers could not be written; trying again later");
            false
        });
        let pause = if more { Duration::from_millis(100) } else { Duration::from_secs(60) };
        tokio::time::sleep(pause).await;
    }
}

/// Deletes expired rows in small batches and closes idle connections.
async fn purge(services: Services, pools: Pools, retention: Retention) {
    loop {
        let more = services.purge_expired(&retention).await.unwrap_or_else(|error| {
            tracing::warn!(cause = service::error::chain(&error), "expired rows could not be deleted; trying again later");
            false
        });
        pools.close_unused();
        let pause = if more { Duration::from_millis(100) } else { Duration::from_secs(60) };
        tokio::time::sleep(pause).await;
    }
}

/// How often the held money and the endpoints of webhooks are measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(60);

/// Reports how webhook endpoints do. Runs until it is dropped.
pub(super) async fn report_webhooks(webhooks: Webhooks) {
    loop {
        if let Err(error) = webhooks.report().await {
            tracing::warn!(cause = service::error::chain(&error), "webhook endpoints could not be counted; trying again later");
        }
        tokio::time::sleep(MEASURE_INTERVAL).await;
    }
}

/// Lets holds expire that are due, and reports what is held. Runs until it is dropped.
pub(super) async fn expire_holds(ledger: Ledger, interval: Duration) {
    let mut measured: Option<Instant> = None;
    loop {
        let more = ledger.expire_due_holds().await.unwrap_or_else(|error| {
            tracing::warn!(cause = service::error::chain(&error), "holds that are due could not expire; trying again later");
            false
        });
        if measured.is_none_or(|at| at.elapsed() >= MEASURE_INTERVAL) {
            measured = Some(Instant::now());
            if let Err(error) = ledger.report_held_money().await {
                tracing::warn!(cause = service::error::chain(&error), "held money could not be measured; trying again later");
            }
        }
        if !more {
            tokio::time::sleep(interval).await;
        }
    }
}
