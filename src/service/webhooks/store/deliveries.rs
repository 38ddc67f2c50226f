//! The SQL of deliveries and attempts, as their account sees them.

use chrono::TimeDelta;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::deliveries::{Attempt, Delivery, Replay, Replayed};
use crate::domain::{
    id::{AccountId, AttemptId, CardId, DeliveryId, MessageId, WebhookEndpointId},
    webhook::{
        endpoint::{DeliveryStatus, EndpointStatus},
        outcome::AttemptOutcome,
    },
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// Reads deliveries. The literal is the rest of the statement.
macro_rules! select_deliveries {
    ($rest:literal, $($parameters:expr),*) => {
        sqlx::query_as!(
            Delivery,
            r#"
            select
                deliveries.id as "id: DeliveryId",
                deliveries.webhook_endpoint_id as "endpoint: WebhookEndpointId",
                deliveries.event_id as "event: MessageId",
                deliveries.event_type,
                deliveries.card_id as "card: CardId",
                deliveries.sequence,
                case when deliveries.status = 'sending' then 'pending' else deliveries.status end
                    as "status!: Word<DeliveryStatus>",
                deliveries.attempts,
                deliveries.next_attempt_at,
                deliveries.created_at,
                deliveries.delivered_at
            from webhook_deliveries deliveries
            "#
                + $rest,
            $($parameters),*
        )
    };
}

/// Deliveries to an endpoint before that of an event, or the newest, newest event first.
pub(in super::super) async fn deliveries_of_endpoint(
    mut connection: ReadConnection<'_>,
    (account, endpoint): (AccountId, WebhookEndpointId),
    status: Option<DeliveryStatus>,
    before: Option<MessageId>,
    limit: i64,
) -> Result<Vec<Delivery>> {
    let deliveries = select_deliveries!(
        "where deliveries.account_id = $1
            and deliveries.webhook_endpoint_id = $2
            and deliveries.event_id < $3
            and (
                $4::text is null
                or deliveries.status = $4
                or ($4 = 'pending' and deliveries.status = 'sending')
            )
         order by deliveries.event_id desc
         limit $5",
        account as AccountId,
        endpoint as WebhookEndpointId,
        before.map_or(Uuid::max(), Uuid::from),
        status.map(DeliveryStatus::name),
        limit
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(deliveries)
}

/// The deliveries of an event, by endpoint.
pub(in super::super) async fn deliveries_of_event(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    event: MessageId,
) -> Result<Vec<Delivery>> {
    let deliveries = select_deliveries!(
        "join webhook_endpoints endpoints
            on endpoints.account_id = $1 and endpoints.id = deliveries.webhook_endpoint_id
         where deliveries.account_id = $1 and deliveries.event_id = $2 and endpoints.deleted_at is null
         order by endpoints.number",
        account as AccountId,
        event as MessageId
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(deliveries)
}

/// A delivery. Those of a deleted endpoint are gone, also while they are not purged yet.
pub(in super::super) async fn find_delivery(connection: &mut PgConnection, account: AccountId, id: DeliveryId) -> Result<Option<Delivery>> {
    let delivery = select_deliveries!(
        "where deliveries.account_id = $1
            and deliveries.id = $2
            and exists (
                select
                from webhook_endpoints endpoints
                where endpoints.account_id = $1
                    and endpoints.id = deliveries.webhook_endpoint_id
                    and endpoints.deleted_at is null
            )",
        account as AccountId,
        id as DeliveryId
    )
    .fetch_optional(connection)
    .await?;
    Ok(delivery)
}

/// Reads attempts. The literal is the rest of the statement.
macro_rules! select_attempts {
    ($rest:literal, $($parameters:expr),*) => {
        sqlx::query_as!(
            Attempt,
            r#"
            select
                attempts.id as "id: AttemptId",
                attempts.delivery_id as "delivery: DeliveryId",
                attempts.number,
                attempts.started_at,
                attempts.duration_ms,
                attempts.outcome as "outcome: Word<AttemptOutcome>",
                attempts.status_code,
                attempts.response_body,
                attempts.next_attempt_at
            from webhook_attempts attempts
            "#
                + $rest,
            $($parameters),*
        )
    };
}

/// Attempts at an endpoint before one, or the newest, newest first.
pub(in super::super) async fn attempts_of_endpoint(
    mut connection: ReadConnection<'_>,
    (account, endpoint): (AccountId, WebhookEndpointId),
    before: Option<AttemptId>,
    limit: i64,
) -> Result<Vec<Attempt>> {
    let attempts = select_attempts!(
        "where attempts.account_id = $1 and attempts.webhook_endpoint_id = $2 and attempts.id < $3
         order by attempts.id desc
         limit $4",
        account as AccountId,
        endpoint as WebhookEndpointId,
        before.map_or(Uuid::max(), Uuid::from),
        limit
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(attempts)
}

/// The attempts of a delivery, newest first.
pub(in super::super) async fn attempts_of_delivery(
    mut connection: ReadConnection<'_>,
    (account, delivery): (AccountId, DeliveryId),
    before: Option<AttemptId>,
    limit: i64,
) -> Result<Vec<Attempt>> {
    let attempts = select_attempts!(
        "where attempts.account_id = $1 and attempts.delivery_id = $2 and attempts.id < $3
         order by attempts.number desc, attempts.id desc
         limit $4",
        account as AccountId,
        delivery as DeliveryId,
        before.map_or(Uuid::max(), Uuid::from),
        limit
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(attempts)
}

/// Schedules an event anew for one endpoint, or for each that is enabled and wants events of its type. Returns how many.
pub(in super::super) async fn resend(
    connection: &mut PgConnection,
    account: AccountId,
    event: MessageId,
    endpoint: Option<WebhookEndpointId>,
) -> Result<i64> {
    let scheduled = sqlx::query_scalar!(
        r#"
        with wanted as (
            select endpoints.id as endpoint_id, events.id, events.type, events.card_id, events.sequence, events.created_at
            from webhook_endpoints endpoints
            join events on events.account_id = $1 and events.id = $2
            where endpoints.account_id = $1
                and endpoints.deleted_at is null
                and endpoints.status = $4
                and (
                    endpoints.id = $3
                    or ($3::uuid is null and events.type like any (
                        array(select replace(pattern, '*', '%') from unnest(endpoints.event_types) as pattern)
                    ))
                )
        ), scheduled as (
            insert into webhook_deliveries (
                account_id, webhook_endpoint_id, event_id, id, event_type, card_id, sequence, status, next_attempt_at,
                occurred_at
            )
            select $1, endpoint_id, id, new_id(), type, card_id, sequence, 'pending', now(), created_at
            from wanted
            on conflict on constraint webhook_deliveries_pkey do update
            set
                status = 'pending',
                next_attempt_at = excluded.next_attempt_at,
                attempts_before = webhook_deliveries.attempts,
                delivered_at = null
            where webhook_deliveries.status <> 'sending'
            returning id
        )
        select count(*) as "count!" from scheduled
        "#,
        account as AccountId,
        event as MessageId,
        endpoint as Option<WebhookEndpointId>,
        EndpointStatus::Enabled.name(),
    )
    .fetch_one(connection)
    .await?;
    Ok(scheduled)
}

/// Finds the events that a replay asks for, at most one more than `limit`, and schedules them unless it is a trial. Of those
/// that wait already nothing changes. Ids begin with the time, so the index of ids leads to a period.
pub(in super::super) async fn replay(
    connection: &mut PgConnection,
    (account, endpoint): (AccountId, WebhookEndpointId),
    replay: &Replay,
    types: Option<&[String]>,
    limit: i64,
) -> Result<Replayed> {
    let (lowest, highest) = replay.ids();
    let replayed = sqlx::query_as!(
        Replayed,
        r#"
        with matched as materialized (
            select events.id, events.type, events.card_id, events.sequence, events.created_at, known.status
            from events
            left join webhook_deliveries known
                on known.account_id = $1 and known.webhook_endpoint_id = $2 and known.event_id = events.id
            where events.account_id = $1
                and events.id between $3 and $4
                and events.created_at >= $5
                and events.created_at <= $6
                and ($7::text[] is null or events.type = any($7))
                and case $8
                    when 'failed' then known.status in ('failed', 'cancelled')
                    when 'missing' then known.status is null
                    else true
                end
            limit $9::bigint + 1
        ), scheduled as (
            insert into webhook_deliveries (
                account_id, webhook_endpoint_id, event_id, id, event_type, card_id, sequence, status, next_attempt_at,
                occurred_at
            )
            select $1, $2, id, new_id(), type, card_id, sequence, 'pending', now(), created_at
            from matched
            where $10 and (select count(*) from matched) <= $9::bigint and status is distinct from 'pending'
            on conflict on constraint webhook_deliveries_pkey do update
            set
                status = 'pending',
                next_attempt_at = excluded.next_attempt_at,
                attempts_before = webhook_deliveries.attempts,
                delivered_at = null
            where webhook_deliveries.status not in ('pending', 'sending')
            returning id
        )
        select
            (select count(*) from matched) as "matched!",
            (select count(*) from scheduled) as "scheduled!"
        "#,
        account as AccountId,
        endpoint as WebhookEndpointId,
        lowest,
        highest,
        replay.from,
        // The last microsecond before the end, which is as exact as the database is.
        replay.to - TimeDelta::microseconds(1),
        types as Option<&[String]>,
        replay.only.name(),
        limit,
        !replay.is_trial,
    )
    .fetch_one(connection)
    .await?;
    Ok(replayed)
}

/// Writes down a test, which is sent once: its delivery and its attempt.
pub(in super::super) async fn insert_test(
    connection: &mut PgConnection,
    endpoint: (AccountId, WebhookEndpointId),
    event: MessageId,
    attempt: &Attempt,
) -> Result<()> {
    insert_test_delivery(connection, endpoint, event, attempt).await?;
    insert_test_attempt(connection, endpoint, attempt).await
}

async fn insert_test_delivery(
    connection: &mut PgConnection,
    (account, endpoint): (AccountId, WebhookEndpointId),
    event: MessageId,
    attempt: &Attempt,
) -> Result<()> {
    let succeeded = attempt.outcome.known() == Ok(AttemptOutcome::Succeeded);
    sqlx::query!(
        "
        insert into webhook_deliveries (
            account_id, webhook_endpoint_id, event_id, id, event_type, status, attempts, occurred_at, delivered_at
        )
        values ($1, $2, $3, $4, 'webhook.test', $5, 1, $6, case when $5 = 'delivered' then now() end)
        ",
        account as AccountId,
        endpoint as WebhookEndpointId,
        event as MessageId,
        attempt.delivery as DeliveryId,
        if succeeded { DeliveryStatus::Delivered } else { DeliveryStatus::Failed }.name(),
        attempt.started_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_test_attempt(
    connection: &mut PgConnection,
    (account, endpoint): (AccountId, WebhookEndpointId),
    attempt: &Attempt,
) -> Result<()> {
    sqlx::query!(
        "
        insert into webhook_attempts (
            account_id, webhook_endpoint_id, id, delivery_id, number, started_at, duration_ms, outcome, status_code,
            response_body
        )
        values ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9)
        ",
        account as AccountId,
        endpoint as WebhookEndpointId,
        attempt.id as AttemptId,
        attempt.delivery as DeliveryId,
        attempt.started_at,
        attempt.duration_ms,
        attempt.outcome.known().map(AttemptOutcome::name).unwrap_or_default(),
        attempt.status_code,
        attempt.response_body.as_deref(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
