//! The SQL of the deployment's single row, which belongs to no account.

use sqlx::PgConnection;

use super::Claimed;
use crate::service::{error::Result, unit::ReadConnection};

pub(super) async fn claim(connection: &mut PgConnection, environment: &str, sandbox_signing_key: Option<&[u8]>) -> Result<()> {
    sqlx::query!(
        "
        insert into deployment (environment, sandbox_signing_key)
        values ($1, $2)
        on conflict do nothing
        ",
        environment,
        sandbox_signing_key,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether the table exists. On an empty database, a query of it would fail.
pub(super) async fn exists(connection: &mut ReadConnection<'_>) -> Result<bool> {
    let exists =
        sqlx::query_scalar!(r#"select to_regclass('deployment') is not null as "exists!""#).fetch_one(connection.executor()).await?;
    Ok(exists)
}

pub(super) async fn environment(mut connection: ReadConnection<'_>) -> Result<Option<String>> {
    let environment = sqlx::query_scalar!("select environment from deployment").fetch_optional(connection.executor()).await?;
    Ok(environment)
}

pub(super) async fn read(mut connection: ReadConnection<'_>) -> Result<Claimed> {
    let row = sqlx::query!(
        "
        select environment, sandbox_signing_key
        from deployment
        ",
    )
    .fetch_one(connection.executor())
    .await?;
    Ok(Claimed { environment: row.environment, sandbox_signing_key: row.sandbox_signing_key.map(Into::into) })
}

pub(super) async fn may_change_the_ledger(mut connection: ReadConnection<'_>) -> Result<bool> {
    let may = sqlx::query_scalar!(
        r#"
        select (
            rolsuper
            or rolcreaterole
            or has_table_privilege('movements', 'UPDATE, DELETE, TRUNCATE, TRIGGER')
            or has_table_privilege('audit_events', 'UPDATE, DELETE, TRUNCATE, TRIGGER')
            or has_table_privilege('cards', 'DELETE, TRUNCATE, TRIGGER')
            or exists (
                select
                from pg_class
                where relname in ('movements', 'cards', 'audit_events')
                    and relnamespace = current_schema()::regnamespace
                    and pg_has_role(relowner, 'MEMBER')
            )
        ) as "may!"
        from pg_roles
        where rolname = current_user
        "#
    )
    .fetch_one(connection.executor())
    .await?;
    Ok(may)
}
