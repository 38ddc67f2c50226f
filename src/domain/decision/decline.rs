//! The declines that checks lead to, in words.

use super::{Check, CheckResult, Decline, DeclineCode, check::List};
use crate::domain::{
    card::CardStatus,
    money::Money,
    spending::{controls::CardPresence, window::Interval},
};

/// The decline of the first check that failed. The checks are in the order of precedence.
pub(super) fn first_decline(checks: &[Check]) -> Option<Decline> {
    checks.iter().find_map(decline)
}

/// The decline that a check leads to, if it failed.
pub(super) fn decline(check: &Check) -> Option<Decline> {
    const FAIL: CheckResult = CheckResult::Fail;
    let (code, message) = match check {
        Check::CardStatus { result: FAIL, value: CardStatus::Cancelled } => {
            (DeclineCode::CardCancelled, "The card is cancelled.".to_owned())
        }
        Check::CardStatus { result: FAIL, value: CardStatus::Blocked } => (DeclineCode::CardBlocked, "The card is blocked.".to_owned()),
        Check::CardStatus { result: FAIL, .. } => (DeclineCode::CardInactive, "The card has not been activated.".to_owned()),
        Check::AuthorizationOpen { result: FAIL, value } => {
            (DeclineCode::AuthorizationNotOpen, format!("The authorization is {} and cannot be raised.", value.name()))
        }
        Check::Currency { result: FAIL, value, expected } => {
            (DeclineCode::CurrencyMismatch, format!("The amount is in {value}, the card is in {}.", expected.code()))
        }
        Check::Amount { result: FAIL, requested: Money::ZERO } => {
            (DeclineCode::AmountInvalid, "Only a verification can be for 0.".to_owned())
        }
        Check::Amount { result: FAIL, .. } => (DeclineCode::AmountInvalid, "A verification is for 0.".to_owned()),
        Check::PaymentCount { result: FAIL, max: 1, .. } => {
            (DeclineCode::PaymentCountReached, "The card has made the one payment that it may make.".to_owned())
        }
        Check::PaymentCount { result: FAIL, max, .. } => {
            (DeclineCode::PaymentCountReached, format!("The card has made the {max} payments that it may make."))
        }
        Check::MerchantLock { result: FAIL, value: None, .. } => (
            DeclineCode::MerchantLocked,
            "The card pays one merchant alone, and the payment does not say which merchant it is for.".to_owned(),
        ),
        Check::MerchantLock { result: FAIL, .. } => (DeclineCode::MerchantLocked, "The card is locked to another merchant.".to_owned()),
        Check::Merchant { result: FAIL, value, list } => {
            let codes = (DeclineCode::MerchantBlocked, DeclineCode::MerchantNotAllowed);
            of_list(value.is_some(), *list, codes, "this merchant", "merchant")
        }
        Check::MerchantCategory { result: FAIL, value, list } => {
            let codes = (DeclineCode::MerchantCategoryBlocked, DeclineCode::MerchantCategoryNotAllowed);
            of_list(value.is_some(), *list, codes, "merchants of this category", "merchant's category")
        }
        Check::MerchantCountry { result: FAIL, value, list } => {
            let codes = (DeclineCode::MerchantCountryBlocked, DeclineCode::MerchantCountryNotAllowed);
            of_list(value.is_some(), *list, codes, "merchants of this country", "merchant's country")
        }
        Check::EntryMode { result: FAIL, card_present: None, .. } => (
            DeclineCode::EntryModeNotAllowed,
            "The card may not be used in every way, and the payment does not say whether the card was present.".to_owned(),
        ),
        Check::EntryMode { result: FAIL, expected: CardPresence::Present, .. } => {
            (DeclineCode::EntryModeNotAllowed, "The card can only be used where it is present.".to_owned())
        }
        Check::EntryMode { result: FAIL, .. } => {
            (DeclineCode::EntryModeNotAllowed, "The card can only be used where it is not present.".to_owned())
        }
        Check::Limit { result: FAIL, of, limit, remaining, requested, .. } => {
            let code = match of.interval {
                Interval::Transaction => DeclineCode::LimitTransactionExceeded,
                Interval::Day | Interval::Week | Interval::Month | Interval::Year | Interval::Lifetime => DeclineCode::LimitAmountExceeded,
            };
            let left = match of.interval {
                Interval::Transaction => "is exceeded".to_owned(),
                _ => format!("has {} left", remaining.to_json()),
            };
            let (called, limit, phrase) = (&of.called, limit.to_json(), of.interval.phrase());
            (code, format!("{called} of {limit} {phrase} {left}; {} was asked for.", requested.to_json()))
        }
        Check::LimitCount { result: FAIL, of, limit, .. } => {
            let payments = if *limit == 1 { "payment" } else { "payments" };
            (DeclineCode::LimitCountExceeded, format!("{} of {limit} {payments} {} has none left.", of.called, of.interval.phrase()))
        }
        Check::Funds { result: FAIL, available, requested, .. } => (
            DeclineCode::InsufficientFunds,
            format!("The card has {} available; {} was asked for.", available.to_json(), requested.to_json()),
        ),
        Check::CardStatus { .. }
        | Check::AuthorizationOpen { .. }
        | Check::Currency { .. }
        | Check::Amount { .. }
        | Check::PaymentCount { .. }
        | Check::MerchantLock { .. }
        | Check::Merchant { .. }
        | Check::MerchantCategory { .. }
        | Check::MerchantCountry { .. }
        | Check::EntryMode { .. }
        | Check::Limit { .. }
        | Check::LimitCount { .. }
        | Check::Funds { .. }
        | Check::Forced { .. } => return None,
    };
    let limit = match check {
        Check::Limit { of, .. } | Check::LimitCount { of, .. } => Some(of.limit_id),
        _ => None,
    };
    Some(Decline { code, message, limit })
}

fn of_list(is_known: bool, list: List, codes: (DeclineCode, DeclineCode), what: &str, lacks: &str) -> (DeclineCode, String) {
    match (is_known, list) {
        (false, _) => (codes.1, format!("The card may not pay every merchant, and the payment does not say the {lacks}.")),
        (true, List::Blocked) => (codes.0, format!("The card may not pay {what}.")),
        (true, List::Allowed | List::Neither) => (codes.1, format!("The card may pay others, and not {what}.")),
    }
}
