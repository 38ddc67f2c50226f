//! What a batch is to write: one update for each card, with all that is done to it. Pure: no clock, no database.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    CardKey, Done, LedgerCall, Posted, Work,
    authorization::Stepped,
    card_write::{Author, CardWrite, Link},
    position_cache::CachedPosition,
};
use crate::domain::{error::Refusal, hold_time::HoldTimes, id::AccountId, posting};
use crate::service::idempotency::Outcome;

/// How early a hold counts as due, because the time of a batch is an estimate. A card with such a hold takes the pessimistic
/// path, which asks the database for the time.
const DUE_EARLY: TimeDelta = TimeDelta::seconds(1);

/// A call that its card allows, with its result.
pub(super) struct PendingCall {
    pub(super) call: LedgerCall,
    result: Planned,
}

/// The result of a call, if it is written.
enum Planned {
    Posted(Posted),
    Authorized(Box<Stepped>),
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

/// Decides calls on the positions that their cards are `known` to have had, to be written `at` this time. Returns the updates
/// to write, and the calls that are left over.
///
/// A posting that would be refused is left over, with every later call to its card: the database checks the position before
/// it writes, but nothing checks a refusal. An authorisation that is declined is written like any other.
pub(super) fn plan(
    calls: Vec<LedgerCall>,
    known: impl Fn(&CardKey) -> Option<CachedPosition>,
    at: DateTime<Utc>,
    hold_times: &HoldTimes,
) -> (Vec<CardUpdate>, Vec<LedgerCall>) {
    let (mut updates, mut left_over): (Vec<CardUpdate>, Vec<LedgerCall>) = Default::default();
    // For each card the index of its update, and whether a call to it was left over.
    let mut cards: HashMap<CardKey, (Option<usize>, bool)> = HashMap::new();
    let mut transactions: HashSet<(AccountId, String)> = HashSet::new();
    for call in calls {
        let card = call.request.card_key();
        let (index, is_blocked) = cards.entry(card).or_default();
        if index.is_none() && !*is_blocked {
            let position = known(&card).map(|known| known.position).filter(|position| !position.may_have_due_holds(at + DUE_EARLY));
            *index = position.map(|position| {
                updates.push(CardUpdate { write: CardWrite::new(card, position), calls: Vec::new() });
                updates.len() - 1
            });
        }
        let update = index.filter(|_| !*is_blocked).and_then(|index| updates.get_mut(index));
        let is_new = call.request.network_transaction().is_none_or(|id| transactions.insert((card.0, id.to_owned())));
        let planned = update.filter(|_| is_new).and_then(|update| {
            let result = add(&mut update.write, &call, at, hold_times).ok()?;
            Some((update, result))
        });
        let Some((update, result)) = planned else {
            *is_blocked = true;
            left_over.push(call);
            continue;
        };
        update.calls.push(PendingCall { call, result });
    }
    updates.retain(|update| !update.calls.is_empty());
    (updates, left_over)
}

fn add(write: &mut CardWrite, call: &LedgerCall, at: DateTime<Utc>, hold_times: &HoldTimes) -> Result<Planned, Refusal> {
    let request = &call.request;
    let by = Author::from(&request.actor);
    match &request.work {
        Work::Post { posting, .. } => {
            let entry = posting::post(write.to, posting.kind, posting.amount)?;
            let movement = write.post((at, &by), posting.kind, entry, &posting.description, Link::default());
            Ok(Planned::Posted(Posted { movement, balance: write.balance() }))
        }
        Work::Authorize { new, .. } => {
            let stepped = write.try_to(|write| write.authorize((at, &by), new, hold_times))?;
            Ok(Planned::Authorized(Box::new(stepped)))
        }
    }
}

impl PendingCall {
    /// The body of the response to store under the call's idempotency key, if it has one.
    pub(super) fn stored_body(&self) -> Option<Vec<u8>> {
        match (&self.call.request.work, &self.result) {
            (Work::Post { idempotent, .. }, Planned::Posted(posted)) => Some((idempotent.as_ref()?.render)(Ok(posted))),
            (Work::Authorize { idempotent, .. }, Planned::Authorized(stepped)) => Some((idempotent.as_ref()?.render)(Ok(stepped))),
            _ => None,
        }
    }

    /// Tells the caller that it was written.
    pub(super) fn confirm(self) {
        self.call.reply(Ok(match self.result {
            Planned::Posted(posted) => Done::Posted(Outcome::Fresh(posted)),
            Planned::Authorized(stepped) => Done::Authorized(Box::new(Outcome::Fresh(*stepped))),
        }));
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::{
        actor::Actor,
        card::CardStatus,
        id::{AccountId, CardId},
        money::{Amount, Money},
        posting::MovementKind,
    };
    use crate::service::{
        batch::Call,
        ledger::{Posting, PostingRequest},
    };

    fn money(minor: i64) -> Money {
        Money::from_minor(minor).expect("within bounds")
    }

    fn call((account, card): CardKey, kind: MovementKind, minor: i64) -> PostingCall {
        let amount = Amount::new(money(minor)).expect("above zero");
        let posting = Posting { card: Some(card), kind, amount, description: "test".parse().expect("a description") };
        Call::new(PostingRequest { actor: Actor::command_line(account), card, posting, idempotent: None }).0
    }

    fn known(position: Position) -> CachedPosition {
        CachedPosition { position, as_of: DateTime::UNIX_EPOCH }
    }

    fn active(balance: i64, seq: i64) -> Position {
        Position { status: CardStatus::Active, balance: money(balance), seq }
    }

    fn card() -> CardKey {
        (AccountId::new(), CardId::new())
    }

    /// The numbers of an update's movements and the balances after them.
    fn movements(update: &CardUpdate) -> Vec<(i64, i64)> {
        update.postings.iter().map(|posting| (posting.entry.seq, posting.entry.balance_after.minor())).collect()
    }

    #[test]
    fn the_postings_to_a_card_follow_one_another() {
        let (one, two) = (card(), card());
        let calls = vec![
            call(one, MovementKind::TopUp, 500),
            call(two, MovementKind::TopUp, 1),
            call(one, MovementKind::Purchase, 200),
            call(one, MovementKind::Refund, 50),
        ];
        let (updates, left_over) = plan(calls, |card| Some(known(if *card == one { active(100, 7) } else { active(0, 0) })));
        assert!(left_over.is_empty());
        let [first, second] = &*updates else { panic!("{} updates", updates.len()) };
        assert_eq!((first.card, first.from, first.to), (one, active(100, 7), active(450, 10)));
        assert_eq!(movements(first), [(8, 600), (9, 400), (10, 450)]);
        assert_eq!((second.card, second.from, second.to), (two, active(0, 0), active(1, 1)));
        assert_eq!(movements(second), [(1, 1)]);
    }

    #[test]
    fn a_posting_that_would_be_refused_is_left_over_with_every_later_one_to_its_card() {
        let (one, two) = (card(), card());
        let calls = vec![
            call(one, MovementKind::Purchase, 60),
            call(one, MovementKind::Purchase, 61),
            call(one, MovementKind::TopUp, 500),
            call(two, MovementKind::TopUp, 1),
        ];
        let (updates, left_over) = plan(calls, |_| Some(known(active(100, 0))));
        assert_eq!(
            updates.iter().map(|update| (update.card, update.to)).collect::<Vec<_>>(),
            [(one, active(40, 1)), (two, active(101, 1))]
        );
        assert_eq!(left_over.iter().map(|call| call.request.posting.amount.money().minor()).collect::<Vec<_>>(), [61, 500]);
    }

    #[test]
    fn no_update_is_dated_before_the_position_that_it_was_decided_on() {
        let noon = DateTime::UNIX_EPOCH + TimeDelta::hours(12);
        let calls = vec![call(card(), MovementKind::TopUp, 1), call(card(), MovementKind::TopUp, 1)];
        let (updates, _) = plan(calls, |_| Some(CachedPosition { position: active(0, 0), as_of: noon }));
        assert_eq!(time(&updates, noon - TimeDelta::seconds(1)), noon);
        assert_eq!(time(&updates, noon + TimeDelta::seconds(1)), noon + TimeDelta::seconds(1));
    }

    #[test]
    fn a_posting_to_a_card_of_unknown_position_is_left_over() {
        let (updates, left_over) = plan(vec![call(card(), MovementKind::TopUp, 1)], |_| None);
        assert!(updates.is_empty());
        assert_eq!(left_over.len(), 1);
    }
}
