//! Lists: a page with `limit` and `after`, or the whole list in bounded memory.
//!
//! A list is read in keyset chunks, one statement per chunk. While a slow client reads, the server holds
//! no database connection and at most one chunk.

use std::{convert::Infallible, fmt::Display, future::Future, io};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::stream;
use serde::Serialize;

use super::{error::Result, faults::FaultCode, query::Query};
use crate::domain::id::AuthorizationId;
use crate::service::error::{Error as ServiceError, Result as ServiceResult, chain};

/// The largest `limit`.
pub(super) const MAX_LIMIT: i64 = 100;

/// Rows per chunk when no limit is given.
const CHUNK: i64 = 1_000;

/// A position in a list, as its cursors have it.
pub(super) trait Position: Copy + Display + Send + Sync + 'static {
    /// Reads a position. It may be written in another way than lists write it.
    fn parse(text: &str) -> Option<Self>;
}

impl Position for i64 {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|position| *position >= 0)
    }
}

impl Position for AuthorizationId {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// The requested part of a list.
pub(super) struct Page<P> {
    /// The list and its filters. A cursor carries them, since it can only continue the same list.
    scope: String,
    /// The position before the part; `None` for the beginning.
    after: Option<P>,
    limit: Option<i64>,
}

/// A parsed cursor: the list with its filters, and a position in it.
pub(super) struct Cursor<P> {
    scope: String,
    position: P,
}

impl<P: Position> Cursor<P> {
    /// Reads `after`, and records a fault in the query if it is not valid.
    pub(super) fn read(query: &mut Query) -> Option<Self> {
        let text = query.text("after")?;
        let cursor = Self::decode(&text);
        if cursor.is_none() {
            query.fault("after", FaultCode::InvalidCursor, "must be a nextCursor that this list gave");
        }
        cursor
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (position, scope) = std::str::from_utf8(&bytes).ok()?.split_once(' ')?;
        let position = P::parse(position)?;
        // Positions can be written in other ways, which this list never gave.
        (Self::encode(scope, position) == text).then(|| Self { scope: scope.to_owned(), position })
    }

    pub(super) fn encode(scope: &str, position: P) -> String {
        URL_SAFE_NO_PAD.encode(format!("{position} {scope}"))
    }

    /// The position of the cursor, if there is one. Records a fault if it belongs to another list.
    pub(super) fn position(cursor: Option<&Self>, scope: &str, query: &mut Query) -> Option<P> {
        if cursor.is_some_and(|cursor| cursor.scope != scope) {
            query.fault("after", FaultCode::InvalidCursor, "belongs to another list, or to other filters");
        }
        cursor.map(|cursor| cursor.position)
    }

    /// The filters, if the cursor belongs to this list.
    pub(super) fn filters(&self, list: &str) -> Option<&str> {
        self.scope.strip_prefix(list)?.strip_prefix('?')
    }
}

/// Reads `limit`, and records a fault in the query if it is not valid.
pub(super) fn read_limit(query: &mut Query) -> Option<i64> {
    query.number("limit", 1..=MAX_LIMIT)
}

impl<P: Position> Page<P> {
    /// Reads `limit` and checks the cursor. `filters` must be in canonical form.
    pub(super) fn read(query: &mut Query, cursor: Option<&Cursor<P>>, list: &str, filters: &str) -> Self {
        let limit = read_limit(query);
        let scope = format!("{list}?{filters}");
        let after = Cursor::position(cursor, &scope, query);
        Self { scope, after, limit }
    }

    /// Responds with the requested part as `{"<name>": [...]}`, plus `nextCursor` if `limit` or `after` was given.
    ///
    /// `fetch` takes the position to continue after and the maximum number of rows; `row` returns a row's position and JSON.
    pub(super) async fn respond<R, J, F, Fetched>(
        self,
        name: &'static str,
        fetch: F,
        row: impl Fn(&R) -> (P, J) + Copy + Send + Sync + 'static,
    ) -> Result<Response>
    where
        R: Send + 'static,
        J: Serialize + 'static,
        F: Fn(Option<P>, i64) -> Fetched + Send + Sync + 'static,
        Fetched: Future<Output = ServiceResult<Vec<R>>> + Send + 'static,
    {
        let fetch = move |after, limit| {
            let rows = fetch(after, limit);
            async move { Ok((rows.await?, None)) }
        };
        self.respond_in_parts(name, fetch, row).await
    }

    /// As [`Self::respond`]. `fetch` may return fewer rows than there are, with the position that it came to.
    pub(super) async fn respond_in_parts<R, J, F, Fetched>(
        self,
        name: &'static str,
        fetch: F,
        row: impl Fn(&R) -> (P, J) + Copy + Send + Sync + 'static,
    ) -> Result<Response>
    where
        R: Send + 'static,
        J: Serialize + 'static,
        F: Fn(Option<P>, i64) -> Fetched + Send + Sync + 'static,
        Fetched: Future<Output = ServiceResult<(Vec<R>, Option<P>)>> + Send + 'static,
    {
        if let Some(limit) = self.limit {
            // One extra row shows whether more follow.
            let (mut rows, stopped_at) = fetch(self.after, limit + 1).await?;
            let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
            if more {
                rows.pop();
            }
            let next = if more { rows.last().map(|last| row(last).0) } else { stopped_at };
            let next = next.map(|next| Cursor::encode(&self.scope, next));
            let mut body = format!("{{\"{name}\":[").into_bytes();
            write_rows(&mut body, &rows, row, true)?;
            body.extend_from_slice(b"],\"nextCursor\":");
            write_json(&mut body, &next)?;
            body.push(b'}');
            return Ok(json(Body::from(body)));
        }

        let tail: &'static [u8] = if self.after.is_some() { b"],\"nextCursor\":null}" } else { b"]}" };
        // The first chunk is read before the response starts: an unreachable database causes a 503 and not half a list.
        let (first, stopped_at) = fetch(self.after, CHUNK).await?;
        let mut body = format!("{{\"{name}\":[").into_bytes();
        write_rows(&mut body, &first, row, true)?;
        let Some(position) = more_after(&first, row).or(stopped_at) else {
            body.extend_from_slice(tail);
            return Ok(json(Body::from(body)));
        };
        let rest = stream::try_unfold((Some(position), first.is_empty(), fetch), move |(position, at_start, fetch)| async move {
            let Some(position) = position else { return Ok::<_, io::Error>(None) };
            // A separate task: if the client disconnects, a running statement still finishes.
            let read = tokio::spawn(fetch(Some(position), CHUNK)).await.map_err(io::Error::other)?;
            let (rows, stopped_at) =
                read.inspect_err(|error| tracing::error!(cause = chain(error), "a list was cut off")).map_err(io::Error::other)?;
            let mut chunk = Vec::new();
            write_rows(&mut chunk, &rows, row, at_start).map_err(io::Error::other)?;
            let position = more_after(&rows, row).or(stopped_at);
            if position.is_none() {
                chunk.extend_from_slice(tail);
            }
            Ok(Some((Bytes::from(chunk), (position, at_start && rows.is_empty(), fetch))))
        });
        let head = stream::once(async { Ok::<_, Infallible>(Bytes::from(body)) });
        let chunks = futures_util::StreamExt::chain(futures_util::StreamExt::map(head, |chunk| chunk.map_err(io::Error::other)), rest);
        Ok(json(Body::from_stream(chunks)))
    }
}

/// The position of the next chunk; `None` after a short chunk, which is the last.
fn more_after<R, P, J>(rows: &[R], row: impl Fn(&R) -> (P, J)) -> Option<P> {
    let is_full = usize::try_from(CHUNK).is_ok_and(|chunk| rows.len() == chunk);
    if is_full { rows.last().map(|last| row(last).0) } else { None }
}

fn write_rows<R, P, J: Serialize>(body: &mut Vec<u8>, rows: &[R], row: impl Fn(&R) -> (P, J), at_start: bool) -> ServiceResult<()> {
    for (index, each) in rows.iter().enumerate() {
        if index > 0 || !at_start {
            body.push(b',');
        }
        write_json(body, &row(each).1)?;
    }
    Ok(())
}

fn write_json(body: &mut Vec<u8>, value: &impl Serialize) -> ServiceResult<()> {
    serde_json::to_writer(body, value).map_err(|error| ServiceError::internal("writing a list", error))
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_round_trips_and_other_text_is_refused() {
        let text = Cursor::encode("cards?status=active", 42_i64);
        let cursor = Cursor::<i64>::decode(&text).expect("a cursor");
        assert_eq!((cursor.position, cursor.filters("cards")), (42, Some("status=active")));
        assert_eq!(cursor.filters("customers"), None);
        for forged in [&b"-1 cards?"[..], b"+1 cards?", b"01 cards?", b" 1 cards?", b"1", b"cards?", b"\xff\xfe"] {
            assert!(Cursor::<i64>::decode(&URL_SAFE_NO_PAD.encode(forged)).is_none(), "{}", forged.escape_ascii());
        }
        for wrong in ["", "42", "!", "AAAA", &format!("{text}="), &format!(" {text}")] {
            assert!(Cursor::<i64>::decode(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_of_ids_is_none_of_numbers() {
        let id: AuthorizationId = "auth_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
        let text = Cursor::encode("authorizations?", id);
        assert_eq!(Cursor::<AuthorizationId>::decode(&text).map(|cursor| cursor.position), Some(id));
        assert!(Cursor::<i64>::decode(&text).is_none());
        assert!(Cursor::<AuthorizationId>::decode(&Cursor::encode("authorizations?", 42_i64)).is_none());
    }
}
