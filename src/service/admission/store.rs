//! The SQL of admission.

mod on_shard;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::{
    api_key::PresentedKey,
    id::{AccountId, SessionId, UserId},
    role::Role,
    word::Word,
};
use crate::service::error::Result;

/// What a statement looks up and counts.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) sessions: Vec<SessionRequests>,
    pub(super) keys: Vec<KeyRequests>,
}

/// The requests of one session.
pub(super) struct SessionRequests {
    pub(super) account: AccountId,
    pub(super) session: SessionId,
    pub(super) user: UserId,
    pub(super) requests: i64,
}

/// The requests with one text of an API key.
pub(super) struct KeyRequests {
    pub(super) key: PresentedKey,
    pub(super) requests: i64,
}

/// The result for the requests of one session or key.
pub(super) struct Row {
    /// The number of the session or the key in the statement, from 1: first the sessions, then the keys.
    pub(super) number: i64,
    /// None if the session is over, the user is disabled, or the key is not valid.
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

/// How many random bytes blind the comparison of keys.
const SALT: usize = 16;

/// The statement. The literals are its parts about keys: those that are asked for and those that are live, and how they are counted
/// and marked. A batch without keys names no table of them, and pays nothing for them.
macro_rules! admit_statement {
    ($keys:literal, $asked:literal, $callers:literal, $counted:literal, $used:literal, $sessions:expr, $per_hour:expr, $($more:expr),*) => {{
        let column = |of: fn(&SessionRequests) -> Uuid| $sessions.iter().map(of).collect::<Vec<Uuid>>();
        sqlx::query_as!(
            Row,
            r#"
        with asked_sessions as materialized (
            select *
            from unnest($1::uuid[], $2::uuid[], $3::uuid[], $5::bigint[]) with ordinality
                as asked (account_id, session_id, user_id, requests, number)
"#
                + $keys + r#"        ), asked as (
            select number, account_id from asked_sessions
"#
                + $asked + r#"        ), callers as materialized (
            select
                asked_sessions.number,
                asked_sessions.account_id,
                asked_sessions.requests,
                users.role,
                accounts.requests_per_hour
            from asked_sessions
            join sessions on sessions.account_id = asked_sessions.account_id and sessions.id = asked_sessions.session_id
            join users on users.account_id = sessions.account_id and users.id = sessions.user_id
            join accounts on accounts.account_id = asked_sessions.account_id
            where sessions.user_id = asked_sessions.user_id
                and sessions.ended_at is null
                and sessions.expires_at > now()
                and users.disabled_at is null
"#
                + $callers + r#"        ), counted as (
            insert into quota_usage as usage (account_id, window_start, used, admitted, per_hour)
            select
                account_id,
                date_trunc('hour', now(), 'UTC'),
                least(sum(requests), coalesce(min(requests_per_hour), $4))::integer,
                least(sum(requests), coalesce(min(requests_per_hour), $4))::integer,
                coalesce(min(requests_per_hour), $4)
            from callers
"#
                + $counted + r#"            group by account_id
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
"#
                + $used + r#"        ), unsynced as (
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
            $per_hour,
            &$sessions.iter().map(|session| session.requests).collect::<Vec<i64>>(),
            $($more),*
        )
    }};
}

/// Finds the user of each session and the role of each key, and counts the requests of those that are live, up to the quota of
/// each account. One statement: the lock of the account's usage row makes the count exact over all replicas. Accounts are locked
/// in the order of their ids, so that two statements cannot deadlock.
///
/// Hashes of keys are compared after both are hashed once more with a salt that is new for each statement. How long Postgres
/// takes to compare the results depends on the salt, and tells nothing about the stored hash.
///
/// The first request of a key in an hour marks the key as used. A key whose row is locked is left for a later request, so
/// that nothing waits and nothing deadlocks for it.
///
/// A statement that waits for the lock past the end of the hour may find a window of the next hour and counts in it. (A
/// window further ahead was written by a wrong clock, and restarts.) The commit does not wait for the disk, because no
/// money is written.
///
/// Where the database is distributed, everything that is asked is of one account, and its statement another.
pub(super) async fn admit(connection: &mut PgConnection, asked: &Asked, per_hour: i32, sharded: bool) -> Result<Vec<Row>> {
    let Asked { sessions, keys } = asked;
    if sharded {
        on_shard::admit(connection, asked, per_hour).await
    } else if keys.is_empty() {
        admit_sessions(connection, sessions, per_hour).await
    } else {
        admit_all(connection, sessions, keys, per_hour).await
    }
}

/// Hashes of keys, hashed once more with a salt.
fn blinded(keys: &[KeyRequests], salt: [u8; SALT]) -> Vec<Vec<u8>> {
    keys.iter().map(|asked| Sha256::new().chain_update(salt).chain_update(asked.key.hash).finalize().to_vec()).collect()
}

/// The roles whose requests are not counted.
fn uncounted_roles() -> Vec<String> {
    Role::ALL.into_iter().filter(|role| !role.counts_towards_quota()).map(|role| role.name().to_owned()).collect()
}

async fn admit_sessions(connection: &mut PgConnection, sessions: &[SessionRequests], per_hour: i32) -> Result<Vec<Row>> {
    Ok(admit_statement!("", "", "", "", "", sessions, per_hour,).fetch_all(connection).await?)
}

async fn admit_all(connection: &mut PgConnection, sessions: &[SessionRequests], keys: &[KeyRequests], per_hour: i32) -> Result<Vec<Row>> {
    let key_column = |of: fn(&KeyRequests) -> Uuid| keys.iter().map(of).collect::<Vec<Uuid>>();
    let salt: [u8; SALT] = rand::random();
    let statement = admit_statement!(
        "), asked_keys as materialized (
            select account_id, key_id, blinded_hash, requests, cardinality($1::uuid[]) + number as number
            from unnest($6::uuid[], $7::uuid[], $8::bytea[], $9::bigint[]) with ordinality
                as asked (account_id, key_id, blinded_hash, requests, number)
        ), keys as materialized (
            select
                asked_keys.number,
                asked_keys.account_id,
                asked_keys.key_id,
                asked_keys.requests,
                api_keys.role,
                accounts.requests_per_hour,
                api_keys.last_used_at
            from asked_keys
            join api_keys on api_keys.account_id = asked_keys.account_id and api_keys.id = asked_keys.key_id
            join accounts on accounts.account_id = asked_keys.account_id
            where api_keys.revoked_at is null
                and (api_keys.expires_at is null or api_keys.expires_at > now())
                and (
                    sha256($10::bytea || api_keys.secret_hash) = asked_keys.blinded_hash
                    or (
                        api_keys.previous_expires_at > now()
                        and sha256($10::bytea || api_keys.previous_hash) = asked_keys.blinded_hash
                    )
                )
        ",
        "
            union all
            select number, account_id from asked_keys
        ",
        "
            union all
            select number, account_id, requests, role, requests_per_hour
            from keys
        ",
        "
            where role <> all($11::text[])
        ",
        "), unused as (
            select account_id, id
            from api_keys
            where (account_id, id) in (
                select account_id, key_id
                from keys
                where last_used_at is null or last_used_at < date_trunc('hour', now(), 'UTC')
            )
            for no key update skip locked
        ), used as (
            update api_keys
            set last_used_at = date_trunc('hour', now(), 'UTC')
            from unused
            where api_keys.account_id = unused.account_id and api_keys.id = unused.id
        ",
        sessions,
        per_hour,
        &key_column(|asked| asked.key.account.into()),
        &key_column(|asked| asked.key.id.into()),
        &blinded(keys, salt),
        &keys.iter().map(|key| key.requests).collect::<Vec<i64>>(),
        salt.as_slice(),
        &uncounted_roles()
    );
    Ok(statement.fetch_all(connection).await?)
}
