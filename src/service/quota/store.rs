//! The SQL of the quota. Decides nothing.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::service::{error::Result, id::AccountId};

/// What counting one request came to.
pub(super) struct Count {
    /// The hour's count with this request in it; none when the hour was full without it.
    pub(super) used: Option<i32>,
    /// The clock hour it was counted in.
    pub(super) window_start: DateTime<Utc>,
    /// The database's clock.
    pub(super) now: DateTime<Utc>,
}

/// Counts one request unless the hour is full, in one statement: the row's lock makes it exact over all replicas.
///
/// A statement that waits for that lock across the full hour finds the next one begun, and counts in
/// it. (A window further ahead is what a clock that was once wrong left behind, and is no longer one.) No money is in it, so its commit does not wait for the disk.
pub(super) async fn count(connection: &mut PgConnection, account: AccountId, limit: i32) -> Result<Count> {
    let count = sqlx::query_as!(
        Count,
        r#"
        with counted as (
            insert into quota_usage (account_id, window_start, used)
            values ($1, date_trunc('hour', now(), 'UTC'), 1)
            on conflict (account_id) do update
            set
                window_start = case
                    when quota_usage.window_start - excluded.window_start in (interval '0', interval '1 hour') then quota_usage.window_start
                    else excluded.window_start
                end,
                used = case
                    when quota_usage.window_start - excluded.window_start in (interval '0', interval '1 hour') then quota_usage.used + 1
                    else 1
                end
            where quota_usage.used < $2
                or quota_usage.window_start - excluded.window_start not in (interval '0', interval '1 hour')
            returning used, window_start
        ), unsynced as (
            select set_config('synchronous_commit', 'off', true)
        )
        select
            counted.used as "used?",
            coalesce(counted.window_start, date_trunc('hour', now(), 'UTC')) as "window_start!",
            clock_timestamp() as "now!"
        from unsynced
        left join counted on true
        "#,
        account as AccountId,
        limit,
    )
    .fetch_one(connection)
    .await?;
    Ok(count)
}
