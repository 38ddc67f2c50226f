//! `X-Request-Id` on every response: the client's own id if it is safe to log, else a new one.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use uuid::Uuid;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id.
#[derive(Clone, Debug)]
pub(in crate::http) struct RequestId(HeaderValue);

impl RequestId {
    /// The placeholder where no layer has assigned an id.
    pub(in crate::http) const fn unknown() -> Self {
        Self(HeaderValue::from_static("unknown"))
    }

    pub(in crate::http) fn as_str(&self) -> &str {
        // Always ASCII: `is_safe` checks the ids of clients.
        self.0.to_str().unwrap_or_default()
    }
}

pub(in crate::http) fn assign(request: &mut Request) -> RequestId {
    let given = request.headers().get(&X_REQUEST_ID).filter(|id| is_safe(id.as_bytes())).cloned();
    let id = RequestId(given.unwrap_or_else(new));
    request.extensions_mut().insert(id.clone());
    id
}

pub(in crate::http) fn set_header(headers: &mut HeaderMap, id: RequestId) {
    headers.insert(X_REQUEST_ID.clone(), id.0);
}

/// Whether an id is safe in a log line and a header.
fn is_safe(id: &[u8]) -> bool {
    (1..=64).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn new() -> HeaderValue {
    // The text of a UUID is always a valid header value.
    HeaderValue::from_str(&Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}
