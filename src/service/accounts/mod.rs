//! Tenants.

mod store;

use secrecy::SecretString;
use sqlx::PgConnection;

use crate::database::Pool;

use super::{
    audit::{self, Actor, Event},
    auth::{Passwords, Role},
    error::{Error, Result},
    id::AccountId,
    text::{Email, Name},
    unit, users,
};

/// The service of accounts.
#[derive(Clone, Debug)]
pub struct Accounts {
    pool: Pool,
    passwords: Passwords,
}

impl Accounts {
    /// The service on a pool: creating accounts needs nothing else of the server.
    #[must_use]
    pub const fn new(pool: Pool, passwords: Passwords) -> Self {
        Self { pool, passwords }
    }

    /// Creates an account. `requests_per_hour` none is the deployment's default.
    ///
    /// # Errors
    /// The database is away.
    pub async fn create(&self, name: &Name, requests_per_hour: Option<u32>) -> Result<AccountId> {
        let (account, name) = (AccountId::new(), name.clone());
        unit::write(&self.pool, move |unit| {
            let name = name.clone();
            Box::pin(async move { create_in(unit, account, &name, requests_per_hour).await })
        })
        .await?;
        Ok(account)
    }

    /// An account with its first admin, unless that admin's email is taken already: several
    /// replicas may seed one database at once. Takes any password, a published one as well.
    ///
    /// # Errors
    /// The database is away.
    pub async fn seed(&self, name: &Name, email: &Email, password: &SecretString) -> Result<()> {
        let wanted = email.clone();
        let taken = unit::read(&self.pool, move |unit| Box::pin(async move { users::email_is_taken_in(unit, &wanted).await })).await?;
        if taken {
            return Ok(());
        }
        let hash = self.passwords.hash(password).await?;
        let (account, name, email) = (AccountId::new(), name.clone(), email.clone());
        let seeded = unit::write(&self.pool, move |unit| {
            let (name, email, hash) = (name.clone(), email.clone(), hash.clone());
            Box::pin(async move {
                create_in(unit, account, &name, None).await?;
                users::create_in(unit, &Actor::command_line(account), &email, &hash, Role::Admin).await.map(drop)
            })
        });
        match seeded.await {
            // Another replica was first, and nothing of this account stayed.
            Err(Error::DuplicateUser) => Ok(()),
            seeded => seeded,
        }
    }
}

async fn create_in(connection: &mut PgConnection, account: AccountId, name: &Name, requests_per_hour: Option<u32>) -> Result<()> {
    store::insert(connection, account, name, requests_per_hour).await?;
    audit::record_in(connection, &Actor::command_line(account), Event::AccountCreated { account }).await
}

/// Locks an account's row until the transaction ends.
pub(super) async fn lock_in(connection: &mut PgConnection, account: AccountId) -> Result<()> {
    if store::lock(connection, account).await? { Ok(()) } else { Err(Error::AccountNotFound) }
}
