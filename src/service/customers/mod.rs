//! Customers: the people that cards are issued to. An email is unique within an account, and so is an external id.
//!
//! The words by which people are found are written in the transaction that writes their name or email. Customers that an earlier
//! version created get theirs in the [background](Customers::fill_words).

mod changes;
mod erasure;
mod store;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::database::{Pool, is_sharded};
use crate::domain::{
    actor::Actor,
    customer::{CustomerPatch, NewCustomer, Profile},
    error::Refusal,
    id::{AccountId, CustomerId},
    metadata::Metadata,
    search::Search,
    text::{Email, ExternalId},
};

use self::{
    changes::{Change, Create, FillWords},
    erasure::{Erase, Erased},
};
use super::{
    error::Result,
    idempotency::{self, IdempotentRequest, Outcome},
    unit,
};

/// How many customers get their words at a time.
const FILL_BATCH: i64 = 500;

/// A customer.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Their id.
    pub id: CustomerId,
    /// Their position in the account's list, from 1.
    pub number: i64,
    /// Their full name.
    pub name: String,
    /// Their email, as it was given.
    pub email: String,
    /// What the account keeps beside them: a JSON object of strings. None: nothing.
    pub metadata: Option<String>,
    /// The account's own name for them.
    pub external_id: Option<String>,
    /// When they were erased. The name and the email mean nothing then.
    pub erased_at: Option<DateTime<Utc>>,
}

impl Customer {
    fn profile(&self) -> Profile {
        Profile {
            name: self.name.clone(),
            email: self.email.clone(),
            metadata: Metadata::stored(self.metadata.as_deref()),
            external_id: self.external_id.clone(),
        }
    }
}

/// A filter of a list of customers. A field that is None filters nothing.
#[derive(Clone, Debug, Default)]
pub struct CustomerFilter {
    /// Only the one with this email.
    pub email: Option<Email>,
    /// Only the one with this external id.
    pub external_id: Option<ExternalId>,
    /// Only those whom this finds.
    pub search: Option<Search>,
}

/// The service of customers.
#[derive(Clone, Debug)]
pub struct Customers {
    pool: Pool,
}

impl Customers {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Creates a customer.
    ///
    /// # Errors
    /// [`Refusal::DuplicateEmail`], compared without case, and [`Refusal::DuplicateExternalId`].
    pub async fn create(
        &self,
        actor: &Actor,
        new: &NewCustomer,
        idempotent: Option<&IdempotentRequest<Customer>>,
    ) -> Result<Outcome<Customer>> {
        idempotency::write_once(&self.pool, idempotent, &Create { actor, new, sharded: is_sharded(&self.pool) }).await
    }

    /// Changes a customer. What changes nothing writes nothing.
    ///
    /// # Errors
    /// The customer does not exist. Another one has the email or the external id. There would be too much metadata.
    pub async fn change(
        &self,
        actor: &Actor,
        customer: Option<CustomerId>,
        patch: &CustomerPatch,
        idempotent: Option<&IdempotentRequest<Customer>>,
    ) -> Result<Outcome<Customer>> {
        idempotency::write_once(&self.pool, idempotent, &Change { actor, customer, patch }).await
    }

    /// Erases a person: their name, their email and their metadata, what people called their cards and limits, and all of this in
    /// stored responses. Ids and money stay. Erasing again changes nothing.
    ///
    /// # Errors
    /// The customer does not exist, or has a card that is not cancelled or that holds money.
    pub async fn erase(&self, actor: &Actor, customer: CustomerId) -> Result<Customer> {
        let Erased { customer, ids } = unit::write(&self.pool, &Erase { actor, customer }).await?;
        // Nobody stores another response with their data from now on.
        idempotency::erase(&self.pool, actor.account, ids).await?;
        Ok(customer)
    }

    /// One customer.
    ///
    /// # Errors
    /// [`Refusal::CustomerNotFound`].
    pub async fn get(&self, account: AccountId, id: CustomerId) -> Result<Customer> {
        unit::read(&self.pool, move |connection| Box::pin(store::find(connection, account, id)))
            .await?
            .ok_or(Refusal::CustomerNotFound.into())
    }

    /// At most `limit` customers that pass the filter, after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, filter: &CustomerFilter, after: i64, limit: i64) -> Result<Vec<Customer>> {
        let filter = filter.clone();
        unit::read(&self.pool, move |connection| {
            Box::pin(async move {
                let CustomerFilter { email, external_id, search } = filter;
                let email_key = email.as_ref().map(Email::key);
                let Some(search) = search else {
                    return store::page(connection, account, (email_key.as_deref(), external_id.as_ref()), after, limit).await;
                };
                if email_key.is_none() && external_id.is_none() {
                    return store::search(connection, account, &search, after, limit).await;
                }
                // It is one customer at most.
                let mut found = store::page(connection, account, (email_key.as_deref(), external_id.as_ref()), after, limit).await?;
                found.retain(|customer| search.finds(&customer.name, &customer.email));
                Ok(found)
            })
        })
        .await
    }

    /// Writes the words of some customers that have none, whatever their account, and returns whether there may be more.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(crate) async fn fill_words(&self) -> Result<bool> {
        let filled = unit::write(&self.pool, &FillWords { limit: FILL_BATCH }).await?;
        Ok(usize::try_from(FILL_BATCH).is_ok_and(|batch| filled == batch))
    }
}

/// Checks within the caller's transaction that the account has this customer, and has not erased them.
pub(super) async fn exists_in(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<()> {
    match store::erased_at(connection, account, id).await? {
        Some(None) => Ok(()),
        Some(Some(_)) => Err(Refusal::CustomerErased.into()),
        None => Err(Refusal::CustomerNotFound.into()),
    }
}
