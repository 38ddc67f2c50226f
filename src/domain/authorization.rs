//! The arithmetic and the status machine of an authorisation. Pure: no clock, no database.
//!
//! A card's purchase is authorised first, which holds its money, and captured later, which posts it. Between the two it can
//! be raised, lowered and reversed, and it expires. What was authorised is always accounted for:
//!
//! `authorized = held + reversed + expired + released + captured - excess`
//!
//! Nobody may refuse a capture: the merchant has delivered. What a capture takes beyond the hold is its excess.

use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::domain::{
    error::Refusal,
    money::{Amount, Money},
};

/// The status of an authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AuthorizationStatus {
    /// It holds money.
    Pending,
    /// It holds nothing more, and money was captured.
    Captured,
    /// It holds nothing more, because it was reversed.
    Reversed,
    /// It holds nothing more, because it expired or was released.
    Expired,
    /// It was refused, and never held anything.
    Declined,
    /// It asked whether the card is valid, and it is.
    Verified,
}

/// What a merchant asks an authorisation for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::Type, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AuthorizationKind {
    /// To pay for a purchase.
    #[default]
    Purchase,
    /// To hold an estimate, such as of a hotel's bill.
    Preauthorization,
    /// To pay out cash.
    Cash,
    /// To know whether the card is valid. Its amount is 0.
    Verification,
}

/// How an authorisation was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DecidedBy {
    /// By the rules of this service.
    Rules,
    /// By the network in its place. It is recorded and cannot be refused.
    StandIn,
}

/// The kind of one step of an authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum EntryKind {
    /// The whole amount was authorised.
    Authorization,
    /// As much as was available was authorised.
    PartialAuthorization,
    /// Nothing was authorised.
    Declined,
    /// More was authorised.
    Increment,
    /// No more was authorised.
    IncrementDeclined,
    /// The hold was set to another amount.
    Adjustment,
    /// The merchant gave the hold, or a part of it, back.
    Reversal,
    /// Money was captured.
    Capture,
    /// Money was captured after the hold had ended.
    LateCapture,
    /// The hold ran out of time.
    Expiry,
    /// The issuer ended the hold.
    Release,
}

impl AuthorizationStatus {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl EntryKind {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The status of an authorisation and its sums. Each sum is at least 0, and all but `held` only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The status.
    pub status: AuthorizationStatus,
    /// What was authorised, at first and by increments.
    pub authorized: Money,
    /// What is held now.
    pub held: Money,
    /// What was captured.
    pub captured: Money,
    /// The part of `captured` that no hold covered.
    pub excess: Money,
    /// What the merchant gave back of the hold.
    pub reversed: Money,
    /// What ran out of time, or was ended by the issuer.
    pub expired: Money,
    /// What a final capture left of the hold.
    pub released: Money,
    /// What was given back of `captured`.
    pub capture_reversed: Money,
    /// What was refunded.
    pub refunded: Money,
    /// What was taken back of `refunded`.
    pub refund_reversed: Money,
}

/// A step that changes a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Authorise more. It was decided that the card can pay for it.
    Increment(Amount),
    /// Hold this much, whether the card can pay for it or not.
    Adjust(Money),
    /// Give back this much of the hold, or all of it.
    Reverse(Option<Amount>),
    /// Capture this much, or what is held.
    Capture {
        /// How much.
        amount: Option<Amount>,
        /// Whether nothing more is to be captured.
        is_final: bool,
    },
    /// The hold ran out of time.
    Expire,
    /// The issuer ends the hold.
    Release,
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The authorisation after it.
    pub standing: Standing,
    /// Its kind.
    pub kind: EntryKind,
    /// Its amount: what was authorised, given back, captured or ended. Of an adjustment, the change of the hold.
    pub amount: Money,
    /// What it posts to the card, if it captures.
    pub captures: Option<Amount>,
}

impl Standing {
    /// An authorisation that was declined.
    pub const DECLINED: Self = Self {
        status: AuthorizationStatus::Declined,
        authorized: Money::ZERO,
        held: Money::ZERO,
        captured: Money::ZERO,
        excess: Money::ZERO,
        reversed: Money::ZERO,
        expired: Money::ZERO,
        released: Money::ZERO,
        capture_reversed: Money::ZERO,
        refunded: Money::ZERO,
        refund_reversed: Money::ZERO,
    };

    /// An authorisation of this much. Of nothing, it is a verification.
    #[must_use]
    pub fn approved(amount: Money) -> Self {
        let status = if amount == Money::ZERO { AuthorizationStatus::Verified } else { AuthorizationStatus::Pending };
        Self { status, authorized: amount, held: amount, ..Self::DECLINED }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// The status does not permit it, or a sum would leave its bounds.
    pub fn take(self, step: Step) -> Result<Taken, Refusal> {
        use AuthorizationStatus::{Captured, Declined, Expired, Pending, Reversed, Verified};

        match (step, self.status) {
            (Step::Increment(by), Pending) => {
                let standing = Self { authorized: sum(self.authorized, by.money())?, held: sum(self.held, by.money())?, ..self };
                Ok(Taken { standing, kind: EntryKind::Increment, amount: by.money(), captures: None })
            }
            (Step::Adjust(to), Pending) => self.adjust(to),
            (Step::Reverse(asked), Pending) => {
                let amount = asked.map_or(self.held, |asked| asked.money().min(self.held));
                let standing = Self { held: less(self.held, amount), reversed: sum(self.reversed, amount)?, ..self };
                Ok(Taken { standing: standing.closed_as(Reversed), kind: EntryKind::Reversal, amount, captures: None })
            }
            // The merchant's wish is fulfilled already.
            (Step::Reverse(_), Reversed | Expired | Verified) => {
                Ok(Taken { standing: self, kind: EntryKind::Reversal, amount: Money::ZERO, captures: None })
            }
            (Step::Capture { amount, is_final }, Pending | Captured | Reversed | Expired) => self.capture(amount, is_final),
            (Step::Expire, Pending) => self.end(EntryKind::Expiry),
            (Step::Release, Pending) => self.end(EntryKind::Release),
            (Step::Increment(_) | Step::Adjust(_) | Step::Expire | Step::Release, Captured | Reversed | Expired | Declined | Verified)
            | (Step::Reverse(_), Captured | Declined)
            | (Step::Capture { .. }, Declined | Verified) => Err(Refusal::AuthorizationNotOpen(self.status)),
        }
    }

    fn adjust(self, to: Money) -> Result<Taken, Refusal> {
        let standing = Self {
            authorized: sum(self.authorized, less(to, self.held))?,
            held: to,
            reversed: sum(self.reversed, less(self.held, to))?,
            ..self
        };
        let amount = sum(to, self.held.negated())?;
        let standing = standing.closed_as(AuthorizationStatus::Reversed);
        Ok(Taken { standing, kind: EntryKind::Adjustment, amount, captures: None })
    }

    fn capture(self, asked: Option<Amount>, is_final: bool) -> Result<Taken, Refusal> {
        let amount = asked.or_else(|| Amount::new(self.held)).ok_or(Refusal::NothingHeld(self.status))?;
        let captured = amount.money();
        let left = less(self.held, captured);
        let (held, released) = if is_final { (Money::ZERO, left) } else { (left, Money::ZERO) };
        let kind = if self.status == AuthorizationStatus::Pending { EntryKind::Capture } else { EntryKind::LateCapture };
        let standing = Self {
            held,
            captured: sum(self.captured, captured)?,
            excess: sum(self.excess, less(captured, self.held))?,
            released: sum(self.released, released)?,
            ..self
        };
        let standing = if kind == EntryKind::LateCapture {
            Self { status: AuthorizationStatus::Captured, ..standing }
        } else {
            standing.closed_as(AuthorizationStatus::Captured)
        };
        Ok(Taken { standing, kind, amount: captured, captures: Some(amount) })
    }

    fn end(self, kind: EntryKind) -> Result<Taken, Refusal> {
        let standing = Self { held: Money::ZERO, expired: sum(self.expired, self.held)?, ..self };
        Ok(Taken { standing: standing.closed_as(AuthorizationStatus::Expired), kind, amount: self.held, captures: None })
    }

    /// The authorisation with the status that it has if it holds nothing more: captured if anything was.
    fn closed_as(self, status: AuthorizationStatus) -> Self {
        let status = match (self.held, self.captured) {
            (Money::ZERO, Money::ZERO) => status,
            (Money::ZERO, _) => AuthorizationStatus::Captured,
            _ => self.status,
        };
        Self { status, ..self }
    }

    /// What was captured, less what reversals and refunds have given back of it.
    #[must_use]
    pub fn returnable(self) -> Money {
        less(less(self.captured, self.capture_reversed), less(self.refunded, self.refund_reversed))
    }

    /// Some of what was captured is given back. The caller knows that the captured movement has as much left.
    ///
    /// # Errors
    /// [`Refusal::ReversalExceedsOriginal`]: less than this is captured and not given back.
    pub fn reverse_capture(self, amount: Amount) -> Result<Self, Refusal> {
        let left = self.returnable();
        if amount.money() > left {
            return Err(Refusal::ReversalExceedsOriginal(left));
        }
        Ok(Self { capture_reversed: sum(self.capture_reversed, amount.money())?, ..self })
    }

    /// Some of what was captured is refunded.
    ///
    /// # Errors
    /// [`Refusal::RefundExceedsCapture`]: less than this is captured and not given back.
    pub fn refund(self, amount: Amount) -> Result<Self, Refusal> {
        let left = self.returnable();
        if amount.money() > left {
            return Err(Refusal::RefundExceedsCapture(left));
        }
        Ok(Self { refunded: sum(self.refunded, amount.money())?, ..self })
    }

    /// Some of what was refunded is taken back.
    ///
    /// # Errors
    /// [`Refusal::ReversalExceedsOriginal`].
    pub fn reverse_refund(self, amount: Amount) -> Result<Self, Refusal> {
        let left = less(self.refunded, self.refund_reversed);
        if amount.money() > left {
            return Err(Refusal::ReversalExceedsOriginal(left));
        }
        Ok(Self { refund_reversed: sum(self.refund_reversed, amount.money())?, ..self })
    }
}

fn sum(one: Money, other: Money) -> Result<Money, Refusal> {
    one.plus(other).ok_or(Refusal::BalanceLimitExceeded)
}

/// What is left of one after the other, at least 0.
fn less(one: Money, other: Money) -> Money {
    one.plus(other.negated()).filter(|left| *left > Money::ZERO).unwrap_or(Money::ZERO)
}

#[cfg(test)]
mod tests;
