//! The people who log in for an account, and what each may do. An email names one user of the deployment.

mod store;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    audit_event::Event,
    error::Refusal,
    id::{AccountId, UserId},
    role::Role,
    text::{Email, Name},
    user::{self, Change, Standing},
};

use super::{
    accounts, audit,
    auth::{self, NewPassword, Passwords},
    error::{Error, Result},
    idempotency::{self, Key, Once, Outcome},
    unit,
};

/// A user as their account's admins see them.
#[derive(Clone, Debug)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their position in the account's list.
    pub number: i64,
    /// What they log in with, as it was given.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// Whether they are kept out.
    pub disabled: bool,
    /// When they were created, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// Somebody who is to log in.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// What with.
    pub email: Email,
    /// And with which password.
    pub password: NewPassword,
    /// What they may do.
    pub role: Role,
}

/// The service of users.
#[derive(Clone, Debug)]
pub struct Users {
    pool: Pool,
    passwords: Passwords,
}

impl Users {
    /// The service on a pool: managing users needs nothing else of the server.
    #[must_use]
    pub const fn new(pool: Pool, passwords: Passwords) -> Self {
        Self { pool, passwords }
    }

    /// An account with its first admin, unless that admin's email is taken already: several
    /// replicas may seed one database at once. Takes any password, a published one as well.
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
                accounts::create_in(unit, account, &name, None).await?;
                create_in(unit, &Actor::command_line(account), &email, &hash, Role::Admin).await.map(drop)
            })
        });
        match seeded.await {
            // Another replica was first, and nothing of this account stayed.
            Err(Error::Refused(Refusal::DuplicateUser)) => Ok(()),
            seeded => seeded,
        }
    }

    /// Creates somebody who can log in for the actor's account.
    ///
    /// # Errors
    /// [`Refusal::DuplicateUser`]; [`Refusal::AccountNotFound`].
    pub async fn create(&self, actor: &Actor, new: NewUser, once: Option<&Once<User>>) -> Result<Outcome<User>> {
        let hash = self.passwords.hash(new.password.secret()).await?;
        let actor = actor.clone();
        idempotency::once(&self.pool, once, move |unit| {
            let (actor, email, hash) = (actor.clone(), new.email.clone(), hash.clone());
            Box::pin(async move { create_in(unit, &actor, &email, &hash, new.role).await })
        })
        .await
    }

    /// What a request with a password in it is recognised by under its key: slow to compute, so that
    /// whoever reads the database cannot guess the password from it.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when many passwords are being hashed.
    pub async fn guard(&self, account: AccountId, key: &Key, fingerprint: [u8; 32]) -> Result<[u8; 32]> {
        let salt = Sha256::digest(format!("{account} {}", key.as_str()));
        self.passwords.stretch(fingerprint, salt.into()).await
    }

    /// One user.
    ///
    /// # Errors
    /// [`Refusal::UserNotFound`].
    pub async fn get(&self, account: AccountId, id: UserId) -> Result<User> {
        unit::read(&self.pool, move |unit| Box::pin(store::find(unit, account, id))).await?.ok_or(Refusal::UserNotFound.into())
    }

    /// At most `limit` users after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is away.
    pub async fn page(&self, account: AccountId, after: i64, limit: i64) -> Result<Vec<User>> {
        unit::read(&self.pool, move |unit| Box::pin(store::page(unit, account, after, limit))).await
    }

    /// Gives a user another role, keeps them out or lets them in again, from their next request on.
    /// Whoever is kept out has no session any more, on any replica.
    ///
    /// # Errors
    /// [`Refusal::UserNotFound`]; [`Refusal::LastAdmin`].
    pub async fn change(&self, actor: &Actor, id: Option<UserId>, wanted: Change, once: Option<&Once<User>>) -> Result<Outcome<User>> {
        let actor = actor.clone();
        idempotency::once(&self.pool, once, move |unit| {
            let actor = actor.clone();
            Box::pin(async move {
                let id = id.ok_or(Refusal::UserNotFound)?;
                // One change of an account's users at a time, so that two admins cannot demote each other.
                accounts::lock_in(unit, actor.account).await?;
                auth::may_manage_in(unit, &actor).await?;
                let user = store::find(unit, actor.account, id).await?.ok_or(Refusal::UserNotFound)?;
                let others_manage = store::has_another_admin(unit, actor.account, id).await?;
                let changed = user::change(Standing { role: user.role, disabled: user.disabled }, wanted, others_manage)?;
                apply_in(unit, &actor, user, changed).await
            })
        })
        .await
    }

    /// Keeps a user out from now on, the last admin as well: whoever has the command line can make another.
    ///
    /// # Errors
    /// [`Refusal::UserNotFound`].
    pub async fn disable(&self, actor: &Actor, id: UserId) -> Result<()> {
        let actor = actor.clone();
        unit::write(&self.pool, move |unit| {
            let actor = actor.clone();
            Box::pin(async move {
                let locked = accounts::lock_in(unit, actor.account).await;
                locked.map_err(|error| match error {
                    Error::Refused(Refusal::AccountNotFound) => Refusal::UserNotFound.into(),
                    other => other,
                })?;
                let user = store::find(unit, actor.account, id).await?.ok_or(Refusal::UserNotFound)?;
                let disabled = Standing { role: user.role, disabled: true };
                apply_in(unit, &actor, user, disabled).await.map(drop)
            })
        })
        .await
    }
}

/// Creates a user within the caller's transaction.
pub(super) async fn create_in(connection: &mut PgConnection, actor: &Actor, email: &Email, hash: &str, role: Role) -> Result<User> {
    accounts::lock_in(connection, actor.account).await?;
    auth::may_manage_in(connection, actor).await?;
    let user = store::insert(connection, actor.account, UserId::new(), email, hash, role).await?.ok_or(Refusal::DuplicateUser)?;
    audit::record_in(connection, actor, Event::UserCreated { user: user.id, role }).await?;
    Ok(user)
}

async fn apply_in(connection: &mut PgConnection, actor: &Actor, user: User, changed: Standing) -> Result<User> {
    let id = user.id;
    if changed == (Standing { role: user.role, disabled: user.disabled }) {
        return Ok(user);
    }
    store::set(connection, actor.account, id, changed).await?;
    if changed.role != user.role {
        audit::record_in(connection, actor, Event::UserRoleChanged { user: id, from: user.role, to: changed.role }).await?;
    }
    match (user.disabled, changed.disabled) {
        (false, true) => {
            auth::end_sessions_in(connection, actor.account, id).await?;
            audit::record_in(connection, actor, Event::UserDisabled { user: id }).await?;
        }
        (true, false) => audit::record_in(connection, actor, Event::UserEnabled { user: id }).await?,
        (true, true) | (false, false) => {}
    }
    Ok(User { role: changed.role, disabled: changed.disabled, ..user })
}
