//! The rules, card by card: the chain of movements, who owns each of them, and real time.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use record::{Attempt, Kind};

use crate::{
    ledger::{Card, Ledger, Movement},
    operation::{Decision, Operation, gather, is_never_right},
};

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `seq` is 1..n, and each balance the one before and the amount, never negative.
    Chain,
    /// A 200 whose movement is not there, or is another.
    Lost,
    /// A movement that no 200 stands for, nor anybody who was left without an answer.
    Doubled,
    /// Done, though everybody who asked for it was told that nothing was.
    Denied,
    /// One key, several definitive answers.
    Answers,
    /// Never decided, or told what nobody should be told.
    Undecided,
    /// What came later in real time stands earlier in the ledger.
    Order,
    /// A read of a balance that the card could not have had then.
    Read,
    /// A status, or a movement that the status forbids.
    Status,
}

/// One thing that is wrong.
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

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    pub acknowledged: usize,
    /// Sent without a key and never answered: done or not, which nobody can ask for.
    pub unanswered: usize,
    /// Acknowledged by a replay only: they had been done, and the answer had not arrived.
    pub replayed_only: usize,
    pub refused: usize,
    pub reads: usize,
    pub movements: usize,
    pub internal_errors: usize,
}

impl Verdict {
    /// Acknowledged writes that the ledger does not have.
    pub fn lost(&self) -> usize {
        self.count(Rule::Lost)
    }

    /// Movements that nobody was told of.
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

/// An operation and the movement it made.
struct Made<'a> {
    operation: &'a Operation<'a>,
    movement: &'a Movement,
}

/// Judges a whole history by the database it left.
pub fn judge(attempts: &[Attempt], ledger: &Ledger) -> Verdict {
    let mut verdict = Verdict::default();
    for attempt in attempts.iter().filter(|attempt| is_never_right(attempt)) {
        verdict.internal_errors += usize::from(attempt.status == Some(500));
        verdict.found(Rule::Undecided, format!("{:?} {:?} was answered to {}", attempt.status, attempt.code, attempt.op));
    }
    let operations = gather(attempts);
    let mut by_card: BTreeMap<&str, Vec<&Operation<'_>>> = ledger.keys().map(|card| (card.as_str(), Vec::new())).collect();
    for operation in &operations {
        answers(operation, &mut verdict);
        by_card.entry(operation.card).or_default().push(operation);
    }
    let mut reads: HashMap<&str, Vec<&Attempt>> = HashMap::new();
    for read in attempts.iter().filter(|attempt| attempt.kind == Kind::Read && attempt.status == Some(200)) {
        reads.entry(&read.card).or_default().push(read);
    }
    let nothing = Card::default();
    for (id, operations) in by_card {
        let card = ledger.get(id).unwrap_or(&nothing);
        chain(id, card, &mut verdict);
        let made = owned(id, card, &operations, &mut verdict);
        order(id, &made, &mut verdict);
        let mut sent: Vec<_> = made.iter().map(|made| made.operation.invoked).collect();
        sent.sort_unstable();
        for read in reads.remove(id).unwrap_or_default() {
            verdict.reads += 1;
            possible(read, card, &made, &sent, &mut verdict);
        }
        statuses(id, card, &operations, &mut verdict);
    }
    for read in reads.into_values().flatten() {
        verdict.found(Rule::Read, format!("{} read {}, which is not there", read.op, read.card));
    }
    verdict
}

fn answers(operation: &Operation<'_>, verdict: &mut Verdict) {
    match operation.decisions.as_slice() {
        [Decision::Done(..)] => {
            verdict.acknowledged += 1;
            verdict.replayed_only += usize::from(!operation.answered_at_first);
            if !operation.answered_at_first && !operation.may_be_done {
                verdict.found(Rule::Denied, format!("{} was done by whoever was told that nothing was", operation.key));
            }
        }
        [Decision::Refused(..)] => verdict.refused += 1,
        [] if !operation.keyed => verdict.unanswered += 1,
        [] => verdict.found(Rule::Undecided, format!("{} never got a definitive answer", operation.key)),
        several => verdict.found(Rule::Answers, format!("{} was answered {several:?}", operation.key)),
    }
}

fn chain(id: &str, card: &Card, verdict: &mut Verdict) {
    verdict.movements += card.movements.len();
    let (mut seq, mut balance) = (0, 0);
    for movement in &card.movements {
        if movement.seq != seq + 1 {
            verdict.found(Rule::Chain, format!("{id}: seq {} follows {seq}", movement.seq));
        }
        if movement.balance_after != balance + movement.amount || movement.balance_after < 0 {
            let Movement { seq, amount, balance_after, .. } = movement;
            verdict.found(Rule::Chain, format!("{id}: at seq {seq}, {balance} and {amount} are not {balance_after}"));
        }
        (seq, balance) = (movement.seq, movement.balance_after);
    }
    if (card.seq, card.balance) != (seq, balance) {
        verdict.found(Rule::Chain, format!("{id}: the card says seq {} and {}, its movements {seq} and {balance}", card.seq, card.balance));
    }
}

/// Matches operations with movements, one to one, by the id that the client was told.
fn owned<'a>(id: &str, card: &'a Card, operations: &[&'a Operation<'a>], verdict: &mut Verdict) -> Vec<Made<'a>> {
    let mut free: HashMap<&str, &Movement> = card.movements.iter().map(|movement| (movement.id.as_str(), movement)).collect();
    if free.len() < card.movements.len() {
        verdict.found(Rule::Doubled, format!("{id}: two movements have one id"));
    }
    let mut made = Vec::new();
    for operation in operations.iter().filter(|operation| operation.acknowledged.is_some() && operation.kind != Kind::Status) {
        let told = operation.movement().unwrap_or("no movement");
        let Some(movement) = free.remove(told) else {
            verdict.found(Rule::Lost, format!("{id}: {} was told of {told}, which is not there for it", operation.key));
            continue;
        };
        let (kind, amount) = asked_for(operation);
        if (movement.kind.as_str(), movement.amount) != (kind, amount) {
            verdict.found(Rule::Lost, format!("{id}: {told} is not the {kind} of {amount} of {}", operation.key));
        }
        if !operation.decisions.contains(&Decision::Done(Some(told), Some(movement.balance_after))) {
            verdict.found(Rule::Answers, format!("{id}: {} was told another balance than {}", operation.key, movement.balance_after));
        }
        made.push(Made { operation, movement });
    }
    // Whoever had no key and no answer may have made one like it, and no more than one.
    let mut unanswered: Vec<_> = operations.iter().filter(|operation| !operation.keyed && operation.may_be_done).collect();
    unanswered.sort_by_key(|operation| operation.invoked);
    for operation in unanswered {
        let (kind, amount) = asked_for(operation);
        let likes = free.values().filter(|movement| (movement.kind.as_str(), movement.amount) == (kind, amount));
        if let Some(movement) = likes.min_by_key(|movement| movement.seq).copied() {
            free.remove(movement.id.as_str());
            made.push(Made { operation, movement });
        }
    }
    for movement in free.into_values() {
        verdict.found(Rule::Doubled, format!("{id}: nobody was told of {} at seq {}", movement.id, movement.seq));
    }
    made.sort_by_key(|made| made.movement.seq);
    made
}

/// The movement that an operation is to make.
const fn asked_for(operation: &Operation<'_>) -> (&'static str, i64) {
    match operation.kind {
        Kind::TopUp => ("top_up", operation.cents),
        Kind::Purchase => ("purchase", -operation.cents),
        _ => ("refund", operation.cents),
    }
}

/// From the last to the first: whoever stands later was not acknowledged before this one was sent.
fn order(id: &str, made: &[Made<'_>], verdict: &mut Verdict) {
    let mut first: Option<(u64, i64)> = None;
    for Made { operation, movement } in made.iter().rev() {
        if let Some((acknowledged, seq)) = first
            && acknowledged < operation.invoked
        {
            verdict.found(Rule::Order, format!("{id}: seq {seq} was acknowledged before seq {} was sent", movement.seq));
        }
        let acknowledged = (operation.acknowledged.unwrap_or(u64::MAX), movement.seq);
        first = Some(first.map_or(acknowledged, |first| first.min(acknowledged)));
    }
}

/// A read shows the balance after a movement that is not older than what was acknowledged before the
/// read began, and not newer than what had been sent when it ended.
fn possible(read: &Attempt, card: &Card, made: &[Made<'_>], sent: &[u64], verdict: &mut Verdict) {
    // Found from the end, since most of what was acknowledged long ago is no concern of this read.
    let acknowledged = |made: &&Made<'_>| made.operation.acknowledged.is_some_and(|ended| ended < read.invoked);
    let oldest = made.iter().rev().find(acknowledged).map_or(0, |made| made.movement.seq);
    let sent = sent.partition_point(|invoked| *invoked < read.ended);
    let newest = i64::try_from(sent).unwrap_or(i64::MAX);
    let balance_at_0 = (oldest == 0).then_some(0);
    let later = card.movements[card.movements.partition_point(|movement| movement.seq < oldest)..]
        .iter()
        .take_while(|movement| movement.seq <= newest);
    let later = later.map(|movement| movement.balance_after);
    if !balance_at_0.into_iter().chain(later).any(|balance| read.balance == Some(balance)) {
        let what = format!("{} read {:?} of {}, the balance of no seq from {oldest} to {newest}", read.op, read.balance, read.card);
        verdict.found(Rule::Read, what);
    }
}

/// Changes of a card's status are sent one after another, so the last one stands; after a cancellation nothing moves.
fn statuses(id: &str, card: &Card, operations: &[&Operation<'_>], verdict: &mut Verdict) {
    let done = || operations.iter().filter(|operation| operation.kind == Kind::Status && operation.acknowledged.is_some());
    let last = done().max_by_key(|operation| operation.invoked).and_then(|operation| operation.to).unwrap_or("active");
    if card.status != last {
        verdict.found(Rule::Status, format!("{id} is {}, and was last made {last}", card.status));
    }
    let cancelled = done().filter(|operation| operation.to == Some("cancelled")).filter_map(|operation| operation.acknowledged).min();
    for operation in operations.iter().filter(|operation| operation.kind != Kind::Status && operation.acknowledged.is_some()) {
        if cancelled.is_some_and(|cancelled| cancelled < operation.invoked) {
            verdict.found(Rule::Status, format!("{id}: {} was done after the card was cancelled", operation.key));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
