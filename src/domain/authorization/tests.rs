//! The whole grid of steps and statuses, the vectors of a payment's arithmetic, and random steps against a model.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    card::CardStatus,
    currency::Currency,
    decision::{self, Asked, DeclineCode, Verdict},
    money::MAX_MINOR,
    posting::{self, MovementKind, Position},
};

fn money(minor: i64) -> Money {
    Money::from_minor(minor).expect("within bounds")
}

fn amount(minor: i64) -> Amount {
    Amount::new(money(minor)).expect("above zero")
}

fn capture(minor: impl Into<Option<i64>>, is_final: bool) -> Step {
    Step::Capture { amount: minor.into().map(amount), is_final }
}

fn reverse(minor: impl Into<Option<i64>>) -> Step {
    Step::Reverse(minor.into().map(amount))
}

/// The names of the sums: A is authorised, H held, C captured, E in excess, R reversed, X expired, O released by a final
/// capture, K given back of C, F refunded, G taken back of F.
const fn sums(of: &Standing) -> [(char, Money); 10] {
    [
        ('A', of.authorized),
        ('H', of.held),
        ('C', of.captured),
        ('E', of.excess),
        ('R', of.reversed),
        ('X', of.expired),
        ('O', of.released),
        ('K', of.capture_reversed),
        ('F', of.refunded),
        ('G', of.refund_reversed),
    ]
}

/// The status and the sums that are not 0, as in `pending A100 H40 C60`.
fn shown(standing: &Standing) -> String {
    let sums = sums(standing).into_iter().filter(|(_, sum)| *sum != Money::ZERO);
    let sums: Vec<String> = sums.map(|(name, sum)| format!(" {name}{}", sum.minor())).collect();
    let sums = sums.concat();
    format!("{}{sums}", standing.status.name())
}

/// What a step leads to: `pending A100 H70 R30; reversal 30`.
fn after(standing: Standing, step: Step) -> String {
    match standing.take(step) {
        Ok(Taken { standing, kind, amount, captures }) => {
            let is_capture = matches!(kind, EntryKind::Capture | EntryKind::LateCapture);
            assert_eq!(captures.map(Amount::money), is_capture.then_some(amount), "{step:?}");
            format!("{}; {} {}", shown(&standing), kind.name(), amount.minor())
        }
        Err(Refusal::AuthorizationNotOpen(status)) if status == standing.status => NOT_OPEN.to_owned(),
        Err(Refusal::NothingHeld(status)) if status == standing.status => NOTHING_HELD.to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

/// One of each status, two that are pending: one of which nothing was captured, and one of which 60 was.
fn standings() -> [Standing; 7] {
    use AuthorizationStatus::{Captured, Expired, Reversed};

    let hundred = Standing::approved(money(100));
    let ended = Standing { held: Money::ZERO, ..hundred };
    [
        hundred,
        Standing { held: money(40), captured: money(60), ..hundred },
        Standing { status: Captured, captured: money(60), released: money(40), ..ended },
        Standing { status: Reversed, reversed: money(100), ..ended },
        Standing { status: Expired, expired: money(100), ..ended },
        Standing::DECLINED,
        Standing::approved(Money::ZERO),
    ]
}

const NOT_OPEN: &str = "not open";
const NOTHING_HELD: &str = "nothing held";

#[test]
fn the_standings_of_the_grid_are_what_they_seem() {
    let shown = standings().map(|standing| shown(&standing));
    let wanted = [
        "pending A100 H100",
        "pending A100 H40 C60",
        "captured A100 C60 O40",
        "reversed A100 R100",
        "expired A100 X100",
        "declined",
        "verified",
    ];
    assert_eq!(shown, wanted);
    for status in AuthorizationStatus::VARIANTS {
        assert!(wanted.iter().any(|shown| shown.starts_with(status.name())), "{status:?}");
    }
}

#[test]
fn a_step_that_needs_a_hold_is_taken_only_while_pending() {
    for (step, uncaptured, partly_captured) in [
        (Step::Increment(amount(50)), "pending A150 H150; increment 50", "pending A150 H90 C60; increment 50"),
        (Step::Adjust(money(120)), "pending A120 H120; adjustment 20", "pending A180 H120 C60; adjustment 80"),
        (Step::Adjust(money(70)), "pending A100 H70 R30; adjustment -30", "pending A130 H70 C60; adjustment 30"),
        (Step::Adjust(money(40)), "pending A100 H40 R60; adjustment -60", "pending A100 H40 C60; adjustment 0"),
        (Step::Adjust(Money::ZERO), "reversed A100 R100; adjustment -100", "captured A100 C60 R40; adjustment -40"),
        (Step::Expire, "expired A100 X100; expiry 100", "captured A100 C60 X40; expiry 40"),
        (Step::Release, "expired A100 X100; release 100", "captured A100 C60 X40; release 40"),
    ] {
        let cells = [uncaptured, partly_captured, NOT_OPEN, NOT_OPEN, NOT_OPEN, NOT_OPEN, NOT_OPEN];
        assert_eq!(standings().map(|standing| after(standing, step)), cells, "{step:?}");
    }
}

#[test]
fn a_reversal_gives_back_at_most_what_is_held_and_can_be_repeated() {
    for (step, uncaptured, partly_captured) in [
        (reverse(None), "reversed A100 R100; reversal 100", "captured A100 C60 R40; reversal 40"),
        (reverse(30), "pending A100 H70 R30; reversal 30", "pending A100 H10 C60 R30; reversal 30"),
        (reverse(500), "reversed A100 R100; reversal 100", "captured A100 C60 R40; reversal 40"),
    ] {
        let cells = [
            uncaptured,
            partly_captured,
            NOT_OPEN,
            "reversed A100 R100; reversal 0",
            "expired A100 X100; reversal 0",
            NOT_OPEN,
            "verified; reversal 0",
        ];
        assert_eq!(standings().map(|standing| after(standing, step)), cells, "{step:?}");
    }
}

#[test]
fn a_capture_is_taken_whether_a_hold_covers_it_or_not() {
    for (step, cells) in [
        (
            capture(None, true),
            [
                "captured A100 C100; capture 100",
                "captured A100 C100; capture 40",
                NOTHING_HELD,
                NOTHING_HELD,
                NOTHING_HELD,
                NOT_OPEN,
                NOT_OPEN,
            ],
        ),
        (
            capture(None, false),
            [
                "captured A100 C100; capture 100",
                "captured A100 C100; capture 40",
                NOTHING_HELD,
                NOTHING_HELD,
                NOTHING_HELD,
                NOT_OPEN,
                NOT_OPEN,
            ],
        ),
        (
            capture(30, true),
            [
                "captured A100 C30 O70; capture 30",
                "captured A100 C90 O10; capture 30",
                "captured A100 C90 E30 O40; late_capture 30",
                "captured A100 C30 E30 R100; late_capture 30",
                "captured A100 C30 E30 X100; late_capture 30",
                NOT_OPEN,
                NOT_OPEN,
            ],
        ),
        (
            capture(30, false),
            [
                "pending A100 H70 C30; capture 30",
                "pending A100 H10 C90; capture 30",
                "captured A100 C90 E30 O40; late_capture 30",
                "captured A100 C30 E30 R100; late_capture 30",
                "captured A100 C30 E30 X100; late_capture 30",
                NOT_OPEN,
                NOT_OPEN,
            ],
        ),
        (
            capture(150, true),
            [
                "captured A100 C150 E50; capture 150",
                "captured A100 C210 E110; capture 150",
                "captured A100 C210 E150 O40; late_capture 150",
                "captured A100 C150 E150 R100; late_capture 150",
                "captured A100 C150 E150 X100; late_capture 150",
                NOT_OPEN,
                NOT_OPEN,
            ],
        ),
        (
            capture(150, false),
            [
                "captured A100 C150 E50; capture 150",
                "captured A100 C210 E110; capture 150",
                "captured A100 C210 E150 O40; late_capture 150",
                "captured A100 C150 E150 R100; late_capture 150",
                "captured A100 C150 E150 X100; late_capture 150",
                NOT_OPEN,
                NOT_OPEN,
            ],
        ),
    ] {
        assert_eq!(standings().map(|standing| after(standing, step)), cells, "{step:?}");
    }
}

#[test]
fn no_more_is_given_back_than_was_taken() {
    let captured = standings()[2];
    let show = |result: Result<Standing, Refusal>| result.map(|standing| shown(&standing));
    let too_much = |left: i64| Err(Refusal::ReversalExceedsOriginal(money(left)));
    let too_much_refunded = |left: i64| Err(Refusal::RefundExceedsCapture(money(left)));

    assert_eq!(show(captured.reverse_capture(amount(60))).as_deref(), Ok("captured A100 C60 O40 K60"));
    assert_eq!(captured.reverse_capture(amount(61)), too_much(60));
    assert_eq!(show(captured.refund(amount(60))).as_deref(), Ok("captured A100 C60 O40 F60"));
    assert_eq!(captured.refund(amount(61)), too_much_refunded(60));
    assert_eq!(captured.reverse_refund(amount(1)), too_much(0));

    // What a reversal gave back is neither refunded nor reversed again.
    let given_back = Standing { capture_reversed: money(20), ..captured };
    assert_eq!(show(given_back.refund(amount(40))).as_deref(), Ok("captured A100 C60 O40 K20 F40"));
    assert_eq!(given_back.refund(amount(41)), too_much_refunded(40));
    assert_eq!(show(given_back.reverse_capture(amount(40))).as_deref(), Ok("captured A100 C60 O40 K60"));
    assert_eq!(given_back.reverse_capture(amount(41)), too_much(40));
    // Nor what a refund gave back, but for what was taken back of it.
    let refunded = Standing { refunded: money(50), ..captured };
    assert_eq!(refunded.refund(amount(11)), too_much_refunded(10));
    assert_eq!(refunded.reverse_capture(amount(11)), too_much(10));
    assert_eq!(show(refunded.reverse_capture(amount(10))).as_deref(), Ok("captured A100 C60 O40 K10 F50"));
    assert_eq!(show(refunded.reverse_refund(amount(25))).as_deref(), Ok("captured A100 C60 O40 F50 G25"));
    assert_eq!(refunded.reverse_refund(amount(51)), too_much(50));
    let taken_back = Standing { refund_reversed: money(25), ..refunded };
    assert_eq!(show(taken_back.refund(amount(35))).as_deref(), Ok("captured A100 C60 O40 F85 G25"));
    assert_eq!(taken_back.refund(amount(36)), too_much_refunded(35));
    assert_eq!(show(taken_back.reverse_capture(amount(35))).as_deref(), Ok("captured A100 C60 O40 K35 F50 G25"));
    assert_eq!(taken_back.reverse_capture(amount(36)), too_much(35));
    assert_eq!(taken_back.reverse_refund(amount(26)), too_much(25));

    // Nothing was captured: there is nothing to give back.
    for standing in [standings()[0], standings()[3], standings()[4], Standing::DECLINED] {
        assert_eq!(standing.reverse_capture(amount(1)), too_much(0));
        assert_eq!(standing.refund(amount(1)), too_much_refunded(0));
        assert_eq!(standing.reverse_refund(amount(1)), too_much(0));
    }
    // Also of an amount that no sum could take.
    let given_back = Standing { capture_reversed: money(1), refunded: money(1), refund_reversed: money(1), ..captured };
    assert_eq!(given_back.reverse_capture(amount(MAX_MINOR)), too_much(59));
    assert_eq!(given_back.refund(amount(MAX_MINOR)), too_much_refunded(59));
    assert_eq!(given_back.reverse_refund(amount(MAX_MINOR)), too_much(0));
}

#[test]
fn no_sum_leaves_its_bounds() {
    let pending = standings()[1];
    for step in [Step::Increment(amount(MAX_MINOR)), Step::Adjust(money(MAX_MINOR)), capture(MAX_MINOR, true), capture(MAX_MINOR, false)] {
        assert_eq!(after(pending, step), "BalanceLimitExceeded", "{step:?}");
    }
    assert_eq!(after(standings()[2], capture(MAX_MINOR, true)), "BalanceLimitExceeded");
    let largest = Standing::approved(money(MAX_MINOR));
    assert_eq!(after(largest, Step::Increment(amount(1))), "BalanceLimitExceeded");
    assert_eq!(after(largest, capture(MAX_MINOR, true)), format!("captured A{MAX_MINOR} C{MAX_MINOR}; capture {MAX_MINOR}"));
}

mod model;
mod vectors;
