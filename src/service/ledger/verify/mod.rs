//! The verification of the ledger: replays the history of every card, which must result in the card's balance.
//!
//! It reads one account after the other in small statements. None of them keeps a snapshot for long, and memory use is
//! constant, regardless of the number of cards and movements. It can go on from where an earlier one ended.
//!
//! It is right while others write: one statement reads a card together with the number of its newest movement. Movements
//! never change, so those up to that number can be read at any later moment.

mod store;

use std::{fmt, str::FromStr};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::{AccountId, CardId, NotAnId};
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
    /// Everything up to here is verified. None: nothing yet.
    pub checkpoint: Option<Checkpoint>,
}

/// A place in the order in which the ledger is read: the end of an account, or a card of it. As text
/// `acc_...` or `acc_.../card_...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The account.
    pub account: AccountId,
    /// The last card. None: all cards of the account.
    pub card: Option<CardId>,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.account)?;
        self.card.map_or(Ok(()), |card| write!(f, "/{card}"))
    }
}

impl FromStr for Checkpoint {
    type Err = NotAnId;

    fn from_str(text: &str) -> std::result::Result<Self, NotAnId> {
        match text.split_once('/') {
            Some((account, card)) => Ok(Self { account: account.parse()?, card: Some(card.parse()?) }),
            None => Ok(Self { account: text.parse()?, card: None }),
        }
    }
}

/// A card and the number of its newest movement, at one moment. Only movements name a card without a balance.
struct CardRow {
    id: CardId,
    balance: Option<i64>,
    seq: Option<i64>,
    newest: Option<i64>,
}

/// The columns of a movement that the replay checks.
#[derive(Clone, Copy)]
struct MovementRow {
    card: CardId,
    seq: i64,
    amount: i64,
    balance_after: i64,
}

/// The most rows of each statement.
#[derive(Clone, Copy)]
struct PageSizes {
    accounts: i64,
    cards: i64,
    movements: i64,
}

/// Even if each row is read from a slow disk, a statement takes two seconds.
const PAGE_SIZES: PageSizes = PageSizes { accounts: 200, cards: 200, movements: 2_000 };

/// Reads every card and its movements, or those after a checkpoint. Calls `progress` after each page of cards, and `found`
/// with each drift at once.
///
/// # Errors
/// The database is unavailable.
pub async fn verify(
    connection: &mut PgConnection,
    after: Option<Checkpoint>,
    progress: impl FnMut(Progress),
    found: impl FnMut(Drift),
) -> Result<Progress> {
    let read = Progress { checkpoint: after, ..Progress::default() };
    Verification { connection, pages: PAGE_SIZES, read, progress, found }.run().await
}

struct Verification<'a, P, F> {
    connection: &'a mut PgConnection,
    pages: PageSizes,
    read: Progress,
    progress: P,
    found: F,
}

impl<P: FnMut(Progress), F: FnMut(Drift)> Verification<'_, P, F> {
    async fn run(mut self) -> Result<Progress> {
        let mut from = match self.read.checkpoint {
            Some(Checkpoint { account, card: Some(card) }) => {
                self.account(account, after(card)).await?;
                after(account)
            }
            Some(Checkpoint { account, card: None }) => after(account),
            None => Some(AccountId::from(Uuid::nil())),
        };
        while let Some(next) = from {
            let accounts = store::accounts(self.connection, next, self.pages.accounts).await?;
            for account in &accounts {
                self.account(*account, Some(CardId::from(Uuid::nil()))).await?;
            }
            from = accounts.last().copied().and_then(after);
        }
        Ok(self.read)
    }

    /// Verifies the cards of an account from one on.
    async fn account(&mut self, account: AccountId, mut from: Option<CardId>) -> Result<()> {
        while let Some(next) = from {
            let cards = store::cards(self.connection, account, next, self.pages.cards).await?;
            let Some(last) = cards.last().map(|card| card.id) else { break };
            self.histories(account, &cards).await?;
            self.verified(Checkpoint { account, card: Some(last) });
            from = after(last);
        }
        self.verified(Checkpoint { account, card: None });
        Ok(())
    }

    /// Replays the histories of a page of cards.
    async fn histories(&mut self, account: AccountId, cards: &[CardRow]) -> Result<()> {
        let mut replays = cards.iter().map(|card| Replay::new(account, card)).peekable();
        let with_movements = || cards.iter().filter_map(|card| Some((card.id, card.newest?)));
        if let (Some((first, _)), Some(last)) = (with_movements().next(), with_movements().next_back()) {
            let mut after = (first, i64::MIN);
            while after < last {
                let page = store::movements(self.connection, account, after, last, self.pages.movements).await?;
                let Some(end) = page.last() else { break };
                after = (end.card, end.seq);
                for movement in page {
                    while let Some(finished) = replays.next_if(|replay| replay.card.id < movement.card) {
                        self.end(&finished);
                    }
                    // A card that was created, and movements that were posted, after the page of cards was read are skipped.
                    if let Some(replay) = replays.peek_mut().filter(|replay| replay.includes(movement)) {
                        self.read.movements += 1;
                        replay.apply(movement, &mut self.found);
                    }
                }
            }
        }
        for finished in replays {
            self.end(&finished);
        }
        Ok(())
    }

    fn end(&mut self, finished: &Replay<'_>) {
        self.read.cards += u64::from(finished.card.balance.is_some());
        finished.end(&mut self.found);
    }

    fn verified(&mut self, checkpoint: Checkpoint) {
        self.read.checkpoint = Some(checkpoint);
        (self.progress)(self.read);
    }
}

/// The smallest id that is larger. None: there is none.
fn after<Id: From<Uuid> + Into<Uuid>>(id: Id) -> Option<Id> {
    id.into().as_u128().checked_add(1).map(|next| Uuid::from_u128(next).into())
}

/// The replay of one card's history. Sums are 128 bits wide, so that no tampered amounts can overflow them.
struct Replay<'a> {
    account: AccountId,
    card: &'a CardRow,
    seq: i64,
    sum: i128,
    running: i128,
}

impl<'a> Replay<'a> {
    const fn new(account: AccountId, card: &'a CardRow) -> Self {
        Self { account, card, seq: 0, sum: 0, running: 0 }
    }

    /// Whether a movement belongs to the card, and was there when the card was read.
    fn includes(&self, movement: MovementRow) -> bool {
        self.card.balance.is_some() && self.card.id == movement.card && self.card.newest.is_some_and(|newest| movement.seq <= newest)
    }

    /// Continues from what the movement states even if it is wrong, so that each fault is reported once.
    fn apply(&mut self, movement: MovementRow, found: &mut impl FnMut(Drift)) {
        let mut drift = |fault| found(Drift { account: self.account, card: self.card.id, fault });
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

    fn end(&self, found: &mut impl FnMut(Drift)) {
        let mut drift = |fault| found(Drift { account: self.account, card: self.card.id, fault });
        let (Some(balance), Some(seq)) = (self.card.balance, self.card.seq) else { return drift(Fault::NoCard) };
        if i128::from(balance) != self.sum {
            drift(Fault::Balance { expected: self.sum, found: balance });
        }
        if seq != self.seq {
            drift(Fault::LastSequence { expected: self.seq, found: seq });
        }
    }
}

#[cfg(test)]
mod tests;
