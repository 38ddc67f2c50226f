//! The SQL of kept answers. Decides nothing, begins and commits nothing.

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};

use super::{Receipt, Remembered};
use crate::domain::id::AccountId;
use crate::service::error::{Error, Result};

/// What was found under a key, and whether it was free to be taken.
pub(super) struct Found {
    pub(super) taken: bool,
    pub(super) remembered: Option<Remembered>,
}

/// The lock is one that is given or refused at once: a twin does not wait, it is told. It is the
/// transaction's, so it goes with it, however that ends.
pub(super) async fn take(connection: &mut PgConnection, account: AccountId, key: &str) -> Result<Found> {
    let row = sqlx::query!(
        r#"
        select
            pg_try_advisory_xact_lock(hashtextextended($1::uuid::text || ' ' || $2, 0)) as "taken!",
            kept.fingerprint as "fingerprint?",
            kept.status as "status?",
            kept.body as "body?"
        from (select $1::uuid as account_id, $2::text as key) asked
        left join idempotency_keys kept on kept.account_id = asked.account_id and kept.key = asked.key
        "#,
        account as AccountId,
        key,
    )
    .fetch_one(connection)
    .await?;
    let remembered = match (row.fingerprint, row.status, row.body) {
        (Some(fingerprint), Some(status), Some(body)) => {
            let status = u16::try_from(status).map_err(|error| Error::internal("reading a kept status", error))?;
            Some(Remembered { fingerprint, receipt: Receipt { status, body } })
        }
        _ => None,
    };
    Ok(Found { taken: row.taken, remembered })
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    account: AccountId,
    key: &str,
    fingerprint: &[u8],
    receipt: &Receipt,
) -> Result<bool> {
    let status = i16::try_from(receipt.status).map_err(|error| Error::internal("keeping a status", error))?;
    let done = sqlx::query!(
        "
        insert into idempotency_keys (account_id, key, fingerprint, status, body)
        values ($1, $2, $3, $4, $5)
        on conflict do nothing
        ",
        account as AccountId,
        key,
        fingerprint,
        status,
        receipt.body,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Of all accounts: age alone decides. Rows that another replica is deleting are left to it.
pub(super) async fn delete_older_than(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<u64> {
    let age = PgInterval::try_from(age).map_err(|error| Error::internal("an age", error))?;
    let done = sqlx::query!(
        "
        with expired as (
            select account_id, key
            from idempotency_keys
            where created_at < now() - $1::interval
            order by created_at
            limit $2
            for update skip locked
        )
        delete from idempotency_keys
        using expired
        where idempotency_keys.account_id = expired.account_id and idempotency_keys.key = expired.key
        ",
        age,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
