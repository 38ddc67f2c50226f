//! Tenants and the people who log in for them.

mod store;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;

use super::{
    auth::{MAX_PASSWORD, Passwords, Role},
    error::{Error, Result},
    id::{AccountId, UserId},
    text::{Email, Name},
    unit,
};

/// The shortest password a new user can have, in bytes (NIST SP 800-63B, 5.1.1.1).
pub const MIN_PASSWORD: usize = 8;

/// The service of accounts and users.
#[derive(Clone, Debug)]
pub struct Accounts {
    pool: PgPool,
    passwords: Passwords,
}

impl Accounts {
    /// The service on a pool: creating accounts and users needs nothing else of the server.
    #[must_use]
    pub const fn new(pool: PgPool, passwords: Passwords) -> Self {
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
            Box::pin(async move { store::insert_account(unit, account, &name, requests_per_hour).await })
        })
        .await?;
        Ok(account)
    }

    /// Creates somebody who can log in for an account.
    ///
    /// # Errors
    /// [`Error::DuplicateUser`]: an email names one user in the whole deployment. No such account, or
    /// a password that is too short, too long or has control characters in it.
    pub async fn create_user(&self, account: AccountId, email: &Email, password: &SecretString, role: Role) -> Result<UserId> {
        let secret = password.expose_secret();
        if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&secret.len()) || secret.chars().any(char::is_control) {
            return Err(Error::WeakPassword);
        }
        let hash = self.passwords.hash(password).await?;
        let (user, email) = (UserId::new(), email.clone());
        unit::write(&self.pool, move |unit| {
            let (email, hash) = (email.clone(), hash.clone());
            Box::pin(async move { store::insert_user(unit, account, user, &email, &hash, role).await })
        })
        .await?;
        Ok(user)
    }

    /// Keeps a user out from now on, on every replica: their sessions end with it.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub async fn disable_user(&self, account: AccountId, user: UserId) -> Result<()> {
        unit::write(&self.pool, move |unit| {
            Box::pin(async move {
                if !store::disable_user(unit, account, user).await? {
                    return Err(Error::UserNotFound);
                }
                store::end_sessions(unit, account, user).await
            })
        })
        .await
    }

    /// An account with its first admin, unless that admin's email is taken already: several
    /// replicas may seed one database at once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn seed(&self, name: &Name, email: &Email, password: &SecretString) -> Result<()> {
        let wanted = email.clone();
        let taken = unit::read(&self.pool, move |unit| Box::pin(async move { store::email_is_taken(unit, &wanted).await })).await?;
        if taken {
            return Ok(());
        }
        let hash = self.passwords.hash(password).await?;
        let (account, name, email) = (AccountId::new(), name.clone(), email.clone());
        let seeded = unit::write(&self.pool, move |unit| {
            let (name, email, hash) = (name.clone(), email.clone(), hash.clone());
            Box::pin(async move {
                store::insert_account(unit, account, &name, None).await?;
                store::insert_user(unit, account, UserId::new(), &email, &hash, Role::Admin).await
            })
        });
        match seeded.await {
            // Another replica was first, and nothing of this account stayed.
            Err(Error::DuplicateUser) => Ok(()),
            seeded => seeded,
        }
    }
}
