//! What a batch is to write: one update for each card, with all that is done to it. Pure: no clock, no database.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    CardKey, Done, LedgerCall, Posted, Target, Work,
    author::Author,
    authorization::{Authorization, Stepped},
    card_rules::CardRules,
    card_write::CardWrite,
    position_cache::CachedPosition,
    steps,
    transfers::{NewTransfer, Transferred},
};
use crate::domain::{
    hold_time::{self, HoldTimes},
    id::{AccountId, AuthorizationId, CustomerId},
    spending::usage::Usage,
};
use crate::service::idempotency::Outcome;

/// How early a hold counts as due, because the time of a batch is an estimate. A card with such a hold takes the pessimistic
/// path, which asks the database for the time.
const DUE_EARLY: TimeDelta = TimeDelta::seconds(1);

/// A call that its card allows, with its result.
pub(super) struct PendingCall {
    pub(super) call: LedgerCall,
    result: Planned,
    /// The body of the response, if it is to be stored under an idempotency key.
    pub(super) body: Option<Vec<u8>>,
}

/// The result of a call, if it is written.
enum Planned {
    Posted(Posted),
    Transferred(Transferred),
    Stepped(Box<Stepped>),
}

/// All that a batch does to a card. It is written together or not at all.
pub(super) struct CardUpdate {
    pub(super) write: CardWrite,
    /// The calls. That of a transfer is with the card that it takes from.
    pub(super) calls: Vec<PendingCall>,
    /// Updates with one number are written together or not at all: those that transfers connect.
    pub(super) group: usize,
}

/// What became of a card's update.
#[derive(Debug)]
pub(super) enum CardOutcome {
    /// The database wrote all of it.
    Applied,
    /// The database wrote nothing. The card has another position, another transaction has locked it, or some idempotency
    /// keys or network transaction ids are used already.
    Conflict { known: Option<CachedPosition>, used: Vec<String> },
}

/// What calls are decided on.
#[derive(Default)]
pub(super) struct Known {
    /// The positions that cards had.
    pub(super) positions: HashMap<CardKey, CachedPosition>,
    /// Authorisations as they were when their cards had those positions.
    pub(super) authorizations: HashMap<(AccountId, AuthorizationId), Authorization>,
    /// The controls and limits of those cards that have any and that are written now, with what was spent when their cards had
    /// those positions, or later.
    pub(super) rules: HashMap<CardKey, CardRules>,
    /// The cards that share limits with others, if they are left to a transaction of their own.
    pub(super) limited: HashSet<CardKey>,
}

impl Known {
    /// The card that a call is to.
    fn card_of(&self, call: &LedgerCall) -> Option<CardKey> {
        let account = call.request.actor.account;
        match call.request.target {
            Target::Card(card) => Some((account, card)),
            Target::Authorization(id) => self.authorizations.get(&(account, id)).map(|authorization| (account, authorization.card_id)),
        }
    }

    /// Separates the calls that spend of shared limits from all others.
    pub(super) fn partition(&self, calls: Vec<LedgerCall>) -> (Vec<LedgerCall>, Vec<LedgerCall>) {
        let is_limited = |call: &LedgerCall| call.request.spends() && self.card_of(call).is_some_and(|card| self.limited.contains(&card));
        calls.into_iter().partition(is_limited)
    }
}

/// Decides calls on what is `known` of their cards, to be written `at` this time. Returns the updates
/// to write, and the calls that are left over.
///
/// A posting that would be refused is left over, with every later call to its cards: the database checks the position before
/// it writes, but nothing checks a refusal. An authorisation that is declined is written like any other.
pub(super) fn plan(calls: Vec<LedgerCall>, known: &Known, at: DateTime<Utc>, hold_times: &HoldTimes) -> (Vec<CardUpdate>, Vec<LedgerCall>) {
    let mut plan =
        Plan { known, at, hold_times, updates: Vec::new(), cards: HashMap::new(), transactions: HashSet::new(), spent: HashMap::new() };
    let mut left_over = Vec::new();
    for call in calls {
        let Some((index, result)) = plan.add(&call) else {
            plan.block(&call);
            left_over.push(call);
            continue;
        };
        let body = render(&call, &result);
        if let Some(update) = plan.updates.get_mut(index) {
            update.calls.push(PendingCall { call, result, body });
        }
    }
    let mut updates = plan.updates;
    updates.retain(|update| !update.write.is_empty());
    (updates, left_over)
}

/// What is planned so far.
struct Plan<'a> {
    known: &'a Known,
    at: DateTime<Utc>,
    hold_times: &'a HoldTimes,
    updates: Vec<CardUpdate>,
    /// The index of the update of each card. None: a call to the card was left over.
    cards: HashMap<CardKey, Option<usize>>,
    transactions: HashSet<(AccountId, String)>,
    /// What the cards of a customer spend of its limits.
    spent: HashMap<(AccountId, CustomerId), Usage>,
}

impl Plan<'_> {
    /// Adds a call to the update of its card, whose index it returns. None: it has to be left over.
    fn add(&mut self, call: &LedgerCall) -> Option<(usize, Planned)> {
        let card = self.known.card_of(call)?;
        let index = self.update_of(card)?;
        if let Work::Transfer { to, transfer, .. } = &call.request.work {
            let other = self.update_of((card.0, *to))?;
            return self.transfer((index, other), transfer, &Author::from(&call.request.actor)).map(|done| (index, done));
        }
        if let Some(id) = call.request.network_transaction()
            && !self.transactions.insert((card.0, id.to_owned()))
        {
            return None;
        }
        let write = &mut self.updates.get_mut(index)?.write;
        if call.request.spends() && write.from.rules_version > 0 && write.rules.is_none() {
            return None;
        }
        let so_far = write.shares_limits_with().map(|customer| self.spent.entry((card.0, customer)).or_default());
        sharing(write, so_far, |write| add(write, call, self.known, self.at, self.hold_times)).map(|result| (index, result))
    }

    /// The index of the update of a card, unless it has to be left over.
    fn update_of(&mut self, card: CardKey) -> Option<usize> {
        let (known, at, updates) = (self.known, self.at, &mut self.updates);
        *self.cards.entry(card).or_insert_with(|| {
            let position = known.positions.get(&card).map(|known| known.position)?;
            if position.may_have_due_holds(at + DUE_EARLY) {
                return None;
            }
            let (rules, group) = (known.rules.get(&card).cloned().map(Box::new), updates.len());
            updates.push(CardUpdate { write: CardWrite { rules, ..CardWrite::new(card, position) }, calls: Vec::new(), group });
            Some(group)
        })
    }

    /// Adds a transfer between the cards of two updates, which are written together from now on.
    fn transfer(&mut self, (from, to): (usize, usize), transfer: &NewTransfer, by: &Author) -> Option<Planned> {
        let [giving, taking] = self.updates.get_disjoint_mut([from, to]).ok()?;
        let done = CardWrite::transfer(&mut giving.write, &mut taking.write, (self.at, by), transfer).ok()?;
        let (joined, group) = (taking.group, giving.group);
        for update in self.updates.iter_mut().filter(|update| update.group == joined) {
            update.group = group;
        }
        Some(Planned::Transferred(done))
    }

    /// Leaves every later call to the cards of one that was left over, too.
    fn block(&mut self, call: &LedgerCall) {
        let cards = call.request.cards().chain(self.known.card_of(call));
        for card in cards {
            self.cards.insert(card, None);
        }
    }
}

/// Adds to what is written to a card, while it knows what all cards that it shares limits with spend so far.
fn sharing<T>(write: &mut CardWrite, so_far: Option<&mut Usage>, add: impl FnOnce(&mut CardWrite) -> T) -> T {
    let Some(so_far) = so_far else { return add(write) };
    let exchange = |write: &mut CardWrite, so_far: &mut Usage| {
        if let Some(rules) = &mut write.rules {
            std::mem::swap(&mut rules.so_far, so_far);
        }
    };
    exchange(write, so_far);
    let result = add(write);
    exchange(write, so_far);
    result
}

fn add(write: &mut CardWrite, call: &LedgerCall, known: &Known, at: DateTime<Utc>, hold_times: &HoldTimes) -> Option<Planned> {
    let request = &call.request;
    let by = Author::from(&request.actor);
    match &request.work {
        Work::Post { posting, .. } => {
            let posted = write.try_to(|write| write.take_posting((at, &by), posting)).ok()?;
            Some(Planned::Posted(posted))
        }
        // It changes two cards.
        Work::Transfer { .. } => None,
        // The pessimistic path looks for a stored response first.
        Work::Authorize { new, .. } if new.expires_at.is_some_and(|end| !hold_time::may_end(at, end)) => None,
        Work::Authorize { new, .. } => {
            let stepped = write.try_to(|write| write.authorize((at, &by), new, hold_times)).ok()?;
            Some(Planned::Stepped(Box::new(stepped)))
        }
        Work::Step { request: step, .. } => {
            let Target::Authorization(id) = request.target else { return None };
            // Another step of the batch may have changed it already.
            let changed = write.changed.iter().find(|changed| changed.id == id);
            let authorization = changed.or_else(|| known.authorizations.get(&(request.actor.account, id)))?.clone();
            if write.rules.as_ref().is_some_and(|rules| rules.needs_excess(&authorization)) {
                return None;
            }
            let stepped = write.try_to(|write| steps::take(write, (at, &by), authorization, step, hold_times)).ok()?;
            Some(Planned::Stepped(Box::new(stepped)))
        }
    }
}

/// The body of the response to store under the call's idempotency key, if it has one.
fn render(call: &LedgerCall, result: &Planned) -> Option<Vec<u8>> {
    match (&call.request.work, result) {
        (Work::Post { idempotent, .. }, Planned::Posted(posted)) => Some((idempotent.as_ref()?.render)(Ok(posted))),
        (Work::Authorize { idempotent, .. } | Work::Step { idempotent, .. }, Planned::Stepped(stepped)) => {
            Some((idempotent.as_ref()?.render)(Ok(stepped)))
        }
        (Work::Transfer { idempotent, .. }, Planned::Transferred(done)) => Some((idempotent.as_ref()?.render)(Ok(done))),
        _ => None,
    }
}

impl PendingCall {
    /// Tells the caller that it was written.
    pub(super) fn confirm(self) {
        self.call.reply(Ok(match self.result {
            Planned::Posted(posted) => Done::Posted(Box::new(outcome(posted, self.body))),
            Planned::Transferred(done) => Done::Transferred(Box::new(outcome(done, self.body))),
            Planned::Stepped(stepped) => Done::Stepped(Box::new(outcome(*stepped, self.body))),
        }));
    }
}

fn outcome<T>(done: T, body: Option<Vec<u8>>) -> Outcome<T> {
    match body {
        Some(body) => Outcome::Stored(done, body),
        None => Outcome::Fresh(done),
    }
}

#[cfg(test)]
mod tests;
