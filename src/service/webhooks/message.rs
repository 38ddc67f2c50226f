//! What is sent to an endpoint, and what becomes of it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hyper::body::Bytes;
use uuid::Uuid;

use super::{Place, SecretVersion, deliveries::millis};
use crate::domain::{
    feed_event::TypeFilter,
    id::{AccountId, AttemptId, MessageId, WebhookEndpointId},
    webhook::{
        endpoint::DeliveryStatus,
        outcome::{AttemptOutcome, is_gone},
        schedule::{self, MAX_JITTER_PPM},
        signature::{SigningSecret, sign},
    },
};
use crate::egress::{Response, Target};

/// An endpoint, with the token of its lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointKey {
    pub(super) account: AccountId,
    pub(super) id: WebhookEndpointId,
    pub(super) token: Uuid,
}

/// How to send to an endpoint.
pub(super) struct Config {
    pub(super) url: String,
    pub(super) types: TypeFilter,
    pub(super) max_concurrency: usize,
    pub(super) by_card: bool,
    pub(super) is_enabled: bool,
    pub(super) secrets: Vec<SecretVersion>,
    pub(super) cursor: Place,
    pub(super) now: DateTime<Utc>,
}

/// A delivery that was claimed.
pub(super) struct Claimed {
    pub(super) event: MessageId,
    pub(super) id: Uuid,
    pub(super) attempts: i32,
    pub(super) attempts_before: i32,
    pub(super) occurred_at: DateTime<Utc>,
}

/// What became of a delivery that was claimed.
pub(super) struct Finished {
    pub(super) event: MessageId,
    pub(super) delivery: Uuid,
    pub(super) attempt: AttemptId,
    pub(super) number: i32,
    pub(super) started_at: DateTime<Utc>,
    pub(super) duration_ms: i32,
    /// None if there was nothing to send: the event has been deleted.
    pub(super) outcome: Option<AttemptOutcome>,
    pub(super) status_code: Option<i32>,
    pub(super) response_body: Option<String>,
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
}

impl Finished {
    /// What an attempt came to that has ended `now`, and when the next one is due.
    pub(super) fn of(claimed: &Claimed, started_at: DateTime<Utc>, response: Response, now: DateTime<Utc>) -> Self {
        let made = u16::try_from(claimed.attempts - claimed.attempts_before).unwrap_or(u16::MAX);
        let jitter = rand::random_range(-MAX_JITTER_PPM..=MAX_JITTER_PPM);
        let has_succeeded = response.outcome == AttemptOutcome::Succeeded;
        let delay = if has_succeeded { None } else { schedule::next_delay(made, jitter, response.retry_after) };
        Self {
            started_at,
            duration_ms: millis(response.duration),
            outcome: Some(response.outcome),
            status_code: response.status.map(i32::from),
            response_body: response.body,
            next_attempt_at: delay.map(|delay| now + TimeDelta::from_std(delay).unwrap_or_default()),
            ..Self::without_event(claimed, now)
        }
    }

    /// A delivery whose event has been deleted: it is given up.
    pub(super) fn without_event(claimed: &Claimed, now: DateTime<Utc>) -> Self {
        Self {
            event: claimed.event,
            delivery: claimed.id,
            attempt: AttemptId::new(),
            number: claimed.attempts,
            started_at: now,
            duration_ms: 0,
            outcome: None,
            status_code: None,
            response_body: None,
            next_attempt_at: None,
        }
    }

    /// Whether the endpoint said that it wants no more messages.
    pub(super) fn says_gone(&self) -> bool {
        self.status_code.and_then(|code| u16::try_from(code).ok()).is_some_and(is_gone)
    }

    pub(super) fn has_succeeded(&self) -> bool {
        self.outcome == Some(AttemptOutcome::Succeeded)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.outcome.is_some_and(|outcome| outcome != AttemptOutcome::Succeeded)
    }

    /// The status of the delivery.
    pub(super) fn status(&self) -> &'static str {
        let status = match (self.has_succeeded(), self.next_attempt_at) {
            (true, _) => DeliveryStatus::Delivered,
            (false, Some(_)) => DeliveryStatus::Pending,
            (false, None) => DeliveryStatus::Failed,
        };
        status.name()
    }
}

/// How an endpoint does.
pub(super) struct Health {
    pub(super) failing_since: Option<DateTime<Utc>>,
    pub(super) failures: i32,
    pub(super) now: DateTime<Utc>,
}

/// A message to send.
pub(super) struct Message {
    pub(super) claimed: Claimed,
    pub(super) body: Bytes,
}

/// An attempt that has ended.
pub(super) struct Sent {
    pub(super) claimed: Claimed,
    pub(super) target: Target,
    pub(super) started_at: DateTime<Utc>,
    pub(super) response: Response,
}

/// Sends one message. A connection that fails at once is tried once more.
pub(super) async fn send(target: &mut Target, secrets: &[SigningSecret], event: MessageId, body: Bytes) -> Response {
    let id = event.to_string();
    // The receiver compares this time with its own clock, which is the time of day everywhere.
    let timestamp = Utc::now().timestamp();
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.clone()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", sign(secrets, &id, timestamp, &body)),
    ];
    let response = target.post(&headers, body.clone()).await;
    if response.outcome == AttemptOutcome::Connection && response.duration < Duration::from_secs(1) {
        return target.post(&headers, body).await;
    }
    response
}
