//! The SQL of the deployment's one row, which is no account's.

use sqlx::PgPool;

use super::Claimed;
use crate::service::error::Result;

pub(super) async fn claim(pool: &PgPool, environment: &str, sandbox_signing_key: Option<&[u8]>) -> Result<()> {
    sqlx::query!(
        "
        insert into deployment (environment, sandbox_signing_key)
        values ($1, $2)
        on conflict do nothing
        ",
        environment,
        sandbox_signing_key,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether the schema has been there before: on an empty database even the question would fail.
pub(super) async fn exists(pool: &PgPool) -> Result<bool> {
    let exists = sqlx::query_scalar!(r#"select to_regclass('deployment') is not null as "exists!""#).fetch_one(pool).await?;
    Ok(exists)
}

pub(super) async fn environment(pool: &PgPool) -> Result<Option<String>> {
    let environment = sqlx::query_scalar!("select environment from deployment").fetch_optional(pool).await?;
    Ok(environment)
}

pub(super) async fn read(pool: &PgPool) -> Result<Claimed> {
    let claimed = sqlx::query_as!(
        Claimed,
        "
        select environment, sandbox_signing_key
        from deployment
        ",
    )
    .fetch_one(pool)
    .await?;
    Ok(claimed)
}

pub(super) async fn synchronous_commit(pool: &PgPool) -> Result<String> {
    let setting = sqlx::query_scalar!("select current_setting('synchronous_commit') as \"setting!\"").fetch_one(pool).await?;
    Ok(setting)
}
