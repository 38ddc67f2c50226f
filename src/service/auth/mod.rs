//! Logins and sessions. A request is somebody's only while the row of its session says so.

mod key;
mod password;
mod refresh;
mod role;
mod store;
mod token;

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::PgPool;

use self::refresh::RefreshToken;
pub use self::{
    key::{KeyFault, MIN_KEY_BYTES, SigningKey},
    password::{MAX_PASSWORD, Passwords},
    role::{Permission, Role},
    token::{Claims, Tokens},
};
use super::{
    error::{Error, Result},
    id::{AccountId, SessionId, UserId},
    text, unit,
};

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// For which account.
    pub account: AccountId,
    /// Who.
    pub user: UserId,
    /// In which login.
    pub session: SessionId,
    /// As what.
    pub role: Role,
    /// The account's own hourly quota, if it has one.
    pub requests_per_hour: Option<u32>,
}

/// What a login or a refresh gives.
pub struct Grant {
    /// Who logged in.
    pub user: UserId,
    /// The access token.
    pub token: SecretString,
    /// When it ends, by the database's clock.
    pub expires_at: DateTime<Utc>,
    /// What the next refresh takes.
    pub refresh_token: SecretString,
}

/// How long logins last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// An access token.
    pub token: Duration,
    /// A session, however often it is refreshed.
    pub session: Duration,
}

/// The service of logins.
#[derive(Clone)]
pub struct Auth {
    pool: PgPool,
    passwords: Passwords,
    tokens: Arc<Tokens>,
    lifetimes: Lifetimes,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("lifetimes", &self.lifetimes).finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn new(pool: PgPool, passwords: Passwords, tokens: Tokens, lifetimes: Lifetimes) -> Self {
        Self { pool, passwords, tokens: Arc::new(tokens), lifetimes }
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], the same and as slow whether the email is unknown, the
    /// password wrong or the user disabled.
    pub async fn login(&self, email: &str, password: &SecretString) -> Result<Grant> {
        let key = text::email_key(email);
        let user = unit::read(&self.pool, move |unit| Box::pin(async move { store::find_user(unit, &key).await })).await?;
        let matches = self.passwords.verify(password, user.as_ref().map(|user| user.password_hash.as_str())).await?;
        let user = user.filter(|user| matches && !user.disabled).ok_or(Error::InvalidCredentials)?;
        let (account, user_id, session) = (user.account_id, user.id, SessionId::new());
        let refresh = RefreshToken::new(account, session);
        let (hash, lifetime) = (refresh.hash(), self.lifetimes.session);
        let times = unit::write(&self.pool, move |unit| {
            let user = user.clone();
            Box::pin(async move {
                // Asks again, in the write, whether the user is enabled and the password still this one.
                let times = store::insert_session(unit, &user, session, lifetime).await?.ok_or(Error::InvalidCredentials)?;
                store::insert_refresh_token(unit, account, session, &hash).await?;
                Ok(times)
            })
        })
        .await?;
        let grant = self.grant(account, user_id, session, times, refresh)?;
        tracing::info!(event = "login", account = %account, user = %user_id, session = %session);
        Ok(grant)
    }

    /// Exchanges a refresh token, once. One that comes a second time ends its session: somebody has a copy.
    ///
    /// # Errors
    /// [`Error::InvalidRefreshToken`].
    pub async fn refresh(&self, token: &str) -> Result<Grant> {
        let used = RefreshToken::parse(token).ok_or(Error::InvalidRefreshToken)?;
        let (account, session, hash) = (used.account, used.session, used.hash());
        let next = RefreshToken::new(account, session);
        let next_hash = next.hash();
        let (live, first_use) = unit::write(&self.pool, move |unit| {
            Box::pin(async move {
                let live = store::lock_session(unit, account, session).await?.ok_or(Error::InvalidRefreshToken)?;
                let first_use = store::use_refresh_token(unit, account, session, &hash).await?.ok_or(Error::InvalidRefreshToken)?;
                if first_use {
                    store::insert_refresh_token(unit, account, session, &next_hash).await?;
                } else {
                    store::end_session(unit, account, session).await?;
                }
                Ok((live, first_use))
            })
        })
        .await?;
        if !first_use {
            tracing::warn!(event = "refresh_token_reused", account = %account, user = %live.user_id, session = %session);
            return Err(Error::InvalidRefreshToken);
        }
        let grant = self.grant(account, live.user_id, session, live.times, next)?;
        tracing::info!(event = "refresh", account = %account, user = %live.user_id, session = %session);
        Ok(grant)
    }

    /// Reads a token. Whether its session lives only [`Auth::caller`] can tell.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], or [`Error::TokenExpired`] when nothing else is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        self.tokens.verify(token, Utc::now().timestamp())
    }

    /// Who a verified token stands for, asked of the database each time: a logout on any replica counts at once.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the session is over or the user disabled.
    pub async fn caller(&self, claims: &Claims) -> Result<Caller> {
        let claims = *claims;
        unit::read(&self.pool, move |unit| Box::pin(async move { store::find_caller(unit, &claims).await }))
            .await?
            .ok_or(Error::Unauthenticated)
    }

    /// Ends the caller's session.
    ///
    /// # Errors
    /// The database is away.
    pub async fn logout(&self, caller: &Caller) -> Result<()> {
        let (account, session) = (caller.account, caller.session);
        unit::write(&self.pool, move |unit| Box::pin(store::end_session(unit, account, session))).await?;
        tracing::info!(event = "logout", account = %caller.account, user = %caller.user, session = %caller.session);
        Ok(())
    }

    fn grant(&self, account: AccountId, user: UserId, session: SessionId, times: SessionTimes, refresh: RefreshToken) -> Result<Grant> {
        let expires_at = (times.now + self.lifetimes.token).min(times.ends_at);
        // A token's time is in whole seconds: what is said is what is enforced.
        let expires_at = DateTime::from_timestamp(expires_at.timestamp(), 0).unwrap_or(expires_at);
        let claims = Claims { account, user, session, issued_at: times.now.timestamp(), expires_at: expires_at.timestamp() };
        let token = self.tokens.sign(&claims)?.into();
        Ok(Grant { user, token, expires_at, refresh_token: refresh.into_text() })
    }
}

/// A session's end and the moment it was asked for, by the database's clock.
#[derive(Clone, Copy, Debug)]
struct SessionTimes {
    now: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}
