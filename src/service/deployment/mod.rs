//! What this database is: the sandbox's or production's, for life, and whether it answers.

mod store;

use sqlx::PgPool;

use super::error::Result;

/// The service of the deployment itself.
#[derive(Clone, Debug)]
pub struct Deployment {
    pool: PgPool,
}

/// The environment a database was first started in, and the signing key it keeps if that is the sandbox.
#[derive(Debug)]
pub struct Claimed {
    /// `sandbox` or `production`.
    pub environment: String,
    /// The sandbox's own key.
    pub sandbox_signing_key: Option<Vec<u8>>,
}

impl Deployment {
    /// The service on a pool, which is all that start-up needs to know before there are keys.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The environment that the database belongs to; none when it has never been started on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn environment(&self) -> Result<Option<String>> {
        if store::exists(&self.pool).await? { store::environment(&self.pool).await } else { Ok(None) }
    }

    /// Claims the database for an environment, unless it has one; tells which it has.
    /// `sandbox_signing_key` is kept only by the first to claim it: replicas share that one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(&self, environment: &str, sandbox_signing_key: Option<&[u8]>) -> Result<Claimed> {
        store::claim(&self.pool, environment, sandbox_signing_key).await?;
        store::read(&self.pool).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        store::read(&self.pool).await.map(drop)
    }

    /// Whether the database confirms a commit only once it is on disk.
    ///
    /// # Errors
    /// The database is away.
    pub async fn commits_durably(&self) -> Result<bool> {
        store::synchronous_commit(&self.pool).await.map(|setting| setting != "off")
    }
}
