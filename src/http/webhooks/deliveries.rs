//! Deliveries and attempts, for admins, and what sends events again: tests, `resend` and `replay`.

use axum::{Extension, Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    body::{AttemptBody, DeliveryBody, ReplayBody},
    request::{Nothing, ReplayRequest, ResendRequest},
};
use crate::domain::{
    error::Refusal,
    id::{AttemptId, DeliveryId, MessageId, WebhookEndpointId},
    webhook::endpoint::DeliveryStatus,
};
use crate::http::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{Manager, NoQuery, PathId},
    json::Json,
    middleware::shed::InFlightPlace,
    openapi::{Filter, Operation, Tag},
    page::{Cursor, Page, Position},
    query::Query,
};
use crate::service::webhooks::{Attempt, Delivery};

impl Position for MessageId {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Position for AttemptId {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// `GET /webhook-endpoints/{webhookEndpointId}/deliveries`
pub(in crate::http) const LIST: Operation = Operation::new("listWebhookDeliveries", Tag::Webhooks, "List Deliveries of an Endpoint")
    .about("Retrieve the deliveries to a webhook endpoint, newest event first. Those that are done are kept for 30 days, unless the deployment is set up otherwise.")
    .filters(&[Filter::new::<DeliveryStatus>("status", "Only deliveries with this status.")])
    .list::<DeliveryBody>("deliveries", r#"{"deliveries": [{"deliveryId": "dlv_01h455vb4pex5vsknk084sn02q", "webhookEndpointId": "whe_01h455vb4pex5vsknk084sn02q", "eventId": "msg_01h455vb4pex5vsknk084sn02q", "eventType": "card.blocked", "cardId": "card_01h455vb4pex5vsknk084sn02q", "sequence": 5, "status": "delivered", "attempts": 1, "nextAttemptAt": null, "createdAt": "2025-02-10T12:00:00.000Z", "deliveredAt": "2025-02-10T12:00:00.300Z"}]}"#)
    .refusals(&[Code::WebhookEndpointNotFound]);

/// `GET /webhook-endpoints/{webhookEndpointId}/deliveries`
pub(in crate::http) async fn list(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<WebhookEndpointId>,
    mut query: Query,
) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let list = format!("deliveries/{}", id.as_ref().map(ToString::to_string).unwrap_or_default());
    let read = |query: &mut Query| query.word::<DeliveryStatus>("status", &DeliveryStatus::ALL.map(DeliveryStatus::name));
    let canonical = |status: Option<DeliveryStatus>| status.map_or_else(String::new, |status| format!("status={}", status.name()));
    let mut status = read(&mut query);
    if status.is_none()
        && let Some(carried) = cursor.as_ref().and_then(|cursor| cursor.filters(&list))
    {
        status = read(&mut Query::parse(carried));
    }
    let page = Page::read(&mut query, cursor.as_ref(), &list, &canonical(status));
    query.done()?;
    let id = id.map_err(|_| Refusal::WebhookEndpointNotFound)?;
    let endpoint = app.services.webhooks.get(caller.account, id).await?.id;
    let webhooks = app.services.webhooks.clone();
    page.respond(
        "deliveries",
        move |before, limit| {
            let webhooks = webhooks.clone();
            async move { webhooks.deliveries(caller.account, endpoint, status, before, limit).await }
        },
        |delivery: &Delivery| (delivery.event, DeliveryBody::of(delivery)),
    )
    .await
}

/// The deliveries of one event. There are at most twenty endpoints.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventDeliveries")]
pub(in crate::http) struct EventDeliveries {
    deliveries: Vec<DeliveryBody>,
}

/// `GET /events/{eventId}/deliveries`
pub(in crate::http) const OF_EVENT: Operation = Operation::new("listEventDeliveries", Tag::Webhooks, "List Deliveries of an Event")
    .about("Retrieve what became of one event at each webhook endpoint.")
    .response::<EventDeliveries>(r#"{"deliveries": [{"deliveryId": "dlv_01h455vb4pex5vsknk084sn02q", "webhookEndpointId": "whe_01h455vb4pex5vsknk084sn02q", "eventId": "msg_01h455vb4pex5vsknk084sn02q", "eventType": "card.blocked", "cardId": "card_01h455vb4pex5vsknk084sn02q", "sequence": 5, "status": "pending", "attempts": 2, "nextAttemptAt": "2025-02-10T12:35:00.000Z", "createdAt": "2025-02-10T12:00:00.000Z", "deliveredAt": null}]}"#)
    .refusals(&[Code::EventNotFound]);

/// `GET /events/{eventId}/deliveries`
pub(in crate::http) async fn of_event(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<MessageId>,
) -> Result<JsonBody<EventDeliveries>> {
    let id = id.map_err(|_| Refusal::EventNotFound)?;
    let deliveries = app.services.webhooks.deliveries_of(caller.account, id).await?;
    Ok(JsonBody(EventDeliveries { deliveries: deliveries.iter().map(DeliveryBody::of).collect() }))
}

/// `GET /webhook-endpoints/{webhookEndpointId}/attempts`
pub(in crate::http) const ATTEMPTS: Operation = Operation::new("listWebhookAttempts", Tag::Webhooks, "List Attempts at an Endpoint")
    .about("Retrieve the attempts at a webhook endpoint, newest first, with what it answered.")
    .list::<AttemptBody>("attempts", r#"{"attempts": [{"attemptId": "att_01h455vb4pex5vsknk084sn02q", "deliveryId": "dlv_01h455vb4pex5vsknk084sn02q", "number": 1, "startedAt": "2025-02-10T12:00:00.250Z", "durationMs": 50, "outcome": "http_error", "statusCode": 500, "responseBody": "oops", "nextAttemptAt": "2025-02-10T12:00:05.000Z"}]}"#)
    .refusals(&[Code::WebhookEndpointNotFound]);

/// `GET /webhook-endpoints/{webhookEndpointId}/attempts`
pub(in crate::http) async fn attempts(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<WebhookEndpointId>,
    mut query: Query,
) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let list = format!("attempts/{}", id.as_ref().map(ToString::to_string).unwrap_or_default());
    let page = Page::read(&mut query, cursor.as_ref(), &list, "");
    query.done()?;
    let id = id.map_err(|_| Refusal::WebhookEndpointNotFound)?;
    let endpoint = app.services.webhooks.get(caller.account, id).await?.id;
    let webhooks = app.services.webhooks.clone();
    page.respond(
        "attempts",
        move |before, limit| {
            let webhooks = webhooks.clone();
            async move { webhooks.attempts(caller.account, endpoint, before, limit).await }
        },
        |attempt: &Attempt| (attempt.id, AttemptBody::of(attempt)),
    )
    .await
}

/// `GET /deliveries/{deliveryId}/attempts`
pub(in crate::http) const OF_DELIVERY: Operation = Operation::new("listDeliveryAttempts", Tag::Webhooks, "List Attempts of a Delivery")
    .about("Retrieve the attempts of one delivery, newest first.")
    .list::<AttemptBody>("attempts", r#"{"attempts": [{"attemptId": "att_01h455vb4pex5vsknk084sn02q", "deliveryId": "dlv_01h455vb4pex5vsknk084sn02q", "number": 2, "startedAt": "2025-02-10T12:00:05.250Z", "durationMs": 15000, "outcome": "timeout", "statusCode": null, "responseBody": null, "nextAttemptAt": "2025-02-10T12:05:20.000Z"}]}"#)
    .refusals(&[Code::DeliveryNotFound]);

/// `GET /deliveries/{deliveryId}/attempts`
pub(in crate::http) async fn of_delivery(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<DeliveryId>,
    mut query: Query,
) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let list = format!("attemptsOf/{}", id.as_ref().map(ToString::to_string).unwrap_or_default());
    let page = Page::read(&mut query, cursor.as_ref(), &list, "");
    query.done()?;
    let id = id.map_err(|_| Refusal::DeliveryNotFound)?;
    let delivery = app.services.webhooks.delivery(caller.account, id).await?.id;
    let webhooks = app.services.webhooks.clone();
    page.respond(
        "attempts",
        move |before, limit| {
            let webhooks = webhooks.clone();
            async move { webhooks.attempts_of(caller.account, delivery, before, limit).await }
        },
        |attempt: &Attempt| (attempt.id, AttemptBody::of(attempt)),
    )
    .await
}

/// `POST /webhook-endpoints/{webhookEndpointId}/test`
pub(in crate::http) const TEST: Operation = Operation::new("testWebhookEndpoint", Tag::Webhooks, "Test Webhook Endpoint")
    .about("Send one `webhook.test` to an endpoint, also to one that is disabled, and wait for what it answers. The test is not in the feed and is not repeated. The response is the attempt, whatever it came to.")
    .request("{}")
    .response::<AttemptBody>(r#"{"attemptId": "att_01h455vb4pex5vsknk084sn02q", "deliveryId": "dlv_01h455vb4pex5vsknk084sn02q", "number": 1, "startedAt": "2025-02-10T12:00:00.250Z", "durationMs": 50, "outcome": "succeeded", "statusCode": 204, "responseBody": null, "nextAttemptAt": null}"#)
    .refusals(&[Code::WebhookEndpointNotFound, Code::WebhooksNotConfigured]);

/// `POST /webhook-endpoints/{webhookEndpointId}/test`
pub(in crate::http) async fn test(
    State(app): State<App>,
    Manager(caller): Manager,
    Extension(place): Extension<InFlightPlace>,
    PathId(id): PathId<WebhookEndpointId>,
    Json(Nothing): Json<Nothing>,
) -> Result<JsonBody<AttemptBody>> {
    let id = id.map_err(|_| Refusal::WebhookEndpointNotFound)?;
    place.leave();
    let attempt = app.services.webhooks.test(caller.account, id).await;
    place.enter(&app).await;
    Ok(JsonBody(AttemptBody::of(&attempt?)))
}

/// How many deliveries were scheduled.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventResend")]
pub(in crate::http) struct ResendBody {
    /// To how many endpoints the event is sent once more.
    scheduled: i64,
}

impl ResendBody {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "responses are made of references")]
    const fn of(scheduled: &i64) -> Self {
        Self { scheduled: *scheduled }
    }
}

/// `POST /events/{eventId}/resend`
pub(in crate::http) const RESEND: Operation = Operation::new("resendEvent", Tag::Webhooks, "Resend Event")
    .about("Send an event once more, with the same id: to one webhook endpoint, whatever types it takes, or to each that is enabled and takes events of its type. Attempts start over.")
    .request(r#"{"webhookEndpointId": "whe_01h455vb4pex5vsknk084sn02q"}"#)
    .response::<ResendBody>(r#"{"scheduled": 1}"#)
    .refusals(&[Code::EventNotFound, Code::WebhookEndpointNotFound, Code::WebhookEndpointDisabled]);

/// `POST /events/{eventId}/resend`
pub(in crate::http) async fn resend(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<MessageId>,
    command: Command<ResendRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, ResendBody::of);
    let outcome = app.services.webhooks.resend(&caller.actor(), id.ok(), command.body.endpoint, idempotent.as_ref()).await?;
    Ok(respond(outcome, ResendBody::of))
}

/// `POST /webhook-endpoints/{webhookEndpointId}/replay`
pub(in crate::http) const REPLAY: Operation = Operation::new("replayWebhooks", Tag::Webhooks, "Replay Events to an Endpoint")
    .about("Send the events of a period to an endpoint once more, at most 31 days and 100,000 events: those that were given up or skipped (`failed`), those that were never sent to it (`missing`), or `all`. With `dryRun` it only counts.")
    .request(r#"{"from": "2025-02-10T00:00:00.000Z", "to": "2025-02-11T00:00:00.000Z", "only": "failed", "dryRun": true}"#)
    .response::<ReplayBody>(r#"{"matched": 1200, "scheduled": 0}"#)
    .refusals(&[Code::WebhookEndpointNotFound, Code::WebhookEndpointDisabled, Code::ReplayTooLarge]);

/// `POST /webhook-endpoints/{webhookEndpointId}/replay`
pub(in crate::http) async fn replay(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<WebhookEndpointId>,
    command: Command<ReplayRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, ReplayBody::of);
    let outcome = app.services.webhooks.replay(&caller.actor(), id.ok(), &command.body.0, idempotent.as_ref()).await?;
    Ok(respond(outcome, ReplayBody::of))
}
