//! Customers: the people that cards are issued to. An email is unique within an account.

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
    idempotency::{self, IdempotentRequest, Outcome},
    unit::{self, Unit},
};

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
    pub async fn create(
        &self,
        actor: &Actor,
        name: &Name,
        email: &Email,
        idempotent: Option<&IdempotentRequest<Customer>>,
    ) -> Result<Outcome<Customer>> {
        idempotency::write_once(&self.pool, idempotent, &Create { actor, name, email }).await
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

    /// At most `limit` customers, or the one with this email, after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, email: Option<&Email>, after: i64, limit: i64) -> Result<Vec<Customer>> {
        let email_key = email.map(Email::key);
        unit::read(&self.pool, move |connection| {
            Box::pin(async move { store::page(connection, account, email_key.as_deref(), after, limit).await })
        })
        .await
    }
}

struct Create<'a> {
    actor: &'a Actor,
    name: &'a Name,
    email: &'a Email,
}

impl Unit for Create<'_> {
    type Output = Customer;

    async fn run(&self, connection: &mut PgConnection) -> Result<Customer> {
        let Self { actor, name, email } = *self;
        let customer = store::insert(connection, actor.account, CustomerId::new(), name, email).await?.ok_or(Refusal::DuplicateEmail)?;
        audit::record_in(connection, actor, Event::CustomerCreated { customer: customer.id }).await?;
        Ok(customer)
    }
}

/// Checks within the caller's transaction that the account has this customer.
pub(super) async fn exists_in(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<()> {
    if store::exists(connection, account, id).await? { Ok(()) } else { Err(Refusal::CustomerNotFound.into()) }
}
