//! Every pair of declines, and which of the two a payment is declined with.

use super::{
    scenario::{Changed, MERCHANT, Scenario, code_of, limit, parsed},
    *,
};
use crate::domain::{
    card::CardStatus,
    spending::{
        controls::{CardPresence, MerchantLock},
        window::Interval,
    },
};

/// Makes a payment fail the check of a decline, and gives that check's name.
fn fail(scenario: &mut Scenario, code: DeclineCode) -> &'static str {
    let Scenario { card, asked, controls, payments, limits, card_present, .. } = scenario;
    match code {
        DeclineCode::CardCancelled => {
            card.status = CardStatus::Cancelled;
            "card_status"
        }
        DeclineCode::CardBlocked => {
            card.status = CardStatus::Blocked;
            "card_status"
        }
        DeclineCode::CardInactive => {
            card.status = CardStatus::Inactive;
            "card_status"
        }
        DeclineCode::CurrencyMismatch => {
            asked.currency = Some(super::code("EUR"));
            "currency"
        }
        DeclineCode::AmountInvalid => {
            asked.kind = AuthorizationKind::Verification;
            "amount"
        }
        DeclineCode::PaymentCountReached => {
            (controls.max_payments, *payments) = (Some(2), 2);
            "payment_count"
        }
        DeclineCode::MerchantLocked => {
            controls.merchant_lock = Some(MerchantLock::To(parsed("1")));
            "merchant_lock"
        }
        DeclineCode::MerchantBlocked => {
            controls.blocked_merchants = vec![parsed(MERCHANT)];
            "merchant"
        }
        DeclineCode::MerchantNotAllowed => {
            controls.allowed_merchants = vec![parsed("1")];
            "merchant"
        }
        DeclineCode::MerchantCategoryBlocked => {
            controls.blocked_categories = vec![parsed("5734")];
            "merchant_category"
        }
        DeclineCode::MerchantCategoryNotAllowed => {
            controls.allowed_categories = vec![parsed("4511")];
            "merchant_category"
        }
        DeclineCode::MerchantCountryBlocked => {
            controls.blocked_countries = vec![parsed("CO")];
            "merchant_country"
        }
        DeclineCode::MerchantCountryNotAllowed => {
            controls.allowed_countries = vec![parsed("ES")];
            "merchant_country"
        }
        DeclineCode::EntryModeNotAllowed => {
            (controls.card_present, *card_present) = (CardPresence::Present, Some(false));
            "entry_mode"
        }
        DeclineCode::LimitTransactionExceeded => {
            limits.push(limit(3, Interval::Transaction).of_amount(249, 0));
            "limit"
        }
        DeclineCode::LimitAmountExceeded => {
            limits.push(limit(2, Interval::Day).of_amount(1_000, 751));
            "limit"
        }
        DeclineCode::LimitCountExceeded => {
            limits.push(limit(1, Interval::Day).of_count(1, 1));
            "limit_count"
        }
        DeclineCode::InsufficientFunds => {
            card.held = money(251);
            "funds"
        }
        DeclineCode::CustomerBlocked
        | DeclineCode::AuthorizationNotOpen
        | DeclineCode::DeclinedByDecision
        | DeclineCode::DecisionTimeout
        | DeclineCode::DecisionError
        | DeclineCode::SuspectedFraud => panic!("no check of an authorisation leads to {code:?}"),
    }
}

/// Those that the checks of an authorisation lead to, in the order of precedence.
const CODES: [DeclineCode; 18] = [
    DeclineCode::CardCancelled,
    DeclineCode::CardBlocked,
    DeclineCode::CardInactive,
    DeclineCode::CurrencyMismatch,
    DeclineCode::AmountInvalid,
    DeclineCode::PaymentCountReached,
    DeclineCode::MerchantLocked,
    DeclineCode::MerchantBlocked,
    DeclineCode::MerchantNotAllowed,
    DeclineCode::MerchantCategoryBlocked,
    DeclineCode::MerchantCategoryNotAllowed,
    DeclineCode::MerchantCountryBlocked,
    DeclineCode::MerchantCountryNotAllowed,
    DeclineCode::EntryModeNotAllowed,
    DeclineCode::LimitTransactionExceeded,
    DeclineCode::LimitAmountExceeded,
    DeclineCode::LimitCountExceeded,
    DeclineCode::InsufficientFunds,
];

#[test]
fn each_decline_is_reached_by_its_check_alone() {
    for code in CODES {
        let mut scenario = Scenario::new();
        let check = fail(&mut scenario, code);
        let decision = scenario.decide();
        assert_eq!((code_of(&decision), failed(&decision)), (Some(code.name()), vec![check.to_owned()]));
    }
    assert_eq!(Scenario::new().declined(), None);
}

#[test]
fn of_every_two_checks_that_fail_the_first_in_precedence_is_the_decline() {
    for (index, first) in CODES.into_iter().enumerate() {
        for second in CODES.into_iter().skip(index + 1) {
            // The order in which they come about does not matter.
            for order in [[first, second], [second, first]] {
                let mut scenario = Scenario::new();
                let [one, other] = order.map(|code| fail(&mut scenario, code));
                if one == "card_status" && other == "card_status" {
                    // A card has one status.
                    continue;
                }
                let decision = scenario.decide();
                assert_eq!(code_of(&decision), Some(first.name()), "{order:?}");
                // The blocked and the allowed values of a kind are one check, the amounts of two limits are two.
                let checks = if one == other && one != "limit" { 1 } else { 2 };
                assert_eq!(failed(&decision).len(), checks, "{order:?}");
            }
        }
    }
}

#[test]
fn of_all_checks_that_fail_the_first_that_is_left_is_the_decline() {
    for (index, first) in CODES.into_iter().enumerate() {
        let mut scenario = Scenario::new();
        for code in CODES.into_iter().skip(index).filter(|code| !matches!(code, DeclineCode::CardBlocked | DeclineCode::CardInactive)) {
            fail(&mut scenario, code);
        }
        if !matches!(first, DeclineCode::CardBlocked | DeclineCode::CardInactive) {
            assert_eq!(scenario.declined(), Some(first.name()));
        }
    }
}

#[test]
fn increments_and_purchases_are_declined_in_the_same_order() {
    let of_status = 5;
    for (index, first) in CODES.into_iter().enumerate().skip(of_status) {
        for second in CODES.into_iter().skip(index) {
            let mut scenario = Scenario::new();
            fail(&mut scenario, first);
            fail(&mut scenario, second);
            let funds_do_not_matter = |code: &DeclineCode| *code != DeclineCode::InsufficientFunds;
            let purchase = Some(first).filter(funds_do_not_matter).map(DeclineCode::name);
            assert_eq!(code_of(&scenario.decide_purchase()), purchase, "{first:?} {second:?}");
            // An increment is no new payment.
            let counts = |code: &DeclineCode| matches!(code, DeclineCode::PaymentCountReached | DeclineCode::LimitCountExceeded);
            let increment = [first, second].into_iter().find(|code| !counts(code)).map(DeclineCode::name);
            assert_eq!(code_of(&scenario.decide_increment()), increment, "{first:?} {second:?}");
        }
    }
}
