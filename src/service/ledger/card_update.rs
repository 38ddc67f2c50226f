//! What a batch is to write: one update for each card, with all of its postings. Pure: no clock, no database.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{CardKey, Movement, Outcome, Posted, PostingCall, position_cache::CachedPosition};
use crate::domain::{
    id::MovementId,
    posting::{self, Entry, Position},
};

/// A posting that its card allows, with its caller.
pub(super) struct PendingPosting {
    pub(super) call: PostingCall,
    pub(super) id: MovementId,
    pub(super) entry: Entry,
}

/// All postings of a batch to one card. They are written together or not at all.
pub(super) struct CardUpdate {
    pub(super) card: CardKey,
    /// The position that the postings were decided on. The database applies the update only if the card still has it.
    pub(super) from: Position,
    /// The position that they lead to.
    pub(super) to: Position,
    /// No posting may have an earlier time, so that the times of a card's movements are in the order of its history.
    pub(super) not_before: DateTime<Utc>,
    pub(super) postings: Vec<PendingPosting>,
}

/// What became of a card's update.
#[derive(Debug)]
pub(super) enum CardOutcome {
    /// The database wrote all of its postings at this time.
    Applied { at: DateTime<Utc> },
    /// The database wrote none of its postings. The card has another position, another transaction has locked it, or some
    /// idempotency keys are used already.
    Conflict { known: Option<CachedPosition>, duplicate_keys: Vec<String> },
}

/// Decides postings on the positions that their cards are `known` to have had. Returns the updates to write, and the calls
/// that are left over.
///
/// A posting that would be refused is left over, with every later posting to its card: the database checks the position
/// before it writes, but nothing checks a refusal.
pub(super) fn plan(calls: Vec<PostingCall>, known: impl Fn(&CardKey) -> Option<CachedPosition>) -> (Vec<CardUpdate>, Vec<PostingCall>) {
    let (mut updates, mut left_over): (Vec<CardUpdate>, Vec<PostingCall>) = Default::default();
    // For each card the index of its update, and whether a posting to it was left over.
    let mut cards: HashMap<CardKey, (Option<usize>, bool)> = HashMap::new();
    for call in calls {
        let card = call.request.card_key();
        let (index, is_blocked) = cards.entry(card).or_default();
        let planned =
            index.and_then(|index| updates.get(index)).map(|update| CachedPosition { position: update.to, as_of: update.not_before });
        let decided = planned.or_else(|| known(&card)).filter(|_| !*is_blocked).and_then(|before| {
            let posting = &call.request.posting;
            Some((before, posting::post(before.position, posting.kind, posting.amount).ok()?))
        });
        let Some((CachedPosition { position: before, as_of }, entry)) = decided else {
            *is_blocked = true;
            left_over.push(call);
            continue;
        };
        let index = *index.get_or_insert_with(|| {
            updates.push(CardUpdate { card, from: before, to: before, not_before: as_of, postings: Vec::new() });
            updates.len() - 1
        });
        if let Some(update) = updates.get_mut(index) {
            update.to = Position { status: before.status, balance: entry.balance_after, seq: entry.seq };
            update.postings.push(PendingPosting { call, id: MovementId::new(), entry });
        }
    }
    (updates, left_over)
}

/// The time of updates that are written `now`, by an estimate of the database's clock. It is not before that of any
/// movement that they follow. If another transaction writes to a card meanwhile, the card's update conflicts.
pub(super) fn time(updates: &[CardUpdate], now: DateTime<Utc>) -> DateTime<Utc> {
    updates.iter().map(|update| update.not_before).fold(now, DateTime::max)
}

impl PendingPosting {
    /// The result of the posting, if it is written at this time.
    fn posted(&self, at: DateTime<Utc>) -> Posted {
        let request = &self.call.request;
        let movement = Movement {
            id: self.id,
            seq: self.entry.seq,
            kind: request.posting.kind.into(),
            amount: self.entry.amount,
            balance_after: self.entry.balance_after,
            description: request.posting.description.as_str().to_owned(),
            created_at: at,
        };
        Posted { card: request.card, movement }
    }

    /// The body of the response to store under the posting's idempotency key, if it has one.
    pub(super) fn stored_body(&self, at: DateTime<Utc>) -> Option<Vec<u8>> {
        let request = self.call.request.idempotent.as_ref()?;
        Some((request.render)(Ok(&self.posted(at))))
    }

    /// Tells the caller that the posting was written.
    pub(super) fn confirm(self, at: DateTime<Utc>) {
        let posted = self.posted(at);
        self.call.reply(Ok(Outcome::Fresh(posted)));
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
