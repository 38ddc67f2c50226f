//! Cards: created inactive, assigned once, moved through their statuses. Their money is the ledger's.

mod lookup;
mod store;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::database::{Pool, Pools};
use crate::domain::{
    actor::Actor,
    assignment::{self, Assignment},
    audit_event::Event,
    card::{CardStatus, StatusChange, TargetStatus},
    currency::Currency,
    error::Refusal,
    id::{AccountId, CardId, CustomerId},
    money::Money,
};

pub(super) use self::lookup::FLIGHTS;
use self::{lookup::Lookup, store::LockedCard};
use super::{
    audit, customers,
    error::Result,
    idempotency::{self, Once, Outcome},
    unit,
};

/// A card as its account sees it.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its id.
    pub id: CardId,
    /// Its position in the account's list, from 1.
    pub number: i64,
    /// Who holds it, once assigned.
    pub customer_id: Option<CustomerId>,
    /// Where it is in its life.
    pub status: CardStatus,
    /// What its money is in.
    pub currency: Currency,
    /// The money on it.
    pub balance: Money,
    /// When it was created, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// A card that is a customer's.
#[derive(Clone, Copy, Debug)]
pub struct Assigned {
    /// The card.
    pub id: CardId,
    /// Whose it is.
    pub customer: CustomerId,
}

/// A card that has the status it was to have.
#[derive(Clone, Copy, Debug)]
pub struct StatusSet {
    /// The card.
    pub id: CardId,
    /// Its status.
    pub status: CardStatus,
}

/// Which cards a list holds; what is none filters nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardFilter {
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only in this status.
    pub status: Option<CardStatus>,
    /// Only in this currency.
    pub currency: Option<Currency>,
}

/// The service of cards.
#[derive(Clone, Debug)]
pub struct Cards {
    pool: Pool,
    lookup: Lookup,
}

impl Cards {
    pub(super) fn new(pools: Pools) -> Self {
        Self { pool: pools.requests, lookup: Lookup::new(pools.batches) }
    }

    /// Creates an inactive card without money or customer.
    ///
    /// # Errors
    /// The database is away.
    pub async fn create(&self, actor: &Actor, currency: Currency, once: Option<&Once<Card>>) -> Result<Outcome<Card>> {
        let actor = actor.clone();
        idempotency::once(&self.pool, once, move |unit| {
            let actor = actor.clone();
            Box::pin(async move {
                let card = store::insert(unit, actor.account, CardId::new(), currency).await?;
                audit::record_in(unit, &actor, Event::CardCreated { card: card.id, currency }).await?;
                Ok(card)
            })
        })
        .await
    }

    /// One card.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`].
    pub async fn get(&self, account: AccountId, id: CardId) -> Result<Card> {
        self.lookup.find(account, id).await?.ok_or(Refusal::CardNotFound.into())
    }

    /// At most `limit` cards after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is away.
    pub async fn page(&self, account: AccountId, filter: CardFilter, after: i64, limit: i64) -> Result<Vec<Card>> {
        unit::read(&self.pool, move |unit| Box::pin(store::page(unit, account, filter, after, limit))).await
    }

    /// Makes a card a customer's. Again for the same customer changes nothing.
    ///
    /// # Errors
    /// No such card or customer; the card is another's or cancelled.
    pub async fn assign(
        &self,
        actor: &Actor,
        id: Option<CardId>,
        customer: Option<CustomerId>,
        once: Option<&Once<Assigned>>,
    ) -> Result<Outcome<Assigned>> {
        let actor = actor.clone();
        idempotency::once(&self.pool, once, move |unit| {
            let actor = actor.clone();
            Box::pin(async move {
                let account = actor.account;
                let (id, card) = lock(unit, account, id).await?;
                let customer = customer.ok_or(Refusal::CustomerNotFound)?;
                customers::exists_in(unit, account, customer).await?;
                match assignment::assign(card.status, card.customer_id, customer)? {
                    Assignment::Unchanged => {}
                    Assignment::New => {
                        store::set_customer(unit, account, id, customer).await?;
                        audit::record_in(unit, &actor, Event::CardAssigned { card: id, customer }).await?;
                    }
                }
                Ok(Assigned { id, customer })
            })
        })
        .await
    }

    /// Moves a card to a status. To the one it has changes nothing.
    ///
    /// # Errors
    /// No such card; the status machine has no such step.
    pub async fn change_status(
        &self,
        actor: &Actor,
        id: Option<CardId>,
        target: TargetStatus,
        once: Option<&Once<StatusSet>>,
    ) -> Result<Outcome<StatusSet>> {
        let actor = actor.clone();
        idempotency::once(&self.pool, once, move |unit| {
            let actor = actor.clone();
            Box::pin(async move {
                let account = actor.account;
                let (id, card) = lock(unit, account, id).await?;
                match card.status.change(target)? {
                    StatusChange::Unchanged => {}
                    StatusChange::To(status) => {
                        store::set_status(unit, account, id, status).await?;
                        audit::record_in(unit, &actor, Event::CardStatusChanged { card: id, from: card.status, to: status }).await?;
                    }
                }
                Ok(StatusSet { id, status: target.status() })
            })
        })
        .await
    }
}

/// Locks a card's row until the transaction ends. An id that is none names no card.
async fn lock(connection: &mut PgConnection, account: AccountId, id: Option<CardId>) -> Result<(CardId, LockedCard)> {
    let id = id.ok_or(Refusal::CardNotFound)?;
    let card = store::lock(connection, account, id).await?.ok_or(Refusal::CardNotFound)?;
    Ok((id, card))
}
