//! The SQL of accounts.

use sqlx::PgConnection;

use crate::domain::{id::AccountId, text::Name};
use crate::service::{error::Result, unit::ReadConnection};

pub(super) async fn insert(connection: &mut PgConnection, account: AccountId, name: &Name, requests_per_hour: Option<u32>) -> Result<()> {
    // The column is a 32-bit signed integer. A limit beyond its range limits nothing.
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

pub(super) async fn exists(mut connection: ReadConnection<'_>, account: AccountId) -> Result<bool> {
    let found = sqlx::query!(
        "
        select
        from accounts
        where account_id = $1
        ",
        account as AccountId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(found.is_some())
}

/// Locks an account's row until the commit. False if the account does not exist.
pub(super) async fn lock(connection: &mut PgConnection, account: AccountId) -> Result<bool> {
    let locked = sqlx::query!(
        "
        select
        from accounts
        where account_id = $1
        for no key update
        ",
        account as AccountId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(locked.is_some())
}
