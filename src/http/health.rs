//! Health: `GET /health/live`, `GET /health/ready`.

use std::sync::atomic::Ordering;

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;

use super::{
    App,
    error::{Error, Result},
};

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
}

/// `GET /health/live`: the process serves.
pub(super) async fn live() -> JsonBody<Health> {
    JsonBody(Health { status: "live" })
}

/// `GET /health/ready`: it also has its database and is not about to end.
pub(super) async fn ready(State(app): State<App>) -> Result<JsonBody<Health>> {
    if app.shutting_down.load(Ordering::Relaxed) {
        return Err(Error::ShuttingDown);
    }
    app.services.deployment.ping().await?;
    Ok(JsonBody(Health { status: "ready" }))
}
