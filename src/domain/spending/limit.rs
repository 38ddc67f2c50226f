//! Limits on what a card, or all cards of a customer, may spend in a window of time.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

use super::window::{Calendar, Interval, Window};
use crate::domain::{
    currency::Currency,
    error::Refusal,
    id::{CardId, CustomerId, LimitId},
    merchant::{Merchant, MerchantCategory, MerchantCountry, MerchantId},
    money::Money,
    text::Name,
};

/// The most limits of a card, and of a customer.
pub const MAX_LIMITS: usize = 20;

/// The highest `count` of a limit.
pub const MAX_COUNT: u32 = 1_000_000;

/// Whether a limit refuses. It counts in either status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum LimitStatus {
    /// It refuses what exceeds it.
    Active,
    /// It refuses nothing.
    Paused,
}

impl LimitStatus {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a limit counts the payments of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// One card.
    Card(CardId),
    /// All cards of a customer in the limit's currency.
    Customer(CustomerId),
}

/// Which payments a limit counts. An empty list counts all of them; a payment that lacks what a list names is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitFilter {
    /// Only with merchants of these categories.
    pub categories: Vec<MerchantCategory>,
    /// Only with merchants of these countries.
    pub countries: Vec<MerchantCountry>,
    /// Only with these merchants.
    pub merchants: Vec<MerchantId>,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its id.
    pub id: LimitId,
    /// Whose payments it counts.
    pub scope: LimitScope,
    /// Their currency.
    pub currency: Currency,
    /// Its name, for people.
    pub name: Option<Name>,
    /// When its windows begin and end.
    pub calendar: Calendar,
    /// The most that may be spent in a window. 0 allows nothing.
    pub amount: Option<Money>,
    /// The most payments in a window. 0 allows none.
    pub count: Option<u32>,
    /// Which payments it counts.
    pub filter: LimitFilter,
    /// Whether refunds of what was captured come back to the window that it was spent in.
    pub restore_on_refund: bool,
    /// Whether it refuses.
    pub status: LimitStatus,
    /// What was spent before this moment is not counted: the start of the window in which the limit was created.
    pub counted_from: DateTime<Utc>,
}

/// What was spent in a window of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// How much.
    pub amount: Money,
    /// In how many payments.
    pub count: i64,
}

/// A limit with what was spent in one of its windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// The limit.
    pub limit: Limit,
    /// The window. None of a limit on each transaction.
    pub window: Option<Window>,
    /// What was spent in it.
    pub used: Used,
}

impl LimitFilter {
    /// Whether it counts every payment.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.categories.is_empty() && self.countries.is_empty() && self.merchants.is_empty()
    }

    /// Whether it counts the payments of a merchant.
    #[must_use]
    pub fn counts(&self, merchant: &Merchant) -> bool {
        has(&self.categories, merchant.category.as_ref())
            && has(&self.countries, merchant.country.as_ref())
            && has(&self.merchants, merchant.id.as_ref())
    }
}

fn has<T: PartialEq>(list: &[T], value: Option<&T>) -> bool {
    list.is_empty() || value.is_some_and(|value| list.contains(value))
}

impl Limit {
    /// Whether it counts what is spent at a moment. It does not if the window had ended when the limit was created: such a
    /// moment is that of an approval which is raised later.
    #[must_use]
    pub fn counts_at(&self, at: DateTime<Utc>) -> bool {
        self.calendar.window(at).is_none_or(|window| window.start >= self.counted_from)
    }

    /// The order in which limits are checked: those of each transaction first, those of the card before those of its customer,
    /// short windows before long ones.
    #[must_use]
    pub fn precedence(&self) -> (bool, bool, Interval, LimitId) {
        let interval = self.calendar.interval;
        (interval != Interval::Transaction, matches!(self.scope, LimitScope::Customer(_)), interval, self.id)
    }
}

impl Limit {
    /// The limit as the audit log and the feed have it: without its name, which may be a person's.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (scope, card, customer) = match self.scope {
            LimitScope::Card(card) => ("card", Some(card), None),
            LimitScope::Customer(customer) => ("customer", None, Some(customer)),
        };
        json!({
            "limitId": self.id,
            "scope": scope,
            "cardId": card,
            "customerId": customer,
            "currency": self.currency.code(),
            "interval": self.calendar.interval,
            "timeZone": self.calendar.time_zone.name(),
            "weekStart": self.calendar.week_start,
            "amount": self.amount,
            "count": self.count,
            "categories": self.filter.categories,
            "countries": self.filter.countries,
            "merchants": self.filter.merchants,
            "restoreOnRefund": self.restore_on_refund,
            "status": self.status,
        })
    }
}

impl LimitUse {
    /// What may still be spent in the window. None if the limit is not on the amount.
    #[must_use]
    pub fn remaining(&self) -> Option<Money> {
        self.limit.amount.map(|amount| amount.less(self.used.amount).max(Money::ZERO))
    }

    /// How many more payments there may be in the window. None if the limit is not on their number.
    #[must_use]
    pub fn remaining_count(&self) -> Option<i64> {
        self.limit.count.map(|count| (i64::from(count) - self.used.count).max(0))
    }
}

/// Changes of a limit. A field that is None stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitPatch {
    /// Its name, or no name.
    pub name: Option<Option<Name>>,
    /// The most that may be spent in a window, or no longer.
    pub amount: Option<Option<Money>>,
    /// The most payments in a window, or no longer.
    pub count: Option<Option<u32>>,
    /// Whether it refuses.
    pub status: Option<LimitStatus>,
}

impl Limit {
    /// The limit after a change.
    ///
    /// # Errors
    /// [`Refusal::LimitOnNothing`]: it would limit neither the amount nor the number of payments.
    /// [`Refusal::CountOfTransaction`]: it would limit the number of payments, and each is counted by itself.
    pub fn patched(&self, patch: &LimitPatch) -> Result<Self, Refusal> {
        let (amount, count) = (patch.amount.unwrap_or(self.amount), patch.count.unwrap_or(self.count));
        if amount.is_none() && count.is_none() {
            return Err(Refusal::LimitOnNothing);
        }
        if count.is_some() && self.calendar.interval == Interval::Transaction {
            return Err(Refusal::CountOfTransaction);
        }
        let name = patch.name.clone().unwrap_or_else(|| self.name.clone());
        Ok(Self { name, amount, count, status: patch.status.unwrap_or(self.status), ..self.clone() })
    }
}

#[cfg(test)]
mod tests;
