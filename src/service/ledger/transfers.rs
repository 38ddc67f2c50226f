//! Transfers of money from one card of an account to another.
//!
//! A transfer is two movements with its id. A batch writes both or none: the statement writes to a card only if it writes to
//! every card that transfers connect it with.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    Done, Ledger, Target, Work,
    author::Author,
    card_write::{CardWrite, Link},
    confused,
    locked_card::LockedCard,
    store,
};
use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    currency::Currency,
    error::Refusal,
    id::{AccountId, CardId, TransferId},
    money::{Amount, Money},
    posting::{self, MovementKind},
    text::Description,
    word::Word,
};
use crate::service::{
    error::Result,
    idempotency::{self, IdempotentRequest, InFlightKeys, Outcome},
    unit::{self, Unit},
};
use crate::telemetry::metrics;

/// A transfer to make. An id of a card is None if it is malformed, so that no card can have it. The cards are not the same.
#[derive(Clone, Debug)]
pub struct NewTransfer {
    /// The card that the money is taken from.
    pub from: Option<CardId>,
    /// The card that the money is given to.
    pub to: Option<CardId>,
    /// How much.
    pub amount: Amount,
    /// The description of both movements.
    pub description: Description,
}

/// A transfer that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// Its id.
    pub id: TransferId,
    /// The card that the money was taken from.
    pub from: CardId,
    /// The card that the money was given to.
    pub to: CardId,
    /// How much.
    pub amount: Money,
    /// The currency of both cards.
    pub currency: Word<Currency>,
    /// The balance that it left on the first card.
    pub from_balance: Money,
    /// The balance that it left on the other card.
    pub to_balance: Money,
    /// When it was made, by the database's clock.
    pub created_at: DateTime<Utc>,
}

impl Ledger {
    /// Moves money from one card to another: both movements are written, or none.
    ///
    /// # Errors
    /// A card does not exist, the cards have different currencies, or the status of one forbids it. More would be moved than is
    /// available, or the balance of the other card would exceed its limit.
    pub async fn transfer(
        &self,
        actor: &Actor,
        transfer: NewTransfer,
        idempotent: Option<IdempotentRequest<Transferred>>,
    ) -> Result<Outcome<Transferred>> {
        let _key = idempotent.as_ref().map(|request| InFlightKeys::enter(&self.in_flight, request)).transpose()?;
        let outcome = match (transfer.from, transfer.to) {
            (Some(from), Some(to)) => {
                let work = Work::Transfer { to, transfer, idempotent };
                let Done::Transferred(outcome) = self.call(actor, Target::Card(from), work).await? else { return Err(confused()) };
                *outcome
            }
            _ => Box::pin(transfer_alone(&self.pool, actor, &transfer, idempotent.as_ref())).await?,
        };
        if outcome.done().is_some() {
            metrics::posting_written(MovementKind::TransferOut.name());
            metrics::posting_written(MovementKind::TransferIn.name());
        }
        Ok(outcome)
    }

    /// One transfer.
    ///
    /// # Errors
    /// [`Refusal::TransferNotFound`].
    pub async fn find_transfer(&self, account: AccountId, id: TransferId) -> Result<Transferred> {
        let found = unit::read(&self.pool, move |connection| Box::pin(store::find_transfer(connection, account, id))).await?;
        Ok(found.ok_or(Refusal::TransferNotFound)?)
    }
}

struct Transfer<'a> {
    actor: &'a Actor,
    transfer: &'a NewTransfer,
}

impl CardWrite {
    /// Decides a transfer from one card to another, and adds its halves.
    ///
    /// # Errors
    /// The cards have different currencies, or one of them refuses it. Nothing is added then.
    pub(super) fn transfer(
        from: &mut Self,
        to: &mut Self,
        (at, by): (DateTime<Utc>, &Author),
        NewTransfer { amount, description, .. }: &NewTransfer,
    ) -> std::result::Result<Transferred, Refusal> {
        let (taken, given) = posting::transfer(from.to, to.to, *amount)?;
        let id = TransferId::new();
        let link = || Link { transfer: Some(id), ..Link::default() };
        let taken = from.post((at, by), MovementKind::TransferOut, taken, description, link());
        let given = to.post((at, by), MovementKind::TransferIn, given, description, link());
        Ok(Transferred {
            id,
            from: from.card.1,
            to: to.card.1,
            amount: amount.money(),
            currency: to.to.currency.into(),
            from_balance: taken.balance_after,
            to_balance: given.balance_after,
            created_at: at,
        })
    }
}

/// One transfer in a transaction of its own, under the locks of both cards.
pub(super) async fn transfer_alone(
    pool: &Pool,
    actor: &Actor,
    transfer: &NewTransfer,
    idempotent: Option<&IdempotentRequest<Transferred>>,
) -> Result<Outcome<Transferred>> {
    idempotency::write_once(pool, idempotent, &Transfer { actor, transfer }).await
}

/// Lets the holds of a locked card expire that are due, in the transaction of its replacement.
pub(in crate::service) async fn expire_due(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<()> {
    let locked = LockedCard::lock(connection, (account, card)).await?;
    if locked.write.is_empty() { Ok(()) } else { locked.write(connection, None).await }
}

/// Moves what is available on a locked card to the one that replaces it, in the transaction of the replacement.
pub(in crate::service) async fn move_available(connection: &mut PgConnection, actor: &Actor, from: CardId, to: CardId) -> Result<()> {
    let mut giving = LockedCard::lock(connection, (actor.account, from)).await?;
    let mut taking = LockedCard::lock(connection, (actor.account, to)).await?;
    let at = giving.at.max(taking.at);
    if let Some(amount) = Amount::new(giving.write.to.available()) {
        let transfer = NewTransfer { from: Some(from), to: Some(to), amount, description: Description::of_a_replacement() };
        CardWrite::transfer(&mut giving.write, &mut taking.write, (at, &Author::from(actor)), &transfer)?;
    }
    giving.write_both(connection, &taking).await
}

impl Unit for Transfer<'_> {
    type Output = Transferred;

    async fn run(&self, connection: &mut PgConnection) -> Result<Transferred> {
        let account = self.actor.account;
        let (from, to) = self.transfer.from.zip(self.transfer.to).ok_or(Refusal::CardNotFound)?;
        // In the order of their keys, as every transaction locks cards.
        let mut first = LockedCard::lock(connection, (account, from.min(to))).await?;
        let mut second = LockedCard::lock(connection, (account, from.max(to))).await?;
        let at = first.at.max(second.at);
        let (giving, taking) = if from < to { (&mut first.write, &mut second.write) } else { (&mut second.write, &mut first.write) };
        let done = CardWrite::transfer(giving, taking, (at, &Author::from(self.actor)), self.transfer)?;
        first.write_both(connection, &second).await?;
        Ok(done)
    }
}
