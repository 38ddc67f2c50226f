//! The SQL that deletes old deliveries and attempts.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::service::error::Result;

/// Deletes attempts and deliveries of all accounts that are older than a time, and those of deleted endpoints: at most `limit`
/// of each. Returns how many attempts and deliveries went. Ids begin with the time.
pub(in super::super) async fn purge(connection: &mut PgConnection, before: Uuid, limit: i64) -> Result<i64> {
    let gone = sqlx::query_scalar!(
        r#"
        with old_attempts as (
            select endpoints.account_id, endpoints.id as endpoint_id, old.id
            from webhook_endpoints endpoints
            cross join lateral (
                select id
                from webhook_attempts attempts
                where attempts.account_id = endpoints.account_id
                    and attempts.webhook_endpoint_id = endpoints.id
                    -- One bound, which the index leads to: with an `or` every attempt that is kept would be read.
                    and attempts.id < case when endpoints.deleted_at is null then $1 else $3::uuid end
                order by id
                limit $2
            ) old
            limit $2
        ), attempts_gone as (
            delete from webhook_attempts attempts
            using old_attempts old
            where attempts.account_id = old.account_id
                and attempts.webhook_endpoint_id = old.endpoint_id
                and attempts.id = old.id
            returning attempts.id
        ), old_deliveries as (
            select endpoints.account_id, endpoints.id as endpoint_id, old.event_id
            from webhook_endpoints endpoints
            cross join lateral (
                select event_id
                from webhook_deliveries deliveries
                where deliveries.account_id = endpoints.account_id
                    and deliveries.webhook_endpoint_id = endpoints.id
                    and deliveries.event_id < case when endpoints.deleted_at is null then $1 else $3::uuid end
                    and (endpoints.deleted_at is not null or deliveries.status not in ('pending', 'sending'))
                order by event_id
                limit $2
            ) old
            limit $2
        ), deliveries_gone as (
            delete from webhook_deliveries deliveries
            using old_deliveries old
            where deliveries.account_id = old.account_id
                and deliveries.webhook_endpoint_id = old.endpoint_id
                and deliveries.event_id = old.event_id
            returning deliveries.id
        )
        select (select count(*) from attempts_gone) + (select count(*) from deliveries_gone) as "gone!"
        "#,
        before,
        limit,
        Uuid::max(),
    )
    .fetch_one(connection)
    .await?;
    Ok(gone)
}
