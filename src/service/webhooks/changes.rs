//! The units of work that change endpoints.

use std::time::Duration;

use sqlx::PgConnection;

use super::{EndpointChange, EndpointSecret, NewEndpoint, Place, Start, WebhookEndpoint, Webhooks, store};
use crate::domain::{
    actor::Actor,
    audit_event::Event,
    error::Refusal,
    id::{AccountId, WebhookEndpointId},
    webhook::endpoint::{DisabledReason, EndpointChanges, EndpointStatus, MAX_ENDPOINTS},
};
use crate::service::{accounts, audit, auth, error::Result, events, unit::Unit};

/// The place in the feed that a caller names, or None for where the endpoint stopped.
async fn resolve(connection: &mut PgConnection, account: AccountId, start: Start) -> Result<Option<Place>> {
    Ok(match start {
        Start::Cursor => None,
        Start::Beginning => Some(Place::default()),
        Start::Now => Some(store::end_of_feed(connection, account).await?),
        Start::After(event) => Some(store::place_of(connection, account, event).await?.ok_or(Refusal::EventNotFound)?),
        Start::At(moment) => Some(store::place_at(connection, account, moment).await?),
    })
}

pub(super) struct Create<'a> {
    pub(super) actor: &'a Actor,
    pub(super) new: &'a NewEndpoint,
    pub(super) kid: &'a str,
}

impl Unit for Create<'_> {
    type Output = WebhookEndpoint;

    async fn run(&self, connection: &mut PgConnection) -> Result<WebhookEndpoint> {
        let Self { actor, new, kid } = *self;
        let account = actor.account;
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        if store::count(connection, account).await? >= MAX_ENDPOINTS {
            return Err(Refusal::TooManyWebhookEndpoints.into());
        }
        events::enable_in(connection, actor).await?;
        let start = resolve(connection, account, new.start).await?.unwrap_or_default();
        let id = WebhookEndpointId::new();
        store::insert(connection, account, id, new, start, kid).await?;
        audit::record_in(connection, actor, Event::WebhookEndpointCreated { endpoint: id }).await?;
        found(connection, account, id).await
    }
}

pub(super) struct Change<'a> {
    pub(super) actor: &'a Actor,
    pub(super) id: Option<WebhookEndpointId>,
    pub(super) change: &'a EndpointChange,
}

impl Unit for Change<'_> {
    type Output = WebhookEndpoint;

    async fn run(&self, connection: &mut PgConnection) -> Result<WebhookEndpoint> {
        let Self { actor, id, change } = *self;
        let account = actor.account;
        let id = id.ok_or(Refusal::WebhookEndpointNotFound)?;
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        let before = store::lock(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        let status = change.status.filter(|status| before.known() != Ok(*status));
        store::change(connection, account, id, change).await?;
        match status {
            Some(EndpointStatus::Enabled) => {
                let start = change.resume.unwrap_or(Start::Cursor);
                if let Some(place) = resolve(connection, account, start).await? {
                    store::resume_at(connection, account, id, place).await?;
                }
                store::enable(connection, account, id).await?;
                audit::record_in(connection, actor, Event::WebhookEndpointEnabled { endpoint: id }).await?;
            }
            Some(EndpointStatus::Disabled) => {
                store::disable(connection, account, id, DisabledReason::Operator).await?;
                let event = Event::WebhookEndpointDisabled { endpoint: id, reason: DisabledReason::Operator };
                audit::record_in(connection, actor, event).await?;
            }
            None => {}
        }
        let fields = EndpointChanges {
            url: change.url.is_some(),
            event_types: change.types.is_some(),
            description: change.description.is_some(),
            max_concurrency: change.max_concurrency.is_some(),
            ordering: change.ordering.is_some(),
        };
        if fields != EndpointChanges::default() {
            audit::record_in(connection, actor, Event::WebhookEndpointChanged { endpoint: id, fields }).await?;
        }
        found(connection, account, id).await
    }
}

async fn found(connection: &mut PgConnection, account: AccountId, id: WebhookEndpointId) -> Result<WebhookEndpoint> {
    Ok(store::find(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?.endpoint)
}

pub(super) struct Delete<'a> {
    pub(super) actor: &'a Actor,
    pub(super) id: WebhookEndpointId,
}

impl Unit for Delete<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        let Self { actor, id } = *self;
        accounts::lock_in(connection, actor.account).await?;
        auth::may_manage_in(connection, actor).await?;
        store::lock(connection, actor.account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        store::delete(connection, actor.account, id).await?;
        audit::record_in(connection, actor, Event::WebhookEndpointDeleted { endpoint: id }).await
    }
}

pub(super) struct Rotate<'a> {
    pub(super) webhooks: &'a Webhooks,
    pub(super) actor: &'a Actor,
    pub(super) id: Option<WebhookEndpointId>,
    pub(super) kid: &'a str,
    pub(super) overlap: Duration,
}

impl Unit for Rotate<'_> {
    type Output = EndpointSecret;

    async fn run(&self, connection: &mut PgConnection) -> Result<EndpointSecret> {
        let Self { webhooks, actor, id, kid, overlap } = *self;
        let account = actor.account;
        let id = id.ok_or(Refusal::WebhookEndpointNotFound)?;
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        store::lock(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        store::rotate(connection, account, id, kid, overlap).await?;
        audit::record_in(connection, actor, Event::WebhookSecretRotated { endpoint: id }).await?;
        let stored = store::find(connection, account, id).await?.ok_or(Refusal::WebhookEndpointNotFound)?;
        webhooks.secret_of(account, &stored)
    }
}
