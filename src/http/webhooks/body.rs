//! The JSON forms of endpoints, deliveries and attempts.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{
    feed_event::FeedEventType,
    id::{AttemptId, CardId, DeliveryId, MessageId, WebhookEndpointId},
    webhook::{
        endpoint::{DeliveryStatus, DisabledReason, EndpointStatus, Ordering},
        outcome::AttemptOutcome,
    },
    word::Word,
};
use crate::http::time::Timestamp;
use crate::service::webhooks::{Attempt, Delivery, Replayed, WebhookEndpoint};

/// An endpoint that events are sent to.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookEndpoint")]
pub(in crate::http) struct EndpointBody {
    webhook_endpoint_id: WebhookEndpointId,
    url: String,
    description: Option<String>,
    #[schemars(with = "EndpointStatus")]
    status: Word<EndpointStatus>,
    /// Why it is disabled; null if it is not.
    #[schemars(with = "Option<DisabledReason>")]
    disabled_reason: Option<Word<DisabledReason>>,
    event_types: Vec<String>,
    /// How many messages are sent at a time.
    max_concurrency: i32,
    #[schemars(with = "Ordering")]
    ordering: Word<Ordering>,
    /// The first of the failed attempts since the last success; null if the last attempt succeeded.
    failing_since: Option<Timestamp>,
    last_success_at: Option<Timestamp>,
    /// How many events it has not got yet. Counting ends at 100,000 in the feed and as many that are scheduled.
    pending: i64,
    /// The age of the oldest of them, in seconds; 0 if there is none.
    lag_seconds: i64,
    /// Until when messages are signed with the secret before as well; null if they are not.
    overlap_ends_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl EndpointBody {
    pub(super) fn of(endpoint: &WebhookEndpoint) -> Self {
        Self {
            webhook_endpoint_id: endpoint.id,
            url: endpoint.url.clone(),
            description: endpoint.description.clone(),
            status: endpoint.status.clone(),
            disabled_reason: endpoint.disabled_reason.clone(),
            event_types: endpoint.types.patterns().to_vec(),
            max_concurrency: endpoint.max_concurrency,
            ordering: endpoint.ordering.clone(),
            failing_since: endpoint.failing_since.map(Timestamp),
            last_success_at: endpoint.last_success_at.map(Timestamp),
            pending: endpoint.pending,
            lag_seconds: endpoint.lag_seconds,
            overlap_ends_at: endpoint.overlap_ends_at.map(Timestamp),
            created_at: Timestamp(endpoint.created_at),
        }
    }
}

/// An event on its way to an endpoint.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookDelivery")]
pub(in crate::http) struct DeliveryBody {
    delivery_id: DeliveryId,
    webhook_endpoint_id: WebhookEndpointId,
    /// The event: the `webhook-id` of every attempt.
    event_id: MessageId,
    #[schemars(with = "FeedEventType")]
    event_type: String,
    card_id: Option<CardId>,
    sequence: Option<i64>,
    #[schemars(with = "DeliveryStatus")]
    status: Word<DeliveryStatus>,
    /// How many attempts were started.
    attempts: i32,
    /// When the next one is due; null if there is none.
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    delivered_at: Option<Timestamp>,
}

impl DeliveryBody {
    pub(super) fn of(delivery: &Delivery) -> Self {
        Self {
            delivery_id: delivery.id,
            webhook_endpoint_id: delivery.endpoint,
            event_id: delivery.event,
            event_type: delivery.event_type.clone(),
            card_id: delivery.card,
            sequence: delivery.sequence,
            status: delivery.status.clone(),
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at.map(Timestamp),
            created_at: Timestamp(delivery.created_at),
            delivered_at: delivery.delivered_at.map(Timestamp),
        }
    }
}

/// One attempt to deliver an event.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookAttempt")]
pub(in crate::http) struct AttemptBody {
    attempt_id: AttemptId,
    delivery_id: DeliveryId,
    /// Its number, from 1. One is left out where a process ended before it knew what the attempt came to.
    number: i32,
    started_at: Timestamp,
    duration_ms: i32,
    #[schemars(with = "AttemptOutcome")]
    outcome: Word<AttemptOutcome>,
    /// The status of the response; null if there was none.
    status_code: Option<i32>,
    /// The first 1,024 bytes of the response.
    response_body: Option<String>,
    /// When the next attempt was to come; null if none was.
    next_attempt_at: Option<Timestamp>,
}

impl AttemptBody {
    pub(super) fn of(attempt: &Attempt) -> Self {
        Self {
            attempt_id: attempt.id,
            delivery_id: attempt.delivery,
            number: attempt.number,
            started_at: Timestamp(attempt.started_at),
            duration_ms: attempt.duration_ms,
            outcome: attempt.outcome.clone(),
            status_code: attempt.status_code,
            response_body: attempt.response_body.clone(),
            next_attempt_at: attempt.next_attempt_at.map(Timestamp),
        }
    }
}

/// What a replay did.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookReplay")]
pub(in crate::http) struct ReplayBody {
    /// How many events fit.
    matched: i64,
    /// How many of them are to be sent again. Those that wait already are not scheduled a second time.
    scheduled: i64,
}

impl ReplayBody {
    pub(super) fn of(replayed: &Replayed) -> Self {
        Self { matched: replayed.matched, scheduled: replayed.scheduled }
    }
}
