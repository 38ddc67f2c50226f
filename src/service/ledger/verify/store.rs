//! The SQL of the verification. Each statement reads a page, so that no snapshot is old enough to hold vacuum back.

use sqlx::PgConnection;

use super::{CardRow, MovementRow};
use crate::domain::id::{AccountId, CardId};
use crate::service::error::Result;

/// The next accounts from `from` on, in order of their ids: those that exist, and those that only movements name.
pub(super) async fn accounts(connection: &mut PgConnection, from: AccountId, limit: i64) -> Result<Vec<AccountId>> {
    let accounts = sqlx::query_scalar!(
        r#"
        with recursive posted as (
            (
                select account_id
                from movements
                where account_id >= $1
                order by account_id
                limit 1
            )
            union all
            select later.account_id
            from posted
            cross join lateral (
                select account_id
                from movements
                where movements.account_id > posted.account_id
                order by account_id
                limit 1
            ) later
        )
        select account_id as "account_id!: AccountId"
        from (
            (select account_id from accounts where account_id >= $1 order by account_id limit $2)
            union
            (select account_id from posted limit $2)
        ) every
        order by account_id
        limit $2
        "#,
        from as AccountId,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(accounts)
}

/// The next cards of an account from `from` on, in order of their ids, each with its newest movement at the same moment:
/// those that exist, and those that only movements name.
pub(super) async fn cards(connection: &mut PgConnection, account: AccountId, from: CardId, limit: i64) -> Result<Vec<CardRow>> {
    let cards = sqlx::query_as!(
        CardRow,
        r#"
        with recursive posted as (
            (
                select card_id
                from movements
                where account_id = $1 and card_id >= $2
                order by card_id
                limit 1
            )
            union all
            select later.card_id
            from posted
            cross join lateral (
                select card_id
                from movements
                where movements.account_id = $1 and movements.card_id > posted.card_id
                order by card_id
                limit 1
            ) later
        ), page as (
            select id
            from (
                (select id from cards where account_id = $1 and id >= $2 order by id limit $3)
                union
                (select card_id from posted limit $3)
            ) every
            order by id
            limit $3
        )
        select
            page.id as "id!: CardId",
            cards.balance as "balance?",
            cards.seq as "seq?",
            (select max(seq) from movements where account_id = $1 and card_id = page.id) as newest
        from page
        left join cards on cards.account_id = $1 and cards.id = page.id
        order by page.id
        "#,
        account as AccountId,
        from as CardId,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(cards)
}

/// The next movements after one place in the account's histories up to another, in order of card and seq.
pub(super) async fn movements(
    connection: &mut PgConnection,
    account: AccountId,
    (after_card, after_seq): (CardId, i64),
    (last_card, last_seq): (CardId, i64),
    limit: i64,
) -> Result<Vec<MovementRow>> {
    let movements = sqlx::query_as!(
        MovementRow,
        r#"
        select card_id as "card: CardId", seq, amount, balance_after
        from movements
        where account_id = $1 and (card_id, seq) > ($2, $3) and (card_id, seq) <= ($4, $5)
        order by card_id, seq
        limit $6
        "#,
        account as AccountId,
        after_card as CardId,
        after_seq,
        last_card as CardId,
        last_seq,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(movements)
}
