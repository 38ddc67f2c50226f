//! The SQL of the replica that sends: deliveries to make, to send and to write down.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::message::{Claimed, EndpointKey, Finished, Health};
use super::Place;
use crate::domain::{
    id::{AccountId, DeliveryId, MessageId, WebhookEndpointId},
    webhook::endpoint::EndpointStatus,
};
use crate::service::{error::Result, events::Header, unit::ReadConnection};

/// Moves an endpoint's place in the feed. An endpoint whose place was set meanwhile, or that has been disabled, stays as it is.
/// Returns whether the place was moved.
pub(in super::super) async fn move_place(connection: &mut PgConnection, key: EndpointKey, from: Place, to: Place) -> Result<bool> {
    let moved = sqlx::query!(
        "
        update webhook_endpoints
        set cursor_position = $6, cursor_ordinal = $7
        where account_id = $1
            and id = $2
            and lease_token = $3
            and status = $8
            and deleted_at is null
            and cursor_position = $4
            and cursor_ordinal = $5
        ",
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        from.position,
        from.ordinal,
        to.position,
        to.ordinal,
        EndpointStatus::Enabled.name(),
    )
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Makes deliveries of events to an endpoint.
pub(in super::super) async fn make_deliveries(
    connection: &mut PgConnection,
    key: EndpointKey,
    made: &[(DeliveryId, Header)],
) -> Result<()> {
    let ids: Vec<Uuid> = made.iter().map(|(id, _)| (*id).into()).collect();
    let events: Vec<Uuid> = made.iter().map(|(_, header)| header.id.into()).collect();
    let types: Vec<&str> = made.iter().map(|(_, header)| header.event_type.as_str()).collect();
    let cards: Vec<Option<Uuid>> = made.iter().map(|(_, header)| header.card.map(|card| card.card.into())).collect();
    let sequences: Vec<Option<i64>> = made.iter().map(|(_, header)| header.card.map(|card| card.sequence)).collect();
    let times: Vec<DateTime<Utc>> = made.iter().map(|(_, header)| header.created_at).collect();
    sqlx::query!(
        "
        insert into webhook_deliveries (
            account_id, webhook_endpoint_id, event_id, id, event_type, card_id, sequence, status, next_attempt_at, occurred_at
        )
        select
            accounts.account_id, $2, event.event_id, event.id, event.type, event.card_id, event.sequence, 'pending', now(),
            event.created_at
        from accounts
        cross join unnest($3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::bigint[], $8::timestamptz[])
            as event (id, event_id, type, card_id, sequence, created_at)
        where accounts.account_id = $1
        on conflict on constraint webhook_deliveries_pkey do nothing
        ",
        key.account as AccountId,
        key.id as WebhookEndpointId,
        &ids,
        &events,
        &types as &[&str],
        &cards as &[Option<Uuid>],
        &sequences as &[Option<i64>],
        &times,
    )
    .execute(connection)
    .await?;
    Ok(())
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
                    -- The index is of both.
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

/// Writes down what became of deliveries, and how the endpoint does. None: the lease is lost, and nothing was written.
pub(in super::super) async fn record(connection: &mut PgConnection, key: EndpointKey, finished: &[Finished]) -> Result<Option<Health>> {
    let last_success = finished.iter().rposition(Finished::has_succeeded);
    let failures: Vec<&Finished> =
        finished.iter().skip(last_success.map_or(0, |index| index + 1)).filter(|each| each.has_failed()).collect();
    let first_failure = failures.first().map(|failure| failure.started_at);
    let count = i32::try_from(failures.len()).unwrap_or(i32::MAX);
    let health = sqlx::query_as!(
        Health,
        r#"
        with owned as (
            update webhook_endpoints
            set
                failing_since = case when $4 then $5 else coalesce(failing_since, $5) end,
                failures = case when $4 then $6 else failures + $6 end,
                last_success_at = case when $4 then moment.now else last_success_at end
            from (select now() as now) moment
            where account_id = $1 and id = $2 and lease_token = $3
            returning id, failing_since, failures
        ), done as (
            update webhook_deliveries
            set
                status = finished.status,
                next_attempt_at = finished.next_attempt_at,
                delivered_at = case when finished.status = 'delivered' then moment.now end
            from owned
            cross join (select now() as now) moment
            cross join unnest($7::uuid[], $8::text[], $9::timestamptz[]) as finished (event_id, status, next_attempt_at)
            where webhook_deliveries.account_id = $1
                and webhook_deliveries.webhook_endpoint_id = $2
                and webhook_deliveries.event_id = finished.event_id
                and webhook_deliveries.status = 'sending'
        )
        select failing_since, failures as "failures!", clock_timestamp() as "now!"
        from owned
        "#,
        key.account as AccountId,
        key.id as WebhookEndpointId,
        key.token,
        last_success.is_some(),
        first_failure,
        count,
        &finished.iter().map(|each| Uuid::from(each.event)).collect::<Vec<_>>(),
        &finished.iter().map(Finished::status).collect::<Vec<_>>() as &[&str],
        &finished.iter().map(|each| each.next_attempt_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .fetch_optional(connection)
    .await?;
    Ok(health)
}

/// Writes down the attempts that were made, whether or not the lease is lost.
pub(in super::super) async fn insert_attempts(connection: &mut PgConnection, key: EndpointKey, finished: &[Finished]) -> Result<()> {
    let attempted: Vec<&Finished> = finished.iter().filter(|each| each.outcome.is_some()).collect();
    sqlx::query!(
        "
        insert into webhook_attempts (
            account_id, webhook_endpoint_id, id, delivery_id, number, started_at, duration_ms, outcome, status_code,
            response_body, next_attempt_at
        )
        select accounts.account_id, $2, attempt.*
        from accounts
        cross join unnest(
            $3::uuid[], $4::uuid[], $5::integer[], $6::timestamptz[], $7::integer[], $8::text[], $9::integer[], $10::text[],
            $11::timestamptz[]
        ) as attempt (
            id, delivery_id, number, started_at, duration_ms, outcome, status_code, response_body, next_attempt_at
        )
        where accounts.account_id = $1
        on conflict on constraint webhook_attempts_pkey do nothing
        ",
        key.account as AccountId,
        key.id as WebhookEndpointId,
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
    .execute(connection)
    .await?;
    Ok(())
}
