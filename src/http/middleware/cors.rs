//! Lets scripts of web pages call the API from the origins that the settings list, and from no others.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

use crate::config::Origins;

/// How long a browser may cache a preflight response.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The layer; `None` if no origin is allowed. Then no response has CORS headers.
pub(in crate::http) fn layer(origins: &Origins) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let name = HeaderName::from_static;
    // No credentials: scripts send the token themselves, and the API uses no cookies.
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            name("idempotency-key"),
            name("x-request-id"),
            name("traceparent"),
            name("tracestate"),
        ])
        .expose_headers([
            name("x-request-id"),
            name("x-ratelimit-limit"),
            name("x-ratelimit-remaining"),
            name("x-ratelimit-reset"),
            header::RETRY_AFTER,
            name("idempotent-replayed"),
            header::CONTENT_DISPOSITION,
        ])
        .max_age(MAX_AGE);
    Some(layer)
}
