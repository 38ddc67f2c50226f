//! Health: `GET /health/live`, `GET /health/ready`.

use std::sync::atomic::Ordering;

use axum::{Json as JsonBody, extract::State};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    error::{Error, Result},
    openapi::{Operation, Tag},
};

/// The health of one process.
#[derive(Serialize, JsonSchema)]
pub(super) struct Health {
    /// What the process is: `live` or `ready`.
    status: &'static str,
    /// True if the database is distributed by account. Otherwise it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    sharded: Option<bool>,
}

/// `GET /health/live`: whether the process serves.
pub(super) const LIVE: Operation = Operation::new("live", Tag::Service, "Whether the process serves")
    .about("For a supervisor that restarts the process. It does not ask the database, so a database outage restarts nothing.")
    .response::<Health>(r#"{"status": "live"}"#);

/// `GET /health/live`: whether the process serves.
pub(super) async fn live() -> JsonBody<Health> {
    JsonBody(Health { status: "live", sharded: None })
}

/// `GET /health/ready`: whether the process also reaches its database and is not shutting down.
pub(super) const READY: Operation = Operation::new("ready", Tag::Service, "Whether the process also reaches its database")
    .about("The health check for load balancers.")
    .response::<Health>(r#"{"status": "ready"}"#);

/// `GET /health/ready`: whether the process also reaches its database and is not shutting down.
pub(super) async fn ready(State(app): State<App>) -> Result<JsonBody<Health>> {
    if app.shutting_down.load(Ordering::Relaxed) {
        return Err(Error::ShuttingDown);
    }
    app.services.deployment.can_serve().await?;
    Ok(JsonBody(Health { status: "ready", sharded: app.services.deployment.is_sharded().then_some(true) }))
}
