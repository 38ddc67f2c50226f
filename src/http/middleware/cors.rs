//! Lets the scripts of web pages call, where settings name their origins. Nobody's else.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

use crate::config::Origins;

/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// None if no origin is allowed: then nothing is answered that a browser would take for leave.
pub(in crate::http) fn layer(origins: &Origins) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let name = HeaderName::from_static;
    // No credentials: a token is sent by the script itself, and nothing here is known by a cookie.
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
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
        ])
        .max_age(MAX_AGE);
    Some(layer)
}
