//! Payments of a card that has 500, step by step, with all that they leave.

use super::*;

/// An authorisation and its card.
#[derive(Clone, Copy)]
struct Payment {
    card: Position,
    authorization: Standing,
}

/// The card before any payment.
const fn card() -> Position {
    Position {
        customer: None,
        status: CardStatus::Active,
        currency: Currency::Usd,
        balance: Money::ZERO,
        held: Money::ZERO,
        seq: 0,
        sequence: 0,
        holds_due_at: None,
        rules_version: 0,
    }
}

fn asked(minor: i64, partial_approval: bool) -> Asked {
    Asked { amount: money(minor), kind: AuthorizationKind::Purchase, currency: None, partial_approval, stand_in: false, forced: None }
}

impl Payment {
    fn authorize(card: Position, asked: &Asked) -> (Self, Verdict) {
        let verdict = decision::decide(&card, asked, None).verdict;
        let authorization = verdict.standing();
        let card = Position { held: card.held.plus(authorization.held).expect("within bounds"), ..card };
        (Self { card, authorization }, verdict)
    }

    fn of(minor: i64) -> Self {
        let (payment, verdict) = Self::authorize(Position { balance: money(500), ..card() }, &asked(minor, false));
        assert_eq!((verdict.response_code(), verdict.entry_kind()), ("00", EntryKind::Authorization));
        payment
    }

    fn take(self, step: Step) -> Self {
        let taken = self.authorization.take(step).expect("permitted");
        let held = self.card.held.less(self.authorization.held).plus(taken.standing.held).expect("within bounds");
        let card = Position { held, ..self.card };
        let payment = Self { card, authorization: taken.standing };
        taken.captures.map_or(payment, |captured| payment.post(MovementKind::Capture, captured))
    }

    fn post(self, kind: MovementKind, amount: Amount) -> Self {
        let entry = posting::post_unconditionally(self.card, kind, amount).expect("within bounds");
        Self { card: self.card.after(entry), ..self }
    }

    fn given_back(self, kind: MovementKind, amount: Amount, standing: Result<Standing, Refusal>) -> Self {
        Self { authorization: standing.expect("permitted"), ..self }.post(kind, amount)
    }

    /// The authorisation, and the card's balance, held and available money.
    fn shown(&self) -> (String, [i64; 3]) {
        (shown(&self.authorization), [self.card.balance, self.card.held, self.card.available()].map(Money::minor))
    }
}

#[test]
fn each_vector_leaves_what_is_worked_out_for_it() {
    let one = Payment::of(100);
    let two = one.take(capture(100, true));
    let four = one.take(capture(60, false));
    let blocked = Payment { card: Position { status: CardStatus::Blocked, ..one.card }, ..one };
    for (number, payment, standing, money) in [
        (1, one, "pending A100 H100", [500, 100, 400]),
        (2, two, "captured A100 C100", [400, 0, 400]),
        (3, one.take(capture(60, true)), "captured A100 C60 O40", [440, 0, 440]),
        (4, four, "pending A100 H40 C60", [440, 40, 400]),
        (5, four.take(capture(60, true)), "captured A100 C120 E20", [380, 0, 380]),
        (6, four.take(reverse(None)), "captured A100 C60 R40", [440, 0, 440]),
        (7, one.take(Step::Increment(amount(50))).take(reverse(30)), "pending A150 H120 R30", [500, 120, 380]),
        (8, one.take(Step::Expire), "expired A100 X100", [500, 0, 500]),
        (9, one.take(Step::Expire).take(capture(100, true)), "captured A100 C100 E100 X100", [400, 0, 400]),
        (10, four.take(Step::Expire), "captured A100 C60 X40", [440, 0, 440]),
        (11, Payment::of(500).post(MovementKind::Capture, amount(30)), "pending A500 H500", [470, 500, -30]),
        (16, blocked.take(capture(100, true)), "captured A100 C100", [400, 0, 400]),
        (17, one.take(Step::Adjust(money(120))).take(Step::Adjust(money(70))), "pending A120 H70 R50", [500, 70, 430]),
    ] {
        assert_eq!(payment.shown(), (standing.to_owned(), money), "vector {number}");
    }
}

#[test]
fn vector_12_declines_what_a_force_post_has_left_nothing_for() {
    let eleven = Payment::of(500).post(MovementKind::Capture, amount(30));
    let (twelve, verdict) = Payment::authorize(eleven.card, &asked(1, true));
    assert_eq!(verdict.decline().map(|decline| decline.code), Some(DeclineCode::InsufficientFunds));
    assert_eq!(twelve.shown(), ("declined".to_owned(), [470, 500, -30]));
}

#[test]
fn vector_13_takes_a_refund_back() {
    let two = Payment::of(100).take(capture(100, true));
    let refunded = two.given_back(MovementKind::Refund, amount(100), two.authorization.refund(amount(100)));
    assert_eq!(refunded.shown(), ("captured A100 C100 F100".to_owned(), [500, 0, 500]));
    let thirteen = refunded.given_back(MovementKind::RefundReversal, amount(100), refunded.authorization.reverse_refund(amount(100)));
    assert_eq!(thirteen.shown(), ("captured A100 C100 F100 G100".to_owned(), [400, 0, 400]));
}

#[test]
fn vector_14_approves_what_is_available() {
    let (fourteen, verdict) = Payment::authorize(Position { balance: money(500), ..card() }, &asked(600, true));
    assert_eq!((verdict.response_code(), verdict.entry_kind()), ("10", EntryKind::PartialAuthorization));
    assert_eq!(fourteen.shown(), ("pending A500 H500".to_owned(), [500, 500, 0]));
}

#[test]
fn vector_15_gives_a_capture_back() {
    let two = Payment::of(100).take(capture(100, true));
    let fifteen = two.given_back(MovementKind::CaptureReversal, amount(100), two.authorization.reverse_capture(amount(100)));
    assert_eq!(fifteen.shown(), ("captured A100 C100 K100".to_owned(), [500, 0, 500]));
}
