//! The SQL of the verification. Each statement reads a page, so that no snapshot is old enough to hold vacuum back.

mod chains;

use sqlx::PgConnection;

pub(super) use self::chains::authorizations;
use super::{CardRow, EntryRow, MovementRow};
use crate::domain::id::{AccountId, CardId};
use crate::service::error::Result;

/// The next account from `from` on, in the order of their ids: one that exists, or that only movements, entries or
/// authorisations name.
pub(super) async fn next_account(connection: &mut PgConnection, from: AccountId) -> Result<Option<AccountId>> {
    let next = sqlx::query_scalar!(
        r#"
        select account_id as "account_id!: AccountId"
        from (
            (select account_id from accounts where account_id >= $1 order by account_id limit 1)
            union all
            (select account_id from movements where account_id >= $1 order by account_id limit 1)
            union all
            (select account_id from authorization_entries where account_id >= $1 order by account_id limit 1)
            union all
            (select account_id from authorizations where account_id >= $1 order by account_id limit 1)
        ) every
        order by account_id
        limit 1
        "#,
        from as AccountId,
    );
    Ok(next.fetch_optional(connection).await?)
}

/// The next cards of an account from `from` on, in order of their ids, each with its newest movement and entry at the same
/// moment: those that exist, and those that only movements,
/// entries or authorisations name.
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
        ), entered as (
            (
                select card_id
                from authorization_entries
                where account_id = $1 and card_id >= $2
                order by card_id
                limit 1
            )
            union all
            select later.card_id
            from entered
            cross join lateral (
                select card_id
                from authorization_entries
                where authorization_entries.account_id = $1 and authorization_entries.card_id > entered.card_id
                order by card_id
                limit 1
            ) later
        ), authorized as (
            (
                select card_id
                from authorizations
                where account_id = $1 and card_id >= $2
                order by card_id
                limit 1
            )
            union all
            select later.card_id
            from authorized
            cross join lateral (
                select card_id
                from authorizations
                where authorizations.account_id = $1 and authorizations.card_id > authorized.card_id
                order by card_id
                limit 1
            ) later
        ), page as (
            select id
            from (
                (select id from cards where account_id = $1 and id >= $2 order by id limit $3)
                union
                (select card_id from posted limit $3)
                union
                (select card_id from entered limit $3)
                union
                (select card_id from authorized limit $3)
            ) every
            order by id
            limit $3
        )
        select
            page.id as "id!: CardId",
            cards.balance as "balance?",
            cards.held as "held?",
            cards.seq as "seq?",
            cards.event_seq as "sequence?",
            case when cards.held <> 0 then exists (
                select
                from authorizations
                where authorizations.account_id = $1
                    and authorizations.card_id = page.id
                    and authorizations.status = 'pending'
                    and (cards.holds_due_at is null or authorizations.expires_at < cards.holds_due_at)
            ) else false end as "hides_due!",
            (select max(seq) from movements where account_id = $1 and card_id = page.id) as newest,
            (select max(sequence) from authorization_entries where account_id = $1 and card_id = page.id) as newest_entry
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
        select
            card_id as "card: CardId",
            seq,
            amount,
            balance_after,
            (
                kind not in ('withdrawal', 'purchase', 'transfer_out')
                or (kind = 'purchase' and authorization_id is not null)
            ) as "may_overdraw!",
            case when kind in ('capture', 'purchase') and authorization_id is not null then -amount else 0 end as "captured!",
            case when authorization_id is null then true else exists (
                select
                from authorizations
                where authorizations.account_id = $1
                    and authorizations.id = movements.authorization_id
                    and authorizations.card_id = movements.card_id
            ) end as "has_authorization!",
            case
                when related_seq is null then kind not in ('capture_reversal', 'refund_reversal')
                when kind in ('capture_reversal', 'refund', 'refund_reversal') then exists (
                    select
                    from movements original
                    where original.account_id = $1
                        and original.card_id = movements.card_id
                        and original.seq = movements.related_seq
                        and original.seq < movements.seq
                        and (original.kind = 'refund') = (movements.kind = 'refund_reversal')
                        and original.kind in ('capture', 'purchase', 'refund')
                        and original.authorization_id is not distinct from movements.authorization_id
                )
                else true
            end as "has_original!",
            case when kind in ('transfer_in', 'transfer_out') then exists (
                select
                from movements other
                join cards other_card on other_card.account_id = $1 and other_card.id = other.card_id
                join cards own_card on own_card.account_id = $1 and own_card.id = movements.card_id
                where other.account_id = $1
                    and other.transfer_id = movements.transfer_id
                    and other.kind in ('transfer_in', 'transfer_out')
                    and other.kind <> movements.kind
                    and other.card_id <> movements.card_id
                    and other.amount = -movements.amount
                    and other.created_at = movements.created_at
                    and other_card.currency = own_card.currency
            ) else transfer_id is null end as "has_other_half!",
            case when kind in ('capture', 'purchase', 'refund') then (
                select least(coalesce(sum(abs(back.amount)), 0), 9223372036854775807)::bigint
                from movements back
                where back.account_id = $1
                    and back.card_id = movements.card_id
                    and back.related_seq = movements.seq
                    and back.kind in ('capture_reversal', 'refund_reversal')
            ) else 0 end as "reversed!",
            case when kind in ('capture', 'purchase') and authorization_id is null then (
                select least(coalesce(sum(back.amount + coalesce(taken.amount, 0)), 0), 9223372036854775807)::bigint
                from movements back
                left join lateral (
                    select sum(taken_back.amount) as amount
                    from movements taken_back
                    where taken_back.account_id = $1
                        and taken_back.card_id = back.card_id
                        and taken_back.related_seq = back.seq
                ) taken on true
                where back.account_id = $1
                    and back.card_id = movements.card_id
                    and back.related_seq = movements.seq
                    and back.kind = 'refund'
            ) else 0 end as "refunded!"
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

/// The next entries after one place in the account's histories up to another, in order of card and sequence.
pub(super) async fn entries(
    connection: &mut PgConnection,
    account: AccountId,
    (after_card, after_sequence): (CardId, i64),
    (last_card, last_sequence): (CardId, i64),
    limit: i64,
) -> Result<Vec<EntryRow>> {
    let entries = sqlx::query_as!(
        EntryRow,
        r#"
        select
            entries.card_id as "card: CardId",
            entries.sequence,
            entries.held_before,
            entries.held_after,
            entries.card_held,
            case when entries.kind in ('capture', 'late_capture') then entries.amount else 0 end as "captured!",
            case when entries.kind in ('capture', 'late_capture') then coalesce(
                posted.kind in ('capture', 'purchase')
                    and posted.authorization_id = entries.authorization_id
                    and posted.amount = -entries.amount
                    and posted.balance_after = entries.card_balance,
                false
            ) else entries.movement_seq is null end as "fits_movement!"
        from authorization_entries entries
        left join movements posted
            on posted.account_id = $1 and posted.card_id = entries.card_id and posted.seq = entries.movement_seq
        where entries.account_id = $1
            and (entries.card_id, entries.sequence) > ($2, $3)
            and (entries.card_id, entries.sequence) <= ($4, $5)
        order by entries.card_id, entries.sequence
        limit $6
        "#,
        account as AccountId,
        after_card as CardId,
        after_sequence,
        last_card as CardId,
        last_sequence,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(entries)
}
