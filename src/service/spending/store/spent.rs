//! The SQL of what was spent in a window of a limit, computed from what is stored of the payments. `domain::spending::usage`
//! has the rules.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::{LimitRow, limit_by_id};
use crate::domain::{
    currency::Currency,
    id::{AccountId, CardId, CustomerId, LimitId},
    merchant::{MerchantCategory, MerchantCountry, MerchantId},
    money::Money,
    spending::{
        limit::{Limit, LimitScope, Used},
        window::{Interval, Window},
    },
};
use crate::service::error::Result;

/// How far the clock of a replica, which is in the ids of authorisations, may be from the database's.
const SLACK: TimeDelta = TimeDelta::hours(1);

/// What some cards have spent of a limit in a window. The cards are those that the limit applies to.
pub(in super::super) async fn spent(
    connection: &mut PgConnection,
    account: AccountId,
    cards: &[CardId],
    limit: &Limit,
    window: Window,
) -> Result<Used> {
    Ok(spent_and_said(connection, account, cards, limit, window).await?.0)
}

/// The same, and what the limit says at that moment was spent in the windows that begin in it.
#[expect(clippy::too_many_lines, reason = "one statement and its parameters")]
pub(in crate::service) async fn spent_and_said(
    connection: &mut PgConnection,
    account: AccountId,
    cards: &[CardId],
    limit: &Limit,
    window: Window,
) -> Result<(Used, Used)> {
    let cards: Vec<Uuid> = cards.iter().map(|card| (*card).into()).collect();
    let lowest = first_id(window.start.checked_sub_signed(SLACK).unwrap_or(window.start));
    let categories: Vec<&str> = limit.filter.categories.iter().map(MerchantCategory::as_str).collect();
    let countries: Vec<&str> = limit.filter.countries.iter().map(MerchantCountry::as_str).collect();
    let merchants: Vec<&str> = limit.filter.merchants.iter().map(MerchantId::as_str).collect();
    let row = sqlx::query!(
        r#"
        select
            coalesce(sum(part.amount), 0)::bigint as "amount!: Money",
            coalesce(sum(part.payments), 0)::bigint as "payments!",
            (
                select coalesce(sum(amount), 0)::bigint
                from limit_usage
                where account_id = $1 and limit_id = $10 and window_start >= $4 and ($5::timestamptz is null or window_start < $5)
            ) as "said_amount!: Money",
            (
                select coalesce(sum(count), 0)::bigint
                from limit_usage
                where account_id = $1 and limit_id = $10 and window_start >= $4 and ($5::timestamptz is null or window_start < $5)
            ) as "said_payments!"
        from (
            -- What holds have covered, in the window in which it was authorised.
            select
                greatest(own.covered - own.returned, 0) as amount,
                case when own.covered > 0 then 1 else 0 end as payments
            from authorizations of
            cross join lateral (
                select
                    of.held + of.captured - of.excess as covered,
                    of.capture_reversed + case when $6 then of.refunded - of.refund_reversed else 0 end as returned
            ) own
            where of.account_id = $1
                and of.card_id = any($2)
                and of.id >= $3
                and of.created_at >= $4
                and ($5::timestamptz is null or of.created_at < $5)
                and of.authorized > 0
                and ($7::text[] = '{}' or of.merchant_category = any($7))
                and ($8::text[] = '{}' or of.merchant_country = any($8))
                and ($9::text[] = '{}' or of.merchant_id = any($9))
            union all
            -- What was captured beyond, in the window in which it was posted.
            select
                excess.amount - least(greatest(own.returned - own.covered - excess.newer, 0), excess.amount),
                case when own.covered = 0 and excess.is_first then 1 else 0 end
            from authorizations of
            cross join lateral (
                select
                    of.held + of.captured - of.excess as covered,
                    of.capture_reversed + case when $6 then of.refunded - of.refund_reversed else 0 end as returned
            ) own
            cross join lateral (
                with recursive entry as (
                    select *
                    from authorization_entries
                    where account_id = $1 and card_id = of.card_id and sequence = of.entry_sequence
                    union all
                    select earlier.*
                    from entry
                    join authorization_entries earlier
                        on earlier.account_id = $1 and earlier.card_id = of.card_id and earlier.sequence = entry.previous_sequence
                )
                select
                    entry.created_at,
                    entry.amount - entry.held_before as amount,
                    sum(entry.amount - entry.held_before) over (order by entry.ordinal desc) - (entry.amount - entry.held_before)
                        as newer,
                    row_number() over (order by entry.ordinal) = 1 as is_first
                from entry
                where entry.kind in ('capture', 'late_capture') and entry.amount > entry.held_before
            ) excess
            where of.account_id = $1
                and of.card_id = any($2)
                and of.excess > 0
                -- No entry is newer, so that those of long ago are not read.
                and of.updated_at >= $4
                and excess.created_at >= $4
                and ($5::timestamptz is null or excess.created_at < $5)
                and ($7::text[] = '{}' or of.merchant_category = any($7))
                and ($8::text[] = '{}' or of.merchant_country = any($8))
                and ($9::text[] = '{}' or of.merchant_id = any($9))
            union all
            -- Purchases and captures without an authorisation.
            select
                greatest(
                    - of.amount - coalesce((
                        select sum(
                            case
                                when given_back.kind = 'capture_reversal' then given_back.amount
                                when $6 then given_back.amount + coalesce((
                                    select sum(taken_back.amount)
                                    from movements taken_back
                                    where taken_back.account_id = $1
                                        and taken_back.card_id = of.card_id
                                        and taken_back.related_seq = given_back.seq
                                ), 0)
                                else 0
                            end
                        )
                        from movements given_back
                        where given_back.account_id = $1
                            and given_back.card_id = of.card_id
                            and given_back.related_seq = of.seq
                            and given_back.kind in ('capture_reversal', 'refund')
                    ), 0),
                    0
                ),
                1
            from movements of
            where of.account_id = $1
                and of.card_id = any($2)
                and of.kind in ('purchase', 'capture')
                and of.authorization_id is null
                and of.created_at >= $4
                and ($5::timestamptz is null or of.created_at < $5)
                and ($7::text[] = '{}' or of.merchant::json ->> 'mcc' = any($7))
                and ($8::text[] = '{}' or of.merchant::json ->> 'country' = any($8))
                and ($9::text[] = '{}' or of.merchant::json ->> 'id' = any($9))
        ) part
        "#,
        account as AccountId,
        &cards,
        lowest,
        window.start,
        window.end,
        limit.restore_on_refund,
        &categories as &[&str],
        &countries as &[&str],
        &merchants as &[&str],
        limit.id as LimitId,
    )
    .fetch_one(connection)
    .await?;
    let said = Used { amount: row.said_amount, count: row.said_payments };
    Ok((Used { amount: row.amount, count: row.payments }, said))
}

/// How many payments a card has made that count for `maxPayments`.
pub(in super::super) async fn payments(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<i64> {
    let payments = sqlx::query_scalar!(
        r#"
        select (
            (
                select count(*)
                from authorizations
                where account_id = $1 and card_id = $2 and (authorized > 100 or captured > 0)
            ) + (
                select count(*)
                from movements
                where account_id = $1 and card_id = $2 and kind in ('purchase', 'capture') and authorization_id is null
            )
        ) as "payments!"
        "#,
        account as AccountId,
        card as CardId,
    )
    .fetch_one(connection)
    .await?;
    Ok(payments)
}

/// The starts of the windows in which something was spent of a limit.
pub(in crate::service) async fn windows_of(
    connection: &mut PgConnection,
    account: AccountId,
    limit: LimitId,
) -> Result<Vec<DateTime<Utc>>> {
    let starts = sqlx::query_scalar!(
        "select window_start from limit_usage where account_id = $1 and limit_id = $2 order by window_start",
        account as AccountId,
        limit as LimitId,
    );
    Ok(starts.fetch_all(connection).await?)
}

/// The limits of an account, oldest first.
pub(in crate::service) async fn limits_to_verify(connection: &mut PgConnection, account: AccountId) -> Result<Vec<LimitId>> {
    let ids = sqlx::query_scalar!(r#"select id as "id: LimitId" from limits where account_id = $1 order by id"#, account as AccountId);
    Ok(ids.fetch_all(connection).await?)
}

/// A limit that has windows, with the cards that it applies to.
pub(in crate::service) async fn limit_to_verify(
    connection: &mut PgConnection,
    account: AccountId,
    id: LimitId,
) -> Result<Option<(Limit, Vec<CardId>)>> {
    let limit = limit_by_id(connection, account, id).await?.map(LimitRow::limit).transpose()?;
    let Some(limit) = limit.filter(|limit| limit.calendar.interval != Interval::Transaction) else { return Ok(None) };
    let cards = match limit.scope {
        LimitScope::Card(card) => chain_of(connection, account, card).await?,
        LimitScope::Customer(customer) => cards_of(connection, account, customer, limit.currency).await?,
    };
    Ok(Some((limit, cards)))
}

/// The newest of the cards that replace one another, and all of them.
async fn chain_of(connection: &mut PgConnection, account: AccountId, newest: CardId) -> Result<Vec<CardId>> {
    let cards = sqlx::query_scalar!(
        r#"select id as "id: CardId" from cards where account_id = $1 and (id = $2 or newest_id = $2) order by id"#,
        account as AccountId,
        newest as CardId,
    );
    Ok(cards.fetch_all(connection).await?)
}

async fn cards_of(connection: &mut PgConnection, account: AccountId, customer: CustomerId, currency: Currency) -> Result<Vec<CardId>> {
    let cards = sqlx::query_scalar!(
        r#"select id as "id: CardId" from cards where account_id = $1 and customer_id = $2 and currency = $3 order by id"#,
        account as AccountId,
        customer as CustomerId,
        currency.code(),
    );
    Ok(cards.fetch_all(connection).await?)
}

/// The lowest id of a moment: ids begin with its milliseconds (RFC 9562).
fn first_id(moment: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(moment.timestamp_millis().clamp(0, (1 << 48) - 1).unsigned_abs()) << 80)
}
