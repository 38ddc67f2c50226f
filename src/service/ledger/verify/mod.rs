//! The verification of the ledger: replays the history of every card, which must result in the card's balance.
//!
//! Memory use is constant, regardless of the number of cards and movements.

mod store;

use std::fmt;

use futures_util::TryStreamExt;
use sqlx::PgConnection;

use crate::domain::id::{AccountId, CardId};
use crate::service::error::Result;

/// A fault of a card. Amounts are in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The account.
    pub account: AccountId,
    /// The card.
    pub card: CardId,
    /// The fault.
    pub fault: Fault,
}

/// A contradiction between a card and its movements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A movement is missing or duplicated.
    Sequence {
        /// The seq after the previous one.
        expected: i64,
        /// The seq of the movement.
        found: i64,
    },
    /// The balance after a movement is not the previous balance plus its amount.
    RunningBalance {
        /// The seq of the movement.
        seq: i64,
        /// The previous balance plus the amount.
        expected: i128,
        /// The balance that the movement states.
        found: i64,
    },
    /// The balance of the card is not the sum of its movements.
    Balance {
        /// The sum of the movements.
        expected: i128,
        /// The balance of the card.
        found: i64,
    },
    /// The last seq of the card is not that of its newest movement.
    LastSequence {
        /// The seq of the newest movement.
        expected: i64,
        /// The last seq of the card.
        found: i64,
    },
    /// The movements belong to a card that does not exist.
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

/// How much has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Cards.
    pub cards: u64,
    /// Movements.
    pub movements: u64,
}

/// A card with one of its movements. A card without movements has one row.
pub(super) struct HistoryRow {
    pub(super) account: AccountId,
    pub(super) card: CardId,
    pub(super) balance: i64,
    pub(super) last_seq: i64,
    pub(super) movement: Option<MovementRow>,
}

/// The columns of a movement that the replay checks.
#[derive(Clone, Copy)]
pub(super) struct MovementRow {
    pub(super) seq: i64,
    pub(super) amount: i64,
    pub(super) balance_after: i64,
}

/// Reads every card and its movements in one statement, and so from one snapshot. Calls `progress` after each card, and
/// `found` with each drift at once.
///
/// # Errors
/// The database is unavailable.
pub async fn verify(connection: &mut PgConnection, mut progress: impl FnMut(Progress), mut found: impl FnMut(Drift)) -> Result<Progress> {
    let mut read = Progress::default();
    let mut replay: Option<Replay> = None;
    let mut rows = store::histories(connection);
    while let Some(row) = rows.try_next().await? {
        if replay.as_ref().is_none_or(|replay| replay.card != row.card || replay.account != row.account) {
            if let Some(finished) = replay.take() {
                finished.end(&mut found);
                progress(read);
            }
            read.cards += 1;
            replay = Some(Replay::new(&row));
        }
        if let (Some(replay), Some(movement)) = (&mut replay, row.movement) {
            read.movements += 1;
            replay.apply(movement, &mut found);
        }
    }
    drop(rows);
    if let Some(finished) = replay {
        finished.end(&mut found);
    }
    let mut orphans = store::orphans(connection);
    while let Some((account, card)) = orphans.try_next().await? {
        found(Drift { account, card, fault: Fault::NoCard });
    }
    progress(read);
    Ok(read)
}

/// The replay of one card's history. Sums are 128 bits wide, so that no tampered amounts can overflow them.
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
    const fn new(row: &HistoryRow) -> Self {
        Self { account: row.account, card: row.card, balance: row.balance, last_seq: row.last_seq, seq: 0, sum: 0, running: 0 }
    }

    /// Continues from what the movement states even if it is wrong, so that each fault is reported once.
    fn apply(&mut self, movement: MovementRow, found: &mut impl FnMut(Drift)) {
        let mut drift = |fault| found(Drift { account: self.account, card: self.card, fault });
        if movement.seq != self.seq + 1 {
            drift(Fault::Sequence { expected: self.seq + 1, found: movement.seq });
        }
        let expected = self.running + i128::from(movement.amount);
        if i128::from(movement.balance_after) != expected {
            drift(Fault::RunningBalance { seq: movement.seq, expected, found: movement.balance_after });
        }
        self.seq = movement.seq;
        self.sum += i128::from(movement.amount);
        self.running = i128::from(movement.balance_after);
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

    fn faults(balance: i64, last_seq: i64, movements: &[(i64, i64, i64)]) -> Vec<Fault> {
        let row = HistoryRow { account: AccountId::new(), card: CardId::new(), balance, last_seq, movement: None };
        let mut replay = Replay::new(&row);
        let mut faults = Vec::new();
        let mut found = |drift: Drift| faults.push(drift.fault);
        for &(seq, amount, balance_after) in movements {
            replay.apply(MovementRow { seq, amount, balance_after }, &mut found);
        }
        replay.end(&mut found);
        faults
    }

    #[test]
    fn a_consistent_history_has_no_fault() {
        assert_eq!(faults(0, 0, &[]), []);
        assert_eq!(faults(80, 2, &[(1, 100, 100), (2, -20, 80)]), []);
    }

    #[test]
    fn each_kind_of_tampering_is_reported_as_its_own_fault() {
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
