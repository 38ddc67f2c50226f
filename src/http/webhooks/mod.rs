//! Webhook endpoints, for admins: `POST /webhook-endpoints`, `GET /webhook-endpoints`,
//! `GET`, `PATCH` and `DELETE /webhook-endpoints/{webhookEndpointId}`, and the secret of one.

mod body;
pub(super) mod deliveries;
mod request;

use axum::{Extension, Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use self::{
    body::EndpointBody,
    request::{ChangeRequest, CreateRequest, RotateRequest},
};
use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::{Error, Result},
    extract::{Manager, NoQuery, PathId},
    faults::{self, FaultCode},
    middleware::shed::InFlightPlace,
    openapi::{Operation, Tag},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::config::Environment;
use crate::domain::{error::Refusal, id::WebhookEndpointId, webhook::url::EndpointUrl};
use crate::egress::Blocked;
use crate::service::webhooks::{EndpointSecret, WebhookEndpoint};

const ENDPOINT: &str = r#"{"webhookEndpointId": "whe_01h455vb4pex5vsknk084sn02q", "url": "https://example.com/hooks", "description": "Ledger", "status": "enabled", "disabledReason": null, "eventTypes": ["card.*", "authorization.*"], "maxConcurrency": 10, "ordering": "none", "failingSince": null, "lastSuccessAt": "2025-02-10T12:00:00.000Z", "pending": 0, "lagSeconds": 0, "overlapEndsAt": null, "createdAt": "2025-02-10T10:00:00.000Z"}"#;

/// Refuses a URL that this deployment must not call. Resolving a name takes a while, so the request leaves its place.
async fn check(app: &App, place: &InFlightPlace, url: &EndpointUrl) -> Result<()> {
    if app.environment == Environment::Production && !url.is_https() {
        return Err(Error::Validation(vec![faults::fault("url", FaultCode::InvalidFormat, "must begin with https://")]));
    }
    place.leave();
    let checked = app.services.webhooks.check(url).await;
    place.enter(app).await;
    let what = match checked {
        Ok(()) => return Ok(()),
        Err(Blocked::BlockedAddress) => "must be of a host whose addresses are all public",
        Err(Blocked::Dns) => "must be of a host that resolves to an address",
    };
    Err(Error::Validation(vec![faults::fault("url", FaultCode::BlockedAddress, what)]))
}

/// `POST /webhook-endpoints`
pub(super) const CREATE: Operation = Operation::new("createWebhookEndpoint", Tag::Webhooks, "Create Webhook Endpoint")
    .about("Create an endpoint that events are sent to, as Standard Webhooks 1.0.0 says: a POST with the event of `GET /events` as its body and the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. Any status from 200 to 299 accepts it. Everything else is tried again, ten times over about three days. It turns the feed of your account on. `GET /webhook-endpoints/{webhookEndpointId}/secret` has the secret that verifies the signatures.")
    .request(r#"{"url": "https://example.com/hooks", "eventTypes": ["card.*", "authorization.*"], "description": "Ledger", "maxConcurrency": 10, "ordering": "none", "startFrom": "now"}"#)
    .response::<EndpointBody>(ENDPOINT)
    .refusals(&[Code::TooManyWebhookEndpoints, Code::WebhooksNotConfigured, Code::EventNotFound]);

/// `POST /webhook-endpoints`
pub(super) async fn create(
    State(app): State<App>,
    Manager(caller): Manager,
    Extension(place): Extension<InFlightPlace>,
    command: Command<CreateRequest>,
) -> Result<Response> {
    check(&app, &place, &command.body.0.url).await?;
    let idempotent = command.idempotent(caller.account, EndpointBody::of);
    let outcome = app.services.webhooks.create(&caller.actor(), command.body.0, idempotent.as_ref()).await?;
    Ok(respond(outcome, EndpointBody::of))
}

/// `GET /webhook-endpoints`
pub(super) const LIST: Operation = Operation::new("listWebhookEndpoints", Tag::Webhooks, "List Webhook Endpoints")
    .about("Retrieve the webhook endpoints of your account, oldest first, with what is pending for each.")
    .list::<EndpointBody>("webhookEndpoints", r#"{"webhookEndpoints": [{"webhookEndpointId": "whe_01h455vb4pex5vsknk084sn02q", "url": "https://example.com/hooks", "description": null, "status": "disabled", "disabledReason": "failing", "eventTypes": ["*"], "maxConcurrency": 10, "ordering": "card", "failingSince": "2025-02-10T12:00:00.000Z", "lastSuccessAt": null, "pending": 1200, "lagSeconds": 432000, "overlapEndsAt": null, "createdAt": "2025-02-10T10:00:00.000Z"}]}"#);

/// `GET /webhook-endpoints`
pub(super) async fn list(State(app): State<App>, Manager(caller): Manager, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let page = Page::read(&mut query, cursor.as_ref(), "webhookEndpoints", "");
    query.done()?;
    let webhooks = app.services.webhooks.clone();
    page.respond(
        "webhookEndpoints",
        move |after, limit| {
            let webhooks = webhooks.clone();
            async move { webhooks.page(caller.account, after.unwrap_or(0), limit).await }
        },
        |endpoint: &WebhookEndpoint| (endpoint.number, EndpointBody::of(endpoint)),
    )
    .await
}

/// `GET /webhook-endpoints/{webhookEndpointId}`
pub(super) const GET: Operation = Operation::new("getWebhookEndpoint", Tag::Webhooks, "Get Webhook Endpoint")
    .about("Retrieve one webhook endpoint, with its health: how many events it has not got yet, how old the oldest of them is, and since when it fails.")
    .response::<EndpointBody>(ENDPOINT)
    .refusals(&[Code::WebhookEndpointNotFound]);

/// `GET /webhook-endpoints/{webhookEndpointId}`
pub(super) async fn get(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<WebhookEndpointId>,
) -> Result<JsonBody<EndpointBody>> {
    let id = id.map_err(|_| Refusal::WebhookEndpointNotFound)?;
    let endpoint = app.services.webhooks.get(caller.account, id).await?;
    Ok(JsonBody(EndpointBody::of(&endpoint)))
}

/// `PATCH /webhook-endpoints/{webhookEndpointId}`
pub(super) const CHANGE: Operation = Operation::new("changeWebhookEndpoint", Tag::Webhooks, "Change Webhook Endpoint")
    .about("Change a webhook endpoint; what is left out stays, and null takes the description away. An endpoint that is disabled keeps its place in the feed: once it is enabled, it gets what happened meanwhile, from where it stopped (`resumeFrom`: `cursor`), or only what happens from now on (`now`), or from a time on. What it skips is not sent; a replay can send it later.")
    .request(r#"{"status": "enabled", "resumeFrom": "cursor"}"#)
    .response::<EndpointBody>(ENDPOINT)
    .refusals(&[Code::WebhookEndpointNotFound]);

/// `PATCH /webhook-endpoints/{webhookEndpointId}`
pub(super) async fn change(
    State(app): State<App>,
    Manager(caller): Manager,
    Extension(place): Extension<InFlightPlace>,
    PathId(id): PathId<WebhookEndpointId>,
    command: Command<ChangeRequest>,
) -> Result<Response> {
    if let Some(url) = &command.body.0.url {
        check(&app, &place, url).await?;
    }
    let idempotent = command.idempotent(caller.account, EndpointBody::of);
    let outcome = app.services.webhooks.change(&caller.actor(), id.ok(), command.body.0, idempotent.as_ref()).await?;
    Ok(respond(outcome, EndpointBody::of))
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookEndpointDeleted")]
pub(super) struct Deleted {
    success: bool,
}

/// `DELETE /webhook-endpoints/{webhookEndpointId}`
pub(super) const DELETE: Operation = Operation::new("deleteWebhookEndpoint", Tag::Webhooks, "Delete Webhook Endpoint")
    .about("Delete a webhook endpoint. Nothing more is sent to it. Its deliveries go with it; the events stay in the feed.")
    .response::<Deleted>(r#"{"success": true}"#)
    .refusals(&[Code::WebhookEndpointNotFound]);

/// `DELETE /webhook-endpoints/{webhookEndpointId}`
pub(super) async fn delete(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<WebhookEndpointId>,
) -> Result<JsonBody<Deleted>> {
    let id = id.map_err(|_| Refusal::WebhookEndpointNotFound)?;
    app.services.webhooks.delete(&caller.actor(), id).await?;
    Ok(JsonBody(Deleted { success: true }))
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookSecret")]
pub(super) struct SecretBody {
    webhook_endpoint_id: WebhookEndpointId,
    /// The secret, as libraries for Standard Webhooks take it. Null in a response that is replayed under an Idempotency-Key.
    secret: Option<String>,
    /// Until when messages are signed with the secret before as well; null if they are not.
    overlap_ends_at: Option<Timestamp>,
}

impl SecretBody {
    fn with_text(secret: &EndpointSecret) -> Self {
        Self { secret: Some(secret.text.expose_secret().to_owned()), ..Self::to_store(secret) }
    }

    /// The response that may be stored.
    fn to_store(secret: &EndpointSecret) -> Self {
        Self { webhook_endpoint_id: secret.id, secret: None, overlap_ends_at: secret.overlap_ends_at.map(Timestamp) }
    }
}

/// `GET /webhook-endpoints/{webhookEndpointId}/secret`
pub(super) const GET_SECRET: Operation = Operation::new("getWebhookSecret", Tag::Webhooks, "Get Webhook Secret")
    .about("Retrieve the secret with which messages to an endpoint are signed. The service does not store it: it derives it whenever it is needed.")
    .response::<SecretBody>(r#"{"webhookEndpointId": "whe_01h455vb4pex5vsknk084sn02q", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "overlapEndsAt": null}"#)
    .refusals(&[Code::WebhookEndpointNotFound, Code::WebhooksNotConfigured]);

/// `GET /webhook-endpoints/{webhookEndpointId}/secret`
pub(super) async fn get_secret(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<WebhookEndpointId>,
) -> Result<JsonBody<SecretBody>> {
    let id = id.map_err(|_| Refusal::WebhookEndpointNotFound)?;
    let secret = app.services.webhooks.secret(&caller.actor(), id).await?;
    Ok(JsonBody(SecretBody::with_text(&secret)))
}

/// `POST /webhook-endpoints/{webhookEndpointId}/secret/rotate`
pub(super) const ROTATE: Operation = Operation::new("rotateWebhookSecret", Tag::Webhooks, "Rotate Webhook Secret")
    .about("Give a webhook endpoint another secret. Until the overlap ends, messages have two signatures, so that receivers can change over at any moment in between.")
    .request(r#"{"overlapSeconds": 86400}"#)
    .response::<SecretBody>(r#"{"webhookEndpointId": "whe_01h455vb4pex5vsknk084sn02q", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "overlapEndsAt": "2025-02-11T10:00:00.000Z"}"#)
    .refusals(&[Code::WebhookEndpointNotFound, Code::WebhooksNotConfigured]);

/// `POST /webhook-endpoints/{webhookEndpointId}/secret/rotate`
pub(super) async fn rotate(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<WebhookEndpointId>,
    command: Command<RotateRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, SecretBody::to_store);
    let outcome = app.services.webhooks.rotate(&caller.actor(), id.ok(), command.body.overlap, idempotent.as_ref()).await?;
    Ok(respond(outcome, SecretBody::with_text))
}
