//! What a login gives: a token that is signed for as long as it is good, and what the next refresh takes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::{Claims, Tokens, refresh::RefreshToken};
use crate::domain::id::{AccountId, SessionId, UserId};
use crate::service::error::Result;

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

/// A session's end and the moment it was asked for, by the database's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTimes {
    pub(super) now: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
}

/// Signs a token for a session, until the token's time or the session's is over.
pub(super) fn grant(
    tokens: &Tokens,
    lifetime: Duration,
    (account, user, session): (AccountId, UserId, SessionId),
    times: SessionTimes,
    refresh: RefreshToken,
) -> Result<Grant> {
    let expires_at = (times.now + lifetime).min(times.ends_at);
    // A token's time is in whole seconds: what is said is what is enforced.
    let expires_at = DateTime::from_timestamp(expires_at.timestamp(), 0).unwrap_or(expires_at);
    let claims = Claims { account, user, session, issued_at: times.now.timestamp(), expires_at: expires_at.timestamp() };
    let token = tokens.sign(&claims)?.into();
    Ok(Grant { user, token, expires_at, refresh_token: refresh.into_text() })
}
