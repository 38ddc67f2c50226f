//! The SQL of emails, over all accounts.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::{AccountId, UserId};
use crate::service::{error::Result, unit::ReadConnection};

/// The most accounts in which users of one email can log in without naming their account.
const MAX_ACCOUNTS: i64 = 50;

/// The accounts that have a user with an email: `first`, and then those of the oldest users. If there is none, an account that
/// does not exist, so that the look-up of users that follows is the same.
pub(in crate::service) async fn accounts(
    mut connection: ReadConnection<'_>,
    email_key: &str,
    first: Option<AccountId>,
) -> Result<Vec<Uuid>> {
    let mut accounts = sqlx::query_scalar!(
        "
        select account_id
        from user_emails
        where email_key = $1
        order by account_id is distinct from $2, user_id
        limit $3
        ",
        email_key,
        first as Option<AccountId>,
        MAX_ACCOUNTS,
    )
    .fetch_all(connection.executor())
    .await?;
    if accounts.is_empty() {
        accounts.push(Uuid::nil());
    }
    Ok(accounts)
}

/// Notes the email of a new user, in the caller's transaction.
pub(in crate::service) async fn insert_in(connection: &mut PgConnection, account: AccountId, user: UserId, email_key: &str) -> Result<()> {
    sqlx::query!(
        "
        insert into user_emails (email_key, account_id, user_id)
        values ($1, $2, $3)
        on conflict do nothing
        ",
        email_key,
        account as AccountId,
        user as UserId,
    )
    .execute(connection)
    .await?;
    Ok(())
}
