//! The SQL of idempotency keys.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};

use super::{ResponseKind, Stored, StoredResponse};
use crate::domain::{error::RefusalKind, id::AccountId, word::UnknownWord};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

/// The stored response of a key, and whether this transaction has the lock of the key.
pub(super) struct Lookup {
    pub(super) is_locked: bool,
    pub(super) stored: Option<Stored>,
}

/// Looks up a key and tries to lock it until the transaction ends. The lock is granted or refused at once, so that a
/// second request with the key does not wait.
pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, key: &str) -> Result<Lookup> {
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
    let stored = match (row.fingerprint, row.status, row.body) {
        (Some(fingerprint), Some(status), Some(body)) => {
            Some(Stored { fingerprint, response: StoredResponse { kind: ResponseKind::from_status(status)?, body } })
        }
        _ => None,
    };
    Ok(Lookup { is_locked: row.taken, stored })
}

impl ResponseKind {
    /// The HTTP status, by which the database distinguishes the kinds.
    const fn status(self) -> i16 {
        match self {
            Self::Success => 200,
            Self::Refused(RefusalKind::NotFound) => 404,
            Self::Refused(RefusalKind::Conflict) => 409,
        }
    }

    fn from_status(status: i16) -> Result<Self> {
        let kinds = [Self::Success, Self::Refused(RefusalKind::NotFound), Self::Refused(RefusalKind::Conflict)];
        let kind = kinds.into_iter().find(|kind| kind.status() == status);
        kind.ok_or(Error::LaterVersion(UnknownWord))
    }
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    account: AccountId,
    key: &str,
    fingerprint: &[u8],
    response: &StoredResponse,
) -> std::result::Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "
        insert into idempotency_keys (account_id, key, fingerprint, status, body)
        values ($1, $2, $3, $4, $5)
        on conflict do nothing
        ",
        account as AccountId,
        key,
        fingerprint,
        response.kind.status(),
        response.body,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes the oldest responses of all accounts. One replica at a time does.
pub(super) async fn delete_older_than(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<u64> {
    let age = PgInterval::try_from(age).map_err(|error| Error::internal("converting an age", error))?;
    let done = sqlx::query!(
        "
        with turn as materialized (
            select pg_try_advisory_xact_lock(hashtextextended('delete idempotency keys', 2)) as is_mine
        ), expired as (
            select account_id, key
            from idempotency_keys
            where created_at < now() - $1::interval
            order by created_at
            limit $2
        )
        delete from idempotency_keys
        using expired
        where idempotency_keys.account_id = expired.account_id
            and idempotency_keys.key = expired.key
            and (select is_mine from turn)
        ",
        age,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// A stored response that was searched.
pub(super) struct Searched {
    pub(super) key: String,
    pub(super) created_at: DateTime<Utc>,
    /// The body without what names people, if it is about one of the things.
    pub(super) erased: Option<Vec<u8>>,
}

/// The next stored responses of an account, and which of them are about one of these things.
pub(super) async fn search_page(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    after: &str,
    ids: &[String],
    limit: i64,
) -> Result<Vec<Searched>> {
    let page = sqlx::query_as!(
        Searched,
        r#"
        select
            key,
            created_at,
            -- Only the body of a success is about a thing. A case is evaluated in its order.
            case
                when status = 200 then (
                    select convert_to((
                        select jsonb_object_agg(
                            member.key,
                            case
                                when member.key in ('name', 'email', 'label') then 'null'::jsonb
                                when member.key = 'metadata' then '{}'::jsonb
                                else member.value
                            end
                        )::text
                        from jsonb_each(about) member
                    ), 'UTF8')
                    from (select convert_from(body, 'UTF8')::jsonb as about) parsed
                    where about ->> 'customerId' = any($3) or about ->> 'cardId' = any($3) or about ->> 'limitId' = any($3)
                )
            end as erased
        from idempotency_keys
        where account_id = $1 and key > $2
        order by key
        limit $4
        "#,
        account as AccountId,
        after,
        ids,
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(page)
}

/// Replaces the bodies of stored responses. A key that has another response by now keeps it.
pub(super) async fn replace_bodies(connection: &mut PgConnection, account: AccountId, responses: Vec<Searched>) -> Result<()> {
    let keys: Vec<String> = responses.iter().map(|response| response.key.clone()).collect();
    let times: Vec<DateTime<Utc>> = responses.iter().map(|response| response.created_at).collect();
    let bodies: Vec<Vec<u8>> = responses.into_iter().filter_map(|response| response.erased).collect();
    sqlx::query!(
        "
        update idempotency_keys
        set body = erased.body
        from unnest($2::text[], $3::timestamptz[], $4::bytea[]) as erased (key, created_at, body)
        where idempotency_keys.account_id = $1
            and idempotency_keys.key = erased.key
            and idempotency_keys.created_at = erased.created_at
        ",
        account as AccountId,
        &keys,
        &times,
        &bodies,
    )
    .execute(connection)
    .await?;
    Ok(())
}
