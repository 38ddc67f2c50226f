//! The SQL of accounts and users. Decides nothing, begins and commits nothing.

use sqlx::PgConnection;

use crate::service::{
    auth::Role,
    error::{Error, Result},
    id::{AccountId, UserId},
    text::{Email, Name},
};

pub(super) async fn insert_account(
    connection: &mut PgConnection,
    account: AccountId,
    name: &Name,
    requests_per_hour: Option<u32>,
) -> Result<()> {
    // The column is the database's 31-bit integer; a limit beyond it limits nothing.
    let requests_per_hour = requests_per_hour.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX));
    sqlx::query!(
        "
        insert into accounts (account_id, name, requests_per_hour)
        values ($1, $2, $3)
        ",
        account as AccountId,
        name.as_str(),
        requests_per_hour,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn insert_user(
    connection: &mut PgConnection,
    account: AccountId,
    user: UserId,
    email: &Email,
    password_hash: &str,
    role: Role,
) -> Result<()> {
    let inserted = sqlx::query!(
        "
        insert into users (account_id, id, email, email_key, password_hash, role)
        values ($1, $2, $3, $4, $5, $6)
        ",
        account as AccountId,
        user as UserId,
        email.as_str(),
        email.key(),
        password_hash,
        role as Role,
    )
    .execute(connection)
    .await;
    match inserted {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.as_database_error().and_then(|answer| answer.constraint()) {
            Some("users_email_unique") => Error::DuplicateUser,
            Some("users_account_fkey") => Error::AccountNotFound,
            _ => error.into(),
        }),
    }
}

/// False: there is no such user.
pub(super) async fn disable_user(connection: &mut PgConnection, account: AccountId, user: UserId) -> Result<bool> {
    let done = sqlx::query!(
        "
        update users
        set disabled_at = coalesce(disabled_at, now())
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        user as UserId,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn end_sessions(connection: &mut PgConnection, account: AccountId, user: UserId) -> Result<()> {
    sqlx::query!(
        "
        update sessions
        set ended_at = now()
        where account_id = $1 and user_id = $2 and ended_at is null
        ",
        account as AccountId,
        user as UserId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The one question that an account_id cannot narrow: emails of users are unique in the deployment.
pub(super) async fn email_is_taken(connection: &mut PgConnection, email: &Email) -> Result<bool> {
    let user = sqlx::query!(
        r#"
        select account_id as "account_id: AccountId"
        from users
        where email_key = $1
        "#,
        email.key(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(user.is_some())
}
