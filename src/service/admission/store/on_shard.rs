//! The SQL of admission where the database is distributed: everything is of one account, so the statement is one of its shard.

use chrono::DateTime;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Asked, Row, SALT, blinded, uncounted_roles};
use crate::domain::{id::AccountId, role::Role, word::Word};
use crate::service::error::Result;

/// As in every database. A shard does not insert in a part of a statement, so the row of the account's usage is made before it is
/// updated for the first time.
pub(super) async fn admit(connection: &mut PgConnection, asked: &Asked, per_hour: i32) -> Result<Vec<Row>> {
    let of_session = asked.sessions.first().map(|session| session.account);
    let Some(account) = of_session.or_else(|| asked.keys.first().map(|key| key.key.account)) else { return Ok(Vec::new()) };
    let (rows, is_there) = admit_of_account(connection, account, asked, per_hour).await?;
    if is_there || rows.iter().all(|row| row.role.is_none()) {
        return Ok(rows);
    }
    insert_usage(connection, account).await?;
    Ok(admit_of_account(connection, account, asked, per_hour).await?.0)
}

/// A row of an hour long ago, which the next statement overwrites.
async fn insert_usage(connection: &mut PgConnection, account: AccountId) -> Result<()> {
    sqlx::query!(
        "insert into quota_usage (account_id, window_start, used) values ($1, $2, 1) on conflict do nothing",
        account as AccountId,
        DateTime::UNIX_EPOCH,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows, and whether the account has one of its usage.
#[expect(clippy::too_many_lines, reason = "one statement and its parameters")]
async fn admit_of_account(
    connection: &mut PgConnection,
    account: AccountId,
    Asked { sessions, keys }: &Asked,
    per_hour: i32,
) -> Result<(Vec<Row>, bool)> {
    let salt: [u8; SALT] = rand::random();
    let rows = sqlx::query!(
        r#"
        with asked_sessions as materialized (
            select *
            from unnest($2::uuid[], $3::uuid[], $4::bigint[]) with ordinality as asked (session_id, user_id, requests, number)
        ), asked_keys as materialized (
            select key_id, blinded_hash, requests, cardinality($2::uuid[]) + number as number
            from unnest($6::uuid[], $7::bytea[], $8::bigint[]) with ordinality as asked (key_id, blinded_hash, requests, number)
        ), keys as materialized (
            select asked_keys.number, asked_keys.key_id, asked_keys.requests, api_keys.role, api_keys.last_used_at
            from asked_keys
            join api_keys on api_keys.account_id = $1 and api_keys.id = asked_keys.key_id
            where api_keys.revoked_at is null
                and (api_keys.expires_at is null or api_keys.expires_at > now())
                and (
                    sha256($9::bytea || api_keys.secret_hash) = asked_keys.blinded_hash
                    or (
                        api_keys.previous_expires_at > now()
                        and sha256($9::bytea || api_keys.previous_hash) = asked_keys.blinded_hash
                    )
                )
        ), callers as materialized (
            select asked_sessions.number, asked_sessions.requests, users.role
            from asked_sessions
            join sessions on sessions.account_id = $1 and sessions.id = asked_sessions.session_id
            join users on users.account_id = $1 and users.id = sessions.user_id
            where sessions.user_id = asked_sessions.user_id
                and sessions.ended_at is null
                and sessions.expires_at > now()
                and users.disabled_at is null
            union all
            select number, requests, role
            from keys
        ), quota as materialized (
            select
                accounts.requests_per_hour,
                coalesce(accounts.requests_per_hour, $5) as per_hour,
                (select sum(requests)::bigint from callers where role <> all($10::text[])) as requests,
                date_trunc('hour', now(), 'UTC') as hour
            from accounts
            where accounts.account_id = $1
        ), counted as (
            update quota_usage usage
            set
                window_start = case
                    when usage.window_start - quota.hour in (interval '0', interval '1 hour') then usage.window_start
                    else quota.hour
                end,
                used = case
                    when usage.window_start - quota.hour in (interval '0', interval '1 hour')
                        then usage.used + least(quota.requests, quota.per_hour - usage.used)
                    else least(quota.requests, quota.per_hour)
                end,
                admitted = case
                    when usage.window_start - quota.hour in (interval '0', interval '1 hour')
                        then least(quota.requests, quota.per_hour - usage.used)
                    else least(quota.requests, quota.per_hour)
                end,
                per_hour = quota.per_hour
            from quota
            where usage.account_id = $1
                and quota.requests > 0
                and (
                    usage.used < quota.per_hour
                    or usage.window_start - quota.hour not in (interval '0', interval '1 hour')
                )
            returning usage.used, usage.admitted, usage.window_start
        ), unused as (
            select id
            from api_keys
            where account_id = $1
                and id in (select key_id from keys where last_used_at is null or last_used_at < date_trunc('hour', now(), 'UTC'))
            for no key update skip locked
        ), used as (
            update api_keys
            set last_used_at = date_trunc('hour', now(), 'UTC')
            from unused
            where api_keys.account_id = $1 and api_keys.id = unused.id
        ), unsynced as (
            select set_config('synchronous_commit', 'off', true)
        )
        select
            asked.number as "number!",
            callers.role as "role?: Word<Role>",
            quota.requests_per_hour as "requests_per_hour?",
            coalesce(counted.admitted, 0) as "admitted!",
            counted.used as "used?",
            coalesce(counted.window_start, date_trunc('hour', now(), 'UTC')) as "window_start!",
            clock_timestamp() as "now!",
            exists (select from quota_usage where account_id = $1) as "is_there!"
        from (select number from asked_sessions union all select number from asked_keys) asked
        cross join unsynced
        left join quota on true
        left join callers on callers.number = asked.number
        left join counted on true
        "#,
        account as AccountId,
        &sessions.iter().map(|session| session.session.into()).collect::<Vec<Uuid>>(),
        &sessions.iter().map(|session| session.user.into()).collect::<Vec<Uuid>>(),
        &sessions.iter().map(|session| session.requests).collect::<Vec<i64>>(),
        per_hour,
        &keys.iter().map(|asked| asked.key.id.into()).collect::<Vec<Uuid>>(),
        &blinded(keys, salt),
        &keys.iter().map(|asked| asked.requests).collect::<Vec<i64>>(),
        salt.as_slice(),
        &uncounted_roles(),
    )
    .fetch_all(connection)
    .await?;
    let is_there = rows.iter().any(|row| row.is_there);
    let rows = rows.into_iter().map(|row| Row {
        number: row.number,
        role: row.role,
        requests_per_hour: row.requests_per_hour,
        admitted: row.admitted,
        used: row.used,
        window_start: row.window_start,
        now: row.now,
    });
    Ok((rows.collect(), is_there))
}
