//! The SQL of users.

use sqlx::PgConnection;
use uuid::Uuid;

use super::User;
use crate::domain::{
    id::{AccountId, UserId},
    role::Role,
    text::Email,
    user::UserState,
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// Inserts a user. None if the account already has a user with this email.
pub(super) async fn insert(
    connection: &mut PgConnection,
    account: AccountId,
    id: UserId,
    email: &Email,
    password_hash: &str,
    role: Role,
) -> Result<Option<User>> {
    let user = sqlx::query_as!(
        User,
        r#"
        insert into users (account_id, id, email, email_key, password_hash, role)
        values ($1, $2, $3, $4, $5, $6)
        on conflict on constraint users_email_unique do nothing
        returning
            id as "id: UserId",
            number,
            email,
            role as "role: Word<Role>",
            disabled_at is not null as "disabled!",
            created_at
        "#,
        account as AccountId,
        id as UserId,
        email.as_str(),
        email.key(),
        password_hash,
        role as Role,
    )
    .fetch_optional(connection)
    .await?;
    Ok(user)
}

pub(super) async fn find(mut connection: ReadConnection<'_>, account: AccountId, id: UserId) -> Result<Option<User>> {
    let user = sqlx::query_as!(
        User,
        r#"
        select
            id as "id: UserId",
            number,
            email,
            role as "role: Word<Role>",
            disabled_at is not null as "disabled!",
            created_at
        from users
        where account_id = $1 and id = $2
        "#,
        account as AccountId,
        id as UserId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(user)
}

pub(super) async fn page(mut connection: ReadConnection<'_>, account: AccountId, after: i64, limit: i64) -> Result<Vec<User>> {
    let users = sqlx::query_as!(
        User,
        r#"
        select
            id as "id: UserId",
            number,
            email,
            role as "role: Word<Role>",
            disabled_at is not null as "disabled!",
            created_at
        from users
        where account_id = $1 and number > $2
        order by number
        limit $3
        "#,
        account as AccountId,
        after,
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(users)
}

pub(super) async fn has_another_admin(connection: &mut PgConnection, account: AccountId, id: UserId) -> Result<bool> {
    let another = sqlx::query_scalar!(
        r#"
        select exists (
            select from users
            where account_id = $1 and id <> $2 and role = 'admin' and disabled_at is null
        ) as "exists!"
        "#,
        account as AccountId,
        id as UserId,
    )
    .fetch_one(connection)
    .await?;
    Ok(another)
}

pub(super) async fn set(connection: &mut PgConnection, account: AccountId, id: UserId, state: UserState) -> Result<()> {
    sqlx::query!(
        "
        with changed as (
            update users
            set role = $3, disabled_at = case when $4 then coalesce(disabled_at, moment.now) end
            from (select now() as now) moment
            where account_id = $1 and id = $2
            returning id
        )
        select from changed
        ",
        account as AccountId,
        id as UserId,
        state.role as Role,
        state.disabled,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The account and the password hash of a user.
pub(super) struct AccountAndHash {
    pub(super) account_id: AccountId,
    pub(super) password_hash: String,
}

/// The first user with this email, in these accounts.
pub(super) async fn find_hash(mut connection: ReadConnection<'_>, accounts: &[Uuid], email_key: &str) -> Result<Option<AccountAndHash>> {
    let first = sqlx::query_as!(
        AccountAndHash,
        r#"
        select account_id as "account_id: AccountId", password_hash
        from users
        where account_id = any($1) and email_key = $2
        order by created_at, account_id
        limit 1
        "#,
        accounts,
        email_key,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(first)
}

/// Lets one transaction at a time seed the database.
pub(super) async fn lock_seeding(connection: &mut PgConnection) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('seed the sandbox', 2))").execute(connection).await?;
    Ok(())
}
