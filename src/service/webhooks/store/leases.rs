//! The SQL of leases, and of what the replicas see of all endpoints.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::super::{
    lease::LEASE,
    message::{Config, EndpointKey},
};
use super::{Place, SecretVersion};
use crate::domain::{
    feed_event::TypeFilter,
    id::{AccountId, WebhookEndpointId},
    webhook::endpoint::{DisabledReason, EndpointStatus, Ordering},
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

/// The database's clock.
pub(in super::super) async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select statement_timestamp() as "now!""#).fetch_one(connection).await?)
}

fn lease() -> Result<PgInterval> {
    PgInterval::try_from(LEASE).map_err(|error| Error::internal("converting a lease", error))
}

/// Some endpoints that nobody sends to and that have something to send, to be claimed with this token. Only those whose secret
/// comes from one of these keys: while a key is being rolled out, other replicas can sign what this one cannot.
pub(in super::super) async fn free_endpoints(
    mut connection: ReadConnection<'_>,
    token: Uuid,
    keys: &[String],
    limit: i64,
) -> Result<Vec<EndpointKey>> {
    let rows = sqlx::query!(
        r#"
        select endpoints.account_id as "account: AccountId", endpoints.id as "id: WebhookEndpointId"
        from webhook_endpoints endpoints
        join event_feeds feeds on feeds.account_id = endpoints.account_id
        where endpoints.status = 'enabled'
            and endpoints.deleted_at is null
            and endpoints.secret_kid = any($2)
            and (endpoints.lease_until is null or endpoints.lease_until < now())
            and (
                feeds.position > endpoints.cursor_position
                or exists (
                    select
                    from event_blocks blocks
                    where blocks.account_id = endpoints.account_id and blocks.position is null
                )
                or exists (
                    select
                    from webhook_deliveries due
                    where due.account_id = endpoints.account_id
                        and due.webhook_endpoint_id = endpoints.id
                        and due.status in ('pending', 'sending')
                        and due.next_attempt_at <= now()
                )
                or exists (
                    select
                    from event_blocks blocks
                    join events on events.account_id = endpoints.account_id and events.block = blocks.number
                    where blocks.account_id = endpoints.account_id
                        and blocks.position = endpoints.cursor_position
                        and events.ordinal > endpoints.cursor_ordinal
                )
            )
        order by endpoints.lease_until nulls first
        limit $1
        "#,
        limit,
        keys,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(rows.into_iter().map(|row| EndpointKey { account: row.account, id: row.id, token }).collect())
}

/// Takes the lease of an endpoint. False if somebody has it or takes it, or nothing is to be sent to the endpoint any more.
pub(in super::super) async fn claim_endpoint(
    connection: &mut PgConnection,
    key: EndpointKey,
    keys: &[String],
) -> std::result::Result<bool, sqlx::Error> {
    let lease = lease().map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let claimed = sqlx::query!(
        "
        with free as (
            select id
            from webhook_endpoints
            where account_id = $1
                and id = $2
                and status = 'enabled'
                and deleted_at is null
                and secret_kid = any($5)
                and (lease_until is null or lease_until < now())
            for no key update skip locked
        )
        update webhook_endpoints
        set lease_until = now() + $4::interval, lease_token = $3
        from free
        where webhook_endpoints.account_id = $1 and webhook_endpoints.id = free.id
        ",
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        lease,
        keys,
    )
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Renews a lease and reads how to send by now. None: the lease is lost.
pub(in super::super) async fn renew(connection: &mut PgConnection, key: EndpointKey) -> Result<Option<Config>> {
    let row = sqlx::query!(
        r#"
        with renewed as (
            update webhook_endpoints
            set lease_until = now() + $4::interval
            where account_id = $1 and id = $2 and lease_token = $3
            returning *
        )
        select
            url as "url!",
            event_types as "event_types!",
            max_concurrency as "max_concurrency!",
            ordering as "ordering!: Word<Ordering>",
            status as "status!: Word<EndpointStatus>",
            deleted_at is not null as "is_deleted!",
            secret_kid as "secret_kid!",
            secret_generation as "secret_generation!",
            case when previous_valid_until > now() then previous_kid end as previous_kid,
            case when previous_valid_until > now() then previous_generation end as previous_generation,
            cursor_position as "cursor_position!",
            cursor_ordinal as "cursor_ordinal!",
            clock_timestamp() as "now!"
        from renewed
        "#,
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        lease()?,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| {
        let previous = row.previous_kid.zip(row.previous_generation).map(|(kid, generation)| SecretVersion { kid, generation });
        Config {
            url: row.url,
            types: TypeFilter::stored(row.event_types),
            max_concurrency: usize::try_from(row.max_concurrency).unwrap_or(1),
            by_card: row.ordering == Word::Known(Ordering::Card),
            is_enabled: row.status == Word::Known(EndpointStatus::Enabled) && !row.is_deleted,
            secrets: [Some(SecretVersion { kid: row.secret_kid, generation: row.secret_generation }), previous]
                .into_iter()
                .flatten()
                .collect(),
            cursor: Place { position: row.cursor_position, ordinal: row.cursor_ordinal },
            now: row.now,
        }
    }))
}

/// Gives a lease back.
pub(in super::super) async fn release(connection: &mut PgConnection, key: EndpointKey) -> std::result::Result<(), sqlx::Error> {
    sqlx::query!(
        "
        update webhook_endpoints
        set lease_until = null, lease_token = null
        where account_id = $1 and id = $2 and lease_token = $3
        ",
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes what a replica was sending that has lost its lease due again. Nobody knows what came of it.
pub(in super::super) async fn adopt(connection: &mut PgConnection, key: EndpointKey) -> std::result::Result<(), sqlx::Error> {
    sqlx::query!(
        "
        update webhook_deliveries
        set status = 'pending', next_attempt_at = now()
        where account_id = $1
            and webhook_endpoint_id = $2
            and status = 'sending'
            and exists (
                select from webhook_endpoints where account_id = $1 and id = $2 and lease_token = $3
            )
        ",
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Disables an endpoint that the holder of the lease gives up. Returns whether it did.
pub(in super::super) async fn give_up(connection: &mut PgConnection, key: EndpointKey, reason: DisabledReason) -> Result<bool> {
    let disabled = sqlx::query_scalar!(
        r#"
        update webhook_endpoints
        set status = 'disabled', disabled_reason = $4
        where account_id = $1 and id = $2 and lease_token = $3 and status = 'enabled' and deleted_at is null
        returning true as "disabled!"
        "#,
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        reason.name(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(disabled.is_some())
}

/// How many endpoints are in which state, and the age of the oldest event that an enabled one has not got, in seconds.
pub(in super::super) struct State {
    pub(in super::super) healthy: i64,
    pub(in super::super) failing: i64,
    pub(in super::super) disabled: i64,
    pub(in super::super) oldest_seconds: i64,
}

pub(in super::super) async fn state(mut connection: ReadConnection<'_>) -> Result<State> {
    let state = sqlx::query_as!(
        State,
        r#"
        select
            count(*) filter (where status = 'enabled' and failing_since is null) as "healthy!",
            count(*) filter (where status = 'enabled' and failing_since is not null) as "failing!",
            count(*) filter (where status <> 'enabled') as "disabled!",
            coalesce(
                max(floor(extract(epoch from now() - least(waiting.oldest, behind.oldest)))) filter (where status = 'enabled'),
                0
            )::bigint as "oldest_seconds!"
        from webhook_endpoints endpoints
        cross join lateral (
            select min(occurred_at) as oldest
            from (
                select occurred_at
                from webhook_deliveries
                where webhook_deliveries.account_id = endpoints.account_id
                    and webhook_deliveries.webhook_endpoint_id = endpoints.id
                    and webhook_deliveries.status in ('pending', 'sending')
                order by next_attempt_at, event_id
                limit 1000
            ) pending
        ) waiting
        cross join lateral (
            select min(created_at) as oldest
            from (
                select created_at
                from event_blocks
                where event_blocks.account_id = endpoints.account_id
                    and event_blocks.position > endpoints.cursor_position
                order by position
                limit 1
            ) next
        ) behind
        where endpoints.deleted_at is null
        "#,
    )
    .fetch_one(connection.executor())
    .await?;
    Ok(state)
}
