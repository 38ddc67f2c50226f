//! Cards: created inactive, assigned to a customer once, and moved from status to status. The ledger has their money.

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
    word::Word,
};

pub(super) use self::lookup::MAX_IN_FLIGHT;
use self::{lookup::Lookup, store::LockedCard};
use super::{
    audit, customers,
    error::Result,
    idempotency::{self, IdempotentRequest, Outcome},
    spending,
    unit::{self, ReadConnection, Unit},
};

/// The position of its creation in a card's history.
const FIRST_EVENT: i64 = 1;

/// A card.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its id.
    pub id: CardId,
    /// Its position in the account's list, from 1.
    pub number: i64,
    /// Its customer, once it is assigned.
    pub customer_id: Option<CustomerId>,
    /// Its status.
    pub status: Word<CardStatus>,
    /// Its currency.
    pub currency: Word<Currency>,
    /// Its balance.
    pub balance: Money,
    /// What is held of it, without holds that are due.
    pub held: Money,
    /// When it was created, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// The card that it replaces.
    pub replaces: Option<CardId>,
    /// The card that replaces it.
    pub replaced_by: Option<CardId>,
}

/// A card that is assigned to a customer.
#[derive(Clone, Copy, Debug)]
pub struct Assigned {
    /// The card.
    pub id: CardId,
    /// Its customer.
    pub customer: CustomerId,
}

/// A card whose status was set.
#[derive(Clone, Copy, Debug)]
pub struct StatusSet {
    /// The card.
    pub id: CardId,
    /// Its status.
    pub status: CardStatus,
}

/// A filter of a list of cards. A field that is None filters nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardFilter {
    /// Only cards of this customer.
    pub customer_id: Option<CustomerId>,
    /// Only cards with this status.
    pub status: Option<CardStatus>,
    /// Only cards in this currency.
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
    /// The database is unavailable.
    pub async fn create(&self, actor: &Actor, currency: Currency, idempotent: Option<&IdempotentRequest<Card>>) -> Result<Outcome<Card>> {
        idempotency::write_once(&self.pool, idempotent, &Create { actor, currency }).await
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
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, filter: CardFilter, after: i64, limit: i64) -> Result<Vec<Card>> {
        unit::read(&self.pool, move |connection| Box::pin(store::page(connection, account, filter, after, limit))).await
    }

    /// Assigns a card to a customer. Assigning it to the same customer again changes nothing.
    ///
    /// # Errors
    /// The card or the customer does not exist. The card is cancelled, or assigned to another customer.
    pub async fn assign(
        &self,
        actor: &Actor,
        card: Option<CardId>,
        customer: Option<CustomerId>,
        idempotent: Option<&IdempotentRequest<Assigned>>,
    ) -> Result<Outcome<Assigned>> {
        idempotency::write_once(&self.pool, idempotent, &Assign { actor, card, customer }).await
    }

    /// Sets a card's status. Setting the status that it has changes nothing.
    ///
    /// # Errors
    /// The card does not exist, or its status does not permit the transition.
    pub async fn change_status(
        &self,
        actor: &Actor,
        card: Option<CardId>,
        target: TargetStatus,
        idempotent: Option<&IdempotentRequest<StatusSet>>,
    ) -> Result<Outcome<StatusSet>> {
        idempotency::write_once(&self.pool, idempotent, &ChangeStatus { actor, card, target }).await
    }
}

struct Create<'a> {
    actor: &'a Actor,
    currency: Currency,
}

impl Unit for Create<'_> {
    type Output = Card;

    async fn run(&self, connection: &mut PgConnection) -> Result<Card> {
        create_in(connection, self.actor, self.currency).await
    }
}

struct Assign<'a> {
    actor: &'a Actor,
    card: Option<CardId>,
    customer: Option<CustomerId>,
}

impl Unit for Assign<'_> {
    type Output = Assigned;

    async fn run(&self, connection: &mut PgConnection) -> Result<Assigned> {
        let account = self.actor.account;
        let (id, card) = lock(connection, account, self.card).await?;
        let customer = self.customer.ok_or(Refusal::CustomerNotFound)?;
        customers::exists_in(connection, account, customer).await?;
        match assignment::assign(card.status.known()?, card.customer_id, customer)? {
            Assignment::Unchanged => {}
            Assignment::New => assign_in(connection, self.actor, id, customer).await?,
        }
        Ok(Assigned { id, customer })
    }
}

struct ChangeStatus<'a> {
    actor: &'a Actor,
    card: Option<CardId>,
    target: TargetStatus,
}

impl Unit for ChangeStatus<'_> {
    type Output = StatusSet;

    async fn run(&self, connection: &mut PgConnection) -> Result<StatusSet> {
        let account = self.actor.account;
        let (id, card) = lock(connection, account, self.card).await?;
        let from = card.status.known()?;
        match from.change(self.target)? {
            StatusChange::Unchanged => {}
            StatusChange::To(to) => set_status_in(connection, self.actor, id, from, to).await?,
        }
        Ok(StatusSet { id, status: self.target.status() })
    }
}

/// Creates a card, within a transaction.
pub(super) async fn create_in(connection: &mut PgConnection, actor: &Actor, currency: Currency) -> Result<Card> {
    let card = store::insert(connection, actor.account, CardId::new(), currency).await?;
    audit::record_in(connection, actor, Event::CardCreated { card: card.id, currency, sequence: FIRST_EVENT }).await?;
    Ok(card)
}

/// Assigns a locked card to a customer, with what it has spent so far.
pub(super) async fn assign_in(connection: &mut PgConnection, actor: &Actor, card: CardId, customer: CustomerId) -> Result<()> {
    let sequence = store::set_customer(connection, actor.account, card, customer).await?;
    spending::bring_usage(connection, actor.account, card, customer).await?;
    audit::record_in(connection, actor, Event::CardAssigned { card, customer, sequence }).await
}

/// Sets the status of a locked card.
pub(super) async fn set_status_in(
    connection: &mut PgConnection,
    actor: &Actor,
    card: CardId,
    from: CardStatus,
    to: CardStatus,
) -> Result<()> {
    let sequence = store::set_status(connection, actor.account, card, to).await?;
    audit::record_in(connection, actor, Event::CardStatusChanged { card, from, to, sequence }).await
}

/// A card as a transaction sees it.
///
/// # Errors
/// [`Refusal::CardNotFound`].
pub(super) async fn find_in(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Card> {
    let found = store::find_all(ReadConnection::within(connection), &[(account, card)]).await?;
    Ok(found.into_iter().flatten().next().ok_or(Refusal::CardNotFound)?)
}

/// Locks a card's row until the transaction ends. The id is None if the request's id is malformed.
async fn lock(connection: &mut PgConnection, account: AccountId, id: Option<CardId>) -> Result<(CardId, LockedCard)> {
    let id = id.ok_or(Refusal::CardNotFound)?;
    let card = store::lock(connection, account, id).await?.ok_or(Refusal::CardNotFound)?;
    Ok((id, card))
}

/// Cancels a locked card that has made its last payment.
pub(super) async fn cancel_used_up(connection: &mut PgConnection, actor: &Actor, card: CardId, from: CardStatus) -> Result<()> {
    match from.change(TargetStatus::Cancelled) {
        Ok(StatusChange::To(to)) => set_status_in(connection, actor, card, from, to).await,
        _ => Ok(()),
    }
}
