//! The rules for each card: the chain of movements, the operation behind each movement, and the order in real time.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use record::{Attempt, Kind};

use crate::{
    ledger::{Card, Ledger, Movement},
    operation::{Decision, Operation, group, is_forbidden},
};

/// The rule that was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `seq` counts from 1 without a gap, and each balance is the previous one plus the amount, and never negative.
    Chain,
    /// The movement of a 200 is missing or differs.
    Lost,
    /// A movement belongs neither to a 200 nor to an unanswered operation.
    Doubled,
    /// An operation was executed although every answer promised that nothing was done.
    Denied,
    /// A key has several definitive answers.
    Answers,
    /// An operation has no definitive answer, or got one that is forbidden.
    Undecided,
    /// The ledger contradicts the order in real time.
    Order,
    /// A read returned a balance that the card could not have had at that time.
    Read,
    /// A status is wrong, or forbids a movement.
    Status,
}

/// One violation of a rule.
#[derive(Debug)]
pub struct Finding {
    pub rule: Rule,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// The result of the check.
#[derive(Debug, Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    pub acknowledged: usize,
    /// Sent without a key and never answered: executed or not, which cannot be resolved.
    pub unanswered: usize,
    /// Acknowledged only by a replay: executed, but the first answer did not arrive.
    pub replayed_only: usize,
    pub refused: usize,
    pub reads: usize,
    pub movements: usize,
    pub internal_errors: usize,
}

impl Verdict {
    /// Acknowledged writes that are missing from the ledger.
    pub fn lost(&self) -> usize {
        self.count(Rule::Lost)
    }

    /// Movements that no answer explains.
    pub fn doubled(&self) -> usize {
        self.count(Rule::Doubled)
    }

    fn count(&self, rule: Rule) -> usize {
        self.findings.iter().filter(|finding| finding.rule == rule).count()
    }

    fn found(&mut self, rule: Rule, what: String) {
        self.findings.push(Finding { rule, what });
    }
}

/// An operation and its movement.
struct Posting<'a> {
    operation: &'a Operation<'a>,
    movement: &'a Movement,
}

/// Checks a complete history against the resulting database.
pub fn judge(attempts: &[Attempt], ledger: &Ledger) -> Verdict {
    let mut verdict = Verdict::default();
    for attempt in attempts.iter().filter(|attempt| is_forbidden(attempt)) {
        verdict.internal_errors += usize::from(attempt.status == Some(500));
        verdict.found(Rule::Undecided, format!("{} was answered {:?} {:?}", attempt.op, attempt.status, attempt.code));
    }
    let operations = group(attempts);
    let mut by_card: BTreeMap<&str, Vec<&Operation<'_>>> = ledger.keys().map(|card| (card.as_str(), Vec::new())).collect();
    for operation in &operations {
        check_answers(operation, &mut verdict);
        by_card.entry(operation.card).or_default().push(operation);
    }
    let mut reads: HashMap<&str, Vec<&Attempt>> = HashMap::new();
    for read in attempts.iter().filter(|attempt| attempt.kind == Kind::Read && attempt.status == Some(200)) {
        reads.entry(&read.card).or_default().push(read);
    }
    let nothing = Card::default();
    for (id, operations) in by_card {
        let card = ledger.get(id).unwrap_or(&nothing);
        check_chain(id, card, &mut verdict);
        let postings = match_movements(id, card, &operations, &mut verdict);
        check_order(id, &postings, &mut verdict);
        let mut sent: Vec<_> = postings.iter().map(|posting| posting.operation.invoked).collect();
        sent.sort_unstable();
        for read in reads.remove(id).unwrap_or_default() {
            verdict.reads += 1;
            check_read(read, card, &postings, &sent, &mut verdict);
        }
        check_statuses(id, card, &operations, &mut verdict);
    }
    for read in reads.into_values().flatten() {
        verdict.found(Rule::Read, format!("{} read {}, which does not exist", read.op, read.card));
    }
    verdict
}

fn check_answers(operation: &Operation<'_>, verdict: &mut Verdict) {
    match operation.decisions.as_slice() {
        [Decision::Executed(..)] => {
            verdict.acknowledged += 1;
            verdict.replayed_only += usize::from(!operation.has_original_answer);
            if !operation.has_original_answer && !operation.may_be_executed {
                verdict.found(Rule::Denied, format!("{} was executed, but every answer denied it", operation.key));
            }
        }
        [Decision::Refused(..)] => verdict.refused += 1,
        [] if !operation.keyed => verdict.unanswered += 1,
        [] => verdict.found(Rule::Undecided, format!("{} has no definitive answer", operation.key)),
        several => verdict.found(Rule::Answers, format!("{} was answered {several:?}", operation.key)),
    }
}

fn check_chain(id: &str, card: &Card, verdict: &mut Verdict) {
    verdict.movements += card.movements.len();
    let (mut seq, mut balance) = (0, 0);
    for movement in &card.movements {
        if movement.seq != seq + 1 {
            verdict.found(Rule::Chain, format!("{id}: seq {} follows {seq}", movement.seq));
        }
        if movement.balance_after != balance + movement.amount || movement.balance_after < 0 {
            let Movement { seq, amount, balance_after, .. } = movement;
            verdict.found(Rule::Chain, format!("{id}: at seq {seq}, {balance} plus {amount} is not {balance_after}"));
        }
        (seq, balance) = (movement.seq, movement.balance_after);
    }
    if (card.seq, card.balance) != (seq, balance) {
        verdict.found(
            Rule::Chain,
            format!("{id}: the card has seq {} and balance {}, its movements end at {seq} and {balance}", card.seq, card.balance),
        );
    }
}

/// Matches operations with movements, one to one, by the movement id in the answer.
fn match_movements<'a>(id: &str, card: &'a Card, operations: &[&'a Operation<'a>], verdict: &mut Verdict) -> Vec<Posting<'a>> {
    let mut free: HashMap<&str, &Movement> = card.movements.iter().map(|movement| (movement.id.as_str(), movement)).collect();
    if free.len() < card.movements.len() {
        verdict.found(Rule::Doubled, format!("{id}: two movements have the same id"));
    }
    let mut postings = Vec::new();
    for operation in operations.iter().filter(|operation| operation.acknowledged.is_some()) {
        let Some((kind, amount)) = expected_movement(operation) else { continue };
        let answered = operation.movement().unwrap_or("no movement");
        let Some(movement) = free.remove(answered) else {
            verdict.found(Rule::Lost, format!("{id}: {} was answered with {answered}, which is missing or taken", operation.key));
            continue;
        };
        if (movement.kind.as_str(), movement.amount) != (kind, amount) {
            verdict.found(Rule::Lost, format!("{id}: {answered} is not the {kind} of {amount} of {}", operation.key));
        }
        if !operation.decisions.contains(&Decision::Executed(Some(answered), Some(movement.balance_after))) {
            verdict
                .found(Rule::Answers, format!("{id}: {} was answered with a balance other than {}", operation.key, movement.balance_after));
        }
        postings.push(Posting { operation, movement });
    }
    // An unanswered operation without a key may have postings at most one matching movement.
    let mut unanswered: Vec<_> = operations.iter().filter(|operation| !operation.keyed && operation.may_be_executed).collect();
    unanswered.sort_by_key(|operation| operation.invoked);
    for operation in unanswered {
        let Some((kind, amount)) = expected_movement(operation) else { continue };
        let matching = free.values().filter(|movement| (movement.kind.as_str(), movement.amount) == (kind, amount));
        if let Some(movement) = matching.min_by_key(|movement| movement.seq).copied() {
            free.remove(movement.id.as_str());
            postings.push(Posting { operation, movement });
        }
    }
    for movement in free.into_values() {
        verdict.found(Rule::Doubled, format!("{id}: no answer explains {} at seq {}", movement.id, movement.seq));
    }
    postings.sort_by_key(|posting| posting.movement.seq);
    postings
}

/// The kind and the amount of the movement that an operation makes, if it makes one.
const fn expected_movement(operation: &Operation<'_>) -> Option<(&'static str, i64)> {
    match operation.kind {
        Kind::TopUp => Some(("top_up", operation.cents)),
        Kind::Purchase => Some(("purchase", -operation.cents)),
        Kind::Refund => Some(("refund", operation.cents)),
        Kind::Read | Kind::Status => None,
    }
}

/// Checks from the last movement to the first that no later one was acknowledged before this one was sent.
fn check_order(id: &str, postings: &[Posting<'_>], verdict: &mut Verdict) {
    let mut first: Option<(u64, i64)> = None;
    for Posting { operation, movement } in postings.iter().rev() {
        if let Some((acknowledged, seq)) = first
            && acknowledged < operation.invoked
        {
            verdict.found(Rule::Order, format!("{id}: seq {seq} was acknowledged before seq {} was sent", movement.seq));
        }
        let acknowledged = (operation.acknowledged.unwrap_or(u64::MAX), movement.seq);
        first = Some(first.map_or(acknowledged, |first| first.min(acknowledged)));
    }
}

/// A read returns the balance after some movement: not before the last one acknowledged when the read began, and not
/// after the last one sent when it ended.
fn check_read(read: &Attempt, card: &Card, postings: &[Posting<'_>], sent: &[u64], verdict: &mut Verdict) {
    // Searched from the end, since most older movements do not matter for this read.
    let acknowledged = |posting: &&Posting<'_>| posting.operation.acknowledged.is_some_and(|ended| ended < read.invoked);
    let oldest = postings.iter().rev().find(acknowledged).map_or(0, |posting| posting.movement.seq);
    let sent = sent.partition_point(|invoked| *invoked < read.ended);
    let newest = i64::try_from(sent).unwrap_or(i64::MAX);
    let balance_at_0 = (oldest == 0).then_some(0);
    let later = card.movements[card.movements.partition_point(|movement| movement.seq < oldest)..]
        .iter()
        .take_while(|movement| movement.seq <= newest);
    let later = later.map(|movement| movement.balance_after);
    if !balance_at_0.into_iter().chain(later).any(|balance| read.balance == Some(balance)) {
        let what =
            format!("{} read {:?} of {}, which is not the balance at any seq from {oldest} to {newest}", read.op, read.balance, read.card);
        verdict.found(Rule::Read, what);
    }
}

/// The status changes of a card are sent one at a time, so the last one counts. No movement may follow a cancellation.
fn check_statuses(id: &str, card: &Card, operations: &[&Operation<'_>], verdict: &mut Verdict) {
    let done = || operations.iter().filter(|operation| operation.kind == Kind::Status && operation.acknowledged.is_some());
    let last = done().max_by_key(|operation| operation.invoked).and_then(|operation| operation.to).unwrap_or("active");
    if card.status != last {
        verdict.found(Rule::Status, format!("{id} is {}, but was last set to {last}", card.status));
    }
    let cancelled = done().filter(|operation| operation.to == Some("cancelled")).filter_map(|operation| operation.acknowledged).min();
    for operation in operations.iter().filter(|operation| expected_movement(operation).is_some() && operation.acknowledged.is_some()) {
        if cancelled.is_some_and(|cancelled| cancelled < operation.invoked) {
            verdict.found(Rule::Status, format!("{id}: {} was executed after the card was cancelled", operation.key));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
