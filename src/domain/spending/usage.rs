//! What payments spend of limits.
//!
//! What a payment has spent is a function of what is stored of it, so that any order of its steps comes to the same, and so
//! that it can be computed anew. A step changes what was spent by the difference between after and before.

use std::collections::{BTreeMap, btree_map::Entry};

use chrono::{DateTime, Utc};

use super::limit::{Limit, Used};
use crate::domain::{authorization::Standing, id::LimitId, money::Money};

/// A capture of more than the hold, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// When it was posted.
    pub at: DateTime<Utc>,
    /// What no hold covered.
    pub amount: Money,
}

/// What a payment has spent, and when. A payment spends what its hold covers when it is authorised, and what it captures
/// beyond when that is posted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    parts: Vec<(DateTime<Utc>, Used)>,
}

impl Spending {
    /// What an authorisation has spent. `excess` has its captures beyond the hold, in the order in which they were posted.
    /// What is given back is first given back of what the hold covered, and then of the newest excess.
    #[must_use]
    pub fn of_authorization(created_at: DateTime<Utc>, standing: &Standing, excess: &[Excess], restore_on_refund: bool) -> Self {
        let covered = standing.held.minor() + standing.captured.minor() - standing.excess.minor();
        let refunded = if restore_on_refund { standing.refunded.minor() - standing.refund_reversed.minor() } else { 0 };
        let returned = standing.capture_reversed.minor() + refunded;
        let mut parts = vec![part(created_at, (covered - returned).max(0), i64::from(covered > 0))];
        let mut overflow = (returned - covered).max(0);
        for (index, Excess { at, amount }) in excess.iter().enumerate().rev() {
            let given_back = overflow.min(amount.minor());
            overflow -= given_back;
            // Nothing was left of the hold when this was captured, so that it is the payment that counts.
            let count = i64::from(index == 0 && covered == 0);
            parts.push(part(*at, amount.minor() - given_back, count));
        }
        Self { parts }
    }

    /// What a purchase or a capture without an authorisation has spent, less what was reversed and refunded of it.
    #[must_use]
    pub fn of_movement(created_at: DateTime<Utc>, amount: Money, reversed: Money, refunded: Money, restore_on_refund: bool) -> Self {
        let refunded = if restore_on_refund { refunded.minor() } else { 0 };
        let left = amount.minor() - reversed.minor() - refunded;
        Self { parts: vec![part(created_at, left.max(0), 1)] }
    }
}

fn part(at: DateTime<Utc>, minor: i64, count: i64) -> (DateTime<Utc>, Used) {
    (at, Used { amount: Money::from_minor(minor).unwrap_or_default(), count })
}

/// What changes of what was spent, by limit and by the start of the window. Rows are locked in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    differences: BTreeMap<(LimitId, DateTime<Utc>), Used>,
}

impl Usage {
    /// Adds what a payment that a limit counts has spent after a step, and takes off what it had spent before.
    pub fn add(&mut self, limit: &Limit, before: &Spending, after: &Spending) {
        for (at, used) in &after.parts {
            self.change(limit, *at, *used);
        }
        for (at, used) in &before.parts {
            self.change(limit, *at, Used { amount: used.amount.negated(), count: -used.count });
        }
    }

    fn change(&mut self, limit: &Limit, at: DateTime<Utc>, by: Used) {
        let Some(window) = limit.calendar.window(at).filter(|window| window.start >= limit.counted_from) else { return };
        match self.differences.entry((limit.id, window.start)) {
            Entry::Vacant(entry) => {
                if by != Used::default() {
                    entry.insert(by);
                }
            }
            Entry::Occupied(mut entry) => {
                let sum = entry.get().plus(by);
                if sum == Used::default() {
                    entry.remove();
                } else {
                    entry.insert(sum);
                }
            }
        }
    }

    /// What changes of a window.
    #[must_use]
    pub fn of(&self, limit: LimitId, window_start: DateTime<Utc>) -> Used {
        self.differences.get(&(limit, window_start)).copied().unwrap_or_default()
    }

    /// Everything that changes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (LimitId, DateTime<Utc>, Used)> + '_ {
        self.differences.iter().map(|((limit, window_start), used)| (*limit, *window_start, *used))
    }
}

impl Used {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { amount: self.amount.less(other.amount.negated()), count: self.count + other.count }
    }
}

#[cfg(test)]
mod tests;
