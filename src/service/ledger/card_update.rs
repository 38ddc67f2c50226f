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
};
use crate::domain::{
    hold_time::{self, HoldTimes},
    id::{AccountId, AuthorizationId, CustomerId},
    posting::Position,
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
    Stepped(Box<Stepped>),
}

/// All that a batch does to a card. It is written together or not at all.
pub(super) struct CardUpdate {
    pub(super) write: CardWrite,
    pub(super) calls: Vec<PendingCall>,
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
    /// The cards whose customers have limits, if they are left to a transaction of their own.
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

    /// Separates the calls to limited cards from all others.
    pub(super) fn partition(&self, calls: Vec<LedgerCall>) -> (Vec<LedgerCall>, Vec<LedgerCall>) {
        calls.into_iter().partition(|call| self.card_of(call).is_some_and(|card| self.limited.contains(&card)))
    }
}

/// Decides calls on what is `known` of their cards, to be written `at` this time. Returns the updates
/// to write, and the calls that are left over.
///
/// A posting that would be refused is left over, with every later call to its card: the database checks the position before
/// it writes, but nothing checks a refusal. An authorisation that is declined is written like any other.
pub(super) fn plan(calls: Vec<LedgerCall>, known: &Known, at: DateTime<Utc>, hold_times: &HoldTimes) -> (Vec<CardUpdate>, Vec<LedgerCall>) {
    let (mut updates, mut left_over): (Vec<CardUpdate>, Vec<LedgerCall>) = Default::default();
    // For each card the index of its update, and whether a call to it was left over.
    let mut cards: HashMap<CardKey, (Option<usize>, bool)> = HashMap::new();
    let mut transactions: HashSet<(AccountId, String)> = HashSet::new();
    // What the cards of a customer spend of its limits.
    let mut spent: HashMap<(AccountId, CustomerId), Usage> = HashMap::new();
    for call in calls {
        let Some(card) = known.card_of(&call) else {
            left_over.push(call);
            continue;
        };
        let (index, is_blocked) = cards.entry(card).or_default();
        if index.is_none() && !*is_blocked {
            let position = known.positions.get(&card).map(|known| known.position);
            let rules = known.rules.get(&card);
            let suits =
                |position: &Position| !position.may_have_due_holds(at + DUE_EARLY) && (position.rules_version == 0 || rules.is_some());
            *index = position.filter(suits).map(|position| {
                let write = CardWrite { rules: rules.cloned().map(Box::new), ..CardWrite::new(card, position) };
                updates.push(CardUpdate { write, calls: Vec::new() });
                updates.len() - 1
            });
        }
        let update = index.filter(|_| !*is_blocked).and_then(|index| updates.get_mut(index));
        let is_new = call.request.network_transaction().is_none_or(|id| transactions.insert((card.0, id.to_owned())));
        let planned = update.filter(|_| is_new).and_then(|update| {
            let so_far = update.write.shares_limits_with().map(|customer| spent.entry((card.0, customer)).or_default());
            let result = sharing(&mut update.write, so_far, |write| add(write, &call, known, at, hold_times))?;
            Some((update, result))
        });
        let Some((update, result)) = planned else {
            *is_blocked = true;
            left_over.push(call);
            continue;
        };
        let body = render(&call, &result);
        update.calls.push(PendingCall { call, result, body });
    }
    updates.retain(|update| !update.calls.is_empty());
    (updates, left_over)
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
        _ => None,
    }
}

impl PendingCall {
    /// Tells the caller that it was written.
    pub(super) fn confirm(self) {
        self.call.reply(Ok(match self.result {
            Planned::Posted(posted) => Done::Posted(Box::new(outcome(posted, self.body))),
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
