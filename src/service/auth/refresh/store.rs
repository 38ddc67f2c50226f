//! The SQL of refresh tokens.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgConnection;

use crate::domain::id::{AccountId, SessionId};
use crate::service::error::Result;

pub(super) async fn insert_refresh_token(connection: &mut PgConnection, account: AccountId, session: SessionId, hash: &[u8]) -> Result<()> {
    sqlx::query!(
        "
        insert into refresh_tokens (account_id, session_id, token_hash)
        values ($1, $2, $3)
        ",
        account as AccountId,
        session as SessionId,
        hash,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks a token as used. None if the session has no such token. Otherwise how long ago it was used, if it was.
///
/// The time of the statement counts, not that of the transaction, which may have waited for the session's row.
pub(super) async fn use_refresh_token(
    connection: &mut PgConnection,
    account: AccountId,
    session: SessionId,
    hash: &[u8],
) -> Result<Option<Option<TimeDelta>>> {
    let row = sqlx::query!(
        r#"
        with found as (
            select used_at
            from refresh_tokens
            where account_id = $1 and session_id = $2 and token_hash = $3
        ), used as (
            update refresh_tokens
            set used_at = statement_timestamp()
            where account_id = $1 and session_id = $2 and token_hash = $3 and used_at is null
        )
        select used_at, statement_timestamp() as "now!"
        from found
        "#,
        account as AccountId,
        session as SessionId,
        hash,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.used_at.map(|used_at| row.now - used_at)))
}

/// The refreshes of a session in a clock hour, and the time until it ends.
pub(super) struct Refreshes {
    pub(super) count: i64,
    pub(super) left: Duration,
}

/// Counts a refresh of one of an account's sessions. The lock of the account's row makes the count exact over all replicas.
pub(super) async fn count_refresh_of_account(connection: &mut PgConnection, account: AccountId) -> Result<i64> {
    let used = sqlx::query_scalar!(
        "
        insert into refresh_usage as usage (account_id, window_start, used)
        values ($1, date_trunc('hour', now(), 'UTC'), 1)
        on conflict (account_id) do update
        set
            window_start = greatest(usage.window_start, excluded.window_start),
            used = case when usage.window_start >= excluded.window_start then usage.used + 1 else 1 end
        returning used
        ",
        account as AccountId,
    )
    .fetch_one(connection)
    .await?;
    Ok(used.into())
}

/// Counts a refresh of a session, whose row is locked.
pub(super) async fn count_refresh(connection: &mut PgConnection, account: AccountId, session: SessionId) -> Result<Refreshes> {
    let row = sqlx::query!(
        r#"
        with counted as (
            update sessions
            set
                refreshes_since = moment.hour,
                refreshes = case when refreshes_since = moment.hour then refreshes + 1 else 1 end
            from (select date_trunc('hour', now(), 'UTC') as hour) moment
            where account_id = $1 and id = $2
            returning refreshes, refreshes_since
        )
        select refreshes as "refreshes!", now() as "now!", refreshes_since + interval '1 hour' as "ends_at!"
        from counted
        "#,
        account as AccountId,
        session as SessionId,
    )
    .fetch_one(connection)
    .await?;
    Ok(Refreshes { count: row.refreshes.into(), left: (row.ends_at - row.now).to_std().unwrap_or_default() })
}
