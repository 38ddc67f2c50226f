//! HTTP: routes, requests and responses. SQL and business rules are in the services.

mod address;
mod api_keys;
mod audit_events;
mod auth;
mod authorization_body;
mod authorizations;
mod balance_body;
mod balances;
mod card_body;
mod card_details;
mod cards;
mod chunks;
mod code;
mod command;
mod controls;
mod csv;
mod customers;
mod docs;
mod document;
mod error;
mod event_body;
mod events;
mod explanations;
mod extract;
mod faults;
mod header_fields;
mod health;
mod json;
mod limit_body;
mod limits;
mod listener;
mod middleware;
mod movement_body;
mod movements;
mod network;
mod openapi;
mod original;
mod page;
mod query;
mod router;
mod routes;
mod sandbox;
mod sessions;
mod statements;
mod strict;
mod time;
mod transfers;
mod users;
mod webhooks;

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::Method;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::middleware::rate_limit::{self, FailureLimiter};
use self::router::Table;
pub use self::{
    event_body::render_event,
    listener::{Limits, serve},
    router::router,
};
use crate::{
    config::{Environment, Networks, Origins, Settings},
    service::Services,
};

/// The state of every handler. It gives access to services, never to a pool.
#[derive(Clone, Debug)]
pub struct App {
    shared: Arc<Shared>,
}

/// The state that all handlers share.
#[derive(Debug)]
pub struct Shared {
    services: Services,
    environment: Environment,
    trusted_proxies: Networks,
    allowed_origins: Origins,
    body_timeout: Duration,
    failed_logins: FailureLimiter,
    failed_authentications: FailureLimiter,
    in_flight: Arc<Semaphore>,
    /// Every request that is being executed, also those whose client has disconnected.
    requests: TaskTracker,
    shutting_down: AtomicBool,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl App {
    /// Creates the state from the services and settings.
    #[must_use]
    pub fn new(services: Services, settings: &Settings) -> Self {
        let shared = Shared {
            services,
            environment: settings.environment,
            trusted_proxies: settings.server.trusted_proxies.clone(),
            allowed_origins: settings.cors.allowed_origins.clone(),
            body_timeout: Duration::from_secs(settings.server.body_timeout_seconds),
            failed_logins: FailureLimiter::per_minute(settings.rate_limit.failed_logins_per_minute),
            failed_authentications: FailureLimiter::per_minute(settings.rate_limit.failed_authentications_per_minute),
            in_flight: Arc::new(Semaphore::new(settings.server.max_in_flight)),
            requests: TaskTracker::new(),
            shutting_down: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Makes `/health/ready` answer 503 from now on, so that the load balancer stops sending requests. Requests that wait for an
    /// event are answered.
    pub fn shut_down(&self) {
        self.shared.shutting_down.store(true, Ordering::Relaxed);
        self.shared.services.events.stop_waiting();
    }

    /// Regularly removes expired entries from the limiters per address and per API key. Runs until it is dropped.
    pub async fn sweep(self) {
        loop {
            tokio::time::sleep(rate_limit::SWEEP_INTERVAL).await;
            let now = Instant::now();
            self.shared.failed_logins.remove_expired(now);
            self.shared.failed_authentications.remove_expired(now);
            self.shared.services.admission.sweep();
        }
    }
}

/// The methods and paths that an environment serves.
#[must_use]
pub fn routes(environment: Environment) -> Vec<(Method, &'static str)> {
    table(environment).entries().map(|entry| (entry.method.clone(), entry.path)).collect()
}

/// The OpenAPI document of an environment, as JSON.
#[must_use]
pub fn openapi(environment: Environment) -> String {
    format!("{:#}\n", table(environment).document())
}

fn table(environment: Environment) -> Table {
    Table::new(environment == Environment::Sandbox)
}
