//! What a flight would write, by where its cards are thought to stand. Pure: no clock, no database.

use std::collections::{HashMap, HashSet};

use super::CardKey;
use crate::domain::{
    money::Amount,
    posting::{self, Entry, MovementKind, Position},
};

/// A posting, as far as the plan goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) card: CardKey,
    pub(super) kind: MovementKind,
    pub(super) amount: Amount,
}

/// A card that is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) card: CardKey,
    pub(super) from: Position,
    pub(super) to: Position,
}

/// What is to be written, all of a card or nothing of it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Each with the index of the posting it is for, in the order the postings came in.
    pub(super) entries: Vec<(usize, Entry)>,
}

/// Plans what can be written. A posting that would be refused, and what comes after it on its card, stays
/// behind: a guess is good enough to write by, for that is checked, but not to refuse by.
pub(super) fn plan(postings: &[Wanted], stand: impl Fn(&CardKey) -> Option<Position>) -> Plan {
    let mut plan = Plan::default();
    let mut step_of: HashMap<CardKey, usize> = HashMap::new();
    let mut stuck: HashSet<CardKey> = HashSet::new();
    for (index, wanted) in postings.iter().enumerate() {
        if stuck.contains(&wanted.card) {
            continue;
        }
        let begun = step_of.get(&wanted.card).and_then(|step| plan.steps.get(*step)).map(|step| step.to);
        let entry = begun.or_else(|| stand(&wanted.card)).and_then(|position| {
            let entry = posting::post(position, wanted.kind, wanted.amount).ok()?;
            Some((position, entry))
        });
        let Some((position, entry)) = entry else {
            stuck.insert(wanted.card);
            continue;
        };
        let to = Position { status: position.status, balance: entry.balance_after, seq: entry.seq };
        let step = *step_of.entry(wanted.card).or_insert_with(|| {
            plan.steps.push(Step { card: wanted.card, from: position, to });
            plan.steps.len() - 1
        });
        if let Some(step) = plan.steps.get_mut(step) {
            step.to = to;
        }
        plan.entries.push((index, entry));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        card::CardStatus,
        id::{AccountId, CardId},
        money::Money,
    };

    fn money(minor: i64) -> Money {
        Money::from_minor(minor).expect("within bounds")
    }

    fn wanted(card: CardKey, kind: MovementKind, minor: i64) -> Wanted {
        Wanted { card, kind, amount: Amount::new(money(minor)).expect("above zero") }
    }

    fn active(balance: i64, seq: i64) -> Position {
        Position { status: CardStatus::Active, balance: money(balance), seq }
    }

    #[test]
    fn postings_on_one_card_follow_one_another() {
        let (one, two) = ((AccountId::new(), CardId::new()), (AccountId::new(), CardId::new()));
        let postings = [
            wanted(one, MovementKind::TopUp, 500),
            wanted(two, MovementKind::TopUp, 1),
            wanted(one, MovementKind::Purchase, 200),
            wanted(one, MovementKind::Refund, 50),
        ];
        let plan = plan(&postings, |card| Some(if *card == one { active(100, 7) } else { active(0, 0) }));
        assert_eq!(
            plan.steps,
            [Step { card: one, from: active(100, 7), to: active(450, 10) }, Step { card: two, from: active(0, 0), to: active(1, 1) }]
        );
        let written: Vec<_> = plan.entries.iter().map(|(index, entry)| (*index, entry.seq, entry.balance_after.minor())).collect();
        assert_eq!(written, [(0, 8, 600), (1, 1, 1), (2, 9, 400), (3, 10, 450)]);
    }

    #[test]
    fn what_would_be_refused_stays_behind_with_all_that_comes_after_it_on_its_card() {
        let (one, two) = ((AccountId::new(), CardId::new()), (AccountId::new(), CardId::new()));
        let postings = [
            wanted(one, MovementKind::Purchase, 60),
            wanted(one, MovementKind::Purchase, 60),
            wanted(one, MovementKind::TopUp, 500),
            wanted(two, MovementKind::TopUp, 1),
        ];
        let plan = plan(&postings, |_| Some(active(100, 0)));
        assert_eq!(plan.entries.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(plan.steps.iter().map(|step| step.to).collect::<Vec<_>>(), [active(40, 1), active(101, 1)]);
    }

    #[test]
    fn a_card_that_nobody_knows_stays_behind() {
        let card = (AccountId::new(), CardId::new());
        let plan = plan(&[wanted(card, MovementKind::TopUp, 1)], |_| None);
        assert!(plan.steps.is_empty() && plan.entries.is_empty());
    }
}
