//! What a card may be used for, and for how much: its controls, and the limits of the card and of its customer. Pure: no
//! clock, no database.

pub mod controls;
pub mod limit;
pub mod usage;
pub mod window;

use self::{controls::Controls, limit::LimitUse};
use crate::domain::merchant::{EntryMode, Merchant};

/// What the controls and the filters of limits look at.
#[derive(Clone, Copy, Debug)]
pub struct Payment<'a> {
    /// The merchant.
    pub merchant: &'a Merchant,
    /// How the card was read.
    pub entry_mode: EntryMode,
    /// Whether the card was at the merchant.
    pub card_present: Option<bool>,
}

/// The controls and limits that a payment is decided on.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The card's controls.
    pub controls: &'a Controls,
    /// How many payments the card has made.
    pub payments: u32,
    /// The limits of the card and of its customer, each with what was spent in the window that the payment falls in.
    pub limits: &'a [LimitUse],
    /// The payment.
    pub payment: Payment<'a>,
}

impl Rules<'_> {
    /// The limits that count the payment and refuse what exceeds them, in the order in which they are checked.
    #[must_use]
    pub fn limits_in_order(&self) -> Vec<&LimitUse> {
        let counts = |of: &&LimitUse| of.limit.status == limit::LimitStatus::Active && of.limit.filter.counts(self.payment.merchant);
        let mut limits: Vec<&LimitUse> = self.limits.iter().filter(counts).collect();
        limits.sort_by_key(|of| of.limit.precedence());
        limits
    }
}
