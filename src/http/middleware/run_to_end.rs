//! A unit of work runs to its end. A client that hangs up makes the server drop the future that
//! answers it; inside a task of its own that future is finished all the same, so that no statement
//! is cut off half way, no connection goes back to the pool with a transaction open on it, and the
//! log has its line.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

pub(in crate::http) async fn run(answered: impl Future<Output = Response> + Send + 'static) -> Response {
    // Panics are caught further in; what is left is a runtime that is shutting down.
    tokio::spawn(answered).await.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}
