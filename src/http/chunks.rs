//! Bodies of rows of any number, in bounded memory.
//!
//! The rows are read in keyset chunks, one statement per chunk. While a slow client reads, the server holds
//! no database connection and at most one chunk.

use std::{convert::Infallible, future::Future, io};

use axum::body::{Body, Bytes};
use futures_util::stream;

use super::error::Result;
use crate::service::error::{Result as ServiceResult, chain};

/// Rows per chunk.
const CHUNK: i64 = 1_000;

/// A body: the head, every row after a position, and the tail.
///
/// `fetch` takes the position to continue after and the maximum number of rows. It may return fewer rows than there are, with
/// the position that it came to. `write` appends a row, which may be the body's first, and returns its position.
pub(super) async fn body<P, R, F, Fetched>(
    head: Vec<u8>,
    tail: Vec<u8>,
    after: Option<P>,
    fetch: F,
    write: impl Fn(&mut Vec<u8>, &R, bool) -> ServiceResult<P> + Send + Sync + 'static,
) -> Result<Body>
where
    P: Copy + Send + 'static,
    R: Send + 'static,
    F: Fn(Option<P>, i64) -> Fetched + Send + Sync + 'static,
    Fetched: Future<Output = ServiceResult<(Vec<R>, Option<P>)>> + Send + 'static,
{
    // The first chunk is read before the response starts: an unreachable database causes a 503 and not half a body.
    let (first, stopped_at) = fetch(after, CHUNK).await?;
    let mut body = head;
    let position = write_rows(&mut body, &first, &write, true)?.or(stopped_at);
    if position.is_none() {
        body.extend_from_slice(&tail);
        return Ok(Body::from(body));
    }
    let rest =
        stream::try_unfold((position, first.is_empty(), fetch, write, tail), |(position, at_start, fetch, write, tail)| async move {
            let Some(position) = position else { return Ok::<_, io::Error>(None) };
            // A separate task: if the client disconnects, a running statement still finishes.
            let read = tokio::spawn(fetch(Some(position), CHUNK)).await.map_err(io::Error::other)?;
            let (rows, stopped_at) =
                read.inspect_err(|error| tracing::error!(cause = chain(error), "a list was cut off")).map_err(io::Error::other)?;
            let mut chunk = Vec::new();
            let position = write_rows(&mut chunk, &rows, &write, at_start).map_err(io::Error::other)?.or(stopped_at);
            if position.is_none() {
                chunk.extend_from_slice(&tail);
            }
            Ok(Some((Bytes::from(chunk), (position, at_start && rows.is_empty(), fetch, write, tail))))
        });
    let head = stream::once(async { Ok::<_, Infallible>(Bytes::from(body)) });
    let chunks = futures_util::StreamExt::chain(futures_util::StreamExt::map(head, |chunk| chunk.map_err(io::Error::other)), rest);
    Ok(Body::from_stream(chunks))
}

/// Writes the rows of a chunk. Returns the position of the next one; `None` after a short chunk, which is the last.
fn write_rows<R, P>(
    body: &mut Vec<u8>,
    rows: &[R],
    write: impl Fn(&mut Vec<u8>, &R, bool) -> ServiceResult<P>,
    at_start: bool,
) -> ServiceResult<Option<P>> {
    let mut last = None;
    for (index, row) in rows.iter().enumerate() {
        last = Some(write(body, row, at_start && index == 0)?);
    }
    let is_full = usize::try_from(CHUNK).is_ok_and(|chunk| rows.len() == chunk);
    Ok(last.filter(|_| is_full))
}
