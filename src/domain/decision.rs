//! Whether a card can pay: the checks, in the order of their precedence, and the decline that the first failed one leads to.
//! Pure: no clock, no database.
//!
//! Every check is made, also after one that failed, so that a decline explains itself with all of its numbers.

mod check;
mod decline;

use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

pub use self::check::{Check, CheckResult};
use crate::domain::{
    authorization::{AuthorizationKind, AuthorizationStatus, DecidedBy, EntryKind, Standing},
    currency::CurrencyCode,
    id::LimitId,
    money::{Amount, Money},
    posting::Position,
    spending::Rules,
};

/// Why an authorisation or an increment was declined, in the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DeclineCode {
    /// The card is cancelled.
    CardCancelled,
    /// The card is blocked.
    CardBlocked,
    /// The card was never activated.
    CardInactive,
    /// The customer is blocked.
    CustomerBlocked,
    /// The authorisation to raise holds nothing more.
    AuthorizationNotOpen,
    /// The amount is in another currency than the card.
    CurrencyMismatch,
    /// An amount of 0 that verifies nothing, or a verification of more than 0.
    AmountInvalid,
    /// The card has made as many payments as it may.
    PaymentCountReached,
    /// The card is locked to another merchant.
    MerchantLocked,
    /// The card may not pay this merchant.
    MerchantBlocked,
    /// The merchant is not one of those that the card may pay.
    MerchantNotAllowed,
    /// The card may not pay merchants of this category.
    MerchantCategoryBlocked,
    /// The merchant's category is not one of those that the card may pay.
    MerchantCategoryNotAllowed,
    /// The card may not pay merchants of this country.
    MerchantCountryBlocked,
    /// The merchant's country is not one of those that the card may pay.
    MerchantCountryNotAllowed,
    /// The card may not be used in this way.
    EntryModeNotAllowed,
    /// More than one transaction may be.
    LimitTransactionExceeded,
    /// More than a limit has left.
    LimitAmountExceeded,
    /// More transactions than a limit has left.
    LimitCountExceeded,
    /// More than the card has available.
    InsufficientFunds,
    /// The account's own system declined.
    DeclinedByDecision,
    /// The account's own system did not answer in time.
    DecisionTimeout,
    /// The account's own system answered something else.
    DecisionError,
    /// The transaction looks like fraud.
    SuspectedFraud,
}

impl DeclineCode {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The response code for the network (ISO 8583, data element 39).
    #[must_use]
    pub const fn response_code(self) -> &'static str {
        match self {
            Self::CardCancelled | Self::CardBlocked | Self::CardInactive | Self::CustomerBlocked => "62",
            Self::AuthorizationNotOpen => "84",
            Self::CurrencyMismatch => "12",
            Self::AmountInvalid => "13",
            Self::PaymentCountReached | Self::LimitCountExceeded => "65",
            Self::MerchantLocked
            | Self::MerchantBlocked
            | Self::MerchantNotAllowed
            | Self::MerchantCategoryBlocked
            | Self::MerchantCategoryNotAllowed
            | Self::MerchantCountryBlocked
            | Self::MerchantCountryNotAllowed
            | Self::EntryModeNotAllowed => "57",
            Self::LimitTransactionExceeded | Self::LimitAmountExceeded => "61",
            Self::InsufficientFunds => "51",
            Self::DeclinedByDecision => "05",
            Self::DecisionTimeout | Self::DecisionError => "91",
            Self::SuspectedFraud => "59",
        }
    }

    /// Whether the same payment may be approved later, or for less.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::CardBlocked
                | Self::CardInactive
                | Self::CustomerBlocked
                | Self::LimitTransactionExceeded
                | Self::LimitAmountExceeded
                | Self::LimitCountExceeded
                | Self::InsufficientFunds
                | Self::DecisionTimeout
                | Self::DecisionError
        )
    }
}

/// A reason to decline, in words too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    /// The code.
    pub code: DeclineCode,
    /// The reason, for a person.
    pub message: String,
    /// The limit that it exceeds.
    pub limit: Option<LimitId>,
}

/// What an authorisation asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The amount, in the card's currency.
    pub amount: Money,
    /// What for.
    pub kind: AuthorizationKind,
    /// The currency that the merchant's processor believes the card to have.
    pub currency: Option<CurrencyCode>,
    /// Whether a part of the amount may be approved.
    pub partial_approval: bool,
    /// Whether the network has approved it already.
    pub stand_in: bool,
    /// The decline that the sandbox was asked for.
    pub forced: Option<DeclineCode>,
}

/// The decision on an authorisation or an increment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// Every check, in order.
    pub checks: Vec<Check>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole amount is approved. Of 0, the card is valid.
    Approved(Money),
    /// A part of the amount is approved.
    Partial(Money),
    /// The network approved it.
    StandIn(Money),
    /// It is declined.
    Declined(Decline),
}

impl Verdict {
    /// The new authorisation.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self {
            Self::Approved(amount) | Self::Partial(amount) | Self::StandIn(amount) => Standing::approved(*amount),
            Self::Declined(_) => Standing::DECLINED,
        }
    }

    /// The kind of the authorisation's first entry.
    #[must_use]
    pub const fn entry_kind(&self) -> EntryKind {
        match self {
            Self::Approved(_) | Self::StandIn(_) => EntryKind::Authorization,
            Self::Partial(_) => EntryKind::PartialAuthorization,
            Self::Declined(_) => EntryKind::Declined,
        }
    }

    /// Who decided.
    #[must_use]
    pub const fn decided_by(&self) -> DecidedBy {
        match self {
            Self::StandIn(_) => DecidedBy::StandIn,
            Self::Approved(_) | Self::Partial(_) | Self::Declined(_) => DecidedBy::Rules,
        }
    }

    /// The response code for the network (ISO 8583, data element 39).
    #[must_use]
    pub const fn response_code(&self) -> &'static str {
        match self {
            Self::Approved(_) | Self::StandIn(_) => "00",
            Self::Partial(_) => "10",
            Self::Declined(decline) => decline.code.response_code(),
        }
    }

    /// The decline, if it is one.
    #[must_use]
    pub const fn decline(&self) -> Option<&Decline> {
        match self {
            Self::Declined(decline) => Some(decline),
            Self::Approved(_) | Self::Partial(_) | Self::StandIn(_) => None,
        }
    }

    /// The outcome in the metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Approved(Money::ZERO) => "verified",
            Self::Approved(_) => "approved",
            Self::Partial(_) => "partial",
            Self::StandIn(_) => "stand_in",
            Self::Declined(_) => "declined",
        }
    }
}

/// Decides an authorisation. What is due to expire is no longer part of the position. `rules` has the limits with what was
/// spent in their windows of this moment.
#[must_use]
pub fn decide(card: &Position, asked: &Asked, rules: Option<&Rules<'_>>) -> Decision {
    let mut checks = vec![check::card_status(card)];
    if let Some(value) = asked.currency {
        checks.push(check::currency(card, value));
    }
    checks.push(check::amount(asked.kind, asked.amount));
    if let Some(code) = asked.forced {
        checks.push(Check::Forced { result: CheckResult::Fail });
        let message = format!("The sandbox was asked to decline with {}.", code.name());
        return Decision { verdict: Verdict::Declined(Decline { code, message, limit: None }), checks };
    }
    if let Some(rules) = rules {
        check::controls(rules, asked.amount, &mut checks);
        check::limits(rules, asked.amount, &mut checks);
    }
    checks.push(check::funds(card, asked.amount));
    let verdict = match decline::first_decline(&checks) {
        _ if asked.stand_in => Verdict::StandIn(asked.amount),
        None => Verdict::Approved(asked.amount),
        Some(decline) => {
            let part = if asked.partial_approval { check::part(&checks) } else { None };
            part.map_or(Verdict::Declined(decline), Verdict::Partial)
        }
    };
    Decision { verdict, checks }
}

/// Decides an increment of an authorisation. `rules` has the limits with what was spent in the windows in which the payment
/// was authorised at first.
#[must_use]
pub fn decide_increment(card: &Position, authorization: AuthorizationStatus, amount: Amount, rules: Option<&Rules<'_>>) -> Decision {
    let mut checks = vec![check::card_status(card), check::authorization_open(authorization)];
    if let Some(rules) = rules {
        // The payment is one already.
        check::merchant(rules, &mut checks);
        check::limit_amounts(rules, amount.money(), &mut checks);
    }
    checks.push(check::funds(card, amount.money()));
    let verdict = decline::first_decline(&checks).map_or(Verdict::Approved(amount.money()), Verdict::Declined);
    Decision { verdict, checks }
}

/// Decides whether the controls and limits permit a purchase of a single message. The card's status and its money are for the
/// posting to decide.
#[must_use]
pub fn decide_purchase(amount: Amount, rules: &Rules<'_>) -> Decision {
    let mut checks = Vec::new();
    check::controls(rules, amount.money(), &mut checks);
    check::limits(rules, amount.money(), &mut checks);
    let verdict = decline::first_decline(&checks).map_or(Verdict::Approved(amount.money()), Verdict::Declined);
    Decision { verdict, checks }
}

#[cfg(test)]
mod tests;
