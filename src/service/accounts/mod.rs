//! Accounts: the tenants of a deployment.

mod store;

use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{actor::Actor, audit_event::Event, error::Refusal, id::AccountId, text::Name};

use super::{
    audit,
    error::Result,
    unit::{self, Unit},
};

/// The service of accounts.
#[derive(Clone, Debug)]
pub struct Accounts {
    pool: Pool,
}

impl Accounts {
    /// The service on a pool: creating accounts needs no other service.
    #[must_use]
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Creates an account. Without `requests_per_hour` it has the deployment's default quota.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn create(&self, name: &Name, requests_per_hour: Option<u32>) -> Result<AccountId> {
        let account = AccountId::new();
        unit::write(&self.pool, &Create { account, name, requests_per_hour }).await?;
        Ok(account)
    }

    /// Makes sure that an account exists.
    ///
    /// # Errors
    /// [`Refusal::AccountNotFound`].
    pub async fn require(&self, account: AccountId) -> Result<()> {
        let exists = unit::read(&self.pool, move |connection| Box::pin(store::exists(connection, account))).await?;
        if exists { Ok(()) } else { Err(Refusal::AccountNotFound.into()) }
    }
}

struct Create<'a> {
    account: AccountId,
    name: &'a Name,
    requests_per_hour: Option<u32>,
}

impl Unit for Create<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        create_in(connection, self.account, self.name, self.requests_per_hour).await
    }
}

/// Creates an account in the caller's transaction.
pub(super) async fn create_in(
    connection: &mut PgConnection,
    account: AccountId,
    name: &Name,
    requests_per_hour: Option<u32>,
) -> Result<()> {
    store::insert(connection, account, name, requests_per_hour).await?;
    audit::record_in(connection, &Actor::command_line(account), Event::AccountCreated { account }).await
}

/// Locks an account's row until the transaction ends.
pub(super) async fn lock_in(connection: &mut PgConnection, account: AccountId) -> Result<()> {
    if store::lock(connection, account).await? { Ok(()) } else { Err(Refusal::AccountNotFound.into()) }
}
