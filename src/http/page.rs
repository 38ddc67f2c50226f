//! Lists: a page with `limit` and `after`, or the whole list in bounded memory.

use std::{fmt::Display, future::Future};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::{chunks, error::Result, faults::FaultCode, query::Query};
use crate::domain::id::AuthorizationId;
use crate::service::error::{Error as ServiceError, Result as ServiceResult};

/// The largest `limit`.
pub(super) const MAX_LIMIT: i64 = 100;

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
            for (index, each) in rows.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                write_json(&mut body, &row(each).1)?;
            }
            body.extend_from_slice(b"],\"nextCursor\":");
            write_json(&mut body, &next)?;
            body.push(b'}');
            return Ok(json(Body::from(body)));
        }

        let tail: &[u8] = if self.after.is_some() { b"],\"nextCursor\":null}" } else { b"]}" };
        let head = format!("{{\"{name}\":[").into_bytes();
        let write = move |body: &mut Vec<u8>, each: &R, is_first: bool| {
            if !is_first {
                body.push(b',');
            }
            let (position, json) = row(each);
            write_json(body, &json).map(|()| position)
        };
        Ok(json(chunks::body(head, tail.to_vec(), self.after, fetch, write).await?))
    }
}

/// Appends a value as JSON.
pub(super) fn write_json(body: &mut Vec<u8>, value: &impl Serialize) -> ServiceResult<()> {
    serde_json::to_writer(body, value).map_err(|error| ServiceError::internal("writing a list", error))
}

/// A response with this body, which is JSON.
pub(super) fn json(body: Body) -> Response {
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
