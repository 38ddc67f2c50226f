//! Limits: to the cent, which of them counts a payment, which of them says why, and how much of a payment they leave.

use super::{
    scenario::{Changed, MERCHANT, Scenario, check_before_funds, code_of, limit, limit_id, made, parsed},
    *,
};
use crate::domain::{
    id::CustomerId,
    spending::{
        limit::{LimitFilter, LimitScope, LimitStatus, LimitUse},
        window::Interval,
    },
};

const WINDOWED: [Interval; 5] = [Interval::Day, Interval::Week, Interval::Month, Interval::Year, Interval::Lifetime];

fn of_customer(of: LimitUse) -> LimitUse {
    of.to(|limit| limit.scope = LimitScope::Customer(CustomerId::new()))
}

fn named(of: LimitUse) -> LimitUse {
    of.to(|limit| limit.name = Some(parsed("Travel")))
}

fn decline_of(decision: &Decision) -> (&'static str, Option<LimitId>) {
    let decline = decision.verdict.decline().expect("a decline");
    (decline.code.name(), decline.limit)
}

#[test]
fn an_amount_is_limited_to_the_cent() {
    for interval in WINDOWED {
        for (amount, used, asked, fails) in [
            (300, 0, 299, false),
            (300, 0, 300, false),
            (300, 0, 301, true),
            (300, 250, 50, false),
            (300, 250, 51, true),
            (300, 300, 1, true),
            (300, 500, 1, true),
            (0, 0, 1, true),
            (0, 7, 1, true),
            (MAX_MINOR, 0, 400, false),
            (MAX_MINOR, MAX_MINOR - 400, 400, false),
            (MAX_MINOR, MAX_MINOR - 399, 400, true),
        ] {
            let scenario = Scenario::with_limits([limit(1, interval).of_amount(amount, used)]).asking(asked);
            for decision in [scenario.decide(), scenario.decide_increment(), scenario.decide_purchase()] {
                let wanted = fails.then_some("limit_amount_exceeded");
                assert_eq!(code_of(&decision), wanted, "{interval:?} {amount} {used} {asked}");
                assert_eq!(decision.verdict.decline().and_then(|decline| decline.limit), fails.then(|| limit_id(1)));
            }
        }
    }
}

#[test]
fn a_transaction_is_limited_to_the_cent_whatever_was_spent() {
    for (amount, asked, fails) in [(300, 299, false), (300, 300, false), (300, 301, true), (0, 1, true)] {
        let scenario = Scenario::with_limits([limit(1, Interval::Transaction).of_amount(amount, 0)]).asking(asked);
        for decision in [scenario.decide(), scenario.decide_increment(), scenario.decide_purchase()] {
            assert_eq!(code_of(&decision), fails.then_some("limit_transaction_exceeded"), "{amount} {asked}");
        }
    }
}

#[test]
fn a_number_of_payments_is_limited_but_for_increments() {
    for interval in WINDOWED {
        for (count, used, fails) in [(3, 0, false), (3, 2, false), (3, 3, true), (3, 4, true), (1, 0, false), (1, 1, true), (0, 0, true)] {
            let scenario = Scenario::with_limits([limit(1, interval).of_count(count, used)]);
            for decision in [scenario.decide(), scenario.decide_purchase()] {
                assert_eq!(code_of(&decision), fails.then_some("limit_count_exceeded"), "{interval:?} {count} {used}");
                assert_eq!(decision.verdict.decline().and_then(|decline| decline.limit), fails.then(|| limit_id(1)));
            }
            let raised = scenario.decide_increment();
            assert_eq!((code_of(&raised), made(&raised)), (None, ["card_status", "authorization_open", "funds"].map(str::to_owned).into()));
        }
    }
    for (count, fails) in [(0, true), (1, false)] {
        let scenario = Scenario::with_limits([limit(1, Interval::Transaction).of_count(count, 0)]);
        assert_eq!(scenario.declined(), fails.then_some("limit_count_exceeded"), "{count}");
    }
}

#[test]
fn a_limit_shows_what_it_compared() {
    let month = limit(0, Interval::Month).of_amount(30_000, 28_750).of_count(5, 6);
    let decision = Scenario::with_limits([month]).asking(400).decide();
    let id = limit_id(0);
    let window = r#""interval":"month","windowStart":"2026-11-01T05:00:00.000Z","windowEnd":"2026-12-01T05:00:00.000Z""#;
    let wanted = format!(
        r#"[{{"check":"card_status","result":"pass","value":"active"}},{{"check":"amount","result":"pass","requested":4}},{{"check":"limit","result":"pass","limitId":"{id}",{window},"limit":300,"used":287.50,"remaining":12.50,"requested":4}},{{"check":"limit_count","result":"fail","limitId":"{id}",{window},"limit":5,"used":6,"remaining":0}},{{"check":"funds","result":"pass","balance":5,"held":1,"available":4,"requested":4}}]"#
    );
    assert_eq!(checks(&decision), wanted);
    // More than the limit was spent.
    let over = Scenario::with_limits([limit(0, Interval::Day).of_amount(100, 350)]).asking(1).decide();
    let wanted = format!(
        r#"{{"check":"limit","result":"fail","limitId":"{id}","interval":"day","windowStart":"2026-11-26T05:00:00.000Z","windowEnd":"2026-11-27T05:00:00.000Z","limit":1,"used":3.50,"remaining":0,"requested":0.01}}"#
    );
    assert_eq!(check_before_funds(&over), wanted);
    for (interval, name) in [(Interval::Transaction, "transaction"), (Interval::Lifetime, "lifetime")] {
        let decision = Scenario::with_limits([limit(0, interval).of_amount(300, 0)]).asking(200).decide();
        let wanted = format!(
            r#"{{"check":"limit","result":"pass","limitId":"{id}","interval":"{name}","windowStart":null,"windowEnd":null,"limit":3,"used":0,"remaining":3,"requested":2}}"#
        );
        assert_eq!(check_before_funds(&decision), wanted);
    }
}

#[test]
fn a_decline_by_a_limit_says_which_and_what_is_left() {
    let month = || limit(1, Interval::Month).of_amount(30_000, 28_750);
    let counted = |count| limit(1, Interval::Week).of_count(count, 9);
    for (of, message) in [
        (named(month()), "The limit \"Travel\" of 300 a month has 12.50 left; 40 was asked for."),
        (month(), "A limit of 300 a month has 12.50 left; 40 was asked for."),
        (of_customer(month()), "The customer's limit of 300 a month has 12.50 left; 40 was asked for."),
        (of_customer(named(month())), "The customer's limit \"Travel\" of 300 a month has 12.50 left; 40 was asked for."),
        (limit(1, Interval::Day).of_amount(100, 500), "A limit of 1 a day has 0 left; 40 was asked for."),
        (limit(1, Interval::Lifetime).of_amount(100, 50), "A limit of 1 in all has 0.50 left; 40 was asked for."),
        (limit(1, Interval::Transaction).of_amount(3_999, 0), "A limit of 39.99 a transaction is exceeded; 40 was asked for."),
        (named(limit(1, Interval::Transaction).of_amount(0, 0)), "The limit \"Travel\" of 0 a transaction is exceeded; 40 was asked for."),
        (counted(3), "A limit of 3 payments a week has none left."),
        (named(counted(1)), "The limit \"Travel\" of 1 payment a week has none left."),
        (of_customer(counted(0)), "The customer's limit of 0 payments a week has none left."),
    ] {
        let scenario = Scenario { card: Position { balance: money(100_000), ..card(CardStatus::Active) }, ..Scenario::with_limits([of]) };
        assert_eq!(declined(&scenario.asking(4_000).decide()).map(|(_, message)| message), Some(message));
    }
}

#[test]
fn only_limits_that_are_active_and_count_the_payment_refuse() {
    let nothing = || limit(1, Interval::Day).of_amount(0, 0).of_count(0, 0);
    let of = |filter: LimitFilter| nothing().to(|limit| limit.filter = filter);
    let all = LimitFilter { categories: vec![parsed("5734")], countries: vec![parsed("CO")], merchants: vec![parsed(MERCHANT)] };
    for (of, refuses) in [
        (nothing(), true),
        (nothing().to(|limit| limit.status = LimitStatus::Paused), false),
        (of(all.clone()), true),
        (of(LimitFilter { categories: vec![parsed("4511"), parsed("5734")], ..LimitFilter::default() }), true),
        (of(LimitFilter { categories: vec![parsed("4511")], ..all.clone() }), false),
        (of(LimitFilter { countries: vec![parsed("ES")], ..all.clone() }), false),
        (of(LimitFilter { merchants: vec![parsed("1")], ..all.clone() }), false),
    ] {
        let scenario = Scenario::with_limits([of]);
        for decision in [scenario.decide(), scenario.decide_purchase()] {
            assert_eq!(code_of(&decision), refuses.then_some("limit_amount_exceeded"), "{:?}", scenario.limits);
            assert_eq!(made(&decision).iter().filter(|name| name.starts_with("limit")).count(), if refuses { 2 } else { 0 });
        }
    }
    // A payment that lacks what a list names is not counted by it.
    for lacking in 0..3 {
        let mut scenario = Scenario::with_limits([of(all.clone())]);
        match lacking {
            0 => scenario.merchant.id = None,
            1 => scenario.merchant.category = None,
            _ => scenario.merchant.country = None,
        }
        assert_eq!(scenario.declined(), None, "{lacking}");
    }
}

/// Each of these refuses. They are in the order in which they are checked.
fn in_order() -> Vec<LimitUse> {
    use Interval::{Day, Lifetime, Month, Transaction, Week, Year};

    let card = |id, interval| limit(id, interval).of_amount(0, 0);
    let customer = |id, interval| of_customer(card(id, interval));
    vec![
        card(11, Transaction),
        card(12, Transaction),
        customer(1, Transaction),
        card(20, Day),
        card(21, Day),
        card(10, Week),
        card(9, Month),
        card(8, Year),
        card(7, Lifetime),
        customer(6, Day),
        customer(5, Week),
        customer(4, Month),
        customer(3, Year),
        customer(2, Lifetime),
    ]
}

#[test]
fn of_the_limits_that_refuse_the_first_in_order_is_the_decline() {
    let limits = in_order();
    for (index, first) in limits.iter().enumerate() {
        let is_transaction = first.limit.calendar.interval == Interval::Transaction;
        for later in &limits[index + 1..] {
            let scenario = Scenario::with_limits([later.clone(), first.clone()]);
            for decision in [scenario.decide(), scenario.decide_increment(), scenario.decide_purchase()] {
                let code = if is_transaction { "limit_transaction_exceeded" } else { "limit_amount_exceeded" };
                assert_eq!(decline_of(&decision), (code, Some(first.limit.id)), "{first:?} {later:?}");
            }
        }
        // Also if all the others are there and pass.
        let others = limits.iter().map(|of| if of.limit.id == first.limit.id { of.clone() } else { of.clone().of_amount(MAX_MINOR, 0) });
        let decision = Scenario::with_limits(others.rev()).decide();
        assert_eq!(decline_of(&decision).1, Some(first.limit.id));
    }
    let decision = Scenario::with_limits(limits.iter().rev().cloned()).decide();
    let found = decision.checks.iter().filter_map(|check| if let Check::Limit { of, .. } = check { Some(of.limit_id) } else { None });
    assert_eq!(found.collect::<Vec<_>>(), limits.iter().map(|of| of.limit.id).collect::<Vec<_>>());
}

#[test]
fn amounts_come_before_numbers_of_payments_over_all_limits() {
    let limits = in_order();
    for amount in &limits {
        for count in limits.iter().filter(|count| count.limit.id != amount.limit.id) {
            let count = count.clone().to(|limit| limit.amount = None).of_count(0, 0);
            let decision = Scenario::with_limits([count.clone(), amount.clone()]).decide();
            assert_eq!(decline_of(&decision).1, Some(amount.limit.id), "{amount:?} {count:?}");
            assert_eq!(made(&decision)[2..], ["limit", "limit_count", "funds"]);
        }
    }
    let counts = limits.iter().map(|of| of.clone().to(|limit| limit.amount = None).of_count(0, 0));
    assert_eq!(decline_of(&Scenario::with_limits(counts.rev()).decide()), ("limit_count_exceeded", Some(limits[0].limit.id)));
}

#[test]
fn a_part_is_what_the_funds_and_every_limit_have_left() {
    let day = |amount, used| limit(1, Interval::Day).of_amount(amount, used);
    let month = |amount, used| of_customer(limit(2, Interval::Month)).of_amount(amount, used);
    let each = |amount| limit(3, Interval::Transaction).of_amount(amount, 0);
    let paused = |of: LimitUse| of.to(|limit| limit.status = LimitStatus::Paused);
    for (limits, asked, wanted) in [
        (vec![], 400, Ok(400)),
        (vec![], 401, Err("insufficient_funds")),
        (vec![day(300, 0)], 300, Ok(300)),
        (vec![day(300, 0)], 301, Err("limit_amount_exceeded")),
        (vec![day(300, 100)], 900, Err("limit_amount_exceeded")),
        (vec![day(300, 299)], 301, Err("limit_amount_exceeded")),
        (vec![day(300, 0), month(1_000, 750)], 301, Err("limit_amount_exceeded")),
        (vec![each(120), day(300, 0), month(1_000, 750)], 301, Err("limit_transaction_exceeded")),
        (vec![each(120), day(300, 200), month(1_000, 0)], 301, Err("limit_transaction_exceeded")),
        (vec![day(MAX_MINOR, 0)], 401, Err("insufficient_funds")),
        (vec![paused(day(0, 0)), month(100, 0)], 401, Err("limit_amount_exceeded")),
    ] {
        let left = limits.iter().filter(|of| of.limit.status == LimitStatus::Active);
        let left = left.map(|of| of.limit.amount.expect("an amount").minor() - of.used.amount.minor()).min().unwrap_or(MAX_MINOR).min(400);
        let mut scenario = Scenario::with_limits(limits).asking(asked);
        assert_eq!(scenario.declined(), wanted.err(), "{:?}", scenario.limits);
        scenario.asked.partial_approval = true;
        let approved = wanted.map_or(Verdict::Partial(money(left)), |minor| Verdict::Approved(money(minor)));
        assert_eq!(scenario.decide().verdict, approved, "{:?}", scenario.limits);
    }
}

#[test]
fn no_part_is_approved_if_nothing_is_left_or_something_else_fails() {
    let day = |amount, used| limit(1, Interval::Day).of_amount(amount, used);
    let partial = |limits: Vec<LimitUse>| {
        let mut scenario = Scenario::with_limits(limits).asking(401);
        scenario.asked.partial_approval = true;
        scenario
    };
    for (limits, code) in [
        (vec![day(300, 300)], "limit_amount_exceeded"),
        (vec![day(300, 301)], "limit_amount_exceeded"),
        (vec![day(0, 0)], "limit_amount_exceeded"),
        (vec![limit(1, Interval::Transaction).of_amount(0, 0)], "limit_transaction_exceeded"),
        (vec![day(300, 0), limit(2, Interval::Year).of_amount(9, 9)], "limit_amount_exceeded"),
        (vec![day(300, 0), limit(2, Interval::Day).of_count(1, 1)], "limit_amount_exceeded"),
        (vec![limit(2, Interval::Day).of_count(1, 1)], "limit_count_exceeded"),
    ] {
        assert_eq!(partial(limits).declined(), Some(code));
    }
    let blocked = Scenario { card: card(CardStatus::Blocked), ..partial(vec![day(300, 0)]) };
    assert_eq!(blocked.declined(), Some("card_blocked"));
    let mut mismatch = partial(vec![day(300, 0)]);
    mismatch.asked.currency = Some(code("EUR"));
    assert_eq!(mismatch.declined(), Some("currency_mismatch"));
    let nothing_available = Scenario { card: Position { held: money(500), ..card(CardStatus::Active) }, ..partial(vec![day(300, 0)]) };
    assert_eq!(nothing_available.declined(), Some("limit_amount_exceeded"));
    // Nor of an increment or a purchase, which are approved as a whole.
    let scenario = partial(vec![day(300, 0)]);
    assert_eq!(code_of(&scenario.decide_increment()), Some("limit_amount_exceeded"));
    assert_eq!(code_of(&scenario.decide_purchase()), Some("limit_amount_exceeded"));
}

#[test]
fn a_verification_is_not_limited_and_a_stand_in_says_which_limits_it_exceeds() {
    let nothing = || [limit(1, Interval::Day).of_amount(0, 0).of_count(0, 0), limit(2, Interval::Transaction).of_amount(0, 0)];
    let mut verification = Scenario::with_limits(nothing()).asking(0);
    verification.asked.kind = AuthorizationKind::Verification;
    let decision = verification.decide();
    assert_eq!(
        (&decision.verdict, made(&decision)),
        (&Verdict::Approved(Money::ZERO), ["card_status", "amount", "funds"].map(str::to_owned).into())
    );
    let mut stand_in = Scenario::with_limits(nothing());
    (stand_in.asked.stand_in, stand_in.asked.partial_approval) = (true, true);
    let decision = stand_in.decide();
    assert_eq!(
        (&decision.verdict, failed(&decision)),
        (&Verdict::StandIn(money(250)), ["limit", "limit", "limit_count"].map(str::to_owned).into())
    );
}

#[test]
fn a_purchase_is_not_checked_for_status_and_funds() {
    let poor = Position { balance: Money::ZERO, ..card(CardStatus::Blocked) };
    let scenario = Scenario { card: poor, ..Scenario::with_limits([limit(1, Interval::Day).of_amount(250, 0).of_count(1, 0)]) };
    let decision = scenario.decide_purchase();
    assert_eq!((&decision.verdict, made(&decision)), (&Verdict::Approved(money(250)), ["limit", "limit_count"].map(str::to_owned).into()));
}
