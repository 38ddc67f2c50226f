//! One log line per request. A server error is logged once, here, with its whole chain of causes.

use std::time::Instant;

use axum::{
    Router,
    extract::{MatchedPath, Request},
    response::Response,
};
use tracing::Instrument;

use super::{problem, protocol, request_id::RequestId};
#[cfg(feature = "otel")]
use crate::telemetry::otlp::ServerSpan;
use crate::{
    http::error::Problem,
    service::error::{Error as ServiceError, chain},
    telemetry::{known_method, metrics, trace_context::TraceContext},
};

pub(in crate::http) async fn write(id: RequestId, router: Router, request: Request) -> Response {
    let began = Instant::now();
    // Clients choose the method freely, so an unsupported one must not be logged.
    let method = known_method(request.method().as_str()).unwrap_or("other");
    let trace = TraceContext::of(request.headers());
    let span = tracing::info_span!("request", id = id.as_str(), trace_id = trace.map(|trace| tracing::field::display(trace.trace_id)));
    #[cfg(feature = "otel")]
    let exported = ServerSpan::begin(trace.as_ref());
    let in_flight = metrics::InFlight::enter();
    let response = protocol::route(router, request).instrument(span.clone()).await;
    let response = problem::write(&id, response);
    drop(in_flight);
    // The route and never the path, which can contain private data.
    let matched = response.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = matched.unwrap_or("none");
    let _in_span = span.entered();
    let status = response.status().as_u16();
    #[cfg(feature = "otel")]
    exported.end(method, matched, status);
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let problem = response.extensions().get::<Problem>().map(|problem| problem.code.name());
    metrics::request_finished(method, route, status, began.elapsed(), problem);
    match response.extensions().get::<Problem>() {
        // Overload and a replica that is not ready cause a 5xx as well, but are not errors.
        Some(Problem { code, cause: Some(cause), .. })
            if response.status().is_server_error() && !matches!(**cause, ServiceError::Overloaded) =>
        {
            tracing::error!(method, route, status, duration_ms, code = code.name(), cause = chain(&**cause));
        }
        Some(problem) => tracing::info!(method, route, status, duration_ms, code = problem.code.name()),
        None => tracing::info!(method, route, status, duration_ms),
    }
    response
}
