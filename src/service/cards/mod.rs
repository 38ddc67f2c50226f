//! Cards: created inactive, assigned to a customer once, and moved from status to status. The ledger has their money.

mod changes;
mod lookup;
mod store;

use chrono::{DateTime, Utc};

use crate::database::{Pool, Pools, is_sharded};
use crate::domain::{
    actor::Actor,
    card::{CardStatus, TargetStatus},
    card_details::{CardPatch, NewCard},
    currency::Currency,
    error::Refusal,
    id::{AccountId, ApiKeyId, CardId, CustomerId, UserId},
    money::Money,
    text::{ExternalId, Reason},
    word::Word,
};

use self::{
    changes::{Assign, Change, ChangeStatus, Create},
    lookup::Lookup,
};
pub(super) use self::{
    changes::{assign_in, cancel_used_up, find_in, insert_in, take_status},
    lookup::MAX_IN_FLIGHT,
    store::SetStatus,
};
use super::{
    error::Result,
    idempotency::{self, IdempotentRequest, Outcome},
    unit,
};

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
    /// What people call it.
    pub label: Option<String>,
    /// What the account keeps beside it: a JSON object of strings. None: nothing.
    pub metadata: Option<String>,
    /// The account's own name for it.
    pub external_id: Option<String>,
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

/// A status that a card took.
#[derive(Clone, Debug)]
pub struct StatusTaken {
    /// The status before. None: the card was created.
    pub from: Option<Word<CardStatus>>,
    /// The status.
    pub to: Word<CardStatus>,
    /// Why, in the words of who changed it.
    pub reason: Option<String>,
    /// The user who changed it.
    pub user: Option<UserId>,
    /// The API key with which it was changed.
    pub api_key: Option<ApiKeyId>,
    /// The request that changed it.
    pub request_id: Option<String>,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
}

/// A filter of a list of cards. A field that is None filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardFilter {
    /// Only cards of this customer.
    pub customer_id: Option<CustomerId>,
    /// Only cards with this status.
    pub status: Option<CardStatus>,
    /// Only cards in this currency.
    pub currency: Option<Currency>,
    /// Only the one with this external id.
    pub external_id: Option<ExternalId>,
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
    /// [`Refusal::DuplicateExternalId`].
    pub async fn create(
        &self,
        actor: &Actor,
        new: impl Into<NewCard>,
        idempotent: Option<&IdempotentRequest<Card>>,
    ) -> Result<Outcome<Card>> {
        idempotency::write_once(&self.pool, idempotent, &Create { actor, new: new.into(), sharded: is_sharded(&self.pool) }).await
    }

    /// Changes what the account keeps of a card, whatever its status. What changes nothing writes nothing.
    ///
    /// # Errors
    /// The card does not exist. Another one has the external id. There would be too much metadata.
    pub async fn change(
        &self,
        actor: &Actor,
        card: Option<CardId>,
        patch: &CardPatch,
        idempotent: Option<&IdempotentRequest<Card>>,
    ) -> Result<Outcome<Card>> {
        idempotency::write_once(&self.pool, idempotent, &Change { actor, card, patch }).await
    }

    /// Each status that a card took, oldest first. Empty for a card that does not exist, and for one of which neither this history
    /// nor the audit log knows anything.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn status_history(&self, account: AccountId, card: CardId) -> Result<Vec<StatusTaken>> {
        unit::read(&self.pool, move |connection| Box::pin(store::status_history(connection, account, card))).await
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
    pub async fn page(&self, account: AccountId, filter: &CardFilter, after: i64, limit: i64) -> Result<Vec<Card>> {
        let filter = filter.clone();
        unit::read(&self.pool, move |connection| Box::pin(async move { store::page(connection, account, &filter, after, limit).await }))
            .await
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

    /// Sets a card's status, for a reason that the history of its status keeps. Setting the status that it has changes nothing.
    ///
    /// # Errors
    /// The card does not exist, or its status does not permit the transition.
    pub async fn change_status(
        &self,
        actor: &Actor,
        card: Option<CardId>,
        (target, reason): (TargetStatus, Option<&Reason>),
        idempotent: Option<&IdempotentRequest<StatusSet>>,
    ) -> Result<Outcome<StatusSet>> {
        idempotency::write_once(&self.pool, idempotent, &ChangeStatus { actor, card, target, reason, sharded: is_sharded(&self.pool) })
            .await
    }
}
