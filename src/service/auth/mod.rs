//! Logins and sessions. A token is valid only while the row of its session is live.

mod attempts;
pub(super) mod emails;
mod grant;
mod hashers;
mod password;
mod priority;
mod refresh;
mod sessions;
mod shared_core;
mod signing_key;
mod store;
mod token;
mod turns;
mod verified;

use std::{fmt, sync::Arc, time::Duration};

use crate::database::Pool;
use crate::domain::{
    actor::{Actor, Origin, Principal},
    audit_event::Event,
    id::{AccountId, SessionId, UserId},
    role::Role,
};
use chrono::Utc;
use secrecy::SecretString;
use sqlx::PgConnection;

pub(super) use self::sessions::{end_sessions_in, may_manage_in};
use self::{
    attempts::{Attempt, AttemptKeys, Attempts},
    grant::{SessionTimes, grant},
    hashers::Lane,
    refresh::RefreshToken,
    store::StoredUser,
    turns::Turns,
};
pub use self::{
    attempts::{LoginLimits, Source},
    grant::{Grant, Lifetimes},
    password::{MAX_PASSWORD, MIN_PASSWORD, NewPassword, PUBLISHED_PASSWORDS, Passwords, WeakPassword},
    sessions::Session,
    signing_key::{KeyFault, MIN_KEY_BYTES, SigningKey},
    token::{Claims, Tokens},
};
use crate::telemetry::metrics;

use super::{
    audit,
    error::{Error, Result, chain},
    unit::{self, Unit},
};

/// The caller of a request: a user in a session, or a program with an API key.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The role of the user, or of the API key.
    pub role: Role,
    /// The user or the API key, and the request.
    pub principal: Principal,
}

impl Caller {
    /// The caller as an actor.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { account: self.account, principal: self.principal.clone() }
    }

    /// The user and their session. None if the caller is a program with an API key.
    #[must_use]
    pub fn session(&self) -> Option<SessionCaller> {
        match &self.principal {
            Principal::User { user, session, origin } => {
                Some(SessionCaller { account: self.account, user: *user, session: *session, origin: origin.clone() })
            }
            Principal::Key { .. } | Principal::CommandLine | Principal::Anonymous(_) => None,
        }
    }
}

/// A caller that is a user in a session.
#[derive(Clone, Debug)]
pub struct SessionCaller {
    /// The account.
    pub account: AccountId,
    /// The user.
    pub user: UserId,
    /// Their session.
    pub session: SessionId,
    /// The request.
    pub origin: Origin,
}

impl SessionCaller {
    /// The caller as an actor.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { account: self.account, principal: Principal::User { user: self.user, session: self.session, origin: self.origin.clone() } }
    }
}

/// The most live sessions of one user. The next login ends the oldest. The limit bounds the cost of ending all of them.
const MAX_SESSIONS: i64 = 1000;

/// The service of logins.
#[derive(Clone)]
pub struct Auth {
    pool: Pool,
    passwords: Passwords,
    tokens: Arc<Tokens>,
    lifetimes: Lifetimes,
    attempts: Attempts,
    refreshing: Arc<Turns>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("lifetimes", &self.lifetimes).finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn new(pool: Pool, passwords: Passwords, tokens: Tokens, lifetimes: Lifetimes, limits: LoginLimits) -> Self {
        let attempts = Attempts::new(pool.clone(), limits);
        Self { pool, passwords, tokens: Arc::new(tokens), lifetimes, attempts, refreshing: Arc::default() }
    }

    /// Begins a session. `account` is needed only if the email and the password are those of users of several accounts.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] if the email is unknown, the password is wrong or the user is disabled. All three take
    /// the same time. [`Error::AccountRequired`]. [`Error::TooManyAttempts`], before anything is hashed.
    /// [`Error::Overloaded`] if too many passwords wait to be hashed.
    pub async fn login(&self, email: &str, password: &SecretString, account: Option<AccountId>, origin: &Origin) -> Result<Grant> {
        let granted = self.try_login(email, password, account, origin).await;
        metrics::login_finished(match &granted {
            Ok(_) => "succeeded",
            Err(Error::InvalidCredentials) => "invalid_credentials",
            Err(Error::AccountRequired(_)) => "account_required",
            Err(Error::TooManyAttempts { .. }) => "too_many_attempts",
            Err(Error::Overloaded) => "overloaded",
            Err(_) => "failed",
        });
        granted
    }

    async fn try_login(&self, email: &str, password: &SecretString, account: Option<AccountId>, origin: &Origin) -> Result<Grant> {
        let mut attempt = self.attempts.check(email, account, &Source::from(origin.address.to_string())).await?;
        let users = std::mem::take(&mut attempt.users);
        let hashes = users.iter().map(|user| user.password_hash.clone()).collect();
        let matches = self.passwords.matches(password, hashes, attempt.lane).await?;
        let matching = || users.iter().zip(&matches).filter(|(user, matches)| **matches && !user.disabled).map(|(user, _)| user);
        let granted = match (matching().next(), matching().nth(1)) {
            (None, _) => Err(Error::InvalidCredentials),
            (Some(user), None) => self.begin_session(user.clone(), attempt.keys.clone(), origin).await,
            (Some(_), Some(_)) => Err(Error::AccountRequired(matching().map(|user| user.account_id).collect())),
        };
        if matches!(granted, Err(Error::InvalidCredentials)) {
            // The account of one user is not told from where another user of the email logs in.
            let origin = (account.is_some() || users.len() < 2).then_some(origin);
            self.record_failure(attempt, users, origin).await?;
        } else if matches.contains(&false) {
            // It was a guess at the password of a user of another account who has the same email.
            self.attempts.count_guess_through(&attempt.keys).await?;
        }
        granted
    }

    /// Counts a failed login. A task records it in the audit log, so that the response takes the same time whether or not
    /// the user exists.
    async fn record_failure(&self, attempt: Attempt, users: Vec<StoredUser>, origin: Option<&Origin>) -> Result<()> {
        self.attempts.count(attempt).await?;
        for user in users {
            let (pool, origin) = (self.pool.clone(), origin.cloned());
            tokio::spawn(async move {
                let actor = Actor { account: user.account_id, principal: Principal::Anonymous(origin) };
                let record = audit::Record { actor: &actor, event: Event::LoginFailed { user: user.id } };
                if let Err(error) = unit::write(&pool, &record).await {
                    tracing::error!(cause = chain(&error), "could not record a failed login in the audit log");
                }
            });
        }
        Ok(())
    }

    async fn begin_session(&self, user: StoredUser, keys: AttemptKeys, origin: &Origin) -> Result<Grant> {
        let (account, user_id, session) = (user.account_id, user.id, SessionId::new());
        let refresh = RefreshToken::new(account, session);
        let actor = Actor { account, principal: Principal::User { user: user_id, session, origin: origin.clone() } };
        let begin =
            BeginSession { actor: &actor, user: &user, session, lifetime: self.lifetimes.session, hash: refresh.hash(), keys: &keys };
        let times = unit::write(&self.pool, &begin).await?;
        let grant = grant(&self.tokens, self.lifetimes.token, (account, user_id, session), times, refresh)?;
        tracing::info!(event = "login", account = %account, user = %user_id, session = %session);
        Ok(grant)
    }

    /// Deletes some of the failed logins and trusted sources that have expired, and some of the sessions that have been over
    /// for `age`. Returns whether there may be more.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn purge_expired(&self, age: Duration) -> Result<bool> {
        let attempts = self.attempts.purge_expired().await?;
        let sessions = sessions::purge_ended(&self.pool, age).await?;
        Ok(attempts || sessions)
    }

    /// Exchanges a refresh token, once. A second use of a token ends its session, because the token may have been stolen. But
    /// for ten seconds after its use it is exchanged again: the answer may have been lost, or another tab may have been faster.
    ///
    /// # Errors
    /// [`Error::InvalidRefreshToken`]; [`Error::TooManyRefreshes`].
    pub async fn refresh(&self, token: &str, origin: &Origin) -> Result<Grant> {
        let used = RefreshToken::parse(token).ok_or(Error::InvalidRefreshToken)?;
        let (account, session) = (used.account, used.session);
        let next = RefreshToken::new(account, session);
        let refresh = refresh::Refresh { used: &used, next: &next, lifetimes: self.lifetimes, origin };
        let (live, is_granted) = self.refreshing.run((account, session), unit::write(&self.pool, &refresh)).await?;
        if !is_granted {
            tracing::warn!(event = "refresh_token_reused", account = %account, user = %live.user_id, session = %session);
            return Err(Error::InvalidRefreshToken);
        }
        let grant = grant(&self.tokens, self.lifetimes.token, (account, live.user_id, session), live.times, next)?;
        tracing::info!(event = "refresh", account = %account, user = %live.user_id, session = %session);
        Ok(grant)
    }

    /// Reads a token. Admission checks whether its session is live.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], or [`Error::TokenExpired`] if nothing else is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        self.tokens.verify(token, Utc::now().timestamp())
    }

    /// Reads a token that may have expired, to end its session.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub fn verify_for_logout(&self, token: &str) -> Result<Claims> {
        self.tokens.verify_signature(token, Utc::now().timestamp())
    }

    /// Changes the caller's password and ends their other sessions.
    ///
    /// # Errors
    /// [`Error::WrongPassword`]: the current password is wrong. [`Error::TooManyAttempts`], as for a login.
    pub async fn change_password(&self, caller: &SessionCaller, current: &SecretString, new: &NewPassword) -> Result<()> {
        let (account, user, session) = (caller.account, caller.user, caller.session);
        let email = unit::read(&self.pool, move |connection| Box::pin(store::find_email(connection, account, user))).await?;
        // A caller with a token may not guess the password faster than one without.
        let mut attempt = self
            .attempts
            .check(&email.ok_or(Error::Unauthenticated)?, Some(account), &Source::from(caller.origin.address.to_string()))
            .await?;
        let stored = std::mem::take(&mut attempt.users).into_iter().find(|stored| stored.id == user).ok_or(Error::Unauthenticated)?;
        if self.passwords.matches(current, vec![stored.password_hash.clone()], Lane::Trusted).await? != [true] {
            self.record_failure(attempt, vec![stored], Some(&caller.origin)).await?;
            return Err(Error::WrongPassword);
        }
        let hash = self.passwords.hash(new.secret(), Some(&stored.password_hash)).await?;
        let change = ChangePassword { caller, proven_hash: &stored.password_hash, hash: &hash, keys: &attempt.keys };
        unit::write(&self.pool, &change).await?;
        tracing::info!(event = "password_changed", account = %account, user = %user, session = %session);
        Ok(())
    }
}

struct BeginSession<'a> {
    actor: &'a Actor,
    user: &'a StoredUser,
    session: SessionId,
    lifetime: Duration,
    hash: [u8; 32],
    keys: &'a AttemptKeys,
}

impl Unit for BeginSession<'_> {
    type Output = SessionTimes;

    async fn run(&self, connection: &mut PgConnection) -> Result<SessionTimes> {
        let Self { actor, user, session, lifetime, hash, keys } = self;
        let address = actor.origin().map(|origin| &*origin.address);
        // Is the user still enabled, and their password still the verified one?
        if !store::lock_user(connection, user).await? {
            return Err(Error::InvalidCredentials);
        }
        let times = store::insert_session(connection, user, *session, *lifetime, address).await?;
        refresh::insert_in(connection, actor.account, *session, hash).await?;
        store::end_sessions_beyond(connection, actor.account, user.id, MAX_SESSIONS).await?;
        attempts::record_success_in(connection, actor.account, user.id, keys).await?;
        audit::record_in(connection, actor, Event::Login { session: *session }).await?;
        Ok(times)
    }
}

struct ChangePassword<'a> {
    caller: &'a SessionCaller,
    /// The hash that the current password was verified against.
    proven_hash: &'a str,
    hash: &'a str,
    keys: &'a AttemptKeys,
}

impl Unit for ChangePassword<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        let SessionCaller { account, user, session, .. } = *self.caller;
        let is_replaced = store::replace_password_hash(connection, account, user, self.proven_hash, self.hash).await?;
        // The session may have ended while the password was hashed.
        store::lock_role(connection, account, user, session).await?.ok_or(Error::Unauthenticated)?;
        // If another change was faster, the verified password is no longer the current one.
        if !is_replaced {
            return Err(Error::WrongPassword);
        }
        store::end_sessions(connection, account, user, Some(session)).await?;
        attempts::distrust_others_in(connection, account, user, self.keys).await?;
        audit::record_in(connection, &self.caller.actor(), Event::PasswordChanged { user }).await
    }
}
