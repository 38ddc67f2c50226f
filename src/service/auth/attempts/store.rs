//! The SQL of failed logins and trusted sources.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::{
    counter_key::{CounterKey, CounterKeys, Source},
    decision::Count,
};
use crate::domain::id::{AccountId, UserId};
use crate::service::{
    auth::{emails, store::StoredUser},
    batch::only_account,
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

/// Finds the users of an email, in any account, that of `account` first, and the counters. The same statements run whether
/// or not a user exists, so that the response takes the same time.
pub(super) async fn find(
    mut connection: ReadConnection<'_>,
    email_key: &str,
    account: Option<AccountId>,
    source: &Source,
    keys: &CounterKeys,
) -> Result<Found> {
    let connection = connection.executor();
    // Postgres text cannot contain a NUL, neither in a stored email nor in a parameter. No email is empty.
    let email_key = if email_key.contains('\0') { "" } else { email_key };
    let accounts = emails::accounts(ReadConnection::within(connection), email_key, account).await?;
    let users = find_users(connection, &accounts, email_key, account, source).await?;
    let counters = [&keys.pair, &keys.untrusted, &keys.source, &keys.through];
    let (mut counts, now) = find_counts(connection, &counters).await?;
    let mut count = |key: &CounterKey| counts.remove(key.as_bytes().as_slice()).unwrap_or_default();
    Ok(Found {
        users,
        pair: count(&keys.pair),
        untrusted: count(&keys.untrusted),
        source: count(&keys.source),
        through: count(&keys.through),
        now,
    })
}

async fn find_users(
    connection: &mut PgConnection,
    accounts: &[Uuid],
    email_key: &str,
    account: Option<AccountId>,
    source: &Source,
) -> Result<Vec<FoundUser>> {
    let rows = sqlx::query!(
        r#"
        select
            users.account_id as "account_id: AccountId",
            users.id as "id: UserId",
            users.password_hash,
            users.disabled_at is not null as "disabled!",
            login_sources.last_login_at as "last_login_at?"
        from users
        left join login_sources
            on login_sources.account_id = users.account_id
            and ($5::uuid is null or login_sources.account_id = $5)
            and login_sources.user_id = users.id
            and login_sources.source = $3
        where users.account_id = any($1) and users.email_key = $2
        order by users.account_id is distinct from $4, users.created_at, users.account_id
        "#,
        accounts,
        email_key,
        source.as_str(),
        account as Option<AccountId>,
        only_account(accounts),
    )
    .fetch_all(connection)
    .await?;
    let users = rows.into_iter().map(|row| FoundUser {
        stored: StoredUser { account_id: row.account_id, id: row.id, password_hash: row.password_hash, disabled: row.disabled },
        last_login_at: row.last_login_at,
    });
    Ok(users.collect())
}

/// The counters that are there, by their keys, and the database's clock.
async fn find_counts(connection: &mut PgConnection, keys: &[&CounterKey]) -> Result<(HashMap<Vec<u8>, Count>, DateTime<Utc>)> {
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        r#"
        select asked.key as "key!", counters.failures as "failures?", counters.ends_at as "ends_at?", now() as "now!"
        from unnest($1::bytea[]) as asked (key)
        left join failed_logins counters on counters.key = asked.key
        "#,
        &keys,
    )
    .fetch_all(connection)
    .await?;
    let Some(now) = rows.first().map(|row| row.now) else { return Err(Error::internal("reading the counters of logins", "no row")) };
    let counts = rows.into_iter().filter_map(|row| Some((row.key, Count::at(now, row.failures?, row.ends_at?))));
    Ok((counts.collect(), now))
}

/// Increments each of these counters, and returns the new value of the first.
///
/// Locks the counters in the order of their keys, so that two replicas cannot deadlock. The commit does not wait for
/// the disk, because no money is written: a crash of the database loses less than a second of failures.
pub(super) async fn count(connection: &mut PgConnection, counters: &[(CounterKey, Duration)]) -> Result<Count> {
    let keys: Vec<Vec<u8>> = counters.iter().map(|(key, _)| key.as_bytes().to_vec()).collect();
    let windows: Result<Vec<PgInterval>> = counters.iter().map(|(_, window)| interval(*window)).collect();
    let first = keys.first().cloned();
    // Not in the statement: a distributed Postgres has no clock where a row is updated that an insert finds.
    let now = now(connection).await?;
    let row = sqlx::query!(
        r#"
        with counted as (
            insert into failed_logins (key, failures, ends_at)
            select failed.key, 1, $4::timestamptz + failed.lasts
            from unnest($1::bytea[], $2::interval[]) as failed (key, lasts)
            order by failed.key
            on conflict (key) do update
            set
                failures = case when failed_logins.ends_at > $4 then failed_logins.failures + 1 else 1 end,
                ends_at = case when failed_logins.ends_at > $4 then failed_logins.ends_at else excluded.ends_at end
            returning key, failures, ends_at
        ), unsynced as (
            select set_config('synchronous_commit', 'off', true)
        )
        select counted.failures, counted.ends_at
        from unsynced
        join counted on counted.key = $3
        "#,
        &keys,
        &windows?,
        first,
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(Count::at(now, row.failures, row.ends_at))
}

/// The database's clock.
async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select transaction_timestamp() as "now!""#).fetch_one(connection).await?)
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

/// Deletes sources of all accounts, by age alone. One replica at a time does.
pub(super) async fn delete_sources_older_than(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "
        with turn as materialized (
            select pg_try_advisory_xact_lock(hashtextextended('delete login sources', 2)) as is_mine
        ), old as (
            select account_id, user_id, source
            from login_sources
            where last_login_at < now() - $1::interval
            order by last_login_at
            limit $2
        )
        delete from login_sources
        using old
        where login_sources.account_id = old.account_id
            and login_sources.user_id = old.user_id
            and login_sources.source = old.source
            and (select is_mine from turn)
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
