//! API keys: secrets with which programs call the API without a login. `domain::api_key` says what they look like. Admission
//! looks them up.

mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    api_key::{self, KeyHash, Secret},
    audit_event::Event,
    environment::Environment,
    error::Refusal,
    id::{AccountId, ApiKeyId},
    role::Role,
    text::Name,
    word::Word,
};

use super::{
    accounts, audit,
    auth::{self, SigningKey},
    error::{Error, Result},
    idempotency::{self, IdempotentRequest, Outcome},
    unit::{self, ReadConnection, Unit},
};

/// An API key, without its text.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its position in the account's list.
    pub number: i64,
    /// What it is for.
    pub name: String,
    /// Its role, which never changes.
    pub role: Word<Role>,
    /// When it was created, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When it expires. None: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The clock hour of its newest request.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Until when the text before the last roll is valid as well. None if it no longer is.
    pub overlap_ends_at: Option<DateTime<Utc>>,
    /// Whether it is neither revoked nor expired, by the database's clock.
    pub is_live: bool,
}

/// An API key to create.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What it is for.
    pub name: Name,
    /// Its role.
    pub role: Role,
    /// When it expires. None: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// An API key and its text, which only the response to the request that made it contains.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The key.
    pub key: ApiKey,
    /// Its text.
    pub text: SecretString,
}

/// The service of API keys.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    pool: Pool,
    environment: Environment,
}

impl ApiKeys {
    /// The service on a pool: managing keys needs no other service.
    #[must_use]
    pub const fn new(pool: Pool, environment: Environment) -> Self {
        Self { pool, environment }
    }

    /// Creates a key in the actor's account.
    ///
    /// # Errors
    /// [`Refusal::AccountNotFound`].
    pub async fn create(
        &self,
        actor: &Actor,
        new: NewApiKey,
        idempotent: Option<&IdempotentRequest<IssuedKey>>,
    ) -> Result<Outcome<IssuedKey>> {
        let id = ApiKeyId::new();
        let text = self.text(actor.account, id, rand::random());
        let outcome = idempotency::write_once(&self.pool, idempotent, &Create { actor, id, new: &new, text: &text }).await?;
        if let Outcome::Fresh(IssuedKey { key, .. }) = &outcome {
            tracing::info!(event = "api_key_created", account = %actor.account, api_key = %key.id, role = new.role.name());
        }
        Ok(outcome)
    }

    /// One key.
    ///
    /// # Errors
    /// [`Refusal::ApiKeyNotFound`].
    pub async fn get(&self, account: AccountId, id: ApiKeyId) -> Result<ApiKey> {
        let found = unit::read(&self.pool, move |connection| Box::pin(store::find(connection, account, id))).await?;
        found.ok_or(Refusal::ApiKeyNotFound.into())
    }

    /// At most `limit` keys after position `after`, in the order they were created. Revoked and expired ones are among them.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn page(&self, account: AccountId, after: i64, limit: i64) -> Result<Vec<ApiKey>> {
        unit::read(&self.pool, move |connection| Box::pin(store::page(connection, account, after, limit))).await
    }

    /// Revokes a key, on every replica at once, with the text before its last roll. A key that is revoked stays so.
    ///
    /// # Errors
    /// [`Refusal::ApiKeyNotFound`].
    pub async fn revoke(&self, actor: &Actor, id: ApiKeyId) -> Result<()> {
        if unit::write(&self.pool, &Revoke { actor, id }).await? {
            tracing::info!(event = "api_key_revoked", account = %actor.account, api_key = %id);
        }
        Ok(())
    }

    /// Gives a key another text. The present one stays valid for `overlap`; the one before it, if any, ends at once.
    ///
    /// # Errors
    /// [`Refusal::ApiKeyNotFound`]; [`Refusal::ApiKeyNotActive`].
    pub async fn roll(
        &self,
        actor: &Actor,
        id: Option<ApiKeyId>,
        overlap: Duration,
        idempotent: Option<&IdempotentRequest<IssuedKey>>,
    ) -> Result<Outcome<IssuedKey>> {
        let secret = rand::random();
        let roll = Roll { actor, id, overlap, secret, environment: self.environment };
        let outcome = idempotency::write_once(&self.pool, idempotent, &roll).await?;
        if let Outcome::Fresh(IssuedKey { key, .. }) = &outcome {
            tracing::info!(event = "api_key_rolled", account = %actor.account, api_key = %key.id, overlap_seconds = overlap.as_secs());
        }
        Ok(outcome)
    }

    /// Makes sure that an account of the sandbox has a key for a gateway, which depends on the account and the signing key
    /// alone, so that it can be shown again without being stored. None if somebody has revoked or rolled that key.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn seed(&self, account: AccountId, name: &Name, signing_key: &SigningKey) -> Result<Option<SecretString>> {
        let (id, secret) = derived(account, signing_key)?;
        let text = self.text(account, id, secret);
        let new = NewApiKey { name: name.clone(), role: Role::Network, expires_at: None };
        let create = Create { actor: &Actor::command_line(account), id, new: &new, text: &text };
        let is_in_force = unit::write(&self.pool, &Seed(create)).await?;
        Ok(is_in_force.then_some(text))
    }

    fn text(&self, account: AccountId, id: ApiKeyId, secret: Secret) -> SecretString {
        api_key::text(self.environment, account, id, secret)
    }
}

struct Create<'a> {
    actor: &'a Actor,
    id: ApiKeyId,
    new: &'a NewApiKey,
    text: &'a SecretString,
}

impl Create<'_> {
    fn hash(&self) -> KeyHash {
        api_key::hash(self.text.expose_secret())
    }
}

impl Unit for Create<'_> {
    type Output = IssuedKey;

    async fn run(&self, connection: &mut PgConnection) -> Result<IssuedKey> {
        let Self { actor, id, new, text } = *self;
        accounts::lock_in(connection, actor.account).await?;
        auth::may_manage_in(connection, actor).await?;
        let key = store::insert(connection, actor.account, id, new, &self.hash()).await?;
        let event = Event::ApiKeyCreated { key: id, role: new.role, expires_at: new.expires_at };
        audit::record_in(connection, actor, event).await?;
        Ok(IssuedKey { key, text: text.clone() })
    }
}

struct Seed<'a>(Create<'a>);

impl Unit for Seed<'_> {
    type Output = bool;

    /// Whether the key is live and has this text.
    async fn run(&self, connection: &mut PgConnection) -> Result<bool> {
        let Self(create) = self;
        // Replicas that start together seed one after the other.
        accounts::lock_in(connection, create.actor.account).await?;
        match store::find_hash(ReadConnection::within(connection), create.actor.account, create.id).await? {
            Some(stored) => Ok(!stored.is_revoked && stored.hash == create.hash()),
            None => create.run(connection).await.map(|_| true),
        }
    }
}

struct Revoke<'a> {
    actor: &'a Actor,
    id: ApiKeyId,
}

impl Unit for Revoke<'_> {
    type Output = bool;

    /// Whether the key was not revoked before.
    async fn run(&self, connection: &mut PgConnection) -> Result<bool> {
        let Self { actor, id } = *self;
        // Before any key is locked: two keys that revoke each other would wait for each other.
        accounts::lock_in(connection, actor.account).await.map_err(without_account)?;
        auth::may_manage_in(connection, actor).await?;
        let key = store::find(ReadConnection::within(connection), actor.account, id).await?.ok_or(Refusal::ApiKeyNotFound)?;
        if key.revoked_at.is_some() {
            return Ok(false);
        }
        store::revoke(connection, actor.account, id).await?;
        audit::record_in(connection, actor, Event::ApiKeyRevoked { key: id }).await?;
        Ok(true)
    }
}

struct Roll<'a> {
    actor: &'a Actor,
    id: Option<ApiKeyId>,
    overlap: Duration,
    secret: Secret,
    environment: Environment,
}

impl Unit for Roll<'_> {
    type Output = IssuedKey;

    async fn run(&self, connection: &mut PgConnection) -> Result<IssuedKey> {
        let (actor, account) = (self.actor, self.actor.account);
        let id = self.id.ok_or(Refusal::ApiKeyNotFound)?;
        accounts::lock_in(connection, account).await?;
        auth::may_manage_in(connection, actor).await?;
        let key = store::find(ReadConnection::within(connection), account, id).await?.ok_or(Refusal::ApiKeyNotFound)?;
        if !key.is_live {
            return Err(Refusal::ApiKeyNotActive.into());
        }
        let text = api_key::text(self.environment, account, id, self.secret);
        let rolled = store::roll(connection, account, id, &api_key::hash(text.expose_secret()), self.overlap).await?;
        let event = Event::ApiKeyRolled { key: id, from: key.overlap_ends_at, to: rolled.overlap_ends_at };
        audit::record_in(connection, actor, event).await?;
        Ok(IssuedKey { key: rolled, text })
    }
}

/// The id and the secret of the sandbox's key for an account. The id has the time of the account's, as a `UUIDv7` needs one.
fn derived(account: AccountId, signing_key: &SigningKey) -> Result<(ApiKeyId, Secret)> {
    let derive = |what: &str| signing_key.derive(&format!("core-api: {what} of the sandbox gateway of {account}"));
    let (random, secret) = (derive("id")?, derive("secret")?);
    let (Some(random), Some(high), Some(low)) = (random.first_chunk(), secret.first_chunk(), secret.last_chunk()) else {
        return Err(Error::internal("deriving a key", "a hash is too short"));
    };
    let millis = (Uuid::from(account).as_u128() >> 80) as u64;
    let id = uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid();
    Ok((id.into(), [u128::from_be_bytes(*high), u128::from_be_bytes(*low)]))
}

/// An account that does not exist has no keys.
fn without_account(error: Error) -> Error {
    match error {
        Error::Refused(Refusal::AccountNotFound) => Refusal::ApiKeyNotFound.into(),
        other => other,
    }
}
