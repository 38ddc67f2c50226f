//! The SQL of accounts. Decides nothing, begins and commits nothing.

use sqlx::PgConnection;

use crate::domain::{id::AccountId, text::Name};
use crate::service::error::Result;

pub(super) async fn insert(connection: &mut PgConnection, account: AccountId, name: &Name, requests_per_hour: Option<u32>) -> Result<()> {
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

/// False: there is no such account.
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
