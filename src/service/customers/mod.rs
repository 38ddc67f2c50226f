//! Customers: who cards are issued to. An email names one customer of an account.

mod store;

use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    audit_event::Event,
    error::Refusal,
    id::{AccountId, CustomerId},
    text::{Email, Name},
};

use super::{
    audit,
    error::Result,
    idempotency::{self, Once, Outcome},
    unit,
};

/// A customer as its account sees it.
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
    /// [`Refusal::DuplicateEmail`], compared without case.
    pub async fn create(&self, actor: &Actor, name: Name, email: Email, once: Option<&Once<Customer>>) -> Result<Outcome<Customer>> {
        let actor = actor.clone();
        idempotency::once(&self.pool, once, move |unit| {
            let (actor, name, email) = (actor.clone(), name.clone(), email.clone());
            Box::pin(async move {
                let created = store::insert(unit, actor.account, CustomerId::new(), &name, &email).await?;
                let customer = created.ok_or(Refusal::DuplicateEmail)?;
                audit::record_in(unit, &actor, Event::CustomerCreated { customer: customer.id }).await?;
                Ok(customer)
            })
        })
        .await
    }

    /// One customer.
    ///
    /// # Errors
    /// [`Refusal::CustomerNotFound`].
    pub async fn get(&self, account: AccountId, id: CustomerId) -> Result<Customer> {
        unit::read(&self.pool, move |unit| Box::pin(store::find(unit, account, id))).await?.ok_or(Refusal::CustomerNotFound.into())
    }

    /// At most `limit` customers, or the one of this email, after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is away.
    pub async fn page(&self, account: AccountId, email: Option<&Email>, after: i64, limit: i64) -> Result<Vec<Customer>> {
        let email_key = email.map(Email::key);
        unit::read(&self.pool, move |unit| Box::pin(async move { store::page(unit, account, email_key.as_deref(), after, limit).await }))
            .await
    }
}

/// Whether the account has this customer, within the caller's transaction.
pub(super) async fn exists_in(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<()> {
    if store::exists(connection, account, id).await? { Ok(()) } else { Err(Refusal::CustomerNotFound.into()) }
}
