//! The bytes of a request's body: declared as JSON, and no more of them than anything here needs.

use axum::{
    body::Body as HttpBody,
    http::{HeaderMap, header},
};
use futures_util::StreamExt as _;

use super::error::{Error, Result};

/// The longest body anything here needs, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// How much of a longer one is read and thrown away, so that its sender gets to hear the answer.
const MAX_DISCARDED: usize = 1024 * 1024;

/// None when nothing is declared.
pub(super) fn is_declared_as_json(headers: &HeaderMap) -> Option<bool> {
    let declared = headers.get(header::CONTENT_TYPE)?;
    let mime: Option<mime::Mime> = declared.to_str().ok().and_then(|text| text.parse().ok());
    Some(mime.is_some_and(|mime| {
        mime.essence_str() == mime::APPLICATION_JSON.as_ref() && mime.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8)
    }))
}

/// Reads a body to its end.
pub(super) async fn read(body: HttpBody) -> Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut length = 0_usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        // The client is gone or speaks no HTTP; it will hear nothing either way.
        let chunk = chunk.map_err(|_| Error::InvalidJson("The body ended early.".to_owned()))?;
        length = length.saturating_add(chunk.len());
        if length <= MAX_BODY {
            kept.extend_from_slice(&chunk);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY { Err(Error::PayloadTooLarge(MAX_BODY)) } else { Ok(kept) }
}
