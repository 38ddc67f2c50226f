//! The attempts grouped by key: what each operation was, when it began, and how it was answered.

use std::collections::HashMap;

use record::{Attempt, Body, Kind, Request};

/// The definitive answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 200, with what was done.
    Executed(Box<Body>),
    /// A final 404 or 409.
    Refused(u16, Option<String>),
}

/// All attempts under one key, or a single attempt without one.
#[derive(Debug)]
pub struct Operation {
    pub request: Request,
    /// The time just before the first attempt was sent.
    pub invoked: u64,
    /// The time of the first 200.
    pub acknowledged: Option<u64>,
    /// The time of the first refusal.
    pub refused: Option<u64>,
    /// Whether one 200 was not a replay.
    pub has_original_answer: bool,
    /// Whether an attempt without a known outcome may have executed it.
    pub may_be_executed: bool,
    /// Whether an attempt came so late that its `expiresAt` was too near. This promises nothing about the earlier ones.
    pub came_too_late: bool,
    /// The distinct definitive answers; exactly one is correct.
    pub decisions: Vec<Decision>,
}

impl Operation {
    fn new(attempt: &Attempt) -> Self {
        Self {
            request: attempt.request.clone(),
            invoked: attempt.invoked,
            acknowledged: None,
            refused: None,
            has_original_answer: false,
            may_be_executed: false,
            came_too_late: false,
            decisions: Vec::new(),
        }
    }

    /// Its key, or its name in the history.
    pub fn key(&self) -> &str {
        &self.request.op
    }

    /// What was done.
    pub fn done(&self) -> Option<&Body> {
        self.decisions.iter().find_map(|decision| match decision {
            Decision::Executed(body) => Some(&**body),
            Decision::Refused(..) => None,
        })
    }

    /// The refusal.
    pub fn refusal(&self) -> Option<(u16, &str)> {
        self.decisions.iter().find_map(|decision| match decision {
            Decision::Refused(status, code) => Some((*status, code.as_deref().unwrap_or("no code"))),
            Decision::Executed(_) => None,
        })
    }
}

/// A read that was answered.
#[derive(Debug)]
pub struct Read {
    pub op: String,
    /// The authorisation that was read; none if it was the card.
    pub target: Option<String>,
    pub invoked: u64,
    pub ended: u64,
    pub body: Body,
}

/// The history of a card. It keeps one record of each operation, and none of its attempts.
#[derive(Debug, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    pub reads: Vec<Read>,
    /// Answers that no client may get.
    pub forbidden: Vec<String>,
    pub internal_errors: usize,
    known: HashMap<String, usize>,
}

impl History {
    /// Adds an attempt.
    pub fn add(&mut self, attempt: Attempt) {
        if is_forbidden(&attempt) {
            let answer = attempt.answer.as_ref().map(|answer| (answer.status, answer.code.clone()));
            self.internal_errors += usize::from(answer.as_ref().is_some_and(|(status, _)| *status == 500));
            self.forbidden.push(format!("{} ({:?}) was answered {answer:?}", attempt.request.op, attempt.request.kind));
        }
        if attempt.request.kind.is_read() {
            if let Some(answer) = attempt.answer.filter(|answer| answer.status == 200) {
                let (invoked, ended) = (attempt.invoked, attempt.ended);
                self.reads.push(Read { op: attempt.request.op, target: attempt.request.target, invoked, ended, body: answer.body });
            }
            return;
        }
        let index = *self.known.entry(attempt.request.op.clone()).or_insert_with(|| {
            self.operations.push(Operation::new(&attempt));
            self.operations.len() - 1
        });
        let operation = &mut self.operations[index];
        operation.invoked = operation.invoked.min(attempt.invoked);
        operation.may_be_executed |= is_unknown(&attempt);
        let Some(answer) = attempt.answer else { return };
        operation.came_too_late |= answer.status == 400 && attempt.request.kind == Kind::Authorize;
        let earlier = |known: Option<u64>| Some(known.map_or(attempt.ended, |known| known.min(attempt.ended)));
        let decision = match (answer.status, answer.code) {
            (200, _) => {
                operation.has_original_answer |= !answer.replayed;
                operation.acknowledged = earlier(operation.acknowledged);
                Decision::Executed(Box::new(answer.body))
            }
            (409, Some(code)) if code == "idempotency_key_in_use" => return,
            (status @ (404 | 409), code) => {
                operation.refused = earlier(operation.refused);
                Decision::Refused(status, code)
            }
            _ => return,
        };
        if !operation.decisions.contains(&decision) {
            operation.decisions.push(decision);
        }
    }
}

/// Whether the answer leaves open whether the operation was executed: no answer, a 500 or an unknown outcome. Any other
/// answer promises that nothing was done, or says what was. (A 409 `idempotency_key_in_use` is about another attempt.)
fn is_unknown(attempt: &Attempt) -> bool {
    attempt.answer.as_ref().map_or(!attempt.refused, |answer| answer.status == 500 || answer.code.as_deref() == Some("outcome_unknown"))
}

/// Whether no client may ever get this answer: it is neither final nor a request to retry. (502 and 504 come from a load
/// balancer that lost its replica during the request.)
fn is_forbidden(attempt: &Attempt) -> bool {
    let Some(answer) = &attempt.answer else { return false };
    let Request { kind, .. } = attempt.request;
    match (answer.status, answer.code.as_deref()) {
        (200 | 404 | 409 | 503, _) | (502 | 504, Some("outcome_unknown")) => false,
        // A login ends, a key of the network does not. That has a limit for each second.
        (401, _) | (403, Some("token_expired")) => kind.is_of_network(),
        (429, _) => !kind.is_of_network(),
        (400, _) => kind != Kind::Authorize,
        _ => true,
    }
}
