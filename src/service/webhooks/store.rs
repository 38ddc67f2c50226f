//! The SQL of endpoints. `deliveries` has that of deliveries and attempts and `purge` that of their end, `places` that of places in
//! the feed, `leases` and `sending` that of the replica which sends.

mod deliveries;
mod leases;
mod places;
mod purge;
mod sending;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};

pub(super) use self::{deliveries::*, leases::*, places::*, purge::*, sending::*};
use super::{EndpointChange, NewEndpoint, Place, SecretVersion, WebhookEndpoint};
use crate::domain::{
    feed_event::TypeFilter,
    id::{AccountId, WebhookEndpointId},
    text::Description,
    webhook::{
        endpoint::{DisabledReason, EndpointStatus, Ordering},
        url::EndpointUrl,
    },
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

/// An endpoint, and what its secrets are derived from.
pub(super) struct Stored {
    pub(super) endpoint: WebhookEndpoint,
    pub(super) secret: SecretVersion,
    /// The secret before, while it is valid.
    pub(super) previous: Option<SecretVersion>,
}

/// Reads endpoints with what is pending. The literal is the rest of the statement.
macro_rules! select_endpoints {
    ($rest:literal, $($parameters:expr),*) => {
        sqlx::query_as!(
            Row,
            r#"
            select
                endpoints.id as "id: WebhookEndpointId",
                endpoints.number,
                endpoints.url,
                endpoints.description,
                endpoints.event_types,
                endpoints.max_concurrency,
                endpoints.ordering as "ordering: Word<Ordering>",
                endpoints.status as "status: Word<EndpointStatus>",
                endpoints.disabled_reason as "disabled_reason: Word<DisabledReason>",
                endpoints.failing_since,
                endpoints.last_success_at,
                endpoints.created_at,
                endpoints.secret_kid,
                endpoints.secret_generation,
                case when endpoints.previous_valid_until > now() then endpoints.previous_kid end as previous_kid,
                case when endpoints.previous_valid_until > now() then endpoints.previous_generation end as previous_generation,
                case when endpoints.previous_valid_until > now() then endpoints.previous_valid_until end as previous_valid_until,
                (waiting.count + behind.count) as "pending!",
                floor(extract(epoch from now() - least(waiting.oldest, behind.oldest)))::bigint as lag_seconds
            from webhook_endpoints endpoints
            cross join lateral (
                select count(*), min(occurred_at) as oldest
                from (
                    select occurred_at
                    from webhook_deliveries
                    where webhook_deliveries.account_id = $1
                        and webhook_deliveries.webhook_endpoint_id = endpoints.id
                        and webhook_deliveries.status in ('pending', 'sending')
                    limit 100000
                ) pending
            ) waiting
            cross join lateral (
                select count(*), min(told.created_at) as oldest
                from (
                    select events.created_at
                    from event_blocks blocks
                    join events on events.account_id = $1 and events.block = blocks.number
                    where blocks.account_id = $1
                        -- Without a position: committed, and in the feed as soon as somebody reads it.
                        and (blocks.position is null or blocks.position >= endpoints.cursor_position)
                        and (
                            blocks.position is distinct from endpoints.cursor_position
                            or events.ordinal > endpoints.cursor_ordinal
                        )
                        and events.type like any (
                            array(select replace(pattern, '*', '%') from unnest(endpoints.event_types) as pattern)
                        )
                    limit 100000
                ) told
            ) behind
            "#
                + $rest,
            $($parameters),*
        )
    };
}

struct Row {
    id: WebhookEndpointId,
    number: i64,
    url: String,
    description: Option<String>,
    event_types: Vec<String>,
    max_concurrency: i32,
    ordering: Word<Ordering>,
    status: Word<EndpointStatus>,
    disabled_reason: Option<Word<DisabledReason>>,
    failing_since: Option<DateTime<Utc>>,
    last_success_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    secret_kid: String,
    secret_generation: i32,
    previous_kid: Option<String>,
    previous_generation: Option<i32>,
    previous_valid_until: Option<DateTime<Utc>>,
    pending: i64,
    lag_seconds: Option<i64>,
}

impl From<Row> for Stored {
    fn from(row: Row) -> Self {
        let previous = row.previous_kid.zip(row.previous_generation);
        Self {
            secret: SecretVersion { kid: row.secret_kid, generation: row.secret_generation },
            previous: previous.map(|(kid, generation)| SecretVersion { kid, generation }),
            endpoint: WebhookEndpoint {
                id: row.id,
                number: row.number,
                url: row.url,
                description: row.description,
                types: TypeFilter::stored(row.event_types),
                max_concurrency: row.max_concurrency,
                ordering: row.ordering,
                status: row.status,
                disabled_reason: row.disabled_reason,
                failing_since: row.failing_since,
                last_success_at: row.last_success_at,
                pending: row.pending,
                lag_seconds: row.lag_seconds.unwrap_or(0).max(0),
                overlap_ends_at: row.previous_valid_until,
                created_at: row.created_at,
            },
        }
    }
}

pub(super) async fn find(connection: &mut PgConnection, account: AccountId, id: WebhookEndpointId) -> Result<Option<Stored>> {
    let row = select_endpoints!(
        "where endpoints.account_id = $1 and endpoints.id = $2 and endpoints.deleted_at is null",
        account as AccountId,
        id as WebhookEndpointId
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Stored::from))
}

pub(super) async fn page(mut connection: ReadConnection<'_>, account: AccountId, after: i64, limit: i64) -> Result<Vec<Stored>> {
    let rows = select_endpoints!(
        "where endpoints.account_id = $1 and endpoints.number > $2 and endpoints.deleted_at is null
         order by endpoints.number
         limit $3",
        account as AccountId,
        after,
        limit
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(rows.into_iter().map(Stored::from).collect())
}

/// The names of the keys that the secrets of all endpoints are derived from.
pub(super) async fn key_names(mut connection: ReadConnection<'_>) -> Result<Vec<String>> {
    let names = sqlx::query_scalar!(
        r#"
        select secret_kid as "kid!"
        from webhook_endpoints
        where deleted_at is null
        union
        select previous_kid
        from webhook_endpoints
        where deleted_at is null and previous_kid is not null and previous_valid_until > now()
        "#,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(names)
}

/// How many endpoints an account has.
pub(super) async fn count(connection: &mut PgConnection, account: AccountId) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from webhook_endpoints where account_id = $1 and deleted_at is null"#,
        account as AccountId,
    )
    .fetch_one(connection)
    .await?;
    Ok(count)
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    account: AccountId,
    id: WebhookEndpointId,
    new: &NewEndpoint,
    start: Place,
    kid: &str,
) -> Result<()> {
    sqlx::query!(
        "
        insert into webhook_endpoints (
            account_id, id, url, description, event_types, max_concurrency, ordering, secret_kid, cursor_position,
            cursor_ordinal
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ",
        account as AccountId,
        id as WebhookEndpointId,
        new.url.as_str(),
        new.description.as_ref().map(Description::as_str),
        new.types.patterns(),
        i32::from(new.max_concurrency),
        new.ordering.name(),
        kid,
        start.position,
        start.ordinal,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks an endpoint and returns its status.
pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, id: WebhookEndpointId) -> Result<Option<Word<EndpointStatus>>> {
    let status = sqlx::query_scalar!(
        r#"
        select status as "status: Word<EndpointStatus>"
        from webhook_endpoints
        where account_id = $1 and id = $2 and deleted_at is null
        for no key update
        "#,
        account as AccountId,
        id as WebhookEndpointId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(status)
}

/// Changes what is not None, but for the status. The replica that holds the lease reads the endpoint anew.
pub(super) async fn change(
    connection: &mut PgConnection,
    account: AccountId,
    id: WebhookEndpointId,
    change: &EndpointChange,
) -> Result<()> {
    sqlx::query!(
        "
        update webhook_endpoints
        set
            url = coalesce($3, url),
            event_types = coalesce($4, event_types),
            description = case when $5 then $6 else description end,
            max_concurrency = coalesce($7, max_concurrency),
            ordering = coalesce($8, ordering)
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        id as WebhookEndpointId,
        change.url.as_ref().map(EndpointUrl::as_str),
        change.types.as_ref().map(TypeFilter::patterns) as Option<&[String]>,
        change.description.is_some(),
        change.description.as_ref().and_then(Option::as_ref).map(Description::as_str),
        change.max_concurrency.map(i32::from),
        change.ordering.map(Ordering::name),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Enables an endpoint. Its failures until now do not count any more, and what waits is due.
pub(super) async fn enable(connection: &mut PgConnection, account: AccountId, id: WebhookEndpointId) -> Result<()> {
    sqlx::query!(
        "
        with enabled as (
            update webhook_endpoints
            set status = 'enabled', disabled_reason = null, failing_since = null, failures = 0
            where account_id = $1 and id = $2
        )
        update webhook_deliveries
        set next_attempt_at = now(), attempts_before = attempts
        where account_id = $1 and webhook_endpoint_id = $2 and status = 'pending'
        ",
        account as AccountId,
        id as WebhookEndpointId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Disables an endpoint. The replica that sends to it ends what it is sending. Returns whether it was enabled.
pub(super) async fn disable(
    connection: &mut PgConnection,
    account: AccountId,
    id: WebhookEndpointId,
    reason: DisabledReason,
) -> Result<bool> {
    let disabled = sqlx::query_scalar!(
        r#"
        update webhook_endpoints
        set status = 'disabled', disabled_reason = $3
        where account_id = $1 and id = $2 and status = 'enabled' and deleted_at is null
        returning true as "disabled!"
        "#,
        account as AccountId,
        id as WebhookEndpointId,
        reason.name(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(disabled.is_some())
}

/// Marks an endpoint as deleted. The replica that sends to it ends what it is sending.
pub(super) async fn delete(connection: &mut PgConnection, account: AccountId, id: WebhookEndpointId) -> Result<()> {
    sqlx::query!(
        "
        update webhook_endpoints
        set deleted_at = now()
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        id as WebhookEndpointId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves an endpoint to the next generation of its secret. The present one stays for `overlap`.
pub(super) async fn rotate(
    connection: &mut PgConnection,
    account: AccountId,
    id: WebhookEndpointId,
    kid: &str,
    overlap: Duration,
) -> Result<()> {
    let overlap = (!overlap.is_zero()).then(|| PgInterval::try_from(overlap)).transpose();
    let overlap = overlap.map_err(|error| Error::internal("converting an overlap", error))?;
    sqlx::query!(
        "
        update webhook_endpoints
        set
            secret_kid = $3,
            secret_generation = secret_generation + 1,
            previous_kid = case when $4::interval is not null then secret_kid end,
            previous_generation = case when $4::interval is not null then secret_generation end,
            previous_valid_until = now() + $4::interval
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        id as WebhookEndpointId,
        kid,
        overlap as Option<PgInterval>,
    )
    .execute(connection)
    .await?;
    Ok(())
}
