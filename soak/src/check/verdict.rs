//! What the checker found.

use std::fmt;

/// The rule that was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Movements and entries count from 1 without a gap, and each balance is the previous one plus the amount.
    Chain,
    /// An authorisation's amounts do not follow from its entries, or the card's held money from its authorisations.
    Hold,
    /// More was approved or spent than was available.
    Overspent,
    /// More was reversed or refunded than there was.
    Exceeded,
    /// What a 200 says was done is missing or differs.
    Lost,
    /// A movement or an entry belongs neither to a 200 nor to an unanswered operation.
    Doubled,
    /// An operation was executed although every answer promised that nothing was done.
    Denied,
    /// A key has several definitive answers, or one that contradicts the ledger.
    Answers,
    /// An operation has no definitive answer, or got one that is forbidden.
    Undecided,
    /// The ledger contradicts the order in real time.
    Order,
    /// A read returned money that the card could not have had at that time.
    Read,
    /// A status is wrong, or forbids what was done.
    Status,
    /// A decline or a refusal for a reason that did not hold at any moment at which it can have been decided.
    Refusal,
    /// The answer that is stored under a key is not the one that was given.
    Stored,
    /// The events of a card are not what happened to it, each once and in its order.
    Event,
    /// A reader of a feed did not get its events, each once and in their order.
    Feed,
    /// An endpoint did not get a message, or got one that it may not get.
    Message,
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

/// The maximum number of findings that are kept of each rule. All are counted.
const MAX_KEPT: usize = 8;

/// The result of the check.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The first findings.
    pub kept: Vec<Finding>,
    pub findings: usize,
    /// Acknowledged writes that are missing from the ledger.
    pub lost: usize,
    /// Movements and entries that no answer explains.
    pub doubled: usize,
    pub acknowledged: usize,
    /// Sent without a key and never answered: executed or not, which cannot be resolved.
    pub unanswered: usize,
    /// Acknowledged only by a replay: executed, but the first answer did not arrive.
    pub replayed_only: usize,
    pub refused: usize,
    pub reads: usize,
    pub movements: usize,
    pub entries: usize,
    pub approved: usize,
    pub declined: usize,
    /// Holds that ran out of time.
    pub expired: usize,
    pub internal_errors: usize,
    pub events: usize,
    /// Events that the readers of feeds got.
    pub read_events: usize,
    /// Messages that came to the receivers.
    pub messages: usize,
    /// Messages that came again although they had been accepted.
    pub messages_again: usize,
    /// Messages that a receiver did not accept.
    pub withheld: usize,
    /// Keyed operations whose answer is stored.
    pub stored: usize,
}

impl Verdict {
    /// Adds a finding.
    pub fn found(&mut self, rule: Rule, what: String) {
        self.findings += 1;
        self.lost += usize::from(rule == Rule::Lost);
        self.doubled += usize::from(rule == Rule::Doubled);
        if self.kept.iter().filter(|finding| finding.rule == rule).count() < MAX_KEPT {
            self.kept.push(Finding { rule, what });
        }
    }
}
