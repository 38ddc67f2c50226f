//! Every control, each in every state, against every payment that it can tell apart.

use super::{
    scenario::{MERCHANT, Scenario, check_before_funds, code_of, made, parsed},
    *,
};
use crate::domain::{
    merchant::{EntryMode, Merchant, MerchantId},
    spending::controls::{CardPresence, Controls, MAX_PAYMENTS, MerchantLock},
};

/// A list, by what is on it: nothing, the payment's value, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Nothing,
    It,
    Another,
    Both,
}

impl On {
    const ALL: [Self; 4] = [Self::Nothing, Self::It, Self::Another, Self::Both];

    fn list<T: std::str::FromStr<Err: std::fmt::Debug>>(self, it: &str, another: &str) -> Vec<T> {
        match self {
            Self::Nothing => Vec::new(),
            Self::It => vec![parsed(it)],
            Self::Another => vec![parsed(another)],
            Self::Both => vec![parsed(another), parsed(it)],
        }
    }
}

/// What comes of the lists: no check, or one with its result, with a value and without one.
const fn verdict(blocked: On, allowed: On) -> [Option<&'static str>; 2] {
    const PASS: Option<&str> = Some("pass");
    const BLOCKED: Option<&str> = Some("blocked");
    const NOT_ALLOWED: Option<&str> = Some("not_allowed");
    match (blocked, allowed) {
        (On::Nothing, On::Nothing) => [None, None],
        (On::It | On::Both, On::Nothing | On::It | On::Another | On::Both) => [BLOCKED, NOT_ALLOWED],
        (On::Another, On::Nothing) | (On::Nothing | On::Another, On::It | On::Both) => [PASS, NOT_ALLOWED],
        (On::Nothing | On::Another, On::Another) => [NOT_ALLOWED, NOT_ALLOWED],
    }
}

/// A kind of list: its check, the payment's value, another, and how both are set.
struct Kind {
    check: &'static str,
    it: &'static str,
    words: &'static str,
    lacks: &'static str,
    controls: fn(On, On) -> Controls,
    forget: fn(&mut Merchant),
}

const KINDS: [Kind; 3] = [
    Kind {
        check: "merchant",
        it: MERCHANT,
        words: "this merchant",
        lacks: "merchant",
        controls: |blocked, allowed| Controls {
            blocked_merchants: blocked.list(MERCHANT, "566527001100016"),
            allowed_merchants: allowed.list(MERCHANT, "1"),
            ..Controls::default()
        },
        forget: |merchant| merchant.id = None,
    },
    Kind {
        check: "merchant_category",
        it: "5734",
        words: "merchants of this category",
        lacks: "merchant's category",
        controls: |blocked, allowed| Controls {
            blocked_categories: blocked.list("5734", "4511"),
            allowed_categories: allowed.list("5734", "7011"),
            ..Controls::default()
        },
        forget: |merchant| merchant.category = None,
    },
    Kind {
        check: "merchant_country",
        it: "CO",
        words: "merchants of this country",
        lacks: "merchant's country",
        controls: |blocked, allowed| Controls {
            blocked_countries: blocked.list("CO", "ES"),
            allowed_countries: allowed.list("CO", "US"),
            ..Controls::default()
        },
        forget: |merchant| merchant.country = None,
    },
];

#[test]
fn lists_block_what_is_blocked_and_then_what_is_not_allowed() {
    for Kind { check, it, words, lacks, controls, forget } in KINDS {
        for (blocked, allowed) in On::ALL.into_iter().flat_map(|blocked| On::ALL.map(|allowed| (blocked, allowed))) {
            for (is_known, wanted) in [true, false].into_iter().zip(verdict(blocked, allowed)) {
                let mut scenario = Scenario::with_controls(controls(blocked, allowed));
                if !is_known {
                    forget(&mut scenario.merchant);
                }
                let case = format!("{check}: blocked {blocked:?}, allowed {allowed:?}, known {is_known}");
                for decision in [scenario.decide(), scenario.decide_increment(), scenario.decide_purchase()] {
                    let made = made(&decision).iter().filter(|name| *name == check).count();
                    assert_eq!(made, usize::from(wanted.is_some()), "{case}");
                    let code = wanted.filter(|wanted| *wanted != "pass").map(|wanted| format!("{check}_{wanted}"));
                    assert_eq!(code_of(&decision).map(str::to_owned), code, "{case}");
                    let Some(wanted) = wanted else { continue };
                    let (result, value) =
                        (if wanted == "pass" { "pass" } else { "fail" }, if is_known { format!("\"{it}\"") } else { "null".to_owned() });
                    assert_eq!(
                        check_before_funds(&decision),
                        format!(r#"{{"check":"{check}","result":"{result}","value":{value}}}"#),
                        "{case}"
                    );
                    let message = match (is_known, wanted) {
                        (false, _) => format!("The card may not pay every merchant, and the payment does not say the {lacks}."),
                        (true, "blocked") => format!("The card may not pay {words}."),
                        (true, _) => format!("The card may pay others, and not {words}."),
                    };
                    assert_eq!(declined(&decision).map(|(_, message)| message), (wanted != "pass").then_some(message.as_str()), "{case}");
                }
            }
        }
    }
}

/// What one list says does not depend on what the payment lacks of another.
#[test]
fn lists_look_only_at_their_own_value() {
    for Kind { check, controls, .. } in KINDS {
        let mut scenario = Scenario::with_controls(controls(On::Another, On::It));
        for other in KINDS.iter().filter(|other| other.check != check) {
            (other.forget)(&mut scenario.merchant);
        }
        assert_eq!(scenario.declined(), None, "{check}");
    }
}

#[test]
fn the_card_has_to_be_present_or_not_as_the_control_says() {
    use CardPresence::{Any, NotPresent, Present};

    let lacks = "The card may not be used in every way, and the payment does not say whether the card was present.";
    let must = "The card can only be used where it is present.";
    let must_not = "The card can only be used where it is not present.";
    for (expected, card_present, fails) in [
        (Any, Some(true), None),
        (Any, Some(false), None),
        (Any, None, None),
        (Present, Some(true), None),
        (Present, Some(false), Some(must)),
        (Present, None, Some(lacks)),
        (NotPresent, Some(true), Some(must_not)),
        (NotPresent, Some(false), None),
        (NotPresent, None, Some(lacks)),
    ] {
        for entry_mode in [EntryMode::Chip, EntryMode::Ecommerce, EntryMode::Unknown] {
            let controls = Controls { card_present: expected, ..Controls::default() };
            let scenario = Scenario { entry_mode, card_present, ..Scenario::with_controls(controls) };
            for decision in [scenario.decide(), scenario.decide_increment(), scenario.decide_purchase()] {
                assert_eq!(declined(&decision), fails.map(|message| ("entry_mode_not_allowed", message)), "{expected:?} {card_present:?}");
                if expected == Any {
                    assert!(!made(&decision).contains(&"entry_mode".to_owned()));
                    continue;
                }
                let result = if fails.is_none() { "pass" } else { "fail" };
                let present = card_present.map_or("null", |is_present| if is_present { "true" } else { "false" });
                let (mode, expected) = (entry_mode.name(), if expected == Present { "present" } else { "notPresent" });
                let wanted = format!(
                    r#"{{"check":"entry_mode","result":"{result}","value":"{mode}","cardPresent":{present},"expected":"{expected}"}}"#
                );
                assert_eq!(check_before_funds(&decision), wanted);
            }
        }
    }
}

#[test]
fn a_locked_card_pays_its_merchant_and_no_other() {
    let id = |text: &str| -> MerchantId { parsed(text) };
    let lacks = "The card pays one merchant alone, and the payment does not say which merchant it is for.";
    let other = "The card is locked to another merchant.";
    for (lock, merchant, fails) in [
        (None, Some("A"), None),
        (None, None, None),
        (Some(MerchantLock::First), Some("A"), None),
        (Some(MerchantLock::First), None, Some(lacks)),
        (Some(MerchantLock::To(id("A"))), Some("A"), None),
        (Some(MerchantLock::To(id("A"))), Some("B"), Some(other)),
        // Ids are compared as they are.
        (Some(MerchantLock::To(id("A"))), Some("a"), Some(other)),
        (Some(MerchantLock::To(id("A"))), Some("AA"), Some(other)),
        (Some(MerchantLock::To(id("A"))), None, Some(lacks)),
    ] {
        let expected = match &lock {
            Some(MerchantLock::To(id)) => format!("\"{}\"", id.as_str()),
            Some(MerchantLock::First) | None => "null".to_owned(),
        };
        let mut scenario = Scenario::with_controls(Controls { merchant_lock: lock.clone(), ..Controls::default() });
        scenario.merchant.id = merchant.map(id);
        for decision in [scenario.decide(), scenario.decide_increment(), scenario.decide_purchase()] {
            assert_eq!(declined(&decision), fails.map(|message| ("merchant_locked", message)), "{lock:?} {merchant:?}");
            assert_eq!(made(&decision).contains(&"merchant_lock".to_owned()), lock.is_some());
            if lock.is_some() {
                let result = if fails.is_none() { "pass" } else { "fail" };
                let value = merchant.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
                let wanted = format!(r#"{{"check":"merchant_lock","result":"{result}","value":{value},"expected":{expected}}}"#);
                assert_eq!(check_before_funds(&decision), wanted);
            }
        }
    }
}

#[test]
fn a_card_makes_as_many_payments_as_it_may() {
    for (max, payments, fails) in [
        (None, 0, false),
        (None, u32::MAX, false),
        (Some(1), 0, false),
        (Some(1), 1, true),
        (Some(1), 2, true),
        (Some(3), 2, false),
        (Some(3), 3, true),
        (Some(3), 4, true),
        (Some(MAX_PAYMENTS), MAX_PAYMENTS - 1, false),
        (Some(MAX_PAYMENTS), MAX_PAYMENTS, true),
    ] {
        let scenario = Scenario { payments, ..Scenario::with_controls(Controls { max_payments: max, ..Controls::default() }) };
        for decision in [scenario.decide(), scenario.decide_purchase()] {
            assert_eq!(code_of(&decision), fails.then_some("payment_count_reached"), "{max:?} {payments}");
            assert_eq!(made(&decision).contains(&"payment_count".to_owned()), max.is_some());
            if let Some(max) = max {
                let result = if fails { "fail" } else { "pass" };
                let wanted = format!(r#"{{"check":"payment_count","result":"{result}","value":{payments},"max":{max}}}"#);
                assert_eq!(check_before_funds(&decision), wanted);
            }
        }
        // An increment is of a payment that counts already.
        let raised = scenario.decide_increment();
        assert_eq!((code_of(&raised), made(&raised).contains(&"payment_count".to_owned())), (None, false));
    }
    let message = |max| {
        let scenario = Scenario { payments: 7, ..Scenario::with_controls(Controls { max_payments: Some(max), ..Controls::default() }) };
        declined(&scenario.decide()).map(|(_, message)| message.to_owned())
    };
    assert_eq!(message(1).as_deref(), Some("The card has made the one payment that it may make."));
    assert_eq!(message(7).as_deref(), Some("The card has made the 7 payments that it may make."));
}

/// Controls under which every check fails but that of the entry mode, which passes.
fn strict() -> Controls {
    Controls {
        blocked_merchants: vec![parsed(MERCHANT)],
        allowed_categories: vec![parsed("4511")],
        blocked_countries: vec![parsed("CO")],
        merchant_lock: Some(MerchantLock::To(parsed("1"))),
        card_present: CardPresence::Present,
        max_payments: Some(1),
        ..Controls::default()
    }
}

#[test]
fn a_verification_obeys_all_controls_but_the_number_of_payments() {
    let mut scenario = Scenario { payments: 1, ..Scenario::with_controls(strict()) }.asking(0);
    scenario.asked.kind = AuthorizationKind::Verification;
    let decision = scenario.decide();
    let wanted = ["card_status", "amount", "merchant_lock", "merchant", "merchant_category", "merchant_country", "entry_mode", "funds"];
    assert_eq!(made(&decision), wanted);
    assert_eq!(
        (code_of(&decision), failed(&decision)),
        (Some("merchant_locked"), wanted[2..6].iter().map(|&name| name.to_owned()).collect())
    );
    scenario.controls = Controls { max_payments: Some(1), ..Controls::default() };
    assert_eq!(scenario.decide().verdict, Verdict::Approved(Money::ZERO));
}

#[test]
fn what_the_network_has_approved_passes_all_controls_and_says_which_failed() {
    let mut scenario = Scenario { payments: 1, ..Scenario::with_controls(strict()) };
    scenario.asked.stand_in = true;
    let decision = scenario.decide();
    assert_eq!(decision.verdict, Verdict::StandIn(money(250)));
    assert_eq!(failed(&decision), ["payment_count", "merchant_lock", "merchant", "merchant_category", "merchant_country"]);
}

#[test]
fn a_part_is_not_approved_of_what_a_control_forbids() {
    let mut scenario = Scenario { payments: 1, ..Scenario::with_controls(strict()) }.asking(401);
    scenario.asked.partial_approval = true;
    assert_eq!(scenario.declined(), Some("payment_count_reached"));
}

#[test]
fn a_decline_that_the_sandbox_was_asked_for_needs_no_rules() {
    let mut scenario = Scenario { payments: 1, ..Scenario::with_controls(strict()) };
    scenario.asked.forced = Some(DeclineCode::SuspectedFraud);
    let decision = scenario.decide();
    assert_eq!(
        (code_of(&decision), made(&decision)),
        (Some("suspected_fraud"), ["card_status", "amount", "forced"].map(str::to_owned).into())
    );
}

/// Byte for byte.
#[test]
fn rules_that_ask_for_nothing_make_no_check() {
    for status in CardStatus::ALL {
        for minor in [0, 1, 400, 401] {
            for (partial_approval, stand_in) in [(false, false), (true, false), (false, true)] {
                let asked = Asked { partial_approval, stand_in, currency: Some(code("EUR")), ..asks(minor) };
                let scenario = Scenario { card: card(status), asked, ..Scenario::new() };
                let (with, without) = (scenario.decide(), decide(&scenario.card, &scenario.asked, None));
                assert_eq!((&with, checks(&with)), (&without, checks(&without)));
                if let Some(by) = Amount::new(money(minor)) {
                    let without = decide_increment(&scenario.card, AuthorizationStatus::Pending, by, None);
                    assert_eq!((&scenario.decide_increment(), checks(&scenario.decide_increment())), (&without, checks(&without)));
                    assert_eq!(scenario.decide_purchase(), Decision { verdict: Verdict::Approved(money(minor)), checks: Vec::new() });
                }
            }
        }
    }
}
