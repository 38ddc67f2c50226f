//! The SQL that reads authorisations with the chains of their entries.

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::{AuthorizationRow, CardRow};
use crate::domain::id::{AccountId, AuthorizationId, CardId};
use crate::service::error::Result;

/// The next authorisations after one place up to a card, in order of card and id, each with what its entries and movements
/// add up to at the same moment. An entry leads to the one before it. A chain that tampering closed to a circle ends.
#[expect(clippy::too_many_lines, reason = "one statement and its parameters")]
pub(in super::super) async fn authorizations(
    connection: &mut PgConnection,
    account: AccountId,
    (after_card, after_id): (CardId, AuthorizationId),
    last_card: CardId,
    cards: &[CardRow],
    limit: i64,
) -> Result<Vec<AuthorizationRow>> {
    let ids: Vec<Uuid> = cards.iter().map(|card| card.id.into()).collect();
    let newest: Vec<i64> = cards.iter().map(|card| card.newest_entry.unwrap_or_default()).collect();
    let authorizations = sqlx::query_as!(
        AuthorizationRow,
        r#"
        with recursive page as (
            select *
            from authorizations
            where account_id = $1 and (card_id, id) > ($2, $3) and card_id <= $4
            order by card_id, id
            limit $5
        ), chain as (
            select
                page.id as owner,
                entries.*,
                entries.authorization_id = page.id
                    and entries.ordinal = page.last_ordinal
                    and entries.held_after = page.held as is_chained
            from page
            join authorization_entries entries
                on entries.account_id = $1 and entries.card_id = page.card_id and entries.sequence = page.entry_sequence
            union all
            select
                chain.owner,
                entries.*,
                entries.authorization_id = chain.owner
                    and entries.ordinal = chain.ordinal - 1
                    and entries.held_after = chain.held_before
            from chain
            join authorization_entries entries
                on entries.account_id = $1
                and entries.card_id = chain.card_id
                and entries.sequence = chain.previous_sequence
                and entries.sequence < chain.sequence
        ), entered as (
            select
                chain.owner,
                bool_and(chain.is_chained)
                    and bool_or(chain.ordinal = 1 and chain.held_before = 0 and chain.previous_sequence is null) as is_chained,
                count(*) filter (where chain.sequence <= known.newest) as known_entries,
                sum(
                    case
                        when kind in ('authorization', 'partial_authorization', 'increment') then amount
                        when kind = 'adjustment' then greatest(amount, 0)
                    end
                ) as authorized,
                sum(amount) filter (where kind in ('capture', 'late_capture')) as captured,
                sum(greatest(amount - held_before, 0)) filter (where kind in ('capture', 'late_capture')) as excess,
                sum(case kind when 'reversal' then amount when 'adjustment' then greatest(-amount, 0) end) as reversed,
                sum(amount) filter (where kind in ('expiry', 'release')) as expired,
                sum(greatest(held_before - amount, 0) - held_after) filter (where kind in ('capture', 'late_capture')) as released
            from chain
            left join unnest($6::uuid[], $7::bigint[]) as known (card_id, newest) on known.card_id = chain.card_id
            group by chain.owner
        )
        select
            page.card_id as "card: CardId",
            page.id as "id: AuthorizationId",
            page.status = 'pending' as "is_pending!",
            page.authorized,
            page.held,
            page.captured,
            page.excess,
            page.reversed,
            page.expired,
            page.released,
            page.capture_reversed,
            page.refunded,
            page.refund_reversed,
            coalesce(entered.is_chained, false) as "is_chained!",
            coalesce(entered.known_entries, 0) as "known_entries!",
            coalesce(entered.authorized, 0)::bigint as "entered_authorized!",
            coalesce(entered.captured, 0)::bigint as "entered_captured!",
            coalesce(entered.excess, 0)::bigint as "entered_excess!",
            coalesce(entered.reversed, 0)::bigint as "entered_reversed!",
            coalesce(entered.expired, 0)::bigint as "entered_expired!",
            coalesce(entered.released, 0)::bigint as "entered_released!",
            coalesce(moved.capture_reversed, 0)::bigint as "moved_capture_reversed!",
            coalesce(moved.refunded, 0)::bigint as "moved_refunded!",
            coalesce(-moved.refund_reversed, 0)::bigint as "moved_refund_reversed!"
        from page
        left join entered on entered.owner = page.id
        left join lateral (
            select
                sum(movements.amount) filter (where movements.kind = 'capture_reversal') as capture_reversed,
                sum(movements.amount) filter (where movements.kind = 'refund') as refunded,
                sum(movements.amount) filter (where movements.kind = 'refund_reversal') as refund_reversed
            from movements
            where movements.account_id = $1
                and movements.authorization_id = page.id
                and movements.authorization_id is not null
                and movements.kind in ('capture_reversal', 'refund', 'refund_reversal')
        ) moved on true
        order by page.card_id, page.id
        "#,
        account as AccountId,
        after_card as CardId,
        after_id as AuthorizationId,
        last_card as CardId,
        limit,
        &ids,
        &newest,
    )
    .fetch_all(connection)
    .await?;
    Ok(authorizations)
}
