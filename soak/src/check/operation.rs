//! The attempts grouped by key: what each operation was, when it began, and how it was answered.

use std::collections::HashMap;

use record::{Attempt, Kind};

/// The definitive answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// 200: the movement and the resulting balance. A status change has neither.
    Executed(Option<&'a str>, Option<i64>),
    /// A final 404 or 409.
    Refused(u16, Option<&'a str>),
}

/// All attempts under one key, or a single attempt without one.
#[derive(Debug)]
pub struct Operation<'a> {
    pub key: &'a str,
    pub keyed: bool,
    pub card: &'a str,
    pub kind: Kind,
    pub cents: i64,
    pub to: Option<&'a str>,
    /// The time just before the first attempt was sent.
    pub invoked: u64,
    /// The time of the first 200.
    pub acknowledged: Option<u64>,
    /// Whether one 200 was not a replay.
    pub has_original_answer: bool,
    /// Whether an attempt without a known outcome may have executed it.
    pub may_be_executed: bool,
    /// The distinct definitive answers; exactly one is correct.
    pub decisions: Vec<Decision<'a>>,
}

impl Operation<'_> {
    /// The movement in its answer.
    pub fn movement(&self) -> Option<&str> {
        self.decisions.iter().find_map(|decision| match decision {
            Decision::Executed(movement, _) => *movement,
            Decision::Refused(..) => None,
        })
    }
}

/// The write operations of a history.
pub fn group(attempts: &[Attempt]) -> Vec<Operation<'_>> {
    let mut operations: Vec<Operation<'_>> = Vec::new();
    let mut known = HashMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.kind != Kind::Read) {
        let index = *known.entry(attempt.op.as_str()).or_insert_with(|| {
            operations.push(new_operation(attempt));
            operations.len() - 1
        });
        let operation = &mut operations[index];
        operation.invoked = operation.invoked.min(attempt.invoked);
        operation.may_be_executed |= is_unknown(attempt);
        if attempt.status == Some(200) {
            operation.has_original_answer |= !attempt.replayed;
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

fn new_operation(attempt: &Attempt) -> Operation<'_> {
    Operation {
        key: &attempt.op,
        keyed: attempt.keyed,
        card: &attempt.card,
        kind: attempt.kind,
        cents: attempt.cents,
        to: attempt.to.as_deref(),
        invoked: attempt.invoked,
        acknowledged: None,
        has_original_answer: false,
        may_be_executed: false,
        decisions: Vec::new(),
    }
}

fn decision(attempt: &Attempt) -> Option<Decision<'_>> {
    match (attempt.status?, attempt.code.as_deref()) {
        (200, _) => Some(Decision::Executed(attempt.movement.as_deref(), attempt.balance)),
        (409, Some("idempotency_key_in_use")) => None,
        (status @ (404 | 409), code) => Some(Decision::Refused(status, code)),
        _ => None,
    }
}

/// Whether the answer leaves open whether the operation was executed: no answer, a 500 or an unknown outcome. Any other
/// answer promises that nothing was done, or says what was. (A 409 `idempotency_key_in_use` is about another attempt.)
fn is_unknown(attempt: &Attempt) -> bool {
    match (attempt.status, attempt.code.as_deref()) {
        (None, _) => !attempt.refused,
        (Some(status), code) => status == 500 || code == Some("outcome_unknown"),
    }
}

/// Whether no client may ever get this answer: it is neither final nor a request to retry. (502 and 504 come from a load
/// balancer that lost its replica during the request.)
pub fn is_forbidden(attempt: &Attempt) -> bool {
    !matches!(
        (attempt.status, attempt.code.as_deref()),
        (None | Some(200 | 401 | 404 | 409 | 503), _) | (Some(403), Some("token_expired")) | (Some(502 | 504), Some("outcome_unknown"))
    )
}
