//! The SQL that reads a card's past.
//!
//! A moment's place is searched for by halves: each step of a recursion halves what is left between `low` and `high`. All rows
//! up to `low` were written before the moment, and none after `high`. Each step reads one row, by the primary key, in a
//! subquery that no plan turns into a join.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::{
    CardKey, Movement,
    statement::{Bounds, KindTotal, PastBalance, Range},
};
use crate::domain::{
    currency::Currency,
    id::{AccountId, AuthorizationId, CardId, MovementId, TransferId},
    money::{Money, Total},
    posting::MovementKind,
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

/// A card's money as it was at the end of a millisecond, and whether that is in the future. None if the card was created later.
///
/// Entries have gaps in their sequence, which movements share. So a step looks for the newest entry of the lower half, which
/// may have none.
#[expect(clippy::too_many_lines, reason = "one statement")]
pub(in super::super) async fn balance_at(
    mut connection: ReadConnection<'_>,
    (account, card): CardKey,
    at: DateTime<Utc>,
) -> Result<Option<(PastBalance, bool)>> {
    let row = sqlx::query!(
        r#"
        with recursive card as materialized (
            select currency, seq, event_seq
            from cards
            where account_id = $1 and id = $2 and created_at < $3
        ), movement (low, high) as (
            select 0::bigint, seq
            from card
            union all
            select
                case when probe.created_at < $3 then probe.middle else probe.low end,
                case when probe.created_at < $3 then probe.high else probe.middle - 1 end
            from (
                select
                    low,
                    high,
                    (low + high + 1) / 2 as middle,
                    (
                        select created_at
                        from movements
                        where account_id = $1 and card_id = $2 and seq = (low + high + 1) / 2
                    ) as created_at
                from movement
                where low < high
            ) probe
        ), entry (low, high) as (
            select 0::bigint, event_seq
            from card
            union all
            select
                case when newest.created_at >= $3 then entry.low else (entry.low + entry.high + 1) / 2 end,
                case when newest.created_at >= $3 then newest.sequence - 1 else entry.high end
            from entry
            left join lateral (
                select sequence, created_at
                from authorization_entries
                where account_id = $1
                    and card_id = $2
                    and sequence > entry.low
                    and sequence <= (entry.low + entry.high + 1) / 2
                order by sequence desc
                limit 1
            ) newest on true
            where entry.low < entry.high
        ), found as materialized (
            select
                (select low from movement where low = high) as seq,
                (select low from entry where low = high) as sequence
        )
        select
            card.currency as "currency: Word<Currency>",
            case when found.seq = 0 then 0 else (
                select balance_after
                from movements
                where account_id = $1 and card_id = $2 and seq = found.seq
            ) end as "balance: Money",
            (coalesce((
                select card_held
                from authorization_entries
                where account_id = $1 and card_id = $2 and sequence <= found.sequence
                order by sequence desc
                limit 1
            ), 0) - coalesce((
                -- Their expiry was written later, and before any other entry.
                select sum(expired.held_before - expired.held_after)
                from authorization_entries expired
                where expired.account_id = $1
                    and expired.card_id = $2
                    and expired.sequence > found.sequence
                    and expired.sequence < coalesce((
                        select sequence
                        from authorization_entries
                        where account_id = $1 and card_id = $2 and sequence > found.sequence and kind <> 'expiry'
                        order by sequence
                        limit 1
                    ), 9223372036854775807)
                    and (
                        select due.expires_at
                        from authorizations due
                        where due.account_id = $1 and due.id = expired.authorization_id
                    ) < $3
            ), 0) - coalesce((
                -- Their expiry is not written yet.
                select sum(due.held)
                from authorizations due
                where due.account_id = $1 and due.card_id = $2 and due.status = 'pending' and due.expires_at < $3
            ), 0))::bigint as "held!: Money",
            $3 > clock_timestamp() + interval '1 millisecond' as "is_future!"
        from card
        cross join found
        "#,
        account as AccountId,
        card as CardId,
        at + TimeDelta::milliseconds(1),
    )
    .fetch_optional(connection.executor())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let balance = PastBalance { card, at, currency: row.currency, balance: row.balance.ok_or_else(gap)?, held: row.held };
    Ok(Some((balance, row.is_future)))
}

/// A movement is missing that the card's row counts.
fn gap() -> Error {
    Error::internal("reading a card's past", "its history has a gap")
}

/// The movements from one moment on and before another, of those that the card has by now. None if it does not exist.
pub(in super::super) async fn bounds(
    mut connection: ReadConnection<'_>,
    (account, card): CardKey,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Option<Bounds>> {
    let row = sqlx::query!(
        r#"
        with recursive card as materialized (
            select currency, seq
            from cards
            where account_id = $1 and id = $2
        ), search (place, before, low, high) as (
            select ends.place, ends.before, 0::bigint, card.seq
            from card
            cross join (values (1, $3::timestamptz), (2, $4::timestamptz)) as ends (place, before)
            union all
            select
                probe.place,
                probe.before,
                case when probe.created_at < probe.before then probe.middle else probe.low end,
                case when probe.created_at < probe.before then probe.high else probe.middle - 1 end
            from (
                select
                    place,
                    before,
                    low,
                    high,
                    (low + high + 1) / 2 as middle,
                    (
                        select created_at
                        from movements
                        where account_id = $1 and card_id = $2 and seq = (low + high + 1) / 2
                    ) as created_at
                from search
                where low < high
            ) probe
        ), found as materialized (
            select
                (select low from search where low = high and place = 1) as after,
                (select low from search where low = high and place = 2) as last
        )
        select
            card.currency as "currency: Word<Currency>",
            found.after as "after!",
            found.last as "last!",
            case when found.after = 0 then 0 else (
                select balance_after
                from movements
                where account_id = $1 and card_id = $2 and seq = found.after
            ) end as "opening: Money",
            case when found.last = 0 then 0 else (
                select balance_after
                from movements
                where account_id = $1 and card_id = $2 and seq = found.last
            ) end as "closing: Money",
            $3 > clock_timestamp() as "is_future!"
        from card
        cross join found
        "#,
        account as AccountId,
        card as CardId,
        from,
        to,
    )
    .fetch_optional(connection.executor())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Bounds {
        currency: row.currency,
        range: Range { after: row.after, last: row.last },
        opening: row.opening.ok_or_else(gap)?,
        closing: row.closing.ok_or_else(gap)?,
        is_future: row.is_future,
    }))
}

/// What the movements of a range come to, by kind.
pub(in super::super) async fn totals(mut connection: ReadConnection<'_>, (account, card): CardKey, range: Range) -> Result<Vec<KindTotal>> {
    let rows = sqlx::query!(
        r#"
        select
            kind as "kind: Word<MovementKind>",
            count(*) as "count!",
            -- As text: the sum can exceed a bigint.
            sum(amount)::text as "amount!"
        from movements
        where account_id = $1 and card_id = $2 and seq > $3 and seq <= $4
        group by kind
        "#,
        account as AccountId,
        card as CardId,
        range.after,
        range.last,
    )
    .fetch_all(connection.executor())
    .await?;
    let total = |minor: &str| minor.parse().map(Total::from_minor).map_err(|error| Error::internal("adding up movements", error));
    rows.into_iter().map(|row| Ok(KindTotal { kind: row.kind, count: row.count, amount: total(&row.amount)? })).collect()
}

/// The first of the movements of a range, oldest first.
pub(in super::super) async fn movements_in(
    mut connection: ReadConnection<'_>,
    (account, card): CardKey,
    range: Range,
    limit: i64,
) -> Result<Vec<Movement>> {
    let movements = sqlx::query_as!(
        Movement,
        r#"
        select
            id as "id: MovementId",
            seq,
            kind as "kind: Word<MovementKind>",
            amount as "amount: Money",
            balance_after as "balance_after: Money",
            description,
            created_at,
            authorization_id as "authorization_id: AuthorizationId",
            case when related_seq is not null then (
                select original.id
                from movements original
                where original.account_id = $1
                    and original.card_id = $2
                    and original.seq = movements.related_seq
            ) end as "related_id: MovementId",
            transfer_id as "transfer_id: TransferId",
            merchant
        from movements
        where account_id = $1 and card_id = $2 and seq > $3 and seq <= $4
        order by seq
        limit $5
        "#,
        account as AccountId,
        card as CardId,
        range.after,
        range.last,
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(movements)
}
