//! The verification of the ledger: replays the history of every card, which must result in the card's balance and in what
//! it holds.
//!
//! It reads one account after the other in small statements. None of them keeps a snapshot for long, and memory use is
//! constant, regardless of the number of cards and movements. It can go on from where an earlier one ended.
//!
//! It is right while others write: one statement reads a card together with the numbers of its newest movement and of the
//! newest entry of its authorisations. Both never change, so those up to these numbers can be read at any later moment. An
//! authorisation changes: one statement reads it together with all of its entries.

mod fault;
mod replay;
mod store;

use std::{collections::HashMap, fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::fault::{Drift, Fault};
use self::replay::Replay;
use crate::domain::{
    id::{AccountId, AuthorizationId, CardId, LimitId, NotAnId},
    spending::window::Window,
};
use crate::service::{error::Result, spending};

/// How much has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Cards.
    pub cards: u64,
    /// Movements.
    pub movements: u64,
    /// Authorisations.
    pub authorizations: u64,
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

/// A card and the numbers of its newest movement and its newest entry, at one moment. A card that does not exist, but is
/// named by movements, entries or authorisations, has none of the others.
struct CardRow {
    id: CardId,
    balance: Option<i64>,
    held: Option<i64>,
    seq: Option<i64>,
    sequence: Option<i64>,
    /// Whether one of its holds expires before the moment at which the card says that the first may.
    hides_due: bool,
    newest: Option<i64>,
    newest_entry: Option<i64>,
}

/// The columns of a movement that the replay checks, and what other rows say of it.
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own that the database checks")]
struct MovementRow {
    card: CardId,
    seq: i64,
    amount: i64,
    balance_after: i64,
    may_overdraw: bool,
    /// What it captured for an authorisation.
    captured: i64,
    has_authorization: bool,
    has_original: bool,
    /// Whether it is no transfer, or the other half of the transfer is there and fits.
    has_other_half: bool,
    /// What reversals gave back of it.
    reversed: i64,
    /// What refunds gave back of it, less what was taken back of them, if it belongs to no authorisation.
    refunded: i64,
}

/// The columns of an entry that the replay checks.
struct EntryRow {
    card: CardId,
    sequence: i64,
    held_before: i64,
    held_after: i64,
    card_held: i64,
    captured: i64,
    fits_movement: bool,
}

/// The sums of an authorisation, and what its entries and movements add up to at the same moment.
struct AuthorizationRow {
    card: CardId,
    id: AuthorizationId,
    is_pending: bool,
    authorized: i64,
    held: i64,
    captured: i64,
    excess: i64,
    reversed: i64,
    expired: i64,
    released: i64,
    capture_reversed: i64,
    refunded: i64,
    refund_reversed: i64,
    /// Whether each entry continues from the one before it, and the newest one leads to the authorisation.
    is_chained: bool,
    /// Its entries, as far as they were there when the card was read.
    known_entries: i64,
    entered_authorized: i64,
    entered_captured: i64,
    entered_excess: i64,
    entered_reversed: i64,
    entered_expired: i64,
    entered_released: i64,
    moved_capture_reversed: i64,
    moved_refunded: i64,
    moved_refund_reversed: i64,
}

/// The most rows of each statement.
#[derive(Clone, Copy)]
struct PageSizes {
    cards: i64,
    movements: i64,
    authorizations: i64,
}

/// Even if each row is read from a slow disk, a statement takes two seconds.
const PAGE_SIZES: PageSizes = PageSizes { cards: 200, movements: 2_000, authorizations: 500 };

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
            let Some(account) = store::next_account(self.connection, next).await? else { break };
            self.account(account, Some(CardId::from(Uuid::nil()))).await?;
            from = after(account);
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
        self.limits(account).await?;
        self.verified(Checkpoint { account, card: None });
        Ok(())
    }

    /// Replays the histories of a page of cards.
    async fn histories(&mut self, account: AccountId, cards: &[CardRow]) -> Result<()> {
        let mut replays: Vec<Replay<'_>> = cards.iter().map(|card| Replay::new(account, card)).collect();
        let places: HashMap<CardId, usize> = cards.iter().enumerate().map(|(place, card)| (card.id, place)).collect();
        // A card that was created, and movements and entries that were written, after the page of cards was read are skipped.
        if let Some((first, last)) = range(cards, |card| card.newest) {
            let mut after = (first.0, i64::MIN);
            while after < last {
                let page = store::movements(self.connection, account, after, last, self.pages.movements).await?;
                let Some(end) = page.last() else { break };
                after = (end.card, end.seq);
                for movement in &page {
                    let replay = places.get(&movement.card).and_then(|place| replays.get_mut(*place));
                    if let Some(replay) = replay.filter(|replay| replay.includes(movement)) {
                        self.read.movements += 1;
                        replay.apply(movement, &mut self.found);
                    }
                }
            }
        }
        if let Some((first, last)) = range(cards, |card| card.newest_entry) {
            let mut after = (first.0, i64::MIN);
            while after < last {
                let page = store::entries(self.connection, account, after, last, self.pages.movements).await?;
                let Some(end) = page.last() else { break };
                after = (end.card, end.sequence);
                for entry in &page {
                    let replay = places.get(&entry.card).and_then(|place| replays.get_mut(*place));
                    if let Some(replay) = replay.filter(|replay| replay.includes_entry(entry)) {
                        replay.enter(entry, &mut self.found);
                    }
                }
            }
        }
        self.authorizations(account, cards, (&places, &mut replays)).await?;
        for finished in replays {
            self.read.cards += u64::from(finished.card.balance.is_some());
            finished.end(&mut self.found);
        }
        Ok(())
    }

    /// Checks the authorisations of a page of cards.
    async fn authorizations(
        &mut self,
        account: AccountId,
        cards: &[CardRow],
        (places, replays): (&HashMap<CardId, usize>, &mut [Replay<'_>]),
    ) -> Result<()> {
        let (Some(first), Some(last)) = (cards.first(), cards.last()) else { return Ok(()) };
        let mut after = (first.id, AuthorizationId::from(Uuid::nil()));
        loop {
            let page = store::authorizations(self.connection, account, after, last.id, cards, self.pages.authorizations).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = (end.card, end.id);
            for authorization in &page {
                let replay = places.get(&authorization.card).and_then(|place| replays.get_mut(*place));
                if let Some(replay) = replay.filter(|replay| replay.card.balance.is_some()) {
                    self.read.authorizations += 1;
                    replay.check(authorization, &mut self.found);
                }
            }
        }
    }

    /// Computes anew what was spent of the limits of an account: in each window that says something, and in all together, so
    /// that a window is missed that should say something.
    async fn limits(&mut self, account: AccountId) -> Result<()> {
        for id in spending::limits_to_verify(self.connection, account).await? {
            let mut faults = self.limit(account, id).await?;
            if !faults.is_empty() {
                // A card may have been assigned to the customer after its cards were read.
                faults = self.limit(account, id).await?;
            }
            for fault in faults {
                (self.found)(Drift { account, card: None, fault });
            }
        }
        Ok(())
    }

    async fn limit(&mut self, account: AccountId, id: LimitId) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        let Some((limit, cards)) = spending::limit_to_verify(self.connection, account, id).await? else { return Ok(faults) };
        let all = Window { start: limit.counted_from, end: None };
        let windows = spending::windows_of(self.connection, account, id).await?;
        // Nobody adds to a row that begins within a window.
        let nothing = |start: DateTime<Utc>| Window { start, end: start.checked_add_signed(TimeDelta::microseconds(1)) };
        let window = |start| limit.calendar.window(start).filter(|window| window.start == start).unwrap_or_else(|| nothing(start));
        let windows = windows.into_iter().map(window);
        for window in windows.chain([all]) {
            let (expected, found) = spending::spent_and_said(self.connection, account, &cards, &limit, window).await?;
            if expected != found {
                faults.push(Fault::LimitUsage { limit: id, window_start: window.start, expected, found });
            }
        }
        Ok(faults)
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

/// The first and the last card that have a newest row, with its number.
fn range(cards: &[CardRow], newest: impl Fn(&CardRow) -> Option<i64>) -> Option<((CardId, i64), (CardId, i64))> {
    let mut numbered = cards.iter().filter_map(|card| Some((card.id, newest(card)?)));
    let first = numbered.next()?;
    Some((first, numbered.last().unwrap_or(first)))
}

#[cfg(test)]
mod tests;
