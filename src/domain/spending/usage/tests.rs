//! What payments spend, in worked examples, and random steps against a model.

use super::*;
use crate::domain::{
    authorization::Step,
    currency::Currency,
    id::{CardId, CustomerId},
    money::Amount,
    spending::{
        limit::{LimitFilter, LimitScope, LimitStatus},
        window::{Calendar, Interval, WeekStart},
    },
};

fn money(minor: i64) -> Money {
    Money::from_minor(minor).expect("within bounds")
}

fn amount(minor: i64) -> Amount {
    Amount::new(money(minor)).expect("above zero")
}

/// The noon of a day of January 2026.
fn day(day: i64) -> DateTime<Utc> {
    "2025-12-31T12:00:00Z".parse::<DateTime<Utc>>().expect("a moment") + chrono::TimeDelta::days(day)
}

fn calendar(interval: Interval, zone: &str) -> Calendar {
    Calendar { interval, time_zone: zone.parse().expect("a zone"), week_start: WeekStart::Monday }
}

fn limit(calendar: Calendar, restore_on_refund: bool) -> Limit {
    Limit {
        id: LimitId::new(),
        scope: LimitScope::Card(CardId::new()),
        currency: Currency::Usd,
        name: None,
        calendar,
        amount: Some(Money::ZERO),
        count: None,
        filter: LimitFilter::default(),
        restore_on_refund,
        status: LimitStatus::Active,
        counted_from: DateTime::UNIX_EPOCH,
    }
}

fn capture(minor: i64, is_final: bool) -> Step {
    Step::Capture { amount: Some(amount(minor)), is_final }
}

/// An authorisation of the first of the month, with its captures beyond the hold.
#[derive(Clone)]
struct Paid {
    standing: Standing,
    excess: Vec<Excess>,
}

impl Paid {
    fn of(minor: i64) -> Self {
        Self { standing: Standing::approved(money(minor)), excess: Vec::new() }
    }

    fn step(mut self, at: i64, step: Step) -> Self {
        let after = self.standing.take(step).expect("permitted").standing;
        let more = after.excess.less(self.standing.excess);
        if more > Money::ZERO {
            self.excess.push(Excess { at: day(at), amount: more });
        }
        self.standing = after;
        self
    }

    fn give_back(self, minor: i64) -> Self {
        Self { standing: self.standing.reverse_capture(amount(minor)).expect("permitted"), ..self }
    }

    fn refund(self, minor: i64) -> Self {
        Self { standing: self.standing.refund(amount(minor)).expect("permitted"), ..self }
    }

    fn take_back(self, minor: i64) -> Self {
        Self { standing: self.standing.reverse_refund(amount(minor)).expect("permitted"), ..self }
    }

    /// What is spent on days of the month: `1: 70 in 1, 3: 20 in 0`.
    fn days(&self, restore_on_refund: bool) -> String {
        let mut usage = Usage::default();
        let spending = Spending::of_authorization(day(1), &self.standing, &self.excess, restore_on_refund);
        usage.add(&limit(calendar(Interval::Day, "UTC"), restore_on_refund), &Spending::default(), &spending);
        shown(&usage)
    }
}

fn shown(usage: &Usage) -> String {
    let rows = usage.iter().map(|(_, start, used)| format!("{}: {} in {}", start.format("%-d"), used.amount.minor(), used.count));
    rows.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_hold_spends_on_the_day_of_its_approval_until_it_is_given_back() {
    for (paid, wanted) in [
        (Paid::of(100), "1: 100 in 1"),
        (Paid::of(0), ""),
        (Paid { standing: Standing::DECLINED, excess: Vec::new() }, ""),
        (Paid::of(100).step(2, Step::Increment(amount(50))), "1: 150 in 1"),
        (Paid::of(100).step(2, Step::Adjust(money(70))), "1: 70 in 1"),
        (Paid::of(100).step(2, Step::Adjust(money(120))), "1: 120 in 1"),
        (Paid::of(100).step(2, Step::Adjust(Money::ZERO)), ""),
        (Paid::of(100).step(2, Step::Reverse(Some(amount(30)))), "1: 70 in 1"),
        (Paid::of(100).step(2, Step::Reverse(None)), ""),
        (Paid::of(100).step(2, Step::Expire), ""),
        (Paid::of(100).step(2, Step::Release), ""),
        (Paid::of(100).step(2, capture(60, true)), "1: 60 in 1"),
        (Paid::of(100).step(2, capture(60, false)), "1: 100 in 1"),
        (Paid::of(100).step(2, capture(60, false)).step(3, Step::Expire), "1: 60 in 1"),
        (Paid::of(100).step(2, capture(60, false)).step(3, Step::Adjust(money(90))), "1: 150 in 1"),
    ] {
        assert_eq!(paid.days(false), wanted, "{:?}", paid.standing);
        assert_eq!(paid.days(true), wanted, "{:?}", paid.standing);
    }
}

#[test]
fn what_no_hold_covers_spends_on_the_day_it_is_posted() {
    for (paid, wanted) in [
        (Paid::of(100).step(2, capture(150, true)), "1: 100 in 1, 2: 50 in 0"),
        (Paid::of(100).step(1, capture(150, true)), "1: 150 in 1"),
        (Paid::of(100).step(2, capture(60, true)).step(3, capture(30, true)), "1: 60 in 1, 3: 30 in 0"),
        // The hold has spent nothing, so that the payment counts when it is captured first.
        (Paid::of(100).step(2, Step::Expire).step(3, capture(40, true)), "3: 40 in 1"),
        (Paid::of(100).step(2, Step::Reverse(None)).step(3, capture(40, true)).step(4, capture(5, true)), "3: 40 in 1, 4: 5 in 0"),
        (Paid::of(100).step(2, Step::Expire).step(3, capture(40, true)).step(3, capture(5, true)), "3: 45 in 1"),
    ] {
        assert_eq!(paid.days(false), wanted, "{:?}", paid.standing);
    }
}

#[test]
fn what_is_given_back_is_first_of_the_hold_and_then_of_the_newest_excess() {
    let paid = Paid::of(100).step(2, capture(120, true)).step(3, capture(30, true));
    assert_eq!(paid.days(false), "1: 100 in 1, 2: 20 in 0, 3: 30 in 0");
    for (minor, wanted) in [
        (99, "1: 1 in 1, 2: 20 in 0, 3: 30 in 0"),
        (100, "1: 0 in 1, 2: 20 in 0, 3: 30 in 0"),
        (101, "1: 0 in 1, 2: 20 in 0, 3: 29 in 0"),
        (130, "1: 0 in 1, 2: 20 in 0"),
        (131, "1: 0 in 1, 2: 19 in 0"),
        (150, "1: 0 in 1"),
    ] {
        let reversed = paid.clone().give_back(minor);
        let refunded = paid.clone().refund(minor);
        assert_eq!((reversed.days(false).as_str(), reversed.days(true).as_str()), (wanted, wanted));
        assert_eq!((refunded.days(false), refunded.days(true).as_str()), (paid.days(false), wanted));
        assert_eq!(refunded.take_back(minor).days(true), paid.days(true));
    }
    // Both ways together, and a part of the refund taken back.
    let both = paid.clone().give_back(80).refund(60).take_back(15);
    assert_eq!(both.days(true), "1: 0 in 1, 2: 20 in 0, 3: 5 in 0");
    assert_eq!(both.days(false), "1: 20 in 1, 2: 20 in 0, 3: 30 in 0");
    // Of a hold of which some was captured and given back, the rest is still held.
    let part = Paid::of(100).step(2, capture(30, false)).give_back(30);
    assert_eq!(part.days(false), "1: 70 in 1");
    assert_eq!(part.step(3, Step::Expire).days(false), "1: 0 in 1");
    // Nothing of it was of the hold.
    let late = Paid::of(100).step(2, Step::Expire).step(3, capture(40, true)).step(4, capture(10, true)).give_back(50);
    assert_eq!(late.days(false), "3: 0 in 1");
    // What is captured later takes over what was given back of what was captured before.
    let later = Paid::of(100).step(2, capture(150, true)).give_back(120).step(3, capture(10, true));
    assert_eq!(later.days(false), "1: 0 in 1, 2: 40 in 0");
}

#[test]
fn a_movement_without_an_authorization_spends_what_is_left_of_it() {
    for (reversed, refunded, restored, kept) in
        [(0, 0, 50, 50), (20, 0, 30, 30), (0, 20, 30, 50), (20, 30, 0, 30), (50, 0, 0, 0), (10, 60, 0, 40)]
    {
        for (restore_on_refund, left) in [(true, restored), (false, kept)] {
            let spending = Spending::of_movement(day(4), money(50), money(reversed), money(refunded), restore_on_refund);
            let mut usage = Usage::default();
            usage.add(&limit(calendar(Interval::Day, "UTC"), restore_on_refund), &Spending::default(), &spending);
            assert_eq!(shown(&usage), format!("4: {left} in 1"), "{reversed} {refunded} {restore_on_refund}");
        }
    }
}

#[test]
fn windows_before_the_limit_was_made_are_not_counted() {
    let days = calendar(Interval::Day, "UTC");
    let paid = Paid::of(100).step(2, capture(150, true)).step(3, capture(30, true));
    let spending = Spending::of_authorization(day(1), &paid.standing, &paid.excess, false);
    for (from, wanted) in [
        ("2026-01-01T00:00:00Z", "1: 100 in 1, 2: 50 in 0, 3: 30 in 0"),
        ("2026-01-01T00:00:00.001Z", "2: 50 in 0, 3: 30 in 0"),
        ("2026-01-02T00:00:00Z", "2: 50 in 0, 3: 30 in 0"),
        ("2026-01-03T00:00:00Z", "3: 30 in 0"),
        ("2026-01-04T00:00:00Z", ""),
    ] {
        let limit = Limit { counted_from: from.parse().expect("a moment"), ..limit(days, false) };
        let mut usage = Usage::default();
        usage.add(&limit, &Spending::default(), &spending);
        assert_eq!(shown(&usage), wanted, "{from}");
        usage.add(&limit, &spending, &Spending::default());
        assert_eq!(usage, Usage::default(), "{from}");
    }
}

#[test]
fn a_limit_on_each_transaction_has_no_usage() {
    let mut usage = Usage::default();
    let spending = Spending::of_authorization(day(1), &Standing::approved(money(100)), &[], false);
    usage.add(&limit(calendar(Interval::Transaction, "UTC"), false), &Spending::default(), &spending);
    assert_eq!(usage.iter().count(), 0);
    usage.add(&limit(calendar(Interval::Lifetime, "UTC"), false), &Spending::default(), &spending);
    assert_eq!(shown(&usage), "1: 100 in 1");
}

#[test]
fn differences_add_up_and_leave_nothing_if_they_are_zero() {
    let days = limit(calendar(Interval::Day, "UTC"), false);
    let of = |minor| Spending::of_authorization(day(1), &Standing::approved(money(minor)), &[], false);
    let mut usage = Usage::default();
    usage.add(&days, &of(100), &of(100));
    assert_eq!(usage, Usage::default());
    usage.add(&days, &of(100), &of(70));
    assert_eq!(shown(&usage), "1: -30 in 0");
    assert_eq!(usage.of(days.id, day(1) - chrono::TimeDelta::hours(12)), Used { amount: money(-30), count: 0 });
    assert_eq!(usage.of(days.id, day(1)), Used::default());
    usage.add(&days, &of(0), &of(30));
    assert_eq!(shown(&usage), "1: 0 in 1");
    usage.add(&days, &of(1), &Spending::default());
    assert_eq!(shown(&usage), "1: -1 in 0");
    usage.add(&days, &Spending::default(), &Spending::of_movement(day(1), money(1), Money::ZERO, Money::ZERO, false));
    assert_eq!(shown(&usage), "1: 0 in 1");
}

/// Rows are locked in this order.
#[test]
fn differences_are_in_the_order_of_limits_and_of_windows() {
    let mut limits = [10_u128, 3, 7].map(|id| Limit {
        id: uuid::Uuid::from_u128(id).into(),
        scope: LimitScope::Customer(CustomerId::new()),
        ..limit(calendar(Interval::Day, "UTC"), false)
    });
    let mut usage = Usage::default();
    for limit in &limits {
        for at in [5, 1, 3] {
            usage.add(limit, &Spending::default(), &Spending::of_movement(day(at), money(at), Money::ZERO, Money::ZERO, false));
        }
    }
    limits.sort_by_key(|limit| limit.id);
    let wanted = limits.iter().flat_map(|limit| [1, 3, 5].map(|at| (limit.id, money(at))));
    assert_eq!(usage.iter().map(|(id, _, used)| (id, used.amount)).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}

mod model;
