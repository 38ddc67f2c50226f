//! The SQL of failed logins and trusted sources.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};

use super::{
    counter_key::{CounterKey, CounterKeys, Source},
    decision::Count,
};
use crate::domain::id::{AccountId, UserId};
use crate::service::{
    auth::store::StoredUser,
    error::{Error, Result},
    unit::ReadConnection,
};

/// What the database knows about an attempt, and the time by its clock.
pub(super) struct Found {
    pub(super) users: Vec<FoundUser>,
    pub(super) pair: Count,
    pub(super) untrusted: Count,
    pub(super) source: Count,
    pub(super) through: Count,
    pub(super) now: DateTime<Utc>,
}

/// A user of the email.
pub(super) struct FoundUser {
    pub(super) stored: StoredUser,
    /// Their last login from the source of the attempt.
    pub(super) last_login_at: Option<DateTime<Utc>>,
}

/// The most users of one email who can log in without naming their account.
const MAX_USERS: i64 = 50;

/// Finds the users of an email, in any account, that of `account` first, and the counters. The same statement runs whether
/// or not a user exists, so that the response takes the same time.
pub(super) async fn find(
    mut connection: ReadConnection<'_>,
    email_key: &str,
    account: Option<AccountId>,
    source: &Source,
    keys: &CounterKeys,
) -> Result<Found> {
    // Postgres text cannot contain a NUL, neither in a stored email nor in a parameter.
    let email_key = Some(email_key).filter(|key| !key.contains('\0'));
    let rows = sqlx::query!(
        r#"
        select
            users.account_id as "account_id?: AccountId",
            users.id as "id?: UserId",
            users.password_hash as "password_hash?",
            users.disabled_at is not null as "disabled!",
            login_sources.last_login_at as "last_login_at?",
            pair.failures as "pair_failures?",
            pair.ends_at as "pair_ends_at?",
            untrusted.failures as "untrusted_failures?",
            untrusted.ends_at as "untrusted_ends_at?",
            here.failures as "here_failures?",
            here.ends_at as "here_ends_at?",
            through.failures as "through_failures?",
            through.ends_at as "through_ends_at?",
            asked.now as "now!"
        from (select $1::text as email_key, now() as now) asked
        left join lateral (
            select account_id, id, password_hash, disabled_at, created_at
            from users
            where users.email_key = asked.email_key
            order by users.account_id is distinct from $6, created_at, account_id
            limit $7
        ) users on true
        left join login_sources
            on login_sources.account_id = users.account_id
            and login_sources.user_id = users.id
            and login_sources.source = $2
        left join failed_logins pair on pair.key = $3
        left join failed_logins untrusted on untrusted.key = $4
        left join failed_logins here on here.key = $5
        left join failed_logins through on through.key = $8
        order by users.account_id is distinct from $6, users.created_at, users.account_id
        "#,
        email_key,
        source.as_str(),
        keys.pair.as_bytes(),
        keys.untrusted.as_bytes(),
        keys.source.as_bytes(),
        account as Option<AccountId>,
        MAX_USERS,
        keys.through.as_bytes(),
    )
    .fetch_all(connection.executor())
    .await?;
    let Some(row) = rows.first() else { return Err(Error::internal("finding the users of an email", "no row")) };
    let count = |failures: Option<i32>, ends_at: Option<DateTime<Utc>>| {
        failures.zip(ends_at).map_or_else(Count::default, |(failures, ends_at)| Count::at(row.now, failures, ends_at))
    };
    let users = rows.iter().filter_map(|row| {
        let stored =
            StoredUser { account_id: row.account_id?, id: row.id?, password_hash: row.password_hash.clone()?, disabled: row.disabled };
        Some(FoundUser { stored, last_login_at: row.last_login_at })
    });
    Ok(Found {
        users: users.collect(),
        pair: count(row.pair_failures, row.pair_ends_at),
        untrusted: count(row.untrusted_failures, row.untrusted_ends_at),
        source: count(row.here_failures, row.here_ends_at),
        through: count(row.through_failures, row.through_ends_at),
        now: row.now,
    })
}

/// Increments each of these counters, and returns the new value of the first.
///
/// Locks the counters in the order of their keys, so that two replicas cannot deadlock. The commit does not wait for
/// the disk, because no money is written: a crash of the database loses less than a second of failures.
pub(super) async fn count(connection: &mut PgConnection, counters: &[(CounterKey, Duration)]) -> Result<Count> {
    let keys: Vec<Vec<u8>> = counters.iter().map(|(key, _)| key.as_bytes().to_vec()).collect();
    let windows: Result<Vec<PgInterval>> = counters.iter().map(|(_, window)| interval(*window)).collect();
    let first = keys.first().cloned();
    let row = sqlx::query!(
        r#"
        with counted as (
            insert into failed_logins (key, failures, ends_at)
            select failed.key, 1, now() + failed.lasts
            from unnest($1::bytea[], $2::interval[]) as failed (key, lasts)
            order by failed.key
            on conflict (key) do update
            set
                failures = case when failed_logins.ends_at > now() then failed_logins.failures + 1 else 1 end,
                ends_at = case when failed_logins.ends_at > now() then failed_logins.ends_at else excluded.ends_at end
            returning key, failures, ends_at
        ), unsynced as (
            select set_config('synchronous_commit', 'off', true)
        )
        select counted.failures, counted.ends_at, now() as "now!"
        from unsynced
        join counted on counted.key = $3
        "#,
        &keys,
        &windows?,
        first,
    )
    .fetch_one(connection)
    .await?;
    Ok(Count::at(row.now, row.failures, row.ends_at))
}

/// Deletes a counter, so that it restarts at zero.
pub(super) async fn reset(connection: &mut PgConnection, key: &CounterKey) -> Result<()> {
    sqlx::query!(
        "
        delete from failed_logins
        where key = $1
        ",
        key.as_bytes(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes a source trusted by a user.
pub(super) async fn trust_source(connection: &mut PgConnection, account: AccountId, user: UserId, source: &Source) -> Result<()> {
    sqlx::query!(
        "
        insert into login_sources (account_id, user_id, source)
        values ($1, $2, $3)
        on conflict (account_id, user_id, source) do update
        set last_login_at = excluded.last_login_at
        ",
        account as AccountId,
        user as UserId,
        source.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn delete_other_sources(connection: &mut PgConnection, account: AccountId, user: UserId, source: &Source) -> Result<()> {
    sqlx::query!(
        "
        delete from login_sources
        where account_id = $1 and user_id = $2 and source <> $3
        ",
        account as AccountId,
        user as UserId,
        source.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Skips rows that are locked: another replica is deleting them, or a failure is restarting them.
pub(super) async fn delete_ended_counters(connection: &mut PgConnection, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "
        with ended as (
            select key
            from failed_logins
            where ends_at < now()
            order by ends_at
            limit $1
            for update skip locked
        )
        delete from failed_logins
        using ended
        where failed_logins.key = ended.key
        ",
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes sources of all accounts, by age alone.
pub(super) async fn delete_sources_older_than(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "
        with old as (
            select account_id, user_id, source
            from login_sources
            where last_login_at < now() - $1::interval
            order by last_login_at
            limit $2
            for update skip locked
        )
        delete from login_sources
        using old
        where login_sources.account_id = old.account_id
            and login_sources.user_id = old.user_id
            and login_sources.source = old.source
        ",
        interval(age)?,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

fn interval(duration: Duration) -> Result<PgInterval> {
    PgInterval::try_from(duration).map_err(|error| Error::internal("converting a duration", error))
}
