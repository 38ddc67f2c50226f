//! The SQL that deletes old events.

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};

use crate::service::error::{Error, Result};

/// Deletes blocks of all accounts with their events, by age alone. One replica at a time does. Returns how many.
pub(in super::super) async fn delete_older_than(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<i64> {
    let age = PgInterval::try_from(age).map_err(|error| Error::internal("converting an age", error))?;
    let deleted = sqlx::query_scalar!(
        r#"
        with turn as materialized (
            select pg_try_advisory_xact_lock(hashtextextended('delete events', 2)) as is_mine
        ), old as (
            select feeds.account_id, aged.number
            from event_feeds feeds
            cross join lateral (
                select number
                from event_blocks
                where event_blocks.account_id = feeds.account_id
                    and event_blocks.created_at < now() - $1::interval
                    and event_blocks.position is not null
                order by created_at
                limit $2
            ) aged
            limit $2
        ), untold as (
            delete from events
            using old
            where events.account_id = old.account_id and events.block = old.number and (select is_mine from turn)
        ), gone as (
            delete from event_blocks
            using old
            where event_blocks.account_id = old.account_id and event_blocks.number = old.number and (select is_mine from turn)
            returning event_blocks.number
        )
        select count(*) as "count!" from gone
        "#,
        age,
        limit,
    )
    .fetch_one(connection)
    .await?;
    Ok(deleted)
}
