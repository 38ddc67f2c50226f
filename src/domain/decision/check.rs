//! The checks of a payment, each with what it compared, and the declines that they lead to.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::decline::decline;
use crate::domain::{
    authorization::{AuthorizationKind, AuthorizationStatus},
    card::CardStatus,
    currency::{Currency, CurrencyCode},
    id::LimitId,
    merchant::{EntryMode, MerchantCategory, MerchantCountry, MerchantId},
    money::Money,
    posting::Position,
    spending::{
        Rules,
        controls::{CardPresence, MerchantLock},
        limit::{LimitScope, LimitUse},
        window::Interval,
    },
};

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// The payment may go on.
    Pass,
    /// The payment is to be declined.
    Fail,
}

impl CheckResult {
    const fn of(passes: bool) -> Self {
        if passes { Self::Pass } else { Self::Fail }
    }
}

/// One check, with what it compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "check", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Check {
    /// The card is active.
    CardStatus {
        /// The result.
        result: CheckResult,
        /// The card's status.
        value: CardStatus,
    },
    /// The authorisation to raise holds money.
    AuthorizationOpen {
        /// The result.
        result: CheckResult,
        /// The authorisation's status.
        value: AuthorizationStatus,
    },
    /// The amount is in the card's currency.
    Currency {
        /// The result.
        result: CheckResult,
        /// The currency of the amount.
        value: CurrencyCode,
        /// The card's currency.
        expected: Currency,
    },
    /// The amount suits the kind.
    Amount {
        /// The result.
        result: CheckResult,
        /// The amount.
        requested: Money,
    },
    /// The card may make another payment.
    PaymentCount {
        /// The result.
        result: CheckResult,
        /// How many it has made.
        value: u32,
        /// How many it may make.
        max: u32,
    },
    /// The merchant is the one that the card is locked to.
    MerchantLock {
        /// The result.
        result: CheckResult,
        /// The merchant's id.
        value: Option<MerchantId>,
        /// The one that the card is locked to. None: to the first one.
        expected: Option<MerchantId>,
    },
    /// The card may pay the merchant.
    Merchant {
        /// The result.
        result: CheckResult,
        /// The merchant's id.
        value: Option<MerchantId>,
        /// Which list it fails.
        #[serde(skip)]
        list: List,
    },
    /// The card may pay merchants of this category.
    MerchantCategory {
        /// The result.
        result: CheckResult,
        /// The category.
        value: Option<MerchantCategory>,
        /// Which list it fails.
        #[serde(skip)]
        list: List,
    },
    /// The card may pay merchants of this country.
    MerchantCountry {
        /// The result.
        result: CheckResult,
        /// The country.
        value: Option<MerchantCountry>,
        /// Which list it fails.
        #[serde(skip)]
        list: List,
    },
    /// The card may be used in this way.
    EntryMode {
        /// The result.
        result: CheckResult,
        /// How the card was read.
        value: EntryMode,
        /// Whether the card was at the merchant.
        card_present: Option<bool>,
        /// Whether it has to be.
        expected: CardPresence,
    },
    /// A limit leaves enough of its amount.
    Limit {
        /// The result.
        result: CheckResult,
        /// The limit.
        #[serde(flatten)]
        of: LimitOf,
        /// The most that may be spent.
        limit: Money,
        /// What was spent.
        used: Money,
        /// What is left.
        remaining: Money,
        /// The amount.
        requested: Money,
    },
    /// A limit leaves another payment.
    LimitCount {
        /// The result.
        result: CheckResult,
        /// The limit.
        #[serde(flatten)]
        of: LimitOf,
        /// The most payments.
        limit: u32,
        /// How many there were.
        used: i64,
        /// How many are left.
        remaining: i64,
    },
    /// The card has enough available.
    Funds {
        /// The result.
        result: CheckResult,
        /// The card's balance.
        balance: Money,
        /// What is held of it.
        held: Money,
        /// What is left.
        available: Money,
        /// The amount.
        requested: Money,
    },
    /// The sandbox was asked to decline.
    Forced {
        /// The result.
        result: CheckResult,
    },
}

/// Which list of a control a payment fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// It fails neither.
    Neither,
    /// It is on the list of what is blocked.
    Blocked,
    /// It is not on the list of what is allowed, or does not say.
    Allowed,
}

impl List {
    const fn result(self) -> CheckResult {
        CheckResult::of(matches!(self, Self::Neither))
    }
}

/// The limit of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitOf {
    /// Its id.
    pub limit_id: LimitId,
    /// How long its windows are.
    pub interval: Interval,
    /// The first moment of the window. None of a transaction, and of all time.
    #[serde(serialize_with = "moment")]
    pub window_start: Option<DateTime<Utc>>,
    /// The first moment after it.
    #[serde(serialize_with = "moment")]
    pub window_end: Option<DateTime<Utc>>,
    /// How a message calls it.
    #[serde(skip)]
    pub(super) called: String,
}

/// As everywhere in the API: in milliseconds of UTC.
#[expect(clippy::ref_option, reason = "serde asks for it")]
fn moment<S: Serializer>(moment: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true)).serialize(serializer)
}

impl LimitOf {
    fn new(of: &LimitUse) -> Self {
        let limit = &of.limit;
        let interval = limit.calendar.interval;
        let window = of.window.filter(|window| window.end.is_some());
        let called = match (limit.scope, &limit.name) {
            (LimitScope::Card(_), None) => "A limit".to_owned(),
            (LimitScope::Card(_), Some(name)) => format!("The limit \"{}\"", name.as_str()),
            (LimitScope::Customer(_), None) => "The customer's limit".to_owned(),
            (LimitScope::Customer(_), Some(name)) => format!("The customer's limit \"{}\"", name.as_str()),
        };
        Self {
            limit_id: limit.id,
            interval,
            window_start: window.map(|window| window.start),
            window_end: window.and_then(|window| window.end),
            called,
        }
    }
}

pub(super) fn card_status(card: &Position) -> Check {
    Check::CardStatus { result: CheckResult::of(card.status == CardStatus::Active), value: card.status }
}

pub(super) fn authorization_open(value: AuthorizationStatus) -> Check {
    Check::AuthorizationOpen { result: CheckResult::of(value == AuthorizationStatus::Pending), value }
}

pub(super) fn currency(card: &Position, value: CurrencyCode) -> Check {
    Check::Currency { result: CheckResult::of(value.is(card.currency)), value, expected: card.currency }
}

pub(super) fn amount(kind: AuthorizationKind, requested: Money) -> Check {
    let suits = (requested == Money::ZERO) == (kind == AuthorizationKind::Verification);
    Check::Amount { result: CheckResult::of(suits), requested }
}

pub(super) fn funds(card: &Position, requested: Money) -> Check {
    let available = card.available();
    // Nothing can be paid also from below zero.
    let result = CheckResult::of(requested == Money::ZERO || requested <= available);
    Check::Funds { result, balance: card.balance, held: card.held, available, requested }
}

/// The checks of the controls on a new payment. A verification is no payment.
pub(super) fn controls(rules: &Rules<'_>, requested: Money, checks: &mut Vec<Check>) {
    if let Some(max) = rules.controls.max_payments.filter(|_| requested > Money::ZERO) {
        checks.push(Check::PaymentCount { result: CheckResult::of(rules.payments < max), value: rules.payments, max });
    }
    merchant(rules, checks);
}

/// The checks of the controls on where and how the card is used.
pub(super) fn merchant(rules: &Rules<'_>, checks: &mut Vec<Check>) {
    let (controls, merchant) = (rules.controls, rules.payment.merchant);
    if let Some(lock) = &controls.merchant_lock {
        let value = merchant.id.clone();
        let (expected, passes) = match lock {
            MerchantLock::First => (None, value.is_some()),
            MerchantLock::To(locked) => (Some(locked.clone()), value.as_ref() == Some(locked)),
        };
        checks.push(Check::MerchantLock { result: CheckResult::of(passes), value, expected });
    }
    if let Some(list) = listed(&controls.blocked_merchants, &controls.allowed_merchants, merchant.id.as_ref()) {
        checks.push(Check::Merchant { result: list.result(), value: merchant.id.clone(), list });
    }
    if let Some(list) = listed(&controls.blocked_categories, &controls.allowed_categories, merchant.category.as_ref()) {
        checks.push(Check::MerchantCategory { result: list.result(), value: merchant.category.clone(), list });
    }
    if let Some(list) = listed(&controls.blocked_countries, &controls.allowed_countries, merchant.country.as_ref()) {
        checks.push(Check::MerchantCountry { result: list.result(), value: merchant.country.clone(), list });
    }
    let (expected, card_present) = (controls.card_present, rules.payment.card_present);
    let passes = match expected {
        CardPresence::Any => return,
        CardPresence::Present => card_present == Some(true),
        CardPresence::NotPresent => card_present == Some(false),
    };
    checks.push(Check::EntryMode { result: CheckResult::of(passes), value: rules.payment.entry_mode, card_present, expected });
}

/// Which of the lists a value fails, if there is any list. A payment that does not say fails both.
fn listed<T: PartialEq>(blocked: &[T], allowed: &[T], value: Option<&T>) -> Option<List> {
    if blocked.is_empty() && allowed.is_empty() {
        return None;
    }
    Some(match value {
        Some(value) if blocked.contains(value) => List::Blocked,
        Some(value) if allowed.is_empty() || allowed.contains(value) => List::Neither,
        Some(_) | None => List::Allowed,
    })
}

/// The checks of the limits that count a new payment: on amounts, then on how many there are. A verification spends nothing.
pub(super) fn limits(rules: &Rules<'_>, requested: Money, checks: &mut Vec<Check>) {
    if requested == Money::ZERO {
        return;
    }
    limit_amounts(rules, requested, checks);
    for of in rules.limits_in_order() {
        if let (Some(limit), Some(remaining)) = (of.limit.count, of.remaining_count()) {
            let result = CheckResult::of(remaining > 0);
            checks.push(Check::LimitCount { result, of: LimitOf::new(of), limit, used: of.used.count, remaining });
        }
    }
}

/// The checks of the limits on amounts that count a payment.
pub(super) fn limit_amounts(rules: &Rules<'_>, requested: Money, checks: &mut Vec<Check>) {
    for of in rules.limits_in_order() {
        if let (Some(limit), Some(remaining)) = (of.limit.amount, of.remaining()) {
            let result = CheckResult::of(requested <= remaining);
            checks.push(Check::Limit { result, of: LimitOf::new(of), limit, used: of.used.amount, remaining, requested });
        }
    }
}

/// What may be approved of an amount, if nothing but the amount is in the way.
pub(super) fn part(checks: &[Check]) -> Option<Money> {
    let mut part = None;
    for check in checks {
        let left = match check {
            Check::Funds { available, .. } => *available,
            Check::Limit { remaining, .. } => *remaining,
            _ if decline(check).is_some() => return None,
            _ => continue,
        };
        part = Some(part.map_or(left, |part: Money| part.min(left)));
    }
    part.filter(|part| *part > Money::ZERO)
}
