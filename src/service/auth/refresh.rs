//! Refresh tokens: opaque to clients, hashed at rest, and exchanged once, or again for ten seconds after that.

pub(super) mod store;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::id::{AccountId, SessionId};

const PREFIX: &str = "crt_";

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
