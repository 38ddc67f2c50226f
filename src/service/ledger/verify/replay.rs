//! The replay of one card's history: its movements, its entries, and the authorisations that the entries lead to. Pure.
//!
//! Sums are 128 bits wide, so that no tampered amounts can overflow them. A replay continues from what a row states even if
//! it is wrong, so that each fault is reported once.

use super::{
    AuthorizationRow, CardRow, EntryRow, MovementRow,
    fault::{Drift, Fault},
};
use crate::domain::id::AccountId;

pub(super) struct Replay<'a> {
    account: AccountId,
    pub(super) card: &'a CardRow,
    seq: i64,
    sum: i128,
    running: i128,
    /// What movements captured for authorisations, and what entries did.
    captured: (i128, i128),
    /// What the entries changed of the hold, and what the newest one says is held.
    held: i128,
    running_hold: i128,
    /// The entries, and those of them that authorisations lead to.
    entries: i64,
    reached: i64,
}

impl<'a> Replay<'a> {
    pub(super) const fn new(account: AccountId, card: &'a CardRow) -> Self {
        Self { account, card, seq: 0, sum: 0, running: 0, captured: (0, 0), held: 0, running_hold: 0, entries: 0, reached: 0 }
    }

    /// Whether a movement belongs to the card, and was there when the card was read.
    pub(super) fn includes(&self, movement: &MovementRow) -> bool {
        self.card.balance.is_some() && self.card.id == movement.card && self.card.newest.is_some_and(|newest| movement.seq <= newest)
    }

    /// Whether an entry belongs to the card, and was there when the card was read.
    pub(super) fn includes_entry(&self, entry: &EntryRow) -> bool {
        self.card.balance.is_some() && self.card.id == entry.card && self.card.newest_entry.is_some_and(|newest| entry.sequence <= newest)
    }

    pub(super) fn apply(&mut self, movement: &MovementRow, found: &mut impl FnMut(Drift)) {
        let &MovementRow { seq, amount, balance_after, .. } = movement;
        let mut drift = |fault| found(Drift { account: self.account, card: Some(self.card.id), fault });
        if seq != self.seq + 1 {
            drift(Fault::Sequence { expected: self.seq + 1, found: seq });
        }
        let expected = self.running + i128::from(amount);
        if i128::from(balance_after) != expected {
            drift(Fault::RunningBalance { seq, expected, found: balance_after });
        }
        if balance_after < 0 && !movement.may_overdraw {
            drift(Fault::Overdrawn { seq, found: balance_after });
        }
        if !movement.has_original {
            drift(Fault::NoOriginal { seq });
        }
        if !movement.has_other_half {
            drift(Fault::HalfTransfer { seq });
        }
        if !movement.has_authorization {
            drift(Fault::NoAuthorization { seq });
        }
        let most = i128::from(amount).abs();
        let given_back = i128::from(movement.reversed) + i128::from(movement.refunded);
        if given_back > most {
            drift(Fault::GivenBack { seq, most, found: given_back });
        }
        self.seq = seq;
        self.sum += i128::from(amount);
        self.running = i128::from(balance_after);
        self.captured.0 += i128::from(movement.captured);
    }

    pub(super) fn enter(&mut self, entry: &EntryRow, found: &mut impl FnMut(Drift)) {
        let sequence = entry.sequence;
        let mut drift = |fault| found(Drift { account: self.account, card: Some(self.card.id), fault });
        let change = i128::from(entry.held_after) - i128::from(entry.held_before);
        let expected = self.running_hold + change;
        if i128::from(entry.card_held) != expected {
            drift(Fault::RunningHold { sequence, expected, found: entry.card_held });
        }
        if !entry.fits_movement {
            drift(Fault::EntryMovement { sequence });
        }
        self.held += change;
        self.running_hold = i128::from(entry.card_held);
        self.captured.1 += i128::from(entry.captured);
        self.entries += 1;
    }

    /// An authorisation of the card, also one that was made after the card was read: it was read with its own entries.
    pub(super) fn check(&mut self, row: &AuthorizationRow, found: &mut impl FnMut(Drift)) {
        let authorization = row.id;
        let mut drift = |fault| found(Drift { account: self.account, card: Some(self.card.id), fault });
        let parts = [row.held, row.reversed, row.expired, row.released, row.captured].map(i128::from).iter().sum::<i128>();
        let expected = parts - i128::from(row.excess);
        if i128::from(row.authorized) != expected {
            drift(Fault::AddUp { authorization, expected, found: row.authorized });
        }
        if row.is_pending != (row.held > 0) {
            drift(Fault::PendingHold { authorization, held: row.held });
        }
        let given_back = i128::from(row.capture_reversed) + i128::from(row.refunded) - i128::from(row.refund_reversed);
        if given_back > i128::from(row.captured) {
            drift(Fault::Returned { authorization, most: row.captured, found: given_back });
        }
        if !row.is_chained {
            drift(Fault::EntryChain { authorization });
        }
        for (sum, expected, found) in [
            ("authorized", row.entered_authorized, row.authorized),
            ("captured", row.entered_captured, row.captured),
            ("in excess", row.entered_excess, row.excess),
            ("reversed", row.entered_reversed, row.reversed),
            ("expired", row.entered_expired, row.expired),
            ("released", row.entered_released, row.released),
            ("of captures reversed", row.moved_capture_reversed, row.capture_reversed),
            ("refunded", row.moved_refunded, row.refunded),
            ("of refunds reversed", row.moved_refund_reversed, row.refund_reversed),
        ] {
            if expected != found {
                drift(Fault::Sum { authorization, sum, expected, found });
            }
        }
        self.reached += row.known_entries;
    }

    pub(super) fn end(&self, found: &mut impl FnMut(Drift)) {
        let mut drift = |fault| found(Drift { account: self.account, card: Some(self.card.id), fault });
        let CardRow { balance: Some(balance), seq: Some(seq), held: Some(held), sequence: Some(sequence), newest_entry, .. } = *self.card
        else {
            return drift(Fault::NoCard);
        };
        if i128::from(balance) != self.sum {
            drift(Fault::Balance { expected: self.sum, found: balance });
        }
        if seq != self.seq {
            drift(Fault::LastSequence { expected: self.seq, found: seq });
        }
        if i128::from(held) != self.held {
            drift(Fault::Held { expected: self.held, found: held });
        }
        if self.card.hides_due {
            drift(Fault::HidesDue);
        }
        if let Some(newest) = newest_entry.filter(|newest| *newest > sequence) {
            drift(Fault::EntrySequence { newest, found: sequence });
        }
        if self.reached != self.entries {
            drift(Fault::EntryCount { expected: self.reached, found: self.entries });
        }
        let (moved, entered) = self.captured;
        if moved != entered {
            drift(Fault::Captured { expected: entered, found: moved });
        }
    }
}
