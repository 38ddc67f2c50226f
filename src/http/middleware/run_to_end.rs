//! A unit of work runs to its end. A client that hangs up makes the server drop the future that
//! answers it; inside a task of its own that future is finished all the same, so that no statement
//! is cut off half way and no connection goes back to the pool with a transaction open on it.

use axum::response::IntoResponse;
use axum::{extract::Request, middleware::Next, response::Response};
use tracing::Instrument;

use crate::{http::error::Error, service};

pub(in crate::http) async fn run(request: Request, next: Next) -> Response {
    let work = tokio::spawn(next.run(request).in_current_span());
    // A panic ends its task and nothing else.
    work.await.unwrap_or_else(|error| Error::Service(service::error::Error::internal("running a handler", error)).into_response())
}
