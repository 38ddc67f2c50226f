//! Users: the people who log in for an account, and their roles. An email is unique within an account.

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
    role::{Role, UserRole},
    text::{Email, Name},
    user::{self, Change, UserState},
    word::Word,
};

use self::store::AccountAndHash;
use super::{
    accounts, audit,
    auth::{self, NewPassword, Passwords},
    error::{Error, Result},
    idempotency::{self, IdempotentRequest, Key, Outcome},
    unit::{self, ReadConnection, Unit},
};

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their position in the account's list.
    pub number: i64,
    /// The email that they log in with, as it was given.
    pub email: String,
    /// Their role.
    pub role: Word<Role>,
    /// Whether they are disabled, so that they cannot log in.
    pub disabled: bool,
    /// When they were created, by the database's clock.
    pub created_at: DateTime<Utc>,
}

impl User {
    /// What a change depends on.
    fn state(&self) -> Result<UserState> {
        Ok(UserState { role: self.role.known()?, disabled: self.disabled })
    }
}

/// A user to create.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Their email.
    pub email: Email,
    /// Their password.
    pub password: NewPassword,
    /// Their role.
    pub role: UserRole,
}

/// The service of users.
#[derive(Clone, Debug)]
pub struct Users {
    pool: Pool,
    passwords: Passwords,
}

impl Users {
    /// The service on a pool: managing users needs no other service.
    #[must_use]
    pub const fn new(pool: Pool, passwords: Passwords) -> Self {
        Self { pool, passwords }
    }

    /// Creates an account with its first admin, unless that admin's email is taken. Returns the account. Several replicas may
    /// seed one database at once. Accepts any password, even a published one.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn seed(&self, name: &Name, email: &Email, password: &SecretString) -> Result<AccountId> {
        if let Some(seeded) = self.first_with(email).await? {
            return Ok(seeded.account_id);
        }
        let hash = self.passwords.hash(password, None).await?;
        let actor = Actor::command_line(AccountId::new());
        let admin = Create { actor: &actor, email, hash: &hash, role: Role::Admin };
        unit::write(&self.pool, &Seed { name, admin }).await
    }

    /// The first user with this email, in any account. Users with the same email share the salt of its hash.
    async fn first_with(&self, email: &Email) -> Result<Option<AccountAndHash>> {
        let email_key = email.key();
        unit::read(&self.pool, move |mut connection| Box::pin(async move { first_with(connection.executor(), &email_key).await })).await
    }

    /// Creates a user of the actor's account.
    ///
    /// # Errors
    /// [`Refusal::DuplicateUser`]; [`Refusal::AccountNotFound`].
    pub async fn create(&self, actor: &Actor, new: NewUser, idempotent: Option<&IdempotentRequest<User>>) -> Result<Outcome<User>> {
        let same_email = self.first_with(&new.email).await?.map(|first| first.password_hash);
        let hash = self.passwords.hash(new.password.secret(), same_email.as_deref()).await?;
        let create = Create { actor, email: &new.email, hash: &hash, role: new.role.role() };
        idempotency::write_once(&self.pool, idempotent, &create).await
    }

    /// Hardens the fingerprint of a request that contains a password, before an idempotency key stores it: guessing the
    /// password from the fingerprint is as slow as from a password hash.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if too many passwords are being hashed.
    pub async fn harden_fingerprint(&self, account: AccountId, key: &Key, fingerprint: [u8; 32]) -> Result<[u8; 32]> {
        let salt = Sha256::digest(format!("{account} {}", key.as_str()));
        self.passwords.stretch(fingerprint, salt.into()).await
    }

    /// One user.
    ///
    /// # Errors
    /// [`Refusal::UserNotFound`].
    pub async fn get(&self, account: AccountId, id: UserId) -> Result<User> {
        unit::read(&self.pool, move |connection| Box::pin(store::find(connection, account, id))).await?.ok_or(Refusal::UserNotFound.into())
    }

    /// At most `limit` users after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, after: i64, limit: i64) -> Result<Vec<User>> {
        unit::read(&self.pool, move |connection| Box::pin(store::page(connection, account, after, limit))).await
    }

    /// Changes a user's role, or disables or enables them, from their next request on. Disabling ends their sessions.
    ///
    /// # Errors
    /// [`Refusal::UserNotFound`]; [`Refusal::LastAdmin`].
    pub async fn change(
        &self,
        actor: &Actor,
        user: Option<UserId>,
        wanted: Change,
        idempotent: Option<&IdempotentRequest<User>>,
    ) -> Result<Outcome<User>> {
        idempotency::write_once(&self.pool, idempotent, &ChangeUser { actor, user, wanted }).await
    }

    /// Disables a user, even the last admin: the command line can create another.
    ///
    /// # Errors
    /// [`Refusal::UserNotFound`].
    pub async fn disable(&self, actor: &Actor, user: UserId) -> Result<()> {
        unit::write(&self.pool, &Disable { actor, user }).await
    }
}

async fn first_with(connection: &mut PgConnection, email_key: &str) -> Result<Option<AccountAndHash>> {
    let accounts = auth::emails::accounts(ReadConnection::within(connection), email_key, None).await?;
    store::find_hash(ReadConnection::within(connection), &accounts, email_key).await
}

struct Create<'a> {
    actor: &'a Actor,
    email: &'a Email,
    hash: &'a str,
    role: Role,
}

impl Unit for Create<'_> {
    type Output = User;

    async fn run(&self, connection: &mut PgConnection) -> Result<User> {
        let Self { actor, email, hash, role } = *self;
        accounts::lock_in(connection, actor.account).await?;
        auth::may_manage_in(connection, actor).await?;
        let user = store::insert(connection, actor.account, UserId::new(), email, hash, role).await?.ok_or(Refusal::DuplicateUser)?;
        auth::emails::insert_in(connection, actor.account, user.id, &email.key()).await?;
        audit::record_in(connection, actor, Event::UserCreated { user: user.id, role }).await?;
        Ok(user)
    }
}

struct Seed<'a> {
    name: &'a Name,
    admin: Create<'a>,
}

impl Unit for Seed<'_> {
    type Output = AccountId;

    async fn run(&self, connection: &mut PgConnection) -> Result<AccountId> {
        let account = self.admin.actor.account;
        store::lock_seeding(connection).await?;
        if let Some(seeded) = first_with(connection, &self.admin.email.key()).await? {
            // Another replica was first.
            return Ok(seeded.account_id);
        }
        accounts::create_in(connection, account, self.name, None).await?;
        self.admin.run(connection).await.map(|_| account)
    }
}

struct ChangeUser<'a> {
    actor: &'a Actor,
    user: Option<UserId>,
    wanted: Change,
}

impl Unit for ChangeUser<'_> {
    type Output = User;

    async fn run(&self, connection: &mut PgConnection) -> Result<User> {
        let (actor, account) = (self.actor, self.actor.account);
        let id = self.user.ok_or(Refusal::UserNotFound)?;
        // One change of an account's users at a time, so that two admins cannot demote each other.
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        let user = store::find(ReadConnection::within(connection), account, id).await?.ok_or(Refusal::UserNotFound)?;
        let has_another_admin = store::has_another_admin(connection, account, id).await?;
        let changed = user::change(user.state()?, self.wanted, has_another_admin)?;
        apply_in(connection, actor, user, changed).await
    }
}

struct Disable<'a> {
    actor: &'a Actor,
    user: UserId,
}

impl Unit for Disable<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        let (actor, account) = (self.actor, self.actor.account);
        accounts::lock_in(connection, account).await.map_err(|error| match error {
            Error::Refused(Refusal::AccountNotFound) => Refusal::UserNotFound.into(),
            other => other,
        })?;
        let user = store::find(ReadConnection::within(connection), account, self.user).await?.ok_or(Refusal::UserNotFound)?;
        let disabled = UserState { disabled: true, ..user.state()? };
        apply_in(connection, actor, user, disabled).await.map(drop)
    }
}

/// Writes and records a change of state. An unchanged state writes nothing.
async fn apply_in(connection: &mut PgConnection, actor: &Actor, user: User, changed: UserState) -> Result<User> {
    let (id, before) = (user.id, user.state()?);
    if changed == before {
        return Ok(user);
    }
    store::set(connection, actor.account, id, changed).await?;
    // Before anything is recorded: a refresh locks its session first, and the audit log last.
    if changed.disabled && !user.disabled {
        auth::end_sessions_in(connection, actor.account, id).await?;
    }
    if changed.role != before.role {
        audit::record_in(connection, actor, Event::UserRoleChanged { user: id, from: before.role, to: changed.role }).await?;
    }
    match (before.disabled, changed.disabled) {
        (false, true) => audit::record_in(connection, actor, Event::UserDisabled { user: id }).await?,
        (true, false) => audit::record_in(connection, actor, Event::UserEnabled { user: id }).await?,
        (true, true) | (false, false) => {}
    }
    Ok(User { role: changed.role.into(), disabled: changed.disabled, ..user })
}
