//! Reads the body before the request takes any resource: a slow sender neither counts as a request in flight
//! nor causes a database query. The handler reports a fault in the body, so the outer layers answer first.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::Request,
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::http::{App, error::Error};

/// The largest body that is accepted, in bytes.
const MAX_BODY: u64 = 64 * 1024;

/// How much of a larger body is read and discarded, so that its sender receives the response.
const MAX_DISCARDED: u64 = 1024 * 1024;

/// Why the body could not be read.
#[derive(Clone, Copy)]
pub(in crate::http) enum BodyFault {
    /// The body is larger than [`MAX_BODY`].
    TooLong,
    /// The body did not arrive in time.
    TimedOut,
    /// The body ended early.
    Incomplete,
}

impl From<BodyFault> for Error {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLong => Self::PayloadTooLarge(MAX_BODY),
            BodyFault::TimedOut => Self::RequestTimeout,
            // The client disconnected or violated HTTP, so it will not see this response.
            BodyFault::Incomplete => Self::InvalidJson("The body ended early.".to_owned()),
        }
    }
}

/// A request's whole body, or why it could not be read. Absent if the request has no body.
#[derive(Clone)]
pub(in crate::http) struct WholeBody(pub(in crate::http) Result<Bytes, BodyFault>);

pub(in crate::http) async fn read(app: &App, request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    if !body.is_end_stream() {
        let declared = body.size_hint().lower();
        let whole = if declared > MAX_DISCARDED {
            // Too large to discard. A client that sent `Expect: 100-continue` is refused; any other is disconnected.
            Err(BodyFault::TooLong)
        } else {
            timeout(app.body_timeout, collect(body)).await.unwrap_or(Err(BodyFault::TimedOut))
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
        let chunk = chunk.map_err(|_| BodyFault::Incomplete)?;
        length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if length <= MAX_BODY {
            kept.extend_from_slice(&chunk);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY { Err(BodyFault::TooLong) } else { Ok(kept.into()) }
}
