//! The SQL of changes of controls and limits, and of what callers read of them. `rows` reads what payments are decided on,
//! and `spent` computes what was spent.

mod chain;
mod controls;
mod rows;
mod spent;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use self::rows::{LimitRow, limit_by_id, limits_by_card, limits_by_customer};
pub(in crate::service) use self::{
    chain::lock_chain,
    rows::{StoredRules, rules_of},
    spent::{limit_to_verify, limits_to_verify, spent_and_said, windows_of},
};
pub(super) use self::{
    chain::pass_limits_on,
    controls::{controls, find_controls, set_controls},
    spent::{payments, spent},
};
use super::StoredLimit;
use crate::domain::{
    card::CardStatus,
    currency::Currency,
    id::{AccountId, CardId, CustomerId, LimitId},
    merchant::MerchantId,
    money::Money,
    spending::{
        limit::{Limit, LimitScope, LimitStatus, LimitUse, Used},
        window::Window,
    },
    text::Name,
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// A locked card.
pub(in crate::service) struct LockedCard {
    pub(super) status: Word<CardStatus>,
    pub(super) currency: Word<Currency>,
}

/// Locks a card's row until the transaction ends.
pub(super) async fn lock_card(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Option<LockedCard>> {
    let row = sqlx::query_as!(
        LockedCard,
        r#"
        select status as "status: Word<CardStatus>", currency as "currency: Word<Currency>"
        from cards
        where account_id = $1 and id = $2
        for no key update
        "#,
        account as AccountId,
        card as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row)
}

/// Locks a customer's row, so that no card is assigned to it until the transaction ends. Whether the person was erased; none if
/// there is no such customer.
pub(super) async fn lock_customer(connection: &mut PgConnection, account: AccountId, customer: CustomerId) -> Result<Option<bool>> {
    let is_erased = sqlx::query_scalar!(
        r#"select erased_at is not null as "is_erased!" from customers where account_id = $1 and id = $2 for update"#,
        account as AccountId,
        customer as CustomerId,
    );
    Ok(is_erased.fetch_optional(connection).await?)
}

/// Locks the cards of a customer in a currency, in the order of their keys.
pub(super) async fn lock_cards_of(
    connection: &mut PgConnection,
    account: AccountId,
    customer: CustomerId,
    currency: Currency,
) -> Result<Vec<CardId>> {
    let cards = sqlx::query_scalar!(
        r#"
        select id as "id: CardId"
        from cards
        where account_id = $1 and customer_id = $2 and currency = $3
        order by id
        for no key update
        "#,
        account as AccountId,
        customer as CustomerId,
        currency.code(),
    )
    .fetch_all(connection)
    .await?;
    Ok(cards)
}

/// Locks a customer, and reads its limits in the currency of a card.
pub(super) async fn lock_limits_of(
    connection: &mut PgConnection,
    account: AccountId,
    customer: CustomerId,
    card: CardId,
) -> Result<Vec<Limit>> {
    let currency = sqlx::query_scalar!(
        "
        select cards.currency
        from customers
        join cards on cards.account_id = $1 and cards.id = $3
        where customers.account_id = $1 and customers.id = $2
        for key share of customers
        ",
        account as AccountId,
        customer as CustomerId,
        card as CardId,
    )
    .fetch_one(&mut *connection)
    .await?;
    let rows = limits_by_customer(connection, account, customer, Some(&currency)).await?;
    Ok(rows.into_iter().map(LimitRow::limit).collect::<std::result::Result<_, _>>()?)
}

/// Makes known that the rules of a locked card have changed. Returns the position of the change in the card's history.
pub(super) async fn touch_card(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<i64> {
    let sequence = sqlx::query_scalar!(
        "
        update cards
        set event_seq = event_seq + 1, rules_version = rules_version + 1
        where account_id = $1 and id = $2
        returning event_seq
        ",
        account as AccountId,
        card as CardId,
    )
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}

/// Makes known that the rules of a locked card have changed, which is told otherwise.
pub(super) async fn touch_rules(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<()> {
    sqlx::query!(
        "update cards set rules_version = rules_version + 1 where account_id = $1 and id = $2",
        account as AccountId,
        card as CardId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes known that the rules of all locked cards of a customer in a currency have changed.
pub(super) async fn touch_cards_of(
    connection: &mut PgConnection,
    account: AccountId,
    customer: CustomerId,
    currency: Currency,
) -> Result<()> {
    sqlx::query!(
        "update cards set rules_version = rules_version + 1 where account_id = $1 and customer_id = $2 and currency = $3",
        account as AccountId,
        customer as CustomerId,
        currency.code(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The database's clock.
pub(super) async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "at!""#).fetch_one(connection).await?)
}

pub(super) async fn created_at(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<DateTime<Utc>> {
    let created_at =
        sqlx::query_scalar!("select created_at from cards where account_id = $1 and id = $2", account as AccountId, card as CardId);
    Ok(created_at.fetch_one(connection).await?)
}

/// Values as the database has them.
fn texts<T>(values: &[T], as_str: fn(&T) -> &str) -> Vec<String> {
    values.iter().map(|value| as_str(value).to_owned()).collect()
}

/// How many limits a card has, or a customer.
pub(super) async fn count_limits(connection: &mut PgConnection, account: AccountId, scope: LimitScope) -> Result<usize> {
    let rows = match scope {
        LimitScope::Card(card) => limits_by_card(connection, account, card).await?,
        LimitScope::Customer(customer) => limits_by_customer(connection, account, customer, None).await?,
    };
    Ok(rows.len())
}

pub(super) async fn insert_limit(connection: &mut PgConnection, account: AccountId, limit: &Limit, at: DateTime<Utc>) -> Result<()> {
    let (card, customer) = match limit.scope {
        LimitScope::Card(card) => (Some(card), None),
        LimitScope::Customer(customer) => (None, Some(customer)),
    };
    sqlx::query!(
        r#"
        insert into limits (
            account_id, id, card_id, customer_id, currency, name, "interval", time_zone, week_start, amount, count, categories,
            countries, merchants, restore_on_refund, status, counted_from, created_at, updated_at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)
        "#,
        account as AccountId,
        limit.id as LimitId,
        card as Option<CardId>,
        customer as Option<CustomerId>,
        limit.currency.code(),
        limit.name.as_ref().map(Name::as_str),
        limit.calendar.interval.name(),
        limit.calendar.time_zone.name(),
        limit.calendar.week_start.name(),
        limit.amount.map(Money::minor),
        limit.count.map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
        &texts(&limit.filter.categories, |value| value.as_str()),
        &texts(&limit.filter.countries, |value| value.as_str()),
        &texts(&limit.filter.merchants, MerchantId::as_str),
        limit.restore_on_refund,
        limit.status.name(),
        limit.counted_from,
        at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds to what was spent in windows. They come in the order of their rows.
pub(super) async fn add_usage(connection: &mut PgConnection, account: AccountId, usage: &[(LimitId, DateTime<Utc>, Used)]) -> Result<()> {
    let limits: Vec<Uuid> = usage.iter().map(|(limit, ..)| (*limit).into()).collect();
    let starts: Vec<DateTime<Utc>> = usage.iter().map(|(_, start, _)| *start).collect();
    let amounts: Vec<i64> = usage.iter().map(|(.., used)| used.amount.minor()).collect();
    let counts: Vec<i64> = usage.iter().map(|(.., used)| used.count).collect();
    sqlx::query!(
        "
        insert into limit_usage (account_id, limit_id, window_start, amount, count)
        select accounts.account_id, usage.limit_id, usage.window_start, usage.amount, usage.count
        from accounts
        cross join unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::bigint[])
            as usage (limit_id, window_start, amount, count)
        where accounts.account_id = $1
        order by usage.limit_id, usage.window_start
        on conflict (account_id, limit_id, window_start) do update
        set amount = limit_usage.amount + excluded.amount, count = limit_usage.count + excluded.count
        ",
        account as AccountId,
        &limits,
        &starts,
        &amounts,
        &counts,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Limits with what was spent in their windows of a moment.
async fn used(connection: &mut PgConnection, account: AccountId, limits: Vec<Limit>, at: DateTime<Utc>) -> Result<Vec<LimitUse>> {
    let windows: Vec<Option<Window>> = limits.iter().map(|limit| limit.calendar.window(at)).collect();
    let counted = || limits.iter().zip(&windows).filter_map(|(limit, window)| Some((limit.id, window.as_ref()?.start)));
    let (ids, starts): (Vec<Uuid>, Vec<DateTime<Utc>>) = counted().map(|(id, start)| (Uuid::from(id), start)).unzip();
    let found = used_in(connection, account, &ids, &starts).await?;
    let used = |limit: &Limit| found.get(&limit.id).copied().unwrap_or_default();
    Ok(limits.into_iter().zip(windows).map(|(limit, window)| LimitUse { used: used(&limit), limit, window }).collect())
}

/// What was spent of limits in the windows that begin at these moments, one of each.
async fn used_in(
    connection: &mut PgConnection,
    account: AccountId,
    limits: &[Uuid],
    starts: &[DateTime<Utc>],
) -> Result<HashMap<LimitId, Used>> {
    let rows = sqlx::query!(
        r#"
        select usage.limit_id as "limit_id: LimitId", usage.amount as "amount: Money", usage.count
        from unnest($2::uuid[], $3::timestamptz[]) as shown (limit_id, window_start)
        join limit_usage usage on usage.account_id = $1
            and usage.limit_id = shown.limit_id
            and usage.window_start = shown.window_start
        "#,
        account as AccountId,
        limits,
        starts,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.limit_id, Used { amount: row.amount, count: row.count.into() })).collect())
}

/// One limit, with what was spent in its window of this moment.
pub(super) async fn find_limit(connection: &mut PgConnection, account: AccountId, id: LimitId) -> Result<Option<StoredLimit>> {
    match limit_by_id(connection, account, id).await? {
        Some(row) => Ok(with_use(connection, account, vec![row]).await?.pop()),
        None => Ok(None),
    }
}

async fn with_use(connection: &mut PgConnection, account: AccountId, rows: Vec<LimitRow>) -> Result<Vec<StoredLimit>> {
    let at = now(connection).await?;
    let times: Vec<_> = rows.iter().map(|row| (row.created_at, row.updated_at)).collect();
    let limits = rows.into_iter().map(LimitRow::limit).collect::<std::result::Result<_, _>>()?;
    let used = used(connection, account, limits, at).await?.into_iter().zip(times);
    Ok(used.map(|(of, (created_at, updated_at))| StoredLimit { of, created_at, updated_at }).collect())
}

/// The customer of a card, if the card exists, and the card's currency.
async fn customer_of(
    connection: &mut ReadConnection<'_>,
    account: AccountId,
    card: CardId,
) -> Result<Option<(Option<CustomerId>, String)>> {
    let row = sqlx::query!(
        r#"select customer_id as "customer_id: CustomerId", currency from cards where account_id = $1 and id = $2"#,
        account as AccountId,
        card as CardId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(row.map(|row| (row.customer_id, row.currency)))
}

/// The limits of a card, if it exists, and those of its customer in its currency.
pub(super) async fn limits_of_card(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    card: CardId,
) -> Result<Option<Vec<StoredLimit>>> {
    let Some((customer, currency)) = customer_of(&mut connection, account, card).await? else { return Ok(None) };
    let connection = connection.executor();
    let mut rows = limits_by_card(connection, account, card).await?;
    if let Some(customer) = customer {
        rows.extend(limits_by_customer(connection, account, customer, Some(&currency)).await?);
    }
    with_use(connection, account, rows).await.map(Some)
}

/// The limits of a customer, if it exists.
pub(super) async fn limits_of_customer(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    customer: CustomerId,
) -> Result<Option<Vec<StoredLimit>>> {
    let connection = connection.executor();
    let found = sqlx::query!("select from customers where account_id = $1 and id = $2", account as AccountId, customer as CustomerId)
        .fetch_optional(&mut *connection)
        .await?;
    if found.is_none() {
        return Ok(None);
    }
    let rows = limits_by_customer(connection, account, customer, None).await?;
    with_use(connection, account, rows).await.map(Some)
}

pub(super) async fn change_limit(connection: &mut PgConnection, account: AccountId, limit: &Limit, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "
        update limits
        set name = $3, amount = $4, count = $5, status = $6, updated_at = $7
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        limit.id as LimitId,
        limit.name.as_ref().map(Name::as_str),
        limit.amount.map(Money::minor),
        limit.count.map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
        LimitStatus::name(limit.status),
        at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn delete_usage(connection: &mut PgConnection, account: AccountId, limit: LimitId) -> Result<()> {
    sqlx::query!("delete from limit_usage where account_id = $1 and limit_id = $2", account as AccountId, limit as LimitId)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn delete_limit(connection: &mut PgConnection, account: AccountId, limit: LimitId) -> Result<()> {
    sqlx::query!("delete from limits where account_id = $1 and id = $2", account as AccountId, limit as LimitId)
        .execute(connection)
        .await?;
    Ok(())
}
