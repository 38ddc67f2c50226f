//! Logins and sessions. A request is somebody's only while the row of its session says so.

mod attempts;
mod grant;
mod hashers;
mod key;
mod password;
mod priority;
mod refresh;
mod sessions;
mod store;
mod token;
mod turn;
mod verified;

use std::{fmt, sync::Arc};

use crate::database::Pool;
use crate::domain::{
    actor::{Actor, Origin, Principal},
    audit_event::Event,
    id::{AccountId, SessionId, UserId},
    role::Role,
};
use chrono::Utc;
use secrecy::SecretString;

pub(super) use self::sessions::{end_sessions_in, may_manage_in};
use self::{
    attempts::{Attempt, Attempts, Trace},
    grant::{SessionTimes, grant},
    hashers::Lane,
    refresh::RefreshToken,
    store::StoredUser,
};
pub use self::{
    attempts::{LoginLimits, Source},
    grant::{Grant, Lifetimes},
    key::{KeyFault, MIN_KEY_BYTES, SigningKey},
    password::{MAX_PASSWORD, MIN_PASSWORD, NewPassword, PUBLISHED, Passwords, WeakPassword},
    sessions::Session,
    token::{Claims, Tokens},
};
use crate::telemetry::metrics;

use super::{
    audit,
    error::{Error, Result, chain},
    unit,
};

/// Who makes a request.
#[derive(Clone, Debug)]
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
    /// Through which request.
    pub origin: Origin,
}

impl Caller {
    /// The caller as somebody who acts.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { account: self.account, principal: Principal::User { user: self.user, session: self.session, origin: self.origin.clone() } }
    }
}

/// The most sessions of one user that live: a login more ends the oldest. What ends all of them at once stays quick.
const MAX_SESSIONS: i64 = 1000;

/// The service of logins.
#[derive(Clone)]
pub struct Auth {
    pool: Pool,
    passwords: Passwords,
    tokens: Arc<Tokens>,
    lifetimes: Lifetimes,
    attempts: Attempts,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("lifetimes", &self.lifetimes).finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn new(pool: Pool, passwords: Passwords, tokens: Tokens, lifetimes: Lifetimes, limits: LoginLimits) -> Self {
        let attempts = Attempts::new(pool.clone(), limits);
        Self { pool, passwords, tokens: Arc::new(tokens), lifetimes, attempts }
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], the same and as slow whether the email is unknown, the
    /// password wrong or the user disabled. [`Error::TooManyAttempts`] before anything is hashed,
    /// and the same again. [`Error::Overloaded`] when too many wait to be hashed.
    pub async fn login(&self, email: &str, password: &SecretString, origin: &Origin) -> Result<Grant> {
        let granted = self.log_in(email, password, origin).await;
        metrics::logged_in(match &granted {
            Ok(_) => "succeeded",
            Err(Error::InvalidCredentials) => "invalid_credentials",
            Err(Error::TooManyAttempts { .. }) => "too_many_attempts",
            Err(Error::Overloaded) => "overloaded",
            Err(_) => "failed",
        });
        granted
    }

    async fn log_in(&self, email: &str, password: &SecretString, origin: &Origin) -> Result<Grant> {
        let mut attempt = self.attempts.hear(email, &Source::from(origin.address.to_string())).await?;
        let user = attempt.user.take();
        let matches = self.passwords.verify(password, user.as_ref().map(|user| user.password_hash.as_str()), attempt.lane).await?;
        let granted = match &user {
            Some(user) if matches && !user.disabled => self.begin_session(user.clone(), attempt.trace.clone(), origin).await,
            _ => Err(Error::InvalidCredentials),
        };
        if matches!(granted, Err(Error::InvalidCredentials)) {
            self.failed(attempt, user, origin).await?;
        }
        granted
    }

    /// Counts a failed login. The trail hears of it after the caller has: what is told of somebody must not
    /// take longer than what is told of nobody.
    async fn failed(&self, attempt: Attempt, user: Option<StoredUser>, origin: &Origin) -> Result<()> {
        self.attempts.count(attempt).await?;
        if let Some(user) = user {
            let (auth, origin) = (self.clone(), origin.clone());
            tokio::spawn(async move {
                let actor = Actor { account: user.account_id, principal: Principal::Anonymous(origin) };
                if let Err(error) = auth.record(&actor, Event::LoginFailed { user: user.id }).await {
                    tracing::error!(cause = chain(&error), "a failed login is not in the trail");
                }
            });
        }
        Ok(())
    }

    async fn begin_session(&self, user: StoredUser, trace: Trace, origin: &Origin) -> Result<Grant> {
        let (account, user_id, session) = (user.account_id, user.id, SessionId::new());
        let refresh = RefreshToken::new(account, session);
        let (hash, lifetime) = (refresh.hash(), self.lifetimes.session);
        let actor = Actor { account, principal: Principal::User { user: user_id, session, origin: origin.clone() } };
        let times = unit::write(&self.pool, move |unit| {
            let (user, trace, actor) = (user.clone(), trace.clone(), actor.clone());
            Box::pin(async move {
                // Asks again, in the write, whether the user is enabled and the password still this one.
                let address = actor.origin().map(|origin| &*origin.address);
                let times = store::insert_session(unit, &user, session, lifetime, address).await?.ok_or(Error::InvalidCredentials)?;
                store::insert_refresh_token(unit, account, session, &hash).await?;
                store::end_sessions_beyond(unit, account, user_id, MAX_SESSIONS).await?;
                attempts::succeed_in(unit, account, user_id, &trace).await?;
                audit::record_in(unit, &actor, Event::Login { session }).await?;
                Ok(times)
            })
        })
        .await?;
        let grant = grant(&self.tokens, self.lifetimes.token, (account, user_id, session), times, refresh)?;
        tracing::info!(event = "login", account = %account, user = %user_id, session = %session);
        Ok(grant)
    }

    /// Forgets some of the failed logins and known sources whose time is over; tells whether there may be more.
    ///
    /// # Errors
    /// The database is away.
    pub(super) async fn forget_some_attempts(&self) -> Result<bool> {
        self.attempts.forget_some().await
    }

    /// Exchanges a refresh token, once. One that comes a second time ends its session: somebody has a copy.
    ///
    /// # Errors
    /// [`Error::InvalidRefreshToken`].
    pub async fn refresh(&self, token: &str, origin: &Origin) -> Result<Grant> {
        let used = RefreshToken::parse(token).ok_or(Error::InvalidRefreshToken)?;
        let (account, session, hash) = (used.account, used.session, used.hash());
        let next = RefreshToken::new(account, session);
        let (next_hash, origin) = (next.hash(), origin.clone());
        let (live, first_use) = unit::write(&self.pool, move |unit| {
            let origin = origin.clone();
            Box::pin(async move {
                let live = store::lock_session(unit, account, session).await?.ok_or(Error::InvalidRefreshToken)?;
                let first_use = store::use_refresh_token(unit, account, session, &hash).await?.ok_or(Error::InvalidRefreshToken)?;
                let actor = Actor { account, principal: Principal::User { user: live.user_id, session, origin } };
                if first_use {
                    store::insert_refresh_token(unit, account, session, &next_hash).await?;
                    audit::record_in(unit, &actor, Event::Refresh { session }).await?;
                } else {
                    store::end_session(unit, account, live.user_id, session).await?;
                    audit::record_in(unit, &actor, Event::RefreshTokenReused { session }).await?;
                }
                Ok((live, first_use))
            })
        })
        .await?;
        if !first_use {
            tracing::warn!(event = "refresh_token_reused", account = %account, user = %live.user_id, session = %session);
            return Err(Error::InvalidRefreshToken);
        }
        let grant = grant(&self.tokens, self.lifetimes.token, (account, live.user_id, session), live.times, next)?;
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

    /// Gives the caller another password and ends their other sessions.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`]: the current password is wrong. [`Error::TooManyAttempts`], as for a login.
    pub async fn change_password(&self, caller: &Caller, current: &SecretString, new: &NewPassword) -> Result<()> {
        let (account, user, session) = (caller.account, caller.user, caller.session);
        let email = unit::read(&self.pool, move |unit| Box::pin(store::find_email(unit, account, user))).await?;
        // Whoever has a token guesses at the password no faster than whoever has none.
        let mut attempt =
            self.attempts.hear(&email.ok_or(Error::Unauthenticated)?, &Source::from(caller.origin.address.to_string())).await?;
        let stored = attempt.user.take().ok_or(Error::Unauthenticated)?;
        if !self.passwords.verify(current, Some(&stored.password_hash), Lane::Known).await? {
            self.failed(attempt, Some(stored), &caller.origin).await?;
            return Err(Error::InvalidCredentials);
        }
        let (stored, here) = (stored.password_hash, attempt.trace);
        let hash = self.passwords.hash(new.secret()).await?;
        let actor = caller.actor();
        unit::write(&self.pool, move |unit| {
            let (actor, stored, hash, here) = (actor.clone(), stored.clone(), hash.clone(), here.clone());
            Box::pin(async move {
                // Another change may have come first; then what was proven is no longer the password.
                if !store::replace_password_hash(unit, account, user, &stored, &hash).await? {
                    return Err(Error::InvalidCredentials);
                }
                // Hashing took its time: somebody may have ended the session meanwhile.
                store::hold_role(unit, account, user, session).await?.ok_or(Error::Unauthenticated)?;
                store::end_sessions(unit, account, user, Some(session)).await?;
                attempts::forget_sources_in(unit, account, user, &here).await?;
                audit::record_in(unit, &actor, Event::PasswordChanged { user }).await
            })
        })
        .await?;
        tracing::info!(event = "password_changed", account = %account, user = %user, session = %session);
        Ok(())
    }

    async fn record(&self, actor: &Actor, event: Event) -> Result<()> {
        let actor = actor.clone();
        unit::write(&self.pool, move |unit| {
            let actor = actor.clone();
            Box::pin(async move { audit::record_in(unit, &actor, event).await })
        })
        .await
    }
}
