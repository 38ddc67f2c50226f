//! Every check, the precedence of declines, and what each decline is to the network.

use super::*;
use crate::domain::{card::CardStatus, currency::Currency, money::MAX_MINOR};

fn money(minor: i64) -> Money {
    Money::from_minor(minor).expect("within bounds")
}

fn amount(minor: i64) -> Amount {
    Amount::new(money(minor)).expect("above zero")
}

fn code(text: &str) -> CurrencyCode {
    text.parse().expect("a code")
}

/// A card with a balance of 500, of which 100 is held.
const fn card(status: CardStatus) -> Position {
    let (Some(balance), Some(held)) = (Money::from_minor(500), Money::from_minor(100)) else { panic!() };
    Position { customer: None, status, currency: Currency::Usd, balance, held, seq: 7, sequence: 9, holds_due_at: None, rules_version: 0 }
}

fn asks(minor: i64) -> Asked {
    Asked {
        amount: money(minor),
        kind: AuthorizationKind::Purchase,
        currency: None,
        partial_approval: false,
        stand_in: false,
        forced: None,
    }
}

fn checks(decision: &Decision) -> String {
    serde_json::to_string(&decision.checks).expect("JSON")
}

fn declined(decision: &Decision) -> Option<(&'static str, &str)> {
    decision.verdict.decline().map(|decline| (decline.code.name(), decline.message.as_str()))
}

/// The names of the checks that failed, in order.
fn failed(decision: &Decision) -> Vec<String> {
    let checks: Vec<serde_json::Value> = serde_json::from_str(&checks(decision)).expect("JSON");
    let failed = checks.into_iter().filter(|check| check["result"] == "fail");
    failed.map(|check| check["check"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The codes in the order of precedence, with the response code (ISO 8583, data element 39) and whether a try later, or for
/// less, may succeed.
const DECLINES: [(&str, &str, bool); 23] = [
    ("card_cancelled", "62", false),
    ("card_blocked", "62", true),
    ("card_inactive", "62", true),
    ("customer_blocked", "62", true),
    ("authorization_not_open", "84", false),
    ("currency_mismatch", "12", false),
    ("amount_invalid", "13", false),
    ("payment_count_reached", "65", false),
    ("merchant_locked", "57", false),
    ("merchant_blocked", "57", false),
    ("merchant_not_allowed", "57", false),
    ("merchant_category_blocked", "57", false),
    ("merchant_category_not_allowed", "57", false),
    ("merchant_country_blocked", "57", false),
    ("merchant_country_not_allowed", "57", false),
    ("entry_mode_not_allowed", "57", false),
    ("limit_transaction_exceeded", "61", true),
    ("limit_amount_exceeded", "61", true),
    ("limit_count_exceeded", "65", true),
    ("insufficient_funds", "51", true),
    ("declined_by_decision", "05", false),
    ("decision_timeout", "91", true),
    ("decision_error", "91", true),
];

#[test]
fn each_decline_has_its_response_code_and_says_whether_to_try_again() {
    let declines = DECLINES.into_iter().chain([("suspected_fraud", "59", false)]);
    let found = DeclineCode::VARIANTS.iter().map(|code| (code.name(), code.response_code(), code.is_retryable()));
    assert_eq!(found.collect::<Vec<_>>(), declines.collect::<Vec<_>>());
    for code in DeclineCode::VARIANTS {
        assert_eq!(serde_json::to_string(code).expect("JSON"), format!("\"{}\"", code.name()));
        assert_eq!(code.name().parse(), Ok(*code));
    }
}

#[test]
fn a_card_that_passes_every_check_pays_up_to_what_is_available() {
    for minor in [1, 399, 400] {
        let decision = decide(&card(CardStatus::Active), &asks(minor), None);
        assert_eq!(decision.verdict, Verdict::Approved(money(minor)));
        assert_eq!(decision.verdict.standing(), Standing::approved(money(minor)));
        assert_eq!((decision.verdict.response_code(), decision.verdict.outcome()), ("00", "approved"));
        assert_eq!((decision.verdict.entry_kind(), decision.verdict.decided_by()), (EntryKind::Authorization, DecidedBy::Rules));
    }
    let decision = decide(&card(CardStatus::Active), &asks(401), None);
    assert_eq!(declined(&decision), Some(("insufficient_funds", "The card has 4 available; 4.01 was asked for.")));
    assert_eq!((decision.verdict.response_code(), decision.verdict.outcome()), ("51", "declined"));
    assert_eq!((decision.verdict.entry_kind(), decision.verdict.decided_by()), (EntryKind::Declined, DecidedBy::Rules));
    assert_eq!(decision.verdict.standing(), Standing::DECLINED);
}

#[test]
fn a_decision_shows_every_check_in_order_with_what_it_compared() {
    let decision = decide(&card(CardStatus::Active), &Asked { currency: Some(code("USD")), ..asks(250) }, None);
    let passed = r#"[{"check":"card_status","result":"pass","value":"active"},{"check":"currency","result":"pass","value":"USD","expected":"USD"},{"check":"amount","result":"pass","requested":2.50},{"check":"funds","result":"pass","balance":5,"held":1,"available":4,"requested":2.50}]"#;
    assert_eq!(checks(&decision), passed);
    let overdrawn = Position { balance: money(-30), ..card(CardStatus::Blocked) };
    let decision = decide(&overdrawn, &Asked { kind: AuthorizationKind::Verification, ..asks(250) }, None);
    let failed = r#"[{"check":"card_status","result":"fail","value":"blocked"},{"check":"amount","result":"fail","requested":2.50},{"check":"funds","result":"fail","balance":-0.30,"held":1,"available":-1.30,"requested":2.50}]"#;
    assert_eq!(checks(&decision), failed);
    let decision = decide_increment(&card(CardStatus::Active), AuthorizationStatus::Captured, amount(50), None);
    let closed = r#"[{"check":"card_status","result":"pass","value":"active"},{"check":"authorization_open","result":"fail","value":"captured"},{"check":"funds","result":"pass","balance":5,"held":1,"available":4,"requested":0.50}]"#;
    assert_eq!(checks(&decision), closed);
}

/// Two, three and four checks that fail.
#[test]
fn of_the_checks_that_fail_the_first_in_precedence_is_the_decline() {
    use CardStatus::{Active, Blocked, Cancelled, Inactive};

    let euro = Some(code("EUR"));
    let verification = AuthorizationKind::Verification;
    let purchase = AuthorizationKind::Purchase;
    for (status, currency, kind, minor, fails, first) in [
        (Cancelled, euro, purchase, 100, &["card_status", "currency"][..], "card_cancelled"),
        (Blocked, euro, purchase, 401, &["card_status", "currency", "funds"], "card_blocked"),
        (Inactive, None, purchase, 401, &["card_status", "funds"], "card_inactive"),
        (Inactive, euro, verification, 401, &["card_status", "currency", "amount", "funds"], "card_inactive"),
        (Blocked, None, purchase, 0, &["card_status", "amount"], "card_blocked"),
        (Active, euro, purchase, 401, &["currency", "funds"], "currency_mismatch"),
        (Active, euro, verification, 1, &["currency", "amount"], "currency_mismatch"),
        (Active, euro, verification, 401, &["currency", "amount", "funds"], "currency_mismatch"),
        (Active, euro, purchase, 0, &["currency", "amount"], "currency_mismatch"),
        (Active, None, verification, 401, &["amount", "funds"], "amount_invalid"),
        (Active, None, purchase, 401, &["funds"], "insufficient_funds"),
    ] {
        for partial_approval in [false, true] {
            let asked = Asked { kind, currency, partial_approval, ..asks(minor) };
            let decision = decide(&card(status), &asked, None);
            assert_eq!(failed(&decision), fails, "{asked:?}");
            let is_partial = partial_approval && fails == ["funds"];
            assert_eq!(declined(&decision).map(|(code, _)| code), (!is_partial).then_some(first), "{asked:?}");
        }
    }
}

#[test]
fn of_the_checks_of_an_increment_the_first_that_fails_is_the_decline() {
    use AuthorizationStatus::{Captured, Pending};
    use CardStatus::{Active, Blocked, Cancelled, Inactive};

    for (status, authorization, minor, fails, first) in [
        (Active, Pending, 400, &[][..], None),
        (Active, Pending, 401, &["funds"], Some("insufficient_funds")),
        (Active, Captured, 401, &["authorization_open", "funds"], Some("authorization_not_open")),
        (Inactive, Pending, 401, &["card_status", "funds"], Some("card_inactive")),
        (Blocked, Captured, 400, &["card_status", "authorization_open"], Some("card_blocked")),
        (Cancelled, Captured, 401, &["card_status", "authorization_open", "funds"], Some("card_cancelled")),
    ] {
        let decision = decide_increment(&card(status), authorization, amount(minor), None);
        assert_eq!(failed(&decision), fails, "{status:?} {authorization:?} {minor}");
        assert_eq!(declined(&decision).map(|(code, _)| code), first, "{status:?} {authorization:?} {minor}");
        if first.is_none() {
            assert_eq!(decision.verdict, Verdict::Approved(money(minor)));
        }
    }
    for status in AuthorizationStatus::VARIANTS {
        let decision = decide_increment(&card(Active), *status, amount(1), None);
        let message = format!("The authorization is {} and cannot be raised.", status.name());
        let wanted = (*status != Pending).then_some(("authorization_not_open", message.as_str()));
        assert_eq!(declined(&decision), wanted);
    }
}

#[test]
fn a_decline_says_in_words_what_failed() {
    let verification = AuthorizationKind::Verification;
    for (status, asked, message) in [
        (CardStatus::Cancelled, asks(1), "The card is cancelled."),
        (CardStatus::Blocked, asks(1), "The card is blocked."),
        (CardStatus::Inactive, asks(1), "The card has not been activated."),
        (CardStatus::Active, Asked { currency: Some(code("EUR")), ..asks(1) }, "The amount is in EUR, the card is in USD."),
        (CardStatus::Active, asks(0), "Only a verification can be for 0."),
        (CardStatus::Active, Asked { kind: verification, ..asks(1) }, "A verification is for 0."),
    ] {
        assert_eq!(declined(&decide(&card(status), &asked, None)).map(|(_, message)| message), Some(message));
    }
}

#[test]
fn a_part_is_approved_only_if_it_may_be_and_there_is_one() {
    let partial = |minor| Asked { partial_approval: true, ..asks(minor) };
    let active = card(CardStatus::Active);
    assert_eq!(decide(&active, &partial(400), None).verdict, Verdict::Approved(money(400)));
    let verdict = decide(&active, &partial(401), None).verdict;
    assert_eq!(verdict, Verdict::Partial(money(400)));
    assert_eq!((verdict.response_code(), verdict.outcome(), verdict.decline()), ("10", "partial", None));
    assert_eq!((verdict.entry_kind(), verdict.decided_by()), (EntryKind::PartialAuthorization, DecidedBy::Rules));
    assert_eq!(verdict.standing(), Standing::approved(money(400)));
    assert_eq!(decide(&active, &partial(MAX_MINOR), None).verdict, Verdict::Partial(money(400)));
    let one_left = Position { held: money(499), ..active };
    assert_eq!(decide(&one_left, &partial(2), None).verdict, Verdict::Partial(money(1)));
    for held in [500, 501] {
        let none_left = Position { held: money(held), ..active };
        assert_eq!(declined(&decide(&none_left, &partial(2), None)).map(|(code, _)| code), Some("insufficient_funds"), "{held}");
    }
}

#[test]
fn a_verification_asks_only_whether_the_card_is_valid() {
    let verification = Asked { kind: AuthorizationKind::Verification, ..asks(0) };
    for balance in [500, 0, -1] {
        let verdict = decide(&Position { balance: money(balance), ..card(CardStatus::Active) }, &verification, None).verdict;
        assert_eq!(verdict, Verdict::Approved(Money::ZERO), "{balance}");
        assert_eq!((verdict.response_code(), verdict.outcome()), ("00", "verified"));
        assert_eq!((verdict.standing().status, verdict.entry_kind()), (AuthorizationStatus::Verified, EntryKind::Authorization));
    }
    let blocked = decide(&card(CardStatus::Blocked), &verification, None);
    assert_eq!(declined(&blocked).map(|(code, _)| code), Some("card_blocked"));
    for kind in AuthorizationKind::VARIANTS {
        let is_verification = *kind == AuthorizationKind::Verification;
        for minor in [0, 1] {
            let decision = decide(&card(CardStatus::Active), &Asked { kind: *kind, ..asks(minor) }, None);
            let wanted = (is_verification != (minor == 0)).then_some("amount_invalid");
            assert_eq!(declined(&decision).map(|(code, _)| code), wanted, "{kind:?} {minor}");
        }
    }
}

#[test]
fn what_the_network_has_approved_is_never_declined_and_keeps_the_checks() {
    for status in CardStatus::ALL {
        for minor in [100, 401, MAX_MINOR] {
            let asked = Asked { stand_in: true, partial_approval: true, currency: Some(code("EUR")), ..asks(minor) };
            let decision = decide(&card(status), &asked, None);
            assert_eq!(decision.verdict, Verdict::StandIn(money(minor)));
            assert_eq!((decision.verdict.response_code(), decision.verdict.outcome()), ("00", "stand_in"));
            assert_eq!((decision.verdict.entry_kind(), decision.verdict.decided_by()), (EntryKind::Authorization, DecidedBy::StandIn));
            assert_eq!(decision.verdict.standing(), Standing::approved(money(minor)));
            let wanted = [("card_status", status != CardStatus::Active), ("currency", true), ("funds", minor > 400)];
            let wanted: Vec<_> = wanted.into_iter().filter(|(_, fails)| *fails).map(|(check, _)| check).collect();
            assert_eq!(failed(&decision), wanted);
        }
    }
    let nothing = decide(&card(CardStatus::Active), &Asked { stand_in: true, ..asks(0) }, None);
    assert_eq!((nothing.verdict.standing().status, nothing.verdict.decided_by()), (AuthorizationStatus::Verified, DecidedBy::StandIn));
}

#[test]
fn the_sandbox_declines_with_any_code_that_it_is_asked_for() {
    for forced in DeclineCode::VARIANTS {
        for status in CardStatus::ALL {
            let decision = decide(&card(status), &Asked { forced: Some(*forced), partial_approval: true, ..asks(401) }, None);
            let message = format!("The sandbox was asked to decline with {}.", forced.name());
            assert_eq!(declined(&decision), Some((forced.name(), message.as_str())));
            assert_eq!(decision.verdict.response_code(), forced.response_code());
            assert_eq!(failed(&decision).last().map(String::as_str), Some("forced"));
            assert!(checks(&decision).ends_with(r#",{"check":"forced","result":"fail"}]"#));
        }
    }
}

mod controls;
mod limits;
mod precedence;
mod scenario;
