//! Postings by the account: top-ups, withdrawals, and the sandbox's purchases and refunds.

use super::*;

/// Two top-ups, a purchase after them, a refusal, and a read at the end.
fn world() -> World {
    let mut world = World::new();
    world.post("a", Kind::TopUp, 100);
    world.post("b", Kind::TopUp, 50);
    world.post("c", Kind::Purchase, 30);
    world.refused("d", Kind::Purchase, 121, "insufficient_funds");
    world.post("w", Kind::Withdrawal, 20);
    world.read("r");
    world
}

#[test]
fn a_consistent_history_has_no_findings() {
    let world = world();
    world.assert_sound();
    let verdict = world.verdict();
    assert_eq!((verdict.acknowledged, verdict.refused, verdict.reads, verdict.movements, verdict.stored), (4, 1, 1, 4, 4));
}

#[test]
fn a_resolved_unknown_outcome_has_no_findings() {
    let mut world = world();
    let unknown = Attempt { answer: None, ..world.attempt("c").clone() };
    let mut in_use = unknown.clone();
    in_use.answer = Some(Answer { status: 409, code: Some("idempotency_key_in_use".to_owned()), ..Answer::default() });
    world.attempts.splice(0..0, [unknown, in_use]);
    world.assert_sound();
}

#[test]
fn a_lost_write_is_found() {
    let mut world = world();
    world.post("e", Kind::TopUp, 7);
    world.undo_movement();
    assert_eq!(world.rules(), [Rule::Lost]);
    assert_eq!(world.verdict().lost, 1);
}

#[test]
fn a_write_of_another_amount_or_kind_is_found() {
    let mut world = world();
    world.attempt("b").request.cents = Some(51);
    assert_eq!(world.rules(), [Rule::Lost]);
    world.attempt("b").request.cents = Some(50);
    world.card.movements[1].kind = "refund".to_owned();
    assert_eq!(world.rules(), [Rule::Lost]);
}

#[test]
fn a_doubled_write_is_found() {
    let mut world = world();
    world.movement("b again", "top_up", 50);
    assert_eq!(world.rules(), [Rule::Doubled]);
    world.card.movements[4].id = "mov_b".to_owned();
    assert!(world.rules().contains(&Rule::Doubled));
}

#[test]
fn two_operations_answered_with_one_movement_are_found() {
    let mut world = world();
    let body = world.answer("b").body.clone();
    world.done("e", Kind::TopUp, 50, body);
    assert_eq!(world.rules(), [Rule::Lost]);
}

#[test]
fn a_refusal_that_moved_money_is_found() {
    let mut world = world();
    world.movement("d", "purchase", -5);
    assert_eq!(world.rules(), [Rule::Doubled]);
}

#[test]
fn two_answers_to_one_key_are_found() {
    let mut world = world();
    let first = world.attempt("a").clone();
    let mut again = first.clone();
    again.answer = Some(Answer { status: 409, code: Some("insufficient_funds".to_owned()), ..Answer::default() });
    world.attempts.push(again.clone());
    assert!(world.rules().contains(&Rule::Answers));
    // A replay is the same to the byte.
    again.answer = first.answer;
    *world.attempts.last_mut().expect("the replay") = again.clone();
    world.assert_sound();
    again.answer.as_mut().expect("an answer").body.hash += 1;
    *world.attempts.last_mut().expect("the replay") = again;
    assert_eq!(world.rules(), [Rule::Answers]);
}

#[test]
fn an_answered_balance_that_differs_from_the_ledger_is_found() {
    let mut world = world();
    world.answer("b").body.balance = Some(149);
    assert_eq!(world.rules(), [Rule::Answers]);
}

#[test]
fn a_reordered_pair_is_found() {
    let mut world = world();
    let times = |world: &mut World, op: &str| (world.attempt(op).invoked, world.attempt(op).ended);
    let (first, second) = (times(&mut world, "a"), times(&mut world, "b"));
    (world.attempt("a").invoked, world.attempt("a").ended) = second;
    (world.attempt("b").invoked, world.attempt("b").ended) = first;
    assert_eq!(world.rules(), [Rule::Order]);
    // With overlapping operations, either order is correct.
    world.attempt("b").ended = second.1;
    world.assert_sound();
}

#[test]
fn a_stale_read_and_one_from_the_future_are_found() {
    let mut world = world();
    world.answer("r").body.balance = Some(120);
    world.answer("r").body.available = Some(120);
    assert_eq!(world.rules(), [Rule::Read]);
    // A read that began before the withdrawal was acknowledged may return this balance.
    world.attempt("r").invoked = world.attempt("w").ended;
    world.assert_sound();
    let mut world = self::world();
    (world.attempt("r").invoked, world.attempt("r").ended) = (world.attempt("c").ended, world.attempt("w").invoked);
    assert_eq!(world.rules(), [Rule::Read]);
}

#[test]
fn a_gap_is_found() {
    let mut world = world();
    (world.card.movements[3].seq, world.card.seq) = (5, 5);
    world.card.told[5].movement_seq = Some(5);
    assert_eq!(world.rules(), [Rule::Chain]);
}

#[test]
fn a_broken_chain_and_a_balance_that_does_not_match_it_are_found() {
    let mut world = world();
    world.card.movements[1].balance_after = 149;
    assert_eq!(world.rules(), [Rule::Chain]);
    let mut world = self::world();
    world.card.balance += 1;
    assert_eq!(world.rules(), [Rule::Chain]);
}

#[test]
fn spending_more_than_there_is_is_found() {
    for kind in [Kind::Purchase, Kind::Withdrawal] {
        let mut world = world();
        world.post("e", kind, 101);
        assert_eq!(world.rules(), [Rule::Overspent]);
    }
}

#[test]
fn a_refusal_that_had_no_reason_is_found() {
    for kind in [Kind::Purchase, Kind::Withdrawal] {
        let mut world = world();
        world.refused("e", kind, 100, "insufficient_funds");
        assert_eq!(world.rules(), [Rule::Refusal]);
        world.attempt("e").request.cents = Some(101);
        world.assert_sound();
        // It is justified as well if the money came while it was decided.
        world.attempt("e").request.cents = Some(100);
        world.post("late", Kind::TopUp, 1);
        world.attempt("w").ended = world.now;
        world.attempt("e").invoked = 0;
        world.assert_sound();
    }
    let mut world = world();
    world.refused("e", Kind::Purchase, 1, "card_blocked");
    assert_eq!(world.rules(), [Rule::Refusal]);
    for code in ["card_not_found", "insufficient_funds"] {
        world.attempt("e").request.cents = Some(1000);
        world.attempt("e").answer = Some(Answer { status: 404, code: Some(code.to_owned()), ..Answer::default() });
        assert_eq!(world.rules(), [Rule::Refusal], "{code}");
    }
}

#[test]
fn an_operation_that_was_never_decided_is_found() {
    let mut world = world();
    world.send("e", Kind::TopUp, 7).answer = Some(Answer { status: 503, ..Answer::default() });
    assert_eq!(world.rules(), [Rule::Undecided]);
}

#[test]
fn an_unanswered_operation_without_a_key_may_be_applied_once_or_not_at_all() {
    let mut world = world();
    world.attempts.pop();
    world.send("e", Kind::TopUp, 7).request.keyed = false;
    world.assert_sound();
    assert_eq!(world.verdict().unanswered, 1);
    let mut once = world.clone();
    once.movement("x", "top_up", 7);
    once.assert_sound();
    once.movement("y", "top_up", 7);
    assert_eq!(once.rules(), [Rule::Doubled]);
    world.movement("x", "top_up", 8);
    assert_eq!(world.rules(), [Rule::Doubled]);
}

#[test]
fn an_applied_operation_that_every_answer_denied_is_found() {
    let unavailable = || Some(Answer { status: 503, code: Some("unavailable".to_owned()), ..Answer::default() });
    let mut keyless = world();
    let attempt = keyless.send("e", Kind::TopUp, 7);
    (attempt.request.keyed, attempt.answer) = (false, unavailable());
    keyless.movement("e", "top_up", 7);
    assert_eq!(keyless.rules(), [Rule::Doubled]);

    let mut keyed = world();
    keyed.send("e", Kind::TopUp, 7).answer = unavailable();
    keyed.post("e", Kind::TopUp, 7).answer.as_mut().expect("an answer").replayed = true;
    assert_eq!(keyed.rules(), [Rule::Denied]);
    // With one unanswered attempt, the execution is explained.
    keyed.send("e", Kind::TopUp, 7);
    keyed.assert_sound();
}

#[test]
fn an_internal_error_is_found_even_if_the_operation_was_decided() {
    let mut world = world();
    let mut failed = world.attempt("b").clone();
    failed.answer = Some(Answer { status: 500, ..Answer::default() });
    world.attempts.push(failed);
    let verdict = world.verdict();
    assert_eq!((verdict.internal_errors, verdict.findings), (1, 1));
}

#[test]
fn a_posting_after_a_cancellation_and_a_lost_status_are_found() {
    let mut world = world();
    world.status("s", "cancelled");
    world.assert_sound();
    world.refused("e", Kind::TopUp, 1, "card_cancelled");
    world.assert_sound();
    world.post("f", Kind::TopUp, 1);
    assert_eq!(world.rules(), [Rule::Status]);
    world.forget("f");
    world.undo_movement();
    // A cancelled card can be emptied.
    world.post("g", Kind::Withdrawal, 100);
    world.assert_sound();
    world.card.status = "active".to_owned();
    assert_eq!(world.rules(), [Rule::Event, Rule::Status]);
}

#[test]
fn a_stored_answer_that_is_missing_or_another_is_found() {
    let mut world = world();
    world.stored.remove("a");
    assert_eq!(world.rules(), [Rule::Stored]);
    world.stored.insert("a".to_owned(), 409);
    assert_eq!(world.rules(), [Rule::Stored]);
    let mut world = self::world();
    world.stored.insert("d".to_owned(), 200);
    assert_eq!(world.rules(), [Rule::Stored]);
    world.stored.insert("d".to_owned(), 409);
    world.assert_sound();
}
