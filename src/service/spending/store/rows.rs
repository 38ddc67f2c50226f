//! The SQL that reads controls and limits.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::{
    currency::Currency,
    id::{AccountId, CardId, CustomerId, LimitId},
    merchant::{MerchantCategory, MerchantCountry, MerchantId},
    money::Money,
    spending::{
        controls::{CardPresence, Controls, MerchantLock},
        limit::{Limit, LimitFilter, LimitScope, LimitStatus},
        window::{Calendar, Interval, WeekStart},
    },
    word::{UnknownWord, Word},
};
use crate::service::{batch::only_account, error::Result};

/// The controls and limits that apply to a card.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct StoredRules {
    /// The card's controls.
    pub(in crate::service) controls: Controls,
    /// How many payments the card has made.
    pub(in crate::service) payments: u32,
    /// The limits of the card, and those of its customer in its currency.
    pub(in crate::service) limits: Vec<Limit>,
    /// Whether other cards may spend of some of them: those of the customer, or those that the card replaces or that replace it.
    pub(in crate::service) shares_limits: bool,
}

/// A card whose rules are wanted.
pub(in crate::service) type RuledCard = (AccountId, CardId, Option<CustomerId>, Currency);

/// The controls and limits that apply to some cards.
///
/// # Errors
/// A word in them is of a later version.
pub(in crate::service) async fn rules_of(
    connection: &mut PgConnection,
    cards: &[RuledCard],
) -> Result<HashMap<(AccountId, CardId), StoredRules>> {
    let mut rules: HashMap<_, _> = cards.iter().map(|(account, card, ..)| ((*account, *card), StoredRules::default())).collect();
    let accounts: Vec<Uuid> = cards.iter().map(|card| card.0.into()).collect();
    let ids: Vec<Uuid> = cards.iter().map(|card| card.1.into()).collect();
    let customers: Vec<Option<Uuid>> = cards.iter().map(|card| card.2.map(Uuid::from)).collect();
    let currencies: Vec<&str> = cards.iter().map(|card| card.3.code()).collect();
    for row in controls_of(connection, &accounts, &ids).await? {
        if let Some(rules) = rules.get_mut(&(row.account_id, row.card_id)) {
            rules.payments = u32::try_from(row.payments).unwrap_or(u32::MAX);
            rules.controls = row.controls()?;
        }
    }
    for row in limits_of(connection, &accounts, &ids, &customers, &currencies).await? {
        if let Some(rules) = row.of_card.and_then(|card| rules.get_mut(&(row.account_id, card))) {
            rules.shares_limits |= row.is_shared;
            rules.limits.push(row.limit()?);
        }
    }
    Ok(rules)
}

/// A row of a card's controls.
pub(super) struct ControlsRow {
    account_id: AccountId,
    card_id: CardId,
    allowed_categories: Vec<MerchantCategory>,
    blocked_categories: Vec<MerchantCategory>,
    allowed_countries: Vec<MerchantCountry>,
    blocked_countries: Vec<MerchantCountry>,
    allowed_merchants: Vec<MerchantId>,
    blocked_merchants: Vec<MerchantId>,
    merchant_lock: Option<String>,
    locked_merchant: Option<MerchantId>,
    card_present: Word<CardPresence>,
    max_payments: Option<i32>,
    pub(super) payments: i32,
    pub(super) version: i64,
    pub(super) updated_at: DateTime<Utc>,
}

impl ControlsRow {
    pub(super) fn controls(self) -> std::result::Result<Controls, UnknownWord> {
        let merchant_lock = match (self.merchant_lock.as_deref(), self.locked_merchant) {
            (None, _) => None,
            (Some("first"), None) => Some(MerchantLock::First),
            (Some("merchant"), Some(merchant)) => Some(MerchantLock::To(merchant)),
            (Some(_), _) => return Err(UnknownWord),
        };
        Ok(Controls {
            allowed_categories: self.allowed_categories,
            blocked_categories: self.blocked_categories,
            allowed_countries: self.allowed_countries,
            blocked_countries: self.blocked_countries,
            allowed_merchants: self.allowed_merchants,
            blocked_merchants: self.blocked_merchants,
            merchant_lock,
            card_present: self.card_present.known()?,
            max_payments: self.max_payments.and_then(|max| u32::try_from(max).ok()),
        })
    }
}

pub(super) async fn controls_of(connection: &mut PgConnection, accounts: &[Uuid], cards: &[Uuid]) -> Result<Vec<ControlsRow>> {
    let rows = sqlx::query_as!(
        ControlsRow,
        r#"
        select
            controls.account_id as "account_id: AccountId",
            controls.card_id as "card_id: CardId",
            controls.allowed_categories as "allowed_categories: Vec<MerchantCategory>",
            controls.blocked_categories as "blocked_categories: Vec<MerchantCategory>",
            controls.allowed_countries as "allowed_countries: Vec<MerchantCountry>",
            controls.blocked_countries as "blocked_countries: Vec<MerchantCountry>",
            controls.allowed_merchants as "allowed_merchants: Vec<MerchantId>",
            controls.blocked_merchants as "blocked_merchants: Vec<MerchantId>",
            controls.merchant_lock,
            controls.locked_merchant as "locked_merchant: MerchantId",
            controls.card_present as "card_present: Word<CardPresence>",
            controls.max_payments,
            controls.payments,
            controls.version,
            controls.updated_at
        from unnest($1::uuid[], $2::uuid[]) as asked (account_id, card_id)
        join card_controls controls on controls.account_id = asked.account_id and controls.card_id = asked.card_id
        where $3::uuid is null or controls.account_id = $3
        "#,
        accounts,
        cards,
        only_account(accounts),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// A row of a limit.
pub(super) struct LimitRow {
    account_id: AccountId,
    /// The card that it was looked up for.
    of_card: Option<CardId>,
    /// Whether another card may spend of it, too, as far as it was looked up.
    is_shared: bool,
    id: LimitId,
    card_id: Option<CardId>,
    customer_id: Option<CustomerId>,
    currency: Word<Currency>,
    name: Option<String>,
    interval: Word<Interval>,
    time_zone: String,
    week_start: Word<WeekStart>,
    amount: Option<Money>,
    count: Option<i32>,
    categories: Vec<MerchantCategory>,
    countries: Vec<MerchantCountry>,
    merchants: Vec<MerchantId>,
    restore_on_refund: bool,
    status: Word<LimitStatus>,
    counted_from: DateTime<Utc>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl LimitRow {
    pub(super) fn limit(self) -> std::result::Result<Limit, UnknownWord> {
        let scope = match (self.card_id, self.customer_id) {
            (Some(card), None) => LimitScope::Card(card),
            (None, Some(customer)) => LimitScope::Customer(customer),
            _ => return Err(UnknownWord),
        };
        Ok(Limit {
            id: self.id,
            scope,
            currency: self.currency.known()?,
            name: self.name.map(|name| name.parse()).transpose().map_err(|_| UnknownWord)?,
            calendar: Calendar {
                interval: self.interval.known()?,
                time_zone: self.time_zone.parse().map_err(|_| UnknownWord)?,
                week_start: self.week_start.known()?,
            },
            amount: self.amount,
            count: self.count.and_then(|count| u32::try_from(count).ok()),
            filter: LimitFilter { categories: self.categories, countries: self.countries, merchants: self.merchants },
            restore_on_refund: self.restore_on_refund,
            status: self.status.known()?,
            counted_from: self.counted_from,
        })
    }
}

/// Selects limits from `limits`, which `$from` joins with others.
macro_rules! select_limits {
    ($of_card:literal, $is_shared:literal, $from:literal, $($parameter:expr),*) => {
        sqlx::query_as!(
            LimitRow,
            "select limits.account_id as \"account_id!: AccountId\", " + $of_card + " as \"of_card?: CardId\", "
            + $is_shared + " as \"is_shared!\", "
            + r#"
                limits.id as "id!: LimitId",
                limits.card_id as "card_id?: CardId",
                limits.customer_id as "customer_id?: CustomerId",
                limits.currency as "currency!: Word<Currency>",
                limits.name as "name?",
                limits."interval" as "interval!: Word<Interval>",
                limits.time_zone as "time_zone!",
                limits.week_start as "week_start!: Word<WeekStart>",
                limits.amount as "amount?: Money",
                limits.count as "count?",
                limits.categories as "categories!: Vec<MerchantCategory>",
                limits.countries as "countries!: Vec<MerchantCountry>",
                limits.merchants as "merchants!: Vec<MerchantId>",
                limits.restore_on_refund as "restore_on_refund!",
                limits.status as "status!: Word<LimitStatus>",
                limits.counted_from as "counted_from!",
                limits.created_at as "created_at!",
                limits.updated_at as "updated_at!"
            "# + $from,
            $($parameter),*
        )
    };
}

/// The limits that apply to some cards: of each, its own, and those of its customer in its currency.
async fn limits_of(
    connection: &mut PgConnection,
    accounts: &[Uuid],
    cards: &[Uuid],
    customers: &[Option<Uuid>],
    currencies: &[&str],
) -> Result<Vec<LimitRow>> {
    let rows = select_limits!(
        "limits.of_card",
        "limits.is_shared",
        "
        from (
            select asked.card_id as of_card, cards.newest_id is not null as is_shared, limits.*
            from unnest($1::uuid[], $2::uuid[]) as asked (account_id, card_id)
            join cards on cards.account_id = asked.account_id and cards.id = asked.card_id
            join limits on limits.account_id = asked.account_id and limits.card_id = coalesce(cards.newest_id, cards.id)
            where ($5::uuid is null or cards.account_id = $5) and ($5::uuid is null or limits.account_id = $5)
            union all
            select asked.card_id, true, limits.*
            from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[]) as asked (account_id, card_id, customer_id, currency)
            join limits on limits.account_id = asked.account_id
                and limits.customer_id = asked.customer_id
                and limits.currency = asked.currency
            where $5::uuid is null or limits.account_id = $5
        ) limits
        ",
        accounts,
        cards,
        customers as &[Option<Uuid>],
        currencies as &[&str],
        only_account(accounts)
    );
    Ok(rows.fetch_all(connection).await?)
}

/// One limit.
pub(super) async fn limit_by_id(connection: &mut PgConnection, account: AccountId, id: LimitId) -> Result<Option<LimitRow>> {
    let row = select_limits!(
        "null::uuid",
        "false",
        "from limits where limits.account_id = $1 and limits.id = $2",
        account as AccountId,
        id as LimitId
    );
    Ok(row.fetch_optional(connection).await?)
}

/// The limits of a card, oldest first. One that was replaced has those of the newest.
pub(super) async fn limits_by_card(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Vec<LimitRow>> {
    let rows = select_limits!(
        "null::uuid",
        "false",
        "
        from limits
        where limits.account_id = $1
            and limits.card_id = (select coalesce(newest_id, id) from cards where account_id = $1 and id = $2)
        order by limits.id
        ",
        account as AccountId,
        card as CardId
    );
    Ok(rows.fetch_all(connection).await?)
}

/// The limits of a customer, in one currency or in all, oldest first.
pub(super) async fn limits_by_customer(
    connection: &mut PgConnection,
    account: AccountId,
    customer: CustomerId,
    currency: Option<&str>,
) -> Result<Vec<LimitRow>> {
    let rows = select_limits!(
        "null::uuid",
        "true",
        "
        from limits
        where limits.account_id = $1 and limits.customer_id = $2 and ($3::text is null or limits.currency = $3)
        order by limits.id
        ",
        account as AccountId,
        customer as CustomerId,
        currency
    );
    Ok(rows.fetch_all(connection).await?)
}
