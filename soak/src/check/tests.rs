//! Small histories with one defect each, which the checker must find.

use super::*;

const CARD: &str = "card_1";

/// An attempt that was sent at `from` and answered at `to`.
fn attempt(op: &str, kind: Kind, cents: i64, (from, to): (u64, u64)) -> Attempt {
    Attempt {
        client: 0,
        op: op.to_owned(),
        keyed: true,
        card: CARD.to_owned(),
        kind,
        cents,
        to: None,
        replica: 0,
        invoked: from,
        ended: to,
        status: None,
        replayed: false,
        balance: None,
        movement: None,
        code: None,
        hung_up: false,
        refused: false,
    }
}

/// A write under the key `op`, whose movement has the same id.
fn executed(op: &str, kind: Kind, cents: i64, times: (u64, u64), balance: i64) -> Attempt {
    Attempt { status: Some(200), balance: Some(balance), movement: Some(op.to_owned()), ..attempt(op, kind, cents, times) }
}

fn refused(op: &str, code: &str, times: (u64, u64)) -> Attempt {
    Attempt { status: Some(409), code: Some(code.to_owned()), ..attempt(op, Kind::Purchase, 5, times) }
}

fn read(op: &str, times: (u64, u64), balance: i64) -> Attempt {
    Attempt { status: Some(200), balance: Some(balance), ..attempt(op, Kind::Read, 0, times) }
}

fn status(op: &str, to: &str, times: (u64, u64)) -> Attempt {
    Attempt { status: Some(200), to: Some(to.to_owned()), ..attempt(op, Kind::Status, 0, times) }
}

/// A card with these movements, numbered from 1, and their balance.
fn ledger(movements: &[(&str, i64)]) -> Ledger {
    let mut card = Card { status: "active".to_owned(), ..Card::default() };
    for (id, amount) in movements {
        card.seq += 1;
        card.balance += amount;
        let kind = if *amount < 0 { "purchase" } else { "top_up" }.to_owned();
        card.movements.push(Movement { id: (*id).to_owned(), seq: card.seq, kind, amount: *amount, balance_after: card.balance });
    }
    [(CARD.to_owned(), card)].into()
}

/// Two top-ups, a purchase after them, a refusal, and a read at the end.
fn history() -> Vec<Attempt> {
    vec![
        executed("a", Kind::TopUp, 100, (0, 10), 100),
        executed("b", Kind::TopUp, 50, (20, 30), 150),
        executed("c", Kind::Purchase, 30, (40, 50), 120),
        refused("d", "insufficient_funds", (60, 70)),
        read("r", (80, 90), 120),
    ]
}

fn consistent() -> Ledger {
    ledger(&[("a", 100), ("b", 50), ("c", -30)])
}

fn rules(history: &[Attempt], ledger: &Ledger) -> Vec<Rule> {
    let mut rules: Vec<_> = judge(history, ledger).findings.iter().map(|finding| finding.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_consistent_history_has_no_findings() {
    let verdict = judge(&history(), &consistent());
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    assert_eq!((verdict.acknowledged, verdict.refused, verdict.reads, verdict.movements), (3, 1, 1, 3));
}

#[test]
fn a_resolved_unknown_outcome_has_no_findings() {
    let mut history = history();
    history.insert(0, attempt("c", Kind::Purchase, 30, (5, 8)));
    history.insert(1, refused("c", "idempotency_key_in_use", (9, 12)));
    assert_eq!(rules(&history, &consistent()), []);
}

#[test]
fn a_lost_write_is_found() {
    let verdict = judge(&history(), &ledger(&[("a", 100), ("c", -30)]));
    assert_eq!(verdict.lost(), 1, "{:?}", verdict.findings);
}

#[test]
fn a_write_of_another_amount_is_found() {
    let mut history = history();
    history[1].cents = 51;
    assert_eq!(rules(&history, &consistent()), [Rule::Lost]);
}

#[test]
fn a_doubled_write_is_found() {
    let mut history = history();
    history.pop();
    assert_eq!(rules(&history, &ledger(&[("a", 100), ("b", 50), ("c", -30), ("b again", 50)])), [Rule::Doubled]);
    assert_eq!(judge(&history, &ledger(&[("a", 100), ("b", 50), ("c", -30), ("b", 50)])).doubled(), 1);
}

#[test]
fn two_operations_answered_with_one_movement_are_found() {
    let mut history = history();
    history.push(Attempt { movement: Some("b".to_owned()), ..executed("e", Kind::TopUp, 50, (91, 92), 150) });
    assert_eq!(rules(&history, &consistent()), [Rule::Lost]);
}

#[test]
fn a_refusal_that_moved_money_is_found() {
    assert!(rules(&history(), &ledger(&[("a", 100), ("b", 50), ("c", -30), ("d", -5)])).contains(&Rule::Doubled));
}

#[test]
fn two_answers_to_one_key_are_found() {
    let mut history = history();
    history.push(refused("a", "insufficient_funds", (91, 92)));
    assert_eq!(rules(&history, &consistent()), [Rule::Answers]);
    history.pop();
    history.push(Attempt { movement: Some("b".to_owned()), ..executed("a", Kind::TopUp, 100, (91, 92), 100) });
    assert_eq!(rules(&history, &consistent()), [Rule::Answers]);
}

#[test]
fn an_answered_balance_that_differs_from_the_movement_is_found() {
    let mut history = history();
    history[1].balance = Some(149);
    assert_eq!(rules(&history, &consistent()), [Rule::Answers]);
}

#[test]
fn a_reordered_pair_is_found() {
    let mut history = history();
    (history[0].balance, history[1].balance) = (Some(150), Some(50));
    let swapped = ledger(&[("b", 50), ("a", 100), ("c", -30)]);
    assert_eq!(rules(&history, &swapped), [Rule::Order]);
    // With overlapping operations, either order is correct.
    history[0].ended = 25;
    assert_eq!(rules(&history, &swapped), []);
}

#[test]
fn a_stale_read_is_found() {
    let mut history = history();
    history[4].balance = Some(150);
    assert_eq!(rules(&history, &consistent()), [Rule::Read]);
    // A read that began before the purchase was acknowledged may return this balance.
    history[4].invoked = 49;
    assert_eq!(rules(&history, &consistent()), []);
    history[4] = read("r", (80, 90), 0);
    assert_eq!(rules(&history, &consistent()), [Rule::Read]);
}

#[test]
fn a_read_from_the_future_is_found() {
    let mut history = history();
    history[4] = read("r", (15, 18), 150);
    assert_eq!(rules(&history, &consistent()), [Rule::Read]);
}

#[test]
fn a_gap_is_found() {
    let mut gap = consistent();
    let card = gap.get_mut(CARD).expect("the card");
    card.movements[2].seq = 4;
    card.seq = 4;
    assert_eq!(rules(&history(), &gap), [Rule::Chain, Rule::Read]);
}

#[test]
fn a_broken_chain_and_a_balance_that_does_not_match_it_are_found() {
    let mut broken = consistent();
    broken.get_mut(CARD).expect("the card").movements[1].balance_after = 149;
    assert!(rules(&history(), &broken).contains(&Rule::Chain));
    let mut apart = consistent();
    apart.get_mut(CARD).expect("the card").balance += 1;
    assert_eq!(rules(&history(), &apart), [Rule::Chain]);
    let negative = ledger(&[("c", -30), ("a", 100), ("b", 50)]);
    assert!(rules(&history(), &negative).contains(&Rule::Chain));
}

#[test]
fn an_operation_that_was_never_decided_is_found() {
    let mut history = history();
    history.push(Attempt { status: Some(503), ..attempt("e", Kind::TopUp, 7, (91, 92)) });
    assert_eq!(rules(&history, &consistent()), [Rule::Undecided]);
}

#[test]
fn an_unanswered_operation_without_a_key_may_be_applied_once_or_not_at_all() {
    let mut history = history();
    history.pop();
    history.push(Attempt { keyed: false, ..attempt("e", Kind::TopUp, 7, (55, 58)) });
    assert_eq!(rules(&history, &consistent()), []);
    assert_eq!(judge(&history, &consistent()).unanswered, 1);
    assert_eq!(rules(&history, &ledger(&[("a", 100), ("b", 50), ("c", -30), ("x", 7)])), []);
    assert_eq!(rules(&history, &ledger(&[("a", 100), ("b", 50), ("c", -30), ("x", 8)])), [Rule::Doubled]);
    assert_eq!(rules(&history, &ledger(&[("a", 100), ("b", 50), ("c", -30), ("x", 7), ("y", 7)])), [Rule::Doubled]);
}

#[test]
fn an_applied_operation_that_every_answer_denied_is_found() {
    let unavailable = |keyed, (from, to)| Attempt {
        keyed,
        status: Some(503),
        code: Some("unavailable".to_owned()),
        ..attempt("e", Kind::TopUp, 7, (from, to))
    };
    let mut history = history();
    history.pop();
    let executed_anyway = ledger(&[("a", 100), ("b", 50), ("c", -30), ("e", 7)]);
    history.push(unavailable(false, (55, 58)));
    assert_eq!(rules(&history, &executed_anyway), [Rule::Doubled]);
    history[4] = unavailable(true, (55, 58));
    history.push(Attempt { replayed: true, ..executed("e", Kind::TopUp, 7, (60, 62), 127) });
    assert_eq!(rules(&history, &executed_anyway), [Rule::Denied]);
    // With one unanswered attempt, the execution is explained.
    history.push(attempt("e", Kind::TopUp, 7, (56, 59)));
    assert_eq!(rules(&history, &executed_anyway), []);
}

#[test]
fn an_internal_error_is_found_even_if_the_operation_was_decided() {
    let mut history = history();
    history.push(Attempt { status: Some(500), ..attempt("b", Kind::TopUp, 50, (21, 22)) });
    let verdict = judge(&history, &consistent());
    assert_eq!((verdict.internal_errors, verdict.findings.len()), (1, 1));
}

#[test]
fn a_movement_after_a_cancellation_and_a_lost_status_are_found() {
    let mut history = history();
    history.push(status("s", "cancelled", (91, 92)));
    assert_eq!(rules(&history, &consistent()), [Rule::Status]);
    let mut cancelled = consistent();
    cancelled.get_mut(CARD).expect("the card").status = "cancelled".to_owned();
    assert_eq!(rules(&history, &cancelled), []);
    (history[5].invoked, history[5].ended) = (31, 32);
    assert_eq!(rules(&history, &cancelled), [Rule::Status]);
}
