//! Attempts put together by key: what each operation was, when it began, and how it was answered.

use std::collections::HashMap;

use record::{Attempt, Kind};

/// How an operation was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// 200: the movement, and the balance it left. A change of status has neither.
    Done(Option<&'a str>, Option<i64>),
    /// A 404 or 409 that stands.
    Refused(u16, Option<&'a str>),
}

/// All attempts under one key, or the one without.
#[derive(Debug)]
pub struct Operation<'a> {
    pub key: &'a str,
    pub keyed: bool,
    pub card: &'a str,
    pub kind: Kind,
    pub cents: i64,
    pub to: Option<&'a str>,
    /// When the first attempt was about to be sent.
    pub invoked: u64,
    /// When the first 200 was there.
    pub acknowledged: Option<u64>,
    /// Whether a 200 was there that was no replay.
    pub answered_at_first: bool,
    /// Whether an attempt may have done it that was not told that it did.
    pub may_be_done: bool,
    /// Each different definitive answer; exactly one is right.
    pub decisions: Vec<Decision<'a>>,
}

impl Operation<'_> {
    /// The movement that it was told to have made.
    pub fn movement(&self) -> Option<&str> {
        self.decisions.iter().find_map(|decision| match decision {
            Decision::Done(movement, _) => *movement,
            Decision::Refused(..) => None,
        })
    }
}

/// The writes of a history.
pub fn gather(attempts: &[Attempt]) -> Vec<Operation<'_>> {
    let mut operations: Vec<Operation<'_>> = Vec::new();
    let mut known = HashMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.kind != Kind::Read) {
        let index = *known.entry(attempt.op.as_str()).or_insert_with(|| {
            operations.push(begun(attempt));
            operations.len() - 1
        });
        let operation = &mut operations[index];
        operation.invoked = operation.invoked.min(attempt.invoked);
        operation.may_be_done |= is_unknown(attempt);
        if attempt.status == Some(200) {
            operation.answered_at_first |= !attempt.replayed;
            operation.acknowledged = Some(operation.acknowledged.map_or(attempt.ended, |first| first.min(attempt.ended)));
        }
        if let Some(decision) = decision(attempt)
            && !operation.decisions.contains(&decision)
        {
            operation.decisions.push(decision);
        }
    }
    operations
}

fn begun(attempt: &Attempt) -> Operation<'_> {
    Operation {
        key: &attempt.op,
        keyed: attempt.keyed,
        card: &attempt.card,
        kind: attempt.kind,
        cents: attempt.cents,
        to: attempt.to.as_deref(),
        invoked: attempt.invoked,
        acknowledged: None,
        answered_at_first: false,
        may_be_done: false,
        decisions: Vec::new(),
    }
}

fn decision(attempt: &Attempt) -> Option<Decision<'_>> {
    match (attempt.status?, attempt.code.as_deref()) {
        (200, _) => Some(Decision::Done(attempt.movement.as_deref(), attempt.balance)),
        (409, Some("idempotency_key_in_use")) => None,
        (status @ (404 | 409), code) => Some(Decision::Refused(status, code)),
        _ => None,
    }
}

/// Whether what came back leaves it open if it was done: nothing came, or that nobody knows. All else promises
/// that nothing was done, or says what was. (A 409 `idempotency_key_in_use` is about another attempt.)
fn is_unknown(attempt: &Attempt) -> bool {
    match (attempt.status, attempt.code.as_deref()) {
        (None, _) => !attempt.refused,
        (Some(status), code) => status == 500 || code == Some("outcome_unknown"),
    }
}

/// What no client should ever be told: neither an answer that stands nor one that says to come again. (502 and 504 are
/// a balancer's, whose replica was lost or silent while it answered.)
pub fn is_never_right(attempt: &Attempt) -> bool {
    !matches!(
        (attempt.status, attempt.code.as_deref()),
        (None | Some(200 | 401 | 404 | 409 | 503), _) | (Some(403), Some("token_expired")) | (Some(502 | 504), Some("outcome_unknown"))
    )
}
