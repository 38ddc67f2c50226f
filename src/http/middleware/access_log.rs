//! One log line a request; a failure of ours with its whole chain of causes, once, here.

use std::time::Instant;

use axum::{
    Extension,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use super::request_id::RequestId;
use crate::{http::error::Problem, service::error::chain, telemetry::metrics};

pub(in crate::http) async fn write(Extension(id): Extension<RequestId>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    // The route and never the path: a path can hold what should not be in a log.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", id = id.as_str());
    let under_way = metrics::UnderWay::enter();
    let response = next.run(request).instrument(span.clone()).await;
    drop(under_way);
    let _in_span = span.entered();
    let status = response.status().as_u16();
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let problem = response.extensions().get::<Problem>().map(|problem| problem.code.name());
    metrics::answered(method.as_str(), &route, status, began.elapsed(), problem);
    match response.extensions().get::<Problem>() {
        Some(problem) if response.status().is_server_error() => {
            let cause = problem.cause.as_deref().map(|cause| chain(cause)).unwrap_or_default();
            tracing::error!(%method, route, status, milliseconds, code = problem.code.name(), cause);
        }
        Some(problem) => tracing::info!(%method, route, status, milliseconds, code = problem.code.name()),
        None => tracing::info!(%method, route, status, milliseconds),
    }
    response
}
