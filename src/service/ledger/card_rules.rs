//! The controls and limits of a card that is written to, and what is spent of them. Pure: no clock, no database.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::authorization::Authorization;
use crate::domain::{
    authorization::Standing,
    id::{AuthorizationId, LimitId},
    merchant::{Merchant, MerchantId},
    money::Money,
    spending::{
        Payment, Rules,
        controls::{self, Controls, MerchantLock},
        limit::{Limit, LimitUse, Used},
        usage::{Excess, Spending, Usage},
    },
};
use crate::service::{error::Error, spending::StoredRules};

/// A window of a limit, by its start.
pub(super) type WindowKey = (LimitId, DateTime<Utc>);

/// What was spent of a purchase or of a capture without an authorisation.
#[derive(Clone, Copy)]
pub(super) struct Spent {
    pub(super) created_at: DateTime<Utc>,
    pub(super) amount: Money,
    pub(super) reversed: Money,
    pub(super) refunded: Money,
}

impl Spent {
    /// Of a movement that is new.
    pub(super) const fn new(created_at: DateTime<Utc>, amount: Money) -> Self {
        Self { created_at, amount, reversed: Money::ZERO, refunded: Money::ZERO }
    }

    /// What is left of it: at least 0.
    pub(super) fn left(self) -> Money {
        self.amount.less(self.reversed).less(self.refunded).max(Money::ZERO)
    }

    fn spending(self, restore_on_refund: bool) -> Spending {
        Spending::of_movement(self.created_at, self.amount, self.reversed, self.refunded, restore_on_refund)
    }
}

/// What changes of a card's controls when it pays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ControlsUse {
    /// How many payments it made.
    pub(super) payments: u32,
    /// The merchant that it is locked to from now on.
    pub(super) locks_to: Option<MerchantId>,
}

/// The controls and limits that apply to a card, and what a transaction spends of them.
#[derive(Clone, Debug, Default)]
pub(super) struct CardRules {
    controls: Controls,
    payments: u32,
    limits: Vec<Limit>,
    /// Whether other cards may spend of some of the limits.
    pub(super) share_limits: bool,
    /// What was spent in windows before this transaction, as far as it was read.
    used: HashMap<WindowKey, Used>,
    /// Those captures beyond the hold that authorisations had before.
    excess: HashMap<AuthorizationId, Vec<Excess>>,
    /// What this transaction changes of it so far, with all cards that share a limit with this one.
    pub(super) so_far: Usage,
    /// What it changes of it with this card.
    pub(super) usage: Usage,
    pub(super) controls_use: ControlsUse,
}

impl From<&StoredRules> for CardRules {
    fn from(stored: &StoredRules) -> Self {
        Self {
            controls: stored.controls.clone(),
            payments: stored.payments,
            limits: stored.limits.clone(),
            share_limits: stored.shares_limits,
            ..Self::default()
        }
    }
}

impl CardRules {
    /// The windows that are looked at to decide a payment of this moment, and those that this transaction changes so far.
    pub(super) fn windows(&self, at: DateTime<Utc>) -> BTreeSet<WindowKey> {
        let counted = self.limits.iter().filter(|limit| limit.counts_at(at));
        let looked_at = counted.filter_map(|limit| Some((limit.id, limit.calendar.window(at)?.start)));
        looked_at.chain(self.usage.iter().map(|(limit, start, _)| (limit, start))).collect()
    }

    /// The windows that a step of an authorisation may change, beside those of the moment of the step.
    pub(super) fn windows_of(&self, authorization: &Authorization) -> BTreeSet<WindowKey> {
        let starts = self.limits.iter().filter_map(|limit| {
            let start = limit.calendar.window(authorization.created_at)?.start;
            (start >= limit.counted_from).then_some((limit.id, start))
        });
        starts.collect()
    }

    /// Takes over what was spent in windows. What is not there is zero.
    pub(super) fn learn(&mut self, windows: &BTreeSet<WindowKey>, used: impl Fn(&WindowKey) -> Option<Used>) {
        self.used.extend(windows.iter().map(|key| (*key, used(key).unwrap_or_default())));
    }

    /// Whether the excess of an authorisation has to be known before it changes.
    pub(super) fn needs_excess(&self, authorization: &Authorization) -> bool {
        !self.limits.is_empty() && authorization.excess > Money::ZERO && !self.excess.contains_key(&authorization.id)
    }

    /// Takes over the captures of an authorisation beyond its hold, in their order.
    pub(super) fn learn_excess(&mut self, authorization: AuthorizationId, excess: Vec<Excess>) {
        self.excess.insert(authorization, excess);
    }

    /// Whether payments leave the controls as they are, so that several can be decided together. Otherwise each is a transaction
    /// of its own.
    pub(super) const fn leave_controls(&self) -> bool {
        self.controls.max_payments.is_none() && !matches!(self.controls.merchant_lock, Some(MerchantLock::First))
    }

    /// The limits that count this moment, with what was spent in their windows of it. None if that was not read.
    fn uses(&self, at: DateTime<Utc>) -> Option<Vec<LimitUse>> {
        let of = |limit: &Limit| {
            let window = limit.calendar.window(at);
            let used = match window {
                Some(window) => self.used.get(&(limit.id, window.start))?.plus(self.so_far.of(limit.id, window.start)),
                None => Used::default(),
            };
            Some(LimitUse { limit: limit.clone(), window, used })
        };
        self.limits.iter().filter(|limit| limit.counts_at(at)).map(of).collect()
    }

    /// Decides a payment of this moment.
    ///
    /// # Errors
    /// What was spent in one of the windows is not known.
    pub(super) fn decide<T>(
        &self,
        at: DateTime<Utc>,
        payment: Payment<'_>,
        decide: impl FnOnce(&Rules<'_>) -> T,
    ) -> Result<T, UsageNotRead> {
        let limits = self.uses(at).ok_or(UsageNotRead)?;
        let payments = self.payments + self.controls_use.payments;
        let locked = self
            .controls_use
            .locks_to
            .clone()
            .map(|merchant| Controls { merchant_lock: Some(MerchantLock::To(merchant)), ..self.controls.clone() });
        Ok(decide(&Rules { controls: locked.as_ref().unwrap_or(&self.controls), payments, limits: &limits, payment }))
    }

    /// Follows an authorisation from what it was, if it is not new, to what it is.
    pub(super) fn follow(&mut self, authorization: &Authorization, before: Option<&Standing>, after: &Standing, at: DateTime<Utc>) {
        let merchant = authorization.merchant();
        let known = self.excess.get(&authorization.id).cloned().unwrap_or_default();
        let mut now = known.clone();
        let added = after.excess.less(before.map_or(Money::ZERO, |before| before.excess));
        if added > Money::ZERO {
            now.push(Excess { at, amount: added });
            self.excess.insert(authorization.id, now.clone());
        }
        for limit in self.limits.iter().filter(|limit| limit.filter.counts(&merchant)) {
            let spending = |standing: &Standing, excess: &[Excess]| {
                Spending::of_authorization(authorization.created_at, standing, excess, limit.restore_on_refund)
            };
            let before = before.map(|before| spending(before, &known)).unwrap_or_default();
            let after = spending(after, &now);
            self.usage.add(limit, &before, &after);
            self.so_far.add(limit, &before, &after);
        }
        if controls::is_payment(after) && !before.is_some_and(controls::is_payment) {
            self.controls_use.payments += 1;
        }
        if before.is_none() && after.authorized > Money::ZERO {
            self.lock_to(&merchant);
        }
    }

    /// Follows a purchase or a capture without an authorisation from what it was, if it is not new, to what it is.
    pub(super) fn follow_movement(&mut self, merchant: &Merchant, before: Option<Spent>, after: Spent) {
        for limit in self.limits.iter().filter(|limit| limit.filter.counts(merchant)) {
            let before = before.map(|before| before.spending(limit.restore_on_refund)).unwrap_or_default();
            let after = after.spending(limit.restore_on_refund);
            self.usage.add(limit, &before, &after);
            self.so_far.add(limit, &before, &after);
        }
        if before.is_none() {
            self.controls_use.payments += 1;
        }
    }

    /// Locks the card to the merchant that it pays first.
    pub(super) fn lock_to(&mut self, merchant: &Merchant) {
        if self.controls.merchant_lock == Some(MerchantLock::First) && self.controls_use.locks_to.is_none() {
            self.controls_use.locks_to.clone_from(&merchant.id);
        }
    }

    /// Whether the controls that are stored change.
    pub(super) fn controls_change(&self) -> bool {
        self.controls_use.locks_to.is_some() || self.controls.max_payments.is_some() && self.controls_use.payments > 0
    }

    /// Whether this transaction makes the last payment that the card may make.
    pub(super) fn is_used_up(&self) -> bool {
        let after = self.payments + self.controls_use.payments;
        self.controls_use.payments > 0 && self.controls.max_payments.is_some_and(|max| after >= max)
    }
}

/// What was spent in a window that a decision looks at was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsageNotRead;

impl From<UsageNotRead> for Error {
    fn from(_: UsageNotRead) -> Self {
        Self::internal("deciding a payment", "what was spent of a limit was not read")
    }
}
