//! The events of a card: they count from 1 to its `event_seq`, and tell of each movement and each entry once, of an overdraft
//! where there was one, and of nothing else that moved money.

use std::collections::HashMap;

use crate::{
    ledger::{Card, Entry, Told},
    verdict::{Rule, Verdict},
};

/// The type of the event of a movement.
pub const MOVEMENT: &str = "movement.created";

/// The type of the event of a balance that went below zero.
const OVERDRAWN: &str = "card.overdrawn";

/// Checks the events of a card. A card that has none had none of what they tell of.
pub fn check(id: &str, card: &Card, verdict: &mut Verdict) {
    verdict.events += card.told.len();
    let mut found = |what: String| verdict.found(Rule::Event, format!("{id}: {what}"));
    for (index, told) in card.told.iter().enumerate() {
        if i64::try_from(index + 1) != Ok(told.sequence) {
            found(format!("event {} is the {}. of the card", told.sequence, index + 1));
            break;
        }
    }
    let newest = card.told.last().map_or(0, |told| told.sequence);
    if newest != card.event_seq {
        found(format!("the card has event_seq {}, its events end at {newest}", card.event_seq));
    }
    let expected = expected(card, &mut found);
    let mut status = "inactive";
    for told in &card.told {
        if let Some(expected) = expected.get(&told.sequence) {
            if told != expected {
                found(format!("{told:?} is not {expected:?}"));
            }
            continue;
        }
        let is_first = told.sequence == 1;
        match told.kind.as_str() {
            _ if told.movement_seq.is_some() => found(format!("{told:?} tells of nothing")),
            "card.created" if is_first => {}
            "card.assigned" | "limit.created" if !is_first => {}
            "card.activated" if !is_first => status = "active",
            "card.blocked" if !is_first => status = "blocked",
            "card.cancelled" if !is_first => status = "cancelled",
            _ => found(format!("{told:?} tells of nothing")),
        }
    }
    for expected in expected.values() {
        if card.told.binary_search_by_key(&expected.sequence, |told| told.sequence).is_err() {
            found(format!("{expected:?} is missing"));
        }
    }
    if status != card.status {
        found(format!("the card is {}, its events leave it {status}", card.status));
    }
}

/// The events that entries and movements must have, by their sequence numbers.
fn expected(card: &Card, found: &mut impl FnMut(String)) -> HashMap<i64, Told> {
    let mut expected = HashMap::new();
    let mut expect = |sequence: i64, kind: &str, movement_seq: Option<i64>| {
        let before = expected.insert(sequence, Told { sequence, kind: kind.to_owned(), movement_seq });
        before.map(|before| format!("{before:?} and a {kind} of {movement_seq:?} share a place"))
    };
    let mut by_movement = HashMap::new();
    let mut doubled = Vec::new();
    for entry in &card.entries {
        doubled.extend(expect(entry.sequence, kind_of(entry), entry.movement_seq));
        if let Some(seq) = entry.movement_seq {
            by_movement.insert(seq, entry.sequence + 1);
        }
    }
    // Of a movement without an entry, only its event has the place.
    for told in card.told.iter().filter(|told| told.kind == MOVEMENT) {
        if let Some(seq) = told.movement_seq {
            by_movement.entry(seq).or_insert(told.sequence);
        }
    }
    for movement in &card.movements {
        let Some(sequence) = by_movement.get(&movement.seq).copied() else {
            found(format!("the movement {} has no event", movement.seq));
            continue;
        };
        doubled.extend(expect(sequence, MOVEMENT, Some(movement.seq)));
        if movement.balance_after < 0 && movement.balance_after - movement.amount >= 0 {
            doubled.extend(expect(sequence + 1, OVERDRAWN, Some(movement.seq)));
        }
    }
    doubled.into_iter().for_each(found);
    expected
}

/// The type of the event of an entry.
fn kind_of(entry: &Entry) -> &'static str {
    match entry.kind.as_str() {
        "authorization" | "partial_authorization" => "authorization.approved",
        "declined" => "authorization.declined",
        "increment" => "authorization.incremented",
        "increment_declined" => "authorization.increment_declined",
        "adjustment" => "authorization.adjusted",
        "reversal" => "authorization.reversed",
        "capture" | "late_capture" => "authorization.captured",
        "expiry" => "authorization.expired",
        "release" => "authorization.released",
        _ => "none",
    }
}
