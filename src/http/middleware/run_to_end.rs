//! Runs a request to its end. When a client disconnects, the server drops the future that answers it.
//! A separate task finishes the request anyway: no statement is aborted, no connection returns to the
//! pool with an open transaction, and the access log gets its line.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

pub(in crate::http) async fn run(answered: impl Future<Output = Response> + Send + 'static) -> Response {
    // Panics are caught by an inner layer, so joining fails only when the runtime shuts down.
    tokio::spawn(answered).await.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}
