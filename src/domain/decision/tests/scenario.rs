//! A payment on a card with rules, of which each test breaks what it is about.

use super::*;
use crate::domain::{
    id::CardId,
    merchant::{EntryMode, Merchant},
    spending::{
        Payment,
        controls::Controls,
        limit::{Limit, LimitFilter, LimitScope, LimitStatus, LimitUse, Used},
        window::{Calendar, Interval, TimeZone, WeekStart},
    },
};

/// A card with 4.00 available, no controls and no limits, that pays 2.50 to a merchant.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) card: Position,
    pub(super) asked: Asked,
    pub(super) controls: Controls,
    pub(super) payments: u32,
    pub(super) limits: Vec<LimitUse>,
    pub(super) merchant: Merchant,
    pub(super) entry_mode: EntryMode,
    pub(super) card_present: Option<bool>,
}

pub(super) const MERCHANT: &str = "5665270011000168";

impl Scenario {
    pub(super) fn new() -> Self {
        let merchant =
            Merchant { id: Some(parsed(MERCHANT)), category: Some(parsed("5734")), country: Some(parsed("CO")), ..Merchant::default() };
        Self {
            card: card(CardStatus::Active),
            asked: asks(250),
            controls: Controls::default(),
            payments: 0,
            limits: Vec::new(),
            merchant,
            entry_mode: EntryMode::Chip,
            card_present: Some(true),
        }
    }

    pub(super) fn with_controls(controls: Controls) -> Self {
        Self { controls, ..Self::new() }
    }

    pub(super) fn with_limits(limits: impl IntoIterator<Item = LimitUse>) -> Self {
        Self { limits: limits.into_iter().collect(), ..Self::new() }
    }

    pub(super) fn asking(self, minor: i64) -> Self {
        Self { asked: asks(minor), ..self }
    }

    fn rules(&self) -> Rules<'_> {
        let payment = Payment { merchant: &self.merchant, entry_mode: self.entry_mode, card_present: self.card_present };
        Rules { controls: &self.controls, payments: self.payments, limits: &self.limits, payment }
    }

    pub(super) fn decide(&self) -> Decision {
        decide(&self.card, &self.asked, Some(&self.rules()))
    }

    pub(super) fn decide_increment(&self) -> Decision {
        let by = Amount::new(self.asked.amount).expect("above zero");
        decide_increment(&self.card, AuthorizationStatus::Pending, by, Some(&self.rules()))
    }

    pub(super) fn decide_purchase(&self) -> Decision {
        decide_purchase(Amount::new(self.asked.amount).expect("above zero"), &self.rules())
    }

    /// The code of the decline.
    pub(super) fn declined(&self) -> Option<&'static str> {
        code_of(&self.decide())
    }
}

pub(super) fn code_of(decision: &Decision) -> Option<&'static str> {
    declined(decision).map(|(code, _)| code)
}

pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("well formed")
}

/// The last check but that of the funds.
pub(super) fn check_before_funds(decision: &Decision) -> String {
    let checks: Vec<&Check> = decision.checks.iter().filter(|check| !matches!(check, Check::Funds { .. })).collect();
    serde_json::to_string(checks.last().expect("a check")).expect("JSON")
}

/// The names of the checks.
pub(super) fn made(decision: &Decision) -> Vec<String> {
    let checks: Vec<serde_json::Value> = serde_json::from_str(&checks(decision)).expect("JSON");
    checks.into_iter().map(|check| check["check"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A limit of a card without an amount or a count, of which nothing was used. Ids ascend with `id`.
pub(super) fn limit(id: u128, interval: Interval) -> LimitUse {
    let calendar = Calendar { interval, time_zone: parsed::<TimeZone>("America/Bogota"), week_start: WeekStart::Monday };
    LimitUse {
        limit: Limit {
            id: limit_id(id),
            scope: LimitScope::Card(CardId::new()),
            currency: Currency::Usd,
            name: None,
            calendar,
            amount: None,
            count: None,
            filter: LimitFilter::default(),
            restore_on_refund: false,
            status: LimitStatus::Active,
            counted_from: "2026-01-01T00:00:00Z".parse().expect("a moment"),
        },
        window: calendar.window("2026-11-26T12:00:00Z".parse().expect("a moment")),
        used: Used::default(),
    }
}

pub(super) fn limit_id(id: u128) -> LimitId {
    uuid::Uuid::from_u128(id).into()
}

/// What makes a limit of another.
pub(super) trait Changed: Sized {
    fn to(self, change: impl FnOnce(&mut Limit)) -> Self;
    fn of_amount(self, minor: i64, used: i64) -> Self;
    fn of_count(self, count: u32, used: i64) -> Self;
}

impl Changed for LimitUse {
    fn to(mut self, change: impl FnOnce(&mut Limit)) -> Self {
        change(&mut self.limit);
        self
    }

    fn of_amount(mut self, minor: i64, used: i64) -> Self {
        (self.limit.amount, self.used.amount) = (Some(money(minor)), money(used));
        self
    }

    fn of_count(mut self, count: u32, used: i64) -> Self {
        (self.limit.count, self.used.count) = (Some(count), used);
        self
    }
}
