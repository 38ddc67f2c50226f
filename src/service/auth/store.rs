//! The SQL of logins and sessions.

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};

use super::{Session, SessionTimes};
use crate::domain::{
    id::{AccountId, ApiKeyId, SessionId, UserId},
    role::Role,
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

/// The columns of a user that a login needs.
#[derive(Clone)]
pub(super) struct StoredUser {
    pub(super) account_id: AccountId,
    pub(super) id: UserId,
    pub(super) password_hash: String,
    pub(super) disabled: bool,
}

/// A live session of an enabled user.
pub(super) struct LiveSession {
    pub(super) user_id: UserId,
    pub(super) times: SessionTimes,
}

/// Locks a user for a new session. False if the user has been disabled or has changed the password. Locks the user's row for
/// share: a transaction that changes the row and ends the user's sessions commits first, or waits and ends the new one, too.
pub(super) async fn lock_user(connection: &mut PgConnection, user: &StoredUser) -> Result<bool> {
    let locked = sqlx::query!(
        "
        select
        from users
        where account_id = $1 and id = $2 and password_hash = $3 and disabled_at is null
        for share
        ",
        user.account_id as AccountId,
        user.id as UserId,
        user.password_hash,
    )
    .fetch_optional(connection)
    .await?;
    Ok(locked.is_some())
}

/// Inserts a session of a locked user.
pub(super) async fn insert_session(
    connection: &mut PgConnection,
    user: &StoredUser,
    session: SessionId,
    lifetime: Duration,
    address: Option<&str>,
) -> Result<SessionTimes> {
    let lifetime = PgInterval::try_from(lifetime).map_err(|error| Error::internal("converting the lifetime of a session", error))?;
    let times = sqlx::query_as!(
        SessionTimes,
        r#"
        insert into sessions (account_id, id, user_id, expires_at, address)
        values ($1, $3, $2, now() + $4, $5)
        returning created_at as now, expires_at as ends_at
        "#,
        user.account_id as AccountId,
        user.id as UserId,
        session as SessionId,
        lifetime,
        address,
    )
    .fetch_one(connection)
    .await?;
    Ok(times)
}

pub(super) async fn lock_session(connection: &mut PgConnection, account: AccountId, session: SessionId) -> Result<Option<LiveSession>> {
    let row = sqlx::query!(
        r#"
        select
            sessions.user_id as "user_id: UserId",
            sessions.expires_at,
            now() as "now!"
        from sessions
        join users on users.account_id = sessions.account_id and users.id = sessions.user_id
        where sessions.account_id = $1
            and sessions.id = $2
            and sessions.ended_at is null
            and sessions.expires_at > now()
            and users.disabled_at is null
        for no key update of sessions
        "#,
        account as AccountId,
        session as SessionId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| LiveSession { user_id: row.user_id, times: SessionTimes { now: row.now, ends_at: row.expires_at } }))
}

/// Deletes refresh tokens of sessions of all accounts that have been over for `age`. One replica at a time does.
pub(super) async fn delete_tokens_of_ended_sessions(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<u64> {
    let age = PgInterval::try_from(age).map_err(|error| Error::internal("converting an age", error))?;
    let done = sqlx::query!(
        "
        with turn as materialized (
            select pg_try_advisory_xact_lock(hashtextextended('delete refresh tokens', 2)) as is_mine
        ), ended as (
            select account_id, id
            from sessions
            where least(ended_at, expires_at) < now() - $1::interval
            order by least(ended_at, expires_at)
            limit $2
        ), old as (
            select refresh_tokens.account_id, refresh_tokens.session_id, refresh_tokens.token_hash
            from ended
            join refresh_tokens on refresh_tokens.account_id = ended.account_id and refresh_tokens.session_id = ended.id
            limit $2
        )
        delete from refresh_tokens
        using old
        where refresh_tokens.account_id = old.account_id
            and refresh_tokens.session_id = old.session_id
            and refresh_tokens.token_hash = old.token_hash
            and (select is_mine from turn)
        ",
        age,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes sessions of all accounts that have been over for `age` and have no refresh token left. One replica at a time does.
pub(super) async fn delete_ended_sessions(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<u64> {
    let age = PgInterval::try_from(age).map_err(|error| Error::internal("converting an age", error))?;
    let done = sqlx::query!(
        "
        with turn as materialized (
            select pg_try_advisory_xact_lock(hashtextextended('delete sessions', 2)) as is_mine
        ), ended as (
            select account_id, id
            from sessions
            where least(ended_at, expires_at) < now() - $1::interval
                and not exists (
                    select
                    from refresh_tokens
                    where refresh_tokens.account_id = sessions.account_id and refresh_tokens.session_id = sessions.id
                )
            order by least(ended_at, expires_at)
            limit $2
        )
        delete from sessions
        using ended
        where sessions.account_id = ended.account_id and sessions.id = ended.id and (select is_mine from turn)
        ",
        age,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Ends a session. False if the user has no such live session.
pub(super) async fn end_session(connection: &mut PgConnection, account: AccountId, user: UserId, session: SessionId) -> Result<bool> {
    let done = sqlx::query!(
        "
        update sessions
        set ended_at = now()
        where account_id = $1 and user_id = $2 and id = $3 and ended_at is null and expires_at > now()
        ",
        account as AccountId,
        user as UserId,
        session as SessionId,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn end_sessions(connection: &mut PgConnection, account: AccountId, user: UserId, except: Option<SessionId>) -> Result<()> {
    sqlx::query!(
        "
        update sessions
        set ended_at = now()
        where account_id = $1
            and user_id = $2
            and id is distinct from $3
            and ended_at is null
            and expires_at > now()
        ",
        account as AccountId,
        user as UserId,
        except as Option<SessionId>,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends all live sessions of a user but the newest `limit`.
pub(super) async fn end_sessions_beyond(connection: &mut PgConnection, account: AccountId, user: UserId, limit: i64) -> Result<()> {
    sqlx::query!(
        "
        update sessions
        set ended_at = now()
        where account_id = $1
            and user_id = $2
            and ended_at is null
            and expires_at > now()
            and number <= (
                select number
                from sessions
                where account_id = $1 and user_id = $2 and ended_at is null and expires_at > now()
                order by number desc
                offset $3
                limit 1
            )
        ",
        account as AccountId,
        user as UserId,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The role of a session's user, locked until the commit. None if the session is over or the user is disabled.
pub(super) async fn lock_role(connection: &mut PgConnection, account: AccountId, user: UserId, session: SessionId) -> Result<Option<Role>> {
    let role = sqlx::query_scalar!(
        r#"
        select users.role as "role: Word<Role>"
        from sessions
        join users on users.account_id = sessions.account_id and users.id = sessions.user_id
        where sessions.account_id = $1
            and sessions.user_id = $2
            and sessions.id = $3
            and sessions.ended_at is null
            and sessions.expires_at > now()
            and users.disabled_at is null
        for share
        "#,
        account as AccountId,
        user as UserId,
        session as SessionId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(role.as_ref().map(Word::known).transpose()?)
}

/// The role of an API key, locked until the commit. None if the key has expired or is revoked.
pub(super) async fn lock_role_of_key(connection: &mut PgConnection, account: AccountId, key: ApiKeyId) -> Result<Option<Role>> {
    let role = sqlx::query_scalar!(
        r#"
        select role as "role: Word<Role>"
        from api_keys
        where account_id = $1
            and id = $2
            and revoked_at is null
            and (expires_at is null or expires_at > now())
        for share
        "#,
        account as AccountId,
        key as ApiKeyId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(role.as_ref().map(Word::known).transpose()?)
}

pub(super) async fn sessions(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    user: UserId,
    after: i64,
    limit: i64,
) -> Result<Vec<Session>> {
    let sessions = sqlx::query_as!(
        Session,
        r#"
        select id as "id: SessionId", number, address, created_at, expires_at
        from sessions
        where account_id = $1
            and user_id = $2
            and number > $3
            and ended_at is null
            and expires_at > now()
        order by number
        limit $4
        "#,
        account as AccountId,
        user as UserId,
        after,
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(sessions)
}

pub(super) async fn find_email(mut connection: ReadConnection<'_>, account: AccountId, user: UserId) -> Result<Option<String>> {
    let email = sqlx::query_scalar!(
        "
        select email
        from users
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        user as UserId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(email)
}

/// Replaces a password hash. False if the stored hash is no longer `old`, or the user is disabled.
pub(super) async fn replace_password_hash(
    connection: &mut PgConnection,
    account: AccountId,
    user: UserId,
    old: &str,
    new: &str,
) -> Result<bool> {
    let done = sqlx::query!(
        "
        update users
        set password_hash = $4
        where account_id = $1 and id = $2 and password_hash = $3 and disabled_at is null
        ",
        account as AccountId,
        user as UserId,
        old,
        new,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
