//! The SQL of the sweep of holds that are due.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::CardKey;
use crate::domain::{
    currency::Currency,
    id::{AccountId, CardId},
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// Cards of any account that may have due holds, the longest due first, and since when.
pub(in super::super) async fn cards_due(mut connection: ReadConnection<'_>, limit: i64) -> Result<Vec<(CardKey, Duration)>> {
    let rows = sqlx::query!(
        r#"
        select
            account_id as "account_id: AccountId",
            id as "id: CardId",
            extract(epoch from now() - holds_due_at)::double precision as "overdue!"
        from cards
        where holds_due_at <= now()
        order by holds_due_at
        limit $1
        "#,
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    let overdue = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Ok(rows.into_iter().map(|row| ((row.account_id, row.id), overdue(row.overdue))).collect())
}

/// Cards of any account on the list of those with due holds that hold nothing, the longest due first.
pub(in super::super) async fn idle_due(mut connection: ReadConnection<'_>, limit: i64) -> Result<Vec<CardKey>> {
    let rows = sqlx::query!(
        r#"
        select account_id as "account_id: AccountId", id as "id: CardId"
        from cards
        where holds_due_at <= now() and held = 0
        order by holds_due_at
        limit $1
        "#,
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.id)).collect())
}

/// Takes those of an account's cards off the list of those with due holds that still hold nothing. Skips those that are
/// locked. Returns how many.
pub(in super::super) async fn forget_idle_due(
    connection: &mut PgConnection,
    account: AccountId,
    cards: &[CardId],
) -> std::result::Result<u64, sqlx::Error> {
    let cards: Vec<Uuid> = cards.iter().map(|card| (*card).into()).collect();
    let done = sqlx::query!(
        "
        with idle as materialized (
            select id
            from cards
            where account_id = $1 and id = any($2) and holds_due_at <= clock_timestamp() and held = 0
            order by id
            for no key update skip locked
        )
        update cards
        set holds_due_at = null
        from idle
        where cards.account_id = $1 and cards.id = idle.id
        ",
        account as AccountId,
        &cards,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// What is held on the cards of all accounts, in minor units.
pub(in super::super) async fn held_money(mut connection: ReadConnection<'_>) -> Result<Vec<(Currency, i64)>> {
    let rows = sqlx::query!(
        r#"
        select currency as "currency: Word<Currency>", least(sum(held), 9223372036854775807)::bigint as "held!"
        from cards
        where holds_due_at is not null
        group by currency
        "#,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.currency.known().ok()?, row.held))).collect())
}

/// Whether a card's row could be locked at once.
pub(in super::super) async fn try_lock_card(connection: &mut PgConnection, (account, card): CardKey) -> Result<bool> {
    let locked = sqlx::query_scalar!(
        r#"
        select 1 as "locked!"
        from cards
        where account_id = $1 and id = $2
        for no key update skip locked
        "#,
        account as AccountId,
        card as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(locked.is_some())
}
