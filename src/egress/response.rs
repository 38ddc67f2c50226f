//! What is kept of a response.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt as _;
use hyper::{HeaderMap, body::Incoming, header::RETRY_AFTER};
use tokio::time::{Instant, timeout_at};

use crate::domain::webhook::outcome::{AttemptOutcome, may_state_retry_after};

/// As much of a body is read. The connection of a longer one is closed.
pub const MAX_READ: usize = 16 * 1_024;

/// As much of a body is kept, in bytes.
pub const MAX_KEPT: usize = 1_024;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What it came to.
    pub outcome: AttemptOutcome,
    /// The status, if one came.
    pub status: Option<u16>,
    /// What the first [`MAX_KEPT`] bytes of the body say, if there are any. What is not UTF-8 and control characters are
    /// replaced.
    pub body: Option<String>,
    /// How long the endpoint asks to be left alone, if its status may say so.
    pub retry_after: Option<Duration>,
    /// How long the attempt took.
    pub duration: Duration,
}

impl Response {
    /// An attempt without a response.
    pub(super) fn none(outcome: AttemptOutcome, duration: Duration) -> Self {
        Self { outcome, status: None, body: None, retry_after: None, duration }
    }
}

/// Reads what is kept, and whether the body came to its end. The status decides what the attempt came to, also if the body is
/// late or breaks off.
pub(super) async fn read(answer: hyper::Response<Incoming>, started: Instant, deadline: Instant) -> (Response, bool) {
    let (head, mut body) = answer.into_parts();
    let status = head.status.as_u16();
    let retry_after = may_state_retry_after(status).then(|| retry_after(&head.headers, SystemTime::now())).flatten();
    let (mut kept, mut read) = (Vec::new(), 0);
    // Most bodies end within the limit, and their connections can then be used again.
    let is_complete = loop {
        match timeout_at(deadline, body.frame()).await {
            Ok(None) => break true,
            Ok(Some(Ok(frame))) => {
                let data: &[u8] = frame.data_ref().map_or(&[], |data| data);
                kept.extend_from_slice(&data[..data.len().min(MAX_KEPT - kept.len())]);
                read += data.len();
            }
            Ok(Some(Err(_))) | Err(_) => break false,
        }
        if read > MAX_READ {
            break false;
        }
    };
    let response = Response {
        outcome: AttemptOutcome::of_status(status),
        status: Some(status),
        body: (!kept.is_empty()).then(|| text(&kept)),
        retry_after,
        duration: started.elapsed(),
    };
    (response, is_complete)
}

/// A text that can be stored and shown: Postgres takes no NUL, and terminals obey other control characters.
fn text(bytes: &[u8]) -> String {
    let is_shown = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|character| if is_shown(character) { character } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Seconds, or the time until a date (RFC 9110, 10.2.3). None if it is neither.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_text_has_no_control_characters() {
        assert_eq!(text(b"a\0b\x1b[1m\r\n\tc\x7f\xc2\x85"), "a\u{fffd}b\u{fffd}[1m\u{fffd}\n\tc\u{fffd}\u{fffd}");
        assert_eq!(text(b"\xff\xc3\xa9\xc3"), "\u{fffd}\u{e9}\u{fffd}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(120)),
            ("Sun Nov  6 08:51:37 1994", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
