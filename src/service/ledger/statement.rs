//! What a card's history says of the past: its money at a moment, and its statements.
//!
//! Nothing is kept for them: the rows of a card's history never change, and their times never go back, so that a moment leads
//! to a place in it. The place is searched for by halves, through the primary key: about 20 look-ups in a million movements.

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{Ledger, Movement, store};
use crate::domain::{
    currency::Currency,
    error::Refusal,
    id::{AccountId, CardId},
    money::{Money, Total},
    posting::MovementKind,
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    unit,
};

/// How many movements one statement adds up. It has to end long before the time limit of statements, also if the card's
/// movements are scattered over the table.
const ADDED_UP_AT_ONCE: i64 = 100_000;

/// A card's money at a moment.
#[derive(Clone, Debug)]
pub struct PastBalance {
    /// The card.
    pub card: CardId,
    /// The moment, to the millisecond.
    pub at: DateTime<Utc>,
    /// The card's currency.
    pub currency: Word<Currency>,
    /// The balance.
    pub balance: Money,
    /// What was held of it, without holds that were due.
    pub held: Money,
}

/// A part of a card's history, with the balances before and after it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The card.
    pub card: CardId,
    /// The card's currency.
    pub currency: Word<Currency>,
    /// The first moment, to the millisecond.
    pub from: DateTime<Utc>,
    /// The first moment after it, to the millisecond.
    pub to: DateTime<Utc>,
    /// The balance before the first movement.
    pub opening: Money,
    /// The balance after the last movement.
    pub closing: Money,
    /// What the movements come to, by kind. A kind without movements is left out.
    pub totals: Vec<KindTotal>,
    range: Range,
}

/// What the movements of a kind come to.
#[derive(Clone, Debug)]
pub struct KindTotal {
    /// The kind.
    pub kind: Word<MovementKind>,
    /// How many movements.
    pub count: i64,
    /// The sum of their amounts.
    pub amount: Total,
}

/// The movements of a statement by their positions in the history: what is after the one, up to the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) after: i64,
    pub(super) last: i64,
}

/// A place in a card's history.
pub(super) struct Bounds {
    pub(super) currency: Word<Currency>,
    pub(super) range: Range,
    pub(super) opening: Money,
    pub(super) closing: Money,
    /// Whether it begins in the future, by the database's clock.
    pub(super) is_future: bool,
}

impl Ledger {
    /// A card's money as it was at a moment: what was written then or earlier, by the times that the API shows, which are to
    /// the millisecond.
    ///
    /// The balance is that of the newest movement. What was held is what the newest entry of an authorisation left, without
    /// the holds that were due: those whose expiry was written later, and those whose expiry is not written yet. This is
    /// exact, since the first entry that a card gets after a hold is due is its expiry, and since a hold that is due gets no
    /// other end. A moment of the last seconds can still get what is being written now.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`], also if the card was created later. [`Error::InFuture`].
    pub async fn balance_at(&self, account: AccountId, card: CardId, at: DateTime<Utc>) -> Result<PastBalance> {
        let at = at.trunc_subsecs(3);
        let found = unit::read(&self.pool, move |connection| Box::pin(store::balance_at(connection, (account, card), at))).await?;
        let (balance, is_future) = found.ok_or(Refusal::CardNotFound)?;
        if is_future { Err(Error::InFuture) } else { Ok(balance) }
    }

    /// The statement of a card from one moment up to another, which is excluded. It contains what is written by now, and
    /// [`Self::statement_page`] reads exactly that, whatever is written meanwhile.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`]. [`Error::InFuture`] if it would begin in the future.
    pub async fn statement(&self, account: AccountId, card: CardId, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Statement> {
        let (key, from, to) = ((account, card), from.trunc_subsecs(3), to.trunc_subsecs(3));
        let bounds = unit::read(&self.pool, move |connection| Box::pin(store::bounds(connection, key, from, to))).await?;
        let Bounds { currency, range, opening, closing, is_future } = bounds.ok_or(Refusal::CardNotFound)?;
        if is_future {
            return Err(Error::InFuture);
        }
        let mut totals: Vec<KindTotal> = Vec::new();
        let mut part = Range { last: range.after, ..range };
        while part.last < range.last {
            part = Range { after: part.last, last: range.last.min(part.last + ADDED_UP_AT_ONCE) };
            for more in unit::read(&self.pool, move |connection| Box::pin(store::totals(connection, key, part))).await? {
                match totals.iter_mut().find(|total| total.kind == more.kind) {
                    Some(total) => (total.count, total.amount) = (total.count + more.count, total.amount.plus(more.amount)),
                    None => totals.push(more),
                }
            }
        }
        totals.sort_by_key(|total| total.kind.known().map_or(usize::MAX, |kind| kind as usize));
        Ok(Statement { card, currency, from, to, opening, closing, totals, range })
    }

    /// At most `limit` movements of a statement after position `after`, or its first, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn statement_page(&self, account: AccountId, statement: &Statement, after: Option<i64>, limit: i64) -> Result<Vec<Movement>> {
        let Statement { card, range, .. } = *statement;
        let range = Range { after: after.unwrap_or(range.after), ..range };
        unit::read(&self.pool, move |connection| Box::pin(store::movements_in(connection, (account, card), range, limit))).await
    }
}
