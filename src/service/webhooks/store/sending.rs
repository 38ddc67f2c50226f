//! The SQL of the replica that sends: leases, deliveries to make, to send and to write down.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::super::owner::{Claimed, Config, EndpointKey, Finished, Health, LEASE, Made};
use super::{Place, SecretVersion};
use crate::domain::{
    feed_event::TypeFilter,
    id::{AccountId, MessageId, WebhookEndpointId},
    webhook::endpoint::{DisabledReason, EndpointStatus, Ordering},
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    events::Header,
    unit::ReadConnection,
};

/// The database's clock.
pub(in super::super) async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select statement_timestamp() as "now!""#).fetch_one(connection).await?)
}

fn lease() -> Result<PgInterval> {
    PgInterval::try_from(LEASE).map_err(|error| Error::internal("converting a lease", error))
}

/// Takes the leases of some endpoints that nobody sends to and that have something to send. Only of those whose secret comes
/// from one of these keys: while a key is being rolled out, other replicas can sign what this one cannot.
pub(in super::super) async fn claim_endpoints(
    connection: &mut PgConnection,
    token: Uuid,
    keys: &[String],
    limit: i64,
) -> std::result::Result<Vec<EndpointKey>, sqlx::Error> {
    let lease = lease().map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let rows = sqlx::query!(
        r#"
        with free as (
            select endpoints.account_id, endpoints.id
            from webhook_endpoints endpoints
            join event_feeds feeds on feeds.account_id = endpoints.account_id
            where endpoints.status = 'enabled'
                and endpoints.deleted_at is null
                and endpoints.secret_kid = any($4)
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
            limit $2
            for update of endpoints skip locked
        )
        update webhook_endpoints
        set lease_until = now() + $3::interval, lease_token = $1
        from free
        where webhook_endpoints.account_id = free.account_id and webhook_endpoints.id = free.id
        returning webhook_endpoints.account_id as "account: AccountId", webhook_endpoints.id as "id: WebhookEndpointId"
        "#,
        token,
        limit,
        lease,
        keys,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| EndpointKey { account: row.account, id: row.id, token }).collect())
}

/// Renews a lease and reads how to send by now. None: the lease is lost.
pub(in super::super) async fn renew(connection: &mut PgConnection, key: EndpointKey) -> Result<Option<Config>> {
    let row = sqlx::query!(
        r#"
        update webhook_endpoints
        set lease_until = now() + $4::interval
        where account_id = $1 and id = $2 and lease_token = $3
        returning
            url,
            event_types,
            max_concurrency,
            ordering as "ordering: Word<Ordering>",
            status as "status: Word<EndpointStatus>",
            deleted_at is not null as "is_deleted!",
            secret_kid,
            secret_generation,
            case when previous_valid_until > now() then previous_kid end as previous_kid,
            case when previous_valid_until > now() then previous_generation end as previous_generation,
            cursor_position,
            cursor_ordinal,
            clock_timestamp() as "now!"
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

/// Makes deliveries of events, and moves the endpoint's place in the feed behind them. An endpoint whose place was set
/// meanwhile, or that has been disabled, stays as it is. Returns how many deliveries there are to send, or None.
pub(in super::super) async fn make_deliveries(
    connection: &mut PgConnection,
    key: EndpointKey,
    from: Place,
    to: Place,
    made: &[(Made, Header)],
) -> std::result::Result<Option<i64>, sqlx::Error> {
    let ids: Vec<Uuid> = made.iter().map(|(made, _)| made.id.into()).collect();
    let events: Vec<Uuid> = made.iter().map(|(_, header)| header.id.into()).collect();
    let types: Vec<&str> = made.iter().map(|(_, header)| header.event_type.as_str()).collect();
    let cards: Vec<Option<Uuid>> = made.iter().map(|(_, header)| header.card.map(|card| card.card.into())).collect();
    let sequences: Vec<Option<i64>> = made.iter().map(|(_, header)| header.card.map(|card| card.sequence)).collect();
    let times: Vec<DateTime<Utc>> = made.iter().map(|(_, header)| header.created_at).collect();
    let count = sqlx::query_scalar!(
        r#"
        with moved as (
            update webhook_endpoints
            set cursor_position = $6, cursor_ordinal = $7
            where account_id = $1
                and id = $2
                and lease_token = $3
                and status = 'enabled'
                and deleted_at is null
                and cursor_position = $4
                and cursor_ordinal = $5
            returning id
        ), made as (
            insert into webhook_deliveries (
                account_id, webhook_endpoint_id, event_id, id, event_type, card_id, sequence, status, next_attempt_at,
                occurred_at
            )
            select $1, moved.id, event.event_id, event.id, event.type, event.card_id, event.sequence, 'pending', now(), event.created_at
            from moved
            cross join unnest($8::uuid[], $9::uuid[], $10::text[], $11::uuid[], $12::bigint[], $13::timestamptz[])
                as event (id, event_id, type, card_id, sequence, created_at)
            on conflict on constraint webhook_deliveries_pkey do nothing
            returning id
        )
        select (select count(*) from made) as "made!"
        from moved
        "#,
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        from.position,
        from.ordinal,
        to.position,
        to.ordinal,
        &ids,
        &events,
        &types as &[&str],
        &cards as &[Option<Uuid>],
        &sequences as &[Option<i64>],
        &times,
    )
    .fetch_optional(connection)
    .await?;
    Ok(count)
}

/// Claims deliveries that are due, and counts an attempt of each. With `by_card`, one of a card has to wait while an earlier
/// one of the card is not done.
pub(in super::super) async fn claim_deliveries(
    connection: &mut PgConnection,
    key: EndpointKey,
    limit: i64,
    by_card: bool,
) -> std::result::Result<Vec<Claimed>, sqlx::Error> {
    let claimed = sqlx::query_as!(
        Claimed,
        r#"
        update webhook_deliveries
        set status = 'sending', attempts = attempts + 1
        where account_id = $1
            and webhook_endpoint_id = $2
            -- An array is made once. A subquery could be run for each row, and would then lock more than `limit`.
            and event_id = any(array(
                select due.event_id
                from webhook_deliveries due
                where due.account_id = $1
                    and due.webhook_endpoint_id = $2
                    and due.status in ('pending', 'sending')
                    and due.status = 'pending'
                    and due.next_attempt_at <= now()
                    and not (
                        $5
                        and due.card_id is not null
                        and exists (
                            select
                            from webhook_deliveries earlier
                            where earlier.account_id = $1
                                and earlier.webhook_endpoint_id = $2
                                and earlier.card_id = due.card_id
                                and earlier.sequence < due.sequence
                                and earlier.status in ('pending', 'sending')
                        )
                    )
                order by due.next_attempt_at, due.event_id
                limit $4
                for update skip locked
            ))
            and exists (
                select
                from webhook_endpoints
                where account_id = $1
                    and id = $2
                    and lease_token = $3
                    and lease_until > now()
                    and status = 'enabled'
                    and deleted_at is null
            )
        returning
            event_id as "event: MessageId",
            id,
            payload,
            attempts,
            attempts_before,
            occurred_at
        "#,
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        limit,
        by_card,
    )
    .fetch_all(connection)
    .await?;
    Ok(claimed)
}

/// How many deliveries to an endpoint are not done, counted to a limit.
pub(in super::super) async fn waiting(mut connection: ReadConnection<'_>, key: EndpointKey, limit: i64) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from (
            select
            from webhook_deliveries
            where account_id = $1 and webhook_endpoint_id = $2 and status in ('pending', 'sending')
            limit $3
        ) waiting
        "#,
        key.account as AccountId,
        key.id as WebhookEndpointId,
        limit,
    )
    .fetch_one(connection.executor())
    .await?;
    Ok(count)
}

/// Gives claimed deliveries back that were not sent: their attempts do not count.
pub(in super::super) async fn give_back(
    connection: &mut PgConnection,
    key: EndpointKey,
    events: &[MessageId],
) -> std::result::Result<(), sqlx::Error> {
    let events: Vec<Uuid> = events.iter().map(|event| (*event).into()).collect();
    sqlx::query!(
        "
        update webhook_deliveries
        set status = 'pending', attempts = attempts - 1
        where account_id = $1
            and webhook_endpoint_id = $2
            and event_id = any($4)
            and status = 'sending'
            and attempts > attempts_before
            and exists (
                select from webhook_endpoints where account_id = $1 and id = $2 and lease_token = $3
            )
        ",
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        &events,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes down what became of deliveries, and how the endpoint does. None: the lease is lost, and nothing was written but the
/// attempts, which were made.
pub(in super::super) async fn record(
    connection: &mut PgConnection,
    key: EndpointKey,
    finished: &[Finished],
) -> std::result::Result<Option<Health>, sqlx::Error> {
    let last_success = finished.iter().rposition(Finished::has_succeeded);
    let failures: Vec<&Finished> =
        finished.iter().skip(last_success.map_or(0, |index| index + 1)).filter(|each| each.has_failed()).collect();
    let first_failure = failures.first().map(|failure| failure.started_at);
    let count = i32::try_from(failures.len()).unwrap_or(i32::MAX);
    let attempted: Vec<&Finished> = finished.iter().filter(|each| each.outcome.is_some()).collect();
    let health = sqlx::query_as!(
        Health,
        r#"
        with owned as (
            update webhook_endpoints
            set
                failing_since = case when $4 then $5 else coalesce(failing_since, $5) end,
                failures = case when $4 then $6 else failures + $6 end,
                last_success_at = case when $4 then now() else last_success_at end
            where account_id = $1 and id = $2 and lease_token = $3
            returning id, failing_since, failures
        ), done as (
            update webhook_deliveries
            set
                status = finished.status,
                next_attempt_at = finished.next_attempt_at,
                delivered_at = case when finished.status = 'delivered' then now() end
            from owned
            cross join unnest($7::uuid[], $8::text[], $9::timestamptz[]) as finished (event_id, status, next_attempt_at)
            where webhook_deliveries.account_id = $1
                and webhook_deliveries.webhook_endpoint_id = $2
                and webhook_deliveries.event_id = finished.event_id
                and webhook_deliveries.status = 'sending'
        ), tried as (
            insert into webhook_attempts (
                account_id, webhook_endpoint_id, id, delivery_id, number, started_at, duration_ms, outcome, status_code,
                response_body, next_attempt_at
            )
            select $1, $2, attempt.*
            from unnest(
                $10::uuid[], $11::uuid[], $12::integer[], $13::timestamptz[], $14::integer[], $15::text[], $16::integer[],
                $17::text[], $18::timestamptz[]
            ) as attempt (
                id, delivery_id, number, started_at, duration_ms, outcome, status_code, response_body, next_attempt_at
            )
        )
        select failing_since, failures, clock_timestamp() as "now!"
        from owned
        "#,
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        last_success.is_some(),
        first_failure,
        count,
        &finished.iter().map(|each| Uuid::from(each.event)).collect::<Vec<_>>(),
        &finished.iter().map(|each| each.status()).collect::<Vec<_>>() as &[&str],
        &finished.iter().map(|each| each.next_attempt_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &attempted.iter().map(|each| Uuid::from(each.attempt)).collect::<Vec<_>>(),
        &attempted.iter().map(|each| each.delivery).collect::<Vec<_>>(),
        &attempted.iter().map(|each| each.number).collect::<Vec<_>>(),
        &attempted.iter().map(|each| each.started_at).collect::<Vec<_>>(),
        &attempted.iter().map(|each| each.duration_ms).collect::<Vec<_>>(),
        &attempted.iter().filter_map(|each| Some(each.outcome?.name())).collect::<Vec<_>>() as &[&str],
        &attempted.iter().map(|each| each.status_code).collect::<Vec<_>>() as &[Option<i32>],
        &attempted.iter().map(|each| each.response_body.clone()).collect::<Vec<_>>() as &[Option<String>],
        &attempted.iter().map(|each| each.next_attempt_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .fetch_optional(connection)
    .await?;
    Ok(health)
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
