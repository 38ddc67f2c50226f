//! Tenants.

mod store;

use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{actor::Actor, audit_event::Event, error::Refusal, id::AccountId, text::Name};

use super::{audit, error::Result, unit};

/// The service of accounts.
#[derive(Clone, Debug)]
pub struct Accounts {
    pool: Pool,
}

impl Accounts {
    /// The service on a pool: creating accounts needs nothing else of the server.
    #[must_use]
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
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
