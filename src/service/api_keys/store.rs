//! The SQL of API keys.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};

use super::{ApiKey, NewApiKey};
use crate::domain::{
    api_key::KeyHash,
    id::{AccountId, ApiKeyId},
    role::Role,
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

pub(super) async fn insert(
    connection: &mut PgConnection,
    account: AccountId,
    id: ApiKeyId,
    new: &NewApiKey,
    hash: &KeyHash,
) -> Result<ApiKey> {
    let key = sqlx::query_as!(
        ApiKey,
        r#"
        insert into api_keys (account_id, id, name, role, secret_hash, expires_at)
        values ($1, $2, $3, $4, $5, $6)
        returning
            id as "id: ApiKeyId",
            number,
            name,
            role as "role: Word<Role>",
            created_at,
            expires_at,
            revoked_at,
            last_used_at,
            null::timestamptz as overlap_ends_at,
            true as "is_live!"
        "#,
        account as AccountId,
        id as ApiKeyId,
        new.name.as_str(),
        new.role as Role,
        hash.as_slice(),
        new.expires_at as Option<DateTime<Utc>>,
    )
    .fetch_one(connection)
    .await?;
    Ok(key)
}

pub(super) async fn find(mut connection: ReadConnection<'_>, account: AccountId, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let key = sqlx::query_as!(
        ApiKey,
        r#"
        select
            id as "id: ApiKeyId",
            number,
            name,
            role as "role: Word<Role>",
            created_at,
            expires_at,
            revoked_at,
            last_used_at,
            case when previous_expires_at > now() then previous_expires_at end as overlap_ends_at,
            revoked_at is null and (expires_at is null or expires_at > now()) as "is_live!"
        from api_keys
        where account_id = $1 and id = $2
        "#,
        account as AccountId,
        id as ApiKeyId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(key)
}

pub(super) async fn page(mut connection: ReadConnection<'_>, account: AccountId, after: i64, limit: i64) -> Result<Vec<ApiKey>> {
    let keys = sqlx::query_as!(
        ApiKey,
        r#"
        select
            id as "id: ApiKeyId",
            number,
            name,
            role as "role: Word<Role>",
            created_at,
            expires_at,
            revoked_at,
            last_used_at,
            case when previous_expires_at > now() then previous_expires_at end as overlap_ends_at,
            revoked_at is null and (expires_at is null or expires_at > now()) as "is_live!"
        from api_keys
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
    Ok(keys)
}

/// The hash of a key, and whether the key is revoked.
pub(super) struct StoredHash {
    pub(super) hash: Vec<u8>,
    pub(super) is_revoked: bool,
}

pub(super) async fn find_hash(mut connection: ReadConnection<'_>, account: AccountId, id: ApiKeyId) -> Result<Option<StoredHash>> {
    let hash = sqlx::query_as!(
        StoredHash,
        r#"
        select secret_hash as hash, revoked_at is not null as "is_revoked!"
        from api_keys
        where account_id = $1 and id = $2
        "#,
        account as AccountId,
        id as ApiKeyId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(hash)
}

pub(super) async fn revoke(connection: &mut PgConnection, account: AccountId, id: ApiKeyId) -> Result<()> {
    sqlx::query!(
        "
        update api_keys
        set revoked_at = now()
        where account_id = $1 and id = $2 and revoked_at is null
        ",
        account as AccountId,
        id as ApiKeyId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Replaces the hash. The present one stays for `overlap`. Without an overlap none stays.
pub(super) async fn roll(
    connection: &mut PgConnection,
    account: AccountId,
    id: ApiKeyId,
    hash: &KeyHash,
    overlap: Duration,
) -> Result<ApiKey> {
    let overlap = (!overlap.is_zero()).then(|| PgInterval::try_from(overlap)).transpose();
    let overlap = overlap.map_err(|error| Error::internal("converting an overlap", error))?;
    let key = sqlx::query_as!(
        ApiKey,
        r#"
        update api_keys
        set
            secret_hash = $3,
            previous_hash = case when $4::interval is not null then secret_hash end,
            previous_expires_at = now() + $4::interval
        where account_id = $1 and id = $2
        returning
            id as "id: ApiKeyId",
            number,
            name,
            role as "role: Word<Role>",
            created_at,
            expires_at,
            revoked_at,
            last_used_at,
            previous_expires_at as overlap_ends_at,
            true as "is_live!"
        "#,
        account as AccountId,
        id as ApiKeyId,
        hash.as_slice(),
        overlap as Option<PgInterval>,
    )
    .fetch_one(connection)
    .await?;
    Ok(key)
}
