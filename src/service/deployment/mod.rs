//! What this database is: the sandbox's or production's, for life, and whether it answers.

mod store;

use crate::database::Pool;
use secrecy::{ExposeSecret, SecretSlice};

use super::{error::Result, unit};

/// The service of the deployment itself.
#[derive(Clone, Debug)]
pub struct Deployment {
    pool: Pool,
}

/// The environment a database was first started in, and the signing key it keeps if that is the sandbox.
#[derive(Debug)]
pub struct Claimed {
    /// `sandbox` or `production`.
    pub environment: String,
    /// The sandbox's own key.
    pub sandbox_signing_key: Option<SecretSlice<u8>>,
}

impl Deployment {
    /// The service on a pool, which is all that start-up needs to know before there are keys.
    #[must_use]
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// The environment that the database belongs to; none when it has never been started on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn environment(&self) -> Result<Option<String>> {
        unit::read(&self.pool, |unit| {
            Box::pin(async move { if store::exists(unit).await? { store::environment(unit).await } else { Ok(None) } })
        })
        .await
    }

    /// Claims the database for an environment, unless it has one; tells which it has.
    /// `sandbox_signing_key` is kept only by the first to claim it: replicas share that one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(&self, environment: &'static str, sandbox_signing_key: Option<SecretSlice<u8>>) -> Result<Claimed> {
        unit::write(&self.pool, move |unit| {
            let key = sandbox_signing_key.clone();
            Box::pin(async move {
                store::claim(unit, environment, key.as_ref().map(ExposeSecret::expose_secret)).await?;
                store::read(unit).await
            })
        })
        .await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        unit::read(&self.pool, |unit| Box::pin(store::read(unit))).await.map(drop)
    }

    /// Whether the database confirms a commit only once it is on disk.
    ///
    /// # Errors
    /// The database is away.
    pub async fn commits_durably(&self) -> Result<bool> {
        let setting = unit::read(&self.pool, |unit| Box::pin(store::synchronous_commit(unit))).await?;
        Ok(setting != "off")
    }
}
