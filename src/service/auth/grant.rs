//! The tokens that a login or a refresh issues.

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::{Claims, Tokens, refresh::RefreshToken};
use crate::domain::id::{AccountId, SessionId, UserId};
use crate::service::error::Result;

/// An access token, and the refresh token that replaces it.
pub struct Grant {
    /// The user.
    pub user: UserId,
    /// The access token.
    pub token: SecretString,
    /// When the access token expires, by the database's clock.
    pub expires_at: DateTime<Utc>,
    /// The refresh token. It is exchanged once, and again for ten seconds after that.
    pub refresh_token: SecretString,
}

/// The lifetimes of tokens and sessions.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of an access token.
    pub token: Duration,
    /// Of a session. Refreshing does not extend it.
    pub session: Duration,
    /// How often a session can be refreshed in a clock hour.
    pub refreshes_per_session: NonZeroU32,
    /// How often all sessions of an account together can be refreshed in a clock hour.
    pub refreshes_per_account: NonZeroU32,
}

/// The current time and the time at which a session expires, both by the database's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTimes {
    pub(super) now: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
}

/// Signs an access token, which expires after `lifetime` or with its session, whichever is first.
pub(super) fn grant(
    tokens: &Tokens,
    lifetime: Duration,
    (account, user, session): (AccountId, UserId, SessionId),
    times: SessionTimes,
    refresh: RefreshToken,
) -> Result<Grant> {
    let expires_at = (times.now + lifetime).min(times.ends_at);
    // A token stores whole seconds. The response states the same time.
    let expires_at = DateTime::from_timestamp(expires_at.timestamp(), 0).unwrap_or(expires_at);
    let claims = Claims { account, user, session, issued_at: times.now.timestamp(), expires_at: expires_at.timestamp() };
    let token = tokens.sign(&claims)?.into();
    Ok(Grant { user, token, expires_at, refresh_token: refresh.into_text() })
}
