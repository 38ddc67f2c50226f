//! The deployment: the environment that its database belongs to, which never changes, and the health of the database.

mod store;

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretSlice};
use sqlx::PgConnection;

use crate::database::{self, Pool, Probe};

use super::{
    error::{Error, Result},
    unit::{self, ReadConnection, Unit},
};

/// The service of the deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    pool: Pool,
    probe: Arc<Probe>,
}

/// The environment that a database was first used in, and the signing key that it stores in a sandbox.
#[derive(Debug)]
pub struct Claimed {
    /// `sandbox` or `production`.
    pub environment: String,
    /// The signing key of a sandbox. None in production.
    pub sandbox_signing_key: Option<SecretSlice<u8>>,
}

impl Deployment {
    /// The service on a pool. Start-up uses it before the signing keys are known.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        let probe = Arc::new(Probe::of(&pool));
        Self { pool, probe }
    }

    /// The environment that the database belongs to. None if no server has used it yet.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn environment(&self) -> Result<Option<String>> {
        unit::read(&self.pool, |mut connection| {
            Box::pin(async move { if store::exists(&mut connection).await? { store::environment(connection).await } else { Ok(None) } })
        })
        .await
    }

    /// Claims the database for an environment, unless it has one, and returns the one that it has. Only the first claim
    /// stores its `sandbox_signing_key`, which all replicas then share.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn claim(&self, environment: &'static str, sandbox_signing_key: Option<SecretSlice<u8>>) -> Result<Claimed> {
        unit::write(&self.pool, &Claim { environment, sandbox_signing_key }).await
    }

    /// Whether the database can serve, as of at most a second ago. It is asked on a connection of its own.
    ///
    /// # Errors
    /// It is away, is a standby, or lacks a migration of this version.
    pub async fn can_serve(&self) -> Result<()> {
        self.probe.ask().await.map_err(Error::DatabaseUnavailable)
    }

    /// Whether this role of the database could change movements, or drop what guards them: a superuser, the owner of the
    /// tables, or a role that could become either.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn may_change_the_ledger(&self) -> Result<bool> {
        unit::read(&self.pool, |connection| Box::pin(store::may_change_the_ledger(connection))).await
    }

    /// Whether the database, or each of its nodes, confirms a commit only once it is on disk.
    ///
    /// # Errors
    /// The database is unavailable, or one of its nodes is.
    pub async fn commits_durably(&self) -> Result<bool> {
        let settings = unit::read(&self.pool, |mut connection| {
            Box::pin(async move { Ok(database::of_every_node(connection.executor(), "synchronous_commit").await?) })
        });
        Ok(settings.await?.iter().all(|setting| setting != "off"))
    }

    /// Whether the database is distributed by account.
    #[must_use]
    pub fn is_sharded(&self) -> bool {
        database::is_sharded(&self.pool)
    }
}

struct Claim {
    environment: &'static str,
    sandbox_signing_key: Option<SecretSlice<u8>>,
}

impl Unit for Claim {
    type Output = Claimed;

    async fn run(&self, connection: &mut PgConnection) -> Result<Claimed> {
        store::claim(connection, self.environment, self.sandbox_signing_key.as_ref().map(ExposeSecret::expose_secret)).await?;
        store::read(ReadConnection::within(connection)).await
    }
}
