//! Limits as responses show them, with what is left of each.

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Timestamp;
use crate::domain::{
    card::CardStatus,
    currency::Currency,
    id::{CardId, CustomerId, LimitId},
    merchant::{MerchantCategory, MerchantCountry, MerchantId},
    money::Money,
    spending::{
        limit::{LimitScope, LimitStatus},
        window::{Interval, WeekStart},
    },
    word::Word,
};
use crate::service::{cards::Card, spending::StoredLimit};

/// A limit, with what is left of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Limit")]
pub(super) struct LimitBody {
    limit_id: LimitId,
    /// `card`, or `customer` for all cards of a customer in the limit's currency.
    #[schemars(extend("enum" = ["card", "customer"]))]
    scope: &'static str,
    /// The card; null of a customer's limit.
    card_id: Option<CardId>,
    /// The customer; null of a card's limit.
    customer_id: Option<CustomerId>,
    name: Option<String>,
    currency: Currency,
    interval: Interval,
    /// The time zone whose days the windows are made of (IANA).
    time_zone: &'static str,
    week_start: WeekStart,
    /// The most that may be spent in a window; null if the limit is not on the amount.
    amount: Option<Money>,
    /// The most payments in a window; null if the limit is not on their number.
    count: Option<u32>,
    /// It counts only payments of merchants of these categories; null: of all.
    categories: Option<Vec<MerchantCategory>>,
    /// It counts only payments of merchants of these countries; null: of all.
    countries: Option<Vec<MerchantCountry>>,
    /// It counts only payments of these merchants; null: of all.
    merchants: Option<Vec<MerchantId>>,
    /// Whether refunds of what was captured come back to the window that it was spent in.
    restore_on_refund: bool,
    status: LimitStatus,
    /// The first moment of the present window; null of a transaction and of a lifetime.
    window_start: Option<Timestamp>,
    /// The first moment after the present window.
    window_end: Option<Timestamp>,
    /// What was spent in the present window; null of a transaction. What nobody may refuse can exceed the limit.
    used: Option<Money>,
    /// In how many payments; null of a transaction.
    used_count: Option<i64>,
    /// What is left of the amount in the present window; null if the limit is not on the amount, and of a transaction.
    remaining: Option<Money>,
    /// How many payments are left in the present window; null if the limit is not on their number.
    remaining_count: Option<i64>,
    /// When the next window begins.
    resets_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl LimitBody {
    pub(super) fn of(stored: &StoredLimit) -> Self {
        let (of, limit) = (&stored.of, &stored.of.limit);
        let (scope, card_id, customer_id) = match limit.scope {
            LimitScope::Card(card) => ("card", Some(card), None),
            LimitScope::Customer(customer) => ("customer", None, Some(customer)),
        };
        // A lifetime has a window too, which nobody needs to be told of.
        let window = of.window.filter(|window| window.end.is_some());
        let end = window.and_then(|window| window.end);
        // Nothing is spent of a limit on each transaction.
        let used = of.window.map(|_| of.used);
        Self {
            limit_id: limit.id,
            scope,
            card_id,
            customer_id,
            name: limit.name.as_ref().map(|name| name.as_str().to_owned()),
            currency: limit.currency,
            interval: limit.calendar.interval,
            time_zone: limit.calendar.time_zone.name(),
            week_start: limit.calendar.week_start,
            amount: limit.amount,
            count: limit.count,
            categories: listed(&limit.filter.categories),
            countries: listed(&limit.filter.countries),
            merchants: listed(&limit.filter.merchants),
            restore_on_refund: limit.restore_on_refund,
            status: limit.status,
            window_start: window.map(|window| Timestamp(window.start)),
            window_end: end.map(Timestamp),
            used: used.map(|used| used.amount),
            used_count: used.map(|used| used.count),
            remaining: used.and_then(|_| of.remaining()),
            remaining_count: used.and_then(|_| of.remaining_count()),
            resets_at: end.map(Timestamp),
            created_at: Timestamp(stored.created_at),
            updated_at: Timestamp(stored.updated_at),
        }
    }
}

fn listed<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// The limits that apply to a card.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CardLimits")]
pub(super) struct CardLimitsBody {
    card_id: CardId,
    currency: Word<Currency>,
    /// The card's balance less what is held.
    available: Money,
    /// What the card can spend at once, wherever it is used: the least of what is available and of what every limit without a filter has left. 0 if the card is not active.
    spendable_now: Money,
    /// The card's own limits, and then those of its customer in its currency, oldest first.
    limits: Vec<LimitBody>,
}

impl CardLimitsBody {
    pub(super) fn of(card: &Card, limits: &[StoredLimit]) -> Self {
        let available = card.balance.less(card.held);
        Self {
            card_id: card.id,
            currency: card.currency.clone(),
            available,
            spendable_now: spendable(card, available, limits),
            limits: limits.iter().map(LimitBody::of).collect(),
        }
    }
}

fn spendable(card: &Card, available: Money, limits: &[StoredLimit]) -> Money {
    if card.status != Word::Known(CardStatus::Active) {
        return Money::ZERO;
    }
    let refusing = limits.iter().map(|stored| &stored.of).filter(|of| of.limit.status == LimitStatus::Active && of.limit.filter.is_empty());
    let left = refusing.fold(available, |left, of| {
        let left = of.remaining().map_or(left, |remaining| left.min(remaining));
        if of.remaining_count() == Some(0) { Money::ZERO } else { left }
    });
    left.max(Money::ZERO)
}

/// The limits of a customer.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CustomerLimits")]
pub(super) struct CustomerLimitsBody {
    customer_id: CustomerId,
    /// Oldest first.
    limits: Vec<LimitBody>,
}

impl CustomerLimitsBody {
    pub(super) fn of(customer_id: CustomerId, limits: &[StoredLimit]) -> Self {
        Self { customer_id, limits: limits.iter().map(LimitBody::of).collect() }
    }
}
