//! Runs a request to its end. When a client disconnects, the server drops the future that answers it.
//! A separate task finishes the request anyway: no statement is aborted, no connection returns to the
//! pool with an open transaction, and the access log gets its line. A shutdown waits for these tasks, too.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio_util::task::TaskTracker;

pub(in crate::http) async fn run(requests: &TaskTracker, answered: impl Future<Output = Response> + Send + 'static) -> Response {
    // Panics are caught by an inner layer, so joining fails only when the runtime shuts down.
    requests.spawn(answered).await.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}
