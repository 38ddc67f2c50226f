//! HTTP: routes, requests, answers. Knows no SQL and no rule: those are the services'.

mod address;
mod audit_events;
mod auth;
mod balances;
mod cards;
mod code;
mod command;
mod customers;
mod docs;
mod document;
mod error;
mod explanations;
mod extract;
mod faults;
mod health;
mod json;
mod listener;
mod middleware;
mod movement_body;
mod movements;
mod openapi;
mod page;
mod query;
mod router;
mod routes;
mod sandbox;
mod sessions;
mod strict;
mod time;
mod users;

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

use self::middleware::rate_limit::{self, Failures};
use self::router::Table;
pub use self::{
    listener::{Limits, serve},
    router::router,
};
use crate::{
    config::{Environment, Origins, Settings},
    service::Services,
};

/// What every handler can reach: services, never a pool.
#[derive(Clone, Debug)]
pub struct App {
    shared: Arc<Shared>,
}

/// What the handlers of one process have in common.
#[derive(Debug)]
pub struct Shared {
    services: Services,
    has_sandbox_routes: bool,
    trusted_hops: usize,
    allowed_origins: Origins,
    body_timeout: Duration,
    failed_logins: Failures,
    failed_authentications: Failures,
    in_flight: Semaphore,
    shutting_down: AtomicBool,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl App {
    /// The HTTP side of the services.
    #[must_use]
    pub fn new(services: Services, settings: &Settings) -> Self {
        let shared = Shared {
            services,
            has_sandbox_routes: settings.environment == Environment::Sandbox,
            trusted_hops: settings.server.trusted_hops,
            allowed_origins: settings.cors.allowed_origins.clone(),
            body_timeout: Duration::from_secs(settings.server.body_timeout_seconds),
            failed_logins: Failures::per_minute(settings.rate_limit.failed_logins_per_minute),
            failed_authentications: Failures::per_minute(settings.rate_limit.failed_authentications_per_minute),
            in_flight: Semaphore::new(settings.server.max_in_flight),
            shutting_down: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Makes `/health/ready` say no from now on, so that the load balancer looks elsewhere.
    pub fn shut_down(&self) {
        self.shared.shutting_down.store(true, Ordering::Relaxed);
    }

    /// Keeps what is remembered per address small. Runs until it is dropped.
    pub async fn sweep(self) {
        loop {
            tokio::time::sleep(rate_limit::SWEEP).await;
            let now = Instant::now();
            self.shared.failed_logins.forget_the_recovered(now);
            self.shared.failed_authentications.forget_the_recovered(now);
        }
    }
}

/// Every method and path that an environment serves.
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
