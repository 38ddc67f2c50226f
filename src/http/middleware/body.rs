//! Reads the body before anything is taken for its request: whoever sends slowly is neither one of the
//! requests under way nor asks the database anything. What is wrong with a body is for the handler to say,
//! after all that comes before it.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::Request,
    http::{HeaderMap, header},
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::http::{App, error::Error};

/// The longest body anything here needs, in bytes.
const MAX_BODY: u64 = 16 * 1024;

/// How much of a longer one is read and thrown away, so that its sender gets to hear the answer.
const MAX_DISCARDED: u64 = 1024 * 1024;

/// Why there is no body.
#[derive(Clone, Copy)]
pub(in crate::http) enum BodyFault {
    /// It is longer than anything here needs.
    TooLong,
    /// It did not come in time.
    Late,
    /// It ended before its end.
    BrokenOff,
}

impl From<BodyFault> for Error {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLong => Self::PayloadTooLarge(MAX_BODY),
            BodyFault::Late => Self::RequestTimeout,
            // The client is gone or speaks no HTTP; it will hear nothing either way.
            BodyFault::BrokenOff => Self::InvalidJson("The body ended early.".to_owned()),
        }
    }
}

/// A request's whole body, or why there is none. Absent if the request has no body.
#[derive(Clone)]
pub(in crate::http) struct WholeBody(pub(in crate::http) Result<Bytes, BodyFault>);

pub(in crate::http) async fn read(app: &App, request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    if !body.is_end_stream() {
        let declared = body.size_hint().lower();
        let whole = if declared > MAX_DISCARDED {
            // Nobody waits for so much: who asks first whether to send it is told no, and who does not is cut off.
            Err(BodyFault::TooLong)
        } else {
            timeout(app.body_timeout, collect(body)).await.unwrap_or(Err(BodyFault::Late))
        };
        parts.extensions.insert(WholeBody(whole));
    }
    Request::from_parts(parts, Body::empty())
}

async fn collect(body: Body) -> Result<Bytes, BodyFault> {
    let mut kept = Vec::new();
    let mut length = 0_u64;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyFault::BrokenOff)?;
        length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if length <= MAX_BODY {
            kept.extend_from_slice(&chunk);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY { Err(BodyFault::TooLong) } else { Ok(kept.into()) }
}

/// Whether a body is declared as JSON in UTF-8, as it is and not compressed. None when nothing is declared.
pub(in crate::http) fn is_declared_as_json(headers: &HeaderMap) -> Option<bool> {
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
        return Some(false);
    }
    let declared = headers.get(header::CONTENT_TYPE)?;
    let mime: Option<mime::Mime> = declared.to_str().ok().and_then(|text| text.parse().ok());
    Some(mime.is_some_and(|mime| {
        mime.essence_str() == mime::APPLICATION_JSON.as_ref() && mime.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8)
    }))
}
