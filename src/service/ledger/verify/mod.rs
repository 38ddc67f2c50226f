//! The proof of the ledger: every card's history is replayed and must end where the card stands.
//!
//! One card is in memory at a time, however many there are and however long their histories.

mod store;

use std::fmt;

use futures_util::TryStreamExt;
use sqlx::PgConnection;

use crate::domain::id::{AccountId, CardId};
use crate::service::error::Result;

/// Something that does not add up. Sums are in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Whose card.
    pub account: AccountId,
    /// Which card.
    pub card: CardId,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a card's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A movement is missing, or is there twice.
    Sequence {
        /// The seq that should have come.
        expected: i64,
        /// The one that came.
        found: i64,
    },
    /// A movement left another balance than the one before it and its amount make.
    RunningBalance {
        /// Which movement.
        seq: i64,
        /// What it should have left.
        expected: i128,
        /// What it says it left.
        found: i64,
    },
    /// The card holds something else than its movements add up to.
    Balance {
        /// The sum of the movements.
        expected: i128,
        /// What the card says.
        found: i64,
    },
    /// The card counts something else than its movements.
    LastSequence {
        /// The seq of the newest movement.
        expected: i64,
        /// What the card says.
        found: i64,
    },
    /// There are movements, and no such card.
    NoCard,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.account, self.card)?;
        match self.fault {
            Fault::Sequence { expected, found } => write!(f, "movement {expected} is missing or doubled, {found} stands there"),
            Fault::RunningBalance { seq, expected, found } => write!(f, "movement {seq} should leave {expected} and says {found}"),
            Fault::Balance { expected, found } => write!(f, "the movements add up to {expected} and the card holds {found}"),
            Fault::LastSequence { expected, found } => write!(f, "the last movement is {expected} and the card counts {found}"),
            Fault::NoCard => f.write_str("there are movements and no such card"),
        }
    }
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Cards.
    pub cards: u64,
    /// Movements.
    pub movements: u64,
}

/// A card with one of its movements, or with none if it has none.
pub(super) struct Line {
    pub(super) account: AccountId,
    pub(super) card: CardId,
    pub(super) balance: i64,
    pub(super) last_seq: i64,
    pub(super) movement: Option<Entry>,
}

/// What of a movement has to add up.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) amount: i64,
    pub(super) balance_after: i64,
}

/// Reads every card and its movements in one statement, and so as of one moment.
/// `progress` is told how far it is, after every card; `found` each drift, at once.
///
/// # Errors
/// The database is away.
pub async fn verify(connection: &mut PgConnection, mut progress: impl FnMut(Read), mut found: impl FnMut(Drift)) -> Result<Read> {
    let mut read = Read::default();
    let mut replay: Option<Replay> = None;
    let mut lines = store::histories(connection);
    while let Some(line) = lines.try_next().await? {
        if replay.as_ref().is_none_or(|replay| replay.card != line.card || replay.account != line.account) {
            if let Some(done) = replay.take() {
                done.end(&mut found);
                progress(read);
            }
            read.cards += 1;
            replay = Some(Replay::of(&line));
        }
        if let (Some(replay), Some(entry)) = (&mut replay, line.movement) {
            read.movements += 1;
            replay.take(entry, &mut found);
        }
    }
    drop(lines);
    if let Some(done) = replay {
        done.end(&mut found);
    }
    let mut orphans = store::orphans(connection);
    while let Some((account, card)) = orphans.try_next().await? {
        found(Drift { account, card, fault: Fault::NoCard });
    }
    progress(read);
    Ok(read)
}

/// One card's history as far as it was read. Sums are wide enough that no tampering overflows them.
struct Replay {
    account: AccountId,
    card: CardId,
    balance: i64,
    last_seq: i64,
    seq: i64,
    sum: i128,
    running: i128,
}

impl Replay {
    const fn of(line: &Line) -> Self {
        Self { account: line.account, card: line.card, balance: line.balance, last_seq: line.last_seq, seq: 0, sum: 0, running: 0 }
    }

    /// Goes on from what a movement says, right or wrong, so that one fault is told once.
    fn take(&mut self, entry: Entry, found: &mut impl FnMut(Drift)) {
        let mut drift = |fault| found(Drift { account: self.account, card: self.card, fault });
        if entry.seq != self.seq + 1 {
            drift(Fault::Sequence { expected: self.seq + 1, found: entry.seq });
        }
        let expected = self.running + i128::from(entry.amount);
        if i128::from(entry.balance_after) != expected {
            drift(Fault::RunningBalance { seq: entry.seq, expected, found: entry.balance_after });
        }
        self.seq = entry.seq;
        self.sum += i128::from(entry.amount);
        self.running = i128::from(entry.balance_after);
    }

    fn end(self, found: &mut impl FnMut(Drift)) {
        let mut drift = |fault| found(Drift { account: self.account, card: self.card, fault });
        if i128::from(self.balance) != self.sum {
            drift(Fault::Balance { expected: self.sum, found: self.balance });
        }
        if self.last_seq != self.seq {
            drift(Fault::LastSequence { expected: self.seq, found: self.last_seq });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(balance: i64, last_seq: i64, entries: &[(i64, i64, i64)]) -> Vec<Fault> {
        let line = Line { account: AccountId::new(), card: CardId::new(), balance, last_seq, movement: None };
        let mut replay = Replay::of(&line);
        let mut faults = Vec::new();
        let mut found = |drift: Drift| faults.push(drift.fault);
        for &(seq, amount, balance_after) in entries {
            replay.take(Entry { seq, amount, balance_after }, &mut found);
        }
        replay.end(&mut found);
        faults
    }

    #[test]
    fn a_sound_history_has_no_fault() {
        assert_eq!(faults(0, 0, &[]), []);
        assert_eq!(faults(80, 2, &[(1, 100, 100), (2, -20, 80)]), []);
    }

    #[test]
    fn each_kind_of_tampering_is_told_from_the_others() {
        let balance = Fault::Balance { expected: 80, found: 81 };
        assert_eq!(faults(81, 2, &[(1, 100, 100), (2, -20, 80)]), [balance]);
        assert_eq!(faults(80, 3, &[(1, 100, 100), (2, -20, 80)]), [Fault::LastSequence { expected: 2, found: 3 }]);
        assert_eq!(faults(5, 0, &[]), [Fault::Balance { expected: 0, found: 5 }]);
        let running = Fault::RunningBalance { seq: 2, expected: 80, found: 79 };
        assert_eq!(faults(80, 2, &[(1, 100, 100), (2, -20, 79)]), [running]);
        let gap = Fault::Sequence { expected: 2, found: 3 };
        assert_eq!(faults(110, 3, &[(1, 100, 100), (3, 10, 110)]), [gap]);
        let doubled = Fault::Sequence { expected: 2, found: 1 };
        assert_eq!(faults(200, 1, &[(1, 100, 100), (1, 100, 200)]), [doubled]);
    }
}
