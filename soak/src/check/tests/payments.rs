//! Payments: authorisations, their steps, captures, refunds, and what undoes them.

use super::*;

/// Nothing is changed.
pub(super) fn unchanged<T>(_: &mut T) {}

/// A payment from its authorisation to its refund, a decline, and a read.
pub(super) fn world() -> World {
    let mut world = World::new();
    world.post("t", Kind::TopUp, 100);
    world.authorize("a", 50, 50, Form::Plain);
    world.step("i", (Kind::Increment, "increment"), "auth_a", (Some(10), 10), |row| {
        (row.sums.authorized, row.sums.held) = (60, 60);
    });
    world.capture("c", "auth_a", (Some(20), 20), Form::NotFinal, |row| (row.sums.captured, row.sums.held) = (20, 40));
    world.step("v", (Kind::Reverse, "reversal"), "auth_a", (Some(10), 10), |row| (row.sums.reversed, row.sums.held) = (10, 30));
    world.capture("f", "auth_a", (Some(25), 25), Form::Plain, |row| {
        (row.sums.captured, row.sums.held, row.sums.released) = (45, 0, 5);
        row.status = "captured".to_owned();
    });
    world.undo("r", (Kind::NetworkRefund, "refund"), 15, ("auth_a", Some("auth_a"), None), |sums| sums.refunded = 15);
    world.undo("g", (Kind::RefundReversal, "refund_reversal"), -5, ("mov_r", Some("auth_a"), Some(4)), |sums| sums.refund_reversed = 5);
    world.undo("k", (Kind::CaptureReversal, "capture_reversal"), 8, ("mov_c", Some("auth_a"), Some(2)), |sums| sums.capture_reversed = 8);
    world.decline("d", 74, "insufficient_funds");
    world.read("read");
    world
}

#[test]
fn a_consistent_payment_has_no_findings() {
    let world = world();
    world.assert_sound();
    let verdict = world.verdict();
    assert_eq!((verdict.acknowledged, verdict.approved, verdict.declined, verdict.entries), (10, 1, 1, 6));
    assert_eq!((world.card.balance, world.card.held, world.card.event_seq), (73, 0, 14));
}

#[test]
fn an_entry_that_is_missing_or_that_no_answer_explains_is_found() {
    let mut lost = world();
    lost.decline("lost", 74, "insufficient_funds");
    lost.card.entries.pop();
    lost.card.authorizations.remove("auth_lost");
    lost.card.event_seq -= 1;
    lost.card.told.pop();
    assert_eq!(lost.rules(), [Rule::Lost]);
    let mut doubled = world();
    doubled.forget("d");
    assert_eq!(doubled.rules(), [Rule::Doubled]);
}

#[test]
fn a_step_other_than_the_one_that_was_asked_for_is_found() {
    type Change = fn(&mut Request);
    let changes: [(&str, Change); 9] = [
        ("a", |asked| asked.network_transaction = Some("another".to_owned())),
        ("i", |asked| asked.cents = Some(9)),
        ("i", |asked| asked.kind = Kind::Adjust),
        ("c", |asked| asked.form = Form::Plain),
        ("c", |asked| asked.cents = None),
        ("v", |asked| asked.cents = None),
        ("f", |asked| asked.form = Form::NotFinal),
        ("r", |asked| asked.target = None),
        ("k", |asked| asked.target = Some("mov_f".to_owned())),
    ];
    for (op, change) in changes {
        let mut world = world();
        change(&mut world.attempt(op).request);
        assert_eq!(world.rules(), [Rule::Lost], "{op}");
    }
}

#[test]
fn sums_that_do_not_follow_from_the_entries_are_found() {
    let changes: [fn(&mut Card); 8] = [
        |card| card.held = 1,
        |card| card.entries[0].card_held = 49,
        |card| card.entries[0].card_balance = 99,
        |card| card.entries[3].held_before = 41,
        |card| card.entries[3].previous = Some(3),
        |card| card.entries[3].ordinal = 5,
        |card| card.authorizations.get_mut("auth_a").expect("it").sums.refunded = 14,
        |card| card.authorizations.get_mut("auth_a").expect("it").status = "pending".to_owned(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = world();
        change(&mut world.card);
        assert_eq!(world.rules().first(), Some(&Rule::Hold), "{number}");
    }
}

#[test]
fn a_step_that_its_status_forbids_is_found() {
    let mut world = world();
    world.step("late", (Kind::Increment, "increment"), "auth_a", (Some(1), 1), |row| {
        (row.sums.authorized, row.sums.held) = (61, 1);
    });
    world.assert_found(Rule::Hold);
}

#[test]
fn an_entry_out_of_sequence_is_found() {
    let mut world = world();
    let newest = world.card.entries.last_mut().expect("an entry");
    newest.sequence += 1;
    world.assert_found(Rule::Event);
}

#[test]
fn an_approval_beyond_what_is_available_is_found() {
    let mut authorized = world();
    authorized.authorize("e", 74, 74, Form::Plain);
    assert_eq!(authorized.rules(), [Rule::Overspent]);
    let mut by_network = world();
    by_network.authorize("e", 74, 74, Form::StandIn);
    by_network.assert_sound();

    let mut raised = world();
    raised.authorize("e", 70, 70, Form::Plain);
    let up = |row: &mut Authorization| (row.sums.authorized, row.sums.held) = (74, 74);
    raised.step("up", (Kind::Increment, "increment"), "auth_e", (Some(4), 4), up);
    assert_eq!(raised.rules(), [Rule::Overspent]);

    for (approved, expected) in [(72, vec![Rule::Overspent]), (73, vec![]), (74, vec![Rule::Overspent])] {
        let mut partial = world();
        partial.authorize("e", 80, approved, Form::Partial);
        assert_eq!(partial.rules(), expected, "{approved}");
    }
}

#[test]
fn spending_held_money_is_found() {
    for kind in [Kind::Purchase, Kind::Withdrawal] {
        let mut world = world();
        world.authorize("e", 70, 70, Form::Plain);
        world.post("s", kind, 3);
        world.assert_sound();
        world.post("t2", kind, 1);
        assert_eq!(world.rules(), [Rule::Overspent]);
    }
}

#[test]
fn a_decline_that_had_no_reason_is_found() {
    let mut world = world();
    world.decline("e", 73, "insufficient_funds");
    assert_eq!(world.rules(), [Rule::Refusal]);
    for code in ["card_blocked", "currency_mismatch"] {
        let mut world = self::world();
        world.decline("e", 74, code);
        assert_eq!(world.rules(), [Rule::Refusal], "{code}");
    }
    // One that may be approved in part is not declined while there is anything.
    let mut world = self::world();
    world.decline("e", 74, "insufficient_funds").request.form = Form::Partial;
    assert_eq!(world.rules(), [Rule::Refusal]);
    // What the network has approved is not declined at all.
    world.attempt("e").request.form = Form::StandIn;
    world.card.authorizations.get_mut("auth_e").expect("it").stand_in = true;
    world.assert_found(Rule::Lost);
    let mut world = self::world();
    world.step("up", (Kind::Increment, "increment_declined"), "auth_a", (Some(4), 4), unchanged);
    world.card.entries.last_mut().expect("an entry").decline = Some("authorization_not_open".to_owned());
    world.assert_sound();
    world.card.entries.last_mut().expect("an entry").decline = Some("insufficient_funds".to_owned());
    assert_eq!(world.rules(), [Rule::Refusal]);
}

#[test]
fn a_refused_step_that_had_no_reason_is_found() {
    let mut world = world();
    world.authorize("e", 10, 10, Form::Plain);
    for (kind, cents, target, code, justified) in [
        (Kind::Adjust, Some(1), "auth_a", "authorization_not_open", true),
        (Kind::Adjust, Some(1), "auth_e", "authorization_not_open", false),
        (Kind::Reverse, Some(1), "auth_a", "authorization_not_open", true),
        (Kind::Reverse, Some(1), "auth_e", "authorization_not_open", false),
        (Kind::Release, None, "auth_e", "authorization_not_open", false),
        (Kind::Expire, None, "auth_a", "authorization_not_open", true),
        (Kind::Capture, None, "auth_a", "authorization_not_open", true),
        // A capture that says how much is never refused.
        (Kind::Capture, Some(1), "auth_a", "authorization_not_open", false),
        (Kind::CaptureReversal, Some(13), "mov_c", "reversal_exceeds_original", true),
        (Kind::CaptureReversal, Some(12), "mov_c", "reversal_exceeds_original", false),
        (Kind::CaptureReversal, None, "mov_c", "reversal_exceeds_original", false),
        (Kind::RefundReversal, Some(11), "mov_r", "reversal_exceeds_original", true),
        (Kind::RefundReversal, Some(10), "mov_r", "reversal_exceeds_original", false),
        // 45 were captured and 8 given back, 15 refunded and 5 taken back.
        (Kind::NetworkRefund, Some(28), "auth_a", "refund_exceeds_capture", true),
        (Kind::NetworkRefund, Some(27), "auth_a", "refund_exceeds_capture", false),
        (Kind::NetworkRefund, Some(28), "mov_c", "refund_exceeds_capture", true),
        (Kind::NetworkRefund, Some(28), "mov_c", "insufficient_funds", false),
        (Kind::Increment, Some(1), "auth_a", "authorization_not_open", false),
    ] {
        let mut world = world.clone();
        let attempt = world.refused("x", kind, 0, code);
        (attempt.request.cents, attempt.request.target) = (cents, Some(target.to_owned()));
        let expected = if justified { vec![] } else { vec![Rule::Refusal] };
        assert_eq!(world.rules(), expected, "{kind:?} {cents:?} {target} {code}");
    }
}

#[test]
fn held_money_is_a_reason_to_refuse() {
    for (cents, expected) in [(4, vec![]), (3, vec![Rule::Refusal])] {
        let mut world = world();
        world.authorize("e", 70, 70, Form::Plain);
        world.refused("x", Kind::Withdrawal, cents, "insufficient_funds");
        assert_eq!(world.rules(), expected, "{cents}");
    }
}

#[test]
fn a_read_of_an_authorisation_as_it_never_stood_is_found() {
    let mut world = world();
    let body = world.answered("auth_a");
    let read = world.send("ra", Kind::ReadAuthorization, None);
    read.request.target = Some("auth_a".to_owned());
    read.answer = Some(Answer { status: 200, body, ..Answer::default() });
    world.assert_sound();
    // It shows what was not yet so when it ended.
    let (invoked, ended) = (world.attempt("ra").invoked, world.attempt("ra").ended);
    (world.attempt("ra").invoked, world.attempt("ra").ended) = (world.attempt("g").ended + 1, world.attempt("k").invoked);
    assert_eq!(world.rules(), [Rule::Read]);
    (world.attempt("ra").invoked, world.attempt("ra").ended) = (invoked, ended);
    world.answer("ra").body.authorization.as_mut().expect("it").sums.held = 1;
    assert_eq!(world.rules(), [Rule::Read]);
}

#[test]
fn a_network_transaction_is_a_duplicate_only_of_an_earlier_one() {
    let mut world = world();
    let attempt = world.refused("x", Kind::Authorize, 1, "duplicate_network_transaction");
    attempt.request.network_transaction = Some("a".to_owned());
    world.assert_sound();
    world.attempt("x").request.network_transaction = Some("x".to_owned());
    assert_eq!(world.rules(), [Rule::Refusal]);
}

#[test]
fn an_answer_that_contradicts_the_ledger_is_found() {
    let changes: [fn(&mut Body); 7] = [
        |body| body.balance = Some(79),
        |body| (body.held, body.available) = (Some(41), Some(39)),
        |body| body.held = Some(41),
        |body| body.available = Some(41),
        |body| body.authorization.as_mut().expect("it").sums.captured = 21,
        |body| body.authorization.as_mut().expect("it").status = "captured".to_owned(),
        |body| body.authorization = None,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = world();
        change(&mut world.answer("c").body);
        assert_eq!(world.rules(), [Rule::Answers], "{number}");
    }
}

#[test]
fn an_order_that_real_time_forbids_is_found() {
    let mut world = world();
    // The decline was acknowledged before the top-up that it follows was sent.
    let (sent, answered) = (world.attempt("d").invoked, world.attempt("d").ended);
    (world.attempt("t").invoked, world.attempt("t").ended) = (answered + SECOND, answered + 2 * SECOND);
    assert!(world.rules().contains(&Rule::Order));
    (world.attempt("t").invoked, world.attempt("t").ended) = (sent - 100 * SECOND, answered);
    world.attempts.retain(|attempt| attempt.request.kind != Kind::Read);
    world.assert_sound();
}

#[test]
fn a_step_that_was_never_decided_or_was_answered_with_what_no_client_may_get_is_found() {
    let mut world = world();
    world.send("x", Kind::Capture, 1);
    assert_eq!(world.rules(), [Rule::Undecided]);
    for (kind, status, expected) in [
        (Kind::Capture, 429, vec![Rule::Undecided]),
        // The key of the network is never invalid, and a login has no limit for each second.
        (Kind::Capture, 401, vec![Rule::Undecided, Rule::Undecided]),
        (Kind::TopUp, 429, vec![Rule::Undecided, Rule::Undecided]),
        (Kind::TopUp, 400, vec![Rule::Undecided, Rule::Undecided]),
        // Its `expiresAt` is too near by now.
        (Kind::Authorize, 400, vec![]),
    ] {
        let mut world = self::world();
        world.send("x", kind, 1).answer = Some(Answer { status, ..Answer::default() });
        let found: Vec<_> = world.verdict().kept.iter().map(|finding| finding.rule).collect();
        assert_eq!(found, expected, "{kind:?} {status}");
    }
}

#[test]
fn an_approval_of_a_card_that_was_not_active_is_found() {
    let mut world = world();
    world.authorize("open", 10, 10, Form::Plain);
    world.status("s", "blocked");
    world.decline("blocked", 1, "card_blocked");
    world.authorize("by network", 5, 5, Form::StandIn);
    world.capture("late", "auth_open", (None, 10), Form::Plain, |row| {
        (row.sums.captured, row.sums.held) = (10, 0);
        row.status = "captured".to_owned();
    });
    world.assert_sound();
    let mut approved = world.clone();
    approved.authorize("e", 1, 1, Form::Plain);
    assert_eq!(approved.rules(), [Rule::Status]);
    world.step("up", (Kind::Increment, "increment"), "auth_by network", (Some(1), 1), |row| {
        (row.sums.authorized, row.sums.held) = (6, 6);
    });
    assert_eq!(world.rules(), [Rule::Status]);
}

/// A hold of 10 that was due 30 seconds before its entry.
fn expired() -> World {
    let mut world = world();
    world.authorize("e", 10, 10, Form::Plain);
    let due = world.now + 70 * SECOND;
    world.card.authorizations.get_mut("auth_e").expect("it").expires_at = Some(due);
    world.now = due + 30 * SECOND;
    world.entry("x", "auth_e", "expiry", 10, |row| {
        (row.sums.expired, row.sums.held) = (10, 0);
        row.status = "expired".to_owned();
    });
    world
}

#[test]
fn a_hold_that_expires_before_its_time_is_found() {
    let mut world = expired();
    world.assert_sound();
    assert_eq!(world.verdict().expired, 1);
    world.card.authorizations.get_mut("auth_e").expect("it").expires_at = Some(world.now + SECOND);
    assert_eq!(world.rules(), [Rule::Doubled]);
}

#[test]
fn a_read_that_shows_a_hold_after_its_time_or_hides_it_before_is_found() {
    // 35 seconds after the authorisation, and 15 after it was due.
    for (ago, held, expected) in
        [(65 * SECOND, 10, vec![]), (65 * SECOND, 0, vec![Rule::Read]), (15 * SECOND, 0, vec![]), (15 * SECOND, 10, vec![Rule::Read])]
    {
        let mut world = expired();
        let at = world.now - ago;
        let read = world.read("r");
        (read.invoked, read.ended) = (at, at + SECOND);
        let body = &mut read.answer.as_mut().expect("an answer").body;
        (body.held, body.available) = (Some(held), Some(73 - held));
        assert_eq!(world.rules(), expected, "{ago} {held}");
    }
}

#[test]
fn a_purchase_of_the_network_makes_two_entries_and_one_movement() {
    let mut world = world();
    world.authorize("e", 30, 30, Form::Plain);
    world.forget("e");
    world.capture("p", "auth_e", (Some(30), 30), Form::Plain, |row| {
        (row.sums.captured, row.sums.held) = (30, 0);
        row.status = "captured".to_owned();
    });
    let sent = &mut world.attempt("p").request;
    (sent.kind, sent.target, sent.network_transaction) = (Kind::NetworkPurchase, None, Some("e".to_owned()));
    world.card.movements.last_mut().expect("a movement").kind = "purchase".to_owned();
    world.assert_sound();
    let mut other = world.clone();
    other.attempt("p").request.cents = Some(31);
    assert_eq!(other.rules(), [Rule::Lost]);
    world.card.movements.last_mut().expect("a movement").kind = "capture".to_owned();
    assert_eq!(world.rules(), [Rule::Lost]);
}

#[test]
fn a_force_post_is_a_capture_of_the_authorisation_that_it_names() {
    let mut world = world();
    world.authorize("e", 30, 30, Form::Plain);
    world.capture("p", "auth_e", (Some(35), 35), Form::Plain, |row| {
        (row.sums.captured, row.sums.excess, row.sums.held) = (35, 5, 0);
        row.status = "captured".to_owned();
    });
    let sent = &mut world.attempt("p").request;
    (sent.kind, sent.target, sent.network_transaction) = (Kind::ForcePost, None, Some("e".to_owned()));
    world.assert_sound();
    world.attempt("p").request.network_transaction = None;
    assert_eq!(world.rules(), [Rule::Lost]);
    // It may take the balance below zero.
    let mut world = self::world();
    world.undo("q", (Kind::ForcePost, "capture"), -100, ("", None, None), unchanged);
    world.assert_sound();
}
