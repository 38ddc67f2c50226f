//! Refresh tokens: opaque to clients, hashed at rest, and exchanged once, or again for ten seconds after that.

mod store;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::{
    Lifetimes,
    store::{self as sessions_store, LiveSession},
};
use crate::domain::{
    actor::{Actor, Origin, Principal},
    audit_event::Event,
    id::{AccountId, SessionId},
};
use crate::service::{
    audit,
    error::{Error, Result},
    unit::Unit,
};

const PREFIX: &str = "crt_";

/// How long a used refresh token is exchanged again.
const REUSE: TimeDelta = TimeDelta::seconds(10);

/// A refresh token: 32 random bytes, and its account and session, by which its row is found.
pub(super) struct RefreshToken {
    pub(super) account: AccountId,
    pub(super) session: SessionId,
    text: SecretString,
}

impl RefreshToken {
    pub(super) fn new(account: AccountId, session: SessionId) -> Self {
        let secret: [u8; 32] = rand::random();
        let text = format!("{PREFIX}{account}.{session}.{}", URL_SAFE_NO_PAD.encode(secret));
        Self { account, session, text: text.into() }
    }

    /// Parses the text that a client sent. None if it does not have the form of a refresh token.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('.');
        let (account, session, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let is_complete = parts.next().is_none() && URL_SAFE_NO_PAD.decode(secret).ok()?.len() == 32;
        is_complete.then_some(Self { account: account.parse().ok()?, session: session.parse().ok()?, text: text.to_owned().into() })
    }

    /// The stored hash. A fast hash is enough, because 32 random bytes cannot be guessed.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.expose_secret().as_bytes()).into()
    }

    pub(super) fn into_text(self) -> SecretString {
        self.text
    }
}

/// Stores a token, in the caller's transaction.
///
/// # Errors
/// The database is unavailable.
pub(super) async fn insert_in(connection: &mut PgConnection, account: AccountId, session: SessionId, hash: &[u8]) -> Result<()> {
    store::insert_refresh_token(connection, account, session, hash).await
}

/// Exchanges a token for the next one.
pub(super) struct Refresh<'a> {
    pub(super) used: &'a RefreshToken,
    pub(super) next: &'a RefreshToken,
    pub(super) lifetimes: Lifetimes,
    pub(super) origin: &'a Origin,
}

impl Unit for Refresh<'_> {
    type Output = (LiveSession, bool);

    /// The session, and whether the token is exchanged.
    async fn run(&self, connection: &mut PgConnection) -> Result<(LiveSession, bool)> {
        let (account, session) = (self.used.account, self.used.session);
        let live = sessions_store::lock_session(connection, account, session).await?.ok_or(Error::InvalidRefreshToken)?;
        let used = store::use_refresh_token(connection, account, session, &self.used.hash()).await?;
        let used_ago = used.ok_or(Error::InvalidRefreshToken)?;
        let is_granted = used_ago.is_none_or(|ago| ago < REUSE);
        let actor = Actor { account, principal: Principal::User { user: live.user_id, session, origin: self.origin.clone() } };
        if is_granted {
            // An error undoes the use of the token, which stays good.
            let refreshes = store::count_refresh(connection, account, session).await?;
            let of_account = store::count_refresh_of_account(connection, account).await?;
            let Lifetimes { refreshes_per_session, refreshes_per_account, .. } = self.lifetimes;
            if refreshes.count > refreshes_per_session.get().into() || of_account > refreshes_per_account.get().into() {
                return Err(Error::TooManyRefreshes { retry_after: refreshes.left });
            }
            store::insert_refresh_token(connection, account, session, &self.next.hash()).await?;
            audit::record_in(connection, &actor, Event::Refresh { session }).await?;
        } else {
            sessions_store::end_session(connection, account, live.user_id, session).await?;
            audit::record_in(connection, &actor, Event::RefreshTokenReused { session }).await?;
        }
        Ok((live, is_granted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_token_is_parsed() {
        let token = RefreshToken::new(AccountId::new(), SessionId::new());
        let text = token.text.expose_secret().to_owned();
        let read = RefreshToken::parse(&text).expect("a refresh token");
        assert_eq!((read.account, read.session, read.hash()), (token.account, token.session, token.hash()));
        for wrong in ["", "crt_", "crt_..", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &format!("{text}.")] {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn two_tokens_of_a_session_differ() {
        let (account, session) = (AccountId::new(), SessionId::new());
        assert_ne!(RefreshToken::new(account, session).hash(), RefreshToken::new(account, session).hash());
    }
}
