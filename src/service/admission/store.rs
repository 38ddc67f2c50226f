//! The SQL of admission.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::{
    id::{AccountId, SessionId, UserId},
    role::Role,
    word::Word,
};
use crate::service::error::Result;

/// The requests of one session.
pub(super) struct SessionRequests {
    pub(super) account: AccountId,
    pub(super) session: SessionId,
    pub(super) user: UserId,
    pub(super) requests: i64,
}

/// The result for the requests of one session.
pub(super) struct Row {
    /// The number of the session in the statement, from 1.
    pub(super) number: i64,
    /// None if the session is over or the user is disabled.
    pub(super) role: Option<Word<Role>>,
    /// The account's own quota, if it has one.
    pub(super) requests_per_hour: Option<i32>,
    /// How many of the account's requests were admitted.
    pub(super) admitted: i32,
    /// The requests counted in the hour, including these. None if the hour was already full.
    pub(super) used: Option<i32>,
    /// The clock hour they were counted in.
    pub(super) window_start: DateTime<Utc>,
    /// The database's clock.
    pub(super) now: DateTime<Utc>,
}

/// Finds the user of each session, and counts the requests of live sessions, up to the quota of each account. One
/// statement: the lock of the account's usage row makes the count exact over all replicas. Accounts are locked in the
/// order of their ids, so that two statements cannot deadlock.
///
/// A statement that waits for the lock past the end of the hour may find a window of the next hour and counts in it. (A
/// window further ahead was written by a wrong clock, and restarts.) The commit does not wait for the disk, because no
/// money is written.
pub(super) async fn admit(connection: &mut PgConnection, sessions: &[SessionRequests], per_hour: i32) -> Result<Vec<Row>> {
    let column = |of: fn(&SessionRequests) -> Uuid| sessions.iter().map(of).collect::<Vec<Uuid>>();
    let rows = sqlx::query_as!(
        Row,
        r#"
        with asked as materialized (
            select *
            from unnest($1::uuid[], $2::uuid[], $3::uuid[], $5::bigint[]) with ordinality
                as asked (account_id, session_id, user_id, requests, number)
        ), callers as materialized (
            select
                asked.number,
                asked.account_id,
                asked.requests,
                users.role,
                accounts.requests_per_hour
            from asked
            join sessions on sessions.account_id = asked.account_id and sessions.id = asked.session_id
            join users on users.account_id = sessions.account_id and users.id = sessions.user_id
            join accounts on accounts.account_id = asked.account_id
            where sessions.user_id = asked.user_id
                and sessions.ended_at is null
                and sessions.expires_at > now()
                and users.disabled_at is null
        ), counted as (
            insert into quota_usage as usage (account_id, window_start, used, admitted, per_hour)
            select
                account_id,
                date_trunc('hour', now(), 'UTC'),
                least(sum(requests), coalesce(min(requests_per_hour), $4))::integer,
                least(sum(requests), coalesce(min(requests_per_hour), $4))::integer,
                coalesce(min(requests_per_hour), $4)
            from callers
            group by account_id
            order by account_id
            on conflict (account_id) do update
            set
                window_start = case
                    when usage.window_start - excluded.window_start in (interval '0', interval '1 hour') then usage.window_start
                    else excluded.window_start
                end,
                used = case
                    when usage.window_start - excluded.window_start in (interval '0', interval '1 hour')
                        then usage.used + least(excluded.admitted, excluded.per_hour - usage.used)
                    else excluded.used
                end,
                admitted = case
                    when usage.window_start - excluded.window_start in (interval '0', interval '1 hour')
                        then least(excluded.admitted, excluded.per_hour - usage.used)
                    else excluded.admitted
                end,
                per_hour = excluded.per_hour
            where usage.used < excluded.per_hour
                or usage.window_start - excluded.window_start not in (interval '0', interval '1 hour')
            returning account_id, used, admitted, window_start
        ), unsynced as (
            select set_config('synchronous_commit', 'off', true)
        )
        select
            asked.number as "number!",
            callers.role as "role?: Word<Role>",
            callers.requests_per_hour as "requests_per_hour?",
            coalesce(counted.admitted, 0) as "admitted!",
            counted.used as "used?",
            coalesce(counted.window_start, date_trunc('hour', now(), 'UTC')) as "window_start!",
            clock_timestamp() as "now!"
        from asked
        cross join unsynced
        left join callers on callers.number = asked.number
        left join counted on counted.account_id = asked.account_id
        "#,
        &column(|session| session.account.into()),
        &column(|session| session.session.into()),
        &column(|session| session.user.into()),
        per_hour,
        &sessions.iter().map(|session| session.requests).collect::<Vec<i64>>(),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}
